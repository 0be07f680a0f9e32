//! Who may call, and what they may do.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod.rs` | the gate that every request passes, and what a route asks of its caller |
//! | [`caller`] | what a token says: who, and which permissions |
//! | [`tokens`] | the verdict on a token, and the memory of verdicts |
//! | [`keys`] | the keys of an issuer, and when they are read again |
//! | [`mint`] | `devicegraph token` |
//!
//! A 401 comes before any other verdict on a request: the gate stands in front
//! of routing. What a route asks stands in the route table.

use actix_web::{
    Error, HttpMessage,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{AUTHORIZATION, HeaderMap},
    middleware::Next,
    web::Data,
};
use anyhow::{Context, bail, ensure};

pub use self::caller::Caller;
use self::tokens::Tokens;
use crate::{
    config::{AuthMode, Settings},
    error::ApiError,
    server::routes,
};

pub mod caller;
pub mod keys;
pub mod mint;
pub mod tokens;

/// What a route asks of its caller.
///
/// The permissions are those that each page of Graph lists, the least first:
/// <https://learn.microsoft.com/graph/permissions-reference>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing. No token is looked at.
    Open,
    /// A token that is valid, whatever it permits.
    Token,
    /// A token that is valid, unless `auth.open` names the document.
    Document(Document),
    /// To read configurations and who gets them.
    Read,
    /// To change them.
    ReadWrite,
}

/// What the service says of itself and not of what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `/$metadata`, in every version.
    Metadata,
    /// `/openapi.json`
    OpenApi,
    /// `/docs` and what the page is made of.
    Docs,
    /// `/metrics`
    Metrics,
}

impl Document {
    const ALL: [(&str, Self); 4] =
        [("metadata", Self::Metadata), ("openapi", Self::OpenApi), ("docs", Self::Docs), ("metrics", Self::Metrics)];

    /// Those that `auth.open` names.
    fn named(names: &[String]) -> anyhow::Result<Vec<Self>> {
        if names == ["none"] {
            return Ok(Vec::new());
        }
        let known = |name: &String| Self::ALL.into_iter().find(|(known, _)| known == name);
        let all = || Self::ALL.map(|(known, _)| known).join(", ");
        let named = names.iter().map(|name| {
            let (_, document) = known(name)
                .with_context(|| format!("auth.open: '{name}' is none of {}; write some of these, or none", all()))?;
            Ok(document)
        });
        named.collect()
    }
}

impl Access {
    /// The permissions of which a caller needs one.
    pub fn permissions(self) -> &'static [&'static str] {
        const ALL: [&str; 2] =
            ["DeviceManagementConfiguration.Read.All", "DeviceManagementConfiguration.ReadWrite.All"];
        match self {
            Self::Open | Self::Token | Self::Document(_) => &[],
            Self::Read => &ALL,
            Self::ReadWrite => &ALL[1..],
        }
    }

    /// Holds a caller to what the route asks.
    ///
    /// # Errors
    /// 403 that names the permissions, 401 when nobody has asked who calls.
    pub fn check(self, request: &ServiceRequest) -> Result<(), ApiError> {
        match request.extensions().get::<Caller>() {
            // A closed document has not come past the gate without one.
            _ if matches!(self, Self::Open | Self::Document(_)) => Ok(()),
            Some(caller) if caller.may(self) => Ok(()),
            Some(_) => Err(ApiError::missing_scope(self.permissions())),
            None => Err(ApiError::no_token()),
        }
    }
}

/// What every request passes before it is looked at.
pub enum Gate {
    /// `auth.mode = "disabled"`: every caller may do everything.
    Disabled,
    /// `auth.mode = "jwt"`: a caller is whom a token of a trusted issuer names.
    Jwt {
        /// The verdict on a token.
        tokens: Tokens,
        /// What is shown to everyone.
        open: Vec<Document>,
    },
}

impl Gate {
    /// The gate that the settings ask for. Keys in files are read, those of a
    /// URL when [`Gate::keep_keys`] runs.
    ///
    /// # Errors
    /// When no mode is set and others than this machine could call, or what is
    /// set of an issuer is wrong.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let (auth, server) = (&settings.auth, &settings.server);
        let issuers = auth.all_issuers()?;
        let open = Document::named(&auth.open.0)?;
        let mode = match auth.mode {
            Some(mode) => mode,
            None if !server.is_loopback()? => bail!(
                "server.host: {server} can be reached from other machines and auth.mode is not set; set it to jwt, with auth.issuer and auth.audience, or listen on 127.0.0.1, or set it to disabled if everyone who can reach the service may change everything"
            ),
            None => AuthMode::Disabled,
        };
        match mode {
            AuthMode::Jwt => Ok(Self::Jwt { tokens: Tokens::new(auth, &issuers)?, open }),
            AuthMode::Disabled => {
                ensure!(
                    issuers.is_empty(),
                    "auth.issuer is set and nobody would ask for its tokens; set auth.mode to jwt, or take the issuer out"
                );
                Ok(Self::Disabled)
            }
        }
    }

    /// Reads the keys of every issuer again and again, and never ends.
    pub async fn keep_keys(&self) {
        match self {
            Self::Disabled => std::future::pending().await,
            Self::Jwt { tokens, .. } => tokens.keep_keys().await,
        }
    }

    /// Whether a token could be judged: there are keys, where keys are needed.
    pub fn has_keys(&self) -> bool {
        match self {
            Self::Disabled => true,
            Self::Jwt { tokens, .. } => tokens.has_keys(),
        }
    }

    /// Whether a route of this access asks for a token.
    pub fn asks(&self, access: Access) -> bool {
        matches!(self, Self::Jwt { .. }) && !self.lets_in(access)
    }

    fn lets_in(&self, access: Access) -> bool {
        match (access, self) {
            (Access::Open, _) => true,
            (Access::Document(document), Self::Jwt { open, .. }) => open.contains(&document),
            _ => false,
        }
    }

    /// Whether nobody is asked for a token at this path.
    fn is_open(&self, path: &str) -> bool {
        routes::is_at(path, |access| self.lets_in(access))
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        match self {
            Self::Disabled => Ok(Caller::unknown()),
            Self::Jwt { tokens, .. } => tokens.caller(bearer(headers)?).await,
        }
    }
}

/// The token of the header `Authorization` (RFC 6750, 2.1); nowhere else is one
/// looked for.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut lines = headers.get_all(AUTHORIZATION);
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(ApiError::no_token()) };
    let (scheme, token) = line.to_str().ok().and_then(|line| line.trim().split_once(' ')).unwrap_or_default();
    match token.trim_start() {
        token if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => Ok(token),
        _ => Err(ApiError::no_token()),
    }
}

/// Learns who calls, or answers 401.
///
/// # Errors
/// None of its own: a refusal is a response.
pub async fn authenticate(
    gate: Data<Gate>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !gate.is_open(request.path()) {
        match gate.caller(request.headers()).await {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(refusal) => return Ok(request.error_response(refusal)),
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}
