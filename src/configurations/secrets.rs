//! Secrets of OMA settings: values that a client marks with `isEncrypted`, which
//! `/beta` has.
//!
//! Such a value is stored apart, encrypted with AES-256-GCM under `secrets.key`;
//! in the setting itself stands `****`, as Graph reads it back, and the name
//! under which `getOmaSettingPlainTextValue` gives it out. Who sends `****`
//! back means the secret that is there.

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::model::ConfigurationId;
use crate::{
    catalogue::{Primitive, Type, ValueType, values::TYPE},
    config,
    error::ApiError,
    odata::links::Version,
};

/// What is read instead of a secret.
pub const HIDDEN: &str = "****";
const REFERENCE: &str = "secretReferenceValueId";

/// A secret that was sent, and the place of its setting.
#[derive(Debug)]
pub struct Secret {
    /// Its place in `omaSettings`.
    pub place: usize,
    /// The value.
    pub text: SecretString,
}

/// A secret as it is stored.
pub struct Sealed {
    /// Its `secretReferenceValueId`.
    pub reference: String,
    /// Nonce, ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

/// A secret as it was stored, and whose it is.
pub struct StoredSecret {
    /// Its `secretReferenceValueId`.
    pub reference: String,
    /// The configuration that it is of.
    pub device_configuration_id: Uuid,
    /// Nonce, ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

fn settings(properties: &mut Map<String, Value>) -> impl Iterator<Item = (usize, &mut Map<String, Value>)> {
    let settings = properties.get_mut("omaSettings").and_then(Value::as_array_mut);
    settings
        .into_iter()
        .flatten()
        .map(Value::as_object_mut)
        .enumerate()
        .filter_map(|(place, setting)| Some((place, setting?)))
}

fn is_hidden(setting: &Map<String, Value>) -> bool {
    setting.get("value").is_some_and(|value| value == HIDDEN)
}

/// Takes the values out that are marked or hidden, so that the rest can be held
/// to the catalogue, whose refusals quote what is wrong. They come back with
/// [`hide`].
pub fn take(properties: &mut Map<String, Value>) -> Vec<(usize, Value)> {
    let is_secret =
        |setting: &Map<String, Value>| is_hidden(setting) || setting.get("isEncrypted") == Some(&Value::Bool(true));
    let secret = settings(properties).filter(|(_, setting)| is_secret(setting));
    secret
        .filter_map(|(place, setting)| Some((place, std::mem::replace(setting.get_mut("value")?, "".into()))))
        .collect()
}

/// Puts `****` in the places of what was taken; the secrets among it.
///
/// # Errors
/// 400 for a value that is not one of its setting, and for a mark that is none
/// or has no value; nothing is quoted.
pub fn hide(properties: &mut Map<String, Value>, mut taken: Vec<(usize, Value)>) -> Result<Vec<Secret>, ApiError> {
    if properties.get("omaSettings").is_some_and(|settings| !settings.is_array() && !settings.is_null()) {
        return Err(ApiError::model("The member 'omaSettings' must be an array of settings."));
    }
    let mut secrets = Vec::new();
    for (place, setting) in settings(properties) {
        let Some((_, value)) = taken.iter_mut().find(|(of, _)| *of == place) else {
            match setting.get("isEncrypted") {
                None | Some(Value::Bool(false)) => continue,
                Some(_) => return Err(no_text(place)),
            }
        };
        let is_right = value == HIDDEN || primitive(setting).is_none_or(|of| of.read(value));
        let Value::String(text) = value else { return Err(no_text(place)) };
        if !is_right {
            return Err(no_text(place));
        }
        if text != HIDDEN {
            setting.remove(REFERENCE);
            secrets.push(Secret { place, text: std::mem::take(text).into() });
        }
        setting.insert("value".to_owned(), HIDDEN.into());
    }
    Ok(secrets)
}

/// Of what type the value of a setting is, where the catalogue has the setting.
fn primitive(setting: &Map<String, Value>) -> Option<Primitive> {
    let of = setting.get(TYPE).and_then(Value::as_str).and_then(Type::named)?;
    match of.property("value", Version::Beta)?.value_type {
        ValueType::Primitive(primitive) => Some(primitive),
        _ => None,
    }
}

fn no_text(place: usize) -> ApiError {
    ApiError::model(format!(
        "The value of 'omaSettings[{place}].value' cannot be encrypted: only a text can that its setting may hold, beside 'isEncrypted' as true. Send one, or 'isEncrypted' as false."
    ))
}

/// Gives each hidden value of `changed` that does not say which secret it is
/// that of a stored setting with the same URI: on `/v1.0` nobody can say it.
/// The place of one for which there is none, although there are secrets, or of
/// a new text for a secret that does not say whether it is one.
pub fn carry_over(stored: &Map<String, Value>, changed: &mut Map<String, Value>) -> Option<usize> {
    let all = stored.get("omaSettings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let mut secrets: Vec<_> = all.filter(|setting| is_hidden(setting)).collect();
    let are_named = secrets.iter().any(|secret| secret.contains_key(REFERENCE));
    let said: Vec<_> = references(changed).into_iter().map(|(_, reference)| reference).collect();
    secrets.retain(|secret| !secret.get(REFERENCE).is_some_and(|of| said.iter().any(|said| of == said)));
    let mut unknown = None;
    for (place, setting) in settings(changed) {
        if !is_hidden(setting) && !setting.contains_key("isEncrypted") {
            // A new text for what is encrypted is not stored in the clear.
            let is_secret = secrets
                .iter()
                .any(|secret| secret.contains_key(REFERENCE) && secret.get("omaUri") == setting.get("omaUri"));
            unknown = unknown.or(is_secret.then_some(place));
        }
        if !is_hidden(setting) || setting.get(REFERENCE).is_some_and(Value::is_string) {
            continue;
        }
        // One for each: a URI may stand twice.
        match secrets.iter().position(|secret| secret.get("omaUri") == setting.get("omaUri")) {
            Some(at) => {
                let secret = secrets.remove(at);
                for name in ["isEncrypted", REFERENCE] {
                    secret.get(name).map(|value| setting.insert(name.to_owned(), value.clone()));
                }
            }
            None => unknown = unknown.or(are_named.then_some(place)),
        }
    }
    unknown
}

/// The names of the secrets that are hidden in `properties`, with their places.
pub fn references(properties: &Map<String, Value>) -> Vec<(usize, String)> {
    let settings = properties.get("omaSettings").and_then(Value::as_array).into_iter().flatten().enumerate();
    let objects = settings.filter_map(|(place, setting)| Some((place, setting.as_object()?)));
    let hidden = objects.filter(|(_, setting)| is_hidden(setting));
    hidden.filter_map(|(place, setting)| Some((place, setting.get(REFERENCE)?.as_str()?.to_owned()))).collect()
}

/// Takes the name off a setting whose secret gets another one.
pub fn rename(properties: &mut Map<String, Value>, place: usize) {
    if let Some((_, setting)) = settings(properties).find(|(at, _)| *at == place) {
        setting.remove(REFERENCE);
    }
}

/// The key of the settings; secrets are refused where there is none.
pub struct Vault(Option<RandomizedNonceKey>);

impl Vault {
    /// # Errors
    /// When the key is not 32 bytes in base64.
    pub fn new(settings: &config::Secrets) -> anyhow::Result<Self> {
        let Some(key) = &settings.key else { return Ok(Self(None)) };
        let what = "secrets.key is not 32 bytes in base64; make one with: openssl rand -base64 32";
        let bytes = STANDARD.decode(key.expose_secret()).map_err(|_| anyhow!(what))?;
        ensure!(bytes.len() == 32, what);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| anyhow!(what))?;
        Ok(Self(Some(key)))
    }

    /// Encrypts the secrets of a configuration and names each in its setting.
    ///
    /// # Errors
    /// 400 when there is a secret and no key.
    pub fn seal(
        &self,
        configuration: ConfigurationId,
        properties: &mut Map<String, Value>,
        secrets: &[Secret],
    ) -> Result<Vec<Sealed>, ApiError> {
        let mut sealed = Vec::new();
        for &Secret { place, ref text } in secrets {
            let Some(key) = &self.0 else {
                return Err(ApiError::model(format!(
                    "The value of 'omaSettings[{place}].value' cannot be encrypted: this service has no key. An operator sets secrets.key; without it, leave 'isEncrypted' out, and the value is stored as it is."
                )));
            };
            let reference = format!("{}_{configuration}_{}", Uuid::new_v4(), Uuid::new_v4());
            let mut ciphertext = text.expose_secret().as_bytes().to_vec();
            let nonce = key.seal_in_place_append_tag(Aad::from(&reference), &mut ciphertext);
            let nonce = nonce.map_err(|_| ApiError::internal(anyhow!("a secret could not be encrypted")))?;
            ciphertext.splice(0..0, nonce.as_ref().iter().copied());
            if let Some((_, setting)) = settings(properties).find(|(at, _)| *at == place) {
                setting.insert("isEncrypted".to_owned(), true.into());
                setting.insert(REFERENCE.to_owned(), reference.clone().into());
            }
            sealed.push(Sealed { reference, ciphertext });
        }
        Ok(sealed)
    }

    /// Decrypts a stored secret.
    ///
    /// # Errors
    /// 500 when the key is not the one it was encrypted with.
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
