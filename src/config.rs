//! Settings: `default.toml`, overridden by a file, overridden by environment variables.
//!
//! An unknown key is an error that names the key. This is the only file that reads settings
//! from the environment.

use std::{
    env, fmt,
    net::ToSocketAddrs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use config::{Config, ConfigError, Environment, File, FileFormat};
use secrecy::SecretString;
use serde::Deserialize;

use crate::catalogue::version::UnknownTypes;

/// Every setting. `default.toml` documents them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How the service listens.
    pub server: Server,
    /// The database.
    pub database: Database,
    /// Authentication.
    pub auth: Auth,
    /// The types of configurations.
    pub catalogue: Catalogue,
    /// The encryption of secrets.
    pub secrets: Secrets,
    /// The log.
    pub log: Log,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Whether links use the forwarding headers of a proxy.
    pub forwarded_headers: bool,
    /// The number of rows of a page when the client does not choose it.
    pub default_page_size: u32,
    /// The maximum number of rows of a page.
    pub max_page_size: u32,
    /// The address or host name to listen on.
    pub host: String,
    /// The port. 0 means any free port.
    pub port: u16,
    /// The maximum size of a request body in bytes, after decoding.
    pub max_body_bytes: usize,
    /// The maximum number of JSON values in a request body. `None` means one for each 16 bytes
    /// of `max_body_bytes`.
    pub max_body_values: Option<usize>,
    /// The memory in bytes for the bodies of all requests in progress. `None` means 128 MiB, or
    /// the memory that four of the largest bodies need.
    pub body_memory_bytes: Option<usize>,
    /// The time in seconds that the service waits at shutdown until proxies stop sending
    /// requests.
    pub drain_seconds: u64,
    /// The time in seconds that the service waits at shutdown for requests in flight.
    pub shutdown_seconds: u64,
    /// The maximum number of open connections of clients.
    pub max_connections: usize,
    /// The percentage of [`max_connections`](Self::max_connections) above which idle connections
    /// are closed.
    pub close_idle_above_percent: u8,
    /// The maximum number of open connections of one client address. 0 means no limit.
    pub max_connections_per_address: usize,
    /// The timeout in seconds for the TLS handshake of a connection.
    pub tls_handshake_timeout_seconds: u64,
    /// The timeout in seconds for receiving the head of a request, and for its body.
    pub request_timeout_seconds: u64,
    /// The time in seconds that an idle connection is kept open.
    pub keep_alive_seconds: u64,
    /// The certificate chain in PEM. With it, the service accepts only HTTPS.
    pub tls_certificate: Option<PathBuf>,
    /// The private key of the certificate in PEM.
    pub tls_key: Option<PathBuf>,
    /// The origins whose pages may call the API. None by default.
    pub cors_origins: Names,
    /// The host names that requests may use while authorization is disabled.
    pub allowed_hosts: Names,
}

/// `[database]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The URL of the database. `None` starts the private PostgreSQL.
    pub url: Option<SecretString>,
    /// The folder of the private PostgreSQL. `None` means the default for this user.
    pub data_dir: Option<PathBuf>,
    /// The export that fills an empty database at start.
    pub seed: Option<PathBuf>,
    /// Whether the service applies pending migrations at start.
    pub migrate: bool,
    /// The maximum number of open connections to the database.
    pub max_connections: u32,
    /// The timeout in milliseconds for an answer of the database, after which the service
    /// considers it down.
    pub answer_timeout_ms: u64,
    /// The time in milliseconds that a request waits for a connection.
    pub acquire_timeout_ms: u64,
    /// The lock timeout of a request's statement in milliseconds.
    pub lock_timeout_ms: u32,
    /// The timeout of a request's statement in milliseconds.
    pub statement_timeout_ms: u32,
    /// The timeout of an atomicity group as a whole in milliseconds. 0 means no timeout.
    pub group_timeout_ms: u64,
    /// The time in milliseconds after which a statement is logged as slow.
    pub slow_statement_ms: u64,
}

/// `[auth]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The mode. `None`: the listening address decides, see
    /// [`crate::auth::authenticator`].
    pub mode: Option<AuthMode>,
    /// The issuer of the tokens, their `iss`.
    pub issuer: Option<String>,
    /// The accepted audiences of the tokens, their `aud`.
    #[serde(default)]
    pub audience: Names,
    /// The file with the keys of the issuer.
    pub jwks_file: Option<PathBuf>,
    /// The URL of the keys of the issuer. Without a file and a URL, the service uses OIDC
    /// discovery.
    pub jwks_url: Option<String>,
    /// More issuers.
    #[serde(default)]
    pub issuers: Vec<Issuer>,
    /// The documents that need no token, see [`crate::auth::PublicDocument`].
    pub open: Names,
    /// The accepted difference of clocks in seconds.
    pub leeway_seconds: u64,
    /// The time in seconds between two refreshes of the keys.
    pub refresh_seconds: u64,
    /// The minimum time in seconds between two refreshes that tokens with unknown keys cause.
    pub unknown_key_seconds: u64,
}

/// `[[auth.issuers]]`, with the keys of the same names in `[auth]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of the tokens.
    pub issuer: String,
    /// The accepted values of `aud`.
    pub audience: Names,
    /// The file with the keys.
    pub jwks_file: Option<PathBuf>,
    /// The URL of the keys.
    pub jwks_url: Option<String>,
}

/// A list of names: a text with commas, or an array.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(from = "OneOrMany")]
pub struct Names(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Names {
    fn from(names: OneOrMany) -> Self {
        match names {
            OneOrMany::One(text) => {
                Self(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
            }
            OneOrMany::Many(names) => Self(names.into_iter().filter(|name| !name.is_empty()).collect()),
        }
    }
}

/// `auth.mode`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Every caller may do everything.
    Disabled,
    /// Callers authenticate with a bearer token.
    Jwt,
}

/// `[catalogue]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// What happens with a type that the catalogue lacks.
    pub unknown_types: UnknownTypes,
}

/// `[secrets]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The key: 32 bytes in base64. Without a key, the service refuses secrets.
    pub key: Option<SecretString>,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The format of the log lines.
    pub format: LogFormat,
    /// Directives of `tracing-subscriber`.
    pub filter: String,
}

/// `log.format`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Pretty,
    /// One JSON object for each line.
    Json,
}

/// The common variable for the URL of the database, used when `database.url` is not set.
const DATABASE_URL: &str = "DATABASE_URL";
/// Variables that are no settings: the commit for a build, see `main.rs`, and the URL of a running
/// service for the tests.
const NO_SETTINGS: [&str; 2] = ["DEVICEGRAPH_COMMIT", "DEVICEGRAPH_TEST_URL"];

impl Settings {
    /// Reads the settings of this process. `file` is the argument of `--config`.
    ///
    /// # Errors
    /// When the file cannot be read, a key does not exist, or a value has the wrong type.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        check_environment()?;
        let file = match file {
            Some(path) => File::from(path).format(FileFormat::Toml),
            None => File::new("devicegraph.toml", FileFormat::Toml).required(false),
        };
        let environment =
            Environment::with_prefix("DEVICEGRAPH").prefix_separator("__").separator("__").ignore_empty(true);
        let mut settings: Self = Config::builder()
            .add_source(File::from_str(include_str!("default.toml"), FileFormat::Toml))
            .add_source(file)
            .add_source(environment)
            .build()
            .and_then(Config::try_deserialize)
            .map_err(|error| anyhow!("the settings are wrong: {}", without_values(&error)))?;
        if settings.database.url.is_none() {
            let url = env::var(DATABASE_URL).ok().filter(|url| !url.is_empty());
            settings.database.url = url.map(SecretString::from);
        }
        let Self { server, database, auth, .. } = &settings;
        for (key, is_zero) in [
            ("server.max_body_bytes", server.max_body_bytes == 0),
            ("server.max_body_values", server.max_body_values == Some(0)),
            ("server.max_connections", server.max_connections == 0),
            ("server.default_page_size", server.default_page_size == 0),
            ("server.max_page_size", server.max_page_size == 0),
            ("server.request_timeout_seconds", server.request_timeout_seconds == 0),
            ("server.tls_handshake_timeout_seconds", server.tls_handshake_timeout_seconds == 0),
            ("server.close_idle_above_percent", server.close_idle_above_percent == 0),
            ("database.max_connections", database.max_connections == 0),
            ("database.answer_timeout_ms", database.answer_timeout_ms == 0),
            ("database.acquire_timeout_ms", database.acquire_timeout_ms == 0),
            ("auth.refresh_seconds", auth.refresh_seconds == 0),
            ("auth.unknown_key_seconds", auth.unknown_key_seconds == 0),
        ] {
            ensure!(!is_zero, "{key} is 0; set it to 1 or more, or leave it out");
        }
        ensure!(
            auth.leeway_seconds <= 300,
            "auth.leeway_seconds is {}, and expired tokens would be accepted for that long; set it to 300 or less, and synchronize the clocks",
            auth.leeway_seconds
        );
        ensure!(
            server.close_idle_above_percent <= 100,
            "server.close_idle_above_percent is {}; set it to 100 or less",
            server.close_idle_above_percent
        );
        Ok(settings)
    }
}

/// Refuses a variable that looks like a setting but is none, and a value that is not UTF-8. The
/// config crate would print such a value, which may be a secret.
fn check_environment() -> anyhow::Result<()> {
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("DEVICEGRAPH_") && !name.starts_with("DEVICEGRAPH__") && !NO_SETTINGS.contains(&&*name) {
            bail!(
                "the variable {name} is no setting: write DEVICEGRAPH__SECTION__KEY with two underscores, or unset it"
            );
        }
        // The prefix is case-insensitive in the config crate.
        let is_read = name == DATABASE_URL || name.to_lowercase().starts_with("devicegraph__");
        ensure!(
            !is_read || value.to_str().is_some(),
            "the value of the variable {name} is not UTF-8; set it to UTF-8 text, or unset it"
        );
    }
    Ok(())
}

/// Returns the error without the values of settings, which may be secrets.
fn without_values(error: &ConfigError) -> String {
    match error {
        ConfigError::Type { key, expected, .. } => {
            format!("{} must be {expected}", key.as_deref().unwrap_or("a section"))
        }
        ConfigError::At { error, key, .. } => match (&**error, key) {
            (ConfigError::Type { expected, .. }, Some(key)) => format!("{key} must be {expected}"),
            (error, Some(key)) => format!("{key}: {}", without_values(error)),
            (error, None) => without_values(error),
        },
        other => without_source(&other.to_string()),
    }
}

/// Returns the message of a parser without the quoted lines of the file and without the quoted
/// value.
fn without_source(message: &str) -> String {
    let is_source =
        |line: &str| line.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ').starts_with('|');
    let text: Vec<_> = message.lines().filter(|line| !is_source(line)).map(str::trim).collect();
    let text = text.join("; ");
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some((before, (_, expected))) =
            text.split_once(kind).and_then(|(before, rest)| Some((before, rest.rsplit_once(", expected ")?)))
        {
            return format!("{before}it must be {expected}");
        }
    }
    text
}

impl Auth {
    /// Returns every issuer of the settings. The issuer of `[auth]` itself comes first.
    ///
    /// # Errors
    /// When `[auth]` has settings of an issuer but no issuer.
    pub fn all_issuers(&self) -> anyhow::Result<Vec<Issuer>> {
        let Self { audience, jwks_file, jwks_url, .. } = self.clone();
        let first = match &self.issuer {
            Some(issuer) => Some(Issuer { issuer: issuer.clone(), audience, jwks_file, jwks_url }),
            None => {
                let is_set = !audience.0.is_empty() || jwks_file.is_some() || jwks_url.is_some();
                ensure!(
                    !is_set,
                    "auth.issuer is not set, and other settings of the issuer are; set it to the 'iss' of its tokens"
                );
                None
            }
        };
        Ok(first.into_iter().chain(self.issuers.clone()).collect())
    }
}

impl Server {
    /// Returns the maximum number of JSON values in a request body.
    pub fn max_values(&self) -> usize {
        self.max_body_values.unwrap_or(self.max_body_bytes.div_ceil(16))
    }

    /// Returns `https` with a certificate, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls_certificate.is_some() { "https" } else { "http" }
    }

    /// Returns whether only programs on this machine can reach the address.
    ///
    /// # Errors
    /// When `server.host` is neither an address nor a host name that can be resolved.
    pub fn is_loopback(&self) -> anyhow::Result<bool> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        let mut addresses = addresses.with_context(|| {
            format!("server.host: '{}' is no address and no host name that can be resolved", self.host)
        })?;
        Ok(addresses.all(|address| address.ip().is_loopback()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "[{}]:{}", self.host, self.port),
            false => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}
