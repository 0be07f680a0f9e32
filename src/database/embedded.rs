//! The private PostgreSQL: started from the binaries on this machine, for who
//! has no database yet.
//!
//! It is a real server with stock durability. It listens on a Unix socket only
//! and stops with the service. The folder holds:
//!
//! | name | what it is |
//! | --- | --- |
//! | `data` | PostgreSQL's own data directory |
//! | `lock` | held while a service uses the folder; names its process |
//! | `postgres.log` | what the server says; the run before it in `postgres.log.1` |
//! | `url` | for `psql "$(cat …/url)"` |
//!
//! PostgreSQL refuses to run as root, so for root it runs as another account.
//! It runs in a process group of its own, so that Ctrl-C reaches the service
//! alone. A server whose service was killed is adopted; a server that was
//! killed is started again.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::{User, geteuid},
};
use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    process::{Child, Command},
    sync::oneshot,
    task::JoinHandle,
    time::sleep,
};

use super::{installation::Installation, postmaster::Postmaster};

/// Name of the database and of its owner.
const NAME: &str = "devicegraph";
/// How often a server is asked whether it takes connections yet.
const POLL: Duration = Duration::from_millis(10);

/// A running private server. [`Server::stop`] ends it; dropped, it runs on and
/// the next start adopts it.
pub struct Server {
    options: PgConnectOptions,
    stop: oneshot::Sender<()>,
    supervisor: JoinHandle<()>,
    _lock: Flock<File>,
}

/// The server of `folder` when a service runs it: what a command uses beside
/// that service.
///
/// # Errors
/// When the folder cannot be used or the server does not answer.
pub async fn of_running_service(folder: &Path) -> anyhow::Result<Option<PgConnectOptions>> {
    let cluster = Cluster::prepare(folder)?;
    match (cluster.lock()?, Postmaster::running(&cluster.data())?) {
        (Err(_), Some(postmaster)) => Ok(Some(cluster.connect(postmaster).await?.1)),
        _ => Ok(None),
    }
}

impl Server {
    /// Starts the server in `folder`, makes it there, or adopts the one that runs.
    ///
    /// # Errors
    /// When another service uses the folder, PostgreSQL is not installed or
    /// does not start; the message says what to do.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let cluster = Cluster::prepare(folder)?;
        let lock = cluster.lock()?.map_err(|pid| {
            let folder = cluster.folder.display();
            anyhow!("another devicegraph (process {pid}) uses {folder}; stop it, or give this one a folder with database.data_dir or a database with DATABASE_URL")
        })?;
        let postmaster = match Postmaster::running(&cluster.data())? {
            Some(postmaster) => {
                tracing::info!("adopting the private PostgreSQL that an earlier run left behind");
                postmaster
            }
            None => cluster.start().await?,
        };
        let (postmaster, options) = cluster.connect(postmaster).await?;
        let url = format!("postgresql:///{NAME}?host={}&user={NAME}", postmaster.socket_dir.display());
        fs::write(cluster.folder.join("url"), format!("{url}\n"))
            .context("cannot write the file url of the private PostgreSQL")?;
        tracing::info!(
            pid = postmaster.pid.as_raw(),
            "private PostgreSQL {} is up: psql \"$(cat {}/url)\"",
            cluster.installation.major,
            cluster.folder.display()
        );
        let (stop, stopped) = oneshot::channel();
        let supervisor = tokio::spawn(cluster.supervise(postmaster, stopped));
        Ok(Self { options, stop, supervisor, _lock: lock })
    }

    /// How to connect to its database.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Stops the server and waits until it is gone.
    pub async fn stop(self) {
        // The supervisor only ends when it is told to.
        let _ = self.stop.send(());
        if let Err(error) = self.supervisor.await {
            tracing::error!(%error, "the private PostgreSQL was not stopped");
        }
    }
}

/// A folder with a cluster in it, and who runs the server there.
struct Cluster {
    folder: PathBuf,
    installation: Installation,
    /// For root: the account that PostgreSQL runs as.
    account: Option<User>,
}

impl Cluster {
    fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let account = if geteuid().is_root() { Some(account()?) } else { None };
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

    /// Takes the folder for this process; the kernel gives it back, however it
    /// ends. `Err` is the process that has it.
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

    /// A program of PostgreSQL, as the account that it runs as and without the
    /// PG… variables that would tell it something else.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.installation.program(program));
        command.current_dir(self.data()).stdin(Stdio::null()).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        if let Some(account) = &self.account {
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        command
    }

    /// Makes a directory that only the server's account can enter.
    fn private_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        match &self.account {
            Some(account) => chown(path, Some(account.uid.as_raw()), Some(account.gid.as_raw())),
            None => Ok(()),
        }
    }

    /// Makes the cluster. It is made aside and moved into place, so that a kill
    /// leaves a whole one or none.
    async fn init(&self) -> anyhow::Result<()> {
        let aside = self.folder.join("data.new");
        if aside.exists() {
            fs::remove_dir_all(&aside).with_context(|| format!("cannot remove {}", aside.display()))?;
        }
        self.private_dir(&aside).with_context(|| format!("cannot make {}", aside.display()))?;
        tracing::info!("making a private PostgreSQL {} in {}", self.installation.major, self.folder.display());
        let mut initdb = self.command("initdb");
        initdb.current_dir(&aside).kill_on_drop(true).arg("-D").arg(&aside);
        initdb.args(["-U", NAME, "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions"]);
        let output = match initdb.output().await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!(self.unreachable()),
            output => output.context("cannot run initdb")?,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "initdb failed: {}", said.trim().replace('\n', "; "));
        fs::rename(&aside, self.data()).context("cannot move the new cluster into place")
    }

    fn unreachable(&self) -> String {
        let account = self.account.as_ref().map_or("this account", |account| account.name.as_str());
        format!(
            "PostgreSQL does not run as root, and the account {account} cannot reach {}; set database.data_dir to a folder whose parents others may enter (chmod o+x), or name a database in DATABASE_URL",
            self.folder.display(),
        )
    }

    /// A short folder for the socket, whose path may have no more than about
    /// 100 characters; the same one for the same folder at every start.
    fn socket_dir(&self) -> anyhow::Result<PathBuf> {
        let folder = fs::metadata(&self.folder).with_context(|| format!("cannot read {}", self.folder.display()))?;
        let path = PathBuf::from(format!("/tmp/devicegraph-{:x}-{:x}", folder.dev(), folder.ino()));
        match self.private_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
        // Anybody can make a folder of this name first, and answer in the server's place.
        let owner = self.account.as_ref().map_or(geteuid(), |account| account.uid);
        let found = fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_ours = found.is_dir() && found.uid() == owner.as_raw() && found.permissions().mode() & 0o077 == 0;
        ensure!(
            is_ours,
            "{} is for the socket of the private PostgreSQL and belongs to somebody else; remove it",
            path.display()
        );
        Ok(path)
    }

    async fn start(&self) -> anyhow::Result<Postmaster> {
        if !self.data().join("PG_VERSION").exists() {
            self.init().await?;
        }
        let socket_dir = self.socket_dir()?;
        Postmaster::started(self.spawn(&socket_dir)?, socket_dir)
    }

    fn spawn(&self, socket_dir: &Path) -> anyhow::Result<Child> {
        let path = self.log();
        // Absent at the first start.
        let _ = fs::rename(&path, self.folder.join("postgres.log.1"));
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let mut postgres = self.command("postgres");
        postgres.process_group(0).stdout(log.try_clone()?).stderr(log);
        postgres.arg("-D").arg(self.data()).arg("-k").arg(socket_dir);
        postgres.args([
            "-p",
            "5432",
            "-c",
            "listen_addresses=",
            "-c",
            "unix_socket_permissions=0700",
            "-c",
            "cluster_name=devicegraph",
        ]);
        match postgres.spawn() {
            Err(error) if error.kind() == ErrorKind::PermissionDenied && self.account.is_some() => {
                bail!(self.unreachable())
            }
            child => child.context("cannot run postgres"),
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Waits until the server takes connections to its database, which is made
    /// when it is missing. A server that is replaying its log takes its time.
    async fn connect(&self, mut postmaster: Postmaster) -> anyhow::Result<(Postmaster, PgConnectOptions)> {
        loop {
            let options = PgConnectOptions::new_without_pgpass()
                .socket(&postmaster.socket_dir)
                .port(5432)
                .username(NAME)
                .database(NAME)
                .ssl_mode(PgSslMode::Disable);
            match options.connect().await {
                Ok(connection) => {
                    connection.close().await?;
                    return Ok((postmaster, options));
                }
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000") => {
                    let mut connection = PgConnection::connect_with(&options.clone().database("postgres")).await?;
                    sqlx::query("CREATE DATABASE devicegraph").execute(&mut connection).await?;
                    connection.close().await?;
                }
                // Not there yet, or about to go: 57P01 to 57P03.
                Err(sqlx::Error::Database(error)) if !error.code().is_some_and(|code| code.starts_with("57P")) => {
                    return Err(error).context("the private PostgreSQL refuses to be used");
                }
                Err(_) if postmaster.is_running()? => sleep(POLL).await,
                Err(_) => postmaster = self.start_again(postmaster).await?,
            }
        }
    }

    /// After an orphan that was about to go, or a server that lost to the
    /// remains of a killed one, whose processes need a moment to notice.
    async fn start_again(&self, gone: Postmaster) -> anyhow::Result<Postmaster> {
        if gone.is_child() {
            let said = fs::read_to_string(self.log()).unwrap_or_default();
            let remains = ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];
            let reason = said
                .lines()
                .rev()
                .find(|line| line.contains("FATAL") || line.contains("PANIC"))
                .or(said.lines().last());
            ensure!(
                remains.iter().any(|sign| said.contains(sign)),
                "the private PostgreSQL did not start: {}; {} has the rest",
                reason.unwrap_or("it said nothing").trim(),
                self.log().display(),
            );
            sleep(Duration::from_millis(200)).await;
        }
        self.start().await
    }

    /// Keeps the server up until it is told to stop it.
    async fn supervise(self, mut postmaster: Postmaster, mut stop: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                told = &mut stop => {
                    if told.is_ok() {
                        postmaster.stop().await;
                        // Empty now; what else is in it is not ours.
                        let _ = fs::remove_dir(&postmaster.socket_dir);
                    }
                    return;
                }
                () = postmaster.ended() => {}
            }
            tracing::error!(
                "the private PostgreSQL ended and is started again; {} has its last words",
                self.log().display()
            );
            // Its remains need a moment to notice, and one that cannot start is not to be started in a tight loop.
            sleep(Duration::from_millis(200)).await;
            match self.start().await {
                Ok(started) => postmaster = started,
                Err(error) => tracing::error!("{error:#}"),
            }
        }
    }
}

/// The account that PostgreSQL runs as when the service runs as root.
fn account() -> anyhow::Result<User> {
    for name in ["postgres", "nobody"] {
        if let Some(account) = User::from_name(name).context("cannot read the accounts of this machine")? {
            return Ok(account);
        }
    }
    bail!(
        "PostgreSQL does not run as root, and this machine has no account postgres or nobody; add one, start devicegraph as another user, or name a database in DATABASE_URL"
    )
}
