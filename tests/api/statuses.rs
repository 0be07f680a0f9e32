//! The statuses that devices, users and settings report of a configuration.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    catalogue::assert_holds,
    harness::{App, CONFIGURATIONS, beta, is_remote},
};

/// Returns each collection with a body that has every member, and with the members that `/beta`
/// adds.
fn full() -> [(&'static str, Value, Value); 3] {
    [
        (
            "deviceStatuses",
            json!({
                "@odata.type": "#microsoft.graph.deviceConfigurationDeviceStatus", "deviceDisplayName": "PC 1",
                "userName": "Ü", "deviceModel": "M", "complianceGracePeriodExpirationDateTime": "9999-12-31T23:59:59.999999Z",
                "status": "nonCompliant", "lastReportedDateTime": "2026-11-24T12:00:00.5+02:00", "userPrincipalName": "a@b.example",
            }),
            json!({"platform": 0}),
        ),
        (
            "userStatuses",
            json!({
                "userDisplayName": "a.1234567Z", "devicesCount": 7, "status": "remediated",
                "lastReportedDateTime": "2026-11-24T12:00:00Z", "userPrincipalName": "a@b.example",
            }),
            json!({}),
        ),
        (
            "deviceSettingStateSummaries",
            json!({
                "settingName": "s", "instancePath": "p", "unknownDeviceCount": 1, "notApplicableDeviceCount": 2,
                "compliantDeviceCount": 3, "remediatedDeviceCount": 4, "nonCompliantDeviceCount": 5, "errorDeviceCount": 6,
                "conflictDeviceCount": 7,
            }),
            json!({}),
        ),
    ]
}

#[actix_web::test]
async fn rows_are_created_read_changed_and_deleted_as_documented() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let id = configuration.rsplit('/').next().expect("an id").to_owned();
    for (segment, sent, in_beta) in full() {
        let collection = format!("{configuration}/{segment}");
        let created = app.post(&collection, &sent).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        let one = format!("{collection}/{}", created.id());
        assert_eq!(created.header("location"), format!("{}{one}", app.origin));
        let context = format!("{}/v1.0/$metadata#deviceManagement/deviceConfigurations('{id}')/{segment}", app.origin);
        assert_eq!(created.json()["@odata.context"], format!("{context}/$entity").as_str());
        let mut expected = sent.clone();
        if let Some(time) =
            expected.get_mut("lastReportedDateTime").filter(|time| **time == "2026-11-24T12:00:00.5+02:00")
        {
            *time = "2026-11-24T10:00:00.5Z".into();
        }
        assert_holds(&created.json(), &expected, segment);
        let read = app.get(&one).await;
        assert_eq!(read.text, created.text);
        assert_holds(&app.get(&beta(&one)).await.json(), &in_beta, segment);

        let minimal = app.post(&collection, &json!({})).await;
        assert_eq!(minimal.status, StatusCode::CREATED, "{}", minimal.text);
        let listed = app.get(&collection).await.json();
        assert_eq!(listed["@odata.context"], context.as_str());
        let ids: Vec<_> = listed["value"].as_array().expect("rows").iter().map(|row| row["id"].clone()).collect();
        assert_eq!(ids, [json!(created.id()), json!(minimal.id())]);

        // A create can be sent again. It conflicts when a member is different.
        let again = app.post(&collection, &read.json()).await;
        assert_eq!((again.status, &again.text), (StatusCode::CREATED, &read.text));
        let member = if segment == "deviceSettingStateSummaries" { "settingName" } else { "userPrincipalName" };
        let mut other = read.json();
        other[member] = "another".into();
        assert_eq!(app.post(&collection, &other).await.status, StatusCode::CONFLICT);
        let changed = app.patch(&one, &json!({ member: null })).await;
        assert_eq!((changed.status, &changed.json()[member]), (StatusCode::OK, &json!(null)));
        expected[member] = json!(null);
        assert_holds(&app.get(&one).await.json(), &expected, segment);
        assert_eq!(app.patch(&one, &changed.json()).await.text, app.get(&one).await.text);

        assert_eq!(app.delete(&one).await.status, StatusCode::NO_CONTENT);
        for gone in [app.delete(&one).await, app.get(&one).await, app.patch(&one, &json!({})).await] {
            assert!(
                gone.refusal().starts_with("404 ResourceNotFound: The collection has no element with the id '[guid]'.")
            );
        }
    }
}

#[actix_web::test]
async fn an_invalid_status_is_refused() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let wrong = [
        (
            "deviceStatuses",
            json!({"status": "fine"}),
            "The value 'fine' of 'status' is not one of unknown, notApplicable,",
        ),
        ("deviceStatuses", json!({"lastReportedDateTime": "now"}), "for the member 'lastReportedDateTime'"),
        ("deviceStatuses", json!({"platform": 1}), "The property 'platform' does not exist on type"),
        ("deviceStatuses", json!({"devicesCount": 1}), "The property 'devicesCount' does not exist on type"),
        ("userStatuses", json!({"devicesCount": 2_147_483_648_i64}), "for the member 'devicesCount'"),
        ("userStatuses", json!({"devicesCount": null}), "for the member 'devicesCount'"),
        (
            "userStatuses",
            json!({"@odata.type": "#microsoft.graph.deviceConfigurationDeviceStatus"}),
            "is not assignable",
        ),
        ("deviceSettingStateSummaries", json!({"settingName": 1}), "for the member 'settingName'"),
    ];
    for (segment, body, message) in wrong {
        let refusal = app.post(&format!("{configuration}/{segment}"), &body).await.refusal();
        assert!(refusal.starts_with("400 ModelValidationFailure: ") && refusal.contains(message), "{refusal}");
    }
    // A status stores each member in a column, so an unknown member is refused, on /beta too.
    let unknown = app.post(&beta(&format!("{configuration}/userStatuses")), &json!({"new": 1})).await.refusal();
    assert!(unknown.contains("The property 'new' does not exist"), "{unknown}");
    let nothing = format!("{CONFIGURATIONS}/{}", uuid::Uuid::new_v4());
    for (segment, body, _) in full() {
        let collection = format!("{nothing}/{segment}");
        let one = format!("{collection}/{}", uuid::Uuid::new_v4());
        for answer in [
            app.get(&collection).await,
            app.post(&collection, &body).await,
            app.get(&one).await,
            app.patch(&one, &json!({})).await,
            app.delete(&one).await,
        ] {
            assert!(
                answer.refusal().starts_with("404 ResourceNotFound: DeviceConfigurations not found"),
                "{}",
                answer.text
            );
        }
    }
}

#[actix_web::test]
async fn the_overviews_count_the_rows() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let id = configuration.rsplit('/').next().expect("an id").to_owned();
    for (segment, overview, type_name) in [
        ("deviceStatuses", "deviceStatusOverview", "deviceConfigurationDeviceOverview"),
        ("userStatuses", "userStatusOverview", "deviceConfigurationUserOverview"),
    ] {
        let overview = format!("{configuration}/{overview}");
        let empty = app.get(&overview).await.json();
        assert_eq!(empty["lastUpdateDateTime"], app.get(&configuration).await.json()["lastModifiedDateTime"]);
        for (status, count) in [
            ("unknown", 1),
            ("notApplicable", 2),
            ("compliant", 3),
            ("remediated", 4),
            ("nonCompliant", 5),
            ("error", 6),
            ("conflict", 7),
            ("notAssigned", 8),
        ] {
            for number in 0..count {
                let body =
                    json!({"status": status, "lastReportedDateTime": format!("2020-01-0{}T00:00:00Z", number + 1)});
                assert_eq!(app.post(&format!("{configuration}/{segment}"), &body).await.status, StatusCode::CREATED);
            }
        }
        let counted = app.get(&overview).await.json();
        assert_eq!(counted["@odata.type"], format!("#microsoft.graph.{type_name}").as_str());
        let expected = json!({
            "id": id, "configurationVersion": 1, "pendingCount": 9, "notApplicableCount": 2, "successCount": 7,
            "failedCount": 5, "errorCount": 6, "lastUpdateDateTime": "2020-01-08T00:00:00Z",
        });
        assert_holds(&counted, &expected, "overview");
        assert_eq!(counted.get("conflictCount"), None);
        assert_eq!(app.get(&beta(&overview)).await.json()["conflictCount"], 7);
        assert_eq!(app.patch(&overview, &json!({"errorCount": 1})).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(app.get(&format!("{CONFIGURATIONS}/x/deviceStatusOverview")).await.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn rows_are_deleted_with_their_configuration_and_store_their_caller() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    for (segment, body, _) in full() {
        app.post(&format!("{configuration}/{segment}"), &body).await;
    }
    let of = async |table: &str| {
        let rows = format!("SELECT coalesce(string_agg(created_by || ' ' || last_modified_by, ','), '') FROM {table}");
        sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(rows)).fetch_one(app.pool()).await.expect("a text")
    };
    let by = format!("{0} {0}", crate::tokens::OID);
    let tables =
        ["device_statuses", "user_statuses", "setting_summaries"].map(|table| format!("device_configuration_{table}"));
    for table in &tables {
        assert_eq!(of(table).await, by, "{table}");
    }
    app.delete(&configuration).await;
    for table in &tables {
        assert_eq!(of(table).await, "", "{table}");
    }
}
