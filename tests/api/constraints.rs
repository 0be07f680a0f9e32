//! The constraints of migrations 10 to 15: the values that they refuse, older rows that violate
//! them, and the times that a change writes.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::{
    harness::{App, beta, database, group, is_remote},
    service::{Folder, Service},
};

async fn execute(pool: &PgPool, statement: impl Into<String>) -> sqlx::Result<()> {
    pool.execute(AssertSqlSafe(statement.into())).await.map(drop)
}

/// Creates a configuration with an assignment, a status of each kind and a secret. Returns its
/// path.
async fn filled(app: &App) -> String {
    let path = app.configuration().await;
    for (collection, body) in [
        ("assignments", group("a")),
        ("deviceStatuses", json!({"status": "compliant"})),
        ("userStatuses", json!({"status": "compliant"})),
        ("deviceSettingStateSummaries", json!({"settingName": "a"})),
    ] {
        let created = app.post(&format!("{path}/{collection}"), &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    }
    let id = path.rsplit('/').next().expect("an id");
    let secret = format!(
        "INSERT INTO device_configuration_secrets (reference, device_configuration_id, ciphertext) VALUES ('r', '{id}', decode(repeat('00', 28), 'hex'))"
    );
    execute(app.pool(), secret).await.expect("a secret");
    path
}

#[actix_web::test]
async fn times_and_counts_out_of_range_are_refused_by_name() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    filled(&app).await;
    let times = ["infinity", "-infinity", "10000-01-01T00:00:00Z", "0001-01-01T00:00:00Z BC"];
    for (table, column, constraint) in [
        ("device_configurations", "created_date_time", "device_configurations_created_date_time_check"),
        ("device_configurations", "last_modified_date_time", "device_configurations_last_modified_date_time_check"),
        (
            "device_configuration_assignments",
            "created_date_time",
            "device_configuration_assignments_created_date_time_check",
        ),
        (
            "device_configuration_assignments",
            "last_modified_date_time",
            "device_configuration_assignments_last_modified_check",
        ),
        (
            "device_configuration_device_statuses",
            "compliance_grace_period_expiration_date_time",
            "device_configuration_device_statuses_grace_period_check",
        ),
        (
            "device_configuration_device_statuses",
            "last_reported_date_time",
            "device_configuration_device_statuses_last_reported_check",
        ),
        (
            "device_configuration_user_statuses",
            "last_reported_date_time",
            "device_configuration_user_statuses_last_reported_check",
        ),
        ("device_configuration_secrets", "created_date_time", "device_configuration_secrets_created_date_time_check"),
    ] {
        for time in times {
            assert_refused(app.pool(), table, column, &format!("'{time}'"), constraint).await;
        }
        for time in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            execute(app.pool(), format!("UPDATE {table} SET {column} = '{time}'")).await.expect("it is in range");
        }
    }
    let counts = "device_configuration_setting_summaries_counts_check";
    for (table, column, value, constraint) in [
        ("device_configurations", "version", "2147483647", "device_configurations_version_limit_check"),
        (
            "device_configuration_user_statuses",
            "devices_count",
            "-1",
            "device_configuration_user_statuses_devices_count_check",
        ),
        ("device_configuration_setting_summaries", "compliant_device_count", "-1", counts),
        ("device_configuration_setting_summaries", "conflict_device_count", "-1", counts),
        ("device_configuration_setting_summaries", "error_device_count", "-1", counts),
        ("device_configuration_setting_summaries", "non_compliant_device_count", "-1", counts),
        ("device_configuration_setting_summaries", "not_applicable_device_count", "-1", counts),
        ("device_configuration_setting_summaries", "remediated_device_count", "-1", counts),
        ("device_configuration_setting_summaries", "unknown_device_count", "-1", counts),
        ("device_configurations", "odata_type", "'iosCustomConfiguration'", "device_configurations_keep_odata_type"),
    ] {
        assert_refused(app.pool(), table, column, value, constraint).await;
    }
}

async fn assert_refused(pool: &PgPool, table: &str, column: &str, value: &str, constraint: &str) {
    let refused = execute(pool, format!("UPDATE {table} SET {column} = {value}")).await.expect_err(constraint);
    let refused = refused.into_database_error().expect("a refusal of the database");
    assert_eq!(refused.constraint(), Some(constraint), "{table}.{column} = {value}: {refused}");
}

/// The server that created a row may have had a clock that is ahead of the clock of this server.
#[actix_web::test]
async fn no_change_is_earlier_than_the_creation() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let path = filled(&app).await;
    for table in ["device_configurations", "device_configuration_assignments"] {
        let ahead = format!(
            "UPDATE {table} SET created_date_time = now() + interval '1 hour', last_modified_date_time = now() + interval '1 hour'"
        );
        execute(app.pool(), ahead).await.expect("it is in range");
    }
    let assignment = app.assignments(&path).await[0]["id"].as_str().expect("an id").to_owned();
    let changed = app.patch(&format!("{path}/assignments/{assignment}"), &group("b")).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_eq!(app.patch(&path, &json!({"description": "changed"})).await.status, StatusCode::OK);
    assert_in_order(&app).await;
    // `assign` keeps a row whose target stays, and changes what /beta adds to it.
    let set = json!({"assignments": [{"intent": "remove", "target": group("b")["target"]}]});
    let assigned = app.post(&format!("{}/assign", beta(&path)), &set).await;
    assert_eq!(assigned.status, StatusCode::OK, "{}", assigned.text);
    assert_in_order(&app).await;
}

async fn assert_in_order(app: &App) {
    for table in ["device_configurations", "device_configuration_assignments"] {
        let ordered = format!("SELECT bool_and(last_modified_date_time >= created_date_time) FROM {table}");
        let is_ordered: bool = sqlx::query_scalar(AssertSqlSafe(ordered)).fetch_one(app.pool()).await.expect("rows");
        assert!(is_ordered, "{table}");
    }
}

/// A time in the last second of the year 9999 is in range, so a change does not move it.
#[actix_web::test]
async fn a_change_moves_no_creation_that_is_in_range() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let path = filled(&app).await;
    let last = "9999-12-31T23:59:59.5Z";
    execute(app.pool(), format!("UPDATE device_configurations SET created_date_time = '{last}'"))
        .await
        .expect("a time");
    assert_eq!(app.patch(&path, &json!({"description": "changed"})).await.status, StatusCode::OK);
    assert_eq!(app.get(&path).await.json()["createdDateTime"], last);
}

/// At its start the service validates the constraints, and goes on when rows violate some of them.
#[actix_web::test]
async fn a_start_validates_constraints_and_reports_those_that_rows_violate() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let app = App::start_on(options.clone(), |_| ()).await;
    filled(&app).await;
    let (violated, fine) =
        ("device_configurations_created_date_time_check", "device_configuration_assignments_created_date_time_check");
    for (table, constraint) in [("device_configurations", violated), ("device_configuration_assignments", fine)] {
        let definition = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1";
        let definition: String =
            sqlx::query_scalar(definition).bind(constraint).fetch_one(app.pool()).await.expect("a constraint");
        for statement in [
            format!("ALTER TABLE {table} DROP CONSTRAINT {constraint}"),
            format!(
                "UPDATE {table} SET created_date_time = CASE '{constraint}' WHEN '{violated}' THEN 'infinity' ELSE created_date_time END"
            ),
            format!("ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition} NOT VALID"),
        ] {
            execute(app.pool(), statement).await.expect("SQL accepts it");
        }
    }
    let folder = Folder::new();
    let service = Service::start(&mut folder.command_on(&options));
    let warned = service.wait_for(violated);
    assert!(warned.contains("rows that are older than this constraint violate it"), "{warned}");
    service.until_ready();
    let state = "SELECT array_agg(convalidated ORDER BY conname) FROM pg_constraint WHERE conname IN ($1, $2)";
    crate::harness::until("the other constraint is validated", async || {
        let is_valid: Vec<bool> =
            sqlx::query_scalar(state).bind(fine).bind(violated).fetch_one(app.pool()).await.expect("constraints");
        is_valid == [true, false]
    })
    .await;
    let read: Value =
        serde_json::from_str(&service.request("GET", crate::harness::CONFIGURATIONS, "").1).expect("JSON");
    assert_eq!(read["value"][0]["createdDateTime"], "9999-12-31T23:59:59.999999Z");
}

/// A row with a value that no answer can show is logged once, however often it is read.
#[actix_web::test]
async fn a_row_that_cannot_be_read_is_logged_once() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let app = App::start_on(options.clone(), |_| ()).await;
    let path = app.configuration().await;
    execute(app.pool(), r#"UPDATE device_configurations SET properties = '{"huge": 1e400}'"#).await.expect("a number");
    let folder = Folder::new();
    let service = Service::start(&mut folder.command_on(&options));
    for _ in 0..3 {
        assert_eq!(service.request("GET", &path, "").0, 200);
        assert_eq!(service.request("GET", crate::harness::CONFIGURATIONS, "").0, 200);
    }
    let log = service.log_until_stopped(nix::sys::signal::Signal::SIGTERM);
    let id = path.rsplit('/').next().expect("an id");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("JSON cannot represent")).collect();
    assert!(lines.len() == 1 && lines[0].contains(id) && lines[0].contains("device_configurations"), "{log}");
}
