//! What an operator sees of a service: the metrics, the log, and the sessions in PostgreSQL.

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::{
    harness::{App, CONFIGURATIONS, database, end_sessions, is_remote},
    service::{Folder, Service},
};

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
        assert_eq!(app.metric(line).await, expected, "{line} in\n{}", app.get("/metrics").await.text);
    }
    for process in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
        assert!(app.metric(process).await > 0.0, "{process}");
    }
    let text = app.get("/metrics").await.text;
    assert!(text.ends_with("# EOF\n"));
    let id = configuration.rsplit('/').next().expect("an id");
    assert!(!text.contains(id) && !text.contains("/nothing"), "the metrics have no text of a client");
}

#[actix_web::test]
async fn the_work_of_the_database_is_counted() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let app = App::start_on(options.clone(), |_| ()).await;
    let configuration = app.configuration().await;
    end_sessions(app.pool(), "devicegraph %").await;
    for _ in 0..8 {
        assert_eq!(app.get(&format!("{configuration}?$expand=assignments")).await.status, StatusCode::OK);
    }
    assert!(app.metric(r#"devicegraph_database_retries_total"#).await >= 1.0);
    let slow = "CREATE OR REPLACE FUNCTION graph_tolower(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
                AS $$ BEGIN PERFORM pg_sleep(600); RETURN lower(value); END $$";
    app.pool().execute(slow).await.expect("a slow function");
    // Only this application has the short limit, so that no other statement can exceed it.
    let app = App::start_on(options, |settings| settings.database.statement_timeout_ms = 200).await;
    let slow = app.get(&format!("{CONFIGURATIONS}?$filter=tolower(displayName) eq 'a'")).await;
    assert_eq!(slow.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.metric(r#"devicegraph_database_errors_total{sqlstate="57014"}"#).await, 1.0);
}

#[actix_web::test]
async fn a_slow_statement_is_in_the_log_with_its_request_and_without_its_values() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let folder = Folder::new();
    let service = Service::start(
        folder
            .command_on(&options)
            .env("DEVICEGRAPH__LOG__FORMAT", "json")
            .env("DEVICEGRAPH__DATABASE__SLOW_STATEMENT_MS", "100"),
    );
    let pool = sqlx::PgPool::connect_with(options).await.expect("the database");
    let slow = "CREATE OR REPLACE FUNCTION graph_tolower(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
                AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN lower(value); END $$";
    pool.execute(slow).await.expect("a slow function");
    let new = "INSERT INTO device_configurations (id, odata_type, display_name)
               VALUES (gen_random_uuid(), 'iosUpdateConfiguration', 'a name')";
    pool.execute(new).await.expect("a configuration");
    let path = format!("{CONFIGURATIONS}?$filter=tolower(displayName)%20eq%20'hush'");
    assert_eq!(service.request("GET", &path, "").0, 200);
    let log = service.log_until_stopped(Signal::SIGTERM);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let request = lines.iter().find(|line| line["method"] == "GET" && line["status"] == 200).expect("the request");
    // On a busy machine there can be other slow statements.
    let is_slow = |line: &&Value| line["message"].as_str().is_some_and(|message| message.contains("slow statement"));
    let slow = lines.iter().filter(is_slow).find(|line| line["span"]["request_id"] == request["request_id"]);
    let slow = slow.unwrap_or_else(|| panic!("a slow statement of the request in {log}"));
    assert!(!slow.to_string().contains("hush"), "{slow}");
}

#[actix_web::test]
async fn a_session_is_named_after_its_request() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    // Combined reads use a session that is not named after a request. A read with `$expand` is not
    // combined.
    let alone = format!("{configuration}?$expand=assignments");
    for is_read in [true, false] {
        let answer = match is_read {
            true => app.get(&alone).await,
            false => app.patch(&configuration, &json!({"displayName": "b"})).await,
        };
        let name = format!("devicegraph {}", answer.header("request-id"));
        let named = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1");
        assert_eq!(named.bind(name).fetch_one(app.pool()).await.expect("a number"), 1);
    }
}

#[actix_web::test]
async fn a_service_that_drains_serves_and_is_not_ready() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let options = database(true).await;
    let start = |seconds: &str| {
        let mut command = folder.command_on(&options);
        command.env("DEVICEGRAPH__SERVER__DRAIN_SECONDS", seconds);
        Service::start(&mut command)
    };
    assert!(start("1").stop(Signal::SIGTERM).success(), "the drain ends");
    let service = start("600");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = |path: &str| client.request(Method::GET, format!("http://{}{path}", service.address)).send();
    let served = async |path: &str| {
        let answer = get(path).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        answer.headers().get("connection").cloned()
    };
    service.until_ready();
    assert_eq!(served("/health/ready").await, None);
    service.signal(Signal::SIGTERM);
    service.wait_for("draining");
    assert_eq!(get("/health/ready").await.expect("an answer").status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(served(CONFIGURATIONS).await.expect("a header"), "close");
    // A second signal ends the drain.
    assert!(service.stop(Signal::SIGTERM).success());
}
