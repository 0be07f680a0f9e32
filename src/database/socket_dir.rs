//! The folder of the socket of the private PostgreSQL.
//!
//! The folder is in `/tmp`, because the path of a socket is limited to about 100 characters.
//! Every user can create folders there, so the server uses only a folder that no other user can
//! enter.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::account::Account;

/// The files that a killed server leaves in the folder.
const FILES: [&str; 2] = [".s.PGSQL.5432", ".s.PGSQL.5432.lock"];

/// The folder of the socket of one server.
pub(super) struct SocketDir {
    path: PathBuf,
    account: Account,
}

impl SocketDir {
    /// Returns the folder of a server that already runs.
    pub(super) fn of_running(path: PathBuf, account: &Account) -> Self {
        Self { path, account: account.clone() }
    }

    /// Creates the folder for the server whose data is in `folder`.
    ///
    /// The same `folder` gives the same name at every start, unless another user has created a
    /// folder of this name first. Then the server gets `last`, the folder of the previous
    /// start, or else a folder with a random name.
    ///
    /// # Errors
    /// When no folder can be created.
    pub(super) fn make(folder: &Path, account: &Account, last: Option<&Path>) -> anyhow::Result<Self> {
        let found = fs::metadata(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let usual = format!("/tmp/devicegraph-{:x}-{:x}", found.dev(), found.ino());
        let with_suffix = |path: &&Path| {
            let suffix = path.to_str().and_then(|path| path.strip_prefix(&usual)?.strip_prefix('-'));
            suffix.is_some_and(|suffix| !suffix.contains('/'))
        };
        let last = last.filter(with_suffix).map(|path| Self::of_running(path.to_owned(), account));
        let socket_dir = Self::of_running(PathBuf::from(&usual), account);
        if socket_dir.take()? {
            if let Some(last) = last {
                last.remove();
            }
            return Ok(socket_dir);
        }
        tracing::warn!("{usual} belongs to another user: the private PostgreSQL uses another folder for its socket");
        if let Some(last) = last
            && last.take()?
        {
            return Ok(last);
        }
        let random = Self::of_running(format!("{usual}-{}", uuid::Uuid::new_v4().simple()).into(), account);
        random.take_again()?;
        Ok(random)
    }

    /// Creates the folder, or uses an existing folder. Returns `false` when another user can
    /// enter the existing folder.
    fn take(&self) -> anyhow::Result<bool> {
        match self.account.make_private(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(self.account.is_private(&self.path)),
            Err(error) => Err(error).with_context(|| format!("cannot create {}", self.path.display())),
        }
    }

    /// Creates the folder again if it is gone. The name stays the same, because the connection
    /// pools use it.
    ///
    /// # Errors
    /// When another user can enter the folder, or the folder cannot be created.
    pub(super) fn take_again(&self) -> anyhow::Result<()> {
        if !self.take()? {
            bail!(
                "another user can enter {}, the folder of the socket of the private PostgreSQL; remove it, or restart the service, which then uses another folder",
                self.path.display()
            );
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder and what a killed server left in it.
    pub(super) fn remove(&self) {
        if !self.account.is_private(&self.path) {
            return;
        }
        let files = FILES.iter().map(|file| fs::remove_file(self.path.join(file)));
        let removed: Vec<io::Result<()>> = files.chain(std::iter::once_with(|| fs::remove_dir(&self.path))).collect();
        let is_left = |error: &io::Error| error.kind() != ErrorKind::NotFound;
        if let Some(error) = removed.into_iter().filter_map(Result::err).find(is_left) {
            tracing::warn!(%error, "cannot remove {}; remove it by hand", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_is_no_folder_of_another_user() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("missing/socket");
        let socket_dir = SocketDir::of_running(path.clone(), &Account::find().expect("an account"));
        let error = socket_dir.take_again().expect_err("the parent folder is missing");
        assert_eq!(error.to_string(), format!("cannot create {}", path.display()));
    }
}
