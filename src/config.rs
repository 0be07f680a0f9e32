//! Settings: `default.toml`, overridden by a file, overridden by the environment.
//!
//! A key that does not exist is an error that names it, wherever it stands.
//! This is the only file that reads settings from the environment.

use std::{
    env, fmt,
    net::ToSocketAddrs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use config::{Config, ConfigError, Environment, File, FileFormat};
use secrecy::SecretString;
use serde::Deserialize;

/// Every setting, with `default.toml` as its documentation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where and how the service listens.
    pub server: Server,
    /// Where the data is.
    pub database: Database,
    /// Who may call.
    pub auth: Auth,
    /// How secrets are stored.
    pub secrets: Secrets,
    /// What is logged.
    pub log: Log,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Whether links follow the forwarding headers of a proxy.
    pub forwarded_headers: bool,
    /// Rows of a page when a client says nothing.
    pub default_page_size: u32,
    /// Rows of a page at most.
    pub max_page_size: u32,
    /// Address or name to listen on.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Largest request body in bytes, after decoding.
    pub max_body_bytes: usize,
    /// Seconds that a stop waits for proxies to send no more requests.
    pub drain_seconds: u64,
    /// Seconds that a stop waits for requests in flight.
    pub shutdown_seconds: u64,
    /// Connections of clients held open at most.
    pub max_connections: usize,
    /// Seconds that a client may take to send the head of a request, and its body.
    pub request_timeout_seconds: u64,
    /// Seconds that a connection is kept for the next request.
    pub keep_alive_seconds: u64,
    /// Certificate chain in PEM; with it the service speaks HTTPS only.
    pub tls_certificate: Option<PathBuf>,
    /// Private key of the certificate in PEM.
    pub tls_key: Option<PathBuf>,
    /// Origins whose pages may call; none by default.
    pub cors_origins: Names,
    /// Host names that requests may name while authorization is off.
    pub allowed_hosts: Names,
}

/// `[database]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// PostgreSQL to use; `None` starts the private one.
    pub url: Option<SecretString>,
    /// Folder of the private server; `None` is the default for this user.
    pub data_dir: Option<PathBuf>,
    /// Export that an empty database is filled with at start.
    pub seed: Option<PathBuf>,
    /// Whether pending migrations are applied at start.
    pub migrate: bool,
    /// Connections held open at most.
    pub max_connections: u32,
    /// Milliseconds in which the database must answer the service, or counts as out of reach.
    pub answer_timeout_ms: u64,
    /// Milliseconds that a request waits for a connection.
    pub acquire_timeout_ms: u64,
    /// Milliseconds that a statement of a request waits for a lock.
    pub lock_timeout_ms: u32,
    /// Milliseconds that a statement of a request may take.
    pub statement_timeout_ms: u32,
    /// Milliseconds after which a statement is logged.
    pub slow_statement_ms: u64,
}

/// `[auth]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// `None` is decided by the address, see [`crate::auth`].
    pub mode: Option<AuthMode>,
    /// Who signs the tokens, the `iss` of each.
    pub issuer: Option<String>,
    /// Whom the tokens are for, an `aud` of each.
    #[serde(default)]
    pub audience: Names,
    /// The issuer's keys in a file.
    pub jwks_file: Option<PathBuf>,
    /// The issuer's keys at a URL; neither is OIDC discovery.
    pub jwks_url: Option<String>,
    /// More issuers.
    #[serde(default)]
    pub issuers: Vec<Issuer>,
    /// What the service says of itself to everyone, see [`crate::auth::PublicDocument`].
    pub open: Names,
    /// Seconds that clocks may differ.
    pub leeway_seconds: u64,
    /// Seconds after which the keys are read again.
    pub refresh_seconds: u64,
    /// Seconds between two readings that tokens with unknown keys ask for.
    pub unknown_key_seconds: u64,
}

/// `[[auth.issuers]]`, with the keys of the same names in `[auth]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of a token.
    pub issuer: String,
    /// An `aud` of a token.
    pub audience: Names,
    /// The keys in a file.
    pub jwks_file: Option<PathBuf>,
    /// The keys at a URL.
    pub jwks_url: Option<String>,
}

/// Some names: one text, in which commas part them, or an array of them.
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
    /// Callers prove who they are with a bearer token.
    Jwt,
}

/// `[secrets]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// 32 bytes in base64; without it secrets are refused.
    pub key: Option<SecretString>,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Directives of `tracing-subscriber`.
    pub filter: String,
}

/// `log.format`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    Pretty,
    /// A JSON object a line.
    Json,
}

/// The variable that many programs read, for when `database.url` is not set.
const DATABASE_URL: &str = "DATABASE_URL";
/// The variable that names a running stack to the tests.
const TEST_URL: &str = "DEVICEGRAPH_TEST_URL";

impl Settings {
    /// Reads the settings of this process; `file` is what `--config` names.
    ///
    /// # Errors
    /// When the file cannot be read, a key does not exist, or a value is not
    /// of its key's type.
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
            ("server.max_connections", server.max_connections == 0),
            ("server.default_page_size", server.default_page_size == 0),
            ("server.max_page_size", server.max_page_size == 0),
            ("server.request_timeout_seconds", server.request_timeout_seconds == 0),
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
        Ok(settings)
    }
}

/// Refuses a variable that looks like a setting and is none, and a value that is not UTF-8.
/// The config crate would print such a value, which may be a secret.
fn check_environment() -> anyhow::Result<()> {
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("DEVICEGRAPH_") && !name.starts_with("DEVICEGRAPH__") && name != TEST_URL {
            bail!(
                "the variable {name} is no setting: write DEVICEGRAPH__SECTION__KEY with two underscores, or unset it"
            );
        }
        // The config crate accepts the prefix in any letter case.
        let is_read = name == DATABASE_URL || name.to_lowercase().starts_with("devicegraph__");
        ensure!(
            !is_read || value.to_str().is_some(),
            "the value of the variable {name} is not UTF-8; set it to UTF-8 text, or unset it"
        );
    }
    Ok(())
}

/// What is wrong with the settings, without their values: they may be secrets.
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

/// A message of a parser without the lines of the file and the value that it quotes.
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
    /// Every issuer of the settings, that of `[auth]` itself first.
    ///
    /// # Errors
    /// When `[auth]` says something of an issuer and not which.
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
    /// `https` with a certificate, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls_certificate.is_some() { "https" } else { "http" }
    }

    /// Whether only programs of this machine can reach the address.
    ///
    /// # Errors
    /// When it is neither an address nor a name that can be looked up.
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
