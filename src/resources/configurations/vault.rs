//! Encrypts and decrypts secrets.
//!
//! The cipher is AES-256-GCM. The reference of a secret is its associated data, so that the
//! ciphertexts of two rows cannot be exchanged.

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::secrets::{self, Secret};
use crate::{config, error::ApiError, resources::parent::ConfigurationId};

/// An encrypted secret before it is stored.
pub struct Sealed {
    /// Its `secretReferenceValueId`.
    pub reference: String,
    /// Nonce, ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// An encrypted secret as it is stored, with its configuration.
pub struct StoredSecret {
    /// Its `secretReferenceValueId`.
    pub reference: String,
    /// The configuration of the secret.
    pub device_configuration_id: Uuid,
    /// Nonce, ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// The key of the settings. Without a key, the service refuses secrets.
pub struct Vault(Option<RandomizedNonceKey>);

impl Vault {
    /// # Errors
    /// When the key is not 32 bytes in base64.
    pub fn new(settings: &config::Secrets) -> anyhow::Result<Self> {
        let Some(key) = &settings.key else { return Ok(Self(None)) };
        let what = "secrets.key is not 32 bytes in base64; create a key with: openssl rand -base64 32";
        let bytes = STANDARD.decode(key.expose_secret()).map_err(|_| anyhow!(what))?;
        ensure!(bytes.len() == 32, what);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| anyhow!(what))?;
        Ok(Self(Some(key)))
    }

    /// Returns the key for the secret of a setting.
    ///
    /// # Errors
    /// 400 when the service has no key.
    pub fn key(&self, place: usize) -> Result<&RandomizedNonceKey, ApiError> {
        self.0.as_ref().ok_or_else(|| {
            ApiError::model(format!(
                "The value of 'omaSettings[{place}].value' cannot be encrypted, because this service has no key. Ask an operator to set secrets.key, or leave 'isEncrypted' out: the value is then stored in plain text."
            ))
        })
    }

    /// Encrypts the secrets of a configuration and writes the reference of each into its
    /// setting.
    ///
    /// # Errors
    /// 400 when there is a secret and the service has no key.
    pub fn seal(
        &self,
        configuration: ConfigurationId,
        properties: &mut Map<String, Value>,
        secrets: &[Secret],
    ) -> Result<Vec<Sealed>, ApiError> {
        let mut sealed = Vec::new();
        for &Secret { place, ref text } in secrets {
            let key = self.key(place)?;
            let reference = format!("{}_{configuration}_{}", Uuid::new_v4(), Uuid::new_v4());
            let mut ciphertext = text.expose_secret().as_bytes().to_vec();
            let nonce = key.seal_in_place_append_tag(Aad::from(&reference), &mut ciphertext);
            let nonce = nonce.map_err(|_| ApiError::internal(anyhow!("a secret could not be encrypted")))?;
            ciphertext.splice(0..0, nonce.as_ref().iter().copied());
            secrets::set_reference(properties, place, &reference);
            sealed.push(Sealed { reference, ciphertext });
        }
        Ok(sealed)
    }

    /// Decrypts a stored secret.
    ///
    /// # Errors
    /// 500 when the secret was encrypted with another key.
    pub fn open(&self, stored: &StoredSecret) -> Result<SecretString, ApiError> {
        let StoredSecret { reference, ciphertext: stored, .. } = stored;
        let opened = || {
            let key = self.0.as_ref().context("secrets.key is not set, and there are secrets")?;
            let (nonce, ciphertext) = stored.split_at_checked(NONCE_LEN).context("a secret is cut short")?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| anyhow!("a secret is cut short"))?;
            let mut text = ciphertext.to_vec();
            let text = key.open_in_place(nonce, Aad::from(reference), &mut text);
            let text = text.map_err(|_| anyhow!("secrets.key is not the key that a secret was encrypted with"))?;
            Ok(String::from_utf8(text.to_vec())?.into())
        };
        opened().map_err(|error: anyhow::Error| ApiError::internal(error))
    }
}
