//! The database cannot be reached, is slow, or is locked by another session.

use std::{cell::Cell, fs, time::Duration};

use devicegraph::config::Settings;
use futures_util::future::{join, join_all};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::{
    harness::{Answer, App, CONFIGURATIONS, database, end_sessions, group, is_remote, until, waiting_for_locks},
    network::{Line, Network},
    service::{Folder, Service, devicegraph},
};

/// Sets timeouts that are longer than any test, so that only the behaviour under test ends a
/// request.
fn without_limits(settings: &mut Settings) {
    const LONG_MS: u32 = 600_000;
    settings.database.answer_timeout_ms = 500;
    settings.database.acquire_timeout_ms = LONG_MS.into();
    settings.database.lock_timeout_ms = LONG_MS;
    settings.database.statement_timeout_ms = LONG_MS;
}

/// Starts the application behind a network. Returns both, and a pool that reaches the database
/// directly.
async fn app_behind_a_network() -> (App, Network, PgPool) {
    let options = database(true).await;
    let network = Network::before(&options);
    let app = App::start_on(network.options(&options), without_limits).await;
    (app, network, PgPool::connect_lazy_with(options))
}

/// Returns a request of each kind on a configuration.
fn requests(configuration: &str) -> Vec<(Method, String, Option<Value>)> {
    let new = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a"});
    vec![
        (Method::GET, CONFIGURATIONS.to_owned(), None),
        (Method::GET, configuration.to_owned(), None),
        (Method::POST, CONFIGURATIONS.to_owned(), Some(new)),
        (Method::PATCH, configuration.to_owned(), Some(json!({"displayName": uuid::Uuid::new_v4()}))),
        (Method::POST, format!("{configuration}/assignments"), Some(group(&uuid::Uuid::new_v4().to_string()))),
        (Method::POST, format!("{configuration}/assign"), Some(json!({"assignments": []}))),
        (Method::GET, "/health/ready".to_owned(), None),
    ]
}

async fn send(app: &App, (method, path, body): &(Method, String, Option<Value>)) -> Answer {
    match body {
        Some(body) => app.send_json(method.clone(), path, body).await,
        None => app.send(method.clone(), path).await,
    }
}

/// Asserts that an answer is 503 with Retry-After. If `may_be_unknown` is set, the outcome of a
/// write may also be unknown.
#[track_caller]
fn assert_refused(answer: &Answer, method: &Method, may_be_unknown: bool) {
    if method != Method::GET && may_be_unknown && answer.status == StatusCode::INTERNAL_SERVER_ERROR {
        assert!(answer.refusal().starts_with("500 OutcomeUnknown: "), "{}", answer.text);
    } else {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{method}: {}", answer.text);
        assert_eq!(answer.header("retry-after"), "1");
    }
}

/// Sends a request of each kind, all of which must be refused. Returns their number.
async fn assert_all_refused(app: &App, configuration: &str, may_be_unknown: bool) -> usize {
    let all = requests(configuration);
    let answers = join_all(all.iter().map(|request| send(app, request))).await;
    for ((method, ..), answer) in all.iter().zip(&answers) {
        assert_refused(answer, method, may_be_unknown);
    }
    answers.len()
}

/// Waits until all of these requests succeed in one round. A request may fail only while the
/// service takes the database to be down, which a busy machine can cause, too.
async fn assert_succeed(app: &App, requests: &[(Method, String, Option<Value>)]) {
    let outages = async || app.metric("devicegraph_database_outages_total").await;
    let succeed = async || {
        let is_on = app.metric("devicegraph_database_up").await == 0.0;
        let before = outages().await;
        let answers = join_all(requests.iter().map(|request| send(app, request))).await;
        let failed = answers.iter().find(|answer| !answer.status.is_success());
        assert!(failed.is_none() || is_on || outages().await > before, "{failed:?}");
        failed.is_none()
    };
    until("every request succeeds", succeed).await;
}

async fn assert_recovers(app: &App, configuration: &str) {
    let all: Vec<_> = (0..8).flat_map(|_| requests(configuration)).collect();
    assert_succeed(app, &all).await;
}

/// Asserts that the service answers every request while the network stays broken, and that requests
/// succeed after it.
async fn assert_is_a_pause(line: Line) {
    if is_remote() {
        return;
    }
    let (app, network, _) = app_behind_a_network().await;
    let configuration = app.configuration().await;
    let warm: Vec<_> = (0..4).flat_map(|_| requests(&configuration)).collect();
    join_all(warm.iter().map(|request| send(&app, request))).await;
    app.watch_database();
    network.becomes(line);
    // The first requests meet the outage before the service knows of it.
    assert_all_refused(&app, &configuration, true).await;
    until("the service knows of the outage", async || app.metric("devicegraph_database_up").await == 0.0).await;
    // From then on the service has no connection and refuses requests at once, without a timeout.
    let are_refused_at_once = async || {
        let no_connection = r#"devicegraph_database_errors_total{sqlstate="none: no connection"}"#;
        let before = app.metric(no_connection).await;
        let refused = assert_all_refused(&app, &configuration, false).await;
        app.metric(no_connection).await == before + refused as f64
    };
    until("requests are refused at once", are_refused_at_once).await;
    assert_eq!(app.get("/health/live").await.status, StatusCode::OK);
    network.becomes(Line::Up);
    assert_recovers(&app, &configuration).await;
}

#[actix_web::test]
async fn requests_are_refused_while_the_database_is_unreachable_and_succeed_after_it() {
    assert_is_a_pause(Line::Reset).await;
}

#[actix_web::test]
async fn requests_are_refused_while_the_network_drops_data_and_succeed_after_it() {
    assert_is_a_pause(Line::Silent).await;
}

#[actix_web::test]
async fn a_write_whose_network_drops_data_during_its_commit_has_an_unknown_outcome() {
    if is_remote() {
        return;
    }
    let (app, network, direct) = app_behind_a_network().await;
    let (assigned, renamed) = (app.configuration().await, app.configuration().await);
    let path = format!("{assigned}/assignments");
    assert_eq!(app.post(&path, &group("before")).await.status, StatusCode::CREATED);
    let wait = "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
                    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER wait_for_test AFTER INSERT ON device_configuration_assignments
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_test();
                CREATE CONSTRAINT TRIGGER wait_for_test AFTER UPDATE ON device_configurations
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_test()";
    direct.execute(wait).await.expect("triggers");
    let mut commits = direct.begin().await.expect("a session");
    commits.execute("SELECT pg_advisory_xact_lock(1)").await.expect("the lock");
    let (created, patched) = (group("a"), json!({"displayName": "b"}));
    let writes = join(app.post(&path, &created), app.patch(&renamed, &patched));
    let cut = async {
        until("both commit", async || waiting_for_locks(&direct, "devicegraph %").await == 2).await;
        app.watch_database();
        network.becomes(Line::Silent);
    };
    // The service answers both requests while no data passes the network and both commits wait.
    let ((created, patched), ()) = join(writes, cut).await;
    for (answer, resource) in [(created, "[guid]/assignments/[guid]"), (patched, "[guid]")] {
        let expected = format!(
            "500 OutcomeUnknown: The connection to the database was lost while this change was being written. Read deviceManagement/deviceConfigurations/{resource} to find out whether the change was written."
        );
        assert_eq!(answer.refusal(), expected);
    }
    commits.rollback().await.expect("the end of it");
    network.becomes(Line::Up);
    assert_recovers(&app, &assigned).await;
}

#[actix_web::test]
async fn a_truncated_answer_of_the_database_is_an_error_of_one_request() {
    if is_remote() {
        return;
    }
    let (app, network, _) = app_behind_a_network().await;
    let configuration = app.configuration().await;
    app.watch_database();
    for bytes in [0, 1, 7, 20] {
        network.becomes(Line::Truncated(bytes));
        assert_all_refused(&app, &configuration, true).await;
        network.becomes(Line::Up);
        assert_recovers(&app, &configuration).await;
    }
}

#[actix_web::test]
async fn a_slow_network_is_no_outage() {
    if is_remote() {
        return;
    }
    let (app, network, _) = app_behind_a_network().await;
    let configuration = app.configuration().await;
    app.watch_database();
    network.becomes(Line::Slow(Duration::from_millis(15)));
    assert_succeed(&app, &requests(&configuration)).await;
}

#[actix_web::test]
async fn a_connection_that_the_server_ends_is_replaced_without_a_failed_request() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    for _ in 0..3 {
        let all: Vec<_> = (0..4).flat_map(|_| requests(&configuration)).collect();
        for answer in join_all(all.iter().map(|request| send(&app, request))).await {
            assert!(answer.status.is_success(), "{}", answer.text);
        }
        assert!(end_sessions(app.pool(), "devicegraph %").await > 0);
    }
    app.watch_database();
    let outages = async || app.metric("devicegraph_database_outages_total").await;
    let watches = async || {
        let watches = "SELECT EXISTS (SELECT FROM pg_stat_activity
                       WHERE application_name = 'devicegraph watch' AND datname = current_database())";
        sqlx::query_scalar::<_, bool>(watches).fetch_one(app.pool()).await.expect("an answer")
    };
    let is_no_outage = async || {
        until("the service watches its database", watches).await;
        let before = outages().await;
        end_sessions(app.pool(), "devicegraph watch").await;
        until("the service watches its database again", watches).await;
        outages().await == before
    };
    until("the end of this session is no outage", is_no_outage).await;
}

#[actix_web::test]
async fn memory_stays_flat_while_requests_are_refused() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let (network, folder) = (Network::before(&options), Folder::new());
    let url = network.url(&options);
    let service = Service::start(
        devicegraph(&folder.0).env("DATABASE_URL", url).env("DEVICEGRAPH__LOG__FILTER", "error,devicegraph=info"),
    );
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", service.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    };
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let path = format!("http://{}{CONFIGURATIONS}", service.address);
    let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a".repeat(20_000)})
        .to_string();
    let send = async || {
        let request = client.post(&path).header("content-type", "application/json").body(body.clone());
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        answer.bytes().await.expect("its body");
        status
    };
    let load = async |requests: usize| {
        let left = Cell::new(requests);
        let clients = (0..64).map(async |_| {
            let mut statuses = Vec::new();
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                statuses.push(send().await);
            }
            statuses
        });
        join_all(clients).await.concat()
    };
    load(200).await;
    network.becomes(Line::Silent);
    load(300).await;
    let before = resident();
    let refused = load(1_000).await;
    let after = resident();
    assert!(refused.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE), "{refused:?}");
    // The bodies of the refused requests together are more than twice as large.
    assert!(after < before + 8 * 1024, "{before} kB became {after} kB over {} requests", refused.len());
}

/// Returns the number of statements of the service that run or wait.
async fn active(pool: &PgPool) -> i64 {
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname = current_database()
                  AND application_name LIKE 'devicegraph %' AND pid <> pg_backend_pid()";
    sqlx::query_scalar(AssertSqlSafe(active)).fetch_one(pool).await.expect("a number")
}

#[actix_web::test]
async fn a_client_that_goes_away_frees_what_it_held() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, without_limits).await;
    let configuration = app.configuration().await;
    let mut holder = app.pool().begin().await.expect("a session");
    holder.execute("LOCK TABLE device_configurations IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
    let step = json!({"id": "1", "method": "GET", "url": configuration.trim_start_matches("/v1.0")});
    let batch = json!({ "requests": [step] });
    let leaving = join_all((0..40).map(async |number| match number % 2 {
        0 => app.get(&configuration).await,
        _ => app.post("/v1.0/$batch", &batch).await,
    }));
    let all_wait = async || {
        // 40 requests and the steps of 20 batches.
        app.in_flight().await == 60 && active(app.pool()).await >= 16
    };
    tokio::select! {
        _ = leaving => panic!("the table is locked"),
        () = until("all requests wait", all_wait) => {}
    }
    // The clients are gone, and the table is still locked.
    let is_free = async || app.in_flight().await == 0 && active(app.pool()).await == 0;
    until("nothing waits any more", is_free).await;
    holder.rollback().await.expect("the end of it");
    assert_eq!(app.get(&configuration).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn slow_queries_and_waiting_writes_leave_room_for_the_others() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, without_limits).await;
    let (configuration, locked) = (app.configuration().await, app.configuration().await);
    let slow = "CREATE OR REPLACE FUNCTION graph_tolower(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT
                AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN lower(value); END $$";
    app.pool().execute(slow).await.expect("a function that waits");
    let mut holder = app.pool().begin().await.expect("a session");
    let lock = format!(
        "SELECT pg_advisory_xact_lock(1) FROM device_configurations WHERE id = '{}' FOR UPDATE",
        locked.rsplit('/').next().expect("an id")
    );
    holder.execute(AssertSqlSafe(lock)).await.expect("the locks");
    let body = group("a");
    let query = format!("{CONFIGURATIONS}?$filter=tolower(displayName) eq 'a test'");
    let waiting = format!("{locked}/assignments");
    let queries = join_all((0..30).map(|_| app.get(&query)));
    let writes = join_all((0..30).map(|_| app.post(&waiting, &body)));
    let reads = async {
        // Each of the two workers has 8 connections. Queries may use 3 of them, and writes may use
        // 4.
        let waiting = async || waiting_for_locks(app.pool(), "devicegraph %").await;
        let all_wait = async || waiting().await == 14 && app.in_flight().await == 60;
        until("queries and writes wait on all connections that they may have", all_wait).await;
        for _ in 0..20 {
            assert_eq!(app.get(&configuration).await.status, StatusCode::OK);
            assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);
        }
        assert_eq!(waiting().await, 14);
        holder.rollback().await.expect("the end of it");
    };
    let ((), queries, writes) = tokio::join!(reads, queries, writes);
    assert!(queries.iter().all(|answer| answer.status == StatusCode::OK), "the queries succeed");
    let created = writes.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    let taken = writes.iter().filter(|answer| answer.status == StatusCode::CONFLICT).count();
    assert_eq!((created, taken), (1, 29));
}

#[actix_web::test]
async fn a_request_that_gives_up_leaves_no_transaction_open() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let configuration = App::start_on(options.clone(), |_| ()).await.configuration().await;
    let network = Network::before(&options);
    let app = App::start_on(network.options(&options), |settings| settings.database.acquire_timeout_ms = 800).await;
    let direct = PgPool::connect_lazy_with(options);
    let sessions = async |condition: &str| {
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'devicegraph ________-%' AND {condition}"
        );
        sqlx::query_scalar::<_, i64>(AssertSqlSafe(count)).fetch_one(&direct).await.expect("a number")
    };
    end_sessions(&direct, "devicegraph %").await;
    // A request gets a connection after 480 ms. The begin of its transaction takes as long, and
    // meanwhile the request gives up.
    let give_up = async || {
        network.becomes(Line::Slow(Duration::from_millis(240)));
        let body = json!({"displayName": "b"});
        let answers = join_all((0..16).map(|_| app.patch(&configuration, &body))).await;
        network.becomes(Line::Up);
        let all_gave_up = answers.iter().all(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
        all_gave_up && sessions("true").await > 0
    };
    until("the database has begun a transaction for a request", give_up).await;
    until("no transaction is open", async || sessions("state <> 'idle'").await == 0).await;
    // An acknowledged create is committed, so a session that does not use the service sees it.
    for _ in 0..40 {
        let mut id = String::new();
        let is_created = async || {
            let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a"});
            let created = app.post(CONFIGURATIONS, &body).await;
            if created.status == StatusCode::CREATED {
                id = created.id();
            }
            created.status == StatusCode::CREATED
        };
        until("a create is acknowledged", is_created).await;
        let there = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM device_configurations WHERE id = $1::uuid");
        assert_eq!(there.bind(id).fetch_one(&direct).await.expect("a number"), 1);
    }
}
