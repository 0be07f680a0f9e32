//! The issuer of the tests, which signs any claims.
//!
//! With a service that already runs, `DEVICEGRAPH_TEST_KEYS` names the folder that has the key of
//! `devicegraph token`. Without this variable, the service must need no tokens.

use std::{path::PathBuf, sync::OnceLock};

use devicegraph::{
    auth::mint::KeyPair,
    config::{AuthMode, Names, Settings},
};
use jsonwebtoken::{Algorithm, EncodingKey, get_current_timestamp, jwk::Jwk};
use serde_json::{Value, json};

use crate::harness::{is_remote, reachable_folder};

/// The name of the issuer, and the audience.
pub(crate) const NAME: &str = "https://devicegraph.localhost";
/// The permission to read.
pub(crate) const READ: &str = "DeviceManagementConfiguration.Read.All";
/// The permission to read and write.
pub(crate) const WRITE: &str = "DeviceManagementConfiguration.ReadWrite.All";
/// The caller, unless a test names another one.
pub(crate) const OID: &str = "0b1d0000-0000-4000-8000-000000000001";

/// An issuer with its key.
pub(crate) struct Issuer {
    pub(crate) pair: KeyPair,
}

/// Returns the issuer of this run, or `None` with a running service that needs no tokens.
pub(crate) fn issuer() -> Option<&'static Issuer> {
    static ISSUER: OnceLock<Option<Issuer>> = OnceLock::new();
    let issuer = ISSUER.get_or_init(|| {
        let folder = match std::env::var_os("DEVICEGRAPH_TEST_KEYS") {
            Some(folder) => PathBuf::from(folder),
            None if is_remote() => return None,
            None => reachable_folder(),
        };
        let pair = KeyPair::open(&folder).expect("a key pair");
        Some(Issuer { pair })
    });
    issuer.as_ref()
}

/// Makes the application require tokens of this issuer.
pub(crate) fn trust(settings: &mut Settings) {
    settings.auth.mode = Some(AuthMode::Jwt);
    settings.auth.issuer = Some(NAME.to_owned());
    settings.auth.audience = Names(vec![NAME.to_owned()]);
    settings.auth.jwks_file = issuer().map(|issuer| issuer.pair.jwks.clone());
}

impl Issuer {
    /// Returns the claims of an application with all permissions.
    pub(crate) fn claims(&self) -> Value {
        let now = get_current_timestamp();
        json!({"iss": NAME, "aud": NAME, "iat": now, "nbf": now, "exp": now + 3600, "oid": OID, "roles": [WRITE]})
    }

    /// Returns the value of the header `Authorization`.
    pub(crate) fn bearer(&self, claims: &Value) -> String {
        format!("Bearer {}", self.pair.sign(claims).expect("a token"))
    }

    /// Returns the header with one claim changed. `null` removes the claim.
    pub(crate) fn with(&self, name: &str, value: impl Into<Value>) -> String {
        let mut claims = self.claims();
        match value.into() {
            Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
            value => claims[name] = value,
        }
        self.bearer(&claims)
    }
}

/// Returns a new key that no service trusts, and its public key.
pub(crate) fn new_key() -> (EncodingKey, Jwk) {
    let folder = reachable_folder();
    let pair = KeyPair::open(&folder).expect("a key pair");
    std::fs::remove_dir_all(folder).expect("a folder");
    let jwk = Jwk::from_encoding_key(&pair.key, Algorithm::EdDSA).expect("a key");
    (pair.key, jwk)
}
