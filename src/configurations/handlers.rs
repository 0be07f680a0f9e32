//! What the routes of a configuration do.

use actix_web::{
    HttpResponse,
    http::header::LOCATION,
    web::{self, Data},
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    model::{Configuration, ConfigurationId, ConfigurationPatch, NewConfiguration, TYPE},
    secrets::{self, Secret, Vault},
    sql,
};
use crate::{
    auth::Caller,
    error::{ApiError, excerpt},
    odata::{
        body::Body,
        key,
        links::{Collection, Links},
        prefer::Preferences,
    },
};

/// `GET /deviceManagement/deviceConfigurations`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfiguration-list>
pub async fn list(pool: Data<PgPool>, links: Links) -> Result<HttpResponse, ApiError> {
    let stored = sql::list(&mut *pool.acquire().await?).await?;
    let context = links.context("deviceManagement/deviceConfigurations");
    Ok(HttpResponse::Ok()
        .json(Collection { context, value: stored.iter().map(|stored| stored.shown(links.version)).collect() }))
}

/// `POST /deviceManagement/deviceConfigurations`
///
/// With an id of its own a client may send the same create again: it is
/// answered with the row that the first one stored.
///
/// # Errors
/// 409 when the id belongs to another configuration.
pub async fn create(
    pool: Data<PgPool>,
    caller: Caller,
    vault: Data<Vault>,
    links: Links,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let mut new = NewConfiguration::parse(body.members(TYPE))?;
    let id = ConfigurationId(new.id.unwrap_or_else(Uuid::now_v7));
    let mut connection = pool.acquire().await?;
    let (copied, _) = copied_secrets(&mut connection, &vault, id, &mut new.properties).await?;
    new.secrets.extend(copied);
    let mut properties = new.properties.clone();
    let sealed = vault.seal(id, &mut properties, &new.secrets)?;
    let inserted = sql::insert(&mut connection, id, &new, &properties, &sealed, caller.id()).await;
    let stored = match inserted.map_err(|error| ApiError::from_commit(error, path(id)))? {
        Some(stored) => stored,
        None => match sql::find(&mut connection, id).await? {
            Some(stored)
                if new.made(&stored, links.version) && has_secrets(&mut connection, &vault, &stored, &new).await? =>
            {
                stored
            }
            _ => {
                return Err(ApiError::conflict(format!(
                    "Another device configuration has the id '{id}'. Send another id, or none."
                )));
            }
        },
    };
    Ok(HttpResponse::Created().insert_header((LOCATION, links.to(path(id)))).json(stored.shown_alone(&links)))
}

/// The secrets that `properties` hides under the names of another configuration,
/// from which they were read: the copy gets its own. And the place of one that
/// is hidden under a name of this configuration and is not there.
async fn copied_secrets(
    connection: &mut PgConnection,
    vault: &Vault,
    id: ConfigurationId,
    properties: &mut Map<String, Value>,
) -> Result<(Vec<Secret>, Option<usize>), ApiError> {
    let (mut copied, mut gone) = (Vec::new(), None);
    let named = secrets::references(properties);
    if named.is_empty() {
        return Ok((copied, gone));
    }
    let references: Vec<_> = named.iter().map(|(_, reference)| reference.clone()).collect();
    let all = sql::find_secrets(connection, &references).await?;
    let own = id.to_string();
    for (place, reference) in named {
        match all.iter().find(|secret| secret.reference == reference) {
            Some(secret) if secret.device_configuration_id != id.0 => {
                secrets::rename(properties, place);
                copied.push(Secret { place, text: vault.open(secret)? });
            }
            None if reference.split('_').nth(1) == Some(&own) => gone = gone.or(Some(place)),
            _ => {}
        }
    }
    Ok((copied, gone))
}

/// Whether the secrets of a create are those that are stored.
async fn has_secrets(
    connection: &mut PgConnection,
    vault: &Vault,
    stored: &Configuration,
    new: &NewConfiguration,
) -> Result<bool, ApiError> {
    if new.secrets.is_empty() {
        return Ok(true);
    }
    let named = secrets::references(&stored.properties);
    let references: Vec<_> = named.iter().map(|(_, reference)| reference.clone()).collect();
    let all = sql::find_secrets(connection, &references).await?;
    for Secret { place, text } in &new.secrets {
        let reference = named.iter().find(|(at, _)| at == place).map(|(_, reference)| reference);
        let Some(secret) = all.iter().find(|secret| Some(&secret.reference) == reference) else { return Ok(false) };
        if vault.open(secret)?.expose_secret() != text.expose_secret() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `GET /deviceManagement/deviceConfigurations/{id}`
pub async fn get(pool: Data<PgPool>, links: Links, id: ConfigurationId) -> Result<HttpResponse, ApiError> {
    let stored = sql::find(&mut *pool.acquire().await?, id).await?;
    let stored = stored.ok_or_else(|| ConfigurationId::not_found(id))?;
    Ok(HttpResponse::Ok().json(stored.shown_alone(&links)))
}

/// `PATCH /deviceManagement/deviceConfigurations/{id}`
///
/// A patch that changes nothing is accepted and does not raise the version.
///
/// # Errors
/// 409 when it names a secret that has been replaced meanwhile.
pub async fn update(
    pool: Data<PgPool>,
    caller: Caller,
    vault: Data<Vault>,
    links: Links,
    id: ConfigurationId,
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let patch = ConfigurationPatch::parse(body.members(TYPE))?;
    let mut transaction = pool.begin().await?;
    let stored = sql::find_for_update(&mut transaction, id).await?;
    let mut stored = stored.ok_or_else(|| ConfigurationId::not_found(id))?;
    let (mut changed, mut secrets) = patch.apply(&stored)?;
    let (copied, gone) = copied_secrets(&mut transaction, &vault, id, &mut changed.properties).await?;
    if let Some(place) = gone {
        return Err(ApiError::conflict(format!(
            "The secret that 'omaSettings[{place}].secretReferenceValueId' names has been replaced. Read the configuration again, or send the value itself."
        )));
    }
    secrets.extend(copied);
    if !secrets.is_empty() || !changed.reads_as(&stored) {
        let sealed = vault.seal(id, &mut changed.properties, &secrets)?;
        if !sealed.is_empty() || !secrets::references(&stored.properties).is_empty() {
            let kept: Vec<_> = secrets::references(&changed.properties).into_iter().map(|(_, kept)| kept).collect();
            sql::replace_secrets(&mut transaction, id, &kept, &sealed).await?;
        }
        stored = sql::update(&mut transaction, &changed, caller.id()).await?;
    }
    transaction.commit().await.map_err(|error| ApiError::from_commit(error, path(id)))?;
    Ok(preferences.changed(stored.shown_alone(&links)))
}

/// `DELETE /deviceManagement/deviceConfigurations/{id}`
///
/// Its assignments go with it.
pub async fn delete(pool: Data<PgPool>, id: ConfigurationId) -> Result<HttpResponse, ApiError> {
    let mut connection = pool.acquire().await?;
    match sql::delete(&mut connection, id).await.map_err(|error| ApiError::from_commit(error, path(id)))? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(ConfigurationId::not_found(id)),
    }
}

/// For what found nothing below a configuration: whether the configuration is
/// there.
///
/// # Errors
/// 404 when it is not.
pub async fn check(connection: &mut PgConnection, id: ConfigurationId) -> Result<(), ApiError> {
    match sql::exists(connection, id).await? {
        true => Ok(()),
        false => Err(ConfigurationId::not_found(id)),
    }
}

/// `GET /deviceManagement/deviceConfigurations/{id}/getOmaSettingPlainTextValue(secretReferenceValueId='…')`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfiguration-getomasettingplaintextvalue>
///
/// # Errors
/// 404 when the configuration has no such secret.
pub async fn plain_text(
    pool: Data<PgPool>,
    vault: Data<Vault>,
    links: Links,
    id: ConfigurationId,
    arguments: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let reference = key::function_argument(&arguments.1, "secretReferenceValueId")?;
    let mut connection = pool.acquire().await?;
    match sql::find_secrets(&mut connection, std::slice::from_ref(&reference)).await?.pop() {
        Some(secret) if secret.device_configuration_id == id.0 => {
            let value = vault.open(&secret)?;
            let answer = json!({"@odata.context": links.context("Edm.String"), "value": value.expose_secret()});
            Ok(HttpResponse::Ok().json(answer))
        }
        _ => {
            check(&mut connection, id).await?;
            Err(ApiError::not_found(format!(
                "The configuration has no secret '{}'. Its settings, read on /beta, name those it has.",
                excerpt(&reference)
            )))
        }
    }
}

fn path(id: ConfigurationId) -> String {
    format!("deviceManagement/deviceConfigurations/{id}")
}
