//! The list of the files that an export wrote, stored beside them.

use std::{
    borrow::Borrow,
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::odata::key;

/// The name of the manifest file. `seed` skips hidden files.
pub(super) const NAME: &str = ".devicegraph-export.json";

/// The maximum number of file names in a message.
const MAX_SHOWN: usize = 10;

/// The files of an export, and the store that they come from.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Manifest {
    /// An explanation for a person who finds the file.
    about: String,
    /// The id of the store, which a backup of the database keeps.
    store: Uuid,
    /// The names of the files, sorted.
    files: BTreeSet<String>,
    /// Whether the export has written every file. While it runs, it has not.
    #[serde(default = "is_complete")]
    complete: bool,
}

/// A manifest without the member is of an export that has ended.
fn is_complete() -> bool {
    true
}

impl Manifest {
    /// Creates the manifest of the files of these configurations.
    pub(super) fn new(store: Uuid, ids: impl IntoIterator<Item = impl Borrow<Uuid>>) -> Self {
        let about = "Files that `devicegraph export` wrote. The next export to this folder removes those of configurations that are gone.";
        let files = ids.into_iter().map(|id| file_name(*id.borrow())).collect();
        Self { about: about.to_owned(), store, files, complete: true }
    }

    /// Returns the manifest of an export that has not written every file yet.
    pub(super) fn begun(self) -> Self {
        Self { complete: false, ..self }
    }

    /// Reads the manifest of a folder. Returns `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is not a manifest.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(NAME);
        let remedy = || {
            format!("cannot read the manifest {}; choose another folder, or replace it with --force", path.display())
        };
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(remedy),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(remedy),
        }
    }

    /// Writes the manifest.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        write(folder, &folder.join(NAME), &(serde_json::to_string_pretty(self)? + "\n"))
    }

    /// Returns the configurations whose files are listed. Ignores names that an export never
    /// writes, such as paths to other folders.
    pub(super) fn ids(&self) -> BTreeSet<Uuid> {
        let id = |name: &String| key::guid(name.strip_suffix(".json")?).filter(|id| file_name(*id) == **name);
        self.files.iter().filter_map(id).collect()
    }

    /// Checks that an export of `store`, which removes the files of `gone`, may replace
    /// this one.
    ///
    /// # Errors
    /// Names the reason, the files and the remedy.
    pub(super) fn check(&self, folder: &Path, store: Uuid, is_empty: bool, gone: &[Uuid]) -> anyhow::Result<()> {
        let folder = folder.display();
        let removed = match gone {
            [] => "no file".to_owned(),
            gone => names(gone),
        };
        ensure!(
            self.store == store,
            "{folder} holds the export of another store ({}, and this one is {store}); this export would remove {removed}; choose another folder, or replace that export with --force",
            self.store
        );
        ensure!(
            !is_empty || gone.is_empty(),
            "the store has no configuration, and the export would only remove files from {folder}: {removed}; check which database the settings name, or remove them with --force"
        );
        Ok(())
    }
}

/// Checks that no export to the folder was interrupted, or still runs.
///
/// # Errors
/// Names the folder and the remedy.
pub(super) fn check_complete(folder: &Path) -> anyhow::Result<()> {
    ensure!(
        Manifest::read(folder)?.is_none_or(|manifest| manifest.complete),
        "{}: an export to this folder runs, or was interrupted, so that --prune would delete what it has not written; wait for it, or repeat it",
        folder.display()
    );
    Ok(())
}

/// Returns the name of the file of a configuration.
pub(super) fn file_name(id: Uuid) -> String {
    format!("{id}.json")
}

/// Returns the names of files for a message.
pub(super) fn names(ids: &[Uuid]) -> String {
    let mut shown: Vec<_> = ids.iter().take(MAX_SHOWN).map(|id| file_name(*id)).collect();
    if ids.len() > MAX_SHOWN {
        shown.push(format!("and {} more", ids.len() - MAX_SHOWN));
    }
    shown.join(", ")
}

/// Writes a file atomically. Does nothing when the file already has this text.
///
/// Writes a new file with a random name, so that it never writes through an existing file or
/// symbolic link. The new file then replaces `path`.
pub(super) fn write(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    if is_file(path) && fs::read(path).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    // `seed` skips hidden files. The umask applies to the mode, as for every new file.
    let mode = fs::Permissions::from_mode(0o666);
    let mut aside = tempfile::Builder::new().prefix(".devicegraph-export-").permissions(mode).tempfile_in(folder)?;
    aside.write_all(text.as_bytes())?;
    aside.persist(path)?;
    Ok(())
}

/// Returns whether a path is a regular file and no link.
pub(super) fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}
