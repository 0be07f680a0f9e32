//! The binary as a process, for the tests that start, stop and kill it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::reachable_folder;

/// A command that knows no settings but those that a test gives it.
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

/// What a start that fails says: one line, exit code 1.
pub(crate) fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!((status.code(), stdout.as_slice(), text.lines().count()), (Some(1), &b""[..], 1), "{text}");
    text.strip_prefix("devicegraph: ").unwrap_or_else(|| panic!("{text}")).trim_end().to_owned()
}

/// A service that runs, with its log.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) address: String,
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
        let mut service = Self { child, address: String::new(), log };
        let line = service.wait_for("listening on http");
        let address = line.rsplit("://").next().expect("an address");
        service.address = address.trim_end_matches(|end: char| !end.is_ascii_digit()).to_owned();
        service
    }

    pub(crate) fn wait_for(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(Duration::from_secs(30)) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error} waiting for '{text}' after {seen:#?}"),
            }
        }
    }

    /// Status and body, with a token.
    pub(crate) fn request_as(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let headers = format!("authorization: Bearer {token}\r\n");
        request_with(&self.address, &headers, method, path, body).expect("the service answers")
    }

    /// All that is left of its log.
    pub(crate) fn log_until_stopped(mut self, signal: Signal) -> String {
        self.signal(signal);
        assert!(self.child.wait().expect("it ends").success());
        self.log.iter().collect::<Vec<_>>().join("\n")
    }

    /// Status and body.
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

    pub(crate) fn stop(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        self.child.wait().expect("it ends")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Gone already where a test has stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body, of a service that may have stopped.
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

/// An answer, whole; an error when there is none.
pub(crate) fn read_answer(stream: &mut TcpStream) -> io::Result<(u16, String)> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.ok_or(io::ErrorKind::UnexpectedEof)?, body.to_owned()))
}

/// A folder for a private server, which is ended with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(reachable_folder())
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.0.join("postgres")
    }

    pub(crate) fn postmaster(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.data_dir().join("data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
    }

    pub(crate) fn socket_dir(&self) -> Option<PathBuf> {
        let url = self.url();
        let (_, host) = url.split_once("host=")?;
        host.split_once('&').map(|(socket_dir, _)| socket_dir.into())
    }

    /// What README tells psql to use; empty before the first start.
    pub(crate) fn url(&self) -> String {
        std::fs::read_to_string(self.data_dir().join("url")).unwrap_or_default().trim_end().to_owned()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = devicegraph(&self.0);
        command.env("DEVICEGRAPH__DATABASE__DATA_DIR", self.data_dir());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The number in the file is not to be believed in every test.
        let is_postgres =
            |pid: &Pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "postgres\n");
        if let Some(pid) = self.postmaster().filter(is_postgres) {
            let _ = kill(pid, Signal::SIGQUIT);
            thread::sleep(Duration::from_millis(200));
        }
        if let Some(socket_dir) = self.socket_dir() {
            let _ = std::fs::remove_dir_all(socket_dir);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command that works says on standard error, as JSON lines.
pub(crate) fn success(command: &mut Command) -> String {
    let Output { status, stderr, .. } =
        command.env("DEVICEGRAPH__LOG__FORMAT", "json").output().expect("the binary runs");
    let text = String::from_utf8(stderr).expect("text");
    assert!(status.success(), "{text}");
    text
}
