//! What the routes of a configuration do.

use actix_web::{HttpResponse, http::header::LOCATION, web::Data};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    model::{Configuration, ConfigurationId, ConfigurationPatch, NewConfiguration, TYPE},
    sql,
};
use crate::{
    auth::Caller,
    error::ApiError,
    odata::{
        body::Body,
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
    Ok(HttpResponse::Ok().json(Collection { context, value: stored.iter().map(Configuration::shown).collect() }))
}

/// `POST /deviceManagement/deviceConfigurations`
///
/// With an id of its own a client may send the same create again: it is
/// answered with the row that the first one stored.
///
/// # Errors
/// 409 when the id belongs to another configuration.
pub async fn create(pool: Data<PgPool>, caller: Caller, links: Links, body: Body) -> Result<HttpResponse, ApiError> {
    let new = NewConfiguration::parse(body.members(TYPE))?;
    let id = ConfigurationId(new.id.unwrap_or_else(Uuid::now_v7));
    let mut connection = pool.acquire().await?;
    let stored = match sql::insert(&mut connection, id, &new, caller.id())
        .await
        .map_err(|error| ApiError::from_commit(error, path(id)))?
    {
        Some(stored) => stored,
        None => match sql::find(&mut connection, id).await? {
            Some(stored) if new.made(&stored) => stored,
            _ => {
                return Err(ApiError::conflict(format!(
                    "Another device configuration has the id '{id}'. Send another id, or none."
                )));
            }
        },
    };
    Ok(HttpResponse::Created().insert_header((LOCATION, links.to(path(id)))).json(stored.shown_alone(&links)))
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
pub async fn update(
    pool: Data<PgPool>,
    caller: Caller,
    links: Links,
    id: ConfigurationId,
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let patch = ConfigurationPatch::parse(body.members(TYPE))?;
    let mut transaction = pool.begin().await?;
    let stored = sql::find_for_update(&mut transaction, id).await?;
    let mut stored = stored.ok_or_else(|| ConfigurationId::not_found(id))?;
    let changed = patch.apply(&stored)?;
    if changed != stored {
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

fn path(id: ConfigurationId) -> String {
    format!("deviceManagement/deviceConfigurations/{id}")
}
