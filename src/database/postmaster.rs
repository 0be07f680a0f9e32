//! A server process of the private PostgreSQL: our child, or one that an
//! earlier service left behind.

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

/// Name of the database and of its owner.
pub(super) const NAME: &str = "devicegraph";
/// How often a server is asked whether it takes connections yet.
const POLL: Duration = Duration::from_millis(10);
/// How often a process that is not our child is asked whether it is there.
const POLL_PROCESS: Duration = Duration::from_millis(100);
/// How long a server that was found running may go without a socket.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits before it becomes an immediate one.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server, or one that has just ended.
pub(super) struct Postmaster {
    /// Its process.
    pub(super) pid: Pid,
    /// The folder of its socket.
    pub(super) socket_dir: SocketDir,
    child: Option<Child>,
}

impl Postmaster {
    /// The server that was just started.
    pub(super) fn started(child: Child, socket_dir: SocketDir) -> anyhow::Result<Self> {
        Ok(Self { pid: pid_of(&child)?, socket_dir, child: Some(child) })
    }

    /// Takes the process that was started in place of the one that has ended.
    pub(super) fn restarted(&mut self, child: Child) -> anyhow::Result<()> {
        self.pid = pid_of(&child)?;
        self.child = Some(child);
        Ok(())
    }

    /// The server that runs in a data directory, if there is one.
    ///
    /// # Errors
    /// When its `postmaster.pid` cannot be read or, being stale, be removed.
    pub(super) fn running(data: &Path, account: &Account) -> anyhow::Result<Option<Self>> {
        let path = data.join("postmaster.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        // Process, data directory, start, port, socket directory: one a line.
        let mut lines = text.lines();
        let pid = lines.next().and_then(|pid| pid.trim().parse().ok()).map(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| is_alive(*pid)) else { return Ok(None) };
        // After a restart of the machine another process can have this pid, and PostgreSQL would not start.
        let data = fs::canonicalize(data).with_context(|| format!("cannot read {}", data.display()))?;
        if fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd != data) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            return Ok(None);
        }
        let socket_dir = SocketDir::of_running(lines.nth(3).unwrap_or_default().into(), account);
        Ok(Some(Self { pid, socket_dir, child: None }))
    }

    /// Waits until the server takes connections to its database, which is made
    /// when it is missing; `None` when the server has ended, or is one that was
    /// found running and has no socket. One that replays its log takes its time.
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
                // 57P01 to 57P03: not there yet, or about to go.
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
                    sleep(POLL_PROCESS).await;
                }
            }
        }
    }

    /// A fast shutdown: open transactions are rolled back, the rest is on disk.
    pub(super) async fn stop(&mut self) {
        for signal in [Signal::SIGINT, Signal::SIGQUIT] {
            // Another process can have the pid of a server that has ended.
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

/// Whether there is such a process, and it is of an account that the server
/// could run as: any other is not the server.
fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

impl Drop for Postmaster {
    /// A start that is given up ends the server that it started, and removes the folder of its socket.
    fn drop(&mut self) {
        let Some(child) = &self.child else { return };
        if child.id().is_some() {
            let _ = kill(self.pid, Signal::SIGINT);
        }
        self.socket_dir.remove();
    }
}
