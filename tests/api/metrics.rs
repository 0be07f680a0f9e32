//! What an operator sees of a service: numbers, the log, and what PostgreSQL shows.

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::{
    harness::{App, CONFIGURATIONS, database, is_remote, url},
    service::{Folder, Service, devicegraph},
};

/// The value of a line of the metrics, 0 where it is not there yet.
async fn value(app: &App, line: &str) -> f64 {
    let text = app.get("/metrics").await.text;
    let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

#[actix_web::test]
async fn requests_are_counted_by_route_and_status() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let counted = [
        (
            r#"devicegraph_http_requests_total{method="POST",version="v1.0",route="/deviceManagement/deviceConfigurations",status="201"}"#,
            1.0,
        ),
        (
            r#"devicegraph_http_requests_total{method="GET",version="beta",route="/deviceManagement/deviceConfigurations/{configuration}",status="200"}"#,
            2.0,
        ),
        (
            r#"devicegraph_http_requests_total{method="GET",version="v1.0",route="/deviceManagement/deviceConfigurations/{configuration}",status="404"}"#,
            1.0,
        ),
        (r#"devicegraph_http_requests_total{method="none",version="none",route="none",status="404"}"#, 1.0),
        (r#"devicegraph_http_requests_total{method="GET",version="none",route="/health/live",status="200"}"#, 1.0),
        (
            r#"devicegraph_http_request_duration_seconds_count{method="GET",version="beta",route="/deviceManagement/deviceConfigurations/{configuration}"}"#,
            2.0,
        ),
        (r#"devicegraph_database_acquire_seconds_count{work="write"}"#, 1.0),
        (r#"devicegraph_database_up"#, 1.0),
        (r#"devicegraph_database_connections_most"#, 16.0),
        (r#"devicegraph_http_requests_in_flight"#, 1.0),
    ];
    let beta = configuration.replace("/v1.0", "/beta");
    app.get(&beta).await;
    let step = json!({"id": "1", "method": "GET", "url": configuration.trim_start_matches("/v1.0")});
    app.post("/beta/$batch", &json!({"requests": [step]})).await;
    for path in [&format!("{CONFIGURATIONS}/x"), "/nothing", "/health/live"] {
        app.get(path).await;
    }
    for (line, expected) in counted {
        assert_eq!(value(&app, line).await, expected, "{line} in\n{}", app.get("/metrics").await.text);
    }
    for process in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
        assert!(value(&app, process).await > 0.0, "{process}");
    }
    let text = app.get("/metrics").await.text;
    assert!(text.ends_with("# EOF\n"));
    let id = configuration.rsplit('/').next().expect("an id");
    assert!(!text.contains(id) && !text.contains("/nothing"), "nothing that a client wrote");
}

#[actix_web::test]
async fn what_the_database_did_is_counted() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.database.statement_timeout_ms = 200).await;
    let configuration = app.configuration().await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name LIKE 'devicegraph %' AND datname = current_database() AND pid <> pg_backend_pid()";
    app.pool().execute(end).await.expect("their end");
    for _ in 0..8 {
        assert_eq!(app.get(&format!("{configuration}?$expand=assignments")).await.status, StatusCode::OK);
    }
    assert!(value(&app, r#"devicegraph_database_retries_total"#).await >= 1.0);
    let slow = "CREATE OR REPLACE FUNCTION graph_tolower(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
                AS $$ BEGIN PERFORM pg_sleep(1); RETURN lower(value); END $$";
    app.pool().execute(slow).await.expect("a slow function");
    let slow = app.get(&format!("{CONFIGURATIONS}?$filter=tolower(displayName) eq 'a'")).await;
    assert_eq!(slow.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(value(&app, r#"devicegraph_database_errors_total{sqlstate="57014"}"#).await, 1.0);
}

#[actix_web::test]
async fn a_slow_statement_is_in_the_log_with_its_request_and_without_its_values() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let folder = Folder::new();
    let service = Service::start(
        devicegraph(&folder.0)
            .env("DATABASE_URL", url(&options, "devicegraph"))
            .env("DEVICEGRAPH__LOG__FORMAT", "json")
            .env("DEVICEGRAPH__DATABASE__SLOW_STATEMENT_MS", "100"),
    );
    service.create("a name");
    let pool = sqlx::PgPool::connect_with(options).await.expect("the database");
    let slow = "CREATE OR REPLACE FUNCTION graph_tolower(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
                AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN lower(value); END $$";
    pool.execute(slow).await.expect("a slow function");
    let path = format!("{CONFIGURATIONS}?$filter=tolower(displayName)%20eq%20'hush'");
    assert_eq!(service.request("GET", &path, "").0, 200);
    let log = service.log_until_stopped(Signal::SIGTERM);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let slow =
        lines.iter().find(|line| line["message"].as_str().is_some_and(|message| message.contains("slow statement")));
    let slow = slow.unwrap_or_else(|| panic!("a slow statement in {log}"));
    let request = lines.iter().find(|line| line["method"] == "GET").expect("the request");
    assert_eq!(slow["span"]["request_id"], request["request_id"], "{slow}");
    assert!(!slow.to_string().contains("hush"), "{slow}");
}

#[actix_web::test]
async fn a_service_that_drains_serves_and_is_not_ready() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let mut command = devicegraph(&folder.0);
    command.env("DATABASE_URL", url(&options, "devicegraph")).env("DEVICEGRAPH__SERVER__DRAIN_SECONDS", "1");
    let mut service = Service::start(&mut command);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = |path: &str| client.request(Method::GET, format!("http://{}{path}", service.address)).send();
    let before = get("/health/ready").await.expect("an answer");
    assert_eq!((before.status(), before.headers().get("connection")), (StatusCode::OK, None));
    service.signal(Signal::SIGTERM);
    service.wait_for("draining");
    assert_eq!(get("/health/ready").await.expect("an answer").status(), StatusCode::SERVICE_UNAVAILABLE);
    let served = get(CONFIGURATIONS).await.expect("an answer");
    assert_eq!(served.status(), StatusCode::OK);
    assert_eq!(served.headers()["connection"], "close");
    assert!(service.child.wait().expect("it ends").success());
}
