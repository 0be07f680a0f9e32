//! What the routes of a configuration do.

use actix_web::{
    HttpResponse,
    http::header::LOCATION,
    web::{self, Data},
};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    model::{ConfigurationId, ConfigurationPatch, NewConfiguration, TYPE},
    sql, store,
    vault::Vault,
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
    let new = NewConfiguration::parse(body.members(TYPE))?;
    let id = ConfigurationId(new.id.unwrap_or_else(Uuid::now_v7));
    let mut connection = pool.acquire().await?;
    let stored = match store::insert(&mut connection, &vault, id, &new, caller.id()).await? {
        Some(stored) => stored,
        None => match sql::find(&mut connection, id).await? {
            Some(stored) if store::is_made(&mut connection, &vault, &stored, &new, links.version).await? => stored,
            _ => {
                return Err(ApiError::conflict(format!(
                    "Another device configuration has the id '{id}'. Send another id, or none."
                )));
            }
        },
    };
    Ok(HttpResponse::Created().insert_header((LOCATION, links.to(id.path()))).json(stored.shown_alone(&links)))
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
    let stored = stored.ok_or_else(|| ConfigurationId::not_found(id))?;
    let (changed, secrets) = patch.apply(&stored)?;
    let written = store::replace(&mut transaction, &vault, &stored, changed, secrets, caller.id()).await?;
    transaction.commit().await.map_err(|error| ApiError::from_commit(error, id.path()))?;
    Ok(preferences.changed(written.unwrap_or(stored).shown_alone(&links)))
}

/// `DELETE /deviceManagement/deviceConfigurations/{id}`
///
/// Its assignments go with it.
pub async fn delete(pool: Data<PgPool>, id: ConfigurationId) -> Result<HttpResponse, ApiError> {
    let mut connection = pool.acquire().await?;
    match sql::delete(&mut connection, id).await.map_err(|error| ApiError::from_commit(error, id.path()))? {
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
