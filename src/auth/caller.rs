//! The caller that a token names, with its permissions.
//!
//! The claims are those of Entra ID, versions 1 and 2:
//! <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::access::Access;
use crate::error::ApiError;

/// The tenant of every personal Microsoft account.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// The maximum length of a caller's id in characters. The id is stored with every row that the
/// caller writes.
const MAX_ID_CHARS: usize = 256;

/// The caller of a request.
#[derive(Clone, Debug)]
pub struct Caller {
    id: Option<Arc<str>>,
    may_read: bool,
    may_write: bool,
}

impl Caller {
    /// Returns the caller while authorization is disabled. It may do everything.
    pub fn unknown() -> Self {
        Self { id: None, may_read: true, may_write: true }
    }

    /// Returns the object id of the user or application, for `created_by` and
    /// `last_modified_by`. Returns `None` while authorization is disabled.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns whether the caller has the access that a route requires.
    pub fn may(&self, access: Access) -> bool {
        match access {
            Access::Open | Access::Token | Access::PublicDocument(_) => true,
            Access::Read => self.may_read,
            Access::ReadWrite => self.may_write,
        }
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(ApiError::no_token))
    }
}

/// The claims of a token with a valid signature.
#[derive(Deserialize)]
pub struct Claims {
    /// The time of expiry, in seconds since 1970.
    #[serde(default)]
    exp: Value,
    /// The object id of the user, or of the application's service principal.
    oid: Option<String>,
    sub: Option<String>,
    /// The client application, in tokens of version 2 (`azp`) and of version 1 (`appid`).
    azp: Option<String>,
    appid: Option<String>,
    /// The tenant.
    tid: Option<String>,
    /// Delegated permissions: the user granted them to the application.
    scp: Option<Permissions>,
    /// Application permissions: an administrator granted them to the application.
    roles: Option<Permissions>,
    /// Claims of an ID token, which identifies a user and grants no permission.
    nonce: Option<IgnoredAny>,
    preferred_username: Option<IgnoredAny>,
}

/// Names separated by spaces (`scp` of Entra ID), or an array of names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Permissions {
    Text(String),
    Names(Vec<String>),
}

impl Permissions {
    fn has_one_of(&self, names: &[&str]) -> bool {
        match self {
            Self::Text(text) => text.split_whitespace().any(|name| names.contains(&name)),
            Self::Names(all) => all.iter().any(|name| names.contains(&name.as_str())),
        }
    }
}

impl Claims {
    /// Returns the last second in which the token is valid, without leeway.
    pub fn expires(&self) -> u64 {
        self.exp.as_f64().map_or(0, |seconds| seconds as u64)
    }

    fn is_id_token(&self) -> bool {
        let is_of_client = self.azp.is_some() || self.appid.is_some();
        !is_of_client && (self.nonce.is_some() || self.preferred_username.is_some())
    }

    /// Returns the caller.
    ///
    /// A token with `scp` acts for a user, and `scp` has its permissions. Its `roles` are the
    /// roles of the user and not permissions. The same holds for the `roles` of an ID token.
    ///
    /// # Errors
    /// 401 when the token has no usable id, 403 for a personal account.
    pub fn caller(&self) -> Result<Caller, ApiError> {
        if self.tid.as_deref().is_some_and(|tid| tid.eq_ignore_ascii_case(CONSUMERS)) {
            return Err(ApiError::personal_account());
        }
        let id = [&self.oid, &self.sub, &self.azp, &self.appid].into_iter().flatten().next();
        let is_storable = |id: &str| {
            let letters = id.chars().count();
            (1..=MAX_ID_CHARS).contains(&letters) && !id.chars().any(char::is_control)
        };
        let Some(id) = id.filter(|id| is_storable(id)) else {
            return Err(ApiError::bad_token(format!(
                "The token does not identify its caller. Get a token whose 'oid', or else its 'sub', has 1 to {MAX_ID_CHARS} characters without control characters."
            )));
        };
        let granted = match &self.scp {
            Some(scp) => Some(scp),
            None => self.roles.as_ref().filter(|_| !self.is_id_token()),
        };
        let may = |access: Access| granted.is_some_and(|granted| granted.has_one_of(access.permissions()));
        Ok(Caller { id: Some(id.as_str().into()), may_read: may(Access::Read), may_write: may(Access::ReadWrite) })
    }
}
