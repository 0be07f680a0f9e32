//! The folder of the socket of the private PostgreSQL.
//!
//! It is in `/tmp`, because the path of a socket may have no more than about 100
//! characters. Every user can make folders there, so the server only uses a folder that
//! no other user can enter.

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
    /// Names the folder of a server that was found running.
    pub(super) fn of_running(path: PathBuf, account: &Account) -> Self {
        Self { path, account: account.clone() }
    }

    /// Makes the folder for the server whose data is in `folder`.
    ///
    /// The same `folder` gives the same name at every start, unless another user has made
    /// a folder of this name first. Then the server gets `last`, the folder that it had
    /// before, or else a folder with a random name.
    ///
    /// # Errors
    /// When no folder can be made.
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
        tracing::warn!("{usual} belongs to another user: the socket of the private PostgreSQL gets another folder");
        if let Some(last) = last
            && last.take()?
        {
            return Ok(last);
        }
        let random = Self::of_running(format!("{usual}-{}", uuid::Uuid::new_v4().simple()).into(), account);
        random.take_again()?;
        Ok(random)
    }

    /// Makes the folder, or uses the one that is there. Returns false when that is not private.
    fn take(&self) -> anyhow::Result<bool> {
        match self.account.make_private(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(self.account.is_private(&self.path)),
            Err(error) => Err(error).with_context(|| format!("cannot make {}", self.path.display())),
        }
    }

    /// Makes the folder again under the same name if it is gone: the connection pools keep the name.
    ///
    /// # Errors
    /// When another user can enter it, or it cannot be made.
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
