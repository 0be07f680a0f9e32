//! Failures of the database, and the status that a client gets.

use devicegraph::error::Code;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, postgres::PgConnectOptions};

use crate::harness::{App, CONFIGURATIONS, DOCUMENTED_BODY, database, group, is_remote, until, waiting_for_locks};

const FAILED: &str = "The service could not execute this request. The log of the service has the cause under the request-id of this answer.";

#[test]
fn every_error_code_has_its_status() {
    let table: Vec<_> = Code::ALL.iter().map(|code| format!("{} {}", code.wire().0.as_u16(), code.wire().1)).collect();
    assert_eq!(
        table,
        [
            "400 BadRequest",
            "400 ModelValidationFailure",
            "401 InvalidAuthenticationToken",
            "403 Forbidden",
            "404 ResourceNotFound",
            "405 Request_BadRequest",
            "406 NotAcceptable",
            "408 RequestTimeout",
            "409 Conflict",
            "412 PreconditionFailed",
            "424 FailedDependency",
            "413 RequestEntityTooLarge",
            "415 RequestBodyRead",
            "500 InternalServerError",
            "500 OutcomeUnknown",
            "503 ServiceUnavailable",
            "421 MisdirectedRequest",
        ]
    );
}

#[actix_web::test]
async fn health_is_live_and_ready() {
    let app = App::start().await;
    assert_eq!(app.get("/health/live").await.redacted(), r#"200 {"status":"live"}"#);
    assert_eq!(app.get("/health/ready").await.redacted(), r#"200 {"status":"ready"}"#);
}

#[actix_web::test]
async fn the_root_describes_the_service_and_links_to_its_paths() {
    let app = App::start().await;
    let welcome = app.get("/").await.json();
    assert_eq!(welcome["name"], "devicegraph");
    for link in ["deviceConfigurations", "ready"] {
        let path = welcome[link].as_str().expect("a path");
        assert_eq!(app.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[actix_web::test]
async fn in_an_outage_every_request_is_503_before_its_acquire_timeout() {
    if is_remote() {
        return;
    }
    let nobody = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(1).username("nobody");
    // No wait ends by this timeout during the test. The service refuses because it knows of the
    // outage.
    let app = App::start_on(nobody, |settings| {
        settings.database.answer_timeout_ms = 500;
        settings.database.acquire_timeout_ms = 600_000;
    })
    .await;
    app.watch_database();
    let one = format!("{CONFIGURATIONS}/7e159a72-9a72-4e15-929a-157e729a157e");
    for (method, path, body) in [
        (Method::GET, CONFIGURATIONS.to_owned(), ""),
        (Method::GET, "/health/ready".to_owned(), ""),
        (Method::DELETE, one.clone(), ""),
        (Method::POST, format!("{one}/assignments"), DOCUMENTED_BODY),
        (Method::POST, format!("{one}/assign"), r#"{"assignments":[]}"#),
        (Method::PATCH, one, r#"{"displayName":"a"}"#),
    ] {
        let answer = app.send_text(method, &path, body).await;
        assert_eq!(answer.refusal(), format!("503 ServiceUnavailable: {FAILED}"), "{path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(app.get("/health/live").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn a_database_without_the_migrations_is_not_ready() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(false).await, |settings| settings.server.max_body_bytes = 10_000).await;
    for path in ["/health/ready", CONFIGURATIONS] {
        assert_eq!(app.get(path).await.refusal(), format!("503 ServiceUnavailable: {FAILED}"));
    }
    let app = App::start_on(database(true).await, |_| ()).await;
    assert_eq!(app.get("/health/ready").await.status, StatusCode::OK);
    let forget = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    app.pool().execute(forget).await.expect("the last migration goes");
    assert_eq!(app.get("/health/ready").await.refusal(), format!("503 ServiceUnavailable: {FAILED}"));
}

#[actix_web::test]
async fn a_lock_that_is_not_released_is_503_only_for_requests_that_need_it() {
    if is_remote() {
        return;
    }
    // Only the lock timeout can end the wait for a lock.
    let app = App::start_on(database(true).await, |settings| {
        settings.database.lock_timeout_ms = 300;
        settings.database.statement_timeout_ms = 600_000;
    })
    .await;
    let (locked, other) = (app.configuration().await, app.configuration().await);
    let mut forgotten = app.pool().begin().await.expect("a session");
    let lock = format!(
        "SELECT FROM device_configurations WHERE id = '{}' FOR UPDATE",
        locked.rsplit('/').next().expect("an id")
    );
    forgotten.execute(AssertSqlSafe(lock)).await.expect("the lock");
    let create = app.post(&format!("{locked}/assignments"), &group("a")).await;
    assert_eq!(create.refusal(), format!("503 ServiceUnavailable: {FAILED}"));
    assert_eq!(app.metric(r#"devicegraph_database_errors_total{sqlstate="55P03"}"#).await, 1.0);
    assert_eq!(app.post(&format!("{other}/assignments"), &group("a")).await.status, StatusCode::CREATED);
    assert_eq!(app.get(&locked).await.status, StatusCode::OK);
    forgotten.rollback().await.expect("the end of it");
    assert_eq!(app.assignments(&locked).await.len(), 0);
    assert_eq!(app.post(&format!("{locked}/assignments"), &group("a")).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn a_client_that_leaves_ends_the_statement_of_its_transaction() {
    if is_remote() {
        return;
    }
    // No timeout ends the wait for the lock, only the disconnect.
    let app = App::start_on(database(true).await, |settings| {
        settings.database.lock_timeout_ms = 600_000;
        settings.database.statement_timeout_ms = 600_000;
    })
    .await;
    let configuration = app.configuration().await;
    let mut holder = app.pool().begin().await.expect("a session");
    holder.execute("LOCK TABLE device_configurations").await.expect("the lock");
    let waits = async |sessions: i64| waiting_for_locks(app.pool(), "devicegraph %").await == sessions;
    let body = json!({"displayName": "b"});
    tokio::select! {
        _ = app.patch(&configuration, &body) => panic!("the table is locked"),
        () = until("the change waits", async || waits(1).await) => {}
    }
    // The client has disconnected, and the table is still locked.
    until("the statement ends", async || waits(0).await).await;
    holder.rollback().await.expect("the end of it");
    assert_eq!(app.get(&configuration).await.json()["displayName"], "a test");
}

#[actix_web::test]
async fn a_failure_is_no_fault_of_the_skiptoken() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.database.lock_timeout_ms = 300).await;
    app.configuration().await;
    app.configuration().await;
    let first = format!("{CONFIGURATIONS}?$top=1&$filter=tolower(displayName) eq 'a test'");
    let next = app.get(&first).await.json()["@odata.nextLink"].as_str().expect("a second page").to_owned();
    let next = next.strip_prefix(&app.origin).expect("a link to the service");
    let mut forgotten = app.pool().begin().await.expect("a session");
    forgotten.execute("LOCK TABLE device_configurations").await.expect("the lock");
    assert_eq!(app.get(next).await.refusal(), format!("503 ServiceUnavailable: {FAILED}"));
    forgotten.rollback().await.expect("the end of it");
    assert_eq!(app.get(next).await.status, StatusCode::OK);
    // A data error is blamed on the token only if the request has a token.
    let wrong = "CREATE OR REPLACE FUNCTION graph_tolower(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT
                 AS $$ BEGIN RAISE division_by_zero; END $$";
    app.pool().execute(wrong).await.expect("a function that fails");
    assert_eq!(app.get(&first).await.refusal(), format!("500 InternalServerError: {FAILED}"));
    let refusal = app.get(next).await.refusal();
    assert!(refusal.starts_with("400 BadRequest: The value of '$skiptoken' was not returned"), "{refusal}");
}

#[actix_web::test]
async fn a_defect_is_500_and_says_nothing_of_the_database() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    app.pool()
        .execute("ALTER TABLE device_configuration_assignments DROP COLUMN intent CASCADE")
        .await
        .expect("the column goes");
    let answer = app.post(&format!("{configuration}/assignments"), &group("a")).await;
    assert_eq!(answer.refusal(), format!("500 InternalServerError: {FAILED}"));
}

#[actix_web::test]
async fn an_unknown_outcome_is_500_and_names_the_resource_to_read() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let id = app.post(&format!("{configuration}/assignments"), &group("a")).await.id();
    // Ends the session during the commit of every transaction that changes the table.
    for table in ["device_configurations", "device_configuration_assignments"] {
        let fatal = format!(
            "CREATE FUNCTION end_{table}() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER fatal AFTER INSERT OR UPDATE OR DELETE ON {table} DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION end_{table}()"
        );
        app.pool().execute(AssertSqlSafe(fatal)).await.expect("a trigger");
    }
    let new = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a"});
    for (method, path, body) in [
        (Method::POST, CONFIGURATIONS.to_owned(), new),
        (Method::PATCH, configuration.clone(), json!({"displayName": "b"})),
        (Method::POST, format!("{configuration}/assignments"), group("b")),
        (Method::PATCH, format!("{configuration}/assignments/{id}"), group("b")),
        (Method::DELETE, format!("{configuration}/assignments/{id}"), json!({})),
        (Method::POST, format!("{configuration}/assign"), json!({"assignments": [group("b")]})),
        (Method::DELETE, configuration.clone(), json!({})),
    ] {
        let answer = app.send_json(method.clone(), &path, &body).await;
        let refusal = answer.refusal();
        let expected = "500 OutcomeUnknown: The connection to the database was lost while this change was being written. Read deviceManagement/deviceConfigurations/[guid]";
        assert!(refusal.starts_with(expected), "{method} {path}: {refusal}");
        assert!(answer.headers.get("retry-after").is_none());
        // The next request has another connection.
        assert_eq!(app.get(&configuration).await.status, StatusCode::OK);
    }
    assert_eq!(app.assignments(&configuration).await.len(), 1);
}
