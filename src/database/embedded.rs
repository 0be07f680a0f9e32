//! The private PostgreSQL: the service starts it from the binaries on this machine, for users
//! who have no database yet.
//!
//! It is a complete server with default durability. It listens on a Unix socket only and stops
//! with the service. The folder holds:
//!
//! | name | what it is |
//! | --- | --- |
//! | `data` | PostgreSQL's own data directory |
//! | `lock` | locked while a service uses the folder; holds its process id |
//! | `postgres.log` | the log of the server; the log of the previous run is `postgres.log.1` |
//! | `url` | for `psql "$(cat …/url)"` |
//!
//! PostgreSQL refuses to run as root. For root, the server runs as another account. The server
//! has its own process group, so that Ctrl-C reaches only the service. The service adopts the
//! server of a service that was killed, and restarts a server that was killed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    process::{Child, Command},
    sync::oneshot,
    task::JoinHandle,
    time::sleep,
};

use super::{
    account::Account,
    installation::{self, Installation},
    postmaster::{NAME, Postmaster},
    socket_dir::SocketDir,
};

/// How long the service retries a start that fails because processes of a killed server still
/// run.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The first and the longest pause between two starts.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A running private server. [`Server::stop`] stops the server and waits until it has ended.
pub struct Server {
    options: PgConnectOptions,
    stop: oneshot::Sender<()>,
    supervisor: JoinHandle<()>,
    _lock: Flock<File>,
}

/// Returns whether `folder` holds the data of a private server.
///
/// # Errors
/// When this user may not read the folder.
pub fn has_cluster(folder: &Path) -> io::Result<bool> {
    folder.join("data/PG_VERSION").try_exists()
}

/// Returns the connection options of the server of `folder` when a service runs it. A command
/// uses the server beside that service.
///
/// # Errors
/// When the folder cannot be used or the server does not answer.
pub async fn of_running_service(folder: &Path) -> anyhow::Result<Option<PgConnectOptions>> {
    let cluster = Cluster::prepare(folder)?;
    match (cluster.lock()?, cluster.running()?) {
        (Err(pid), Some(mut postmaster)) => match postmaster.connect().await? {
            None => bail!(
                "the private PostgreSQL of the running service (process {pid}) does not answer; its log has the reason"
            ),
            options => Ok(options),
        },
        _ => Ok(None),
    }
}

impl Server {
    /// Starts the server in `folder`, or adopts a server that still runs. Creates the cluster
    /// when it does not exist.
    ///
    /// # Errors
    /// When another service uses the folder, or PostgreSQL is not installed or does not start.
    /// The message says what to do.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let cluster = Cluster::prepare(folder)?;
        let lock = cluster.lock()?.map_err(|pid| {
            let folder = cluster.folder.display();
            anyhow!("another devicegraph (process {pid}) uses {folder}; stop it, or give this one a folder with database.data_dir or a database with DATABASE_URL")
        })?;
        let mut postmaster = match cluster.running()? {
            Some(postmaster) => {
                tracing::info!("adopting the private PostgreSQL that an earlier run left behind");
                postmaster
            }
            None => {
                cluster.init_once().await?;
                // The log does not exist at the first start.
                let _ = fs::rename(cluster.log(), cluster.folder.join("postgres.log.1"));
                cluster.start()?
            }
        };
        let started = Instant::now();
        let options = loop {
            if let Some(options) = postmaster.connect().await? {
                break options;
            }
            cluster.check_retry_makes_sense(&postmaster, started)?;
            // An adopted server that accepts no connections.
            postmaster.stop().await;
            sleep(PAUSE).await;
            match postmaster.is_child() {
                true => cluster.restart(&mut postmaster)?,
                false => postmaster = cluster.start()?,
            }
        };
        cluster.write_url(postmaster.socket_dir.path())?;
        tracing::info!(pid = postmaster.pid.as_raw(), "private PostgreSQL {} is up", cluster.installation.major);
        let (stop, stopped) = oneshot::channel();
        let supervisor = tokio::spawn(cluster.supervise(postmaster, stopped));
        Ok(Self { options, stop, supervisor, _lock: lock })
    }

    /// Returns the connection options of the database.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Stops the server and waits until it has ended.
    pub async fn stop(self) {
        // The supervisor only ends after this message.
        let _ = self.stop.send(());
        if let Err(error) = self.supervisor.await {
            tracing::error!(%error, "the private PostgreSQL was not stopped");
        }
    }
}

/// A folder with a cluster, and the installation and account that run its server.
struct Cluster {
    folder: PathBuf,
    installation: Installation,
    account: Account,
}

impl Cluster {
    fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let account = Account::find()?;
        let cannot = || {
            format!(
                "cannot use {} for the private PostgreSQL; set database.data_dir to a folder that can be written, or name a database in DATABASE_URL",
                folder.display()
            )
        };
        fs::create_dir_all(folder).with_context(cannot)?;
        let folder = fs::canonicalize(folder).with_context(cannot)?;
        let made_by = match fs::read_to_string(folder.join("data/PG_VERSION")) {
            Ok(version) => Some(
                version.trim().parse().context("the file data/PG_VERSION of the private PostgreSQL is no version")?,
            ),
            Err(_) => None,
        };
        let installation = Installation::find(made_by)?;
        Ok(Self { folder, installation, account })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn running(&self) -> anyhow::Result<Option<Postmaster>> {
        Postmaster::running(&self.data(), &self.account)
    }

    /// Locks the folder for this process. The kernel releases the lock when the process ends in
    /// any way. Returns `Err` with the process id of another process that has the lock.
    fn lock(&self) -> anyhow::Result<Result<Flock<File>, String>> {
        let path = self.folder.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.with_context(|| format!("cannot open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)?;
                write!(*lock, "{}", std::process::id())?;
                Ok(Ok(lock))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)?;
                Ok(Err(pid))
            }
            Err((_, error)) => bail!("cannot lock {}: {error}", path.display()),
        }
    }

    /// Returns the command for a program of PostgreSQL, to run as the account of the server.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::from(installation::command(self.installation.program(program)));
        command.current_dir(self.data()).stdin(Stdio::null());
        self.account.run(&mut command);
        command
    }

    /// Creates the cluster if it never existed. Creates it in a temporary folder and then moves
    /// it into place, so that a kill leaves a complete cluster or none.
    async fn init_once(&self) -> anyhow::Result<()> {
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        let folder = self.folder.display();
        ensure!(
            !self.folder.join("url").exists(),
            "{folder} held the data of a private PostgreSQL, and {folder}/data is missing; restore it, or remove {folder} to create an empty database"
        );
        // Remove what a killed start left. Its initdb may still be writing there.
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("data.new.") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let aside = self.folder.join(format!("data.new.{}", std::process::id()));
        self.account.make_private(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
        tracing::info!("creating a private PostgreSQL {} in {}", self.installation.major, self.folder.display());
        let mut initdb = self.command("initdb");
        initdb.current_dir(&aside).kill_on_drop(true).process_group(0).arg("-D").arg(&aside);
        initdb.args(["-U", NAME, "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions"]);
        let output = match initdb.output().await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!(self.unreachable()),
            output => output.context("cannot run initdb")?,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "initdb failed: {}", said.trim().replace('\n', "; "));
        fs::rename(&aside, self.data()).context("cannot move the new cluster into place")?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).context("cannot move the new cluster into place")
    }

    fn unreachable(&self) -> String {
        format!(
            "PostgreSQL refuses to run as root, and the account {} cannot reach {}; set database.data_dir to a folder whose parents others may enter (chmod o+x), or name a database in DATABASE_URL",
            self.account.name(),
            self.folder.display(),
        )
    }

    /// Writes the file `url`, which names the folder of the socket.
    fn write_url(&self, socket_dir: &Path) -> anyhow::Result<()> {
        let url = format!("postgresql:///{NAME}?host={}&user={NAME}\n", socket_dir.display());
        fs::write(self.folder.join("url"), url).context("cannot write the file url of the private PostgreSQL")
    }

    /// Creates the folder of the socket. The file `url` names the folder before the server
    /// starts, so that the next start finds the folder even if this process is killed.
    fn socket_dir(&self) -> anyhow::Result<SocketDir> {
        let url = fs::read_to_string(self.folder.join("url")).unwrap_or_default();
        let last = url.split_once("host=").and_then(|(_, host)| Some(Path::new(host.split_once('&')?.0)));
        let socket_dir = SocketDir::make(&self.folder, &self.account, last)?;
        self.write_url(socket_dir.path()).inspect_err(|_| socket_dir.remove())?;
        Ok(socket_dir)
    }

    /// Starts the server on the existing cluster.
    fn start(&self) -> anyhow::Result<Postmaster> {
        let socket_dir = self.socket_dir()?;
        match self.spawn(socket_dir.path()) {
            Ok(child) => Postmaster::started(child, socket_dir),
            Err(error) => {
                socket_dir.remove();
                Err(error)
            }
        }
    }

    /// Restarts a server that has ended, with its socket at the same path.
    fn restart(&self, postmaster: &mut Postmaster) -> anyhow::Result<()> {
        postmaster.socket_dir.take_again()?;
        postmaster.restarted(self.spawn(postmaster.socket_dir.path())?)
    }

    fn spawn(&self, socket_dir: &Path) -> anyhow::Result<Child> {
        let path = self.log();
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        let mut postgres = self.command("postgres");
        postgres.process_group(0).stdout(log.try_clone()?).stderr(log);
        postgres.arg("-D").arg(self.data()).arg("-k").arg(socket_dir).args(["-p", "5432"]);
        for setting in ["listen_addresses=", "unix_socket_permissions=0700", "cluster_name=devicegraph"] {
            postgres.args(["-c", setting]);
        }
        match postgres.spawn() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied && self.account.is_another() => {
                bail!(self.unreachable())
            }
            child => child.with_context(|| format!("cannot run postgres in {}", self.data().display())),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Checks whether another start makes sense. A start can fail because processes of a killed
    /// server still run for a moment. Every other reason is permanent.
    fn check_retry_makes_sense(&self, gone: &Postmaster, started: Instant) -> anyhow::Result<()> {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let remains = ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];
        let is_remains = remains.iter().any(|sign| said.contains(sign));
        let is_fatal = |line: &&str| line.contains("FATAL") || line.contains("PANIC");
        let reason = said.lines().rev().find(is_fatal).or(said.lines().last());
        ensure!(
            !gone.is_child() || is_remains && started.elapsed() < START_TIMEOUT,
            "the private PostgreSQL did not start: {}; its log {} has the details",
            reason.unwrap_or("it logged no reason").trim(),
            self.log().display(),
        );
        Ok(())
    }

    /// Keeps the server running until `stop` is signalled, then stops it.
    async fn supervise(self, mut postmaster: Postmaster, stop: oneshot::Receiver<()>) {
        tokio::select! {
            told = stop => if told.is_err() { return },
            () = self.keep_running(&mut postmaster) => {}
        }
        postmaster.stop().await;
        postmaster.socket_dir.remove();
    }

    async fn keep_running(&self, postmaster: &mut Postmaster) {
        let (mut started, mut pause) = (Instant::now(), PAUSE);
        loop {
            postmaster.ended().await;
            pause = next_pause(pause, started.elapsed());
            tracing::error!(
                "the private PostgreSQL ended unexpectedly; the service restarts it; its log is {}",
                self.log().display()
            );
            sleep(pause).await;
            started = Instant::now();
            if let Err(error) = self.restart(postmaster) {
                tracing::error!("{error:#}");
            }
        }
    }
}

/// Returns the pause before the restart of a server that ran for this time. The pause grows
/// while the server keeps ending, so that the service does not restart it in a tight loop.
fn next_pause(last: Duration, ran: Duration) -> Duration {
    if ran > LONGEST_PAUSE { PAUSE } else { (last * 2).min(LONGEST_PAUSE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_until_the_server_has_run_for_a_while() {
        let mut pause = PAUSE;
        for grown in [200, 400, 800, 1600, 3200, 5000, 5000] {
            pause = next_pause(pause, LONGEST_PAUSE);
            assert_eq!(pause, Duration::from_millis(grown));
        }
        assert_eq!(next_pause(pause, LONGEST_PAUSE + Duration::from_millis(1)), PAUSE);
    }
}
