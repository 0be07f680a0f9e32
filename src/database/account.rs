//! The account that the private PostgreSQL runs as.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::Path,
};

use anyhow::{Context, bail};
use nix::unistd::{User, geteuid};
use tokio::process::Command;

/// The account of this service or, when that is root, another one: PostgreSQL refuses to run as root.
#[derive(Clone)]
pub(super) struct Account(Option<User>);

impl Account {
    /// Finds the account.
    ///
    /// # Errors
    /// When the service runs as root and no other account can be used.
    pub(super) fn find() -> anyhow::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self(None));
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name).context("cannot read the accounts of this machine")? {
                return Ok(Self(Some(user)));
            }
        }
        bail!(
            "PostgreSQL refuses to run as root, and this machine has neither an account postgres nor an account nobody; add one of them, start devicegraph as another user, or name a database in DATABASE_URL"
        )
    }

    /// Returns whether this account differs from the account of the service.
    pub(super) fn is_another(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the name of the account, for a message.
    pub(super) fn name(&self) -> &str {
        self.0.as_ref().map_or("this account", |user| user.name.as_str())
    }

    /// Makes a command run as this account.
    pub(super) fn run(&self, command: &mut Command) {
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Creates a folder that only this account can enter.
    ///
    /// # Errors
    /// When the name is taken, or the system refuses to create the folder.
    pub(super) fn make_private(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        match &self.0 {
            Some(user) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
            None => Ok(()),
        }
    }

    /// Returns whether only this account can enter a folder. Another user who can
    /// could answer in place of the server.
    pub(super) fn is_private(&self, path: &Path) -> bool {
        let owner = self.0.as_ref().map_or(geteuid(), |user| user.uid);
        fs::symlink_metadata(path).is_ok_and(|found| {
            found.is_dir() && found.uid() == owner.as_raw() && found.permissions().mode() & 0o077 == 0
        })
    }
}
