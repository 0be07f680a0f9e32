//! The database out of reach, slow, or busy with somebody else.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tokio::time::sleep;

use crate::{
    harness::{Answer, App, CONFIGURATIONS, database, group, is_remote},
    network::{Line, Network},
    service::{Folder, Service, devicegraph},
};

/// What a client is answered in, and what everything works again in.
const ANSWER: Duration = Duration::from_secs(1);
const RECOVERY: Duration = Duration::from_secs(2);

async fn app_behind_a_network() -> (App, Network) {
    let options = database(true).await;
    let network = Network::before(&options);
    (App::start_on(network.options(&options), |_| ()).await, network)
}

/// A request of each kind on a configuration.
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

async fn send(app: &App, (method, path, body): &(Method, String, Option<Value>)) -> (Answer, Duration) {
    let started = Instant::now();
    let answer = match body {
        Some(body) => app.send_json(method.clone(), path, body).await,
        None => app.send(method.clone(), path).await,
    };
    (answer, started.elapsed())
}

/// Holds an answer to what is promised of an outage.
#[track_caller]
fn assert_refused((answer, took): &(Answer, Duration), method: &Method, may_be_unknown: bool) {
    assert!(*took < ANSWER, "{method} took {took:?}: {}", answer.text);
    if method != Method::GET && may_be_unknown && answer.status == StatusCode::INTERNAL_SERVER_ERROR {
        assert!(answer.refusal().starts_with("500 OutcomeUnknown: "), "{}", answer.text);
    } else {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{method}: {}", answer.text);
        assert_eq!(answer.header("retry-after"), "1");
    }
}

async fn assert_recovers(app: &App, configuration: &str) {
    let back = Instant::now();
    loop {
        let answers =
            join_all(requests(configuration).iter().map(|request| async { send(app, request).await.0 })).await;
        if answers.iter().all(|answer| answer.status.is_success()) {
            break;
        }
        assert!(back.elapsed() < RECOVERY, "it has not recovered: {answers:?}");
        sleep(Duration::from_millis(20)).await;
    }
    // From then on nothing is refused.
    let all: Vec<_> = (0..8).flat_map(|_| requests(configuration)).collect();
    for (answer, _) in join_all(all.iter().map(|request| send(app, request))).await {
        assert!(answer.status.is_success(), "{}", answer.text);
    }
}

async fn assert_is_a_pause(line: Line) {
    if is_remote() {
        return;
    }
    let (app, network) = app_behind_a_network().await;
    let configuration = app.configuration().await;
    let warm: Vec<_> = (0..4).flat_map(|_| requests(&configuration)).collect();
    join_all(warm.iter().map(|request| send(&app, request))).await;
    network.becomes(line);
    let cut = Instant::now();
    // Those that meet it first find it out, the others are told.
    for round in 0..4 {
        let all = requests(&configuration);
        let answers = join_all(all.iter().map(|request| send(&app, request))).await;
        for ((method, ..), answer) in all.iter().zip(&answers) {
            assert_refused(answer, method, round == 0);
        }
        let (live, took) = send(&app, &(Method::GET, "/health/live".to_owned(), None)).await;
        assert!(live.status.is_success() && took < ANSWER / 2, "{took:?}: {}", live.text);
        sleep(Duration::from_millis(100)).await;
    }
    assert!(cut.elapsed() < Duration::from_secs(3), "who is told is told at once: {:?}", cut.elapsed());
    network.becomes(Line::Up);
    assert_recovers(&app, &configuration).await;
}

#[actix_web::test]
async fn a_database_that_is_gone_is_a_pause() {
    assert_is_a_pause(Line::Reset).await;
}

#[actix_web::test]
async fn a_network_that_says_nothing_is_a_pause() {
    assert_is_a_pause(Line::Silent).await;
}

#[actix_web::test]
async fn what_is_on_its_way_when_the_network_falls_silent_is_answered() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let network = Network::before(&options);
    let app = App::start_on(network.options(&options), |_| ()).await;
    let direct = PgPool::connect_with(options).await.expect("the database, past the network");
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    assert_eq!(app.post(&path, &group("before")).await.status, StatusCode::CREATED);
    let slow_commit = "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER take_time AFTER INSERT ON device_configuration_assignments
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION take_time()";
    direct.execute(slow_commit).await.expect("a trigger");
    let body = group("a");
    let create = async {
        let answer = app.post(&path, &body).await;
        (answer, Instant::now())
    };
    let cut = async {
        let commits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())";
        while !sqlx::query_scalar::<_, bool>(commits).fetch_one(&direct).await.expect("an answer") {
            sleep(Duration::from_millis(5)).await;
        }
        network.becomes(Line::Silent);
        Instant::now()
    };
    let ((answer, answered), cut) = tokio::join!(create, cut);
    // From the cut on, which the request was under way before; with room for a busy machine.
    assert!(answered - cut < ANSWER * 2, "it took {:?}", answered - cut);
    let refusal = answer.refusal();
    let expected = "500 OutcomeUnknown: The connection to the database was lost while this change was being written. Read deviceManagement/deviceConfigurations/[guid]/assignments/[guid]";
    assert!(refusal.starts_with(expected), "{refusal}");
    network.becomes(Line::Up);
    direct.execute("DROP TRIGGER take_time ON device_configuration_assignments").await.expect("it goes");
    assert_recovers(&app, &configuration).await;
}

#[actix_web::test]
async fn a_truncated_answer_is_an_error_and_no_more() {
    if is_remote() {
        return;
    }
    let (app, network) = app_behind_a_network().await;
    let configuration = app.configuration().await;
    for bytes in [0, 1, 7, 20] {
        network.becomes(Line::Truncated(bytes));
        let all = requests(&configuration);
        for ((method, ..), answer) in all.iter().zip(join_all(all.iter().map(|request| send(&app, request))).await) {
            assert_refused(&answer, method, true);
        }
        network.becomes(Line::Up);
        assert_recovers(&app, &configuration).await;
    }
}

#[actix_web::test]
async fn a_slow_network_is_no_outage() {
    if is_remote() {
        return;
    }
    let (app, network) = app_behind_a_network().await;
    let configuration = app.configuration().await;
    network.becomes(Line::Slow(Duration::from_millis(15)));
    for request in requests(&configuration) {
        let (answer, _) = send(&app, &request).await;
        assert!(answer.status.is_success(), "{}", answer.text);
    }
}

#[actix_web::test]
async fn a_connection_that_somebody_ends_is_replaced_before_anybody_notices() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    for _ in 0..3 {
        let all: Vec<_> = (0..4).flat_map(|_| requests(&configuration)).collect();
        for (answer, _) in join_all(all.iter().map(|request| send(&app, request))).await {
            assert!(answer.status.is_success(), "{}", answer.text);
        }
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE application_name LIKE 'devicegraph%' AND datname = current_database() AND pid <> pg_backend_pid()";
        app.pool().execute(end).await.expect("their end");
    }
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
    let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a".repeat(10_000)})
        .to_string();
    let answered = AtomicUsize::new(0);
    let load = |time: Duration| {
        let (client, path, body, answered) = (&client, &path, &body, &answered);
        let until = Instant::now() + time;
        join_all((0..64).map(move |_| async move {
            while Instant::now() < until {
                let request = client.post(path).header("content-type", "application/json").body(body.clone());
                let answer = request.send().await.expect("an answer");
                answer.bytes().await.expect("its body");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }))
    };
    load(Duration::from_millis(500)).await;
    network.becomes(Line::Silent);
    load(Duration::from_secs(2)).await;
    let (before, at) = (resident(), answered.load(Ordering::Relaxed));
    load(Duration::from_secs(4)).await;
    let (after, served) = (resident(), answered.load(Ordering::Relaxed) - at);
    assert!(served > 200, "{served} requests are no load");
    assert!(after < before + 8 * 1024, "{before} kB became {after} kB over {served} requests");
}

/// Statements of the service that run or wait.
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
    let app = App::start_on(database(true).await, |settings| settings.database.lock_timeout_ms = 60_000).await;
    let configuration = app.configuration().await;
    let mut holder = app.pool().begin().await.expect("a session");
    holder.execute("LOCK TABLE device_configurations IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
    let impatient =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(300)).build().expect("a client");
    let token = crate::tokens::issuer().map(|issuer| issuer.bearer(&issuer.claims())).expect("tokens");
    let step = json!({"id": "1", "method": "GET", "url": configuration.trim_start_matches("/v1.0")});
    let batch = json!({ "requests": [step] }).to_string();
    let gone = (0..40).map(|number| {
        let request = match number % 2 {
            0 => impatient.get(format!("{}{configuration}", app.origin)),
            _ => {
                let request = impatient.post(format!("{}/v1.0/$batch", app.origin)).body(batch.clone());
                request.header("content-type", "application/json")
            }
        };
        let request = request.header("authorization", &token);
        async move { request.send().await.expect_err("nobody answers in time") }
    });
    join_all(gone).await;
    let left = Instant::now();
    while active(app.pool()).await > 0 {
        assert!(left.elapsed() < Duration::from_secs(4), "{} still wait", active(app.pool()).await);
        sleep(Duration::from_millis(50)).await;
    }
    holder.rollback().await.expect("the end of it");
    assert_eq!(app.get(&configuration).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn slow_queries_and_waiting_writes_leave_room_for_the_others() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.database.lock_timeout_ms = 5_000).await;
    let (configuration, locked) = (app.configuration().await, app.configuration().await);
    let slow = "CREATE OR REPLACE FUNCTION graph_tolower(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
                AS $$ BEGIN PERFORM pg_sleep(1); RETURN lower(value); END $$";
    app.pool().execute(slow).await.expect("a slow function");
    let mut holder = app.pool().begin().await.expect("a session");
    let lock = format!(
        "SELECT FROM device_configurations WHERE id = '{}' FOR UPDATE",
        locked.rsplit('/').next().expect("an id")
    );
    holder.execute(AssertSqlSafe(lock)).await.expect("the lock");
    let body = group("a");
    let query = format!("{CONFIGURATIONS}?$filter=tolower(displayName) eq 'a test'");
    let (waiting, assign) = (format!("{locked}/assignments"), format!("{configuration}/assignments"));
    let others = async {
        join_all((0..30).map(|_| app.get(&query))).await;
    };
    let writers = async {
        join_all((0..30).map(|_| app.post(&waiting, &body))).await;
    };
    let reads = async {
        sleep(Duration::from_millis(300)).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            assert_eq!(app.get(&configuration).await.status, StatusCode::OK);
            assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);
            slowest = slowest.max(started.elapsed());
        }
        holder.rollback().await.expect("the end of it");
        slowest
    };
    let (slowest, ..) = tokio::join!(reads, others, writers);
    assert!(slowest < Duration::from_millis(500), "a read by key took {slowest:?}");
    assert_eq!(app.post(&assign, &body).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn a_session_is_named_after_its_request() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    // What is answered together with others has a session of the groups.
    let alone = format!("{configuration}?$expand=assignments");
    let changed = Some(json!({"displayName": "b"}));
    for (method, path, body) in [(Method::GET, alone, None), (Method::PATCH, configuration, changed)] {
        let (answer, _) = send(&app, &(method, path, body)).await;
        let name = format!("devicegraph {}", answer.header("request-id"));
        let named = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1");
        assert_eq!(named.bind(name).fetch_one(app.pool()).await.expect("a number"), 1);
    }
}

#[actix_web::test]
async fn who_gives_up_waiting_leaves_no_transaction_open() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let configuration = App::start_on(options.clone(), |_| ()).await.configuration().await;
    let app = App::start_on(options, |settings| settings.database.acquire_timeout_ms = 15).await;
    for round in 0..6 {
        let body = json!({"displayName": format!("round {round}")});
        join_all((0..150).map(|_| app.patch(&configuration, &body))).await;
    }
    sleep(Duration::from_millis(700)).await;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    assert_eq!(sqlx::query_scalar::<_, i64>(open).fetch_one(app.pool()).await.expect("a number"), 0);
    // What is acknowledged is committed, and seen by whoever comes past the service.
    for _ in 0..40 {
        let created = loop {
            let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a"});
            let created = app.post(CONFIGURATIONS, &body).await;
            if created.status == StatusCode::CREATED {
                break created.id();
            }
        };
        let there = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM device_configurations WHERE id = $1::uuid");
        assert_eq!(there.bind(created).fetch_one(app.pool()).await.expect("a number"), 1);
    }
}
