//! Finds the caller of a request, or refuses the request with 401.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use anyhow::{bail, ensure};

use super::{
    access::{Access, PublicDocument},
    caller::Caller,
    tokens::Tokens,
};
use crate::{
    config::{AuthMode, Settings},
    error::ApiError,
};

/// Finds the caller of a request.
pub enum Authenticator {
    /// `auth.mode = "disabled"`: every caller may do everything.
    Disabled,
    /// `auth.mode = "jwt"`: the token of a trusted issuer names the caller.
    Jwt {
        /// Validates tokens.
        tokens: Tokens,
        /// Documents that need no token.
        open: Vec<PublicDocument>,
    },
}

impl Authenticator {
    /// Creates the authenticator of the settings. Reads keys from files. Keys from URLs are
    /// read by [`Authenticator::keep_keys`].
    ///
    /// # Errors
    /// When `auth.mode` is not set and other machines can reach the service, or a setting of
    /// an issuer is wrong.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let (auth, server) = (&settings.auth, &settings.server);
        let issuers = auth.all_issuers()?;
        let open = PublicDocument::named(&auth.open.0)?;
        let mode = match auth.mode {
            Some(mode) => mode,
            None if !server.is_loopback()? => bail!(
                "server.host: {server} can be reached from other machines, and auth.mode is not set; set auth.mode to jwt, with auth.issuer and auth.audience, or set server.host to 127.0.0.1, or set auth.mode to disabled if everyone who can reach the service may change everything"
            ),
            None => AuthMode::Disabled,
        };
        match mode {
            AuthMode::Jwt => Ok(Self::Jwt { tokens: Tokens::new(auth, &issuers)?, open }),
            AuthMode::Disabled => {
                ensure!(
                    issuers.is_empty(),
                    "auth.issuer is set and auth.mode is disabled, so its tokens would be ignored; set auth.mode to jwt, or remove the issuer"
                );
                Ok(Self::Disabled)
            }
        }
    }

    /// Refreshes the keys of every issuer. Never returns.
    pub async fn keep_keys(&self) {
        match self {
            Self::Disabled => std::future::pending().await,
            Self::Jwt { tokens, .. } => tokens.keep_keys().await,
        }
    }

    /// Returns whether the service can validate tokens, or does not need to.
    pub fn has_keys(&self) -> bool {
        match self {
            Self::Disabled => true,
            Self::Jwt { tokens, .. } => tokens.has_keys(),
        }
    }

    /// Returns whether a route of this access requires a token.
    pub fn requires_token(&self, access: Access) -> bool {
        matches!(self, Self::Jwt { .. }) && !self.allows_anonymous(access)
    }

    /// Returns whether a route of this access works without a token.
    pub fn allows_anonymous(&self, access: Access) -> bool {
        match (access, self) {
            (Access::Open, _) => true,
            (Access::PublicDocument(document), Self::Jwt { open, .. }) => open.contains(&document),
            _ => false,
        }
    }

    /// Returns the caller of a request with these headers.
    ///
    /// # Errors
    /// 401 without a valid token.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        match self {
            Self::Disabled => Ok(Caller::unknown()),
            Self::Jwt { tokens, .. } => tokens.caller(bearer(headers)?).await,
        }
    }
}

/// Returns the token in the header `Authorization` (RFC 6750, 2.1). The service reads tokens
/// nowhere else.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut lines = headers.get_all(AUTHORIZATION);
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(ApiError::no_token()) };
    let (scheme, token) = line.to_str().ok().and_then(|line| line.trim().split_once(' ')).unwrap_or_default();
    match token.trim_start() {
        token if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => Ok(token),
        _ => Err(ApiError::no_token()),
    }
}
