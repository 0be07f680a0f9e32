//! The action `assign`, which replaces all assignments of a configuration.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{App, beta, group};

fn targets(assignments: &[Value]) -> Vec<String> {
    let mut targets: Vec<_> = assignments.iter().map(|assignment| assignment["target"].to_string()).collect();
    targets.sort();
    targets
}

fn groups(ids: &[&str]) -> Value {
    json!({"assignments": ids.iter().map(|id| group(id)).collect::<Vec<_>>()})
}

#[actix_web::test]
async fn a_set_replaces_the_one_before_it() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assign");
    let assign = |targets: Value| {
        let elements =
            targets.as_array().expect("targets").iter().map(
                |target| json!({"@odata.type": "#microsoft.graph.deviceConfigurationAssignment", "target": target}),
            );
        json!({"assignments": elements.collect::<Vec<_>>()})
    };
    for set in [
        json!([
            {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "a"},
            {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "b"},
        ]),
        json!([{"@odata.type": "#microsoft.graph.allLicensedUsersAssignmentTarget"}]),
        json!([{"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}]),
        json!([{"@odata.type": "#microsoft.graph.configurationManagerCollectionAssignmentTarget", "collectionId": "SMS00001"}]),
        json!([]),
    ] {
        // `assign` removes every assignment that it does not name. This includes one with the base
        // target, which `assign` itself does not accept.
        app.post(
            &format!("{configuration}/assignments"),
            &json!({"target": {"@odata.type": "#microsoft.graph.deviceAndAppManagementAssignmentTarget"}}),
        )
        .await;
        let answer = app.post(&path, &assign(set.clone())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let context =
            format!("{}/v1.0/$metadata#Collection(microsoft.graph.deviceConfigurationAssignment)", app.origin);
        assert_eq!(answer.json()["@odata.context"], context.as_str());
        let stored = app.assignments(&configuration).await;
        assert_eq!(answer.json()["value"], json!(stored));
        let mut expected: Vec<_> = set.as_array().expect("targets").iter().map(Value::to_string).collect();
        expected.sort();
        assert_eq!(targets(&stored), expected);
    }
    assert_eq!(app.get(&configuration).await.json()["version"], 1, "assignments do not raise the version");
}

#[actix_web::test]
async fn a_target_that_stays_keeps_its_id_and_on_v1_its_beta_members() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let mut filtered = group("a");
    filtered["target"]["deviceAndAppManagementAssignmentFilterId"] = "f".into();
    filtered["target"]["deviceAndAppManagementAssignmentFilterType"] = "include".into();
    let on_beta = beta(&configuration);
    let first = app
        .post(&format!("{on_beta}/assign"), &json!({"assignments": [filtered, group("b"), group("c")]}))
        .await
        .json();
    let id = |answer: &Value, group: &str| {
        let elements = answer["value"].as_array().expect("a collection").clone();
        elements.into_iter().find(|element| element["target"]["groupId"] == group).expect(group)["id"].clone()
    };

    // Group b becomes an exclusion. To exclude a group is another target than to include it.
    let excluded =
        json!({"target": {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "b"}});
    let mut a = group("a");
    a["id"] = "an id that is not applied".into();
    let second = app
        .post(&format!("{configuration}/microsoft.graph.assign"), &json!({"assignments": [excluded, group("d"), a]}))
        .await
        .json();
    assert_eq!(id(&second, "a"), id(&first, "a"));
    assert_ne!(id(&second, "b"), id(&first, "b"));
    assert_eq!(second["value"].as_array().map(Vec::len), Some(3));
    let stored = app.assignments(&on_beta).await;
    let a = stored.iter().find(|element| element["target"]["groupId"] == "a").expect("a");
    assert_eq!(
        a["target"]["deviceAndAppManagementAssignmentFilterId"], "f",
        "/v1.0 does not change members that it does not have"
    );

    let third = app.post(&format!("{on_beta}/assign"), &groups(&["a"])).await.json();
    assert_eq!(id(&third, "a"), id(&first, "a"));
    assert_eq!(
        third["value"][0]["target"]["deviceAndAppManagementAssignmentFilterId"],
        Value::Null,
        "beta says the whole of it"
    );
}

#[actix_web::test]
async fn beta_takes_group_assignments_as_well() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let body = json!({
        "deviceConfigurationGroupAssignments": [
            {"@odata.type": "#microsoft.graph.deviceConfigurationGroupAssignment", "id": "x", "targetGroupId": "a", "excludeGroup": false},
            {"targetGroupId": "b", "excludeGroup": true},
        ],
        "assignments": [group("c")],
    });
    let answer = app.post(&format!("{}/assign", beta(&configuration)), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(
        targets(&app.assignments(&configuration).await),
        [
            r##"{"@odata.type":"#microsoft.graph.exclusionGroupAssignmentTarget","groupId":"b"}"##,
            r##"{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"a"}"##,
            r##"{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"c"}"##,
        ]
    );
    let refused = app.post(&format!("{configuration}/assign"), &body).await.refusal();
    assert!(refused.contains("'deviceConfigurationGroupAssignments' does not exist"), "{refused}");
    let cleared = app
        .post(&format!("{}/assign", beta(&configuration)), &json!({"deviceConfigurationGroupAssignments": []}))
        .await;
    assert_eq!((cleared.status, &cleared.json()["value"]), (StatusCode::OK, &json!([])));
}

#[actix_web::test]
async fn a_refused_set_changes_nothing() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    app.post(&format!("{configuration}/assign"), &groups(&["a", "b"])).await;
    let before = app.assignments(&configuration).await;
    let base = json!({"target": {"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}});
    let excluded =
        json!({"target": {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "c"}});
    for (version, body, message) in [
        ("v1.0", json!({}), "The member 'assignments' is missing."),
        ("v1.0", json!({"assignments": null}), "The member 'assignments' is missing."),
        (
            "v1.0",
            json!({"assignments": {}}),
            "Cannot convert the literal 'an object' to the expected type 'Collection(microsoft.graph.deviceConfigurationAssignment)' for the member 'assignments'.",
        ),
        (
            "v1.0",
            json!({"assignments": [group("c"), 5]}),
            "The value of 'assignments[1]' must be an object of type 'microsoft.graph.deviceConfigurationAssignment', not a number.",
        ),
        (
            "v1.0",
            json!({"assignments": [group("c"), group("c")]}),
            "The element at 'assignments[1].target' targets the group 'c', as an earlier element does.",
        ),
        (
            "v1.0",
            json!({"assignments": [group("c"), excluded]}),
            "The element at 'assignments[1].target' targets the group 'c', as an earlier element does.",
        ),
        ("v1.0", json!({"assignments": [base]}), "The base target at 'assignments[0].target' names no target."),
        (
            "v1.0",
            json!({"assignments": [{"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget"}}]}),
            "The member 'assignments[0].target.groupId' is missing.",
        ),
        ("v1.0", json!({"assignments": [], "modus": "add"}), "The property 'modus' does not exist"),
        (
            "beta",
            json!({"assignments": [group("c")], "deviceConfigurationGroupAssignments": [{"targetGroupId": "c"}]}),
            "The element at 'deviceConfigurationGroupAssignments[0].targetGroupId' targets the group 'c', as an earlier element does.",
        ),
        (
            "beta",
            json!({"deviceConfigurationGroupAssignments": [{"excludeGroup": true}]}),
            "The member 'deviceConfigurationGroupAssignments[0].targetGroupId' is missing.",
        ),
        (
            "beta",
            json!({"deviceConfigurationGroupAssignments": [{"targetGroupId": "c", "excludeGroup": "yes"}]}),
            "Cannot convert the literal '\"yes\"' to the expected type 'Edm.Boolean'",
        ),
    ] {
        let refused =
            app.post(&format!("{}/assign", configuration.replacen("v1.0", version, 1)), &body).await.refusal();
        assert!(refused.starts_with(&format!("400 ModelValidationFailure: {message}")), "{refused}");
    }
    assert_eq!(app.assignments(&configuration).await, before);
}
