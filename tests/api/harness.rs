//! Test setup: one private cluster for each run, one database and one application for each
//! test.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    panic::Location,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Once, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use devicegraph::{
    catalogue::version::{UnknownTypes, Version},
    config::{self, Settings},
    database::{self, embedded, pool::Pools},
    import_export::FileRules,
    server::app,
};
use nix::sys::statvfs::statvfs;
use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::tokens;

/// The path of the collection of configurations.
pub(crate) const CONFIGURATIONS: &str = "/v1.0/deviceManagement/deviceConfigurations";
/// The rules for files with the default settings.
pub(crate) const RULES: FileRules = FileRules { beta: Version::Beta, max_values: 1 << 16, must_be_complete: false };
/// The request body of the documented page, byte for byte.
pub(crate) const DOCUMENTED_BODY: &str = r##"{
  "@odata.type": "#microsoft.graph.deviceConfigurationAssignment",
  "target": {
    "@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"
  }
}
"##;

/// The cluster of this run. The database of each test is a copy of `template_devicegraph`.
struct Cluster {
    options: PgConnectOptions,
}

impl Cluster {
    fn get() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            // This runtime lives as long as the process. The runtime of a test ends with the
            // test.
            std::thread::spawn(move || {
                actix_web::rt::System::new().block_on(async {
                    let (options, server) = Self::start().await;
                    sender.send(Self { options }).expect("the test waits for the cluster");
                    std::future::pending::<()>().await;
                    drop(server);
                });
            });
            receiver.recv().expect("the cluster starts")
        })
    }

    async fn start() -> (PgConnectOptions, embedded::Server) {
        let folder = reachable_folder();
        let server = embedded::Server::start(&folder).await.expect("PostgreSQL is installed");
        let options = server.options();
        let stop = r#"kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"; sleep 0.5; rm -rf "$1""#;
        after_this_process(stop, &[&folder, options.get_socket().expect("a socket")]);
        // The cluster is deleted after the run, so its data need not survive a crash of the
        // machine. Tests of the product's own cluster start one each.
        let settings = [
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM SET full_page_writes = off",
            "ALTER SYSTEM SET max_wal_size = '256MB'",
            "ALTER SYSTEM SET max_connections = 1000",
        ];
        execute(&options, &settings).await;
        // PostgreSQL reads max_connections only when it starts.
        server.stop().await;
        let server = embedded::Server::start(&folder).await.expect("PostgreSQL starts again");
        // A role that needs a password, for a test with a wrong password.
        let hba = folder.join("data/pg_hba.conf");
        let trusting = fs::read_to_string(&hba).expect("pg_hba.conf");
        fs::write(&hba, format!("local all asked scram-sha-256\n{trusting}")).expect("pg_hba.conf");
        let role = "CREATE ROLE asked LOGIN PASSWORD 'right'";
        execute(&options, &["SELECT pg_reload_conf()", role, "CREATE DATABASE template_devicegraph"]).await;
        let pool = PgPool::connect_with(options.clone().database("template_devicegraph")).await.expect("the template");
        database::migrate(&pool).await.expect("the migrations apply");
        // A service validates the constraints when it starts, and would wait for locks that a
        // test holds.
        database::validate_constraints(&pool).await.expect("the constraints are valid");
        pool.close().await;
        (options, server)
    }

    async fn database(&self, template: &str) -> PgConnectOptions {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = self.options.connect().await.expect("the cluster answers");
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        connection.execute(AssertSqlSafe(create)).await.expect("a database from the template");
        connection.close().await.expect("a clean end");
        self.options.clone().database(&name)
    }
}

async fn execute(options: &PgConnectOptions, statements: &[&'static str]) {
    let mut connection = options.connect().await.expect("the database answers");
    for statement in statements {
        connection.execute(*statement).await.expect(statement);
    }
    connection.close().await.expect("a clean end");
}

/// Creates a folder that PostgreSQL's account can reach. The folder is deleted when this
/// process ends.
pub(crate) fn reachable_folder() -> PathBuf {
    static ALL: OnceLock<PathBuf> = OnceLock::new();
    static END_AT_FIRST_FAILURE: Once = Once::new();
    END_AT_FIRST_FAILURE.call_once(end_at_first_failure);
    let everyone = || fs::Permissions::from_mode(0o755);
    let all = ALL.get_or_init(|| {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("devicegraph-test-").permissions(everyone());
        let all = builder.tempdir_in(parent_folder()).expect("a folder").keep();
        // Delete the folder after the server in it has ended.
        after_this_process(r#"sleep 1; rm -rf "$0""#, &[&all]);
        all
    });
    tempfile::Builder::new().permissions(everyone()).tempdir_in(all).expect("a folder").keep()
}

/// Returns the memory file system of Linux if it has room for three runs at a time, else the
/// system's temporary folder. Each test has a database of 300 files. Creating them on a disk
/// would take a third of the time of a run.
fn parent_folder() -> PathBuf {
    const ROOM: u64 = 9 << 30;
    let shared = PathBuf::from("/dev/shm");
    let room = statvfs(&shared).map_or(0, |found| found.blocks_available() * found.fragment_size());
    if room > ROOM { shared } else { std::env::temp_dir() }
}

/// Ends the process at the first failed test, if `DEVICEGRAPH_TEST_FAIL_FAST` is set. libtest
/// cannot do this. One failure catches a mutant, and there are hundreds of mutants.
///
/// Only a panic in the thread of a test is a failure. libtest names its threads after the tests.
/// The service has its own threads, and one test lets a handler panic.
fn end_at_first_failure() {
    if std::env::var_os("DEVICEGRAPH_TEST_FAIL_FAST").is_none() {
        return;
    }
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        if let Some(test) = thread.name().filter(|name| name.contains("::")) {
            // libtest would capture the output of `eprintln!`.
            _ = writeln!(std::io::stderr(), "the test {test} failed: {panic}");
            std::process::exit(101);
        }
    }));
}

/// Starts a shell that waits for the end of this process, however it ends, and then runs a
/// script.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn after_this_process(script: &str, arguments: &[&std::path::Path]) {
    let mut watch = Command::new("sh");
    watch.args(["-c", &format!("cat >/dev/null; {script}")]).args(arguments).process_group(0);
    let watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
    // The kernel closes the pipe when this process ends.
    std::mem::forget(watch.stdin);
}

/// Creates a database, migrated or empty. Returns the options to connect to it.
pub(crate) async fn database(migrated: bool) -> PgConnectOptions {
    Cluster::get().database(if migrated { "template_devicegraph" } else { "template0" }).await
}

/// Returns the URL of a database, for a separate process.
pub(crate) fn url(options: &PgConnectOptions, user: &str) -> String {
    let socket = options.get_socket().expect("a socket").display();
    format!("postgres://{user}@localhost/{}?host={socket}", options.get_database().expect("a name"))
}

/// Returns whether the tests use a service that already runs.
pub(crate) fn is_remote() -> bool {
    std::env::var_os("DEVICEGRAPH_TEST_URL").is_some()
}

/// Returns the default settings.
pub(crate) fn settings() -> Settings {
    let defaults = ::config::File::from_str(include_str!("../../src/default.toml"), ::config::FileFormat::Toml);
    let defaults = ::config::Config::builder().add_source(defaults).build();
    defaults.and_then(::config::Config::try_deserialize).expect("the defaults are settings")
}

/// Makes `/beta` and the seed accept types that the catalogue lacks.
pub(crate) fn accept_unknown_types(settings: &mut Settings) {
    settings.catalogue.unknown_types = UnknownTypes::Accept;
}

/// The application under test.
pub(crate) struct App {
    /// The scheme, host and port.
    pub(crate) origin: String,
    pool: Option<PgPool>,
    pools: Option<Pools>,
    client: Client,
    anonymous: Client,
}

impl App {
    /// Starts the production application, which requires tokens, with its own database. Uses
    /// the running service instead, if there is one.
    pub(crate) async fn start() -> Self {
        match std::env::var("DEVICEGRAPH_TEST_URL") {
            Ok(url) => Self::at(url.trim_end_matches('/').to_owned(), None, None),
            Err(_) => Self::start_on(database(true).await, |_| ()).await,
        }
    }

    /// Starts the application on a given database with changed settings.
    pub(crate) async fn start_on(options: PgConnectOptions, change: impl FnOnce(&mut Settings)) -> Self {
        // Log the cause of a 500, for a failing test.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_test_writer();
        let _ = log.try_init();
        let mut settings = settings();
        tokens::trust(&mut settings);
        settings.server.shutdown_seconds = 1;
        // These timeouts are far longer than any wait, so that no test fails because the
        // machine is busy.
        settings.database.answer_timeout_ms = 60_000;
        settings.database.acquire_timeout_ms = 60_000;
        settings.database.lock_timeout_ms = 60_000;
        settings.database.statement_timeout_ms = 60_000;
        settings.server.request_timeout_seconds = 120;
        change(&mut settings);
        let pools = Pools::new(options.clone(), &settings.database, 2);
        let pool = PgPoolOptions::new().max_connections(8).connect_lazy_with(options);
        let service = app::Service::new(&settings).expect("the settings are right");
        let listener = app::listen(&config::Server { port: 0, ..settings.server.clone() }).expect("a free port");
        let address = listener.local_addr().expect("an address");
        actix_web::rt::spawn(service.server(listener, 2, pools.clone()).expect("a server"));
        actix_web::rt::spawn(async move { service.refresh().await });
        // A test with a short timeout starts the monitor itself, after it has set up its data.
        if settings.database.answer_timeout_ms >= 60_000 {
            let pools = pools.clone();
            actix_web::rt::spawn(async move { pools.monitor().await });
        }
        Self::at(format!("{}://{address}", settings.server.scheme()), Some(pool), Some(pools))
    }

    fn at(origin: String, pool: Option<PgPool>, pools: Option<Pools>) -> Self {
        let token = tokens::issuer().map(|issuer| issuer.bearer(&issuer.claims()));
        let everything = token.map(|token| (AUTHORIZATION, token.parse().expect("a header"))).into_iter().collect();
        // A request without an answer fails its test instead of blocking the run.
        let client =
            |headers| Client::builder().no_proxy().timeout(LIMIT).default_headers(headers).build().expect("a client");
        Self { origin, pool, pools, client: client(everything), anonymous: client(HeaderMap::new()) }
    }

    /// Returns the database of the application. Panics with a running service.
    pub(crate) fn pool(&self) -> &PgPool {
        self.pool.as_ref().expect("the test is skipped with a running service")
    }

    /// Returns a request with a token, which a test completes.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.origin))
    }

    /// Returns a request without a token.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous.request(method, format!("{}{path}", self.origin))
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&self, method: Method, path: &str) -> Answer {
        self.answer(self.request(method, path)).await
    }

    /// Sends a JSON body.
    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send_text(method, path, body.to_string()).await
    }

    /// Sends any text as JSON.
    pub(crate) async fn send_text(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.answer(self.request(method, path).header("content-type", "application/json").body(body)).await
    }

    /// Sends a completed request.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a whole body");
        Answer { origin: self.origin.clone(), status, headers, text }
    }

    /// Sends a GET request.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    /// Sends a POST request with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body).await
    }

    /// Sends a PATCH request with a JSON body.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PATCH, path, body).await
    }

    /// Sends a PATCH that prefers the entity as its answer, also on `/beta`.
    pub(crate) async fn patched(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PATCH, path).header("prefer", "return=representation");
        self.answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// Sends a DELETE request.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path).await
    }

    /// Creates a configuration. Returns its path.
    pub(crate) async fn configuration(&self) -> String {
        let body = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a test"});
        let created = self.post(CONFIGURATIONS, &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        format!("{CONFIGURATIONS}/{}", created.id())
    }

    /// Reads the assignments of a configuration on `/v1.0` or `/beta`, as its path says.
    pub(crate) async fn assignments(&self, configuration: &str) -> Vec<Value> {
        let listed = self.get(&format!("{configuration}/assignments")).await;
        assert_eq!(listed.status, StatusCode::OK, "{}", listed.text);
        listed.json()["value"].as_array().expect("a collection").clone()
    }
}

/// How long a test waits for an event that must happen. The limit is far longer than any event
/// takes, so only a failing test waits that long.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The pause between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Waits until a condition holds. Panics with `what` when it does not hold within
/// [`LIMIT`].
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let (started, caller) = (Instant::now(), Location::caller());
    async move {
        while !condition().await {
            assert!(started.elapsed() < LIMIT, "{caller}: not within {LIMIT:?}: {what}");
            sleep(POLL).await;
        }
    }
}

/// Waits like [`until`], in a test that blocks its thread.
#[track_caller]
pub(crate) fn until_blocking(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// Returns the `/beta` path for a path of `/v1.0`.
pub(crate) fn beta(path: &str) -> String {
    path.replacen("/v1.0", "/beta", 1)
}

/// Returns the JSON of an assignment to a group.
pub(crate) fn group(id: &str) -> Value {
    json!({"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": id}})
}

/// An answer of the service.
#[derive(Debug)]
pub(crate) struct Answer {
    origin: String,
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) text: String,
}

impl Answer {
    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Returns the id in the body.
    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_else(|| panic!("an id in {}", self.text)).to_owned()
    }

    /// Returns a header, which must be present.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("the header {name}")).to_str().expect("text")
    }

    /// Returns the status and the body, without the origin, GUIDs and times.
    pub(crate) fn redacted(&self) -> String {
        redact(&format!("{} {}", self.status.as_u16(), self.text).replace(&self.origin, "[origin]"))
    }

    /// Returns the status, code and message of an error. Checks Graph's envelope.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        assert_eq!(self.header("content-type"), "application/json");
        let body = self.json();
        let error = &body["error"];
        let members = |value: &Value| {
            value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(members(&body), ["error"], "{}", self.text);
        assert_eq!(members(error), ["code", "message", "innerError"], "{}", self.text);
        assert_eq!(members(&error["innerError"]), ["date", "request-id", "client-request-id"], "{}", self.text);
        assert_eq!(error["innerError"]["request-id"], self.header("request-id"));
        assert_eq!(error["innerError"]["client-request-id"], self.header("client-request-id"));
        let date = error["innerError"]["date"].as_str().expect("a date");
        assert_eq!(redact(&format!("{date}Z")), "[time]", "{date} has a zone or a fraction");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        redact(&format!("{} {}: {}", self.status.as_u16(), text(&error["code"]), text(&error["message"])))
    }
}

/// Replaces every GUID by `[guid]`, every UTC time (also in an ETag) by `[time]`, and the
/// digest of a set by `[digest]`.
pub(crate) fn redact(text: &str) -> String {
    const LONGEST_TIME: usize = "0000-00-00T00:00:00.0000000Z".len();
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        // A longer search would be slow in long texts.
        let end = rest.bytes().take(LONGEST_TIME).position(|letter| letter == b'Z');
        let time = end.map(|end| &rest[..=end]).filter(|time| is_time(time));
        if rest.get(..36).is_some_and(|guid| Uuid::try_parse(guid).is_ok()) {
            redacted.push_str("[guid]");
            rest = &rest[36..];
        } else if let Some(time) = time {
            redacted.push_str("[time]");
            rest = &rest[time.len()..];
        } else if let Some((before, what, after)) = etag(rest) {
            redacted.push_str(before);
            redacted.push_str(what);
            rest = after;
        } else {
            redacted.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    redacted
}

/// Finds an ETag, in quotes as in a header or in JSON. Returns the text before its varying
/// part, that part, and the text after it.
fn etag(text: &str) -> Option<(&str, &'static str, &str)> {
    const DIGEST: usize = 20;
    let tag = text.strip_prefix("W/")?.trim_start_matches(['\\', '"']);
    if let Some(time) = tag.trim_start_matches(|letter: char| letter.is_ascii_digit()).strip_prefix('.') {
        let after = time.trim_start_matches(|letter: char| letter.is_ascii_hexdigit());
        return Some((&text[..text.len() - time.len()], "[time]", after));
    }
    let is_digest = tag.get(DIGEST..)?.starts_with(['\\', '"']);
    is_digest.then(|| (&text[..text.len() - tag.len()], "[digest]", &tag[DIGEST..]))
}

fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    let fraction = shape.strip_prefix("0000-00-00T00:00:00").and_then(|rest| rest.strip_suffix('Z'));
    fraction.is_some_and(|fraction| {
        let trimmed = !text.ends_with("0Z") || fraction.is_empty();
        trimmed && (fraction.is_empty() || fraction.len() <= 8 && fraction.trim_end_matches('0') == ".")
    })
}

/// Returns a body in the encoding that Go's SDK sends.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn redaction_takes_guids_and_times_and_nothing_else() {
    let text = r#"a 7e159a72-9a72-7e15-729a-157e729a157e "2026-11-24T10:46:26.641242Z" 2026-11-24T10:46:26Z 2026-11-24T10:46:26.640Z ü W/"7.64f" W/\"7.64f\" W/x"#;
    assert_eq!(redact(text), r#"a [guid] "[time]" [time] 2026-11-24T10:46:26.640Z ü W/"7.[time]" W/\"7.[time]\" W/x"#);
}

impl App {
    /// Starts the monitor of the database, for a test with a short
    /// `database.answer_timeout_ms`. On a busy machine an answer can take longer than that, and
    /// requests that set up data would be refused.
    pub(crate) fn watch_database(&self) {
        let pools = self.pools.clone().expect("the test is skipped with a running service");
        actix_web::rt::spawn(async move { pools.monitor().await });
    }

    /// Returns the value of a line of `/metrics`, or 0 when the line is missing.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Returns the number of requests in flight, including steps of batches.
    pub(crate) async fn in_flight(&self) -> usize {
        // Do not count the request for the metrics.
        self.metric("devicegraph_http_requests_in_flight").await as usize - 1
    }
}

/// Returns the number of sessions with an application name like `name` that wait for a lock.
pub(crate) async fn waiting_for_locks(pool: &PgPool, name: &str) -> i64 {
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE $1";
    sqlx::query_scalar(waiting).bind(name).fetch_one(pool).await.expect("a number")
}

/// Ends the sessions with an application name like `name` and waits until they are
/// gone. Returns how many there were.
pub(crate) async fn end_sessions(pool: &PgPool, name: &str) -> usize {
    let end = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE $1 AND pid <> pg_backend_pid()";
    let ended: Vec<(i32, bool)> = sqlx::query_as(end).bind(name).fetch_all(pool).await.expect("their end");
    let ended: Vec<_> = ended.into_iter().map(|(pid, _)| pid).collect();
    let left = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)";
    let left = async || sqlx::query_scalar::<_, i64>(left).bind(&ended).fetch_one(pool).await.expect("a number");
    until("the sessions are gone", async || left().await == 0).await;
    ended.len()
}
