//! Measures pages of a large store. Compares the service with `pgbench` on the same statement, and
//! the last page with the first: `cargo bench --bench query`. With `ROWS=10000` the store is small.
//!
//! It takes some minutes and about 3 GiB to load a million configurations with five million
//! assignments. The two sides of a ratio are measured in turns, because the machine may be shared.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use devicegraph::{
    catalogue::{Type, version::Version},
    odata::{
        options::Options,
        query::{Query, QueryScope},
        token::Position,
    },
    resources::configurations::sql::TABLE,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const CLIENTS: usize = 2;
const SECONDS: u64 = 4;
const COLLECTION: &str = "/v1.0/deviceManagement/deviceConfigurations";

fn main() {
    // `cargo test --benches` calls this without `--bench`. There is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rows = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000);
    let folder =
        tempfile::Builder::new().prefix("devicegraph-bench-").permissions(fs::Permissions::from_mode(0o755)).tempdir();
    let folder = folder.expect("a folder");
    let mut service = start(folder.path());
    let url = fs::read_to_string(folder.path().join("postgres/url")).expect("the private server says where it is");
    let url = url.trim();
    load(url, rows);

    for (what, options) in [
        ("100 of $select=id,displayName&$expand=assignments", "$top=100&$select=id,displayName&$expand=assignments"),
        ("100 full, with their assignments", "$top=100&$expand=assignments"),
        ("100 full", "$top=100"),
    ] {
        beside_pgbench(&service, folder.path(), url, what, options);
    }
    for order in ["", "&$orderby=displayName", "&$orderby=lastModifiedDateTime%20desc"] {
        last_beside_first(&service, url, order);
    }
    for filter in FILTERS {
        let path = format!("{COLLECTION}?$top=100&$select=id&$filter={}", filter.replace(' ', "%20"));
        report(&format!("a page, {filter} (ms)"), &mut times(&service, &path));
    }
    kill(Pid::from_raw(service.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert!(service.child.wait().expect("it ends").success());
}

/// Filters that use an index, and filters that do not.
const FILTERS: [&str; 5] = [
    "displayName eq 'configuration 0500000'",
    "startswith(displayName,'configuration 05')",
    "assignments/any(a:a/target/microsoft.graph.groupAssignmentTarget/groupId eq 'group 77')",
    "contains(displayName,'999999')",
    "description eq 'nobody has it'",
];

fn load(url: &str, rows: u32) {
    let concrete = Type::all().iter().filter(|found| found.is_a("deviceConfiguration") && !found.is_abstract);
    let types: Vec<_> = concrete.map(|found| format!("'{}'", found.name)).collect();
    let script = format!(
        "INSERT INTO device_configurations (id, odata_type, display_name, properties)
         SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                (ARRAY[{}])[1 + n % {}], 'configuration ' || lpad(n::text, 7, '0'), '{{}}'
         FROM generate_series(1, {rows}) AS n;
         INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
         SELECT gen_random_uuid(), c.id, 'groupAssignmentTarget', 'group ' || (1 + (n::bigint * 7919 + g) % 100000)
         FROM generate_series(1, {rows}) AS n, generate_series(1, 5) AS g,
              LATERAL (SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id) AS c
         ON CONFLICT DO NOTHING;
         VACUUM ANALYZE;",
        types.join(", "),
        types.len()
    );
    psql(url, &script);
}

fn psql(url: &str, script: &str) -> String {
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("psql is installed");
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("sent");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{script}");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn query(options: &str) -> Query {
    let options = Options::parse(options).expect("options");
    Query::parse(options, &TABLE, &QueryScope::all(), Version::V1).expect("a query")
}

fn beside_pgbench(service: &Service, folder: &Path, url: &str, what: &str, options: &str) {
    let statement = query(options).text(&QueryScope::all()).expect("a statement").replace("$1", "101");
    assert!(!statement.contains('$'), "{statement}");
    let script = folder.join("page.sql");
    fs::write(&script, format!("{statement};\n")).expect("a file");
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let pages = rate(&service.address, &format!("{COLLECTION}?{options}"));
        let transactions = pgbench(url, &script);
        ours.push(pages);
        theirs.push(transactions);
        ratios.push(pages / transactions);
    }
    report(&format!("{what}: pages a second"), &mut ours);
    report(&format!("{what}: transactions of pgbench a second"), &mut theirs);
    report(&format!("{what}: ratio"), &mut ratios);
}

fn pgbench(url: &str, script: &Path) -> f64 {
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &CLIENTS.to_string(), "-T", &SECONDS.to_string(), "-f"])
        .arg(script)
        .arg(url)
        .output()
        .expect("pgbench is installed");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = text.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap_or_else(|| panic!("{text}"));
    line.split(' ').next().and_then(|rate| rate.parse().ok()).expect("a rate")
}

/// Returns the answers per second to as many clients as pgbench has.
fn rate(address: &str, path: &str) -> f64 {
    let begun = Instant::now();
    let counts: Vec<u32> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::new(address);
                    let mut count = 0;
                    while begun.elapsed() < Duration::from_secs(SECONDS) {
                        client.get(path);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("it ends")).collect()
    });
    f64::from(counts.iter().sum::<u32>()) / begun.elapsed().as_secs_f64()
}

fn last_beside_first(service: &Service, url: &str, order: &str) {
    let options = format!("$top=100&$select=id,displayName{}", order.replace("%20", " "));
    let by = match order.split_once('=') {
        None => "id",
        Some((_, "displayName")) => "display_name, id",
        Some(_) => "last_modified_date_time DESC, id DESC",
    };
    let last = psql(
        url,
        &format!(
            "SELECT id || '|' || display_name || '|' || to_json(last_modified_date_time) FROM device_configurations
             ORDER BY {by} OFFSET (SELECT count(*) - 101 FROM device_configurations) LIMIT 1;"
        ),
    );
    let mut last = last.split('|');
    let id = last.next().and_then(|id| id.parse().ok()).expect("an id");
    let (name, time): (_, Value) =
        (last.next().expect("a name"), serde_json::from_str(last.next().expect("a time")).expect("JSON"));
    let keys = match by {
        "id" => vec![],
        "display_name, id" => vec![json!(STANDARD.encode(name))],
        _ => vec![time],
    };
    let next = query(&options).next(&QueryScope::all(), &Position(keys, id));
    let (first, last) = (format!("{COLLECTION}?{options}").replace(' ', "%20"), format!("{COLLECTION}?{next}"));
    let mut client = Client::new(&service.address);
    assert!(!client.get(&last).contains("nextLink"), "it is the last");
    let (mut of_first, mut of_last) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        for (path, times) in [(&first, &mut of_first), (&last, &mut of_last)] {
            let begun = Instant::now();
            client.get(path);
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    report(&format!("first page{order} (ms)"), &mut of_first);
    report(&format!("last page{order} (ms)"), &mut of_last);
    report(
        &format!("last page{order}: ratio to the first"),
        &mut [of_last[of_last.len() / 2] / of_first[of_first.len() / 2]],
    );
}

fn times(service: &Service, path: &str) -> Vec<f64> {
    let mut client = Client::new(&service.address);
    let time = |_| {
        let begun = Instant::now();
        client.get(path);
        begun.elapsed().as_secs_f64() * 1000.0
    };
    (0..7).map(time).collect()
}

/// A client that keeps its connection open.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the service listens");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Returns the body of an answer, whose status must be 200.
    fn get(&mut self, path: &str) -> String {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        let mut length = 0;
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a status");
        assert!(line.starts_with("HTTP/1.1 200"), "{line} {path}");
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("a header");
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        String::from_utf8(body).expect("UTF-8")
    }
}

struct Service {
    child: Child,
    address: String,
}

fn start(folder: &Path) -> Service {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_devicegraph"));
    command.current_dir(folder).env_remove("DATABASE_URL").stdin(Stdio::null()).stderr(Stdio::null());
    command
        .env("DEVICEGRAPH__SERVER__PORT", port.to_string())
        .env("DEVICEGRAPH__DATABASE__STATEMENT_TIMEOUT_MS", "120000")
        .env("DEVICEGRAPH__LOG__FILTER", "warn")
        .env("DEVICEGRAPH__DATABASE__DATA_DIR", folder.join("postgres"));
    let child = command.spawn().expect("the binary runs");
    let service = Service { child, address: format!("127.0.0.1:{port}") };
    while TcpStream::connect(&service.address).is_err() {
        thread::sleep(Duration::from_millis(1));
    }
    Client::new(&service.address).get("/health/ready");
    service
}

#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
fn report(what: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    println!("{what}: median {:.2}, {least:.2} to {most:.2}, of {}", values[values.len() / 2], values.len());
}
