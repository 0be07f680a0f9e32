//! The ETag of a set of assignments: for a read, and for a change that has locked the
//! configuration.

use sqlx::PgConnection;

use super::sql::{self, Digest};
use crate::{
    database::connections::Connection,
    error::ApiError,
    odata::etag::{Conditions, ETag},
    resources::parent::{self, ConfigurationId},
};

/// Returns the digest of the set of assignments of a configuration.
///
/// # Errors
/// 404 when the configuration does not exist.
pub async fn find_digest(connection: &mut PgConnection, configuration: ConfigurationId) -> Result<Digest, ApiError> {
    let digest = sql::find_digest(connection, configuration).await?;
    digest.ok_or_else(|| ConfigurationId::not_found(configuration))
}

/// Begins to keep the digest of a large set, after a read has computed it. A read succeeds
/// also where the digest cannot be kept, and it locks nothing until the end of a transaction.
pub async fn keep_for_later_reads(connection: &mut Connection, configuration: ConfigurationId, digest: &Digest) {
    if digest.should_be_kept()
        && !connection.is_in_transaction()
        && let Err(error) = sql::keep_digest(connection, configuration).await
    {
        tracing::debug!("the digest of the assignments of {configuration} is not kept: {error}");
    }
}

/// Returns the ETag of the set of a configuration that the request has locked. Begins to keep
/// the digest of a large set, for the changes that follow.
///
/// # Errors
/// 404 when the configuration does not exist.
pub async fn set_etag(connection: &mut PgConnection, configuration: ConfigurationId) -> Result<ETag, ApiError> {
    let digest = find_digest(connection, configuration).await?;
    if digest.should_be_kept() {
        sql::keep_digest(connection, configuration).await?;
    }
    Ok(digest.etag())
}

/// Locks a configuration exclusively until the transaction ends, so that no other request
/// changes its assignments. Returns the ETag of the set when the request has a condition.
///
/// # Errors
/// 404 when the configuration does not exist.
pub async fn lock_configuration(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    conditions: &Conditions,
) -> Result<Option<ETag>, ApiError> {
    if !parent::lock(connection, configuration).await? {
        return Err(ConfigurationId::not_found(configuration));
    }
    match conditions.is_empty() {
        true => Ok(None),
        false => set_etag(connection, configuration).await.map(Some),
    }
}
