//! Writes the configurations of files to the store, in one transaction.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use anyhow::{Context, ensure};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    decision::{self, Access, RowStep, SetStep, Step},
    files::{FileRules, ParsedConfiguration, read},
};
use crate::{
    error::ApiError,
    resources::{
        assignments::{self, model::Assignment},
        configurations::{self, store, vault::Vault},
        parent::ConfigurationId,
    },
};

/// The number of configurations of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Created configurations.
    pub created: usize,
    /// Changed configurations.
    pub changed: usize,
    /// Deleted configurations, which were in no file.
    pub deleted: usize,
    /// Configurations that already had the content of the file.
    pub unchanged: usize,
}

/// Which configurations a seed deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prune {
    /// None.
    Nothing,
    /// All that are in no file.
    All,
    /// All that are in no file. A user has confirmed these ids. The seed fails when it would
    /// delete a configuration with another id.
    Confirmed(BTreeSet<Uuid>),
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
    seed_and_prune(pool, vault, seeds, &Prune::Nothing, progress).await
}

/// Writes all of `seeds`, and deletes configurations that are in no file, or changes nothing.
///
/// # Errors
/// Those of [`seed`], and when there is no configuration in the files.
pub async fn seed_and_prune(
    pool: &PgPool,
    vault: &Vault,
    seeds: Vec<ParsedConfiguration>,
    prune: &Prune,
    progress: impl Fn(),
) -> anyhow::Result<Done> {
    let mut transaction = pool.begin().await.context("the database cannot be used")?;
    // One seed at a time, so that two seeds cannot wait for each other's rows.
    configurations::sql::lock_seeding(&mut transaction).await?;
    let done = write_all(&mut transaction, vault, seeds, prune, progress).await?;
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
    let done = write_all(&mut transaction, vault, read(path, rules)?, &Prune::Nothing, || ()).await?;
    transaction.commit().await.context("the seed could not be committed")?;
    Ok(Some(done))
}

async fn write_all(
    connection: &mut PgConnection,
    vault: &Vault,
    seeds: Vec<ParsedConfiguration>,
    prune: &Prune,
    progress: impl Fn(),
) -> anyhow::Result<Done> {
    let is_pruning = *prune != Prune::Nothing;
    let decisions = decision::decide_all(connection, vault, seeds, is_pruning, Access::Locked).await?;
    if let Prune::Confirmed(confirmed) = prune {
        ensure!(
            decisions.pruned.iter().all(|id| confirmed.contains(id)),
            "another client has created configurations since the question, and the folder does not have them; nothing is changed; run the command again"
        );
    }
    let mut done = Done { deleted: decisions.pruned.len(), unchanged: decisions.unchanged, ..Done::default() };
    (0..done.unchanged).for_each(|_| progress());
    for id in decisions.pruned {
        configurations::sql::delete(connection, ConfigurationId(id)).await?;
    }
    let mut steps = decisions.steps;
    // First of all, because the id of an assignment can move to another configuration.
    for Step { parsed, set, .. } in &mut steps {
        if let Some(set) = set {
            delete_assignments(connection, ConfigurationId(parsed.id), set).await?;
        }
    }
    for step in steps {
        let at = step.parsed.at.clone();
        match write(connection, vault, step).await.with_context(|| at.to_string())? {
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

/// Writes a configuration and its assignments.
async fn write(connection: &mut PgConnection, vault: &Vault, mut step: Step) -> anyhow::Result<Change> {
    let id = ConfigurationId(step.parsed.id);
    while matches!(step.row, RowStep::Create) && !create(connection, vault, &step.parsed).await? {
        // Another client has created the configuration since the decision.
        step = decision::decide(connection, vault, step.parsed, Access::Locked).await?;
    }
    let Step { row, set, .. } = step;
    let change = match row {
        RowStep::Create => Change::Created,
        RowStep::Change { stored, changed, secrets } => {
            let written = store::write_change(connection, vault, stored, changed, &secrets, None).await;
            written.map_err(ApiError::into_error)?;
            Change::Changed
        }
        RowStep::Keep(_) if set.is_some() => Change::Changed,
        RowStep::Keep(_) => Change::None,
    };
    if let Some(set) = set {
        assign(connection, id, &set).await?;
    }
    Ok(change)
}

/// Inserts a configuration. Returns `false` when its id is taken.
async fn create(connection: &mut PgConnection, vault: &Vault, parsed: &ParsedConfiguration) -> anyhow::Result<bool> {
    let id = ConfigurationId(parsed.id);
    let (properties, secrets) = store::encrypt(vault, id, &parsed.new).map_err(ApiError::into_error)?;
    let created = configurations::sql::insert(connection, id, &parsed.new, properties, &secrets, None).await?;
    Ok(created.is_some())
}

async fn delete_assignments(connection: &mut PgConnection, id: ConfigurationId, set: &mut SetStep) -> sqlx::Result<()> {
    let deleted = set.deleted();
    if deleted.is_empty() {
        return Ok(());
    }
    assignments::sql::delete_many(connection, id, &deleted).await?;
    set.before.retain(|row| deleted.binary_search(&row.id).is_err());
    Ok(())
}

/// Replaces the assignments with those of the file.
async fn assign(connection: &mut PgConnection, id: ConfigurationId, set: &SetStep) -> anyhow::Result<()> {
    let after = assignments::sql::replace_by_id(connection, id, &set.before, &set.rows).await?;
    match first_missing(&set.rows, &after) {
        // Another client has created an assignment with this id since the decision.
        Some(index) => Err(decision::id_of_another(index)),
        None => Ok(()),
    }
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
