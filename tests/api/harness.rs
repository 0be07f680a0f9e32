//! One private cluster a run, one database and one application a test.

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
    config::{self, Settings},
    database::{self, embedded, pool::Pools},
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

/// Where the collection is.
pub(crate) const CONFIGURATIONS: &str = "/v1.0/deviceManagement/deviceConfigurations";
/// The request body of the documented page, to the byte.
pub(crate) const DOCUMENTED_BODY: &str = r##"{
  "@odata.type": "#microsoft.graph.deviceConfigurationAssignment",
  "target": {
    "@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"
  }
}
"##;

/// The cluster of this run; databases are made in it from `template_devicegraph`.
struct Cluster {
    options: PgConnectOptions,
}

impl Cluster {
    fn get() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| {
            let (sender, receiver) = std::sync::mpsc::channel();
            // Its runtime lives as long as the process: those of the tests end with them.
            std::thread::spawn(move || {
                actix_web::rt::System::new().block_on(async {
                    let (options, server) = Self::start().await;
                    sender.send(Self { options }).expect("somebody waits for the cluster");
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
        // The cluster is deleted after the run: nothing needs to survive a crash of the machine. Tests of what
        // the product does with its own cluster start one each.
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
        // A role whose password is asked for, to have it wrong.
        let hba = folder.join("data/pg_hba.conf");
        let trusting = fs::read_to_string(&hba).expect("pg_hba.conf");
        fs::write(&hba, format!("local all asked scram-sha-256\n{trusting}")).expect("pg_hba.conf");
        let role = "CREATE ROLE asked LOGIN PASSWORD 'right'";
        execute(&options, &["SELECT pg_reload_conf()", role, "CREATE DATABASE template_devicegraph"]).await;
        let pool = PgPool::connect_with(options.clone().database("template_devicegraph")).await.expect("the template");
        database::migrate(&pool).await.expect("the migrations apply");
        // A service that starts would do this, and wait for locks that a test holds.
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

/// A folder that PostgreSQL's account can reach. It ends with this process.
pub(crate) fn reachable_folder() -> PathBuf {
    static ALL: OnceLock<PathBuf> = OnceLock::new();
    static END_AT_FIRST_FAILURE: Once = Once::new();
    END_AT_FIRST_FAILURE.call_once(end_at_first_failure);
    let everyone = || fs::Permissions::from_mode(0o755);
    let all = ALL.get_or_init(|| {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("devicegraph-test-").permissions(everyone());
        let all = builder.tempdir_in(parent_folder()).expect("a folder").keep();
        // After the server that may run in it has ended.
        after_this_process(r#"sleep 1; rm -rf "$0""#, &[&all]);
        all
    });
    tempfile::Builder::new().permissions(everyone()).tempdir_in(all).expect("a folder").keep()
}

/// The memory file system of Linux, where it has room for three runs at a time. Each test has a database
/// of 300 files, and a disk would take a third of the time of a run to make them. Without the room, the
/// system's temporary folder.
fn parent_folder() -> PathBuf {
    const ROOM: u64 = 9 << 30;
    let shared = PathBuf::from("/dev/shm");
    let room = statvfs(&shared).map_or(0, |found| found.blocks_available() * found.fragment_size());
    if room > ROOM { shared } else { std::env::temp_dir() }
}

/// With `DEVICEGRAPH_TEST_FAIL_FAST`, ends the process at the first failure, which libtest
/// cannot do: one failure catches a mutant, and there are hundreds of mutants.
///
/// Only a panic of a test is a failure. libtest calls its threads like the tests; the
/// service has threads of its own, and a test lets one of its handlers panic.
fn end_at_first_failure() {
    if std::env::var_os("DEVICEGRAPH_TEST_FAIL_FAST").is_none() {
        return;
    }
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        if let Some(test) = thread.name().filter(|name| name.contains("::")) {
            // Not with a macro, whose output libtest would keep.
            _ = writeln!(std::io::stderr(), "the test {test} failed: {panic}");
            std::process::exit(101);
        }
    }));
}

/// Leaves a shell behind that waits for the end of this process, whatever it
/// is, and then runs a script.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
fn after_this_process(script: &str, arguments: &[&std::path::Path]) {
    let mut watch = Command::new("sh");
    watch.args(["-c", &format!("cat >/dev/null; {script}")]).args(arguments).process_group(0);
    let watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell");
    // Closed by the kernel when this process is gone.
    std::mem::forget(watch.stdin);
}

/// A fresh database and how to reach it, migrated or empty.
pub(crate) async fn database(migrated: bool) -> PgConnectOptions {
    Cluster::get().database(if migrated { "template_devicegraph" } else { "template0" }).await
}

/// The URL of a database for a process of its own.
pub(crate) fn url(options: &PgConnectOptions, user: &str) -> String {
    let socket = options.get_socket().expect("a socket").display();
    format!("postgres://{user}@localhost/{}?host={socket}", options.get_database().expect("a name"))
}

/// Whether the tests drive a stack that is already up.
pub(crate) fn is_remote() -> bool {
    std::env::var_os("DEVICEGRAPH_TEST_URL").is_some()
}

/// The defaults, as a service without a settings file has them.
pub(crate) fn settings() -> Settings {
    let defaults = ::config::File::from_str(include_str!("../../src/default.toml"), ::config::FileFormat::Toml);
    let defaults = ::config::Config::builder().add_source(defaults).build();
    defaults.and_then(::config::Config::try_deserialize).expect("the defaults are settings")
}

/// The application under test.
pub(crate) struct App {
    /// Scheme, host and port.
    pub(crate) origin: String,
    pool: Option<PgPool>,
    pools: Option<Pools>,
    client: Client,
    anonymous: Client,
}

impl App {
    /// The production application, which asks for tokens, on a database of its
    /// own, or the running stack.
    pub(crate) async fn start() -> Self {
        match std::env::var("DEVICEGRAPH_TEST_URL") {
            Ok(url) => Self::at(url.trim_end_matches('/').to_owned(), None, None),
            Err(_) => Self::start_on(database(true).await, |_| ()).await,
        }
    }

    /// The same on a given database, with other settings.
    pub(crate) async fn start_on(options: PgConnectOptions, change: impl FnOnce(&mut Settings)) -> Self {
        // What a failing test prints then has the cause of a 500.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_test_writer();
        let _ = log.try_init();
        let mut settings = settings();
        tokens::trust(&mut settings);
        settings.server.shutdown_seconds = 1;
        // Far longer than any wait takes: no test fails because the machine is busy.
        settings.database.answer_timeout_ms = 60_000;
        settings.database.acquire_timeout_ms = 60_000;
        settings.database.lock_timeout_ms = 60_000;
        settings.database.statement_timeout_ms = 60_000;
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
        // A request that is never answered fails its test instead of stopping the run.
        let client =
            |headers| Client::builder().no_proxy().timeout(LIMIT).default_headers(headers).build().expect("a client");
        Self { origin, pool, pools, client: client(everything), anonymous: client(HeaderMap::new()) }
    }

    /// The database under the application; not with a running stack.
    pub(crate) fn pool(&self) -> &PgPool {
        self.pool.as_ref().expect("the test leaves a running stack out")
    }

    /// A request, to be completed by a test that cares for more than its body.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.origin))
    }

    /// A request that does not say who sends it.
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

    /// Sends a text as JSON, whatever it is.
    pub(crate) async fn send_text(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.answer(self.request(method, path).header("content-type", "application/json").body(body)).await
    }

    /// Sends a request that a test has completed.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a whole body");
        Answer { origin: self.origin.clone(), status, headers, text }
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    /// POST of a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body).await
    }

    /// PATCH with a JSON body.
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PATCH, path, body).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path).await
    }

    /// A new configuration; its path.
    pub(crate) async fn configuration(&self) -> String {
        let body = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a test"});
        let created = self.post(CONFIGURATIONS, &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        format!("{CONFIGURATIONS}/{}", created.id())
    }

    /// The assignments of a configuration, read on `/v1.0` or `/beta` as its path says.
    pub(crate) async fn assignments(&self, configuration: &str) -> Vec<Value> {
        let listed = self.get(&format!("{configuration}/assignments")).await;
        assert_eq!(listed.status, StatusCode::OK, "{}", listed.text);
        listed.json()["value"].as_array().expect("a collection").clone()
    }
}

/// How long a test waits for an event that must happen. It is far longer than any
/// event takes: only a test that fails ever waits so long.
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

/// The same for a test that blocks its thread.
#[track_caller]
pub(crate) fn until_blocking(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// A path of `/v1.0` on `/beta`.
pub(crate) fn beta(path: &str) -> String {
    path.replacen("/v1.0", "/beta", 1)
}

/// An assignment to a group.
pub(crate) fn group(id: &str) -> Value {
    json!({"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": id}})
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    origin: String,
    /// Status.
    pub(crate) status: StatusCode,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The id in the body.
    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_else(|| panic!("an id in {}", self.text)).to_owned()
    }

    /// A header, which must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("the header {name}")).to_str().expect("text")
    }

    /// Status and body, with the origin, GUIDs and times taken out.
    pub(crate) fn redacted(&self) -> String {
        redact(&format!("{} {}", self.status.as_u16(), self.text).replace(&self.origin, "[origin]"))
    }

    /// Status, code and message of a refusal. Holds it to Graph's envelope.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        assert_eq!(self.header("content-type"), "application/json");
        let body = self.json();
        let error = &body["error"];
        let members = |value: &Value| {
            value.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(members(&body), ["error"], "{}", self.text);
        assert_eq!(members(error), ["code", "innerError", "message"], "{}", self.text);
        assert_eq!(members(&error["innerError"]), ["client-request-id", "date", "request-id"], "{}", self.text);
        assert_eq!(error["innerError"]["request-id"], self.header("request-id"));
        assert_eq!(error["innerError"]["client-request-id"], self.header("client-request-id"));
        let date = error["innerError"]["date"].as_str().expect("a date");
        assert_eq!(redact(&format!("{date}Z")), "[time]", "{date} has a zone or a fraction");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        redact(&format!("{} {}: {}", self.status.as_u16(), text(&error["code"]), text(&error["message"])))
    }
}

/// Replaces every GUID by `[guid]`, every UTC time, that in an ETag too, by
/// `[time]`, and the digest of a set by `[digest]`.
pub(crate) fn redact(text: &str) -> String {
    const LONGEST_TIME: usize = "0000-00-00T00:00:00.0000000Z".len();
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        // A longer search would make long texts slow.
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

/// An ETag, in quotes as a header or as JSON has them: what stands before the
/// part that is different each time, what that is, and what follows.
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

/// A body in the encoding that Go's SDK sends.
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
    /// Starts the service's watch over its database, for a test with a short
    /// `database.answer_timeout_ms`. On a busy machine an answer can take longer than
    /// that, and a test that sets up its data would be refused.
    pub(crate) fn watch_database(&self) {
        let pools = self.pools.clone().expect("the test leaves a running stack out");
        actix_web::rt::spawn(async move { pools.monitor().await });
    }

    /// The value of a line of `/metrics`, 0 while the line is missing.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// The number of requests that the service has received and not answered yet,
    /// steps of batches included.
    pub(crate) async fn in_flight(&self) -> usize {
        // Without the request for the metrics.
        self.metric("devicegraph_http_requests_in_flight").await as usize - 1
    }
}

/// The number of sessions with an application name like `name` that wait for a lock.
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
