//! Writes the configurations of files to the store, in one transaction.

use std::{collections::HashMap, mem, path::Path};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};

use super::files::{FileRules, ParsedConfiguration, read};
use crate::{
    error::ApiError,
    resources::{
        assignments::{
            self,
            model::{Assignment, AssignmentId, NewAssignment},
        },
        configurations::{
            self,
            model::{Configuration, NewConfiguration},
            store,
            vault::Vault,
        },
        parent::{self, ConfigurationId},
    },
};

/// The number of configurations of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Created configurations.
    pub created: usize,
    /// Changed configurations.
    pub changed: usize,
    /// Configurations that already had the content of the file.
    pub unchanged: usize,
}

/// Writes all of `seeds` or nothing. Calls `progress` after each configuration.
///
/// An existing configuration gets the content of its file, and its assignments, if the file has
/// them. Configurations that are in no file stay as they are.
///
/// # Errors
/// Names the file and the conflict: an id that belongs to another row, or a type that cannot
/// change.
pub async fn seed(
    pool: &PgPool,
    vault: &Vault,
    seeds: Vec<ParsedConfiguration>,
    progress: impl Fn(),
) -> anyhow::Result<Done> {
    let mut transaction = pool.begin().await.context("the database cannot be used")?;
    let done = write_all(&mut transaction, vault, seeds, progress).await?;
    transaction.commit().await.context("the seed could not be committed")?;
    Ok(done)
}

/// Seeds a database that has no configurations. Returns `None` for any other. When two services
/// start at the same time, only one seeds.
///
/// # Errors
/// Those of [`seed`].
pub async fn seed_if_empty(
    pool: &PgPool,
    vault: &Vault,
    path: &Path,
    rules: FileRules,
) -> anyhow::Result<Option<Done>> {
    let mut transaction = pool.begin().await.context("the database cannot be used")?;
    configurations::sql::lock_seeding(&mut transaction).await?;
    if configurations::sql::count(&mut transaction).await? > 0 {
        return Ok(None);
    }
    let done = write_all(&mut transaction, vault, read(path, rules)?, || ()).await?;
    transaction.commit().await.context("the seed could not be committed")?;
    Ok(Some(done))
}

async fn write_all(
    connection: &mut PgConnection,
    vault: &Vault,
    seeds: Vec<ParsedConfiguration>,
    progress: impl Fn(),
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    for mut parsed in seeds {
        let change = write(connection, vault, &mut parsed).await.with_context(|| parsed.at.to_string())?;
        match change {
            Change::Created => done.created += 1,
            Change::Changed => done.changed += 1,
            Change::None => done.unchanged += 1,
        }
        progress();
    }
    Ok(done)
}

enum Change {
    Created,
    Changed,
    None,
}

async fn write(
    connection: &mut PgConnection,
    vault: &Vault,
    parsed: &mut ParsedConfiguration,
) -> anyhow::Result<Change> {
    let id = ConfigurationId(parsed.id);
    if let Some(secret) = parsed.new.secrets.first() {
        bail!(
            "omaSettings[{}].value is marked 'isEncrypted', and the file has the value in plain text; send the value to the service instead",
            secret.place
        );
    }
    let sealed = store::seal(connection, vault, id, &parsed.new).await;
    let (properties, secrets) = sealed.map_err(ApiError::into_error)?;
    let inserted = configurations::sql::insert(connection, id, &parsed.new, properties, &secrets, None).await?;
    let (written, mut change) = match inserted {
        Some(created) => (created, Change::Created),
        None => match replace(connection, vault, id, &mut parsed.new).await? {
            (changed, true) => (changed, Change::Changed),
            (stored, false) => (stored, Change::None),
        },
    };
    if !matches!(change, Change::None) {
        warn_of_missing_secrets(connection, &written, parsed).await?;
    }
    drop(written);
    if let Some(new) = &parsed.assignments
        && assign(connection, parsed, id, new).await?
        && matches!(change, Change::None)
    {
        change = Change::Changed;
    }
    Ok(change)
}

/// Gives a stored configuration the content of its file. Takes the properties out of `new`.
/// Returns the row after that, and whether anything changed.
async fn replace(
    connection: &mut PgConnection,
    vault: &Vault,
    id: ConfigurationId,
    new: &mut NewConfiguration,
) -> anyhow::Result<(Configuration, bool)> {
    // Lock the configuration like `assign` does, because its assignments may be replaced.
    parent::lock(connection, id).await?;
    let stored = configurations::sql::find(connection, id).await?.context("the configuration was deleted meanwhile")?;
    ensure!(
        stored.odata_type == new.odata_type,
        "the configuration {id} is of type {} and cannot become {}; give the configuration in the file another id",
        stored.odata_type,
        new.odata_type,
    );
    let mut changed = Configuration {
        id: stored.id,
        odata_type: stored.odata_type.clone(),
        display_name: new.display_name.clone(),
        description: new.description.clone(),
        // A copy of a large configuration would need much memory.
        properties: mem::take(&mut new.properties),
        version: stored.version,
        created_date_time: stored.created_date_time,
        last_modified_date_time: stored.last_modified_date_time,
    };
    keep_unreadable(&stored, &mut changed);
    store::remove_stale_references(connection, &mut changed.properties).await?;
    store::replace(connection, vault, stored, changed, Vec::new(), None).await.map_err(ApiError::into_error)
}

/// Logs the masked values of a written configuration that have no secret.
async fn warn_of_missing_secrets(
    connection: &mut PgConnection,
    written: &Configuration,
    parsed: &ParsedConfiguration,
) -> sqlx::Result<()> {
    for place in store::places_without_secret(connection, written).await? {
        tracing::warn!(
            "{}: omaSettings[{place}].value is masked, and this store has no secret for it; send the value itself",
            parsed.at
        );
    }
    Ok(())
}

/// Keeps the stored members that JSON cannot hold, because an export leaves them out.
fn keep_unreadable(stored: &Configuration, changed: &mut Configuration) {
    if stored.properties.is_repaired {
        for (name, _) in stored.properties.iter().filter(|(_, value)| value.is_null()) {
            changed.properties.entry(name.clone()).or_insert(Value::Null);
        }
    }
}

/// Replaces the assignments with those of the file. Returns whether they changed.
///
/// `assign` matches rows by target only. Here, a row gets the id of the file. If the file has
/// no id, a row with the same target keeps its id.
async fn assign(
    connection: &mut PgConnection,
    parsed: &ParsedConfiguration,
    id: ConfigurationId,
    new: &[NewAssignment],
) -> anyhow::Result<bool> {
    let mut places = HashMap::new();
    for (index, new) in new.iter().enumerate() {
        if let Some(other) = new.target.key().and_then(|key| places.insert(key, index)) {
            bail!("assignments[{index}].target repeats the target of assignments[{other}]; keep one of the two");
        }
    }
    let before = assignments::sql::list(connection, id).await?;
    let by_target: HashMap<_, _> = before.iter().map(|stored| (stored.target_columns(), stored.id)).collect();
    let mut rows: Vec<Assignment> = Vec::new();
    let mut places = HashMap::new();
    for (index, new) in new.iter().enumerate() {
        let mut row = new.row(id, AssignmentId(parsed.assignment_id(index, new)));
        if let (None, false, Some(unchanged)) = (new.id, row.has_base_target(), by_target.get(&row.target_columns())) {
            row.id = *unchanged;
        }
        if let Some(other) = places.insert(row.id, index) {
            bail!(
                "assignments[{index}].id repeats the id of assignments[{other}]; give each assignment its own id, or none"
            );
        }
        rows.push(row);
    }
    if before.len() == rows.len() && first_missing(&rows, &before).is_none() {
        return Ok(false);
    }
    let after = assignments::sql::replace_by_id(connection, id, &before, &rows).await?;
    if let Some(index) = first_missing(&rows, &after) {
        bail!("assignments[{index}].id belongs to an assignment of another configuration; leave it out");
    }
    Ok(true)
}

/// Returns the index of the first row that is not stored as it is.
fn first_missing(rows: &[Assignment], stored: &[Assignment]) -> Option<usize> {
    let stored: HashMap<_, _> = stored.iter().map(|stored| (stored.id, stored)).collect();
    rows.iter().position(|row| stored.get(&row.id) != Some(&row))
}

/// Counts the configurations.
///
/// # Errors
/// When the database does not answer.
pub async fn count(pool: &PgPool) -> anyhow::Result<usize> {
    let count = configurations::sql::count(&mut *pool.acquire().await?).await?;
    Ok(usize::try_from(count)?)
}

/// Deletes every configuration and every assignment. Returns the number of configurations.
///
/// # Errors
/// When the database does not answer.
pub async fn reset(pool: &PgPool) -> anyhow::Result<u64> {
    let mut transaction = pool.begin().await?;
    // Lock the configurations first, like every write. Delete the assignments first and in one
    // statement, because the cascade would delete them separately for each configuration.
    configurations::sql::lock_all(&mut transaction).await?;
    assignments::sql::delete_all(&mut transaction).await?;
    let deleted = configurations::sql::delete_all(&mut transaction).await?;
    transaction.commit().await?;
    Ok(deleted)
}
