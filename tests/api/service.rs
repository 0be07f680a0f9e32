//! Starts, stops and kills the binary as a process.

use std::{
    fs::OpenOptions,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};

use crate::harness::{LIMIT, reachable_folder, until, until_blocking, url};

/// The pause between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Timeouts that even a slow machine does not reach.
const PATIENT: [(&str, &str); 7] = [
    ("DEVICEGRAPH__DATABASE__ANSWER_TIMEOUT_MS", "600000"),
    ("DEVICEGRAPH__DATABASE__ACQUIRE_TIMEOUT_MS", "60000"),
    ("DEVICEGRAPH__DATABASE__LOCK_TIMEOUT_MS", "600000"),
    ("DEVICEGRAPH__DATABASE__STATEMENT_TIMEOUT_MS", "600000"),
    ("DEVICEGRAPH__SERVER__SHUTDOWN_SECONDS", "3600"),
    ("DEVICEGRAPH__SERVER__REQUEST_TIMEOUT_SECONDS", "3600"),
    ("DEVICEGRAPH__SERVER__KEEP_ALIVE_SECONDS", "3600"),
];

/// Returns a command that has only the settings of the test, and no settings of the environment.
pub(crate) fn devicegraph(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devicegraph"));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DEVICEGRAPH_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command.env("DEVICEGRAPH__SERVER__PORT", "0");
    command
}

/// Runs a command that must fail with exit code 1 and one line on standard error. Returns this line
/// without its prefix.
pub(crate) fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = String::from_utf8(stderr).expect("text");
    // Two other lines may come first: sqlx warns of a slow machine, and a command that writes names
    // the database.
    let others = ["time to acquire exceeded slow threshold", " is about to change "];
    let lines: Vec<_> = text.lines().filter(|line| !others.iter().any(|other| line.contains(other))).collect();
    assert_eq!((status.code(), stdout.as_slice(), lines.len()), (Some(1), &b""[..], 1), "{text}");
    lines[0].strip_prefix("devicegraph: ").unwrap_or_else(|| panic!("{text}")).trim_end().to_owned()
}

/// A running service with its log.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// The log line that names the address.
    pub(crate) listening: String,
    log: mpsc::Receiver<String>,
}

impl Service {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary runs");
        let stderr = child.stderr.take().expect("piped");
        let (sender, log) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut service = Self { child, address: String::new(), listening: String::new(), log };
        service.listening = service.wait_for("listening on http");
        // As scripts read it: up to the next space.
        let (_, url) = service.listening.split_once("listening on ").expect("an address");
        let address = url.split(' ').next().and_then(|url| url.split("://").nth(1));
        service.address = address.expect("an address").to_owned();
        service
    }

    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(LIMIT) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error} waiting for '{text}' after {seen:#?}"),
            }
        }
    }

    /// Sends a request with a token. Returns the status and the body.
    pub(crate) fn request_as(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let headers = format!("authorization: Bearer {token}\r\n");
        request_with(&self.address, &headers, method, path, body).expect("the service answers")
    }

    /// Stops the service and returns the rest of its log.
    pub(crate) fn log_until_stopped(mut self, signal: Signal) -> String {
        self.signal(signal);
        assert!(self.ended().success());
        self.log.iter().collect::<Vec<_>>().join("\n")
    }

    /// Sends a request. Returns the status and the body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        request(&self.address, method, path, body).expect("the service answers")
    }

    pub(crate) fn create(&self, name: &str) {
        let body = format!(r##"{{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"{name}"}}"##);
        let (status, text) = self.request("POST", "/v1.0/deviceManagement/deviceConfigurations", &body);
        assert_eq!(status, 201, "{text}");
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        let (status, text) = self.request("GET", "/v1.0/deviceManagement/deviceConfigurations", "");
        assert_eq!(status, 200, "{text}");
        text.contains(&format!(r#""displayName":"{name}""#))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    /// Returns whether the service reports that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        request(&self.address, "GET", "/health/ready", "").expect("the service answers").0 == 200
    }

    /// Waits until the service reports that it is ready.
    pub(crate) fn until_ready(&self) {
        until_blocking("the service is ready", || self.is_ready());
    }

    /// Waits until the service has received the heads of this many requests and has answered none of them.
    pub(crate) fn until_in_flight(&self, requests: usize) {
        // The request for the metrics is in flight too.
        let line = format!("devicegraph_http_requests_in_flight {}", requests + 1);
        let metrics = || self.request("GET", "/metrics", "").1;
        until_blocking(&line, || metrics().lines().any(|found| found == line));
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        end_of(&mut self.child)
    }

    pub(crate) fn stop(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.ended()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The test may have stopped the process already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process. A process that does not end is killed, and the test fails.
pub(crate) fn end_of(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a process") {
            return status;
        }
        if started.elapsed() > LIMIT {
            child.kill().expect("it runs");
            panic!("the process has not ended within {LIMIT:?}");
        }
        thread::sleep(POLL);
    }
}

/// Returns the number of sessions of the observer's database that wait for a lock. The observer
/// must not be in a transaction, because there `pg_stat_activity` stays as it was at its first
/// read.
pub(crate) async fn lock_waits(observer: &mut PgConnection) -> i64 {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(waits).fetch_one(observer).await.expect("a count")
}

/// Waits until this many sessions of a database wait for a lock.
pub(crate) async fn until_lock_waits(options: &PgConnectOptions, sessions: i64) {
    let mut observer = options.connect().await.expect("a database");
    until("the sessions wait for a lock", async || lock_waits(&mut observer).await == sessions).await;
}

/// Sends a request to a service that may have stopped. Returns the status and the body.
pub(crate) fn request(address: &str, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    request_with(address, "", method, path, body)
}

fn request_with(address: &str, headers: &str, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    read_answer(&mut stream)
}

/// Reads an answer until the connection ends. Returns an error when there is no answer.
pub(crate) fn read_answer(stream: &mut TcpStream) -> io::Result<(u16, String)> {
    let mut text = String::new();
    stream.set_read_timeout(Some(LIMIT))?;
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.ok_or(io::ErrorKind::UnexpectedEof)?, body.to_owned()))
}

/// A folder for a private PostgreSQL server, which ends with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(reachable_folder())
    }

    /// Returns a folder in which a service has run before. A first start takes longer than most
    /// tests.
    pub(crate) fn used() -> Self {
        static DATA: OnceLock<PathBuf> = OnceLock::new();
        let data = DATA.get_or_init(|| {
            let first = Self::new();
            assert!(Service::start(&mut first.command()).stop(Signal::SIGTERM).success());
            let data = first.data_dir().join("data");
            // Tests kill only processes. The data that a killed process has written is safe in the
            // kernel, without fsync.
            let mut settings = OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("a file");
            writeln!(settings, "fsync = off").expect("a file");
            std::mem::forget(first);
            data
        });
        let folder = Self::new();
        std::fs::create_dir(folder.data_dir()).expect("a folder");
        let copied = Command::new("cp").arg("-a").arg(data).arg(folder.data_dir()).status().expect("cp");
        assert!(copied.success());
        folder
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.0.join("postgres")
    }

    pub(crate) fn postmaster(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.data_dir().join("data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
    }

    /// Returns whether the server has reported that it accepts connections.
    pub(crate) fn is_postmaster_ready(&self) -> bool {
        let text = std::fs::read_to_string(self.data_dir().join("data/postmaster.pid")).unwrap_or_default();
        text.lines().nth(7).is_some_and(|state| state.trim_end() == "ready")
    }

    pub(crate) fn socket_dir(&self) -> Option<PathBuf> {
        let url = self.url();
        let (_, host) = url.split_once("host=")?;
        host.split_once('&').map(|(socket_dir, _)| socket_dir.into())
    }

    /// Returns the URL in the file that users pass to psql, or an empty text before the first
    /// start.
    pub(crate) fn url(&self) -> String {
        std::fs::read_to_string(self.data_dir().join("url")).unwrap_or_default().trim_end().to_owned()
    }

    /// Returns a command that uses the private server in this folder.
    pub(crate) fn command(&self) -> Command {
        let mut command = devicegraph(&self.0);
        command.envs(PATIENT).env("DEVICEGRAPH__DATABASE__DATA_DIR", self.data_dir());
        command
    }

    /// Returns a command that uses a database of the shared cluster.
    pub(crate) fn command_on(&self, options: &PgConnectOptions) -> Command {
        let mut command = devicegraph(&self.0);
        command.envs(PATIENT).env("DATABASE_URL", url(options, "devicegraph"));
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // In some tests the file has the id of another process. A process that has ended has no
        // command line.
        let is_postgres = |pid: &Pid| {
            let said = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            said("comm") == "postgres\n" && !said("cmdline").is_empty()
        };
        if let Some(pid) = self.postmaster().filter(is_postgres) {
            let _ = kill(pid, Signal::SIGQUIT);
            let told = Instant::now();
            while is_postgres(&pid) && told.elapsed() < LIMIT {
                thread::sleep(POLL);
            }
        }
        if let Some(socket_dir) = self.socket_dir() {
            let _ = std::fs::remove_dir_all(socket_dir);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command that must succeed. Returns its standard error as JSON lines.
pub(crate) fn success(command: &mut Command) -> String {
    let Output { status, stderr, .. } =
        command.env("DEVICEGRAPH__LOG__FORMAT", "json").output().expect("the binary runs");
    let text = String::from_utf8(stderr).expect("text");
    assert!(status.success(), "{text}");
    text
}
