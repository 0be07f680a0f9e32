//! The store made what the files say, in one transaction.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use sqlx::{PgConnection, PgPool};

use super::files::Seeded;
use crate::{
    assignments::{
        self,
        model::{Assignment, AssignmentId},
    },
    configurations::{self, model::ConfigurationId},
};

/// What a seed did with the configurations of its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Made.
    pub created: usize,
    /// Made what the files say.
    pub changed: usize,
    /// Were that already.
    pub unchanged: usize,
}

/// Writes all of `seeds` or nothing; `progress` is called after each.
///
/// A configuration that is there is made what its file says, and its
/// assignments too where the file speaks of them. Configurations that no file
/// has stay as they are.
///
/// # Errors
/// Names the file and what does not fit: an id that belongs to something else,
/// a type that cannot change.
pub async fn seed(pool: &PgPool, seeds: &[Seeded], progress: impl Fn()) -> anyhow::Result<Done> {
    let mut transaction = pool.begin().await.context("the database cannot be used")?;
    let mut done = Done::default();
    for seeded in seeds {
        let change = write(&mut transaction, seeded).await.with_context(|| seeded.at.to_string())?;
        match change {
            Change::Created => done.created += 1,
            Change::Changed => done.changed += 1,
            Change::None => done.unchanged += 1,
        }
        progress();
    }
    transaction.commit().await.context("the seed could not be committed")?;
    Ok(done)
}

enum Change {
    Created,
    Changed,
    None,
}

async fn write(connection: &mut PgConnection, seeded: &Seeded) -> anyhow::Result<Change> {
    let id = ConfigurationId(seeded.id);
    let mut change = match configurations::sql::insert(connection, id, &seeded.new).await? {
        Some(_) => Change::Created,
        None => {
            // Held like `assign` holds it: its assignments may be replaced.
            configurations::sql::lock(connection, id).await?;
            let stored =
                configurations::sql::find(connection, id).await?.context("the configuration was deleted meanwhile")?;
            if seeded.new.made(&stored) {
                Change::None
            } else {
                ensure!(
                    stored.odata_type == seeded.new.odata_type,
                    "the configuration {id} is of type {} and cannot become {}; give the one in the file another id",
                    stored.odata_type,
                    seeded.new.odata_type,
                );
                let changed = configurations::model::Configuration {
                    display_name: seeded.new.display_name.clone(),
                    description: seeded.new.description.clone(),
                    properties: seeded.new.properties.clone(),
                    ..stored
                };
                configurations::sql::update(connection, &changed).await?;
                Change::Changed
            }
        }
    };
    if let Some(new) = &seeded.assignments {
        let rows =
            new.iter().enumerate().map(|(index, new)| new.row(id, AssignmentId(seeded.assignment_id(index, new))));
        let rows: Vec<Assignment> = rows.collect();
        if assign(connection, seeded, id, &rows).await? && matches!(change, Change::None) {
            change = Change::Changed;
        }
    }
    Ok(change)
}

/// Whether the assignments were others before.
async fn assign(
    connection: &mut PgConnection,
    seeded: &Seeded,
    id: ConfigurationId,
    rows: &[Assignment],
) -> anyhow::Result<bool> {
    let keys: Vec<_> = seeded.assignments.iter().flatten().map(|new| new.target.key()).collect();
    let mut places = BTreeMap::new();
    for (index, key) in keys.iter().enumerate() {
        if let Some(other) = key.as_ref().and_then(|key| places.insert(key, index)) {
            bail!("assignments[{index}].target names what assignments[{other}].target names already");
        }
    }
    let before = assignments::sql::list(connection, id).await?;
    assignments::sql::replace(connection, id, rows, &keys, true).await?;
    let after = assignments::sql::list(connection, id).await?;
    if after.len() != rows.len() {
        // Neither by id nor by target: the id belongs to another configuration, or stands twice.
        let is_stored = |row: &Assignment| {
            after.iter().any(|stored| {
                stored.id == row.id
                    || stored.target_type == row.target_type
                        && stored.group_id == row.group_id
                        && stored.collection_id == row.collection_id
            })
        };
        let missing = rows.iter().position(|row| !is_stored(row)).unwrap_or_default();
        bail!("assignments[{missing}].id belongs to another assignment already; leave it out");
    }
    Ok(before != after)
}

/// How many configurations there are.
///
/// # Errors
/// When the database does not answer.
pub async fn count(pool: &PgPool) -> anyhow::Result<usize> {
    let count = configurations::sql::count(&mut *pool.acquire().await?).await?;
    Ok(usize::try_from(count)?)
}

/// Deletes every configuration and every assignment; how many configurations.
///
/// # Errors
/// When the database does not answer.
pub async fn reset(pool: &PgPool) -> anyhow::Result<u64> {
    let mut transaction = pool.begin().await?;
    // The children first, all at once: the cascade would delete them parent by parent.
    assignments::sql::delete_all(&mut transaction).await?;
    let deleted = configurations::sql::delete_all(&mut transaction).await?;
    transaction.commit().await?;
    Ok(deleted)
}
