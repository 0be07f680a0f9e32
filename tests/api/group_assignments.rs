//! `…/groupAssignments` on `/beta`: the group targets in their older form, read-only.

use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{App, beta, group};

#[actix_web::test]
async fn group_targets_are_read_in_the_older_form() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{}/groupAssignments", beta(&configuration));
    let id = configuration.rsplit('/').next().expect("an id");
    let context =
        format!("{}/beta/$metadata#deviceManagement/deviceConfigurations('{id}')/groupAssignments", app.origin);
    assert_eq!(app.get(&path).await.json(), json!({"@odata.context": context, "value": []}));

    let set = json!({"assignments": [
        group("a"),
        {"target": {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "b"}},
        {"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}},
        {"target": {"@odata.type": "#microsoft.graph.configurationManagerCollectionAssignmentTarget", "collectionId": "c"}},
    ]});
    app.post(&format!("{configuration}/assign"), &set).await;
    let stored = app.assignments(&configuration).await;
    let of = |index: usize, group: &str, is_excluded: bool| {
        json!({"@odata.type": "#microsoft.graph.deviceConfigurationGroupAssignment", "id": stored[index]["id"],
               "targetGroupId": group, "excludeGroup": is_excluded})
    };
    let all = app.get(&path).await;
    assert_eq!(all.status, StatusCode::OK);
    assert_eq!(all.json(), json!({"@odata.context": context, "value": [of(0, "a", false), of(1, "b", true)]}));
    // Paths are case-insensitive, and a key may stand in parentheses.
    for spelling in ["groupassignments", "GroupAssignments/"] {
        assert_eq!(app.get(&format!("{}/{spelling}", beta(&configuration))).await.text, all.text);
    }
    let key = stored[1]["id"].as_str().expect("an id");
    for path in [format!("{path}/{key}"), format!("{path}('{key}')")] {
        let mut expected = of(1, "b", true);
        expected["@odata.context"] = format!("{context}/$entity").into();
        assert_eq!(app.get(&path).await.json(), expected);
    }
    let answer = app.post("/beta/$batch", &json!({"requests": [{"id": "1", "method": "GET", "url": path}]})).await;
    assert_eq!(answer.json()["responses"][0]["body"], all.json());

    // The answer can be sent to `assign`, as in Microsoft's samples.
    let sent = json!({"deviceConfigurationGroupAssignments": all.json()["value"]});
    let assigned = app.post(&format!("{}/assign", beta(&configuration)), &sent).await;
    assert_eq!((assigned.status, app.get(&path).await.text), (StatusCode::OK, all.text));
}

#[actix_web::test]
async fn group_assignments_are_read_only_and_only_on_beta() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{}/groupAssignments", beta(&configuration));
    let target = json!({"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}});
    let other = app.post(&format!("{configuration}/assignments"), &target).await.id();
    for (path, message) in [
        (format!("{path}/{other}"), "DeviceConfigurationGroupAssignments not found: Assignment [guid]."),
        (format!("{path}/{}", Uuid::new_v4()), "DeviceConfigurationGroupAssignments not found: Assignment [guid]."),
        (
            path.replace(&configuration[configuration.len() - 36..], &Uuid::new_v4().to_string()),
            "DeviceConfigurations not found: Profile [guid].",
        ),
        (format!("{configuration}/groupAssignments"), "Resource not found for the path '/v1.0/"),
        (
            format!("{}/groupAssignments/{other}", configuration.replacen("/v1.0", "", 1)),
            "Resource not found for the path '/device",
        ),
    ] {
        let refusal = app.get(&path).await.refusal();
        assert!(refusal.starts_with(&format!("404 ResourceNotFound: {message}")), "{path}: {refusal}");
        assert_eq!(refusal.contains("Only /beta has this resource"), message.starts_with("Resource"), "{refusal}");
    }
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for path in [path.clone(), format!("{path}/{other}")] {
            let refused = app.send_json(method.clone(), &path, &json!({"targetGroupId": "a"})).await;
            assert_eq!((refused.status, refused.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
        }
    }
    for option in ["$top=1", "$filter=excludeGroup eq true", "$select=id", "$count=true"] {
        let refusal = app.get(&format!("{path}?{option}")).await.refusal();
        let name = option.split('=').next().expect("a name");
        assert!(
            refusal.starts_with(&format!("400 BadRequest: The query option '{name}' is not supported here")),
            "{refusal}"
        );
    }
}
