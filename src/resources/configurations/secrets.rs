//! Secrets of OMA settings: values that a client marks with `isEncrypted`, a member of `/beta`.
//!
//! The service stores such a value encrypted, in a table of its own. The setting itself holds
//! `****`, as in Graph, and a reference. `getOmaSettingPlainTextValue` returns the value for
//! this reference. A client that sends `****` means the stored secret.

use std::collections::{BTreeSet, HashMap, VecDeque};

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::{
    catalogue::{Primitive, Type, ValueType, validation::TYPE, version::Version},
    error::{ApiError, shorten},
    odata::key,
    resources::parent::ConfigurationId,
};

/// The masked value, which clients read instead of a secret.
pub const MASK: &str = "****";
const REFERENCE: &str = "secretReferenceValueId";

/// A secret that a client sent, and the place of its setting.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The index in `omaSettings`.
    pub place: usize,
    /// The value.
    pub text: SecretString,
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

fn is_masked(setting: &Map<String, Value>) -> bool {
    setting.get("value").is_some_and(|value| value == MASK)
}

/// Removes the values that are marked or masked, so that the rest can be checked against the
/// catalogue, whose error messages quote wrong values. [`mask`] puts the masked values back.
/// Returns the removed values with their places.
///
/// # Errors
/// 400 for a mark on a value that is not text.
pub fn extract(properties: &mut Map<String, Value>) -> Result<Vec<(usize, Value)>, ApiError> {
    let mut taken = Vec::new();
    for (place, setting) in settings(properties) {
        let is_text = primitive(setting).is_none_or(|of| matches!(of, Primitive::String | Primitive::Binary));
        match setting.get("isEncrypted") {
            Some(Value::Bool(true)) if !is_text => return Err(not_encryptable(place)),
            Some(Value::Bool(true)) => {}
            _ if is_text && is_masked(setting) => {}
            _ => continue,
        }
        if let Some(value) = setting.get_mut("value") {
            taken.push((place, std::mem::replace(value, "".into())));
        }
    }
    Ok(taken)
}

/// Puts `****` in the places of the removed values. Returns the secrets among the removed
/// values.
///
/// # Errors
/// 400 for a value that its setting cannot hold, and for a mark that is not a Boolean or has no
/// value. The message quotes no value.
pub fn mask(properties: &mut Map<String, Value>, taken: Vec<(usize, Value)>) -> Result<Vec<Secret>, ApiError> {
    let is_list = |settings: &Value| {
        settings.is_null() || settings.as_array().is_some_and(|all| all.iter().all(|setting| !setting.is_array()))
    };
    if properties.get("omaSettings").is_some_and(|settings| !is_list(settings)) {
        return Err(ApiError::model("The member 'omaSettings' must be an array of settings."));
    }
    if let Some((name, _)) = properties.iter().find(|(name, value)| *name != "omaSettings" && has_mark(value)) {
        return Err(misplaced_mark(name));
    }
    let mut secrets = Vec::new();
    let mut taken = taken.into_iter().peekable();
    for (place, setting) in settings(properties) {
        let Some((_, mut value)) = taken.next_if(|(of, _)| *of == place) else {
            match setting.get("isEncrypted") {
                None | Some(Value::Bool(false)) => {}
                Some(_) => return Err(not_encryptable(place)),
            }
            // A value that is not masked is no secret and has no reference.
            setting.remove(REFERENCE);
            continue;
        };
        let is_right = value == MASK || primitive(setting).is_none_or(|of| of.read(&mut value));
        let Value::String(text) = value else { return Err(not_encryptable(place)) };
        if !is_right {
            return Err(not_encryptable(place));
        }
        if text != MASK {
            setting.remove(REFERENCE);
            secrets.push(Secret { place, text: text.into() });
        }
        setting.insert("value".to_owned(), MASK.into());
    }
    match secrets.get(MAX_SECRETS) {
        None => Ok(secrets),
        Some(_) => Err(ApiError::model(format!(
            "The collection 'omaSettings' holds more than {MAX_SECRETS} values to encrypt. Send at most that many."
        ))),
    }
}

/// The maximum number of secrets of a configuration: the number of settings that Graph allows.
const MAX_SECRETS: usize = 1000;

/// Returns whether a value is marked as encrypted outside of an OMA setting.
fn has_mark(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(has_mark),
        Value::Object(members) => {
            let is_marked = members.get("isEncrypted") == Some(&Value::Bool(true));
            is_marked && !is_masked(members) && members.contains_key("value") || members.values().any(has_mark)
        }
        _ => false,
    }
}

fn misplaced_mark(name: &str) -> ApiError {
    ApiError::model(format!(
        "A value in '{}' is marked 'isEncrypted', and only values of 'omaSettings' can be encrypted. Send 'isEncrypted' as false.",
        shorten(name)
    ))
}

/// Returns the type of the value of a setting, when the catalogue has the setting.
fn primitive(setting: &Map<String, Value>) -> Option<Primitive> {
    let of = setting.get(TYPE).and_then(Value::as_str).and_then(Type::named)?;
    match of.property("value", Version::Beta)?.value_type {
        ValueType::Primitive(primitive) => Some(primitive),
        _ => None,
    }
}

fn not_encryptable(place: usize) -> ApiError {
    ApiError::model(format!(
        "The value of 'omaSettings[{place}].value' cannot be encrypted. With 'isEncrypted', send true and a text that is valid for the type of the setting, or send 'isEncrypted' as false."
    ))
}

/// Returns the configuration whose id is the middle part of a `secretReferenceValueId`.
pub fn owner(reference: &str) -> Option<ConfigurationId> {
    reference.split('_').nth(1).and_then(key::guid).map(ConfigurationId)
}

/// Returns the 409 for a reference to a secret that no longer exists.
pub fn replaced(place: usize) -> ApiError {
    ApiError::conflict(format!(
        "The secret that 'omaSettings[{place}].{REFERENCE}' names has been replaced. Read the configuration again, or send the value itself."
    ))
}

/// Gives each masked value without a reference the reference of the stored setting with
/// the same type and `omaUri`: `/v1.0` does not show references. Masked values that belong
/// to `sent` are left unchanged.
///
/// # Errors
/// 400 for a masked value that matches no secret, although the configuration has secrets. 400
/// for a new value of an encrypted setting without `isEncrypted`.
pub fn match_masked_values(
    stored: &Map<String, Value>,
    changed: &mut Map<String, Value>,
    sent: &[Secret],
) -> Result<(), ApiError> {
    if stored.get("omaSettings") == changed.get("omaSettings") {
        return Ok(());
    }
    let key = |setting: &Map<String, Value>| (setting.get(TYPE).cloned(), setting.get("omaUri").cloned());
    let named: BTreeSet<_> = references(changed).into_iter().map(|(_, reference)| reference).collect();
    let all = stored.get("omaSettings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    // A key can have several secrets, because two settings can have the same URI.
    let mut secrets: HashMap<_, VecDeque<&Map<String, Value>>> = HashMap::new();
    let mut are_named = false;
    for setting in all.filter(|setting| is_masked(setting)) {
        let reference = setting.get(REFERENCE).and_then(Value::as_str);
        are_named |= reference.is_some();
        if reference.is_none_or(|reference| !named.contains(reference)) {
            secrets.entry(key(setting)).or_default().push_back(setting);
        }
    }
    let sent: BTreeSet<_> = sent.iter().map(|secret| secret.place).collect();
    for (place, setting) in settings(changed) {
        if !is_masked(setting) || setting.get(REFERENCE).is_some_and(Value::is_string) || sent.contains(&place) {
            continue;
        }
        match secrets.get_mut(&key(setting)).and_then(VecDeque::pop_front) {
            Some(secret) => {
                for name in ["isEncrypted", REFERENCE] {
                    secret.get(name).map(|value| setting.insert(name.to_owned(), value.clone()));
                }
            }
            None if are_named => {
                return Err(ApiError::model(format!(
                    "The value of 'omaSettings[{place}].value' is '{MASK}', and the configuration has no secret with the same type and 'omaUri'. Send the value itself, on /beta, with 'isEncrypted'."
                )));
            }
            None => {}
        }
    }
    for (place, setting) in settings(changed) {
        if is_masked(setting) || setting.contains_key("isEncrypted") {
            continue;
        }
        let left = secrets.get(&key(setting)).into_iter().flatten();
        if left.into_iter().any(|secret| secret.contains_key(REFERENCE)) {
            return Err(ApiError::model(format!(
                "The value of 'omaSettings[{place}].value' is new, and the setting is encrypted. Send it on /beta, with 'isEncrypted' as true to store it encrypted, or as false to store it in plain text."
            )));
        }
    }
    Ok(())
}

/// Returns the places of the masked values, with their references.
pub fn masked(properties: &Map<String, Value>) -> Vec<(usize, Option<String>)> {
    let settings = properties.get("omaSettings").and_then(Value::as_array).into_iter().flatten().enumerate();
    let objects = settings.filter_map(|(place, setting)| Some((place, setting.as_object()?)));
    let masked = objects.filter(|(_, setting)| is_masked(setting));
    masked.map(|(place, setting)| (place, setting.get(REFERENCE).and_then(Value::as_str).map(str::to_owned))).collect()
}

/// Returns the places of the masked values that have a reference, with these references.
pub fn references(properties: &Map<String, Value>) -> Vec<(usize, String)> {
    masked(properties).into_iter().filter_map(|(place, reference)| Some((place, reference?))).collect()
}

/// Returns the `omaUri` of the setting at this place.
pub fn uri(properties: &Map<String, Value>, place: usize) -> Option<&str> {
    properties.get("omaSettings")?.get(place)?.get("omaUri")?.as_str()
}

fn setting(properties: &mut Map<String, Value>, place: usize) -> Option<&mut Map<String, Value>> {
    properties.get_mut("omaSettings")?.get_mut(place)?.as_object_mut()
}

/// Writes the reference of its secret into a setting.
pub fn set_reference(properties: &mut Map<String, Value>, place: usize, reference: &str) {
    if let Some(setting) = setting(properties, place) {
        setting.insert("isEncrypted".to_owned(), true.into());
        setting.insert(REFERENCE.to_owned(), reference.into());
    }
}

/// Removes the reference from a setting whose secret gets another reference.
pub fn remove_reference(properties: &mut Map<String, Value>, place: usize) {
    if let Some(setting) = setting(properties, place) {
        setting.remove(REFERENCE);
    }
}
