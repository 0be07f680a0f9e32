//! Writes the store as files whose differences show only real changes.
//!
//! Each configuration is one file, named by its id. Members are sorted. The times and the
//! version are left out, because they change without a change of the content. The same store
//! gives the same bytes.
//!
//! The [`Manifest`] of an export lists the files that it wrote. A later export
//! removes and overwrites only these.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::{Context, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::manifest::{self, Manifest};
use crate::{
    catalogue::{NAMESPACE, validation::TYPE, version::Version},
    database,
    odata::key,
    resources::{
        assignments,
        configurations::{self, model::Configuration},
    },
};

/// The number of configurations that are read at a time.
const PAGE: i64 = 500;

/// Exports the store to `folder` and returns the number of configurations.
///
/// Removes the files of configurations that are gone, if the manifest of the folder
/// lists them. Leaves every other file as it is. Calls `progress` after each
/// configuration.
///
/// # Errors
/// When the database does not answer or the folder cannot be written. Without
/// `force`, also when the folder is the export of another store, when files would be
/// removed and none written, and when a file that no export wrote would be
/// overwritten. Nothing is written in these cases.
pub async fn export(pool: &PgPool, folder: &Path, force: bool, progress: impl Fn()) -> anyhow::Result<usize> {
    let cannot = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let _lock = lock(folder)?;
    // Read everything in one snapshot.
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let store = configurations::sql::store_id(&mut transaction).await?;
    let ids: BTreeSet<Uuid> = configurations::sql::ids(&mut transaction).await?.into_iter().collect();
    let before = match Manifest::read(folder) {
        Err(error) if !force => return Err(error),
        read => read.ok().flatten(),
    };
    let listed = before.as_ref().map(|manifest| manifest.ids()).unwrap_or_default();
    for id in &ids {
        ensure!(
            !path(folder, *id).is_dir(),
            "{} is a folder; move it, or choose another one for the export",
            path(folder, *id).display()
        );
    }
    warn_of_unlisted(folder, |id| ids.contains(&id) || listed.contains(&id)).with_context(cannot)?;
    let gone: Vec<Uuid> = listed.difference(&ids).copied().filter(|id| manifest::is_file(&path(folder, *id))).collect();
    if !force {
        if let Some(manifest) = &before {
            manifest.check(folder, store, ids.is_empty(), &gone)?;
        }
        let foreign: BTreeSet<Uuid> =
            ids.difference(&listed).copied().filter(|id| exists(&path(folder, *id))).collect();
        check_foreign(&mut transaction, folder, &foreign).await?;
    }
    let flush = || flush(folder).with_context(|| format!("cannot flush the file system of {}", folder.display()));
    // List every file before it is written, so that an export that was killed can be repeated.
    Manifest::new(store, listed.union(&ids)).begun().write(folder).with_context(cannot)?;
    write_all(&mut transaction, folder, progress).await?;
    // Remove a file only after the new files are on the disk.
    flush()?;
    for id in gone {
        fs::remove_file(path(folder, id)).with_context(cannot)?;
    }
    Manifest::new(store, &ids).write(folder).with_context(cannot)?;
    flush()?;
    Ok(ids.len())
}

/// Flushes the file system of a folder to the disk. Flushing each file takes minutes for a
/// large store.
#[cfg(target_os = "linux")]
fn flush(folder: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(folder)?)?)
}

/// Flushes only the names of the files: other systems cannot flush a whole file system.
#[cfg(not(target_os = "linux"))]
fn flush(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Locks a folder against other exports. Returns `None` when the file system has no locks.
fn lock(folder: &Path) -> anyhow::Result<Option<Flock<File>>> {
    let open = File::open(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    match Flock::lock(open, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => {
            bail!("another export writes to {}; start this one when it has ended", folder.display())
        }
        Err((_, error)) => {
            tracing::warn!("cannot lock {} ({error}): run one export to it at a time", folder.display());
            Ok(None)
        }
    }
}

/// Logs the files that look like exported files but are in no manifest. The export leaves them
/// in place.
fn warn_of_unlisted(folder: &Path, is_known: impl Fn(Uuid) -> bool) -> io::Result<()> {
    let mut unlisted = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| key::guid(name.strip_suffix(".json")?));
        unlisted.extend(id.filter(|id| !is_known(*id)));
    }
    if !unlisted.is_empty() {
        tracing::warn!(
            "these files belong to no configuration of this store and no manifest lists them; the export keeps them, and `devicegraph seed` would load them: {}",
            manifest::names(&unlisted)
        );
    }
    Ok(())
}

async fn write_all(connection: &mut PgConnection, folder: &Path, progress: impl Fn()) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = configurations::sql::page(connection, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for (id, text) in texts(connection, &page).await? {
            manifest::write(folder, &path(folder, id), &text)
                .with_context(|| format!("cannot write to {}", folder.display()))?;
            progress();
        }
    }
}

/// Returns the text of each configuration's file.
async fn texts(connection: &mut PgConnection, page: &[Configuration]) -> anyhow::Result<Vec<(Uuid, String)>> {
    let ids: Vec<Uuid> = page.iter().map(|configuration| configuration.id).collect();
    let mut assigned: BTreeMap<Uuid, Vec<Value>> = BTreeMap::new();
    for assignment in assignments::sql::list_of(connection, &ids).await? {
        let shown = serde_json::to_value(assignment.plain(Version::Beta))?;
        assigned.entry(assignment.device_configuration_id).or_default().push(shown);
    }
    let text_of = |configuration: &Configuration| {
        Ok((configuration.id, text(configuration, assigned.remove(&configuration.id).unwrap_or_default())?))
    };
    page.iter().map(text_of).collect()
}

/// Returns the text of a file: only stored values, without defaults, times and versions.
fn text(configuration: &Configuration, assignments: Vec<Value>) -> anyhow::Result<String> {
    let mut members = Map::clone(&configuration.properties);
    if configuration.properties.is_repaired {
        database::report_unreadable("device_configurations", configuration.id);
        // Null stands for a value that JSON cannot hold, and a type may not allow null.
        members.retain(|_, value| !value.is_null());
    }
    for (name, value) in [
        (TYPE, json!(format!("#{NAMESPACE}.{}", configuration.odata_type))),
        ("id", json!(configuration.id)),
        ("displayName", json!(configuration.display_name)),
        ("description", json!(configuration.description)),
        ("assignments", json!(assignments)),
    ] {
        if members.insert(name.to_owned(), value).is_some() {
            tracing::warn!(id = %configuration.id, "the column properties has a member '{name}', which is not exported");
        }
    }
    // With sorted members, two exports of the same configuration are equal byte for byte.
    let mut sorted = Value::Object(members);
    sorted.sort_all_objects();
    Ok(serde_json::to_string_pretty(&sorted)? + "\n")
}

/// Refuses to overwrite files that no manifest lists, unless they have the content that this
/// export writes. Such files come from an export whose manifest was lost.
async fn check_foreign(connection: &mut PgConnection, folder: &Path, foreign: &BTreeSet<Uuid>) -> anyhow::Result<()> {
    let (mut differ, mut after) = (Vec::new(), None);
    while !foreign.is_empty() {
        let mut page = configurations::sql::page(connection, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        page.retain(|configuration| foreign.contains(&configuration.id));
        for (id, text) in texts(connection, &page).await? {
            let path = path(folder, id);
            // A file that cannot be read belongs to another tool, too.
            if !(manifest::is_file(&path) && fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes())) {
                differ.push(id);
            }
        }
    }
    ensure!(
        differ.is_empty(),
        "no export that {} lists wrote these files: {}; choose another folder, or overwrite them with --force",
        folder.join(manifest::NAME).display(),
        manifest::names(&differ)
    );
    Ok(())
}

fn path(folder: &Path, id: Uuid) -> std::path::PathBuf {
    folder.join(manifest::file_name(id))
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
