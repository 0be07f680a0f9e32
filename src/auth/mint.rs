//! `devicegraph token`: creates tokens for tests, without an identity provider.
//!
//! The command creates the key pair on its first use, in the data folder: `token-key.pem`,
//! which only its owner can read, and `jwks.json`, which the service must trust.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    signature::Ed25519KeyPair,
};
use clap::{Args, ValueEnum, builder::NonEmptyStringValueParser};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode, get_current_timestamp,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use pem::Pem;
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::Access;
use crate::config::Auth;

/// The default issuer and audience, when neither the settings nor the command name them.
const LOCAL: &str = "https://devicegraph.localhost";

/// The contents of the token.
#[derive(Args, Debug)]
pub struct Request {
    /// Kind of caller: delegated (a user, claim scp) or application (claim roles)
    #[arg(long, value_enum, default_value_t = Kind::Application, hide_possible_values = true)]
    kind: Kind,
    /// A permission; repeat the option for more [default: DeviceManagementConfiguration.ReadWrite.All]
    #[arg(long = "scope", value_name = "PERMISSION")]
    scopes: Vec<String>,
    /// Lifetime in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    lifetime: u64,
    /// Object id of the user or application, for created_by [default: a fixed id]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    oid: Option<String>,
    /// Issuer of the token [default: auth.issuer, else the address of devicegraph.localhost]
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
    /// Audience of the token [default: the first of auth.audience, else the address of devicegraph.localhost]
    #[arg(long, value_name = "AUD")]
    audience: Option<String>,
}

/// The kind of caller of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A user, through an application
    Delegated,
    /// An application on its own behalf
    Application,
}

/// A token, and the settings of a service that accepts it.
pub struct Minted {
    /// The token for the header `Authorization: Bearer`.
    pub token: String,
    /// Its `iss`.
    pub issuer: String,
    /// Its `aud`.
    pub audience: String,
    /// The keys that a service must trust.
    pub jwks: PathBuf,
}

impl Request {
    /// Creates the token, and the key pair when `folder` has none.
    ///
    /// # Errors
    /// When the folder cannot be written, or the key file holds no key.
    pub fn mint(self, folder: &Path, auth: &Auth) -> anyhow::Result<Minted> {
        let pair = KeyPair::open(folder)?;
        let local = || LOCAL.to_owned();
        let issuer = self.issuer.or_else(|| auth.issuer.clone()).unwrap_or_else(local);
        let audience = self.audience.or_else(|| auth.audience.0.first().cloned()).unwrap_or_else(local);
        let named = |what: &str| Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{LOCAL}/{what}").as_bytes()).to_string();
        let oid = self.oid.unwrap_or_else(|| named(if self.kind == Kind::Delegated { "user" } else { "application" }));
        let scopes = match self.scopes.is_empty() {
            true => Access::ReadWrite.permissions().iter().map(|&name| name.to_owned()).collect(),
            false => self.scopes,
        };
        let now = get_current_timestamp();
        let mut claims = json!({
            "iss": issuer, "aud": audience, "iat": now, "nbf": now, "exp": now + self.lifetime,
            "tid": named("tenant"), "oid": oid, "sub": oid, "azp": named("client"), "ver": "2.0",
        });
        match self.kind {
            Kind::Delegated => claims["scp"] = scopes.join(" ").into(),
            Kind::Application => claims["roles"] = scopes.into(),
        }
        Ok(Minted { token: pair.sign(&claims)?, issuer, audience, jwks: pair.jwks })
    }
}

/// The key pair of a folder.
pub struct KeyPair {
    /// The private key.
    pub key: EncodingKey,
    /// Its `kid`, the thumbprint of RFC 7638.
    pub id: String,
    /// The file of the public key.
    pub jwks: PathBuf,
}

impl KeyPair {
    /// Reads the key pair of the folder, or creates it.
    ///
    /// # Errors
    /// When the folder cannot be written, or the key file holds no key.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let key = private_key(folder)?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let jwks = std::path::absolute(folder.join("jwks.json"))?;
        // Keep other keys that an operator has added.
        let is_listed = fs::read_to_string(&jwks).is_ok_and(|text| text.contains(&id));
        if !is_listed {
            let text = serde_json::to_string_pretty(&JwkSet { keys: vec![jwk] })? + "\n";
            replace(&jwks, text.as_bytes()).with_context(|| format!("cannot write {}", jwks.display()))?;
        }
        Ok(Self { key, id, jwks })
    }

    /// Returns a signed token with these claims.
    ///
    /// # Errors
    /// None that is known.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(encode(&header, claims, &self.key)?)
    }
}

/// Reads the private key in `folder`, or creates it.
fn private_key(folder: &Path) -> anyhow::Result<EncodingKey> {
    let path = folder.join("token-key.pem");
    let cannot = || format!("cannot use {}; set database.data_dir to a folder that can be written", path.display());
    if let Some(pem) = read(&path).with_context(cannot)? {
        return EncodingKey::from_ed_pem(&pem).map_err(|_| {
            anyhow!(
                "{} holds no Ed25519 key; remove the file, and the next `devicegraph token` creates a new key",
                path.display()
            )
        });
    }
    let pair = Ed25519KeyPair::generate().map_err(|_| anyhow!("the system cannot generate random numbers"))?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| anyhow!("an Ed25519 key cannot be written"))?;
    DirBuilder::new().recursive(true).mode(0o755).create(folder).with_context(cannot)?;
    // Another process may make a key at the same time. The first file wins.
    let new = folder.join(format!("token-key.{}", Uuid::new_v4()));
    write(&new, pem::encode(&Pem::new("PRIVATE KEY", der.as_ref())).as_bytes(), 0o600).with_context(cannot)?;
    let linked = fs::hard_link(&new, &path);
    fs::remove_file(&new).with_context(cannot)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error).with_context(cannot),
        _ => private_key(folder),
    }
}

fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn write(path: &Path, text: &[u8], mode: u32) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(text)
}

/// Replaces a file atomically, because the service may be reading it.
fn replace(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let new = path.with_extension(Uuid::new_v4().to_string());
    write(&new, text, 0o644)?;
    Ok(fs::rename(&new, path)?)
}
