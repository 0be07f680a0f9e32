//! Measures what requests cost the database, for the table of `work.rs`.

use std::{fmt::Write, ops::Range};

use actix_http::Request;
use actix_web::{
    Error,
    dev::{Service, ServiceResponse},
    test::{TestRequest, call_and_read_body},
};
use devicegraph::{
    config::{self, AuthMode, Settings},
    database::{self, embedded, pool::Pools},
    server::app,
};
use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::task::coop::unconstrained;
use uuid::Uuid;

use crate::{
    harness::{CONFIGURATIONS, settings, until},
    service::Folder,
    wire::{Counts, Wire},
};

/// The number of requests that are sent at the same time.
const TOGETHER: usize = 1000;

/// Starts a PostgreSQL server that records commit times. No other test shares it, since
/// transaction ids are counted for the whole server.
pub(crate) async fn server(folder: &Folder) -> embedded::Server {
    let server = embedded::Server::start(&folder.data_dir()).await.expect("PostgreSQL is installed");
    let mut connection = server.options().connect().await.expect("the server answers");
    for setting in ["fsync = off", "autovacuum = off", "track_commit_timestamp = on"] {
        let set = format!("ALTER SYSTEM SET {setting}");
        connection.execute(AssertSqlSafe(set)).await.expect("the owner may change settings");
    }
    connection.close().await.expect("the server answers");
    server.stop().await;
    let server = embedded::Server::start(&folder.data_dir()).await.expect("the server starts again");
    let pool = PgPool::connect_with(server.options()).await.expect("the server answers");
    database::migrate(&pool).await.expect("the migrations apply");
    pool.close().await;
    server
}

/// Returns settings with one connection, so that each statement is prepared once, and with
/// time limits that a slow machine does not reach.
pub(crate) fn patient_settings() -> Settings {
    let mut settings = settings();
    settings.auth.mode = Some(AuthMode::Disabled);
    settings.database.max_connections = 1;
    settings.database.acquire_timeout_ms = 60_000;
    settings.database.lock_timeout_ms = 60_000;
    settings.database.statement_timeout_ms = 0;
    settings
}

/// A request and the status of its answer.
pub(crate) struct Sent {
    method: Method,
    path: String,
    /// Null for a request without a body.
    body: Value,
    header: Option<(&'static str, &'static str)>,
    expected: StatusCode,
}

impl Sent {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Value::Null, header: None, expected: StatusCode::OK }
    }

    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, body, expected: StatusCode::CREATED, ..Self::get(path) }
    }

    pub(crate) fn patch(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::PATCH, body, ..Self::get(path) }
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, expected: StatusCode::NO_CONTENT, ..Self::get(path) }
    }

    pub(crate) fn with(self, name: &'static str, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    pub(crate) fn is(self, expected: StatusCode) -> Self {
        Self { expected, ..self }
    }

    #[track_caller]
    fn check(&self, status: u16, text: &str) {
        assert_eq!(status, self.expected.as_u16(), "{} {}: {text}", self.method, self.path);
    }
}

/// The work of the database until a moment.
struct Spent {
    counts: Counts,
    /// The next transaction id.
    transaction: i64,
}

/// The service, the proxy that counts, and the table of results.
pub(crate) struct Meter {
    wire: Wire,
    /// Options that reach the database through the proxy that counts.
    pub(crate) options: PgConnectOptions,
    /// A session past that proxy.
    direct: PgConnection,
    origin: String,
    client: Client,
    pub(crate) table: String,
}

impl Meter {
    /// Starts the production application with one worker. The outage monitor does not run,
    /// since it can mistake a slow machine for an outage.
    pub(crate) async fn new(database: &PgConnectOptions) -> Self {
        let wire = Wire::before(database);
        let options = wire.options(database).application_name("devicegraph");
        let settings = patient_settings();
        let service = app::Service::new(&settings).expect("the settings are right");
        let listener = app::listen(&config::Server { port: 0, ..settings.server.clone() }).expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let pools = Pools::new(options.clone(), &settings.database, 1);
        actix_web::rt::spawn(service.server(listener, 1, pools).expect("a server"));
        let direct = database.connect().await.expect("the server answers");
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { wire, options, direct, origin, client, table: String::new() }
    }

    /// Inserts configurations and returns their paths.
    pub(crate) async fn configurations(&mut self, rows: usize) -> Vec<String> {
        let insert = "INSERT INTO device_configurations (id, odata_type, display_name)
                      SELECT gen_random_uuid(), 'iosCustomConfiguration', 'a' FROM generate_series(1, $1::bigint)
                      RETURNING id";
        let ids = sqlx::query_scalar::<_, Uuid>(insert).bind(rows as i64).fetch_all(&mut self.direct).await;
        ids.expect("configurations").iter().map(|id| format!("{CONFIGURATIONS}/{id}")).collect()
    }

    /// Inserts a configuration with assignments and returns its path and theirs.
    pub(crate) async fn configuration(&mut self, rows: usize) -> (String, Vec<String>) {
        let configuration = self.configurations(1).await.remove(0);
        let insert = "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
                      SELECT gen_random_uuid(), $1::uuid, 'groupAssignmentTarget', n::text
                      FROM generate_series(1, $2::bigint) AS n
                      RETURNING id";
        let insert = sqlx::query_scalar::<_, Uuid>(insert).bind(configuration.rsplit('/').next()).bind(rows as i64);
        let ids = insert.fetch_all(&mut self.direct).await.expect("assignments");
        let paths = ids.iter().map(|id| format!("{configuration}/assignments/{id}")).collect();
        (configuration, paths)
    }

    /// Adds the heading of a part of the table.
    pub(crate) fn part(&mut self, what: &str) {
        self.line(what, ["statements", "round trips", "commits"].map(str::to_owned));
    }

    fn line(&mut self, what: &str, [statements, round_trips, commits]: [String; 3]) {
        writeln!(self.table, "{what:<52}{statements:>12}{round_trips:>13}{commits:>9}").expect("memory");
    }

    /// Adds a row with the cost of one request. The requests are sent one after the other.
    pub(crate) async fn alone(
        &mut self,
        what: &str,
        times: usize,
        requests: impl AsyncFn(&mut Self, Range<usize>) -> Vec<Sent>,
    ) {
        let cost = self.cost(what, async |meter| {
            let requests = requests(meter, 0..times + 1).await;
            // The first request prepares the statements and is not counted.
            meter.send(&requests[0]).await;
            meter.settle().await;
            let before = meter.spent().await;
            for sent in &requests[1..] {
                meter.send(sent).await;
            }
            meter.settle().await;
            before
        });
        let each = cost.await.map(|cost| match cost % times as u64 {
            0 => (cost / times as u64).to_string(),
            _ => format!("{:.2}", cost as f64 / times as f64),
        });
        self.line(what, each);
    }

    /// Adds a row with the cost of all requests, which come together.
    pub(crate) async fn together(
        &mut self,
        what: &str,
        application: &impl Service<Request, Response = ServiceResponse, Error = Error>,
        requests: impl AsyncFn(&mut Self, Range<usize>) -> Vec<Sent>,
    ) {
        let settle = async || {
            until("the connections are idle", async || {
                let request = TestRequest::get().uri("/metrics").to_request();
                is_idle(&String::from_utf8_lossy(&call_and_read_body(application, request).await))
            })
            .await;
        };
        let cost = self.cost(what, async |meter| {
            let requests = requests(meter, 0..TOGETHER + 1).await;
            call(application, &requests[0]).await;
            settle().await;
            let before = meter.spent().await;
            // The first poll brings every request into the queue of its coalescer. The
            // coalescer's task runs on the same thread, so it starts after all of them.
            unconstrained(join_all(requests[1..].iter().map(|sent| call(application, sent)))).await;
            settle().await;
            before
        });
        let all = cost.await.map(|cost| cost.to_string());
        self.line(what, all);
    }

    async fn send(&self, sent: &Sent) {
        let mut request = self.client.request(sent.method.clone(), format!("{}{}", self.origin, sent.path));
        if !sent.body.is_null() {
            request = request.header("content-type", "application/json").body(sent.body.to_string());
        }
        if let Some((name, value)) = sent.header {
            request = request.header(name, value);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        sent.check(status, &answer.text().await.expect("a whole body"));
    }

    /// Waits until every connection is back in its pool. The service returns a connection
    /// after the answer, and that takes one more round trip.
    async fn settle(&self) {
        until("the connections are idle", async || {
            let metrics = self.client.get(format!("{}/metrics", self.origin)).send().await.expect("an answer");
            is_idle(&metrics.text().await.expect("a whole body"))
        })
        .await;
    }

    /// Runs `work` and returns the statements, round trips and commits since the moment that
    /// `work` returned. The service replaces a session that does not answer for half a
    /// second and prepares its statements again. Then the work is repeated.
    async fn cost(&mut self, what: &str, work: impl AsyncFn(&mut Self) -> Spent) -> [u64; 3] {
        for _ in 0..5 {
            let before = work(self).await;
            let after = self.spent().await;
            if before.counts.sessions == after.counts.sessions {
                let statements = after.counts.statements - before.counts.statements;
                let round_trips = after.counts.round_trips - before.counts.round_trips;
                return [statements, round_trips, self.commits(before.transaction..after.transaction).await];
            }
        }
        panic!("{what}: the service opened a session each time");
    }

    async fn spent(&mut self) -> Spent {
        let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        let transaction = sqlx::query_scalar(next).fetch_one(&mut self.direct).await.expect("a number");
        Spent { counts: self.wire.counts(), transaction }
    }

    /// Returns how many of these transactions were committed. A savepoint has its own id and
    /// the commit time of its transaction.
    async fn commits(&mut self, ids: Range<i64>) -> u64 {
        let commits = "SELECT count(DISTINCT pg_xact_commit_timestamp(id::text::xid))
                       FROM generate_series($1::bigint, $2::bigint - 1) AS id";
        let commits = sqlx::query_scalar::<_, i64>(commits).bind(ids.start).bind(ids.end);
        commits.fetch_one(&mut self.direct).await.expect("a number").try_into().expect("a count")
    }
}

fn is_idle(metrics: &str) -> bool {
    metrics.contains("devicegraph_database_connections{state=\"used\"} 0\n")
}

async fn call(application: &impl Service<Request, Response = ServiceResponse, Error = Error>, sent: &Sent) {
    let mut request = TestRequest::with_uri(&sent.path).method(sent.method.as_str().parse().expect("a method"));
    if !sent.body.is_null() {
        request = request.set_json(&sent.body);
    }
    let answer = application.call(request.to_request()).await.expect("an answer");
    sent.check(answer.status().as_u16(), "");
}
