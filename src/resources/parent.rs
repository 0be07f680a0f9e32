//! What assignments and statuses know of the configuration that they belong to.

use std::{
    fmt,
    future::{Ready, ready},
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    error::{ApiError, shorten},
    odata::key,
};

/// The key of a configuration. Taken from a path, it may belong to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigurationId(pub Uuid);

impl ConfigurationId {
    /// Its path below a version.
    pub fn path(self) -> String {
        format!("deviceManagement/deviceConfigurations/{self}")
    }

    /// The 404 of a configuration that is not there.
    pub fn not_found(key: impl fmt::Display) -> ApiError {
        ApiError::not_found(format!(
            "DeviceConfigurations not found: Profile {key}. GET /deviceManagement/deviceConfigurations lists those that are there."
        ))
    }
}

impl fmt::Display for ConfigurationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromRequest for ConfigurationId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let key = request.match_info().get("configuration").unwrap_or_default();
        ready(key::guid(key).map(Self).ok_or_else(|| Self::not_found(shorten(key))))
    }
}

/// Whether the configuration is there.
pub async fn exists(connection: &mut PgConnection, id: ConfigurationId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM device_configurations WHERE id = $1) AS "exists!""#, id.0)
        .fetch_one(connection)
        .await
}

/// Holds the configuration alone until the transaction ends, so that its set
/// of assignments can be replaced as one; `false` when it is not there.
pub async fn lock(connection: &mut PgConnection, id: ConfigurationId) -> sqlx::Result<bool> {
    let row = sqlx::query!("SELECT id FROM device_configurations WHERE id = $1 FOR UPDATE", id.0);
    Ok(row.fetch_optional(connection).await?.is_some())
}

/// For what found nothing below a configuration: whether the configuration is
/// there.
///
/// # Errors
/// 404 when it is not.
pub async fn check(connection: &mut PgConnection, id: ConfigurationId) -> Result<(), ApiError> {
    match exists(connection, id).await? {
        true => Ok(()),
        false => Err(ConfigurationId::not_found(id)),
    }
}
