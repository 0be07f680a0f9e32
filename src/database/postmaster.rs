//! A server process of the private PostgreSQL: our child, or one that an
//! earlier service left behind.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{process::Child, time::sleep};

/// How often a process that is not our child is asked whether it is there.
const POLL: Duration = Duration::from_millis(100);
/// How long a stop waits before it becomes an immediate one.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server, or one that has just ended.
pub(super) struct Postmaster {
    /// Its process.
    pub(super) pid: Pid,
    /// The folder of its socket.
    pub(super) socket_dir: PathBuf,
    child: Option<Child>,
}

impl Postmaster {
    /// The server that was just started.
    pub(super) fn started(child: Child, socket_dir: PathBuf) -> anyhow::Result<Self> {
        let pid = child.id().context("PostgreSQL ended at once")?;
        Ok(Self { pid: Pid::from_raw(pid.cast_signed()), socket_dir, child: Some(child) })
    }

    /// The server that runs in a data directory, if there is one.
    ///
    /// # Errors
    /// When its `postmaster.pid` cannot be read or, being stale, be removed.
    pub(super) fn running(data: &Path) -> anyhow::Result<Option<Self>> {
        let path = data.join("postmaster.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        // Process, data directory, start, port, socket directory: one a line.
        let mut lines = text.lines();
        let pid = lines.next().and_then(|pid| pid.trim().parse().ok()).map(Pid::from_raw);
        let (Some(pid), Some(socket_dir)) = (pid.filter(|pid| is_alive(*pid)), lines.nth(3)) else { return Ok(None) };
        // After a restart of the machine the number can be anybody's, and PostgreSQL would not start.
        let data = fs::canonicalize(data).with_context(|| format!("cannot read {}", data.display()))?;
        if fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd != data) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            return Ok(None);
        }
        Ok(Some(Self { pid, socket_dir: socket_dir.into(), child: None }))
    }

    /// Whether this service started it.
    pub(super) fn is_child(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// When the system cannot say so.
    pub(super) fn is_running(&mut self) -> io::Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(is_alive(self.pid)),
        }
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) {
        match &mut self.child {
            Some(child) => drop(child.wait().await),
            None => {
                while is_alive(self.pid) {
                    sleep(POLL).await;
                }
            }
        }
    }

    /// A fast shutdown: open transactions are rolled back, the rest is on disk.
    pub(super) async fn stop(&mut self) {
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            if kill(self.pid, signal).is_err() {
                return;
            }
            if tokio::time::timeout(STOP_TIMEOUT, self.ended()).await.is_ok() {
                return;
            }
            tracing::error!(%signal, "the private PostgreSQL did not stop in {} s", STOP_TIMEOUT.as_secs());
        }
    }
}

fn is_alive(pid: Pid) -> bool {
    !matches!(kill(pid, None), Err(Errno::ESRCH))
}
