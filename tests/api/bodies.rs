//! Bodies as administration tools send them: spelling, control information, and "no id".

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{App, CONFIGURATIONS, beta};

const ZERO: &str = "00000000-0000-0000-0000-000000000000";
const VERSIONS: [fn(&str) -> String; 2] = [str::to_owned, beta];

fn custom(member: &str, value: Value) -> Value {
    let mut body = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a"});
    body[member] = value;
    body
}

fn setting(members: Value) -> Value {
    let mut setting =
        json!({"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./x", "value": "v"});
    let of = setting.as_object_mut().expect("an object");
    of.extend(members.as_object().expect("an object").clone());
    of.retain(|_, value| !value.is_null());
    custom("omaSettings", json!([setting]))
}

fn all_devices() -> Value {
    json!({"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"})
}

/// Sends each body to a path on both versions. Expects refusals that contain each text.
async fn refused(app: &App, method: Method, path: &str, cases: Vec<(Value, &[&str])>) {
    for (body, expected) in cases {
        for version in VERSIONS {
            let refusal = app.send_json(method.clone(), &version(path), &body).await.refusal();
            assert!(refusal.starts_with("400 ModelValidationFailure: "), "{body}\n{refusal}");
            for text in expected {
                assert!(refusal.contains(text), "{body}\n{refusal}\nhas no {text}");
            }
        }
    }
}

#[actix_web::test]
async fn a_misspelt_member_of_a_configuration_is_refused_with_its_right_spelling() {
    let app = App::start().await;
    let one = app.configuration().await;
    refused(
        &app,
        Method::PATCH,
        &one,
        vec![
            (json!({"Description": "new"}), &["'Description' is misspelt. Write 'description'."]),
            (json!({"DISPLAYNAME": "new"}), &["'DISPLAYNAME' is misspelt. Write 'displayName'."]),
            (json!({"descripton": "new"}), &["'descripton' is misspelt. Write 'description'."]),
            (json!({"descriptoin": "new"}), &["'descriptoin' is misspelt. Write 'description'."]),
            (json!({"Id": "x"}), &["'Id' is misspelt. Write 'id'."]),
            (json!({"Version": 1}), &["'Version' is misspelt. Write 'version'."]),
            (json!({"createdDatetime": "2026-01-01T00:00:00Z"}), &["is misspelt. Write 'createdDateTime'."]),
            (json!({"omaSetting": []}), &["'omaSetting' is misspelt. Write 'omaSettings'."]),
            (json!({"Assignments": []}), &["'Assignments' is misspelt. Write 'assignments'."]),
            (json!({"deviceStatusOverviews": 1}), &["is misspelt. Write 'deviceStatusOverview'."]),
        ],
    )
    .await;
    for (name, right) in [("RoleScopeTagIds", "roleScopeTagIds"), ("roleScopeTagId", "roleScopeTagIds")] {
        let refusal = app.patch(&beta(&one), &json!({name: ["0"]})).await.refusal();
        assert!(refusal.contains(&format!("'{name}' is misspelt. Write '{right}'.")), "{refusal}");
    }
    let read = app.get(&beta(&one)).await.json();
    assert!(read.get("Description").is_none() && read["description"].is_null(), "{read}");
    refused(
        &app,
        Method::POST,
        CONFIGURATIONS,
        vec![
            (
                json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayname": "a"}),
                &["'displayname' is misspelt. Write 'displayName'."],
            ),
            (
                setting(json!({"omaUri": null, "OmaUri": "./x"})),
                &["'omaSettings[0].OmaUri' is misspelt. Write 'omaSettings[0].omaUri'."],
            ),
            (setting(json!({"Value": "x"})), &["'omaSettings[0].Value' is misspelt. Write 'omaSettings[0].value'."]),
            (setting(json!({"displayNam": "x"})), &["is misspelt. Write 'omaSettings[0].displayName'."]),
        ],
    )
    .await;
    let encrypted = app.post(&beta(CONFIGURATIONS), &setting(json!({"IsEncrypted": true}))).await.refusal();
    assert!(encrypted.contains("is misspelt. Write 'omaSettings[0].isEncrypted'."), "{encrypted}");
}

#[actix_web::test]
async fn an_unknown_member_is_kept_on_beta_unless_it_is_nearly_a_known_one() {
    let app = App::start().await;
    let body = json!({
        "@odata.type": "#microsoft.graph.windows10CustomConfiguration",
        "displayName": "a",
        "url": 1,
        "ids": 2,
        "größe": 3,
        "_x": {"OmaUri": 1, "Description": 2, "@odata.type": "#microsoft.graph.thing", "@odata.etag": "x", "y@odata.type": "z"},
        "descriptions2": 4,
        "omaSettings": [{"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./x", "value": "v", "uri": 5}],
    });
    let created = app.post(&beta(CONFIGURATIONS), &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let read = created.json();
    assert_eq!(
        (&read["url"], &read["ids"], &read["größe"], &read["descriptions2"], &read["omaSettings"][0]["uri"]),
        (&json!(1), &json!(2), &json!(3), &json!(4), &json!(5))
    );
    assert_eq!(read["_x"], json!({"OmaUri": 1, "Description": 2, "@odata.type": "#microsoft.graph.thing"}));
    // A type that only /beta has, which has the members of the base type, too.
    let kiosk =
        |name: &str| json!({"@odata.type": "#microsoft.graph.windowsKioskConfiguration", "displayName": "a", name: 1});
    assert_eq!(app.post(&beta(CONFIGURATIONS), &kiosk("kioskBrowser")).await.status, StatusCode::CREATED);
    assert!(
        app.post(&beta(CONFIGURATIONS), &kiosk("Version")).await.refusal().contains("is misspelt. Write 'version'.")
    );
}

#[actix_web::test]
async fn a_name_that_no_property_can_have_is_refused() {
    let app = App::start().await;
    let long = "a".repeat(129);
    for name in ["a b", "$x", "", "1a", "a-b", "a.b", "a\n", "a\u{7f}", "a'b", &long] {
        let nested = setting(json!({name: 1}));
        let undeclared = custom("unknown", json!([{"inside": {name: 1}}]));
        for body in [custom(name, json!(1)), nested, undeclared] {
            let refusal = app.post(&beta(CONFIGURATIONS), &body).await.refusal();
            assert!(refusal.starts_with("400 ModelValidationFailure: The member '"), "{refusal}");
            assert!(refusal.contains("has a name that no property can have."), "{refusal}");
        }
        let refusal = app.post(CONFIGURATIONS, &custom(name, json!(1))).await.refusal();
        assert!(refusal.contains("has a name that no property can have."), "{refusal}");
    }
}

#[actix_web::test]
async fn a_misspelt_type_is_refused_with_near_types() {
    let app = App::start().await;
    let typed = |name: &str| json!({"@odata.type": name, "displayName": "a"});
    let right = "Write '#microsoft.graph.iosUpdateConfiguration'.";
    let nested = |name: &str| setting(json!({"@odata.type": format!("#microsoft.graph.{name}")}));
    refused(
        &app,
        Method::POST,
        CONFIGURATIONS,
        vec![
            (typed("iosUpdateConfiguration"), &[right]),
            (typed("#iosUpdateConfiguration"), &[right]),
            (typed("Microsoft.Graph.iosUpdateConfiguration"), &[right]),
            (typed("#microsoft.graph.iosUpdatesConfiguration"), &[right]),
            (typed("#microsoft.graph.IosUpdateConfiguration"), &[right]),
            (nested("OmaSettingString"), &["Write '#microsoft.graph.omaSettingString'.", "omaSettings[0]"]),
            (nested("omaSettingStrings"), &["Write '#microsoft.graph.omaSettingString'."]),
        ],
    )
    .await;
    let unknown = typed("#microsoft.graph.windows10CustomConfigurationn1");
    assert!(app.post(CONFIGURATIONS, &unknown).await.refusal().contains("Did you mean '#microsoft.graph.windows10"));
    let inside = custom("unknown", json!({"@odata.type": "#microsoft.graph.OmaSettingString"}));
    let refusal = app.post(&beta(CONFIGURATIONS), &inside).await.refusal();
    assert!(
        refusal.contains("is misspelt. Write '#microsoft.graph.omaSettingString'. The error is at 'unknown'."),
        "{refusal}"
    );
    let one = app.configuration().await;
    refused(
        &app,
        Method::POST,
        &format!("{one}/assignments"),
        vec![
            (
                json!({"target": {"@odata.type": "groupAssignmentTarget"}}),
                &["Write '#microsoft.graph.groupAssignmentTarget'."],
            ),
            (
                json!({"target": {"@odata.type": "#microsoft.graph.GroupAssignmentTarget"}}),
                &["Write '#microsoft.graph.groupAssignmentTarget'. The error is at 'target'."],
            ),
        ],
    )
    .await;
    refused(
        &app,
        Method::POST,
        &format!("{one}/deviceStatuses"),
        vec![(
            json!({"@odata.type": "#microsoft.graph.deviceConfigurationDeviceStatuss"}),
            &["Write '#microsoft.graph.deviceConfigurationDeviceStatus'."],
        )],
    )
    .await;
}

#[actix_web::test]
async fn a_misspelt_member_below_a_configuration_is_refused_with_its_path() {
    let app = App::start().await;
    let one = app.configuration().await;
    let group = |name: &str| json!({"@odata.type": "#microsoft.graph.groupAssignmentTarget", name: "g"});
    refused(
        &app,
        Method::POST,
        &format!("{one}/assignments"),
        vec![
            (json!({"Target": all_devices()}), &["'Target' is misspelt. Write 'target'."]),
            (json!({"target": group("GroupId")}), &["'target.GroupId' is misspelt. Write 'target.groupId'."]),
            (json!({"target": group("groupIds")}), &["'target.groupIds' is misspelt. Write 'target.groupId'."]),
            (json!({"target": group("collectionId")}), &["The member 'target.groupId' is missing."]),
            (json!({"target": {"@Odata.type": "x"}}), &["is misspelt. Write 'target.@odata.type'."]),
        ],
    )
    .await;
    refused(
        &app,
        Method::POST,
        &format!("{one}/assign"),
        vec![
            (json!({"Assignments": []}), &["'Assignments' is misspelt. Write 'assignments'."]),
            (json!({"assignment": []}), &["'assignment' is misspelt. Write 'assignments'."]),
            (json!({"value": []}), &["The member 'assignments' is missing."]),
            (json!([group("groupId")][0]), &["The member 'assignments' is missing."]),
            (
                json!({"assignments": [{"target": group("groupID")}]}),
                &["'assignments[0].target.groupID' is misspelt. Write 'assignments[0].target.groupId'."],
            ),
            (
                json!({"assignments": [{"target": all_devices(), "iD": "x"}]}),
                &["'assignments[0].iD' is misspelt. Write 'assignments[0].id'."],
            ),
        ],
    )
    .await;
    let array = app.send_text(Method::POST, &format!("{one}/assign"), "[]").await.refusal();
    assert!(array.contains(r#"'assign' takes {"assignments": […]}"#), "{array}");
    refused(
        &app,
        Method::POST,
        &format!("{one}/deviceStatuses"),
        vec![
            (json!({"DeviceDisplayName": "x"}), &["'DeviceDisplayName' is misspelt. Write 'deviceDisplayName'."]),
            (json!({"userNames": "x"}), &["'userNames' is misspelt. Write 'userName'."]),
        ],
    )
    .await;
    let filtered = json!({"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget", "DeviceAndAppManagementAssignmentFilterType": "none"}});
    let refusal = app.post(&beta(&format!("{one}/assignments")), &filtered).await.refusal();
    assert!(refusal.contains("is misspelt. Write 'target.deviceAndAppManagementAssignmentFilterType'."), "{refusal}");
}

#[actix_web::test]
async fn control_information_without_effect_is_accepted_anywhere() {
    let app = App::start().await;
    let mut noise = json!({
        "@microsoft.graph.tips": "x",
        "#microsoft.graph.assign": {"title": "microsoft.graph.assign", "target": "https://graph.example/assign"},
        "#microsoft.graph.getOmaSettingPlainTextValue": {},
    });
    for term in [
        "context",
        "etag",
        "id",
        "editLink",
        "readLink",
        "count",
        "nextLink",
        "navigationLink",
        "associationLink",
        "mediaReadLink",
        "mediaEditLink",
        "mediaContentType",
        "mediaEtag",
    ] {
        noise[format!("@odata.{term}")] = "x".into();
        noise[format!("description@odata.{term}")] = "x".into();
    }
    noise["description@odata.type"] = "#String".into();
    let noisy = |mut value: Value| {
        value.as_object_mut().expect("an object").extend(noise.as_object().expect("an object").clone());
        value
    };
    let oma = noisy(
        json!({"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./x", "value": "v"}),
    );
    for version in VERSIONS {
        let body = noisy(custom("omaSettings", json!([oma])));
        let created = app.post(&version(CONFIGURATIONS), &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        assert!(
            !created.text.contains("tips") && !created.text.contains('#')
                || !created.text.contains("#microsoft.graph.assign")
        );
        let one = format!("{}/{}", version(CONFIGURATIONS), created.id());
        let changed = app.patch(&one, &noisy(json!({"description": "x"}))).await;
        assert!(changed.status.is_success(), "{}", changed.text);
        let assignment = noisy(json!({"target": noisy(all_devices())}));
        assert_eq!(app.post(&format!("{one}/assignments"), &assignment).await.status, StatusCode::CREATED);
        let set = noisy(json!({"assignments": [assignment]}));
        assert_eq!(app.post(&format!("{one}/assign"), &set).await.status, StatusCode::OK);
        assert_eq!(app.post(&format!("{one}/userStatuses"), &noisy(json!({}))).await.status, StatusCode::CREATED);
    }
    let unknown = app.post(&beta(CONFIGURATIONS), &custom("unknown", noisy(json!({"x": 1})))).await.json();
    assert_eq!(unknown["unknown"], json!({"x": 1}));
}

#[actix_web::test]
async fn control_information_that_asks_for_something_is_refused_by_name() {
    let app = App::start().await;
    let one = app.configuration().await;
    for (name, remedy) in [
        ("rootCertificate@odata.bind", "asks for a link to another resource"),
        ("omaSettings@odata.delta", "asks to change a part of 'omaSettings'"),
        ("@odata.removed", "asks to remove an object"),
        ("@odata.deltaLink", "is unknown. Leave it out"),
        ("@odata.isCollection", "is unknown. Leave it out"),
        ("@microsoft.graph.conflictBehavior", "is unknown. Leave it out"),
        ("x@contoso.term", "is unknown. Leave it out"),
        ("@context", "@odata.context'."),
        ("x@type", "x@odata.type'."),
        ("#contoso.assign", "is not an operation"),
        ("#microsoft.graph.", "is not an operation"),
    ] {
        let named = format!("{name}'");
        let expected: &[&str] = &[&named, remedy];
        refused(
            &app,
            Method::POST,
            CONFIGURATIONS,
            vec![(custom(name, json!("x")), expected), (setting(json!({name: "x"})), expected)],
        )
        .await;
        refused(&app, Method::PATCH, &one, vec![(json!({name: "x"}), expected)]).await;
        let mut target = all_devices();
        target[name] = "x".into();
        let assignments = format!("{one}/assignments");
        refused(&app, Method::POST, &assignments, vec![(json!({"target": target}), expected)]).await;
        refused(&app, Method::POST, &format!("{one}/assign"), vec![(json!({"assignments": [], name: 1}), expected)])
            .await;
        refused(&app, Method::POST, &format!("{one}/deviceStatuses"), vec![(json!({name: 1}), expected)]).await;
        let inside = custom("unknown", json!({"a": [{name: 1}]}));
        let refusal = app.post(&beta(CONFIGURATIONS), &inside).await.refusal();
        assert!(refusal.contains(remedy) && refusal.contains("unknown.a[0]."), "{refusal}");
    }
}

#[actix_web::test]
async fn no_id_means_a_new_one() {
    let app = App::start().await;
    let one = app.configuration().await;
    let mut ids = std::collections::BTreeSet::new();
    for id in [json!(ZERO), json!(""), Value::Null] {
        for version in VERSIONS {
            let created = app.post(&version(CONFIGURATIONS), &custom("id", id.clone())).await;
            assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
            ids.insert(created.id());
            let base = json!({"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"});
            let body = json!({"id": id, "target": base});
            let assigned = app.post(&version(&format!("{one}/assignments")), &body).await;
            assert_eq!(assigned.status, StatusCode::CREATED, "{}", assigned.text);
            ids.insert(assigned.id());
            let status = app.post(&version(&format!("{one}/deviceStatuses")), &json!({"id": id})).await;
            assert_eq!(status.status, StatusCode::CREATED, "{}", status.text);
            ids.insert(status.id());
            let changed = app.patch(&version(&one), &json!({"id": id, "description": format!("{id}")})).await;
            assert!(changed.status.is_success(), "{}", changed.text);
        }
    }
    assert_eq!(ids.len(), 18);
    assert!(!ids.contains(ZERO));
    for id in [json!(ZERO), json!(""), Value::Null] {
        let set = json!({"assignments": [{"id": id, "target": all_devices()}]});
        assert_eq!(app.post(&format!("{one}/assign"), &set).await.status, StatusCode::OK);
        let stored = app.assignments(&one).await;
        assert_eq!(stored.len(), 1);
        assert_ne!(stored[0]["id"], ZERO);
    }
}

#[actix_web::test]
async fn a_row_that_is_stored_under_the_zero_id_stays_as_it_is() {
    if crate::harness::is_remote() {
        return;
    }
    let app = App::start().await;
    let odata_type = "windows10CustomConfiguration";
    sqlx::query("INSERT INTO device_configurations (id, odata_type, display_name) VALUES ($1::uuid, $2, 'zero')")
        .bind(ZERO)
        .bind(odata_type)
        .execute(app.pool())
        .await
        .expect("a row");
    let one = format!("{CONFIGURATIONS}/{ZERO}");
    assert_eq!(app.get(&one).await.json()["displayName"], "zero");
    assert_eq!(app.post(CONFIGURATIONS, &custom("id", ZERO.into())).await.status, StatusCode::CREATED);
    assert_eq!(app.get(&one).await.json()["displayName"], "zero");
    assert!(app.patch(&one, &json!({"id": ZERO, "displayName": "nil"})).await.status.is_success());
    assert_eq!(app.get(&one).await.json()["displayName"], "nil");
    assert_eq!(app.delete(&one).await.status, StatusCode::NO_CONTENT);
}

#[actix_web::test]
async fn the_zero_id_and_an_empty_one_are_no_filter() {
    let app = App::start().await;
    let one = beta(&app.configuration().await);
    let target = |id: Value, filter_type: Value| {
        let mut target = all_devices();
        target["deviceAndAppManagementAssignmentFilterId"] = id;
        if !filter_type.is_null() {
            target["deviceAndAppManagementAssignmentFilterType"] = filter_type;
        }
        json!({"assignments": [{ "target": target }]})
    };
    for id in [json!(ZERO), json!(""), Value::Null] {
        for filter_type in [json!("none"), Value::Null] {
            let assigned = app.post(&format!("{one}/assign"), &target(id.clone(), filter_type)).await;
            assert_eq!(assigned.status, StatusCode::OK, "{}", assigned.text);
            let stored = app.assignments(&one).await;
            assert_eq!(stored[0]["target"]["deviceAndAppManagementAssignmentFilterId"], Value::Null);
            assert_eq!(stored[0]["target"]["deviceAndAppManagementAssignmentFilterType"], "none");
        }
        for filter_type in ["include", "exclude"] {
            let refusal = app.post(&format!("{one}/assign"), &target(id.clone(), filter_type.into())).await.refusal();
            assert!(refusal.contains("do not fit together"), "{refusal}");
        }
    }
    for name in ["groupName", "groupDisplayName", "groupType"] {
        let body = json!({"assignments": [{"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", name: "Sales"}}]});
        let refusal = app.post(&format!("{one}/assign"), &body).await.refusal();
        assert!(
            refusal.contains(&format!(
                "'assignments[0].target.{name}' is not a member of Graph. Backup tools add it to describe the group."
            )) && refusal.contains("'assignments[0].target.groupId'"),
            "{refusal}"
        );
    }
}

#[actix_web::test]
async fn text_is_neither_a_number_nor_a_boolean() {
    let app = App::start().await;
    for (name, value) in [("utcTimeOffsetInMinutes", json!("1")), ("isEnabled", json!("true"))] {
        let body = json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a", name: value});
        let refusal = app.post(CONFIGURATIONS, &body).await.refusal();
        assert!(refusal.contains(&format!("'{name}'")), "{refusal}");
    }
}

#[actix_web::test]
async fn a_body_full_of_unknown_members_is_accepted() {
    let app = App::start().await;
    let mut body = custom("x", Value::Null);
    for number in 0..50_000 {
        body[format!("descripX{number}")] = 1.into();
    }
    let created = app.post(&beta(CONFIGURATIONS), &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{:.300}", created.text);
}

#[actix_web::test]
async fn a_refused_annotation_comes_before_a_missing_member() {
    let app = App::start().await;
    let one = beta(&app.configuration().await);
    for (path, body, expected) in [
        (beta(CONFIGURATIONS), json!({"@odata.Type": "#microsoft.graph.iosUpdateConfiguration"}), "'@odata.type'"),
        (beta(CONFIGURATIONS), json!({"@type": "#microsoft.graph.iosUpdateConfiguration"}), "'@odata.type'"),
        (format!("{one}/assignments"), json!({"target@odata.bind": "x"}), "'target@odata.bind'"),
        (
            format!("{one}/assign"),
            json!({"assignments": [{"target@odata.bind": "x"}]}),
            "'assignments[0].target@odata.bind'",
        ),
    ] {
        let refusal = app.post(&path, &body).await.refusal();
        assert!(refusal.starts_with("400") && refusal.contains(expected), "{refusal}");
    }
}

#[actix_web::test]
async fn an_empty_batch_and_a_byte_order_mark_are_named() {
    let app = App::start().await;
    for (body, expected) in [("", "The request body is empty."), ("\u{feff}{}", "starts with a byte order mark.")] {
        let request = app.request(Method::POST, "/v1.0/$batch").header("content-type", "application/json");
        let refusal = app.answer(request.body(body)).await.refusal();
        assert!(refusal.contains(expected), "{refusal}");
    }
}
