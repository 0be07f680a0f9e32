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
use anyhow::{Context, ensure};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use crate::{config, tls};

/// How long an issuer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an issuer's answer at most.
const LARGEST: u64 = 1024 * 1024;

/// The keys of one issuer, kept.
pub struct Keys {
    issuer: String,
    source: Source,
    current: watch::Sender<Arc<KeySet>>,
    /// When a token with an unknown key last had them read; held while they are read.
    asked: Mutex<Option<Instant>>,
    pause: Duration,
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
    /// A file is read now; `pause` is the least time between two readings that
    /// tokens ask for.
    ///
    /// # Errors
    /// When both or no usable source is set, or the file has no usable key.
    pub fn new(settings: &config::Issuer, pause: Duration) -> anyhow::Result<Self> {
        let issuer = settings.issuer.clone();
        let (source, set) = match (&settings.jwks_file, &settings.jwks_url) {
            (Some(_), Some(_)) => {
                anyhow::bail!("auth.jwks_file and auth.jwks_url are both set for the issuer '{issuer}'; keep one")
            }
            (Some(file), None) => {
                let source = Source::File(file.clone());
                let set = source.read().and_then(KeySet::new).context("auth.jwks_file")?;
                ensure!(!set.keys.is_empty(), "auth.jwks_file: {} has no key that can be used", file.display());
                (source, set)
            }
            (None, Some(url)) => (Source::Url(url.clone()), KeySet::default()),
            (None, None) => (Source::Discovery(issuer.clone()), KeySet::default()),
        };
        if let Source::Url(url) | Source::Discovery(url) = &source {
            let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some());
            let scheme = uri.as_ref().and_then(Uri::scheme_str);
            ensure!(
                matches!(scheme, Some("http" | "https")),
                "the keys of the issuer '{issuer}' cannot be fetched from '{url}'; set auth.jwks_url to an https:// URL, or auth.jwks_file"
            );
            if scheme == Some("http") {
                tracing::warn!(
                    "the keys of the issuer '{issuer}' come over plain HTTP: whoever can change what {url} answers can call"
                );
            }
        }
        Ok(Self { issuer, source, current: watch::Sender::new(Arc::new(set)), asked: Mutex::new(None), pause })
    }

    /// The keys that are there.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.borrow().clone()
    }

    /// The keys, read again when `id` is not among them and the pause is over.
    pub async fn with(&self, id: Option<&str>) -> Arc<KeySet> {
        let current = self.current();
        if current.of(id).next().is_some() {
            return current;
        }
        let mut asked = self.asked.lock().await;
        if self.current().of(id).next().is_none() && asked.is_none_or(|at| at.elapsed() >= self.pause) {
            *asked = Some(Instant::now());
            self.read().await;
        }
        self.current()
    }

    /// Reads the keys again.
    pub async fn refresh(&self) {
        let _asked = self.asked.lock().await;
        self.read().await;
    }

    async fn read(&self) {
        let source = self.source.clone();
        let read = spawn_blocking(move || source.read()).await.map_err(anyhow::Error::from);
        match read.flatten().and_then(KeySet::new) {
            Ok(set) if set.document == self.current().document => {}
            Ok(set) => {
                let ids: Vec<_> = set.keys.iter().map(|key| key.id.as_deref().unwrap_or("(no id)")).collect();
                tracing::info!("keys of the issuer '{}': {}", self.issuer, ids.join(", "));
                self.current.send_replace(Arc::new(set));
            }
            Err(error) => {
                tracing::warn!(
                    "the keys of the issuer '{}' cannot be read, those that are there stay: {error:#}",
                    self.issuer
                );
            }
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
                    "{url} is of the issuer '{}'; set auth.issuer to that, to the letter, or auth.jwks_url",
                    metadata.issuer
                );
                ensure!(
                    !issuer.starts_with("https:") || metadata.jwks_uri.starts_with("https:"),
                    "{url} names keys that do not come over HTTPS"
                );
                fetch(&metadata.jwks_uri)
            }
        }
    }
}

/// A JSON document, by way of the proxy in the environment where there is one.
fn fetch(url: &str) -> anyhow::Result<Value> {
    let answer = tls::client(url, TIMEOUT).get(url).call().with_context(|| format!("cannot get {url}"))?;
    let mut text = Vec::new();
    let body = answer.into_body().into_reader().take(LARGEST).read_to_end(&mut text);
    body.with_context(|| format!("cannot read what {url} answers"))?;
    serde_json::from_slice(&text).with_context(|| format!("{url} does not answer with JSON of at most {LARGEST} bytes"))
}

impl KeySet {
    /// A key that is of no use here is left out, as RFC 7517, 5, has it.
    fn new(document: Value) -> anyhow::Result<Self> {
        let keys = document.get("keys").and_then(Value::as_array).context("there is no JWKS: no member 'keys'")?;
        let keys = keys.iter().filter_map(|key| Key::new(&serde_json::from_value(key.clone()).ok()?)).collect();
        Ok(Self { keys, document: Some(document) })
    }

    /// Whether they have been read.
    pub fn is_known(&self) -> bool {
        self.document.is_some()
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
