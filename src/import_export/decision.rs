//! Decides what a seed changes: compares the files with the store, and only reads it.
//!
//! A seed decides everything before it writes anything, so that a plan and the seed itself use
//! the same decisions. So no decision depends on what the same seed has written before.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::files::ParsedConfiguration;
use crate::{
    error::ApiError,
    resources::{
        assignments::{
            self,
            difference::Difference,
            model::{Assignment, AssignmentId, NewAssignment},
        },
        configurations::{
            self,
            model::{Configuration, NewConfiguration},
            secrets::Secret,
            store,
            vault::Vault,
        },
        parent::{self, ConfigurationId},
    },
};

/// How the stored rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// With a lock on each configuration, because the transaction will change it.
    Locked,
    /// Without locks, in a snapshot.
    Snapshot,
}

/// What a seed changes.
pub(super) struct Decisions {
    /// The configurations that are created or changed, sorted by id.
    pub(super) steps: Vec<Step>,
    /// The number of configurations that have the content of their file already.
    pub(super) unchanged: usize,
    /// The configurations to delete, sorted.
    pub(super) pruned: Vec<Uuid>,
}

/// What changes in one configuration.
pub(super) struct Step {
    /// The configuration of the file. With [`RowStep::Change`], its properties have moved there.
    pub(super) parsed: ParsedConfiguration,
    /// What changes in its row.
    pub(super) row: RowStep,
    /// What changes in its assignments, or `None`.
    pub(super) set: Option<SetStep>,
}

/// What changes in the row of a configuration.
#[expect(clippy::large_enum_variant, reason = "there is one for each configuration of the files")]
pub(super) enum RowStep {
    /// The row is new.
    Create,
    /// The row gets the content of the file.
    Change {
        /// The row before.
        stored: Configuration,
        /// The row after, without the references of `secrets`.
        changed: Configuration,
        /// The secrets to encrypt, copied from other configurations.
        secrets: Vec<Secret>,
    },
    /// The row stays.
    Keep(Configuration),
}

/// The replacement of the assignments of a configuration.
pub(super) struct SetStep {
    /// The assignments before, sorted by id.
    pub(super) before: Vec<Assignment>,
    /// The assignments after.
    pub(super) rows: Vec<Assignment>,
}

impl Step {
    /// Returns whether anything changes.
    fn is_change(&self) -> bool {
        self.set.is_some() || !matches!(self.row, RowStep::Keep(_))
    }
}

impl SetStep {
    /// Returns the ids of the assignments that are deleted, in ascending order.
    pub(super) fn deleted(&self) -> Vec<Uuid> {
        Difference::by_id(&self.before, &self.rows).deleted
    }
}

/// Compares the files with the store. With `prune`, configurations that are in no file are
/// deleted.
///
/// # Errors
/// Names the file and the conflict: an id that belongs to another row, or a type that cannot
/// change.
pub(super) async fn decide_all(
    connection: &mut PgConnection,
    vault: &Vault,
    seeds: Vec<ParsedConfiguration>,
    prune: bool,
    access: Access,
) -> anyhow::Result<Decisions> {
    ensure!(
        !prune || !seeds.is_empty(),
        "the folder has no configuration, and --prune would delete every configuration of the store; check the folder, or delete them with `devicegraph reset --yes`"
    );
    let mut pruned = Vec::new();
    if prune {
        if access == Access::Locked {
            configurations::sql::lock_all(connection).await?;
        }
        let files: HashSet<Uuid> = seeds.iter().map(|parsed| parsed.id).collect();
        pruned = configurations::sql::ids(connection).await?;
        pruned.retain(|id| !files.contains(id));
        pruned.sort();
    }
    let mut decisions = Decisions { steps: Vec::new(), unchanged: 0, pruned };
    for parsed in seeds {
        let at = parsed.at.clone();
        let step = decide_first(connection, vault, parsed, access).await.with_context(|| at.to_string())?;
        match step.is_change() {
            true => decisions.steps.push(step),
            false => decisions.unchanged += 1,
        }
    }
    check_assignment_ids(connection, &decisions).await?;
    Ok(decisions)
}

async fn decide_first(
    connection: &mut PgConnection,
    vault: &Vault,
    parsed: ParsedConfiguration,
    access: Access,
) -> anyhow::Result<Step> {
    if let Some(secret) = parsed.new.secrets.first() {
        bail!(
            "omaSettings[{}].value is marked 'isEncrypted', and the file has the value in plain text; send the value to the service instead",
            secret.place
        );
    }
    decide(connection, vault, parsed, access).await
}

/// Compares one configuration of the files with the store.
///
/// # Errors
/// Those of [`decide_all`].
pub(super) async fn decide(
    connection: &mut PgConnection,
    vault: &Vault,
    mut parsed: ParsedConfiguration,
    access: Access,
) -> anyhow::Result<Step> {
    let id = ConfigurationId(parsed.id);
    let row = match find(connection, id, access).await? {
        Some(stored) => decide_change(connection, vault, stored, &mut parsed.new).await?,
        None => {
            let resolved = store::resolve_create(connection, vault, id, &mut parsed.new).await;
            resolved.map_err(ApiError::into_error)?;
            RowStep::Create
        }
    };
    warn_of_missing_secrets(connection, &parsed, &row).await?;
    let before = match row {
        RowStep::Create => Vec::new(),
        _ if parsed.assignments.is_none() => Vec::new(),
        _ => assignments::sql::list(connection, id).await?,
    };
    let set = parsed.assignments.as_ref().map(|new| decide_set(&parsed, id, new, before)).transpose()?.flatten();
    Ok(Step { parsed, row, set })
}

async fn find(
    connection: &mut PgConnection,
    id: ConfigurationId,
    access: Access,
) -> sqlx::Result<Option<Configuration>> {
    // Lock the configuration like `assign` does, because its assignments may be replaced.
    match access == Access::Snapshot || parent::lock(connection, id).await? {
        true => configurations::sql::find(connection, id).await,
        false => Ok(None),
    }
}

/// Decides whether a stored configuration gets the content of its file. Takes the properties
/// out of `new`.
async fn decide_change(
    connection: &mut PgConnection,
    vault: &Vault,
    stored: Configuration,
    new: &mut NewConfiguration,
) -> anyhow::Result<RowStep> {
    let id = ConfigurationId(stored.id);
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
    let resolve = async {
        store::remove_stale_references(connection, id, &mut changed.properties).await?;
        store::resolve_change(connection, vault, &stored, &mut changed, mem::take(&mut new.secrets)).await
    };
    Ok(match resolve.await.map_err(ApiError::into_error)? {
        Some(secrets) => RowStep::Change { stored, changed, secrets },
        None => RowStep::Keep(stored),
    })
}

/// Logs the masked values of a configuration that have no secret, when the row is written.
async fn warn_of_missing_secrets(
    connection: &mut PgConnection,
    parsed: &ParsedConfiguration,
    row: &RowStep,
) -> sqlx::Result<()> {
    let (properties, secrets) = match row {
        RowStep::Create => (&parsed.new.properties, &parsed.new.secrets),
        RowStep::Change { changed, secrets, .. } => (&changed.properties, secrets),
        RowStep::Keep(_) => return Ok(()),
    };
    for place in store::places_without_secret(connection, properties).await? {
        if !secrets.iter().any(|secret| secret.place == place) {
            tracing::warn!(
                "{}: omaSettings[{place}].value is masked, and this store has no secret for it; send the value itself",
                parsed.at
            );
        }
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

/// Decides whether the assignments `before` are replaced by those of the file.
///
/// `assign` matches rows by target only. Here, a row gets the id of the file. If the file has
/// no id, a row with the same target keeps its id.
fn decide_set(
    parsed: &ParsedConfiguration,
    id: ConfigurationId,
    new: &[NewAssignment],
    before: Vec<Assignment>,
) -> anyhow::Result<Option<SetStep>> {
    let mut places = HashMap::new();
    for (index, new) in new.iter().enumerate() {
        if let Some(other) = new.target.key().and_then(|key| places.insert(key, index)) {
            bail!("assignments[{index}].target repeats the target of assignments[{other}]; keep one of the two");
        }
    }
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
    let is_same = Difference::by_id(&before, &rows).is_empty();
    Ok((!is_same).then_some(SetStep { before, rows }))
}

/// Refuses an assignment id that two files have, or that an assignment of another
/// configuration keeps.
async fn check_assignment_ids(connection: &mut PgConnection, decisions: &Decisions) -> anyhow::Result<()> {
    let (mut claimed, mut freed) = (HashMap::new(), HashSet::new());
    for step in &decisions.steps {
        let Some(set) = &step.set else { continue };
        let before: HashSet<Uuid> = set.before.iter().map(|row| row.id).collect();
        let after: HashSet<Uuid> = set.rows.iter().map(|row| row.id).collect();
        freed.extend(before.difference(&after).copied());
        for (index, row) in set.rows.iter().enumerate().filter(|(_, row)| !before.contains(&row.id)) {
            if claimed.insert(row.id, (&step.parsed.at, index)).is_some() {
                return Err(id_of_another(index).context(step.parsed.at.to_string()));
            }
        }
    }
    let mut ids: Vec<Uuid> = claimed.keys().copied().collect();
    ids.sort();
    let pruned: HashSet<Uuid> = decisions.pruned.iter().copied().collect();
    let is_kept = |row: &Assignment| !freed.contains(&row.id) && !pruned.contains(&row.device_configuration_id);
    let stored = assignments::sql::find_many(connection, &ids).await?;
    match stored.iter().flatten().find(|row| is_kept(row)).and_then(|row| claimed.get(&row.id)) {
        Some((at, index)) => Err(id_of_another(*index).context(at.to_string())),
        None => Ok(()),
    }
}

/// Returns the error for the id of an assignment that belongs to another configuration.
pub(super) fn id_of_another(index: usize) -> anyhow::Error {
    anyhow!("assignments[{index}].id belongs to an assignment of another configuration; leave it out")
}
