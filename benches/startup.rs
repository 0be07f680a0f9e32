//! Measures how long the service takes to be ready on a private server with existing data, and its
//! memory when it is idle: `cargo bench --bench startup`.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use devicegraph::catalogue::Type;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const ROUNDS: usize = 11;

fn main() {
    // `cargo test --benches` calls this without `--bench`. There is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder =
        tempfile::Builder::new().prefix("devicegraph-bench-").permissions(fs::Permissions::from_mode(0o755)).tempdir();
    let folder = folder.expect("a folder");
    let (first, mut service) = start(folder.path());
    let is_concrete = |found: &&Type| found.is_a("deviceConfiguration") && !found.is_abstract;
    let of = &Type::all().iter().find(is_concrete).expect("a type").name;
    let row = &format!(r##"{{"@odata.type":"#microsoft.graph.{of}","displayName":"a"}}"##);
    for _ in 0..100 {
        assert_eq!(request(&service.address, "POST", "/v1.0/deviceManagement/deviceConfigurations", row), 201);
    }
    service.stop();

    let (mut ready, mut memory, mut stop) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (took, mut service) = start(folder.path());
        // The service is idle now and has returned the memory that only its start needed.
        thread::sleep(Duration::from_secs(1));
        memory.push(resident_kib(service.child.id()) / 1024.0);
        ready.push(took.as_secs_f64() * 1000.0);
        stop.push(service.stop().as_secs_f64() * 1000.0);
    }
    report("start to ready, first start of all, initdb included (ms)", &mut [first.as_secs_f64() * 1000.0]);
    report("start to ready, data there (ms)", &mut ready);
    report("SIGTERM to exit, server stopped (ms)", &mut stop);
    report("resident memory, idle (MiB)", &mut memory);
}

struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn stop(&mut self) -> Duration {
        let told = Instant::now();
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        assert!(self.child.wait().expect("it ends").success());
        told.elapsed()
    }
}

fn start(folder: &Path) -> (Duration, Service) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_devicegraph"));
    command.current_dir(folder).env_remove("DATABASE_URL").stdin(Stdio::null()).stderr(Stdio::null());
    command
        .env("DEVICEGRAPH__SERVER__PORT", port.to_string())
        .env("DEVICEGRAPH__DATABASE__DATA_DIR", folder.join("postgres"));
    let begun = Instant::now();
    let child = command.spawn().expect("the binary runs");
    let service = Service { child, address: format!("127.0.0.1:{port}") };
    while TcpStream::connect(&service.address).is_err() {
        thread::sleep(Duration::from_millis(1));
    }
    // The service answers as soon as the database is migrated.
    assert_eq!(request(&service.address, "GET", "/health/ready", ""), 200);
    (begun.elapsed(), service)
}

fn request(address: &str, method: &str, path: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

fn resident_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
fn report(what: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    println!("{what}: median {:.1}, {least:.1} to {most:.1}, of {}", values[values.len() / 2], values.len());
}
