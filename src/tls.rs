//! TLS: the certificate of the service, and the HTTP clients of the service with the
//! certificates that they trust.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{sync::watch, time::sleep};
use ureq::tls::{RootCerts, TlsConfig};

use crate::config;

/// The interval at which the service checks the files of the certificate.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The certificate of the service, reloaded when its files change.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: watch::Sender<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Loads the certificate of the settings. Returns `None` when the service uses plain HTTP.
    ///
    /// # Errors
    /// When only one of the two files is set, a file cannot be read, or the key does not belong
    /// to the certificate.
    pub fn load(settings: &config::Server) -> anyhow::Result<Option<Self>> {
        let (chain, key) = match (&settings.tls_certificate, &settings.tls_key) {
            (Some(chain), Some(key)) => (chain.clone(), key.clone()),
            (None, None) => return Ok(None),
            (Some(_), None) => bail!("server.tls_certificate is set and server.tls_key is not; set both"),
            (None, Some(_)) => bail!("server.tls_key is set and server.tls_certificate is not; set both"),
        };
        let current = watch::Sender::new(Arc::new(read(&chain, &key)?));
        Ok(Some(Self { chain, key, current }))
    }

    /// Returns the TLS configuration of the server: TLS 1.2 and 1.3, HTTP/1.1.
    ///
    /// # Errors
    /// None that is known.
    pub fn server_config(self: &Arc<Self>) -> anyhow::Result<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_cert_resolver(self.clone());
        // A client that only speaks HTTP/2 then fails in the handshake, with a clear error.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Returns the current certificate.
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.current.borrow().clone()
    }

    /// Reloads the files. Returns whether the certificate changed.
    ///
    /// # Errors
    /// When the files hold no valid certificate. The current one then stays in use.
    pub fn renew(&self) -> anyhow::Result<bool> {
        let renewed = read(&self.chain, &self.key)?;
        let is_another = renewed.cert != self.current().cert;
        if is_another {
            self.current.send_replace(Arc::new(renewed));
        }
        Ok(is_another)
    }

    /// Reloads changed files at intervals. Never returns.
    pub async fn keep(&self) {
        loop {
            sleep(CHECK_INTERVAL).await;
            match self.renew() {
                Ok(true) => tracing::info!("loaded the new certificate in {}", self.chain.display()),
                Ok(false) => {}
                Err(error) => tracing::warn!("the current certificate stays in use: {error:#}"),
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(chain: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let pem = |key: &str, path: &Path| {
        fs::read(path).with_context(|| format!("server.{key}: cannot read {}", path.display()))
    };
    let certificates = CertificateDer::pem_slice_iter(&pem("tls_certificate", chain)?)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("server.tls_certificate: {} is not PEM", chain.display()))?;
    ensure!(!certificates.is_empty(), "server.tls_certificate: {} holds no certificate in PEM", chain.display());
    let private = PrivateKeyDer::from_pem_slice(&pem("tls_key", key)?)
        .map_err(|_| anyhow::anyhow!("server.tls_key: {} holds no private key in PEM", key.display()))?;
    let certified = CertifiedKey::from_der(certificates, private, &provider());
    certified.with_context(|| {
        format!(
            "server.tls_key: the key in {} does not belong to the certificate in {}",
            key.display(),
            chain.display()
        )
    })
}

/// Returns an HTTP client for the requests of the service itself. It trusts the certificates
/// that this machine trusts. With `is_https` it accepts only HTTPS, also in redirects.
pub fn client(is_https: bool, timeout: Duration) -> ureq::Agent {
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider());
    let config = ureq::Agent::config_builder()
        .tls_config(tls.root_certs(RootCerts::PlatformVerifier).build())
        .https_only(is_https)
        .timeout_global(Some(timeout));
    config.build().new_agent()
}

/// Returns an HTTP client that calls this service. It does not verify the certificate, because
/// it uses the address and not the name in the certificate.
pub fn client_of_itself(timeout: Duration) -> ureq::Agent {
    let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider());
    let config = ureq::Agent::config_builder()
        .tls_config(tls.disable_verification(true).build())
        .proxy(None)
        .timeout_global(Some(timeout));
    config.build().new_agent()
}
