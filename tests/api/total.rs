//! Every row that SQL accepts can be read.

use devicegraph::{
    catalogue::version::Version,
    odata::{
        options::Options,
        query::{Query, QueryScope},
        token::Position,
    },
    resources::configurations,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::{
    filter::encoded,
    harness::{Answer, App, CONFIGURATIONS, beta, database, is_remote, url},
    service::{Folder, devicegraph},
};

/// Starts the application on a database without the constraints on times and counts, as with rows
/// that are older than these constraints.
async fn app() -> App {
    let app = App::start().await;
    let drop = "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
                WHERE contype = 'c' AND conname LIKE 'device_configuration%' AND
                    (conname LIKE '%date_time_check' OR conname LIKE '%last_modified_check' OR conname LIKE '%last_reported_check'
                     OR conname LIKE '%grace_period_check' OR conname LIKE '%count_check' OR conname LIKE '%counts_check'
                     OR conname LIKE '%version_limit_check')";
    let statements: Vec<String> = sqlx::query_scalar(drop).fetch_all(app.pool()).await.expect("constraints");
    assert_eq!(statements.len(), 11, "{statements:?}");
    for statement in statements {
        app.pool().execute(AssertSqlSafe(statement)).await.expect("it is dropped");
    }
    app
}

/// Creates a configuration and changes columns of its row with SQL. Returns its id.
async fn row(app: &App, assignments: &str) -> String {
    let id = app.configuration().await.rsplit('/').next().expect("an id").to_owned();
    let update = format!("UPDATE device_configurations SET {assignments} WHERE id = '{id}'");
    app.pool().execute(AssertSqlSafe(update)).await.expect("SQL accepts it");
    id
}

fn nested(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

const TIMES: [(&str, &str); 5] = [
    ("infinity", "9999-12-31T23:59:59.999999Z"),
    ("-infinity", "0001-01-01T00:00:00Z"),
    ("20000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    ("294276-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ("4000-01-01T00:00:00Z BC", "0001-01-01T00:00:00Z"),
];

async fn assert_ok(app: &App, path: &str) -> Answer {
    let answer = app.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer
}

/// Reads a configuration with every kind of request. Returns the JSON of the configuration.
async fn assert_is_read_everywhere(app: &App, id: &str) -> Value {
    for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
        let one = format!("{collection}/{id}");
        for path in [
            collection.clone(),
            format!("{collection}?$expand=assignments&$count=true"),
            format!("{collection}?$select=id,createdDateTime,omaSettings"),
            format!("{collection}?$filter={}", encoded("createdDateTime lt 2020-01-01T00:00:00Z or version ge 1")),
            format!("{collection}/$count"),
            one.clone(),
            format!("{one}?$expand=assignments"),
            format!("{one}/assignments"),
            format!("{one}/deviceStatuses"),
            format!("{one}/userStatuses"),
            format!("{one}/deviceSettingStateSummaries"),
            format!("{one}/deviceStatusOverview"),
            format!("{one}/userStatusOverview"),
        ] {
            if path.ends_with("$count") {
                assert_eq!(app.get(&path).await.status, StatusCode::OK);
                continue;
            }
            assert_ok(app, &path).await;
        }
        for key in ["createdDateTime", "lastModifiedDateTime desc", "version"] {
            let mut next = format!("{collection}?$top=1&$orderby={}", encoded(key));
            let mut seen = 0;
            loop {
                let page = assert_ok(app, &next).await.json();
                seen += page["value"].as_array().expect("a page").len();
                match page["@odata.nextLink"].as_str() {
                    Some(link) => next = link.trim_start_matches(&app.origin).to_owned(),
                    None => break,
                }
            }
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM device_configurations")
                .fetch_one(app.pool())
                .await
                .expect("a count");
            assert_eq!(seen, count as usize, "{key}");
        }
    }
    let changed = app.patch(&format!("{CONFIGURATIONS}/{id}"), &json!({"displayName": "changed"})).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_ok(app, &format!("{}/{id}", beta(CONFIGURATIONS))).await.json()
}

#[actix_web::test]
async fn a_time_that_json_cannot_hold_is_read_as_the_nearest_time() {
    if is_remote() {
        return;
    }
    let app = app().await;
    app.configuration().await;
    for (time, shown) in TIMES {
        let id = row(&app, &format!("created_date_time = '{time}', last_modified_date_time = '{time}'")).await;
        let read = assert_ok(&app, &format!("{CONFIGURATIONS}/{id}")).await.json();
        assert_eq!((&read["createdDateTime"], &read["lastModifiedDateTime"]), (&json!(shown), &json!(shown)), "{time}");
        assert_is_read_everywhere(&app, &id).await;
        assert_eq!(app.delete(&format!("{CONFIGURATIONS}/{id}")).await.status, StatusCode::NO_CONTENT);
    }
}

#[actix_web::test]
async fn a_value_that_cannot_be_read_is_null_and_the_rest_is_read() {
    if is_remote() {
        return;
    }
    let app = app().await;
    app.configuration().await;
    for (properties, name, shown) in [
        (r#"{"number": 1e400, "text": "kept"}"#.to_owned(), "number", json!(null)),
        (r#"{"number": -1e400, "text": "kept"}"#.to_owned(), "number", json!(null)),
        (format!(r#"{{"number": {}, "text": "kept"}}"#, "9".repeat(400)), "number", json!(null)),
        (format!(r#"{{"number": {}, "text": "kept"}}"#, nested(3)), "number", json!([[[1]]])),
    ] {
        let id = row(&app, &format!("properties = '{properties}'")).await;
        let read = assert_is_read_everywhere(&app, &id).await;
        assert_eq!((&read[name], &read["text"]), (&shown, &json!("kept")), "{properties}");
    }
    for levels in [98, 99, 100, 110, 125, 126, 127, 128, 200, 3000] {
        let id = row(&app, &format!(r#"properties = '{{"deep": {}, "text": "kept"}}'"#, nested(levels))).await;
        let read = assert_is_read_everywhere(&app, &id).await;
        assert_eq!(read["text"], "kept", "{levels}");
        // Without control information, the service parses its own answer once more.
        let request =
            app.request(Method::GET, &beta(CONFIGURATIONS)).header("accept", "application/json;odata.metadata=none");
        assert_eq!(app.answer(request).await.status, StatusCode::OK, "{levels}");
        // The value that was read can be sent back.
        let sent = app
            .post(
                &beta(CONFIGURATIONS),
                &json!({"@odata.type": read["@odata.type"], "displayName": "a", "deep": read["deep"]}),
            )
            .await;
        assert_eq!(sent.status, StatusCode::CREATED, "{levels}: {}", sent.text);
    }
    // A property of the catalogue has such a number, in a filter and in an order.
    let update = "UPDATE device_configurations SET odata_type = 'iosGeneralDeviceConfiguration', properties = '{\"passcodeMinimumLength\": 1e400}'";
    app.pool().execute("ALTER TABLE device_configurations DISABLE TRIGGER USER").await.expect("no trigger");
    app.pool().execute(update).await.expect("SQL accepts it");
    for option in [
        "$filter=passcodeMinimumLength gt 1",
        "$filter=passcodeMinimumLength eq null",
        "$orderby=passcodeMinimumLength",
    ] {
        let (name, value) = option.split_once('=').expect("an option");
        assert_ok(&app, &format!("{CONFIGURATIONS}?{name}={}", encoded(value))).await;
    }
}

#[actix_web::test]
async fn the_last_version_can_be_changed() {
    if is_remote() {
        return;
    }
    let app = app().await;
    let id = row(&app, "version = 2147483647").await;
    let before = assert_ok(&app, &format!("{CONFIGURATIONS}/{id}")).await;
    assert_is_read_everywhere(&app, &id).await;
    let after = assert_ok(&app, &format!("{CONFIGURATIONS}/{id}")).await;
    assert_ne!(before.header("etag"), after.header("etag"));
}

#[actix_web::test]
async fn statuses_that_json_cannot_hold_are_read_and_counts_below_zero_are_refused() {
    if is_remote() {
        return;
    }
    let app = app().await;
    let path = app.configuration().await;
    for (collection, time, table) in [
        ("deviceStatuses", "last_reported_date_time", "device_configuration_device_statuses"),
        ("deviceStatuses", "compliance_grace_period_expiration_date_time", "device_configuration_device_statuses"),
        ("userStatuses", "last_reported_date_time", "device_configuration_user_statuses"),
    ] {
        let created = app.post(&format!("{path}/{collection}"), &json!({"status": "compliant"})).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        for (stored, shown) in TIMES {
            let update = format!("UPDATE {table} SET {time} = '{stored}'");
            app.pool().execute(AssertSqlSafe(update)).await.expect("SQL accepts it");
            let listed = assert_ok(&app, &format!("{path}/{collection}")).await;
            assert!(listed.text.contains(shown), "{stored}: {}", listed.text);
            assert_ok(&app, &format!("{path}/{collection}/{}", created.id())).await;
            assert_ok(&app, &format!("{path}/deviceStatusOverview")).await;
            assert_ok(&app, &format!("{path}/userStatusOverview")).await;
        }
    }
    // A row with a count that is older than its constraint can still be changed.
    let summaries = format!("{path}/deviceSettingStateSummaries");
    let created = app.post(&summaries, &json!({"settingName": "a"})).await;
    app.pool()
        .execute("UPDATE device_configuration_setting_summaries SET error_device_count = -5")
        .await
        .expect("SQL accepts it");
    app.pool()
        .execute("ALTER TABLE device_configuration_setting_summaries ADD CHECK (error_device_count >= 0) NOT VALID")
        .await
        .expect("a check");
    let changed = app.patch(&format!("{summaries}/{}", created.id()), &json!({"settingName": "b"})).await;
    assert_eq!((changed.status, &changed.json()["errorDeviceCount"]), (StatusCode::OK, &json!(0)), "{}", changed.text);
    for (collection, member) in [
        ("deviceSettingStateSummaries", "compliantDeviceCount"),
        ("deviceSettingStateSummaries", "unknownDeviceCount"),
        ("userStatuses", "devicesCount"),
    ] {
        let refused = app.post(&format!("{path}/{collection}"), &json!({member: -5})).await;
        assert_eq!(
            refused.refusal(),
            format!("400 ModelValidationFailure: The member '{member}' is -5. Send a count of 0 or more.")
        );
    }
}

/// A change writes only the members that it names. It does not change stored values that the
/// service cannot read.
#[actix_web::test]
async fn a_patch_keeps_what_json_cannot_hold() {
    if is_remote() {
        return;
    }
    let app = app().await;
    let id =
        row(&app, &format!(r#"properties = '{{"huge": 1e400, "deep": {}, "gone": 1, "text": "a"}}'"#, nested(200)))
            .await;
    let one = format!("{}/{id}", beta(CONFIGURATIONS));
    let patched = app.patch(&one, &json!({"displayName": "b", "text": "c"})).await;
    assert!(patched.status.is_success(), "{}", patched.text);
    let stored = "SELECT (properties ->> 'huge')::numeric = 1e400::numeric AND length(properties ->> 'deep') = 401
                      AND properties ->> 'text' = 'c' FROM device_configurations WHERE id = $1::uuid";
    let is_kept: bool = sqlx::query_scalar(stored).bind(&id).fetch_one(app.pool()).await.expect("a row");
    assert!(is_kept);
}

/// SQL can store members in `properties` that have a column of their own. An answer and an export
/// have each of them once.
#[actix_web::test]
async fn a_member_that_is_no_property_is_shown_once_and_exported_once() {
    if is_remote() {
        return;
    }
    let app = app().await;
    let id = row(
        &app,
        r#"properties = '{"id": "x", "displayName": "x", "@odata.etag": "x", "assignments": [], "@odata.type": "x"}'"#,
    )
    .await;
    let read = assert_ok(&app, &format!("{}/{id}", beta(CONFIGURATIONS))).await;
    assert_eq!(read.text.matches(r#""id":"#).count(), 1, "{}", read.text);
    assert_eq!((&read.json()["id"], &read.json()["displayName"]), (&json!(id), &json!("a test")));
    assert!(!read.text.contains(r#":"x""#), "{}", read.text);
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(
        devicegraph::import_export::export(app.pool(), folder.path(), false, || ()).await.expect("an export"),
        1
    );
}

#[actix_web::test]
async fn pages_in_the_order_of_a_number_that_is_too_large_go_on() {
    if is_remote() {
        return;
    }
    let app = app().await;
    app.pool().execute("ALTER TABLE device_configurations DISABLE TRIGGER USER").await.expect("no trigger");
    for number in ["1e400", "5", "7"] {
        row(&app, &format!(r#"odata_type = 'windowsUpdateForBusinessConfiguration', properties = '{{"qualityUpdatesDeferralPeriodInDays": {number}}}'"#)).await;
    }
    for direction in ["asc", "desc"] {
        let key = encoded(&format!("qualityUpdatesDeferralPeriodInDays {direction}"));
        let mut next =
            format!("{CONFIGURATIONS}/microsoft.graph.windowsUpdateForBusinessConfiguration?$top=1&$orderby={key}");
        for remaining in [2, 1, 0] {
            let page = assert_ok(&app, &next).await.json();
            match page["@odata.nextLink"].as_str() {
                Some(link) => next = link.trim_start_matches(&app.origin).to_owned(),
                None => assert_eq!(remaining, 0),
            }
        }
    }
}

/// A client can compute the digest of a token for any value, because it needs no secret. Such a
/// token is refused with 400.
#[actix_web::test]
async fn a_token_that_a_client_makes_up_is_400() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    for _ in 0..3 {
        app.configuration().await;
    }
    let query_scope = QueryScope::all();
    for (key, right) in [
        ("displayName", json!(["YQ=="])),
        ("createdDateTime", json!(["2026-01-01T00:00:00+00:00"])),
        ("version", json!([1])),
        ("description", json!([null])),
        ("id", json!([Uuid::nil()])),
        ("microsoft.graph.iosGeneralDeviceConfiguration/passcodeMinimumLength", json!([6])),
    ] {
        let options = Options::parse(&format!("$top=1&$orderby={}", encoded(key))).expect("options");
        let query = Query::parse(options, &configurations::sql::TABLE, &query_scope, Version::V1).expect("a query");
        let status = async |values: &Value| {
            let position = Position(values.as_array().expect("values").clone(), Uuid::nil());
            let answer = app.get(&format!("{CONFIGURATIONS}?{}", query.next(&query_scope, &position))).await;
            assert!([200, 400].contains(&answer.status.as_u16()), "{key} {values}: {}", answer.text);
            answer.status.as_u16()
        };
        assert_eq!(status(&right).await, 200, "{key}");
        for wrong in [
            json!([]),
            json!(["a", "b"]),
            json!([[1]]),
            json!([{"a": 1}]),
            json!(["%%%"]),
            json!(["a"]),
            json!(["2026-99-99T00:00:00Z"]),
            json!(["now"]),
            json!(["epoch"]),
            json!(["x".repeat(5000)]),
        ] {
            assert_eq!(status(&wrong).await, 400, "{key} {wrong}");
        }
        // Values with a valid form for some sort keys.
        for values in [
            json!([null]),
            json!(["AA=="]),
            json!(["/w=="]),
            json!(["8J+YgA=="]),
            json!([1e308]),
            json!([-1]),
            json!([true]),
            json!(["infinity"]),
            json!(["NaN"]),
            json!([""]),
            json!(["now"]),
        ] {
            status(&values).await;
        }
    }
}

#[actix_web::test]
async fn check_lists_the_rows_that_the_api_would_refuse() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let app = App::start_on(options.clone(), |_| ()).await;
    let folder = Folder::new();
    let check = || {
        let mut command = devicegraph(&folder.0);
        let output = command
            .arg("check")
            .env("DATABASE_URL", url(&options, "devicegraph"))
            .env("DEVICEGRAPH__LOG__FILTER", "error")
            .output();
        let output = output.expect("the binary runs");
        (
            output.status.code(),
            String::from_utf8(output.stdout).expect("text"),
            String::from_utf8(output.stderr).expect("text"),
        )
    };
    let good = app.configuration().await;
    assert_eq!(app.post(&format!("{good}/assignments"), &crate::harness::group("a")).await.status, 201);
    assert_eq!(check(), (Some(0), String::new(), String::new()));
    let insert = async |odata_type: &str, properties: &str| {
        let id = Uuid::new_v4();
        let insert = format!(
            "INSERT INTO device_configurations (id, odata_type, display_name, properties) VALUES ('{id}', '{odata_type}', 'a', '{properties}')"
        );
        app.pool().execute(AssertSqlSafe(insert)).await.expect("SQL accepts it");
        id
    };
    let unknown = insert("windows10CompliancePolicy", "{}").await;
    let wrong = insert("iosUpdateConfiguration", r#"{"activeHoursStart": 5}"#).await;
    let huge = insert("iosUpdateConfiguration", r#"{"x": 1e400}"#).await;
    let reserved = insert("iosUpdateConfiguration", r#"{"id": "x"}"#).await;
    let navigation = insert("windows10GeneralConfiguration", r#"{"privacyAccessControls": [{}]}"#).await;
    let (code, found, said) = check();
    assert_eq!((code, found.lines().count()), (Some(1), 5), "{found}");
    for (id, reason) in [
        (unknown, "the type 'windows10CompliancePolicy' is unknown"),
        (wrong, "activeHoursStart"),
        (navigation, "'privacyAccessControls' is a navigation property"),
        (huge, "JSON cannot represent"),
        (reserved, "has a member 'id'"),
    ] {
        assert!(
            found
                .lines()
                .any(|line| line.starts_with(&format!("device_configurations {id}: ")) && line.contains(reason)),
            "{found}"
        );
    }
    assert_eq!(said, "devicegraph: the API would refuse 5 of 7 rows\n");
}
