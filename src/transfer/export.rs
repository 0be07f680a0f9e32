//! The store as files that show nothing but real changes.
//!
//! One file a configuration, named by its id. Members are sorted; the times
//! and the version, which change by themselves, are left out. The same store
//! gives the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    assignments,
    catalogue::{NAMESPACE, values::TYPE},
    configurations::{self, model::Configuration},
    odata::{key, links::Version},
};

/// Configurations read at a time.
const PAGE: i64 = 500;

/// Makes `folder` the export of the store; how many configurations it has.
///
/// A file of a configuration that is gone is removed, any other file stays.
/// `progress` is called after each configuration.
///
/// # Errors
/// When the database does not answer or the folder cannot be written.
pub async fn export(pool: &PgPool, folder: &Path, progress: impl Fn()) -> anyhow::Result<usize> {
    let cannot = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    // One snapshot of everything, however long it takes.
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut written = BTreeSet::new();
    let mut after = None;
    loop {
        let page = configurations::sql::page(&mut transaction, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let ids: Vec<Uuid> = page.iter().map(|configuration| configuration.id).collect();
        let mut assigned: BTreeMap<Uuid, Vec<Value>> = BTreeMap::new();
        for assignment in assignments::sql::list_of(&mut transaction, &ids).await? {
            let shown = serde_json::to_value(assignment.shown(Version::Beta))?;
            assigned.entry(assignment.device_configuration_id).or_default().push(shown);
        }
        for configuration in &page {
            let text = text(configuration, assigned.remove(&configuration.id).unwrap_or_default())?;
            write(&folder.join(format!("{}.json", configuration.id)), &text).with_context(cannot)?;
            written.insert(configuration.id);
            progress();
        }
    }
    remove_others(folder, &written).with_context(cannot)?;
    Ok(written.len())
}

/// What is stored and no more: what nobody set, times and versions are left out.
fn text(configuration: &Configuration, assignments: Vec<Value>) -> anyhow::Result<String> {
    let mut members = configuration.properties.0.clone();
    for (name, value) in [
        (TYPE, json!(format!("#{NAMESPACE}.{}", configuration.odata_type))),
        ("id", json!(configuration.id)),
        ("displayName", json!(configuration.display_name)),
        ("description", json!(configuration.description)),
        ("assignments", json!(assignments)),
    ] {
        let has = members.insert(name.to_owned(), value).is_some();
        ensure!(!has, "configuration {} has a property '{name}' beside its own", configuration.id);
    }
    Ok(serde_json::to_string_pretty(&members)? + "\n")
}

/// Leaves a file alone that is right already, and never a half-written one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    let aside = path.with_extension("json.new");
    fs::write(&aside, text)?;
    fs::rename(aside, path)
}

/// Removes what an earlier export wrote of configurations that are gone.
fn remove_others(folder: &Path, written: &BTreeSet<Uuid>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| key::guid(name.strip_suffix(".json")?));
        if id.is_some_and(|id| {
            is_export_of(id, &entry.path()) && !(written.contains(&id) && name == *format!("{id}.json"))
        }) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Other tools name their files by ids as well.
fn is_export_of(id: Uuid, path: &Path) -> bool {
    let value: Option<Value> = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    value.is_some_and(|value| {
        let is_id = value["id"].as_str().and_then(key::guid) == Some(id);
        is_id && value["@odata.type"].is_string() && value["assignments"].is_array()
    })
}
