//! A configuration as assignments and statuses know it: its id, whether it exists, and its
//! lock.

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

/// The key of a configuration. A key from a path may belong to no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigurationId(pub Uuid);

impl ConfigurationId {
    /// Returns the path of the configuration below a version.
    pub fn path(self) -> String {
        format!("deviceManagement/deviceConfigurations/{self}")
    }

    /// Returns its path below a version, with the key in parentheses, as in entity ids and
    /// context URLs.
    pub fn address(self) -> String {
        format!("deviceManagement/deviceConfigurations('{self}')")
    }

    /// Returns the 404 of a configuration that does not exist.
    pub fn not_found(key: impl fmt::Display) -> ApiError {
        ApiError::not_found(format!(
            "DeviceConfigurations not found: Profile {key}. GET /deviceManagement/deviceConfigurations lists the existing ones."
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

/// Returns whether the configuration exists.
pub async fn exists(connection: &mut PgConnection, id: ConfigurationId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM device_configurations WHERE id = $1) AS "exists!""#, id.0)
        .fetch_one(connection)
        .await
}

/// Locks the configuration exclusively until the transaction ends, so that its assignments can
/// be replaced as a set. Returns `false` when it does not exist.
pub async fn lock(connection: &mut PgConnection, id: ConfigurationId) -> sqlx::Result<bool> {
    let row = sqlx::query!("SELECT id FROM device_configurations WHERE id = $1 FOR UPDATE", id.0);
    Ok(row.fetch_optional(connection).await?.is_some())
}

/// Checks that the configuration exists, after a statement found no rows below it.
///
/// # Errors
/// 404 when the configuration does not exist.
pub async fn check(connection: &mut PgConnection, id: ConfigurationId) -> Result<(), ApiError> {
    match exists(connection, id).await? {
        true => Ok(()),
        false => Err(ConfigurationId::not_found(id)),
    }
}
