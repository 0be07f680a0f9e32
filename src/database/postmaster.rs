//! A server process of the private PostgreSQL: a child of this service, or a process that an
//! earlier run of the service left behind.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{process::Child, time::sleep};

use super::{account::Account, socket_dir::SocketDir};

/// The name of the database and of its owner.
pub(super) const NAME: &str = "devicegraph";
/// The pause between two attempts to connect to a server that starts.
const POLL: Duration = Duration::from_millis(10);
/// The pause between two checks whether a process that is not a child still runs.
const POLL_PROCESS: Duration = Duration::from_millis(100);
/// How long the service waits for the socket of a server that already ran.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the service waits for each shutdown signal to take effect.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server, or one that has just ended.
pub(super) struct Postmaster {
    /// The process id.
    pub(super) pid: Pid,
    /// The folder of the socket.
    pub(super) socket_dir: SocketDir,
    child: Option<Child>,
}

impl Postmaster {
    /// Creates the handle of a server that was just started.
    pub(super) fn started(child: Child, socket_dir: SocketDir) -> anyhow::Result<Self> {
        Ok(Self { pid: pid_of(&child)?, socket_dir, child: Some(child) })
    }

    /// Replaces the ended process with the new one.
    pub(super) fn restarted(&mut self, child: Child) -> anyhow::Result<()> {
        self.pid = pid_of(&child)?;
        self.child = Some(child);
        Ok(())
    }

    /// Finds the server that runs on a data directory, or returns `None`.
    ///
    /// # Errors
    /// When `postmaster.pid` cannot be read, or a stale one cannot be removed.
    pub(super) fn running(data: &Path, account: &Account) -> anyhow::Result<Option<Self>> {
        let path = data.join("postmaster.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        // The lines are: process id, data directory, start time, port, socket directory.
        let mut lines = text.lines();
        let pid = lines.next().and_then(|pid| pid.trim().parse().ok()).map(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| is_alive(*pid)) else { return Ok(None) };
        // After a reboot, another process can have this pid, and PostgreSQL would not start.
        let data = fs::canonicalize(data).with_context(|| format!("cannot read {}", data.display()))?;
        if fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd != data) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            return Ok(None);
        }
        let socket_dir = SocketDir::of_running(lines.nth(3).unwrap_or_default().into(), account);
        Ok(Some(Self { pid, socket_dir, child: None }))
    }

    /// Waits until the server accepts connections to its database. Creates the database when it
    /// is missing. Returns `None` when the server has ended, or when a server of an earlier run shows no socket
    /// in time.
    /// A server that recovers from a crash can take long.
    pub(super) async fn connect(&mut self) -> anyhow::Result<Option<PgConnectOptions>> {
        let begun = Instant::now();
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.socket_dir.path())
            .port(5432)
            .username(NAME)
            .database(NAME)
            .ssl_mode(PgSslMode::Disable);
        loop {
            match options.connect().await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok(Some(options));
                }
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000") => {
                    let mut connection = PgConnection::connect_with(&options.clone().database("postgres")).await?;
                    sqlx::query("CREATE DATABASE devicegraph").execute(&mut connection).await?;
                    connection.close().await?;
                }
                // 57P01 to 57P03: the server is starting or shutting down.
                Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.starts_with("57P")) => {
                    sleep(POLL).await
                }
                Err(sqlx::Error::Database(error)) => {
                    return Err(error).context("the private PostgreSQL refuses the connection");
                }
                Err(_) if !self.is_running()? => return Ok(None),
                Err(_) if !self.is_child() && begun.elapsed() > SOCKET_TIMEOUT => return Ok(None),
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Returns whether this service started the server.
    pub(super) fn is_child(&self) -> bool {
        self.child.is_some()
    }

    /// Returns whether the server still runs.
    ///
    /// # Errors
    /// When the system does not report the state of the process.
    pub(super) fn is_running(&mut self) -> io::Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(is_alive(self.pid)),
        }
    }

    /// Waits until the server has ended.
    pub(super) async fn ended(&mut self) {
        match &mut self.child {
            Some(child) => drop(child.wait().await),
            None => {
                while is_alive(self.pid) {
                    sleep(POLL_PROCESS).await;
                }
            }
        }
    }

    /// Stops the server with a fast shutdown, which rolls back open transactions. When that
    /// takes too long, stops it with an immediate shutdown.
    pub(super) async fn stop(&mut self) {
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            // Another process can have the pid of an ended server.
            if !self.is_running().unwrap_or(false) || kill(self.pid, signal).is_err() {
                return;
            }
            if tokio::time::timeout(STOP_TIMEOUT, self.ended()).await.is_ok() {
                return;
            }
            tracing::error!(%signal, "the private PostgreSQL did not stop in {} s", STOP_TIMEOUT.as_secs());
        }
    }
}

fn pid_of(child: &Child) -> anyhow::Result<Pid> {
    Ok(Pid::from_raw(child.id().context("PostgreSQL ended immediately")?.cast_signed()))
}

/// Returns whether the process exists and the service may signal it. A process that the service
/// may not signal is not the server.
fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

impl Drop for Postmaster {
    /// Ends the server and removes the folder of its socket, when the service abandons a start.
    fn drop(&mut self) {
        let Some(child) = &self.child else { return };
        if child.id().is_some() {
            let _ = kill(self.pid, Signal::SIGINT);
        }
        self.socket_dir.remove();
    }
}
