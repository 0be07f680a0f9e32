//! The members that `/beta` adds to an assignment.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{App, CONFIGURATIONS, beta, database, group, is_remote};

const GUID: &str = "7E159A72-9A72-4E15-929A-157E729A157E";

#[actix_web::test]
async fn beta_members_are_kept_and_v1_neither_shows_nor_takes_them() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let body = json!({
        "intent": "remove",
        "source": "policySets",
        "sourceId": GUID,
        "target": {
            "@odata.type": "#microsoft.graph.groupAssignmentTarget",
            "groupId": "a",
            "deviceAndAppManagementAssignmentFilterId": GUID,
            "deviceAndAppManagementAssignmentFilterType": "exclude",
        },
    });
    let created = app.post(&beta(&path), &body).await;
    let lower = GUID.to_lowercase();
    let id = created.id();
    assert_eq!(
        created.text,
        format!(
            r##"{{"@odata.type":"#microsoft.graph.deviceConfigurationAssignment","id":"{id}","target":{{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"a","deviceAndAppManagementAssignmentFilterId":"{lower}","deviceAndAppManagementAssignmentFilterType":"exclude"}},"intent":"remove","source":"policySets","sourceId":"{lower}"}}"##
        )
    );
    let on_v1 = app.get(&format!("{path}/{id}")).await.json();
    assert_eq!(on_v1["target"], json!({"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "a"}));
    assert_eq!(on_v1.as_object().expect("an object").len(), 4);

    for name in ["intent", "source", "sourceId"] {
        let mut body = group("b");
        body[name] = "apply".into();
        let refused = app.post(&path, &body).await.refusal();
        assert_eq!(
            refused,
            format!(
                "400 ModelValidationFailure: The property '{name}' does not exist on type 'microsoft.graph.deviceConfigurationAssignment'. Make sure to only use property names that are defined by the type. Only /beta has it."
            )
        );
    }
    for name in ["deviceAndAppManagementAssignmentFilterId", "deviceAndAppManagementAssignmentFilterType"] {
        let mut body = group("b");
        body["target"][name] = "none".into();
        let refused = app.post(&path, &body).await.refusal();
        assert_eq!(
            refused,
            format!(
                "400 ModelValidationFailure: The property '{name}' does not exist on type 'microsoft.graph.groupAssignmentTarget'. Make sure to only use property names that are defined by the type. Only /beta has it. The error is at 'target'."
            )
        );
    }
    assert_eq!(app.assignments(&configuration).await.len(), 1);
}

#[actix_web::test]
async fn a_filter_is_an_id_and_a_type_that_fit_together() {
    let app = App::start().await;
    let path = format!("{}/assignments", beta(&app.configuration().await));
    let target = |id: Value, filter_type: Value| {
        let mut body = group("a");
        body["target"]["deviceAndAppManagementAssignmentFilterId"] = id;
        body["target"]["deviceAndAppManagementAssignmentFilterType"] = filter_type;
        body
    };
    for (id, filter_type) in [
        (Value::Null, "include"),
        ("f".into(), "none"),
        ("".into(), "include"),
        ("f".into(), "both"),
        (5.into(), "none"),
    ] {
        let refused = app.post(&path, &target(id, filter_type.into())).await;
        assert!(refused.refusal().contains("'target.deviceAndAppManagementAssignmentFilter"), "{}", refused.text);
    }
    assert_eq!(app.post(&path, &target(Value::Null, "none".into())).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn a_patch_on_v1_keeps_the_beta_members_and_one_on_beta_the_rest() {
    let app = App::start().await;
    let path = format!("{}/assignments", app.configuration().await);
    let id = app.post(&path, &group("a")).await.id();
    let (on_v1, on_beta) = (format!("{path}/{id}"), beta(&format!("{path}/{id}")));
    let mut filtered = group("a");
    filtered["target"]["deviceAndAppManagementAssignmentFilterId"] = "f".into();
    filtered["target"]["deviceAndAppManagementAssignmentFilterType"] = "include".into();
    filtered["intent"] = "remove".into();
    assert_eq!(app.patch(&on_beta, &filtered).await.status, StatusCode::OK);
    app.patch(&on_v1, &group("b")).await;
    let kept = app.patch(&on_beta, &json!({"sourceId": "s"})).await.json();
    assert_eq!(
        kept["target"],
        json!({"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "b",
               "deviceAndAppManagementAssignmentFilterId": "f", "deviceAndAppManagementAssignmentFilterType": "include"})
    );
    assert_eq!(
        (&kept["intent"], &kept["source"], &kept["sourceId"]),
        (&"remove".into(), &"direct".into(), &"s".into())
    );
    filtered["target"]["deviceAndAppManagementAssignmentFilterId"] = Value::Null;
    filtered["target"]["deviceAndAppManagementAssignmentFilterType"] = "none".into();
    let taken_away = app.patch(&on_beta, &filtered).await.json();
    assert_eq!(taken_away["target"]["deviceAndAppManagementAssignmentFilterId"], Value::Null);
    assert_eq!(taken_away["intent"], "remove");
}

#[actix_web::test]
async fn changes_do_not_let_a_configuration_grow_beyond_the_values_of_a_body() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.server.max_body_values = Some(100)).await;
    let ones = |count: usize| json!(vec![1; count]);
    let body = json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a", "one": ones(60)});
    let created = app.post(&beta(CONFIGURATIONS), &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let path = beta(&format!("{CONFIGURATIONS}/{}", created.id()));
    let patch = async |body: Value| app.patch(&path, &body).await;
    let refused = async |body: Value| {
        let before = app.get(&path).await.text;
        let refused = patch(body.clone()).await;
        let said = "400 ModelValidationFailure: With this change, the configuration would have more than 100 JSON values, which is the limit. An object with members counts as two. Send fewer values, or send null for members that are not needed.";
        assert_eq!(refused.refusal(), said, "{body}");
        assert_eq!(app.get(&path).await.text, before, "{body}");
    };
    let accepted = async |body: Value| assert_eq!(patch(body.clone()).await.status, StatusCode::NO_CONTENT, "{body}");
    // `one` has 61 values, so that `two` may have 39.
    refused(json!({"two": ones(39)})).await;
    refused(json!({"two": {"a": ones(36)}, "three": null})).await;
    accepted(json!({"two": {"a": ones(36)}})).await;
    refused(json!({"three": 1})).await;
    accepted(json!({"displayName": "b", "one": ones(59), "three": 1})).await;
    // Rows that SQL or a file wrote can be larger. They can be changed, but do not grow.
    let larger = "UPDATE device_configurations SET properties = properties || jsonb_build_object('big', array_fill(1, ARRAY[80]))";
    sqlx::query(larger).execute(app.pool()).await.expect("a larger row");
    accepted(json!({"displayName": "c", "three": 2})).await;
    refused(json!({"big": ones(81)})).await;
    refused(json!({"four": 1})).await;
    accepted(json!({"big": null, "four": 1})).await;
    refused(json!({"five": 1})).await;
}
