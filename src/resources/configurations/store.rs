//! Writes configurations together with their secrets, for requests and for seeds.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    mem,
};

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use sqlx::PgConnection;

use super::{
    model::{Configuration, NewConfiguration},
    secrets::{self, Secret},
    sql,
    vault::{Sealed, Vault},
};
use crate::{
    catalogue::version::Version,
    database::json::Object,
    error::ApiError,
    resources::parent::{self, ConfigurationId},
};

/// Encrypts the secrets of a new configuration. Returns the properties to store, and the
/// encrypted secrets.
///
/// # Errors
/// 400 for a secret when the service has no key.
pub async fn seal<'a>(
    connection: &mut PgConnection,
    vault: &Vault,
    id: ConfigurationId,
    new: &'a NewConfiguration,
) -> Result<(Cow<'a, Object>, Vec<Sealed>), ApiError> {
    if new.secrets.is_empty() && secrets::references(&new.properties).is_empty() {
        return Ok((Cow::Borrowed(&new.properties), Vec::new()));
    }
    let mut properties = new.properties.clone();
    let secrets = resolve_secret_references(connection, vault, id, None, &mut properties, new.secrets.clone()).await?;
    let sealed = vault.seal(id, &mut properties, &secrets)?;
    Ok((Cow::Owned(properties), sealed))
}

/// Replaces the references in a new configuration to secrets of other configurations by copies
/// of these secrets, which [`encrypt`] encrypts. Only reads the database.
///
/// # Errors
/// 400 for a secret when the service has no key. 409 for a secret that has been replaced.
pub async fn resolve_create(
    connection: &mut PgConnection,
    vault: &Vault,
    id: ConfigurationId,
    new: &mut NewConfiguration,
) -> Result<(), ApiError> {
    let sent = mem::take(&mut new.secrets);
    new.secrets = resolve_secret_references(connection, vault, id, None, &mut new.properties, sent).await?;
    Ok(())
}

/// Encrypts the secrets of a new configuration after [`resolve_create`]. Returns the properties
/// to store, and the encrypted secrets.
///
/// # Errors
/// 400 for a secret when the service has no key.
pub fn encrypt<'a>(
    vault: &Vault,
    id: ConfigurationId,
    new: &'a NewConfiguration,
) -> Result<(Cow<'a, Object>, Vec<Sealed>), ApiError> {
    if new.secrets.is_empty() {
        return Ok((Cow::Borrowed(&new.properties), Vec::new()));
    }
    let mut properties = new.properties.clone();
    let sealed = vault.seal(id, &mut properties, &new.secrets)?;
    Ok((Cow::Owned(properties), sealed))
}

/// Returns whether a client sees no difference between `stored` and the configuration that
/// `new` would create.
///
/// # Errors
/// When the database does not answer.
pub async fn is_same_create(
    connection: &mut PgConnection,
    vault: &Vault,
    stored: &Configuration,
    new: &NewConfiguration,
    version: Version,
) -> Result<bool, ApiError> {
    let mut properties = new.properties.clone();
    let id = ConfigurationId(stored.id);
    match resolve_secret_references(
        connection,
        vault,
        id,
        Some(&stored.properties),
        &mut properties,
        new.secrets.clone(),
    )
    .await
    {
        Ok(others) => Ok(others.is_empty() && new.reads_as(&properties, stored, version)),
        Err(refusal) if refusal.is_of_client() => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Changes `stored`, which the caller has locked, to `changed`. Returns the row after that, and
/// whether anything changed, secrets included.
///
/// # Errors
/// 400 for a masked value that matches no secret, and for a secret when the service has no key.
/// 409 for a secret that has been replaced meanwhile.
pub async fn replace(
    connection: &mut PgConnection,
    vault: &Vault,
    stored: Configuration,
    mut changed: Configuration,
    secrets: Vec<Secret>,
    actor: Option<&str>,
) -> Result<(Configuration, bool), ApiError> {
    match resolve_change(connection, vault, &stored, &mut changed, secrets).await? {
        Some(secrets) => Ok((write_change(connection, vault, stored, changed, &secrets, actor).await?, true)),
        None => Ok((stored, false)),
    }
}

/// Gives each masked value in `changed` the reference of its secret. Returns the secrets that
/// [`write_change`] encrypts, or `None` when nothing differs from `stored`. Only reads the
/// database.
///
/// # Errors
/// Those of [`replace`].
pub async fn resolve_change(
    connection: &mut PgConnection,
    vault: &Vault,
    stored: &Configuration,
    changed: &mut Configuration,
    secrets: Vec<Secret>,
) -> Result<Option<Vec<Secret>>, ApiError> {
    let id = ConfigurationId(stored.id);
    let secrets =
        resolve_secret_references(connection, vault, id, Some(&stored.properties), &mut changed.properties, secrets)
            .await?;
    Ok(if secrets.is_empty() && changed.reads_as(stored) { None } else { Some(secrets) })
}

/// Writes a change after [`resolve_change`], with its `secrets`. Returns the stored row.
///
/// # Errors
/// 400 for a secret when the service has no key.
pub async fn write_change(
    connection: &mut PgConnection,
    vault: &Vault,
    stored: Configuration,
    mut changed: Configuration,
    secrets: &[Secret],
    actor: Option<&str>,
) -> Result<Configuration, ApiError> {
    let id = ConfigurationId(stored.id);
    let sealed = vault.seal(id, &mut changed.properties, secrets)?;
    if !sealed.is_empty() || !secrets::references(&stored.properties).is_empty() {
        let kept: Vec<_> = secrets::references(&changed.properties).into_iter().map(|(_, kept)| kept).collect();
        sql::replace_secrets(connection, id, &kept, &sealed).await?;
    }
    Ok(sql::update(connection, stored, changed, actor).await?)
}

/// Returns the places of the masked values that have no secret: they came from another
/// database.
///
/// # Errors
/// When the database does not answer.
pub async fn places_without_secret(
    connection: &mut PgConnection,
    properties: &Map<String, Value>,
) -> sqlx::Result<Vec<usize>> {
    let masked = secrets::masked(properties);
    let references: Vec<_> = masked.iter().filter_map(|(_, reference)| reference.clone()).collect();
    if masked.is_empty() {
        return Ok(Vec::new());
    }
    let secrets = sql::find_secrets(connection, &references).await?;
    let exists =
        |reference: &Option<String>| secrets.iter().any(|secret| Some(&secret.reference) == reference.as_ref());
    Ok(masked.into_iter().filter(|(_, reference)| !exists(reference)).map(|(place, _)| place).collect())
}

/// Removes references that belong to no secret, so that the masked value matches the secret of
/// its setting. A seed file can be older than the secrets. A reference to a secret of another
/// stored configuration stays, because it cannot mean a secret of the configuration `id`.
///
/// # Errors
/// When the database does not answer.
pub async fn remove_stale_references(
    connection: &mut PgConnection,
    id: ConfigurationId,
    properties: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let named = secrets::references(properties);
    let references: Vec<_> = named.iter().map(|(_, reference)| reference.clone()).collect();
    let secrets = sql::find_secrets(connection, &references).await?;
    let known: HashSet<_> = secrets.iter().map(|secret| &secret.reference).collect();
    for (place, reference) in &named {
        if !known.contains(reference) && !is_of_this_store(connection, id, reference, false).await? {
            secrets::remove_reference(properties, *place);
        }
    }
    Ok(())
}

/// Gives each masked value in `properties` the reference of its secret. Returns the secrets to
/// encrypt: those of `sent` that are not stored yet, and copies of secrets of other
/// configurations whose references the client sent.
///
/// A reference that belongs to no secret stays, because it came from another database, which
/// has the secret.
async fn resolve_secret_references(
    connection: &mut PgConnection,
    vault: &Vault,
    id: ConfigurationId,
    stored: Option<&Map<String, Value>>,
    properties: &mut Map<String, Value>,
    mut sent: Vec<Secret>,
) -> Result<Vec<Secret>, ApiError> {
    if let Some(stored) = stored {
        secrets::match_masked_values(stored, properties, &sent)?;
    }
    let named = secrets::references(properties);
    if named.is_empty() && sent.is_empty() {
        return Ok(sent);
    }
    let before = stored.map(secrets::references).unwrap_or_default();
    let references: Vec<_> = named.iter().chain(&before).map(|(_, reference)| reference.clone()).collect();
    let all = sql::find_secrets(connection, &references).await?;
    let all: HashMap<_, _> = all.iter().map(|secret| (secret.reference.as_str(), secret)).collect();
    let known: HashSet<_> = before.iter().map(|(_, reference)| reference.as_str()).collect();
    for (place, reference) in &named {
        match all.get(reference.as_str()) {
            Some(secret) if secret.device_configuration_id == id.0 => {
                secrets::set_reference(properties, *place, reference)
            }
            Some(secret) => {
                vault.key(*place)?;
                secrets::remove_reference(properties, *place);
                sent.push(Secret { place: *place, text: vault.open(secret)? });
            }
            None if known.contains(reference.as_str()) => {}
            None if is_of_this_store(connection, id, reference, stored.is_some()).await? => {
                return Err(secrets::replaced(*place));
            }
            None => {}
        }
    }
    // A stored text that is sent again is no change. A secret that cannot be decrypted never
    // equals a sent text, so that a client can replace it after the key was lost.
    let named: HashSet<_> = named.iter().map(|(_, reference)| reference.as_str()).collect();
    let mut free: HashMap<_, Vec<_>> = HashMap::new();
    if !sent.is_empty() {
        for (place, reference) in before.iter().filter(|(_, reference)| !named.contains(reference.as_str())) {
            if let Some(Ok(text)) = all.get(reference.as_str()).map(|secret| vault.open(secret)) {
                let uri = stored.and_then(|stored| secrets::uri(stored, *place)).map(str::to_owned);
                free.entry((uri, text.expose_secret().to_owned())).or_default().push(reference);
            }
        }
    }
    sent.retain(|Secret { place, text }| {
        let key = (secrets::uri(properties, *place).map(str::to_owned), text.expose_secret().to_owned());
        let Some(reference) = free.get_mut(&key).and_then(Vec::pop) else { return true };
        secrets::set_reference(properties, *place, reference);
        false
    });
    Ok(sent)
}

/// Returns whether a reference names a configuration of this database, so that its secret has
/// been replaced. `is_stored` says whether the configuration `id` itself is stored.
async fn is_of_this_store(
    connection: &mut PgConnection,
    id: ConfigurationId,
    reference: &str,
    is_stored: bool,
) -> Result<bool, ApiError> {
    Ok(match secrets::owner(reference) {
        Some(owner) if owner == id => is_stored,
        Some(owner) => parent::exists(connection, owner).await?,
        None => false,
    })
}
