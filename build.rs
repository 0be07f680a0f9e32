//! Finds the file from which `src/main.rs` reads the commit for `devicegraph --version`.
//!
//! In a git checkout, this is the log that git keeps of HEAD. Only the binary depends on that
//! file. After a commit, cargo therefore compiles `main.rs` and links it. It does not compile
//! the library or the tests again, and it does not run this script again.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let log = log_of_checkout().unwrap_or_else(|| {
        // The form of a line of git's log: the commit before, and the commit.
        let line = commit_of_package().map_or_else(String::new, |commit| format!("- {commit}\n"));
        let log = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("commit");
        fs::write(&log, line).expect("cargo makes OUT_DIR");
        log
    });
    // `cargo run` also sets this variable for the service, which refuses unknown names that begin
    // with DEVICEGRAPH.
    println!("cargo::rustc-env=COMMIT_LOG={}", log.display());
}

/// Returns git's log of HEAD, if this folder is a checkout. A checkout that contains this folder,
/// such as one with vendored packages, has other commits.
fn log_of_checkout() -> Option<PathBuf> {
    let root = env::current_dir().ok()?;
    let (git, watched) = match fs::read_to_string(root.join(".git")) {
        // A worktree: a file that names the folder.
        Ok(text) => (root.join(text.strip_prefix("gitdir:")?.trim()), Path::new(".git")),
        Err(_) => (root.join(".git"), Path::new(".git/config")),
    };
    let log = git.join("logs/HEAD");
    // A commit does not change the watched file. Without it, this folder is no longer a checkout.
    (log.is_file() && watched.is_file()).then(|| {
        println!("cargo::rerun-if-changed={}", watched.display());
        log
    })
}

/// Returns the commit of an unpacked package. `cargo package` writes this file.
fn commit_of_package() -> Option<String> {
    let file = ".cargo_vcs_info.json";
    let text = fs::read_to_string(file).ok()?;
    // `cargo package` builds the package in the target folder of the checkout. Where this file
    // does not exist, cargo runs this script again.
    println!("cargo::rerun-if-changed={file}");
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}
