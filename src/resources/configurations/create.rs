//! A create of a configuration with its secrets and its nested assignments (OData deep insert).
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part1-protocol.html#sec_CreateRelatedEntitiesWhenCreatinganE>

use std::{borrow::Cow, collections::HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    model::{Configuration, NewConfiguration},
    sql, store,
    vault::Vault,
};
use crate::{
    auth::Caller,
    catalogue::version::Version,
    database::connections::{Connection, Connections},
    error::ApiError,
    resources::{
        assignments::{self, model::Assignment},
        parent::{self, ConfigurationId},
    },
};

/// The rows that a create has stored.
pub struct Created {
    /// The configuration.
    pub configuration: Configuration,
    /// Its assignments in the order of their ids. `None` when the body did not have them.
    pub assignments: Option<Vec<Assignment>>,
}

/// Stores a configuration and its assignments in one transaction. Returns the stored rows of
/// a create that was sent before with the same id.
///
/// # Errors
/// 409 when the id belongs to another configuration, or the stored configuration has other
/// assignments. 400 for a secret when there is no key to encrypt it with.
pub async fn execute(
    connections: &Connections,
    vault: &Vault,
    new: NewConfiguration,
    caller: &Caller,
    version: Version,
) -> Result<Created, ApiError> {
    let new = &new;
    let id = ConfigurationId(new.id.unwrap_or_else(Uuid::now_v7));
    let assignments = new.assignments.as_ref().map(|set| set.rows(id));
    let rows = assignments.as_deref().unwrap_or_default();
    // A configuration without assignments is one statement, which commits by itself.
    let mut connection = match rows.is_empty() {
        true => connections.acquire().await?,
        false => connections.begin().await?,
    };
    let (properties, secrets) = store::seal(&mut connection, vault, id, new).await?;
    let insert = async |connection: &mut PgConnection| {
        let inserted = sql::insert(connection, id, new, Cow::Borrowed(&*properties), &secrets, caller.id()).await?;
        // No other transaction sees the new configuration, so no other write can take a target.
        if inserted.is_some() && !rows.is_empty() {
            let rows: Vec<_> = rows.iter().collect();
            assignments::sql::insert_missing(connection, id, &rows, caller.id()).await?;
        }
        Ok(inserted)
    };
    match connection.execute_write(id.path(), insert).await? {
        Some(configuration) => {
            connection.commit(id.path()).await?;
            Ok(Created { configuration, assignments })
        }
        None => find_same(&mut connection, vault, (id, new, assignments), version).await,
    }
}

/// Finds the rows that the same create has stored before.
async fn find_same(
    connection: &mut Connection,
    vault: &Vault,
    (id, new, sent): (ConfigurationId, &NewConfiguration, Option<Vec<Assignment>>),
    version: Version,
) -> Result<Created, ApiError> {
    let configuration = match sql::find(connection, id).await? {
        Some(stored) if store::is_same_create(connection, vault, &stored, new, version).await? => stored,
        _ => {
            return Err(ApiError::conflict(format!(
                "Another device configuration has the id '{id}'. Send another id, or none."
            )));
        }
    };
    let Some(sent) = sent else { return Ok(Created { configuration, assignments: None }) };
    let stored = assignments::sql::list(connection, id).await?;
    if stored.is_empty() {
        // It may have been deleted since.
        parent::check(connection, id).await?;
    }
    match is_same_set(&sent, &stored, version) {
        true => Ok(Created { configuration, assignments: Some(stored) }),
        false => Err(ApiError::conflict(format!(
            "The device configuration '{id}' exists and has other assignments than those of 'assignments'. POST the set to …/assign to replace them, or send another id, or none."
        ))),
    }
}

/// Returns whether a client of `version` reads two sets of one configuration as the same,
/// apart from the ids of the assignments.
fn is_same_set(sent: &[Assignment], stored: &[Assignment], version: Version) -> bool {
    let by_target: HashMap<_, _> = sent.iter().map(|row| (row.target_columns(), row)).collect();
    let is_sent = |stored: &Assignment| {
        let sent = by_target.get(&stored.target_columns());
        sent.is_some_and(|sent| Assignment { id: stored.id, ..(*sent).clone() }.reads_same_as(stored, version))
    };
    sent.len() == stored.len() && stored.iter().all(is_sent)
}
