//! Validates tokens (RFC 7519), and caches valid ones.
//!
//! The algorithm must be one of the key's algorithms. The key is always one of the issuer's
//! keys. The service ignores keys in the header of the token: `jwk`, `jku`, `x5c` and `x5u`.

use std::{sync::Arc, time::Duration};

use anyhow::{anyhow, ensure};
use futures_util::future::join_all;
use jsonwebtoken::{
    Header, Validation, dangerous::insecure_decode_claims, decode, decode_header, errors::ErrorKind,
    get_current_timestamp,
};
use quick_cache::{Weighter, sync::Cache};
use serde::Deserialize;

use super::{
    caller::{Caller, Claims},
    keys::{KeySet, Keys},
};
use crate::{
    config,
    error::{ApiError, shorten},
};

/// The maximum size of the cache in bytes of tokens: about 8,000 tokens.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Validates tokens.
pub struct Tokens {
    issuers: Vec<Issuer>,
    cache: Cache<Box<str>, ValidToken, Bytes>,
    leeway: u64,
    refresh: Duration,
    pause: Duration,
}

/// An issuer that the service trusts, and the audience that its tokens must have.
struct Issuer {
    name: String,
    audience: Vec<String>,
    keys: Keys,
}

/// A valid token in the cache. It stays until it expires or the keys of its issuer change.
/// Refusals are not cached.
#[derive(Clone)]
struct ValidToken {
    caller: Caller,
    issuer: usize,
    keys: Arc<KeySet>,
    last_second: u64,
}

/// Weighs a cache entry by the length of its token and the size of [`ValidToken`].
#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, ValidToken> for Bytes {
    fn weight(&self, token: &Box<str>, _: &ValidToken) -> u64 {
        (token.len() + size_of::<ValidToken>()) as u64
    }
}

impl Tokens {
    /// Creates the validator of the settings.
    ///
    /// # Errors
    /// When there is no issuer, an issuer has no name or no audience, an issuer is set twice,
    /// or its keys cannot be read.
    pub fn new(auth: &config::Auth, issuers: &[config::Issuer]) -> anyhow::Result<Self> {
        ensure!(
            !issuers.is_empty(),
            "auth.mode is jwt and auth.issuer is not set; set it to the 'iss' of your tokens, or create tokens yourself: see `devicegraph token --help`"
        );
        let issuers = issuers.iter().map(|issuer| {
            let name = issuer.issuer.clone();
            ensure!(!name.is_empty(), "auth.issuer is empty; set it to the 'iss' of your tokens");
            let named = issuers.iter().filter(|other| other.issuer == name).count();
            ensure!(named == 1, "auth.issuers: the issuer '{name}' is set {named} times; keep one");
            ensure!(
                !issuer.audience.0.is_empty(),
                "auth.audience is not set for the issuer '{name}'; set it to the 'aud' of its tokens"
            );
            Ok(Issuer { name, audience: issuer.audience.0.clone(), keys: Keys::new(issuer)? })
        });
        Ok(Self {
            issuers: issuers.collect::<anyhow::Result<_>>()?,
            cache: Cache::with_weighter(1024, CACHE_BYTES, Bytes),
            leeway: auth.leeway_seconds,
            refresh: Duration::from_secs(auth.refresh_seconds),
            pause: Duration::from_secs(auth.unknown_key_seconds),
        })
    }

    /// Refreshes the keys of every issuer. Never returns.
    pub async fn keep_keys(&self) {
        join_all(self.issuers.iter().map(|issuer| issuer.keys.refresh_forever(self.refresh, self.pause))).await;
    }

    /// Returns whether an issuer has keys.
    pub fn has_keys(&self) -> bool {
        self.issuers.iter().any(|issuer| !issuer.keys.current().is_empty())
    }

    /// Returns the caller of a valid token.
    ///
    /// # Errors
    /// 401 that says what is wrong with the token, 403 for a personal account, 503 when the
    /// keys of its issuer have never been read.
    pub async fn caller(&self, token: &str) -> Result<Caller, ApiError> {
        if let Some(valid_token) = self.cache.get(token) {
            let keys = self.issuers[valid_token.issuer].keys.current();
            if get_current_timestamp() <= valid_token.last_second && Arc::ptr_eq(&keys, &valid_token.keys) {
                return Ok(valid_token.caller);
            }
            self.cache.remove(token);
        }
        let valid_token = self.validate(token).await?;
        self.cache.insert(token.into(), valid_token.clone());
        Ok(valid_token.caller)
    }

    async fn validate(&self, token: &str) -> Result<ValidToken, ApiError> {
        let (header, name) = unverified(token)?;
        let position = self.issuers.iter().position(|issuer| issuer.name == name);
        let position = position.ok_or_else(|| {
            ApiError::bad_token(format!(
                "Access token validation failure. Invalid issuer: this service does not trust '{}'. Get a token from an issuer that it trusts.",
                shorten(&name)
            ))
        })?;
        let issuer = &self.issuers[position];
        let keys = issuer.keys.find_or_refresh(header.kid.as_deref()).await;
        let claims = issuer.verify(token, &header, &keys, self.leeway)?;
        let last_second = claims.expires().saturating_add(self.leeway);
        Ok(ValidToken { caller: claims.caller()?, issuer: position, keys, last_second })
    }
}

/// Reads the header and the issuer of a token without verifying it.
fn unverified(token: &str) -> Result<(Header, String), ApiError> {
    #[derive(Deserialize)]
    struct Iss {
        iss: String,
    }
    let header = decode_header(token).map_err(|_| malformed())?;
    if header.crit.is_some() {
        return Err(ApiError::bad_token(
            "The header of the token has 'crit', and this service supports no critical extensions. Get a token without 'crit'.",
        ));
    }
    let Iss { iss } = insecure_decode_claims(token).map_err(|_| malformed())?;
    Ok((header, iss))
}

/// Returns the 401 with Graph's message and the remedy.
fn malformed() -> ApiError {
    ApiError::bad_token(
        "CompactToken parsing failed with error code: 80049217. Send a JWT that its issuer has signed with RS256, PS256, ES256 or EdDSA.",
    )
}

impl Issuer {
    /// Verifies the signature, the lifetime, the issuer and the audience.
    fn verify(&self, token: &str, header: &Header, keys: &KeySet, leeway: u64) -> Result<Claims, ApiError> {
        let mut refusal = match (keys.is_known(), &header.kid) {
            (true, Some(id)) => ApiError::bad_token(format!(
                "Access token validation failure. The issuer has no key '{}' for {:?}. Get a new token from the issuer.",
                shorten(id),
                header.alg
            )),
            (true, None) => ApiError::bad_token(format!(
                "Access token validation failure. The issuer has no key for {:?}, and the header of the token names no key in 'kid'. Get a new token from the issuer.",
                header.alg
            )),
            (false, _) => {
                ApiError::unavailable(anyhow!("the keys of the issuer '{}' have not been read yet", self.name))
            }
        };
        for key in keys.of(header.kid.as_deref()).filter(|key| key.algorithms.contains(&header.alg)) {
            let mut validation = Validation::new(header.alg);
            validation.leeway = leeway;
            validation.validate_nbf = true;
            validation.set_required_spec_claims(&["aud", "exp", "iss"]);
            validation.set_issuer(&[&self.name]);
            validation.set_audience(&self.audience);
            match decode(token, &key.key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => refusal = self.refusal(error.kind()),
            }
        }
        Err(refusal)
    }

    fn refusal(&self, kind: &ErrorKind) -> ApiError {
        ApiError::bad_token(match kind {
            ErrorKind::ExpiredSignature => {
                "Lifetime validation failed, the token is expired. Get a new one from its issuer.".to_owned()
            }
            ErrorKind::ImmatureSignature => {
                "Lifetime validation failed, the token is not yet valid. Compare the clocks of its issuer and of this service."
                    .to_owned()
            }
            ErrorKind::InvalidAudience => format!(
                "Access token validation failure. Invalid audience. Ask the issuer for a token whose 'aud' is '{}'.",
                self.audience.join("' or '")
            ),
            ErrorKind::InvalidSignature => {
                "Access token validation failure. Invalid signature: the token was not signed with the issuer's key. Get a new token from the issuer.".to_owned()
            }
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => format!(
                "The claim '{claim}' of the token is missing or has the wrong type. A token needs 'iss', 'aud' and 'exp', and its times are numbers of seconds since 1970."
            ),
            ErrorKind::Json(error) => format!("A claim of the token cannot be read: {error}."),
            _ => return malformed(),
        })
    }
}
