//! Deep insert: a create of a configuration with its assignments. A change refuses navigation
//! properties.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    batch::{batch, statuses},
    harness::{Answer, App, CONFIGURATIONS, beta, group},
};

const TYPE: &str = "#microsoft.graph.iosUpdateConfiguration";

fn body(assignments: Value) -> Value {
    let mut body = json!({"@odata.type": TYPE, "displayName": "a"});
    body["assignments"] = assignments;
    body
}

fn target(of: &str) -> Value {
    json!({"target": {"@odata.type": format!("#microsoft.graph.{of}AssignmentTarget")}})
}

fn ids(assignments: &Value) -> Vec<String> {
    let all = assignments.as_array().expect("assignments").iter();
    all.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

async fn count(app: &App) -> String {
    app.get(&format!("{CONFIGURATIONS}/$count")).await.text
}

/// Asserts that the answer to a create equals a read with `$expand=assignments` and has no ETag.
async fn is_expanded(app: &App, collection: &str, created: &Answer) {
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let one = format!("{collection}/{}", created.id());
    assert_eq!(created.json(), app.get(&format!("{one}?$expand=assignments")).await.json());
    assert_eq!(created.header("location"), format!("{}{one}", app.origin));
    assert!(created.headers.get("etag").is_none());
    assert_eq!(json!(app.assignments(&one).await), created.json()["assignments"]);
}

#[actix_web::test]
async fn a_create_has_the_assignments_that_it_was_sent_with() {
    let app = App::start().await;
    let collection_target = json!({"target": {"@odata.type": "#microsoft.graph.configurationManagerCollectionAssignmentTarget", "collectionId": "c"}});
    let excluded =
        json!({"target": {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "b"}});
    for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS), CONFIGURATIONS.replacen("/v1.0", "", 1)] {
        for sent in [
            json!([target("allDevices")]),
            json!([group("a"), excluded, target("allLicensedUsers"), collection_target]),
            json!([]),
            json!((0..200).map(|n| group(&format!("g{n}"))).collect::<Vec<_>>()),
        ] {
            let created = app.post(&collection, &body(sent.clone())).await;
            let collection = if collection.starts_with("/device") { CONFIGURATIONS } else { &collection };
            is_expanded(&app, collection, &created).await;
            let created = created.json();
            for (sent, stored) in
                sent.as_array().expect("an array").iter().zip(created["assignments"].as_array().expect("an array"))
            {
                assert!(
                    sent["target"]
                        .as_object()
                        .expect("a target")
                        .iter()
                        .all(|(name, value)| stored["target"][name] == *value),
                    "{stored}"
                );
            }
            assert_eq!(created["assignments"].as_array().map(Vec::len), sent.as_array().map(Vec::len));
            assert_eq!(created["version"], 1);
        }
        // Without `assignments`, or with null, the answer does not expand them.
        let mut plain = body(json!(null));
        assert!(app.post(&collection, &plain).await.json().get("assignments").is_none());
        plain.as_object_mut().expect("an object").remove("assignments");
        let created = app.post(&collection, &plain).await;
        assert!(
            created.headers.contains_key("etag") && created.json().get("assignments").is_none(),
            "{}",
            created.text
        );
    }
}

#[actix_web::test]
async fn elements_are_read_as_those_of_assign() {
    let app = App::start().await;
    let (other, configuration, assignment) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let exported = |id: String, group: &str| {
        json!({"@odata.type": "#microsoft.graph.deviceConfigurationAssignment", "id": id, "source": "direct",
               "sourceId": other, "intent": "apply", "target@odata.type": "x",
               "target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": group,
                          "deviceAndAppManagementAssignmentFilterId": "f", "deviceAndAppManagementAssignmentFilterType": "include"}})
    };
    let set = json!([exported(format!("{configuration}_{other}"), "a"), exported(assignment.to_string(), "b")]);
    let created = app.post(&beta(CONFIGURATIONS), &body(set.clone())).await;
    is_expanded(&app, &beta(CONFIGURATIONS), &created).await;
    assert!(!ids(&created.json()["assignments"]).contains(&assignment.to_string()), "the service makes the ids");
    let one = beta(&app.configuration().await);
    let assigned = app.post(&format!("{one}/assign"), &json!({ "assignments": set })).await.json();
    for (created, mut assigned) in created.json()["assignments"]
        .as_array()
        .expect("two")
        .iter()
        .zip(assigned["value"].as_array().expect("two").clone())
    {
        assigned["id"] = created["id"].clone();
        assert_eq!(*created, assigned);
    }
    let by: Vec<Option<String>> = match crate::harness::is_remote() {
        true => return,
        false => sqlx::query_scalar("SELECT DISTINCT created_by FROM device_configuration_assignments")
            .fetch_all(app.pool())
            .await
            .expect("rows"),
    };
    assert!(by.len() == 1 && by[0].is_some(), "the author is the caller: {by:?}");
}

#[actix_web::test]
async fn a_wrong_element_is_named_and_nothing_is_created() {
    let app = App::start().await;
    let before = count(&app).await;
    let unknown = json!({"target": {"@odata.type": "#microsoft.graph.nonsense"}});
    let base = json!({"target": {"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}});
    let excluded =
        json!({"target": {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "A"}});
    for (assignments, place) in [
        (json!([unknown]), "'assignments[0].target'"),
        (
            json!([group("a"), {"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget"}}]),
            "'assignments[1].target.groupId'",
        ),
        (
            json!([group("a"), group("b"), group("a")]),
            "'assignments[2].target' targets the group 'a', as an earlier element does",
        ),
        (json!([group("A"), excluded]), "'assignments[1].target' targets the group 'A', as an earlier element does"),
        (json!([target("allDevices"), target("allDevices")]), "'assignments[1].target' targets all devices"),
        (json!([base]), "The base target at 'assignments[0].target' names no target"),
        (json!([{}]), "'assignments[0].target' is missing"),
        (json!([{"target": null}]), "'assignments[0].target'"),
        (json!([{"target": {"groupId": "a"}}]), "'assignments[0].target.@odata.type' is missing"),
        (
            json!([{"targets": [], "target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}]),
            "'assignments[0].targets' is misspelt. Write 'assignments[0].target'",
        ),
        (json!([5]), "'assignments[0]'"),
        (json!({}), "'assignments'"),
        (json!("all"), "'assignments'"),
    ] {
        for collection in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
            let refusal = app.post(&collection, &body(assignments.clone())).await.refusal();
            assert!(
                refusal.starts_with("400 ModelValidationFailure: ") && refusal.contains(place),
                "{assignments}: {refusal}"
            );
        }
    }
    // On a running service other tests create configurations at the same time.
    assert!(crate::harness::is_remote() || count(&app).await == before);
}

#[actix_web::test]
async fn a_create_that_is_sent_again_compares_the_targets() {
    let app = App::start().await;
    let collection = beta(CONFIGURATIONS);
    let mut first = body(json!([group("a"), target("allDevices")]));
    first["id"] = Uuid::new_v4().to_string().into();
    let created = app.post(&collection, &first).await;
    is_expanded(&app, &collection, &created).await;
    // The order of the assignments does not matter.
    let mut again = first.clone();
    again["assignments"] = json!([target("allDevices"), group("a")]);
    for body in [&first, &again, &created.json()] {
        let answer = app.post(&collection, body).await;
        assert_eq!((answer.status, &answer.text), (StatusCode::CREATED, &created.text));
        assert!(answer.headers.get("etag").is_none());
    }
    // A create without `assignments` does not compare the stored assignments.
    let mut plain = first.clone();
    plain.as_object_mut().expect("an object").remove("assignments");
    let answer = app.post(&collection, &plain).await;
    assert_eq!((answer.status, answer.json().get("assignments")), (StatusCode::CREATED, None), "{}", answer.text);
    let mut filtered = group("a");
    filtered["target"]["deviceAndAppManagementAssignmentFilterId"] = "f".into();
    filtered["target"]["deviceAndAppManagementAssignmentFilterType"] = "include".into();
    for assignments in [
        json!([]),
        json!([group("a")]),
        json!([group("a"), target("allLicensedUsers")]),
        json!([group("a"), target("allDevices"), group("b")]),
        json!([filtered, target("allDevices")]),
    ] {
        let mut other = first.clone();
        other["assignments"] = assignments;
        let refusal = app.post(&collection, &other).await.refusal();
        assert!(
            refusal.starts_with("409 Conflict: The device configuration '[guid]' exists and has other assignments"),
            "{refusal}"
        );
    }
    let mut other = first.clone();
    other["displayName"] = "b".into();
    let refusal = app.post(&collection, &other).await.refusal();
    assert!(refusal.starts_with("409 Conflict: Another device configuration has the id '[guid]'."), "{refusal}");
    assert_eq!(app.get(&format!("{collection}/{}?$expand=assignments", created.id())).await.json(), created.json());
}

#[actix_web::test]
async fn equal_creates_at_once_store_one_set() {
    let app = App::start().await;
    let mut sent = body(json!((0..20).map(|n| group(&n.to_string())).collect::<Vec<_>>()));
    sent["id"] = Uuid::new_v4().to_string().into();
    let answers = futures_util::future::join_all((0..8).map(|_| app.post(CONFIGURATIONS, &sent))).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.text), (StatusCode::CREATED, &answers[0].text));
    }
    assert_eq!(app.assignments(&format!("{CONFIGURATIONS}/{}", answers[0].id())).await.len(), 20);
}

#[actix_web::test]
async fn a_minimal_answer_has_no_body_and_the_etag_of_the_configuration() {
    let app = App::start().await;
    for prefer in ["return=minimal", "return=representation"] {
        let request = app.request(Method::POST, CONFIGURATIONS).header("prefer", prefer);
        let sent = body(json!([group("a")])).to_string();
        let answer = app.answer(request.header("content-type", "application/json").body(sent)).await;
        assert_eq!(answer.header("preference-applied"), prefer);
        let one = answer.header("location").strip_prefix(&app.origin).expect("a link").to_owned();
        assert_eq!(app.assignments(&one).await.len(), 1);
        let read = app.get(&one).await;
        let is_minimal = prefer == "return=minimal";
        assert_eq!(answer.status, if is_minimal { StatusCode::NO_CONTENT } else { StatusCode::CREATED });
        assert_eq!(answer.headers.get("etag"), is_minimal.then(|| &read.headers["etag"]));
        assert_eq!(answer.text.is_empty(), is_minimal);
    }
}

#[actix_web::test]
async fn a_batch_creates_with_assignments_and_a_failed_group_creates_neither() {
    let app = App::start().await;
    let before = count(&app).await;
    let create = |id: &str, assignments: Value| {
        json!({"id": id, "method": "POST", "url": "/deviceManagement/deviceConfigurations",
               "headers": {"Content-Type": "application/json"}, "body": body(assignments)})
    };
    let in_group = |mut step: Value| {
        step["atomicityGroup"] = "g".into();
        step
    };
    let answers =
        batch(&app, &json!([create("1", json!([group("a")])), create("2", json!([group("a"), group("a")]))])).await;
    assert_eq!(statuses(&answers), [201, 400]);
    assert_eq!(answers[0]["body"]["assignments"][0]["target"]["groupId"], "a");
    let more = json!({"id": "2", "method": "POST", "url": "$1/assignments", "dependsOn": ["1"],
                      "headers": {"Content-Type": "application/json"}, "body": group("b")});
    let answers = batch(&app, &json!([in_group(create("1", json!([group("a")]))), in_group(more)])).await;
    assert_eq!(statuses(&answers), [201, 201], "{answers:?}");
    let one = format!("{CONFIGURATIONS}/{}", answers[0]["body"]["id"].as_str().expect("an id"));
    assert_eq!(app.assignments(&one).await.len(), 2);
    let failing = json!([in_group(create("1", json!([group("a")]))), in_group(create("2", json!([{}])))]);
    assert_eq!(statuses(&batch(&app, &failing).await), [424, 400]);
    let number = |text: String| text.trim_start_matches('\u{feff}').parse::<u64>().expect("a number");
    if !crate::harness::is_remote() {
        assert!(number(count(&app).await) == number(before) + 2);
    }
}

#[actix_web::test]
async fn other_navigation_properties_are_refused_and_a_change_points_to_assign() {
    let app = App::start().await;
    let one = app.configuration().await;
    let names = [
        "groupAssignments",
        "deviceStatuses",
        "userStatuses",
        "deviceStatusOverview",
        "userStatusOverview",
        "deviceSettingStateSummaries",
    ];
    for (one, collection) in [(one.clone(), CONFIGURATIONS.to_owned()), (beta(&one), beta(CONFIGURATIONS))] {
        for name in names {
            // An empty collection has no effect, unless another request sets the property.
            let is_accepted = !["groupAssignments", "deviceStatusOverview", "userStatusOverview"].contains(&name);
            let mut sent = json!({"@odata.type": TYPE, "displayName": "a"});
            sent[name] = json!([]);
            for answer in [app.post(&collection, &sent).await, app.patch(&one, &json!({ name: [] })).await] {
                assert_eq!(answer.status.is_success(), is_accepted, "{name}: {}", answer.text);
            }
            for value in [json!(null), json!([{}]), json!({})] {
                let mut sent = json!({"@odata.type": TYPE, "displayName": "a"});
                sent[name] = value.clone();
                for refusal in [app.post(&collection, &sent).await, app.patch(&one, &json!({ name: value })).await] {
                    let refusal = refusal.refusal();
                    assert!(
                        refusal.starts_with(&format!(
                            "400 ModelValidationFailure: The member '{name}' is a navigation property"
                        )),
                        "{refusal}"
                    );
                }
            }
        }
        for value in [json!([]), json!([group("a")]), json!(null)] {
            let refusal = app.patch(&one, &json!({"assignments": value, "displayName": "b"})).await.refusal();
            assert!(
                refusal.starts_with("400 ModelValidationFailure: The member 'assignments'")
                    && refusal.contains("…/assign"),
                "{refusal}"
            );
        }
    }
    assert_eq!(app.get(&one).await.json()["version"], 1);
    assert_eq!(app.assignments(&one).await, [] as [Value; 0]);
}

/// `/v1.0` does not have these navigation properties.
#[actix_web::test]
async fn navigation_properties_of_a_derived_type_are_refused() {
    let app = App::start().await;
    for (odata_type, name) in [
        ("windows10GeneralConfiguration", "privacyAccessControls"),
        ("iosDeviceFeaturesConfiguration", "identityCertificateForClientAuthentication"),
        ("iosDeviceFeaturesConfiguration", "singleSignOnExtensionPkinitCertificate"),
        ("macOSDeviceFeaturesConfiguration", "singleSignOnExtensionPkinitCertificate"),
    ] {
        let mut body = json!({"@odata.type": format!("#microsoft.graph.{odata_type}"), "displayName": "a"});
        let one = format!("{}/{}", beta(CONFIGURATIONS), app.post(&beta(CONFIGURATIONS), &body).await.id());
        // Graph writes an empty collection where a client expands a navigation property.
        body[name] = json!([]);
        let empty = app.post(&beta(CONFIGURATIONS), &body).await;
        let is_collection = name == "privacyAccessControls";
        assert_eq!(empty.status == StatusCode::CREATED, is_collection, "{}", empty.text);
        assert_eq!(empty.json().get(name), None);
        for value in [json!([{}]), json!(null), json!({"displayName": "b"})] {
            body[name] = value.clone();
            for refusal in
                [app.post(&beta(CONFIGURATIONS), &body).await, app.patch(&one, &json!({ name: value })).await]
            {
                let refusal = refusal.refusal();
                assert!(
                    refusal.starts_with(&format!("400 ModelValidationFailure: The member '{name}' is a navigation")),
                    "{refusal}"
                );
            }
            assert_eq!(app.post(CONFIGURATIONS, &body).await.status, StatusCode::BAD_REQUEST);
        }
        // The same name is an unknown member of a type that does not have it.
        let other = json!({"@odata.type": TYPE, "displayName": "a", name: {"displayName": "b"}});
        assert_eq!(app.post(&beta(CONFIGURATIONS), &other).await.status, StatusCode::CREATED);
    }
    let abstract_type = json!({"@odata.type": "#microsoft.graph.iosCertificateProfileBase", "displayName": "a"});
    assert!(app.post(&beta(CONFIGURATIONS), &abstract_type).await.refusal().contains("abstract"));
    assert!(app.post(CONFIGURATIONS, &abstract_type).await.refusal().contains("could not be resolved"));
}

#[actix_web::test]
async fn a_change_of_a_configuration_is_204_on_beta_unless_the_entity_is_preferred() {
    let app = App::start().await;
    let v1 = app.configuration().await;
    let patch = async |path: &str, prefer: Option<&str>, name: &str| {
        let request = app.request(Method::PATCH, path).header("content-type", "application/json");
        let request = prefer.into_iter().fold(request, |request, prefer| request.header("prefer", prefer));
        app.answer(request.body(json!({"displayName": name}).to_string())).await
    };
    for (path, prefer, status) in [
        (&v1, None, 200),
        (&beta(&v1), None, 204),
        // The same value again changes nothing.
        (&beta(&v1), None, 204),
        (&beta(&v1), Some("return=representation"), 200),
        (&v1, Some("return=representation"), 200),
        (&beta(&v1), Some("return=minimal"), 204),
        (&v1, Some("return=minimal"), 204),
        (&beta(&v1), Some("handling=strict"), 204),
        (&v1.replacen("/v1.0", "", 1), None, 200),
    ] {
        let answer = patch(path, prefer, &format!("{status} {prefer:?}")).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {prefer:?}");
        let read = app.get(path).await;
        assert_eq!(answer.header("etag"), read.header("etag"));
        match status {
            200 => assert_eq!(answer.json(), read.json()),
            _ => assert_eq!(answer.text, ""),
        }
        let applied = answer.headers.get("preference-applied").map(|value| value.to_str().expect("text"));
        assert_eq!(applied, prefer.filter(|prefer| prefer.starts_with("return")));
    }
    // An assignment and a status answer a change with the entity on both versions.
    let assignment = app.post(&format!("{v1}/assignments"), &group("a")).await.id();
    let assignment = beta(&format!("{v1}/assignments/{assignment}"));
    assert_eq!(app.patch(&assignment, &group("b")).await.status, StatusCode::OK);
    let status = app.post(&format!("{v1}/deviceStatuses"), &json!({"deviceDisplayName": "d"})).await.id();
    let status = beta(&format!("{v1}/deviceStatuses/{status}"));
    assert_eq!(app.patch(&status, &json!({"deviceDisplayName": "e"})).await.status, StatusCode::OK);
    let step = json!([{"id": "1", "method": "PATCH", "url": beta(&v1), "headers": {"Content-Type": "application/json"}, "body": {"displayName": "c"}}]);
    let answers = batch(&app, &step).await;
    assert_eq!((statuses(&answers), answers[0].get("body")), (vec![204], None));
}
