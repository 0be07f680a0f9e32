//! Slow atomicity groups: they leave connections to other requests, and they end at a timeout or a
//! disconnect.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
};

use actix_web::rt::spawn;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};

use crate::{
    harness::{App, CONFIGURATIONS, database, until},
    tokens,
};

/// A query that counts the statements of the service that wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE 'devicegraph %'";

/// Locks the table of assignments. Reads of this table then wait until the test ends the lock, and
/// changes of configurations do not wait.
async fn lock_assignments(app: &App) -> Transaction<'static, Postgres> {
    let mut lock = app.pool().begin().await.expect("a connection");
    let statement = "LOCK TABLE device_configuration_assignments IN ACCESS EXCLUSIVE MODE";
    sqlx::query(statement).execute(&mut *lock).await.expect("the lock");
    lock
}

async fn waiting(app: &App) -> i64 {
    sqlx::query_scalar(WAITING).fetch_one(app.pool()).await.expect("a number")
}

/// A search that reads the locked table.
const SEARCH: &str = "/deviceManagement/deviceConfigurations?$expand=assignments";

/// Returns an atomicity group of searches of the locked table, with `last` as its last step.
fn slow_group(last: Option<Value>) -> Value {
    let read = |id: usize| json!({"id": format!("{id}"), "method": "GET", "url": SEARCH, "atomicityGroup": "g"});
    let requests: Vec<_> = (0..19).map(read).chain(last).collect();
    json!({ "requests": requests })
}

fn create() -> Value {
    json!({
        "id": "last", "method": "POST", "url": "/deviceManagement/deviceConfigurations", "atomicityGroup": "g",
        "headers": {"content-type": "application/json"},
        "body": {"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a"},
    })
}

#[actix_web::test]
async fn atomicity_groups_leave_connections_to_other_writes() {
    for last in [None, Some(create())] {
        let app = App::start_on(database(true).await, |settings| {
            settings.database.acquire_timeout_ms = 5_000;
            settings.database.group_timeout_ms = 0;
        })
        .await;
        let configuration = app.configuration().await;
        let lock = lock_assignments(&app).await;
        let group = slow_group(last);
        let floods: Vec<_> = (0..10)
            .map(|_| {
                let request = app.request(Method::POST, "/v1.0/$batch").header("content-type", "application/json");
                spawn(request.body(group.to_string()).send())
            })
            .collect();
        until("atomicity groups wait for the table", async || waiting(&app).await > 1).await;
        for number in 0..20 {
            let changed = app.patch(&configuration, &json!({"description": format!("{number}")})).await;
            assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
            app.configuration().await;
        }
        assert!(waiting(&app).await > 1, "the atomicity groups still hold connections");
        lock.rollback().await.expect("the lock ends");
        for flood in join_all(floods).await {
            assert_eq!(flood.expect("a task").expect("an answer").status(), StatusCode::OK);
        }
    }
}

#[actix_web::test]
async fn an_atomicity_group_ends_at_its_timeout_and_writes_nothing() {
    let app = App::start_on(database(true).await, |settings| settings.database.group_timeout_ms = 5_000).await;
    app.configuration().await;
    let lock = lock_assignments(&app).await;
    let mut group = slow_group(None);
    let requests = group["requests"].as_array_mut().expect("requests");
    requests.truncate(1);
    requests.insert(0, create());
    let answers = app.post("/v1.0/$batch", &group).await.json();
    let statuses: Vec<_> = answers["responses"].as_array().expect("answers").iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [424, 400], "{answers}");
    let refusal = answers["responses"][1]["body"]["error"]["message"].as_str().expect("a message");
    assert!(refusal.starts_with("The atomicity group took longer than 5000 ms"), "{refusal}");
    assert_eq!(app.get(&format!("{CONFIGURATIONS}/$count")).await.text, "1");
    until("the statement of the group ends", async || waiting(&app).await == 0).await;
    lock.rollback().await.expect("the lock ends");
}

#[actix_web::test]
async fn an_atomicity_group_ends_when_its_client_disconnects() {
    let app = App::start_on(database(true).await, |settings| settings.database.group_timeout_ms = 0).await;
    app.configuration().await;
    let lock = lock_assignments(&app).await;
    let body = slow_group(Some(create())).to_string();
    let issuer = tokens::issuer().expect("an issuer");
    let mut client = TcpStream::connect(app.origin.trim_start_matches("http://")).expect("a connection");
    let head = format!(
        "POST /v1.0/$batch HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        issuer.bearer(&issuer.claims()),
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).expect("the batch is sent");
    until("the atomicity group waits for the table", async || waiting(&app).await == 1).await;
    client.shutdown(Shutdown::Both).expect("the client disconnects");
    until("the statement of the group ends", async || waiting(&app).await == 0).await;
    lock.rollback().await.expect("the lock ends");
    assert_eq!(app.get(&format!("{CONFIGURATIONS}/$count")).await.text, "1");
}

/// Statements that make each row of configurations take 60 seconds to read, without a lock.
const SLOW_TABLE: [&str; 2] = [
    "ALTER TABLE device_configurations RENAME TO stored_configurations",
    "CREATE VIEW device_configurations AS
         SELECT c.* FROM stored_configurations AS c, LATERAL (SELECT pg_sleep(60) WHERE c.id IS NOT NULL) AS slow",
];

#[actix_web::test]
async fn an_expensive_search_is_refused_unless_searches_compete() {
    let app = App::start_on(database(true).await, |settings| {
        settings.database.statement_timeout_ms = 3_000;
        settings.database.lock_timeout_ms = 2_000;
    })
    .await;
    app.configuration().await;
    for statement in SLOW_TABLE {
        sqlx::query(statement).execute(app.pool()).await.expect(statement);
    }
    let search = format!("{CONFIGURATIONS}?$filter=contains(displayName,'a')");
    let refusal = app.get(&search).await.refusal();
    assert!(refusal.starts_with("400 BadRequest: The query took longer than 3000 ms"), "{refusal}");
    let metrics = app.get("/metrics").await.text;
    assert!(metrics.contains(r#"sqlstate="57014"} 1"#), "{metrics}");
    // The service has six permits for searches, so the other searches wait for a permit.
    let answers = join_all((0..24).map(|_| app.get(&search))).await;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
        assert_eq!(answer.header("retry-after"), "1");
    }
}
