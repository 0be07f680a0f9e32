//! Reads that are combined into one statement.

use std::cell::Cell;

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::harness::{App, CONFIGURATIONS, database, end_sessions, group, is_remote, until, waiting_for_locks};

const SETS: &str = "assignment sets";

async fn counted(app: &App, name: &str, of: &str) -> u64 {
    app.metric(&format!("devicegraph_database_{name}_total{{of=\"{of}\"}}")).await as u64
}

/// Reads until each of the two workers has a session for combined reads. A worker without this
/// session runs each read on its own.
async fn open_sessions(app: &App, path: &str) {
    let sessions = "SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'devicegraph reader' AND datname = current_database()";
    let are_open = async || {
        join_all((0..4).map(|_| app.get(path))).await;
        sqlx::query_scalar::<_, i64>(sessions).fetch_one(app.pool()).await.expect("a number") == 2
    };
    until("each worker has a session for combined reads", are_open).await;
}

#[actix_web::test]
async fn concurrent_reads_are_combined_and_each_gets_its_own_rows() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (one, other, empty) = (app.configuration().await, app.configuration().await, app.configuration().await);
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(app.post(&format!("{one}/assignments"), &group(name)).await.id());
    }
    let nowhere = format!("{CONFIGURATIONS}/{}", Uuid::new_v4());
    let mut asked = vec![
        (nowhere.clone(), 404, json!(null)),
        (format!("{nowhere}/assignments"), 404, json!(null)),
        (format!("{nowhere}/assignments/{}", ids[0]), 404, json!(null)),
        (format!("{other}/assignments/{}", ids[0]), 404, json!(null)),
        (format!("{one}/assignments/{}", Uuid::new_v4()), 404, json!(null)),
        (format!("{empty}/assignments"), 200, json!([])),
        (format!("{one}/assignments?$top=2"), 200, json!([ids[0], ids[1]])),
        (format!("{one}/assignments?$top=3"), 200, json!([ids[0], ids[1], ids[2]])),
        (format!("{one}/assignments?$select=id"), 200, json!([ids[0], ids[1], ids[2]])),
        (format!("{one}/assignments?$skip=1"), 200, json!([ids[1], ids[2]])),
        (format!("{one}/assignments?$orderby=id desc"), 200, json!([ids[2], ids[1], ids[0]])),
    ];
    for _ in 0..20 {
        asked.push((one.clone(), 200, json!(one.rsplit('/').next())));
        asked.push((format!("{other}?$select=displayName"), 200, json!(null)));
        asked.extend(ids.iter().map(|id| (format!("{one}/assignments/{id}"), 200, json!(id))));
        asked.push((format!("{one}/assignments"), 200, json!(ids)));
    }
    open_sessions(&app, &format!("{empty}/assignments")).await;
    let sets = (counted(&app, "groups", SETS).await, counted(&app, "grouped", SETS).await);
    let answers = join_all(asked.iter().map(|(path, ..)| app.get(path))).await;
    for ((path, status, expected), answer) in asked.iter().zip(&answers) {
        assert_eq!(answer.status.as_u16(), *status, "{path}: {}", answer.text);
        if *status == 200 {
            let body = answer.json();
            let found = match body.get("value").and_then(|value| value.as_array()) {
                Some(value) => value.iter().map(|row| row["id"].clone()).collect(),
                None => body["id"].clone(),
            };
            assert_eq!(found, *expected, "{path}");
            assert_eq!(body.get("@odata.nextLink").is_some(), path.ends_with("$top=2"), "{path}");
        }
    }
    for (kind, before, most) in [("configurations", (0, 0), 40), ("assignments", (0, 0), 60), (SETS, sets, 23)] {
        let groups = counted(&app, "groups", kind).await - before.0;
        let answered = counted(&app, "grouped", kind).await - before.1;
        assert_eq!(answered, most, "{kind}");
        assert!(groups < answered, "{answered} {kind} in {groups} groups");
    }
}

#[actix_web::test]
async fn a_large_configuration_is_not_read_in_a_combined_statement() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let noise: Vec<u8> = (0..40_000).map(|_| Uuid::new_v4().into_bytes()[0]).collect();
    let payload = BASE64_STANDARD.encode(noise);
    let body =
        json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "large", "payload": payload});
    let large = format!("{CONFIGURATIONS}/{}", app.post(CONFIGURATIONS, &body).await.id());
    open_sessions(&app, &format!("{large}/assignments")).await;
    assert_eq!(app.get(&large).await.json()["payload"], payload);
    assert_eq!(counted(&app, "grouped", "configurations").await, 0, "the large configuration was read on its own");
    let is_grouped = async || {
        assert_eq!(app.get(&format!("{large}?$select=displayName")).await.json()["displayName"], "large");
        counted(&app, "grouped", "configurations").await > 0
    };
    until("a read without the large property is combined", is_grouped).await;
}

#[actix_web::test]
async fn a_set_has_the_same_etag_in_every_kind_of_read() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    for rows in 0..3 {
        let whole = app.get(&path).await;
        // A read with `$count` is not combined.
        let page = app.get(&format!("{path}?$count=true")).await;
        assert_eq!(whole.header("etag"), page.header("etag"), "{rows} rows");
        assert!(!whole.header("etag").is_empty());
        app.post(&path, &group(&format!("g{rows}"))).await;
        assert_ne!(whole.header("etag"), app.get(&path).await.header("etag"));
    }
}

#[actix_web::test]
async fn a_write_of_another_process_is_read_at_once() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let (one, other) = (App::start_on(options.clone(), |_| ()).await, App::start_on(options, |_| ()).await);
    let configuration = one.configuration().await;
    let path = format!("{configuration}/assignments");
    let noise = async {
        for _ in 0..20 {
            join_all((0..10).map(|_| other.get(&configuration))).await;
        }
    };
    let writes = async {
        for number in 0..30 {
            let name = format!("name {number}");
            one.patch(&configuration, &json!({"displayName": name})).await;
            assert_eq!(other.get(&configuration).await.json()["displayName"], name);
            let id = one.post(&path, &group(&format!("g{number}"))).await.id();
            assert_eq!(other.get(&format!("{path}/{id}")).await.id(), id);
            assert_eq!(other.assignments(&configuration).await.len(), number + 1);
        }
    };
    tokio::join!(noise, writes);
}

#[actix_web::test]
async fn a_reader_session_that_ends_is_replaced_without_a_failed_request() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let is_over = Cell::new(false);
    let reads = async {
        while !is_over.get() {
            let answers = join_all((0..10).map(|_| app.get(&configuration))).await;
            let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
            assert_eq!(statuses, [200; 10]);
        }
    };
    let ends = async {
        for _ in 0..10 {
            until("a reader has ended", async || end_sessions(app.pool(), "devicegraph reader").await > 0).await;
        }
        is_over.set(true);
    };
    tokio::join!(reads, ends);
}

/// A combined read of a small table uses the index, although PostgreSQL would prefer to read the
/// whole table.
#[actix_web::test]
async fn combined_reads_never_scan_a_whole_table() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let many = "INSERT INTO device_configurations (id, odata_type, display_name)
                SELECT gen_random_uuid(), 'iosUpdateConfiguration', n::text FROM generate_series(1, 2000) AS n";
    app.pool().execute(many).await.expect("configurations");
    app.pool().execute("ANALYZE").await.expect("statistics");
    let read = async |column: &str| {
        let sum = format!(
            "SELECT sum({column})::bigint FROM pg_stat_user_tables WHERE relname LIKE 'device_configuration%s'"
        );
        sqlx::query_scalar::<_, i64>(AssertSqlSafe(sum)).fetch_one(app.pool()).await.expect("a number")
    };
    let assignments = format!("{configuration}/assignments");
    let grouped = async || {
        let kinds = ["creates", "configurations", "assignments", SETS];
        join_all(kinds.map(|kind| counted(&app, "grouped", kind))).await.iter().sum::<u64>()
    };
    let all_in_groups = async || {
        open_sessions(&app, &assignments).await;
        app.post(&assignments, &group(&Uuid::new_v4().to_string())).await;
        // A session publishes its statistics at most once a second, and when it ends. End the
        // sessions of single reads, so that their scans are counted before the combined reads
        // begin.
        end_sessions(app.pool(), "devicegraph ________-%").await;
        let (whole, by_key, before) = (read("seq_scan").await, read("idx_scan").await, grouped().await);
        let bodies: Vec<_> = (0..20).map(|_| group(&Uuid::new_v4().to_string())).collect();
        let ids = join_all(bodies.iter().map(|body| app.post(&assignments, body))).await;
        let paths: Vec<_> = ids.iter().map(|made| format!("{assignments}/{}", made.id())).collect();
        join_all(paths.iter().chain([&configuration, &assignments]).map(|path| app.get(path))).await;
        if grouped().await != before + 42 {
            return false;
        }
        end_sessions(app.pool(), "devicegraph %").await;
        until("the scans are counted", async || read("idx_scan").await >= by_key + 42).await;
        assert_eq!(read("seq_scan").await, whole);
        true
    };
    // On a busy machine a combined read may get no session, and its requests run on their own.
    until("all requests are combined", all_in_groups).await;
}

#[actix_web::test]
async fn a_table_that_is_locked_for_a_moment_is_waited_for() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let id = app.post(&format!("{configuration}/assignments"), &group("a")).await.id();
    let mut holder = app.pool().begin().await.expect("a session");
    let lock = "LOCK TABLE device_configuration_assignments IN ACCESS EXCLUSIVE MODE";
    holder.execute(AssertSqlSafe(lock)).await.expect("the lock");
    let paths = [format!("{configuration}/assignments/{id}"), format!("{configuration}/assignments")];
    // A worker runs three lists at the same time.
    let reads = join_all(paths.iter().cycle().take(6).map(|path| app.get(path)));
    let free = async {
        // The other table is not locked, so its reads do not wait.
        assert_eq!(app.get(&configuration).await.status, 200);
        let waiting = async || waiting_for_locks(app.pool(), "devicegraph %").await;
        until("each read waits for the table", async || waiting().await >= 6).await;
        holder.rollback().await.expect("the end of it");
    };
    let (answers, ()) = tokio::join!(reads, free);
    assert!(answers.iter().all(|answer| answer.status == 200), "{:?}", answers.iter().map(|answer| answer.status));
}
