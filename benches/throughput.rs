//! Creates and reads a second, beside `pgbench` with the same statements on the
//! same tables: `cargo bench --bench throughput`. Needs `wrk` (`apt-get install wrk`).
//!
//! Everything runs on this machine, the load too, in turn and in rounds, so that
//! what counts are the ratios. PostgreSQL is as it comes: every commit is on disk
//! before it is answered. `ROWS` loads so many assignments first and measures once
//! more. `ALONE` names a service built with `--features alone`, which writes one
//! create in one statement.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const ROUNDS: usize = 3;
const SECONDS: u64 = 5;
const CONNECTIONS: [u32; 4] = [1, 16, 64, 256];
const CONFIGURATIONS: u32 = 1000;

fn main() {
    // As `cargo test --benches` calls it: nothing to check.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder =
        tempfile::Builder::new().prefix("devicegraph-bench-").permissions(fs::Permissions::from_mode(0o755)).tempdir();
    let folder = folder.expect("a folder");
    let bench = Bench::new(folder.path(), PathBuf::from(env!("CARGO_BIN_EXE_devicegraph")));
    bench.prepare();
    bench.all();
    if let Some(rows) = std::env::var("ROWS").ok().and_then(|rows| rows.parse::<u64>().ok()) {
        let empty = bench.creates(64);
        bench.load(rows);
        let full = bench.creates(64);
        report(&format!("creates with {rows} rows / with few"), &mut [full.rate / empty.rate]);
    }
    if let Some(alone) = std::env::var_os("ALONE") {
        let alone = Bench { binary: alone.into(), ..bench };
        let (together, alone) = (Bench { binary: env!("CARGO_BIN_EXE_devicegraph").into(), ..alone.clone() }, alone);
        let mut ratios: Vec<_> = (0..ROUNDS).map(|_| together.creates(64).rate / alone.creates(64).rate).collect();
        report("creates at 64 / one statement a request", &mut ratios);
    }
}

/// A store, and a service on it for each measurement.
#[derive(Clone)]
struct Bench {
    folder: PathBuf,
    binary: PathBuf,
    token: String,
}

/// What was measured.
#[derive(Clone, Copy, Default)]
struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
    service_cpu: f64,
    database_cpu: f64,
    memory: f64,
}

impl Bench {
    fn new(folder: &Path, binary: PathBuf) -> Self {
        let data_dir = folder.join("postgres");
        let token = Command::new(&binary).arg("token").env("DEVICEGRAPH__DATABASE__DATA_DIR", &data_dir).output();
        let token = String::from_utf8(token.expect("the binary runs").stdout).expect("UTF-8").trim().to_owned();
        Self { folder: folder.to_owned(), binary, token }
    }

    fn prepare(&self) {
        let service = self.start();
        let script = format!(
            "ALTER SYSTEM SET max_connections = 400;
             INSERT INTO device_configurations (id, odata_type, display_name)
             SELECT ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'iosCustomConfiguration', 'c ' || n
             FROM generate_series(1, {CONFIGURATIONS}) AS n;"
        );
        self.psql(&script);
        service.stop();
    }

    fn all(&self) {
        let mut best = Vec::new();
        for round in 0..ROUNDS {
            for connections in CONNECTIONS {
                best.push((round, connections, self.pgbench(INSERT, connections), self.creates(connections)));
            }
        }
        // One row in one transaction, at the number of clients that suits it best.
        let of_round = |round| best.iter().filter(move |(of, ..)| *of == round).map(|(_, _, theirs, _)| theirs.rate);
        let best_of_round: Vec<_> = (0..ROUNDS).map(|round| of_round(round).fold(0.0, f64::max)).collect();
        for connections in CONNECTIONS {
            let of_these = || best.iter().filter(move |(_, of, ..)| *of == connections);
            let ours: Vec<_> = of_these().map(|(.., ours)| *ours).collect();
            report_all(&format!("creates at {connections}"), &ours);
            let mut theirs: Vec<_> = of_these().map(|(.., theirs, _)| theirs.rate).collect();
            report(&format!("pgbench, one row a transaction, at {connections}: a second"), &mut theirs);
            let mut ratios: Vec<_> = of_these().map(|(round, _, _, ours)| ours.rate / best_of_round[*round]).collect();
            report(&format!("creates at {connections} / pgbench at its best"), &mut ratios);
            let mut latency: Vec<_> = of_these().map(|(_, _, theirs, ours)| ours.p50 / theirs.p50).collect();
            report(&format!("creates at {connections}: p50 / pgbench's mean"), &mut latency);
        }
        let rounds: Vec<_> = (0..ROUNDS).map(|_| (self.pgbench(SELECT, 64), self.reads(64))).collect();
        report_all("reads by id at 64", &rounds.iter().map(|(_, ours)| *ours).collect::<Vec<_>>());
        report(
            "pgbench, reads by id at 64: a second",
            &mut rounds.iter().map(|(theirs, _)| theirs.rate).collect::<Vec<_>>(),
        );
        let mut ratios: Vec<_> = rounds.iter().map(|(theirs, ours)| ours.rate / theirs.rate).collect();
        report("reads by id at 64 / pgbench", &mut ratios);
    }

    /// Creates, each of which must be a row afterwards.
    fn creates(&self, connections: u32) -> Measured {
        let before = self.count();
        let measured = self.wrk(CREATES, connections);
        let (rows, answered) = (self.count() - before, (measured.rate * SECONDS as f64) as u64);
        assert!(rows >= answered * 99 / 100, "{answered} were acknowledged, and {rows} are there");
        measured
    }

    fn reads(&self, connections: u32) -> Measured {
        self.wrk(READS, connections)
    }

    fn wrk(&self, script: &str, connections: u32) -> Measured {
        let service = self.start();
        let path = self.folder.join("load.lua");
        fs::write(&path, script).expect("a file");
        let cpu = (service.cpu(), self.database_cpu());
        let output = Command::new("wrk")
            .args(["--latency", "-t", if connections == 1 { "1" } else { "2" }, "-c", &connections.to_string()])
            .args(["-d", &format!("{SECONDS}s"), "-s"])
            .arg(&path)
            .arg(format!("http://{}", service.address))
            .env("TOKEN", &self.token)
            .output()
            .expect("wrk is installed");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in {text}")).trim().to_owned()
        };
        let rate: f64 = field("Requests/sec:").parse().expect("a rate");
        let per_10000 = 10_000.0 / (rate * SECONDS as f64);
        let measured = Measured {
            rate,
            p50: milliseconds(&field("50%")),
            p99: milliseconds(&field("99%")),
            service_cpu: (service.cpu() - cpu.0) * per_10000,
            database_cpu: (self.database_cpu() - cpu.1) * per_10000,
            memory: service.peak_mib(),
        };
        service.stop();
        measured
    }

    fn pgbench(&self, script: &str, clients: u32) -> Measured {
        let service = self.start();
        let path = self.folder.join("pgbench.sql");
        fs::write(&path, script).expect("a file");
        let output = Command::new("pgbench")
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-T", &SECONDS.to_string(), "-f"])
            .arg(&path)
            .arg(self.url())
            .output()
            .expect("pgbench is installed");
        service.stop();
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
            line.trim_start_matches([' ', '='])
                .split(' ')
                .next()
                .and_then(|value| value.parse().ok())
                .expect("a number")
        };
        Measured { rate: field("tps ="), p50: field("latency average ="), ..Measured::default() }
    }

    fn load(&self, rows: u64) {
        self.psql_of_service(&format!(
            "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
             SELECT gen_random_uuid(), ('01900000-0000-7000-8000-' || lpad((1 + n % {CONFIGURATIONS})::text, 12, '0'))::uuid,
                    'groupAssignmentTarget', gen_random_uuid()::text
             FROM generate_series(1, {rows}) AS n;
             VACUUM ANALYZE;"
        ));
    }

    fn count(&self) -> u64 {
        self.psql_of_service("SELECT count(*) FROM device_configuration_assignments;").parse().expect("a number")
    }

    /// With the private server up for as long as it takes.
    fn psql_of_service(&self, script: &str) -> String {
        let service = self.start();
        let output = self.psql(script);
        service.stop();
        output
    }

    fn url(&self) -> String {
        fs::read_to_string(self.folder.join("postgres/url"))
            .expect("the private server says where it is")
            .trim()
            .to_owned()
    }

    fn psql(&self, script: &str) -> String {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", &self.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is installed");
        child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("sent");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{script}");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    /// Seconds of the server and all its processes, ended ones too.
    fn database_cpu(&self) -> f64 {
        let postmaster = fs::read_to_string(self.folder.join("postgres/data/postmaster.pid")).expect("it runs");
        let postmaster: u32 = postmaster.lines().next().and_then(|pid| pid.parse().ok()).expect("a number");
        let of = |pid: u32| stat(pid).filter(|stat| pid == postmaster || stat[1] == u64::from(postmaster));
        let processes = fs::read_dir("/proc")
            .expect("processes")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let ticks: u64 = processes.filter_map(of).map(|stat| stat[11..15].iter().sum::<u64>()).sum();
        ticks as f64 / TICKS
    }

    fn start(&self) -> Service {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let data_dir = self.folder.join("postgres");
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.folder).env_remove("DATABASE_URL").stdin(Stdio::null()).stderr(Stdio::null());
        command
            .env("DEVICEGRAPH__SERVER__PORT", port.to_string())
            .env("DEVICEGRAPH__LOG__FILTER", "warn")
            .env("DEVICEGRAPH__AUTH__MODE", "jwt")
            .env("DEVICEGRAPH__AUTH__ISSUER", "https://devicegraph.localhost")
            .env("DEVICEGRAPH__AUTH__AUDIENCE", "https://devicegraph.localhost")
            .env("DEVICEGRAPH__AUTH__JWKS_FILE", data_dir.join("jwks.json"))
            .env("DEVICEGRAPH__DATABASE__DATA_DIR", data_dir);
        let child = command.spawn().expect("the binary runs");
        let service = Service { child, address: format!("127.0.0.1:{port}") };
        while !service.is_ready() {
            thread::sleep(Duration::from_millis(20));
        }
        service
    }
}

const TICKS: f64 = 100.0;

/// The fields of `/proc/{pid}/stat` behind the name.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect())
}

struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.address) else { return false };
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    }

    fn cpu(&self) -> f64 {
        stat(self.child.id()).expect("it runs")[11..13].iter().sum::<u64>() as f64 / TICKS
    }

    fn peak_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        assert!(self.child.wait().expect("it ends").success());
    }
}

/// What `wrk` writes: `1.23ms`, `456.00us` or `1.02s`.
fn milliseconds(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        _ => 1000.0,
    };
    number.parse::<f64>().expect("a number") * factor
}

/// One row as the service inserts it, with values that cost no client anything.
const INSERT: &str = r"\set c random(1, 1000)
INSERT INTO device_configuration_assignments
    (id, device_configuration_id, target_type, group_id, filter_type, intent, source)
SELECT gen_random_uuid(), c.id, 'groupAssignmentTarget', gen_random_uuid()::text, 'none', 'apply', 'direct'
FROM device_configurations AS c
WHERE c.id = ('01900000-0000-7000-8000-' || lpad((:c)::text, 12, '0'))::uuid
FOR KEY SHARE
ON CONFLICT DO NOTHING
RETURNING id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id;
";

const SELECT: &str = r"\set c random(1, 1000)
SELECT id, odata_type, display_name, description, version, created_date_time, last_modified_date_time, properties
FROM device_configurations
WHERE id = ('01900000-0000-7000-8000-' || lpad((:c)::text, 12, '0'))::uuid;
";

/// Distinct targets on a spread of configurations, in a body as an SDK sends it.
const CREATES: &str = r##"
local number = 0
function setup(thread) number = number + 1; thread:set("seed", number) end
function init() math.randomseed(os.time() * 1000 + seed * 7919 + math.floor(os.clock() * 1000000)) end
local headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("TOKEN"), ["Accept"] = "application/json"}
local random = math.random
function request()
  local id = string.format("%08x-%04x-4%03x-8%03x-%06x%06x", random(0, 0xffffffff), random(0, 0xffff), random(0, 0xfff), random(0, 0xfff), random(0, 0xffffff), random(0, 0xffffff))
  local path = string.format("/v1.0/deviceManagement/deviceConfigurations/01900000-0000-7000-8000-%012d/assignments", random(1, 1000))
  return wrk.format("POST", path, headers, '{"@odata.type": "#microsoft.graph.deviceConfigurationAssignment", "target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "' .. id .. '"}}')
end
"##;

const READS: &str = r#"
local headers = {["Authorization"] = "Bearer " .. os.getenv("TOKEN"), ["Accept"] = "application/json"}
local random = math.random
function request()
  return wrk.format("GET", string.format("/v1.0/deviceManagement/deviceConfigurations/01900000-0000-7000-8000-%012d", random(1, 1000)), headers)
end
"#;

fn report_all(what: &str, measured: &[Measured]) {
    let column = |of: fn(&Measured) -> f64| measured.iter().map(of).collect::<Vec<_>>();
    report(&format!("{what}: a second"), &mut column(|measured| measured.rate));
    report(&format!("{what}: p50 (ms)"), &mut column(|measured| measured.p50));
    report(&format!("{what}: p99 / p50"), &mut column(|measured| measured.p99 / measured.p50));
    report(&format!("{what}: CPU seconds of the service for 10,000"), &mut column(|measured| measured.service_cpu));
    report(&format!("{what}: CPU seconds of the database for 10,000"), &mut column(|measured| measured.database_cpu));
    report(&format!("{what}: peak memory (MiB)"), &mut column(|measured| measured.memory));
}

#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
fn report(what: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    println!("{what}: median {:.2}, {least:.2} to {most:.2}, of {}", values[values.len() / 2], values.len());
}
