//! Configurations: create, read, change and delete.

use std::{fs, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    catalogue::assert_holds,
    harness::{App, CONFIGURATIONS, accept_unknown_types, beta, database, group, is_remote},
};

fn samples() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut samples: Vec<_> = fs::read_dir(folder)
        .expect("the samples")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a sample");
            (
                path.file_name().expect("a name").to_string_lossy().into_owned(),
                serde_json::from_str(&text).expect("JSON"),
            )
        })
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    samples
}

#[actix_web::test]
async fn every_sample_is_kept_as_sent_and_can_be_posted_back() {
    let app = App::start().await;
    let samples: Vec<_> = samples().into_iter().filter(|(name, _)| name.as_str() < "20").collect();
    assert_eq!(samples.len(), 17);
    for (name, sent) in samples {
        let created = app.post(CONFIGURATIONS, &sent).await;
        assert_eq!(created.status, StatusCode::CREATED, "{name}: {}", created.text);
        let read = app.get(&format!("{CONFIGURATIONS}/{}", created.id())).await.json();
        assert_eq!(read, created.json(), "{name}");
        assert_holds(&read, &sent, &name);
        let mut export = read;
        export["id"] = uuid::Uuid::new_v4().to_string().into();
        export["assignments"] = json!([group("a")]);
        export["assignments@odata.context"] = "…".into();
        export["supportsScopeTags"] = true.into();
        let imported = app.post(CONFIGURATIONS, &export).await;
        assert_eq!(imported.status, StatusCode::CREATED, "{name}: {}", imported.text);
        assert_eq!(imported.json()["version"], 1);
        assert_eq!(
            json!(app.assignments(&format!("{CONFIGURATIONS}/{}", imported.id())).await),
            imported.json()["assignments"]
        );
    }
}

#[actix_web::test]
async fn the_samples_of_assign_are_accepted() {
    let app = App::start().await;
    for (name, body) in samples() {
        let version = match &name[..2] {
            "20" | "21" | "22" | "23" | "24" => "v1.0",
            "26" => "beta",
            _ => continue,
        };
        let configuration = app.configuration().await.replacen("v1.0", version, 1);
        let answer = app.post(&format!("{configuration}/assign"), &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text);
        assert_eq!(
            answer.json()["value"].as_array().map(Vec::len),
            body["assignments"].as_array().map(Vec::len),
            "{name}"
        );
    }
}

#[actix_web::test]
async fn a_type_of_beta_is_validated_like_its_base_type() {
    let app = App::start().await;
    let collection = beta(CONFIGURATIONS);
    let body = |changes: Value| {
        let mut body = json!({"@odata.type": "#microsoft.graph.windowsKioskConfiguration", "displayName": "a", "kioskMode": {"x": 1}});
        body.as_object_mut().expect("an object").extend(changes.as_object().expect("members").clone());
        body
    };
    let refusal = app.post(&collection, &body(json!({"roleScopeTagIds": 5}))).await.refusal();
    assert!(refusal.contains("for the member 'roleScopeTagIds'"), "{refusal}");
    let created = app.post(&collection, &body(json!({}))).await;
    let one = format!("{collection}/{}", created.id());
    let again = app.post(&collection, &created.json()).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &created.text));
    assert_eq!(app.patched(&one, &created.json()).await.text, created.text);
    let on_v1 = one.replacen("/beta", "/v1.0", 1);
    let read = app.get(&on_v1).await;
    let changed = app.patch(&on_v1, &read.json()).await;
    assert_eq!((changed.status, &changed.text), (StatusCode::OK, &read.text));
    let refusal = app.patch(&on_v1, &json!({"whatever": 1})).await.refusal();
    assert!(refusal.starts_with("400 ModelValidationFailure: The property 'whatever' does not exist"), "{refusal}");
}

#[actix_web::test]
async fn a_patch_on_v1_that_sends_back_what_it_reads_is_no_change() {
    let app = App::start().await;
    let body = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a", "omaSettings": [
        {"@odata.type": "#microsoft.graph.omaSettingInteger", "displayName": "s", "omaUri": "./a", "value": 1, "isReadOnly": true},
    ]});
    let created = app.post(&beta(CONFIGURATIONS), &body).await;
    let one = format!("{CONFIGURATIONS}/{}", created.id());
    let same = json!({"omaSettings": [{"@odata.type": "microsoft.graph.omaSettingInteger", "displayName": "s", "omaUri": "./a", "value": 1}]});
    assert_eq!(app.patch(&one, &same).await.json()["version"], 1);
    assert_holds(&app.get(&beta(&one)).await.json(), &body, "");
    for (member, value) in [("version", json!("x")), ("createdDateTime", json!(5)), ("assignments", json!(5))] {
        let mut wrong = body.clone();
        wrong[member] = value;
        let refusal = app.post(&beta(CONFIGURATIONS), &wrong).await.refusal();
        assert!(refusal.starts_with("400 ") && refusal.contains(&format!("'{member}'")), "{refusal}");
    }
}

#[actix_web::test]
async fn an_answer_of_v1_that_is_sent_back_keeps_the_members_of_beta() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, accept_unknown_types).await;
    let body = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a", "new": 1, "omaSettings": [
        {"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./a", "value": "b", "new": {"x": 1.5}},
        {"@odata.type": "#microsoft.graph.omaSettingNew", "omaUri": "./n", "value": 1},
    ]});
    let created = app.post(&beta(CONFIGURATIONS), &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let one = format!("{CONFIGURATIONS}/{}", created.id());
    let mut read = app.get(&one).await.json();
    read["description"] = "changed".into();
    let changed = app.patch(&one, &read).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_holds(&app.get(&beta(&one)).await.json(), &body, "");
    read["omaSettings"].as_array_mut().expect("settings").pop();
    assert_eq!(app.patch(&one, &read).await.status, StatusCode::OK);
    let settings = app.get(&beta(&one)).await.json()["omaSettings"].clone();
    assert_eq!(settings.as_array().map(Vec::len), Some(1), "a collection is replaced whole");
    assert!(settings[0].get("new").is_none());
}

#[actix_web::test]
async fn the_samples_of_one_assignment_and_of_a_change_are_accepted() {
    let app = App::start().await;
    let samples = samples();
    let sample = |number: &str| {
        let (_, body) = samples.iter().find(|(name, _)| name.starts_with(number)).expect("a sample");
        body.clone()
    };
    let configuration = format!("{CONFIGURATIONS}/{}", app.post(CONFIGURATIONS, &sample("01")).await.id());
    let assigned = app.post(&format!("{configuration}/assignments"), &sample("25")).await;
    assert_eq!(assigned.status, StatusCode::CREATED, "{}", assigned.text);
    assert_holds(&assigned.json(), &sample("25"), "25");
    let changed = app.patch(&configuration, &sample("27")).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_holds(&changed.json(), &sample("27"), "27");
    assert_eq!(
        changed.json()["displayName"],
        sample("01")["displayName"],
        "a PATCH keeps the members that it does not name"
    );
}

#[actix_web::test]
async fn a_configuration_reads_as_graph_reads() {
    let app = App::start().await;
    let body = json!({"@odata.type": "microsoft.graph.iosCustomConfiguration", "displayName": "é", "payloadName": "p"});
    let expected = r##"{"@odata.context":"[origin]/v1.0/$metadata#deviceManagement/deviceConfigurations/$entity","@odata.type":"#microsoft.graph.iosCustomConfiguration","id":"[guid]","createdDateTime":"[time]","description":null,"displayName":"é","lastModifiedDateTime":"[time]","version":1,"payload":"","payloadFileName":null,"payloadName":"p"}"##;
    let created = app.post(&CONFIGURATIONS.replace("/v1.0", ""), &body).await;
    assert_eq!(created.redacted(), format!("201 {expected}"));
    let location = created.header("location").strip_prefix(&app.origin).expect("the client's origin").to_owned();
    assert_eq!(location, format!("{CONFIGURATIONS}/{}", created.id()));
    assert_eq!(created.json()["createdDateTime"], created.json()["lastModifiedDateTime"]);
    let read = app.get(&location).await;
    assert_eq!(read.redacted(), format!("200 {expected}"));
    assert_eq!(read.header("content-type"), "application/json");

    let id = read.json()["id"].as_str().expect("an id").to_owned();
    let listed = app.get(&format!("{}?$filter=id%20eq%20'{id}'", beta(CONFIGURATIONS))).await.json();
    assert_eq!(
        listed["@odata.context"],
        format!("{}/beta/$metadata#deviceManagement/deviceConfigurations", app.origin).as_str()
    );
    let mut element = app.get(&beta(&location)).await.json();
    assert_eq!((&element["supportsScopeTags"], &element["roleScopeTagIds"]), (&json!(true), &json!([])));
    element.as_object_mut().expect("an object").remove("@odata.context");
    assert!(listed["value"].as_array().expect("a collection").contains(&element));

    let head = app.send(Method::HEAD, &location).await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), read.text.len().to_string());
}

#[actix_web::test]
async fn unknown_members_may_be_sent_again_in_any_order() {
    let app = App::start().await;
    let id = uuid::Uuid::new_v4();
    let text = |members: &str| {
        format!(
            r##"{{{members},"id":"{id}","@odata.type":"#microsoft.graph.iosUpdateConfiguration","displayName":"a"}}"##
        )
    };
    let first = text(
        r##""zone":1,"yard":{"d":1,"@odata.type":"#microsoft.graph.somethingUnknown","c":[{"b":1,"a":2}]},"x":3"##,
    );
    let again = text(
        r##""x":3,"yard":{"c":[{"a":2,"b":1}],"d":1,"@odata.type":"#microsoft.graph.somethingUnknown"},"zone":1"##,
    );
    let created = app.send_text(Method::POST, &beta(CONFIGURATIONS), first).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    for body in [again, created.text.clone(), created.json().to_string()] {
        let repeated = app.send_text(Method::POST, &beta(CONFIGURATIONS), body).await;
        assert_eq!((repeated.status, repeated.json()), (StatusCode::CREATED, created.json()), "{}", repeated.text);
    }
    let one = format!("{}/{id}", beta(CONFIGURATIONS));
    let patched = app.patched(&one, &json!({"yard": created.json()["yard"], "zone": 1})).await.json();
    assert_eq!(patched["version"], 1);
}

#[actix_web::test]
async fn a_create_with_an_id_can_be_sent_again() {
    let app = App::start().await;
    let id = uuid::Uuid::new_v4().to_string();
    let mut body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a", "id": id, "payload": "eA=="});
    let first = app.post(CONFIGURATIONS, &body).await;
    assert_eq!((first.status, first.id()), (StatusCode::CREATED, id.clone()));
    let again = app.post(CONFIGURATIONS, &body).await;
    assert_eq!((again.status, again.text), (StatusCode::CREATED, first.text));
    body["payload"] = "eQ==".into();
    assert_eq!(
        app.post(CONFIGURATIONS, &body).await.refusal(),
        "409 Conflict: Another device configuration has the id '[guid]'. Send another id, or none."
    );
    body["id"] = format!("{id}_{id}").into();
    assert_ne!(app.post(CONFIGURATIONS, &body).await.id(), id);
    body["id"] = "a".into();
    assert!(
        app.post(CONFIGURATIONS, &body)
            .await
            .refusal()
            .starts_with("400 ModelValidationFailure: The value 'a' of 'id' is not a GUID.")
    );
}

#[actix_web::test]
async fn a_number_is_the_same_however_it_is_written() {
    let app = App::start().await;
    // Only /beta accepts properties that the catalogue lacks, with values of any type.
    let configurations = beta(CONFIGURATIONS);
    let id = uuid::Uuid::new_v4();
    let body = format!(
        r##"{{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"a","id":"{id}",
             "a":1e17,"b":-0.0,"c":2.50,"d":1e-7,"e":18446744073709551615,"f":-9223372036854775808,"g":1E2}}"##
    );
    let first = app.send_text(Method::POST, &configurations, body.clone()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let numbers =
        r#""a":100000000000000000,"b":0,"c":2.5,"d":1e-7,"e":18446744073709551615,"f":-9223372036854775808,"g":100}"#;
    assert!(first.text.ends_with(numbers), "{}", first.text);
    assert_eq!(app.send_text(Method::POST, &configurations, body.clone()).await.text, first.text);
    let one = format!("{configurations}/{id}");
    assert_eq!(app.send_text(Method::PATCH, &one, body).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&one).await.json()["version"], 1, "nothing has changed");
    for number in ["18446744073709551616", "-9223372036854775809", "1e300"] {
        let body =
            format!(r##"{{"@odata.type":"#microsoft.graph.iosCustomConfiguration","displayName":"a","x":{number}}}"##);
        let refusal = app.send_text(Method::POST, &configurations, body).await.refusal();
        assert!(refusal.contains("The number of 'x' has more than 64 bits"), "{number}: {refusal}");
    }
}

#[actix_web::test]
async fn every_change_raises_the_version_by_one_and_no_other_does() {
    let app = App::start().await;
    let body = json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a", "description": "d", "scheduledInstallDays": ["monday", "friday"]});
    let created = app.post(CONFIGURATIONS, &body).await.json();
    let one = format!("{CONFIGURATIONS}/{}", created["id"].as_str().expect("an id"));
    for (patch, member, value, version) in [
        (json!({"displayName": "b"}), "displayName", json!("b"), 2),
        (json!({"displayName": "b"}), "displayName", json!("b"), 2),
        (json!({}), "description", json!("d"), 2),
        (json!({"description": null}), "description", json!(null), 3),
        (
            json!({"scheduledInstallDays": ["sunday"], "utcTimeOffsetInMinutes": null}),
            "scheduledInstallDays",
            json!(["sunday"]),
            4,
        ),
        (
            json!({"scheduledInstallDays": ["sunday"], "@odata.type": "microsoft.graph.iosUpdateConfiguration"}),
            "utcTimeOffsetInMinutes",
            json!(null),
            4,
        ),
        // The property was never set and has this value by default, so that nothing changes.
        (json!({"activeHoursStart": "00:00:00"}), "activeHoursStart", json!("00:00:00.0000000"), 4),
        (created.clone(), "scheduledInstallDays", json!(["monday", "friday"]), 5),
    ] {
        let changed = app.patch(&one, &patch).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
        assert_eq!((&changed.json()[member], &changed.json()["version"]), (&value, &json!(version)), "{patch}");
        assert_eq!(app.get(&one).await.json(), changed.json());
        assert_eq!(changed.json()["createdDateTime"], created["createdDateTime"]);
        assert_eq!(changed.json()["lastModifiedDateTime"] == created["lastModifiedDateTime"], version == 1);
    }
    for (patch, message) in [
        (
            json!({"@odata.type": "#microsoft.graph.macOSCustomConfiguration"}),
            "The configuration is of type 'microsoft.graph.iosUpdateConfiguration' and cannot become 'microsoft.graph.macOSCustomConfiguration'.",
        ),
        (
            json!({"displayName": null}),
            "Cannot convert the literal 'null' to the expected type 'Edm.String' for the member 'displayName'.",
        ),
        (
            json!({"scheduledInstallDays": ["someday"]}),
            "The value 'someday' of 'scheduledInstallDays[0]' is not one of sunday, monday,",
        ),
        (
            json!({"assignments": []}),
            "The member 'assignments' is a navigation property and cannot be set here: POST it to …/assign.",
        ),
    ] {
        assert!(app.patch(&one, &patch).await.refusal().starts_with(&format!("400 ModelValidationFailure: {message}")));
    }
    let minimal =
        app.request(Method::PATCH, &one).header("prefer", "return=minimal").header("content-type", "application/json");
    assert_eq!(app.answer(minimal.body(r#"{"displayName":"c"}"#)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&one).await.json()["version"], 6);
}

#[actix_web::test]
async fn a_deleted_configuration_takes_its_assignments_along() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let id = uuid::Uuid::new_v4().to_string();
    let mut body = group("a");
    body["id"] = id.clone().into();
    app.post(&format!("{configuration}/assignments"), &body).await;
    assert_eq!(app.delete(&configuration).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.delete(&configuration).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.get(&configuration).await.status, StatusCode::NOT_FOUND);
    // The id of the assignment is free again, so its row was deleted.
    let other = app.configuration().await;
    assert_eq!(app.post(&format!("{other}/assignments"), &body).await.status, StatusCode::CREATED);
}

#[actix_web::test]
async fn a_type_must_be_concrete_and_of_the_family() {
    let app = App::start().await;
    let send = async |path: &str, odata_type: Value| {
        app.post(path, &json!({"@odata.type": odata_type, "displayName": "a"})).await
    };
    for odata_type in ["#microsoft.graph.deviceConfiguration", "microsoft.graph.iosCertificateProfile"] {
        assert!(
            send(CONFIGURATIONS, odata_type.into())
                .await
                .refusal()
                .starts_with("400 ModelValidationFailure: Cannot create an abstract class.")
        );
    }
    assert!(
        app.post(CONFIGURATIONS, &json!({"displayName": "a"}))
            .await
            .refusal()
            .starts_with("400 ModelValidationFailure: Cannot create an abstract class.")
    );
    for odata_type in [
        "#microsoft.graph.groupAssignmentTarget",
        "#microsoft.graph.deviceConfigurationAssignment",
        "#microsoft.graph.entity",
    ] {
        for path in [CONFIGURATIONS, &beta(CONFIGURATIONS)] {
            let refusal = send(path, odata_type.into()).await.refusal();
            assert!(
                refusal.contains("but it is not assignable to the expected type 'microsoft.graph.deviceConfiguration'"),
                "{refusal}"
            );
        }
    }
    for odata_type in ["#contoso.thing", "windows10CustomConfiguration", "", "#microsoft.graph.no such type"] {
        for path in [CONFIGURATIONS, &beta(CONFIGURATIONS)] {
            let refusal = send(path, odata_type.into()).await.refusal();
            assert!(refusal.contains("could not be resolved by the model"), "{refusal}");
        }
    }
    // A type that only /beta has.
    assert_eq!(
        send(&beta(CONFIGURATIONS), "#microsoft.graph.windowsKioskConfiguration".into()).await.status,
        StatusCode::CREATED
    );
    let refusal = send(CONFIGURATIONS, "#microsoft.graph.windowsKioskConfiguration".into()).await.refusal();
    assert!(
        refusal.contains("'microsoft.graph.windowsKioskConfiguration' could not be resolved by the model"),
        "{refusal}"
    );
}
