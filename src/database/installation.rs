//! Finds the PostgreSQL that is installed on this machine.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

/// The major versions of PostgreSQL that the private server supports.
const SUPPORTED: std::ops::RangeInclusive<u32> = 14..=18;

/// Where packages put the binaries. `*` stands for a major version.
const PACKAGES: [&str; 8] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/libexec/postgresql*",
];

/// An installation of PostgreSQL: a folder with `postgres` and `initdb`.
#[derive(Debug)]
pub(super) struct Installation {
    bin: PathBuf,
    /// Its major version.
    pub(super) major: u32,
}

impl Installation {
    /// Finds the installation of the major version `made_by`, which created a cluster. With
    /// `None`, finds the installation for a new cluster: the one in PATH, else the latest.
    ///
    /// # Errors
    /// When there is none. The message says how to install one or do without.
    pub(super) fn find(made_by: Option<u32>) -> anyhow::Result<Self> {
        let mut found = candidates().filter_map(|bin| Self::at(&bin));
        if let Some(installation) = found.find(|installation| made_by.is_none_or(|major| installation.major == major)) {
            return Ok(installation);
        }
        let package = made_by.map_or("postgresql".to_owned(), |major| format!("postgresql-{major}"));
        let missing = match made_by {
            Some(major) => {
                format!(
                    "the data of the private server was created by PostgreSQL {major}, which is not installed on this machine"
                )
            }
            None => {
                format!("PostgreSQL ({} to {}) is not installed on this machine", SUPPORTED.start(), SUPPORTED.end())
            }
        };
        bail!(
            "{missing}; install it (on Debian: apt-get install {package}), or name a database in DATABASE_URL, or use docker compose up"
        )
    }

    fn at(bin: &Path) -> Option<Self> {
        if !bin.join("initdb").exists() {
            return None;
        }
        let output = command(bin.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
        let major = version.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
        SUPPORTED.contains(&major).then(|| Self { bin: bin.to_owned(), major })
    }

    /// Returns the path of a program of this installation.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Returns the command for a program of PostgreSQL. The program inherits only the
/// [`is_inherited`] variables of the environment. The others may be secrets, or `PG…` variables
/// that name another database.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(env::vars_os().filter(|(name, _)| is_inherited(name))).env("LC_ALL", "C");
    command
}

/// Returns whether PostgreSQL needs an environment variable: to find its libraries, and for the
/// language and the time zone.
fn is_inherited(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    ["PATH", "LANG", "TZ", "LD_LIBRARY_PATH"].contains(&name) || name.starts_with("LC_")
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = env::split_paths(&path).collect();
    let asked = || {
        let output = command("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end()))
    };
    in_path.into_iter().chain(std::iter::once_with(asked).flatten()).chain(PACKAGES.into_iter().flat_map(releases))
}

/// Returns the folders that match a pattern, the latest version first.
fn releases(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let release = name.strip_prefix(prefix)?.parse().ok()?;
            Some((release, PathBuf::from(format!("{parent}/{name}{after}"))))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, bin)| bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_release_comes_first_and_other_folders_do_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["9", "14", "17", "common"] {
            std::fs::create_dir_all(folder.path().join(name).join("bin")).expect("a folder");
        }
        let pattern = format!("{}/*/bin", folder.path().display());
        let names: Vec<_> =
            releases(&pattern).iter().map(|bin| bin.strip_prefix(folder.path()).expect("inside").to_owned()).collect();
        assert_eq!(names, ["17/bin", "14/bin", "9/bin"].map(PathBuf::from));
    }

    #[test]
    fn a_release_that_is_not_installed_is_named_with_the_ways_out() {
        let refusal = Installation::find(Some(13)).expect_err("too old to be accepted").to_string();
        for part in ["PostgreSQL 13", "apt-get install postgresql-13", "DATABASE_URL", "docker compose up"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
