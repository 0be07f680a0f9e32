//! The keys of an issuer: a JWKS (RFC 7517) in a file, at a URL, or where OIDC
//! discovery says.
//!
//! They are read at start, every `auth.refresh_seconds`, and when a token names
//! a key that is not among them. What cannot be read leaves those that are
//! there in place.
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

/// How long an issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a refresh of the keys.
const REFRESH_WAIT: Duration = Duration::from_millis(900);
/// The pause before the next attempt while an issuer has no keys.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// The maximum size of an issuer's answer in bytes.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// The keys of one issuer, kept.
///
/// One task reads them, [`Keys::refresh_forever`]; requests only ask it to. So a slow
/// issuer is read once however many ask, and who hangs up undoes nothing.
pub struct Keys {
    issuer: String,
    source: Source,
    current: watch::Sender<Reading>,
    refresh_requested: Notify,
}

/// What the last reading left.
struct Reading {
    keys: Arc<KeySet>,
    /// Before this time, no token causes another read.
    not_before: Instant,
}

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Url(String),
    /// The issuer, which says where its keys are.
    Discovery(String),
}

/// The keys at one moment.
#[derive(Default)]
pub struct KeySet {
    /// As they came; `None` before they were first read.
    document: Option<Value>,
    keys: Vec<Key>,
}

/// A key, and what it may check.
pub struct Key {
    id: Option<String>,
    /// Its algorithms.
    pub algorithms: Vec<Algorithm>,
    /// Itself.
    pub key: DecodingKey,
}

impl Keys {
    /// A file is read now.
    ///
    /// # Errors
    /// When both or no usable source is set, or the file has no usable key.
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
                    "the keys of the issuer '{issuer}' come over plain HTTP: an attacker who can change the answers of {} can call this service",
                    shown(url)
                );
            }
        }
        let reading = Reading { keys: Arc::new(keys), not_before: Instant::now() };
        Ok(Self { issuer, source, current: watch::Sender::new(reading), refresh_requested: Notify::new() })
    }

    /// The keys that are there.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.borrow().keys.clone()
    }

    /// The keys; when `id` is not among them, those of one more reading, if it
    /// is time for one and it ends soon.
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

    /// Reads the keys again and again, and never ends: every `refresh`, sooner
    /// while there are none, and when a token asks, with a `pause` after that.
    pub async fn refresh_forever(&self, refresh: Duration, pause: Duration) {
        let mut was_asked = false;
        loop {
            self.read(if was_asked { pause } else { Duration::ZERO }).await;
            // Who asked meanwhile has been answered by it.
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
                    true => "its tokens are refused until they can",
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
                    .with_context(|| format!("{url} is no OIDC discovery document"))?;
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

/// A JSON document, by way of the proxy in the environment where there is one.
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

/// A URL without what may be secret in it.
fn shown(url: &str) -> &str {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    place.rsplit_once('@').map_or(place, |(_, place)| place)
}

impl KeySet {
    /// A key that is of no use here is left out, as RFC 7517, 5, has it.
    fn new(document: Value) -> anyhow::Result<Self> {
        let keys = document.get("keys").and_then(Value::as_array).context("there is no JWKS: no member 'keys'")?;
        let keys = keys.iter().filter_map(|key| Key::new(&serde_json::from_value(key.clone()).ok()?)).collect();
        Ok(Self { keys, document: Some(document) })
    }

    /// Whether they have ever been read.
    pub fn is_known(&self) -> bool {
        self.document.is_some()
    }

    /// Whether there is none that could check a token.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of an id; every key for a token that names none.
    pub fn of(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| id.is_none() || key.id.as_deref() == id)
    }
}

impl Key {
    /// `None` for one that is not for checking signatures, or of an algorithm
    /// that is not among the four.
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
