//! Measures creates and reads per second, and compares them with `pgbench` on the same statements
//! and tables: `cargo bench --bench throughput`. Needs `wrk` (`apt-get install wrk`).
//!
//! The load runs on this machine, too. Both sides are measured in turns and in rounds, so only the
//! ratios matter. PostgreSQL has its default settings: every commit is on disk before it is
//! answered. `ALONE` names a service that was built with `--features alone`, in which each request
//! runs its own statement, and adds a comparison with it. `ROWS` adds a measurement of creates in
//! an empty table and in a table with this number of assignments.

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

fn main() {
    // `cargo test --benches` calls this without `--bench`. There is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder =
        tempfile::Builder::new().prefix("devicegraph-bench-").permissions(fs::Permissions::from_mode(0o755)).tempdir();
    let folder = folder.expect("a folder");
    let bench = Bench::new(folder.path(), PathBuf::from(env!("CARGO_BIN_EXE_devicegraph")));
    bench.prepare();
    // As in every benchmark, an argument selects a part, for example `-- growth`.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let is_wanted = |part: &str| wanted.as_deref().is_none_or(|wanted| part.contains(wanted));
    if is_wanted("creates") {
        bench.all_creates();
    }
    for (what, load, beside) in READS.into_iter().filter(|(_, load, _)| is_wanted(load)) {
        bench.beside_pgbench(what, load, beside);
    }
    if let Some(alone) = std::env::var_os("ALONE").filter(|_| is_wanted("alone")) {
        bench.beside_alone(&Bench { binary: alone.into(), ..bench.clone() });
    }
    if let Some(rows) = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).filter(|_| is_wanted("growth")) {
        bench.growth(rows);
    }
}

/// Scripts of pgbench, with their weights.
type Scripts<'a> = &'a [(&'a str, u32)];

/// The reads at 64 connections: a description, the load of wrk, and the scripts of pgbench.
const READS: [(&str, &str, Scripts); 4] = [
    ("configurations by id at 64", "configuration", &[("configuration", 1)]),
    ("assignments by id at 64", "assignment", &[("assignment", 1)]),
    ("assignments of a configuration at 64", "list", &[("list", 1)]),
    (
        "8 reads by id, 1 create, 1 list at 64",
        "mixed",
        &[("configuration", 4), ("assignment", 4), ("create", 1), ("list", 1)],
    ),
];

/// A store. Each measurement starts a service on it.
#[derive(Clone)]
struct Bench {
    folder: PathBuf,
    binary: PathBuf,
    token: String,
}

/// The results of a measurement.
#[derive(Clone, Copy, Default)]
struct Measured {
    requests: u64,
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

    /// Inserts 1,000 configurations for creates of assignments, and 1,000 configurations with ten
    /// assignments each for reads.
    fn prepare(&self) {
        let service = self.start();
        self.psql(
            "ALTER SYSTEM SET max_connections = 400;
             INSERT INTO device_configurations (id, odata_type, display_name)
             SELECT ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'iosCustomConfiguration', 'c ' || n
             FROM generate_series(1, 2000) AS n;
             INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
             SELECT ('01900000-0000-7000-9000-' || lpad(n::text, 11, '0') || k)::uuid,
                    ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'groupAssignmentTarget', gen_random_uuid()::text
             FROM generate_series(1001, 2000) AS n, generate_series(0, 9) AS k;
             VACUUM ANALYZE;",
        );
        service.stop();
    }

    fn all_creates(&self) {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            for connections in CONNECTIONS {
                let theirs = self.pgbench(&[("create", 1)], connections);
                rounds.push((round, connections, theirs, self.creates(connections)));
            }
        }
        // The best rate of pgbench in each round, over all numbers of clients. Each of its
        // transactions inserts one row.
        let of_round = |round| rounds.iter().filter(move |(of, ..)| *of == round).map(|(_, _, theirs, _)| theirs.rate);
        let best: Vec<_> = (0..ROUNDS).map(|round| of_round(round).fold(0.0, f64::max)).collect();
        for connections in CONNECTIONS {
            let these: Vec<_> = rounds.iter().filter(|(_, of, ..)| *of == connections).collect();
            let each = |of: &dyn Fn(usize, Measured, Measured) -> f64| -> Vec<f64> {
                these.iter().map(|(round, _, theirs, ours)| of(*round, *theirs, *ours)).collect()
            };
            let what = format!("creates at {connections}");
            report_all(&what, &these.iter().map(|(.., ours)| *ours).collect::<Vec<_>>());
            report(&format!("{what}: pgbench, one row a transaction, a second"), &each(&|_, theirs, _| theirs.rate));
            report(&format!("{what} / pgbench at its best"), &each(&|round, _, ours| ours.rate / best[round]));
            report(&format!("{what}: p50 / pgbench's mean"), &each(&|_, theirs, ours| ours.p50 / theirs.p50));
        }
    }

    fn beside_pgbench(&self, what: &str, load: &str, scripts: Scripts) {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| (self.pgbench(scripts, 64), self.wrk(load, 64))).collect();
        report_all(what, &rounds.iter().map(|(_, ours)| *ours).collect::<Vec<_>>());
        let theirs: Vec<_> = rounds.iter().map(|(theirs, _)| theirs.rate).collect();
        report(&format!("{what}: pgbench, a second"), &theirs);
        let ratios: Vec<_> = rounds.iter().map(|(theirs, ours)| ours.rate / theirs.rate).collect();
        report(&format!("{what} / pgbench"), &ratios);
    }

    fn beside_alone(&self, alone: &Self) {
        let ratios: Vec<_> = (0..ROUNDS).map(|_| self.creates(64).rate / alone.creates(64).rate).collect();
        report("creates at 64 / one statement a request", &ratios);
    }

    /// Measures creates in a separate store with this number of rows, and compares them with
    /// creates in an empty table.
    fn growth(&self, rows: u64) {
        let folder = self.folder.join("grown");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("permissions");
        let grown = Self::new(&folder, self.binary.clone());
        grown.prepare();
        grown.load(rows);
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                self.psql_of_service("TRUNCATE device_configuration_assignments;");
                (self.creates(64).rate, grown.creates(64).rate)
            })
            .collect();
        report("creates at 64 with an empty table: a second", &rounds.iter().map(|round| round.0).collect::<Vec<_>>());
        report(
            &format!("creates at 64 with {rows} rows: a second"),
            &rounds.iter().map(|round| round.1).collect::<Vec<_>>(),
        );
        let ratios: Vec<_> = rounds.iter().map(|(empty, full)| full / empty).collect();
        report(&format!("creates at 64 with {rows} rows / with an empty table"), &ratios);
    }

    /// Measures creates, and checks that each acknowledged create has a row. Creates that were in
    /// flight at the end may have a row, too.
    fn creates(&self, connections: u32) -> Measured {
        let before = self.count();
        let measured = self.wrk("create", connections);
        let rows = self.count() - before;
        let most = measured.requests + u64::from(connections);
        assert!((measured.requests..=most).contains(&rows), "{} acknowledged, {rows} rows", measured.requests);
        measured
    }

    fn wrk(&self, kind: &str, connections: u32) -> Measured {
        let service = self.start();
        let cpu = (service.cpu(), self.database_cpu());
        let output = Command::new("wrk")
            .args(["--latency", "-t", if connections == 1 { "1" } else { "2" }, "-c", &connections.to_string()])
            .args([
                "-d",
                &format!("{SECONDS}s"),
                "-s",
                concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput/load.lua"),
            ])
            .arg(format!("http://{}", service.address))
            .envs([("TOKEN", self.token.as_str()), ("KIND", kind)])
            .output()
            .expect("wrk is installed");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in {text}")).trim().to_owned()
        };
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
        let requests: u64 = requests.unwrap_or_else(|| panic!("{text}"));
        let measured = Measured {
            requests,
            rate: field("Requests/sec:").parse().expect("a rate"),
            p50: milliseconds(&field("50%")),
            p99: milliseconds(&field("99%")),
            service_cpu: (service.cpu() - cpu.0) * 10_000.0 / requests as f64,
            database_cpu: (self.database_cpu() - cpu.1) * 10_000.0 / requests as f64,
            memory: service.peak_mib(),
        };
        service.stop();
        measured
    }

    fn pgbench(&self, scripts: Scripts, clients: u32) -> Measured {
        let service = self.start();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput");
        let output = Command::new("pgbench")
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-T", &SECONDS.to_string()])
            .args(scripts.iter().flat_map(|(name, weight)| ["-f".to_owned(), format!("{folder}/{name}.sql@{weight}")]))
            .arg(self.url())
            .output()
            .expect("pgbench is installed");
        service.stop();
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
            let number = line.trim_start_matches([' ', '=']).split(' ').next().and_then(|value| value.parse().ok());
            number.expect("a number")
        };
        Measured { rate: field("tps ="), p50: field("latency average ="), ..Measured::default() }
    }

    /// Inserts assignments whose ids ascend in the order of their creation, like the ids of the
    /// service.
    fn load(&self, rows: u64) {
        self.psql_of_service(&format!(
            "SET session_replication_role = replica;
             INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
             SELECT ('01910000-0000-7000-' || lpad(to_hex(32768 + c), 4, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid,
                    ('01900000-0000-7000-8000-' || lpad(c::text, 12, '0'))::uuid, 'groupAssignmentTarget', gen_random_uuid()::text
             FROM generate_series(1, 1000) AS c, generate_series(1, {rows} / 1000) AS n;
             VACUUM ANALYZE;"
        ));
    }

    fn count(&self) -> u64 {
        self.psql_of_service("SELECT count(*) FROM device_configuration_assignments;").parse().expect("a number")
    }

    /// Runs a script while a service runs its private server.
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

    /// Returns the processor seconds of the server and all its processes, including those that have
    /// ended.
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

/// Returns the milliseconds of a time in the form of wrk: `1.23ms`, `456.00us` or `1.02s`.
fn milliseconds(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        _ => 1000.0,
    };
    number.parse::<f64>().expect("a number") * factor
}

fn report_all(what: &str, measured: &[Measured]) {
    let column = |name: &str, of: fn(&Measured) -> f64| {
        report(&format!("{what}: {name}"), &measured.iter().map(of).collect::<Vec<_>>());
    };
    column("a second", |measured| measured.rate);
    column("p50 (ms)", |measured| measured.p50);
    column("p99 / p50", |measured| measured.p99 / measured.p50);
    column("CPU seconds of the service for 10,000", |measured| measured.service_cpu);
    column("CPU seconds of the database for 10,000", |measured| measured.database_cpu);
    column("peak memory (MiB)", |measured| measured.memory);
}

#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
fn report(what: &str, values: &[f64]) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    println!("{what}: median {:.2}, {least:.2} to {most:.2}, of {}", values[values.len() / 2], values.len());
}
