//! One assignment: create, read, change, delete.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{App, CONFIGURATIONS, DOCUMENTED_BODY, beta, group, is_remote};

const GUID: &str = "7E159A72-9A72-4E15-929A-157E729A157E";

#[actix_web::test]
async fn the_documented_request_is_answered_as_documented() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    for path in ["assignments", "assignments/$ref", "assignments/%24ref"] {
        for mount in ["/v1.0", ""] {
            let configuration = configuration.replacen("/v1.0", mount, 1);
            let created = app.send_text(Method::POST, &format!("{configuration}/{path}"), DOCUMENTED_BODY).await;
            assert_eq!(
                created.redacted(),
                r##"201 {"@odata.type":"#microsoft.graph.deviceConfigurationAssignment","id":"[guid]","target":{"@odata.type":"microsoft.graph.deviceAndAppManagementAssignmentTarget"}}"##
            );
            assert_eq!(created.header("content-type"), "application/json");
            assert_eq!(created.header("request-id"), created.header("client-request-id"));
            // The path without a version means /v1.0, and links say so.
            let location = created.header("location").strip_prefix(&app.origin).expect("the client's origin");
            assert!(location.starts_with("/v1.0/"), "{location}");
            let read = app.get(location).await;
            assert_eq!(
                read.redacted(),
                r##"200 {"@odata.context":"[origin]/v1.0/$metadata#deviceManagement/deviceConfigurations('[guid]')/assignments/$entity","@odata.type":"#microsoft.graph.deviceConfigurationAssignment","id":"[guid]","target":{"@odata.type":"microsoft.graph.deviceAndAppManagementAssignmentTarget"}}"##
            );
            assert_eq!(read.id(), created.id());
        }
        let created = app.send_text(Method::POST, &format!("{}/{path}", beta(&configuration)), DOCUMENTED_BODY).await;
        assert_eq!(
            created.redacted(),
            r##"201 {"@odata.type":"#microsoft.graph.deviceConfigurationAssignment","id":"[guid]","target":{"@odata.type":"microsoft.graph.deviceAndAppManagementAssignmentTarget","deviceAndAppManagementAssignmentFilterId":null,"deviceAndAppManagementAssignmentFilterType":"none"},"intent":"apply","source":"direct","sourceId":"[guid]"}"##
        );
        assert_eq!(created.json()["sourceId"], configuration.rsplit('/').next().expect("an id"));
    }
    assert_eq!(app.assignments(&configuration).await.len(), 9);
}

#[actix_web::test]
async fn links_have_the_origin_of_the_request() {
    let app = App::start().await;
    let path = format!("{}/assignments", app.configuration().await);
    let request =
        app.request(Method::POST, &path).header("host", "graph:8443").header("content-type", "application/json");
    let created = app.answer(request.body(DOCUMENTED_BODY)).await;
    assert!(created.header("location").starts_with("http://graph:8443/v1.0/"), "{}", created.header("location"));
}

#[actix_web::test]
async fn an_invalid_host_is_refused_and_never_part_of_a_link() {
    let app = App::start().await;
    for host in ["a\"b<>", "a b", "u:p@h", "h/d?x#y"] {
        let answer = app.answer(app.request(Method::GET, CONFIGURATIONS).header("host", host)).await;
        let refusal = answer.refusal();
        // A running service without authorization refuses the host earlier, with 421.
        let is_refused_earlier = is_remote() && refusal.starts_with("421 MisdirectedRequest: ");
        assert!(
            refusal.starts_with("400 BadRequest: The header Host is not a host name") || is_refused_earlier,
            "{host}: {refusal}"
        );
    }
}

#[actix_web::test]
async fn a_clients_request_id_comes_back() {
    let app = App::start().await;
    for (sent, comes_back) in [("4d7e-8f90", true), ("", false), (&*"x".repeat(129), false)] {
        let answer = app.answer(app.request(Method::GET, CONFIGURATIONS).header("client-request-id", sent)).await;
        assert_eq!(answer.header("client-request-id") == sent, comes_back, "{sent}");
        assert_ne!(answer.header("request-id"), sent);
    }
}

#[actix_web::test]
async fn every_target_comes_back_with_its_hash_and_a_guid_in_lower_case() {
    let app = App::start().await;
    let lower = GUID.to_lowercase();
    for (sent, stored) in [
        (json!({"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}), json!({})),
        (json!({"@odata.type": "microsoft.graph.allLicensedUsersAssignmentTarget"}), json!({})),
        (json!({"@odata.type": "microsoft.graph.groupAssignmentTarget", "groupId": GUID}), json!({"groupId": lower})),
        (
            json!({"groupId": "Group Id Value", "@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget"}),
            json!({"groupId": "Group Id Value"}),
        ),
        (
            json!({"@odata.type": "#microsoft.graph.configurationManagerCollectionAssignmentTarget", "collectionId": "SMS00001"}),
            json!({"collectionId": "SMS00001"}),
        ),
    ] {
        let configuration = app.configuration().await;
        let created = app.post(&format!("{configuration}/assignments"), &json!({"target": sent})).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        let mut expected = stored;
        expected["@odata.type"] =
            format!("#{}", sent["@odata.type"].as_str().expect("a type").trim_start_matches('#')).into();
        assert_eq!(created.json()["target"], expected);
        assert_eq!(app.assignments(&configuration).await, [created.json()]);
        let on_beta = &app.assignments(&beta(&configuration)).await[0];
        expected["deviceAndAppManagementAssignmentFilterId"] = Value::Null;
        expected["deviceAndAppManagementAssignmentFilterType"] = "none".into();
        assert_eq!(on_beta["target"], expected);
    }
}

#[actix_web::test]
async fn a_create_with_an_id_can_be_sent_again() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let id = uuid::Uuid::new_v4().to_string();
    let mut body = group("a");
    body["id"] = id.to_uppercase().into();
    let first = app.post(&path, &body).await;
    assert_eq!((first.status, first.id()), (StatusCode::CREATED, id.clone()));
    let again = app.post(&path, &body).await;
    assert_eq!(
        (again.status, &again.text, again.header("location")),
        (first.status, &first.text, first.header("location"))
    );

    // An assignment that was read on /beta can be sent again there. A create on /v1.0 has no
    // members of /beta, so they are not compared.
    let on_beta = app.get(&format!("{}/{id}", beta(&path))).await.json();
    assert_eq!(app.post(&beta(&path), &on_beta).await.status, StatusCode::CREATED);
    app.patch(&format!("{}/{id}", beta(&path)), &json!({"intent": "remove"})).await;
    assert_eq!(app.post(&path, &body).await.status, StatusCode::CREATED);
    assert!(
        app.post(&beta(&path), &on_beta).await.refusal().starts_with("409 Conflict: Another assignment has the id")
    );

    body["target"]["groupId"] = "b".into();
    assert_eq!(
        app.post(&path, &body).await.refusal(),
        "409 Conflict: Another assignment has the id '[guid]'. Send another id, or none."
    );
    let elsewhere = format!("{}/assignments", app.configuration().await);
    assert_eq!(
        app.post(&elsewhere, &body).await.refusal(),
        "409 Conflict: Another assignment has the id '[guid]'. Send another id, or none."
    );
    let nowhere = format!("{CONFIGURATIONS}/{id}/assignments");
    assert!(
        app.post(&nowhere, &body).await.refusal().starts_with("404 ResourceNotFound: DeviceConfigurations not found")
    );
    assert_eq!(app.assignments(&configuration).await.len(), 1);
}

#[actix_web::test]
async fn an_id_of_graphs_own_form_is_replaced_and_any_other_is_refused() {
    let app = App::start().await;
    let path = format!("{}/assignments", app.configuration().await);
    let send = async |id: Value| {
        let mut body: Value = serde_json::from_str(DOCUMENTED_BODY).expect("JSON");
        body["id"] = id;
        app.post(&path, &body).await
    };
    let replaced = send(format!("{GUID}_{GUID}").into()).await;
    assert_eq!(replaced.status, StatusCode::CREATED);
    assert_eq!(replaced.id().len(), 36);
    for id in [
        "5",
        "{7e159a72-9a72-7e15-729a-157e729a157e}",
        "7e159a729a727e15729a157e729a157e",
        "7e159a72-9a72-7e15-729a-157e729a157e_1",
    ] {
        let refused = send(id.into()).await.refusal();
        assert!(
            refused.starts_with("400 ModelValidationFailure: The value '") && refused.contains("of 'id' is not a GUID"),
            "{refused}"
        );
    }
    for id in [5.into(), json!({}), json!([])] {
        assert!(send(id).await.refusal().contains("to the expected type 'Edm.String' for the member 'id'"));
    }
}

#[actix_web::test]
async fn a_configuration_cannot_have_the_same_target_twice() {
    let app = App::start().await;
    let target = |name: &str, member: &str, value: &str| {
        let mut target = json!({"@odata.type": format!("#microsoft.graph.{name}")});
        if !member.is_empty() {
            target[member] = value.into();
        }
        json!({ "target": target })
    };
    for (first, second, named) in [
        (target("allDevicesAssignmentTarget", "", ""), target("allDevicesAssignmentTarget", "", ""), "all devices"),
        (
            target("allLicensedUsersAssignmentTarget", "", ""),
            target("allLicensedUsersAssignmentTarget", "", ""),
            "all licensed users",
        ),
        (
            target("groupAssignmentTarget", "groupId", "a"),
            target("groupAssignmentTarget", "groupId", "a"),
            "the group 'a'",
        ),
        (
            target("exclusionGroupAssignmentTarget", "groupId", GUID),
            target("groupAssignmentTarget", "groupId", &GUID.to_lowercase()),
            "the group '[guid]'",
        ),
        (
            target("configurationManagerCollectionAssignmentTarget", "collectionId", "a"),
            target("configurationManagerCollectionAssignmentTarget", "collectionId", "a"),
            "the collection 'a'",
        ),
    ] {
        let configuration = app.configuration().await;
        let path = format!("{configuration}/assignments");
        let created = app.post(&path, &first).await;
        let refused = app.post(&path, &second).await;
        assert_eq!(
            refused.refusal(),
            format!(
                "409 Conflict: The assignment '[guid]' of this configuration already includes or excludes {named}. Change or delete that assignment."
            )
        );
        assert!(refused.text.contains(&created.id()));
        assert_eq!(app.assignments(&configuration).await, [created.json()]);
    }
}

#[actix_web::test]
async fn a_patch_changes_what_it_names() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let id = app.post(&path, &group("a")).await.id();
    let one = format!("{path}/{id}");

    let unchanged = app.patch(&one, &json!({})).await;
    assert_eq!((unchanged.status, unchanged.json()), (StatusCode::OK, app.get(&one).await.json()));

    let target = json!({"@odata.type": "microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "b"});
    let changed = app
        .patch(
            &one,
            &json!({"@odata.type": "#microsoft.graph.deviceConfigurationAssignment", "id": "any", "target": target}),
        )
        .await;
    assert_eq!(
        changed.redacted(),
        r##"200 {"@odata.context":"[origin]/v1.0/$metadata#deviceManagement/deviceConfigurations('[guid]')/assignments/$entity","@odata.type":"#microsoft.graph.deviceConfigurationAssignment","id":"[guid]","target":{"@odata.type":"#microsoft.graph.exclusionGroupAssignmentTarget","groupId":"b"}}"##
    );
    assert_eq!(changed.id(), id);

    // The change has freed the old target and taken the new one.
    let other = app.post(&path, &group("a")).await.id();
    let refused = app.patch(&format!("{path}/{other}"), &group("b")).await;
    assert!(refused.refusal().contains(" of this configuration already includes or excludes the group 'b'."));
    assert!(refused.text.contains(&id));

    let everybody = json!({"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}});
    let minimal =
        app.request(Method::PATCH, &one).header("prefer", "return=minimal").header("content-type", "application/json");
    let minimal = app.answer(minimal.body(everybody.to_string())).await;
    assert_eq!(
        (minimal.status, minimal.text.as_str(), minimal.header("preference-applied")),
        (StatusCode::NO_CONTENT, "", "return=minimal")
    );
    assert_eq!(app.get(&one).await.json()["target"], everybody["target"]);

    for body in [
        json!({"target": null}),
        json!({"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget"}}),
        json!({"nothing": 1}),
    ] {
        assert!(app.patch(&one, &body).await.refusal().starts_with("400 ModelValidationFailure"));
    }
    assert_eq!(app.get(&one).await.json()["target"], everybody["target"]);
}

#[actix_web::test]
async fn a_deleted_assignment_is_gone_and_its_target_is_free() {
    let app = App::start().await;
    let path = format!("{}/assignments", app.configuration().await);
    let one = format!("{path}/{}", app.post(&path, &group("a")).await.id());
    let deleted = app.delete(&one).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    for answer in [app.get(&one).await, app.delete(&one).await, app.patch(&one, &json!({})).await] {
        assert_eq!(
            answer.refusal(),
            "404 ResourceNotFound: DeviceConfigurationAssignments not found: Assignment [guid]. GET …/assignments lists the existing ones."
        );
    }
    assert_eq!(app.post(&path, &group("a")).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn a_configuration_that_is_not_there_is_404_for_every_method_below_it() {
    let app = App::start().await;
    let there = app.configuration().await;
    let assignment = app.post(&format!("{there}/assignments"), &group("a")).await.id();
    for key in ["0c6a2b1d-1111-4222-8333-444455556666", "5", "a%20b", "%00", "7e159a729a727e15729a157e729a157e"] {
        let missing = format!("{CONFIGURATIONS}/{key}");
        let body = &group("a");
        for answer in [
            app.get(&missing).await,
            app.patch(&missing, &json!({"displayName": "x"})).await,
            app.delete(&missing).await,
            app.get(&format!("{missing}/assignments")).await,
            app.post(&format!("{missing}/assignments"), body).await,
            app.post(&format!("{missing}/assignments/$ref"), body).await,
            app.get(&format!("{missing}/assignments/{assignment}")).await,
            app.patch(&format!("{missing}/assignments/{assignment}"), body).await,
            app.delete(&format!("{missing}/assignments/{assignment}")).await,
            app.post(&format!("{missing}/assign"), &json!({"assignments": []})).await,
            app.post(&format!("{missing}/microsoft.graph.assign"), &json!({"assignments": []})).await,
        ] {
            let refusal = answer.refusal();
            assert!(refusal.starts_with("404 ResourceNotFound: DeviceConfigurations not found: Profile "), "{refusal}");
        }
    }
    for key in [
        "0c6a2b1d-1111-4222-8333-444455556666",
        "5",
        "7e159a72-9a72-7e15-729a-157e729a157e_7e159a72-9a72-7e15-729a-157e729a157e",
    ] {
        let refusal = app.get(&format!("{there}/assignments/{key}")).await.refusal();
        assert!(refusal.starts_with("404 ResourceNotFound: DeviceConfigurationAssignments not found"), "{refusal}");
    }
    // An assignment belongs to one configuration only.
    let other = app.configuration().await;
    assert_eq!(app.get(&format!("{other}/assignments/{assignment}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.delete(&format!("{other}/assignments/{assignment}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        app.patch(&format!("{other}/assignments/{assignment}"), &group("b")).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(app.assignments(&there).await.len(), 1);
}
