//! What a token says of its caller.
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

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    id: Option<Arc<str>>,
    may_read: bool,
    may_write: bool,
}

impl Caller {
    /// The caller while authorization is off: it may do everything.
    pub fn unknown() -> Self {
        Self { id: None, may_read: true, may_write: true }
    }

    /// Object id of the user or application, for `created_by` and
    /// `last_modified_by`; `None` while authorization is off.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the permissions of the caller are those that a route asks.
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

/// What is read of a token whose signature is right.
#[derive(Deserialize)]
pub struct Claims {
    /// When it expires, in seconds since 1970.
    #[serde(default)]
    exp: Value,
    /// Object id of the user, or of the application's service principal.
    oid: Option<String>,
    sub: Option<String>,
    /// The client application, in version 2 and in version 1.
    azp: Option<String>,
    appid: Option<String>,
    /// Tenant.
    tid: Option<String>,
    /// Delegated permissions: what the user let the application do.
    scp: Option<Permissions>,
    /// Application permissions: what an administrator let it do by itself.
    roles: Option<Permissions>,
    /// Claims of an ID token, which identifies a user and permits nothing.
    nonce: Option<IgnoredAny>,
    preferred_username: Option<IgnoredAny>,
}

/// Names with spaces between them (`scp` of Entra ID), or an array.
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
    /// The last second in which the token is valid, leeway left out.
    pub fn expires(&self) -> u64 {
        self.exp.as_f64().map_or(0, |seconds| seconds as u64)
    }

    fn is_id_token(&self) -> bool {
        let is_of_client = self.azp.is_some() || self.appid.is_some();
        !is_of_client && (self.nonce.is_some() || self.preferred_username.is_some())
    }

    /// Who it is.
    ///
    /// A token with `scp` acts for a user, and what it may do is there: its
    /// `roles`, if it has any, are the user's, not permissions. So are those of
    /// an ID token.
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
                "The token names no caller: its 'oid', else its 'sub', must have 1 to {MAX_ID_CHARS} characters that can be printed."
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
