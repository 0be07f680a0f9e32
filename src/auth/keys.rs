//! The keys of an issuer: a JWKS (RFC 7517) from a file, from a URL, or from the URL that OIDC
//! discovery returns.
//!
//! The service reads the keys at start, every `auth.refresh_seconds`, and when a token names an
//! unknown key. When reading fails, it keeps the keys that it has.
//!
//! Discovery: <https://openid.net/specs/openid-connect-discovery-1_0.html>

use std::{
    fs,
    io::Read,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{http::Uri, rt::task::spawn_blocking};
use anyhow::{Context, bail, ensure};
use futures_util::FutureExt;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::{sleep_until, timeout},
};

use crate::{config, tls};

/// The timeout of a request to an issuer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a refresh of the keys.
const REFRESH_WAIT: Duration = Duration::from_millis(900);
/// The pause before the next attempt while an issuer has no keys.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// The maximum size of an issuer's answer in bytes.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// The keys of one issuer.
///
/// One task reads the keys, [`Keys::refresh_forever`]. Requests only ask this task for a
/// refresh. So many requests cause one read of a slow issuer, and a client that disconnects
/// does not cancel it.
pub struct Keys {
    issuer: String,
    source: Source,
    current: watch::Sender<Reading>,
    refresh_requested: Notify,
}

/// The result of the last read.
struct Reading {
    keys: Arc<KeySet>,
    /// Before this time, no token causes another read.
    not_before: Instant,
}

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Url(String),
    /// The issuer, whose discovery document names the URL of its keys.
    Discovery(String),
}

/// A set of keys that was read at one time.
#[derive(Default)]
pub struct KeySet {
    /// The document as it was read. `None` before the first read.
    document: Option<Value>,
    keys: Vec<Key>,
}

/// A key and its algorithms.
pub struct Key {
    id: Option<String>,
    /// The algorithms that the key may be used with.
    pub algorithms: Vec<Algorithm>,
    /// The key itself.
    pub key: DecodingKey,
}

impl Keys {
    /// Creates the keys of an issuer. Reads a file immediately.
    ///
    /// # Errors
    /// When two sources or no valid one are set, or the file has no usable key.
    pub fn new(settings: &config::Issuer) -> anyhow::Result<Self> {
        let issuer = settings.issuer.clone();
        let (source, keys) = match (&settings.jwks_file, &settings.jwks_url) {
            (Some(_), Some(_)) => {
                bail!("auth.jwks_file and auth.jwks_url are both set for the issuer '{issuer}'; keep one")
            }
            (Some(file), None) => {
                let source = Source::File(file.clone());
                let keys = source.read().and_then(KeySet::new).context("auth.jwks_file")?;
                ensure!(!keys.is_empty(), "auth.jwks_file: {} has no usable key", file.display());
                (source, keys)
            }
            (None, Some(url)) => (Source::Url(url.clone()), KeySet::default()),
            (None, None) => (Source::Discovery(issuer.clone()), KeySet::default()),
        };
        if let Source::Url(url) | Source::Discovery(url) = &source {
            let uri =
                url.parse::<Uri>().ok().filter(|uri| uri.authority().is_some_and(|host| !host.as_str().contains('@')));
            let scheme = uri.as_ref().and_then(Uri::scheme_str);
            ensure!(
                matches!(scheme, Some("http" | "https")),
                "the keys of the issuer '{issuer}' cannot be fetched from '{}'; set auth.jwks_url to an https:// URL without a password in it, or auth.jwks_file",
                shown(url)
            );
            if scheme == Some("http") {
                tracing::warn!(
                    "the keys of the issuer '{issuer}' are fetched over plain HTTP: an attacker who can change the answers of {} can call this service",
                    shown(url)
                );
            }
        }
        let reading = Reading { keys: Arc::new(keys), not_before: Instant::now() };
        Ok(Self { issuer, source, current: watch::Sender::new(reading), refresh_requested: Notify::new() })
    }

    /// Returns the current keys.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.borrow().keys.clone()
    }

    /// Returns the keys. When `id` is unknown, waits for one refresh first, unless the last
    /// refresh is too recent or the refresh takes too long.
    pub async fn find_or_refresh(&self, id: Option<&str>) -> Arc<KeySet> {
        let mut readings = self.current.subscribe();
        let (keys, not_before) = {
            let reading = readings.borrow_and_update();
            (reading.keys.clone(), reading.not_before)
        };
        if keys.of(id).next().is_some() || not_before > Instant::now() {
            return keys;
        }
        self.refresh_requested.notify_one();
        // Use the keys that are known now, whether or not the refresh finished in time.
        let _ = timeout(REFRESH_WAIT, readings.changed()).await;
        self.current()
    }

    /// Reads the keys every `refresh`, more often while there are none, and when a token asks
    /// for a refresh. Waits for `pause` after a refresh that a token asked for. Never returns.
    pub async fn refresh_forever(&self, refresh: Duration, pause: Duration) {
        let mut was_asked = false;
        loop {
            self.read(if was_asked { pause } else { Duration::ZERO }).await;
            // This read has served the requests that asked for a refresh meanwhile.
            let _ = self.refresh_requested.notified().now_or_never();
            let due = if self.current().is_empty() { RETRY_PAUSE } else { refresh };
            let not_before = self.current.borrow().not_before;
            let asked = async {
                sleep_until(not_before.into()).await;
                self.refresh_requested.notified().await;
            };
            was_asked = timeout(due, asked).await.is_ok();
        }
    }

    async fn read(&self, pause: Duration) {
        let source = self.source.clone();
        let read = spawn_blocking(move || source.read()).await.map_err(anyhow::Error::from);
        let keys = match read.flatten().and_then(KeySet::new) {
            Ok(keys) if keys.document == self.current().document => self.current(),
            Ok(keys) => {
                self.report(&keys);
                Arc::new(keys)
            }
            Err(error) => {
                let consequence = match self.current().is_empty() {
                    true => "its tokens are refused until the keys can be read",
                    false => "the service keeps the keys that it has",
                };
                tracing::warn!("the keys of the issuer '{}' cannot be read, {consequence}: {error:#}", self.issuer);
                self.current()
            }
        };
        self.current.send_replace(Reading { keys, not_before: Instant::now() + pause });
    }

    fn report(&self, keys: &KeySet) {
        if keys.is_empty() {
            tracing::warn!("the issuer '{}' has no usable key: its tokens are refused", self.issuer);
        } else {
            let ids: Vec<_> = keys.keys.iter().map(|key| key.id.as_deref().unwrap_or("(no id)")).collect();
            tracing::info!("keys of the issuer '{}': {}", self.issuer, ids.join(", "));
        }
    }
}

impl Source {
    fn read(&self) -> anyhow::Result<Value> {
        match self {
            Self::File(path) => {
                let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
            }
            Self::Url(url) => fetch(url),
            Self::Discovery(issuer) => {
                #[derive(Deserialize)]
                struct Metadata {
                    issuer: String,
                    jwks_uri: String,
                }
                let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let metadata: Metadata = serde_json::from_value(fetch(&url)?)
                    .with_context(|| format!("{url} is not an OIDC discovery document"))?;
                ensure!(
                    metadata.issuer == *issuer,
                    "{url} belongs to the issuer '{}'; set auth.issuer to exactly that, or set auth.jwks_url",
                    metadata.issuer
                );
                ensure!(
                    !is_https(issuer) || is_https(&metadata.jwks_uri),
                    "{url} names a URL for keys that is not HTTPS"
                );
                fetch(&metadata.jwks_uri)
            }
        }
    }
}

/// Fetches a JSON document. Uses the proxy of the environment, if there is one.
fn fetch(url: &str) -> anyhow::Result<Value> {
    let place = shown(url);
    let answer = tls::client(is_https(url), TIMEOUT).get(url).call().with_context(|| format!("cannot get {place}"))?;
    let mut text = Vec::new();
    let body = answer.into_body().into_reader().take(MAX_ANSWER_BYTES).read_to_end(&mut text);
    body.with_context(|| format!("cannot read the answer of {place}"))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{place} does not answer with JSON of at most {MAX_ANSWER_BYTES} bytes"))
}

fn is_https(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// Returns a URL without the parts that may be secret.
fn shown(url: &str) -> &str {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    place.rsplit_once('@').map_or(place, |(_, place)| place)
}

impl KeySet {
    /// Creates the set of a JWKS. Skips keys that the service cannot use, as RFC 7517, 5
    /// requires.
    fn new(document: Value) -> anyhow::Result<Self> {
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .context("the document is not a JWKS: it has no member 'keys'")?;
        let keys = keys.iter().filter_map(|key| Key::new(&serde_json::from_value(key.clone()).ok()?)).collect();
        Ok(Self { keys, document: Some(document) })
    }

    /// Returns whether the keys have been read at least once.
    pub fn is_known(&self) -> bool {
        self.document.is_some()
    }

    /// Returns whether the set has no usable key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the keys with this id. Returns all keys for a token without a key id.
    pub fn of(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| id.is_none() || key.id.as_deref() == id)
    }
}

impl Key {
    /// Creates a key. Returns `None` for a key that is not for verifying signatures, or whose
    /// algorithm is not supported.
    fn new(jwk: &Jwk) -> Option<Self> {
        let of_type: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => return None,
        };
        let common = &jwk.common;
        let is_for_signatures = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|of| of.contains(&KeyOperations::Verify));
        let is_own = |algorithm: &Algorithm| match &common.key_algorithm {
            Some(own) => Algorithm::try_from(*own).is_ok_and(|own| own == *algorithm),
            None => true,
        };
        let algorithms: Vec<_> = of_type.iter().copied().filter(is_own).collect();
        let is_usable = is_for_signatures && !algorithms.is_empty();
        let key = is_usable.then(|| DecodingKey::from_jwk(jwk).ok())??;
        Some(Self { id: common.key_id.clone(), algorithms, key })
    }
}
