//! Values of OMA settings that a client marks encrypted.

use devicegraph::config::Settings;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    catalogue::assert_holds,
    harness::{App, CONFIGURATIONS, beta, database, is_remote},
    service::{Folder, Service},
};

pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PLAIN: &str = "hunter2 ü";

fn with_key(settings: &mut Settings) {
    settings.secrets.key = Some(KEY.to_owned().into());
}

fn body(value: &str) -> Value {
    json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a", "omaSettings": [
        {"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "plain", "omaUri": "./a", "value": "b"},
        {"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./b", "value": value, "isEncrypted": true},
        {"@odata.type": "#microsoft.graph.omaSettingStringXml", "displayName": "x", "omaUri": "./c", "value": "AAEC", "isEncrypted": true},
    ]})
}

/// Returns the plain text of the setting at this index of a configuration.
async fn plain(app: &App, one: &str, place: usize) -> Value {
    let reference = app.get(&beta(one)).await.json()["omaSettings"][place]["secretReferenceValueId"].clone();
    let reference = reference.as_str().expect("a reference");
    let answer = app.get(&format!("{one}/getOmaSettingPlainTextValue(secretReferenceValueId='{reference}')")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let context = format!("{}/v1.0/$metadata#Edm.String", app.origin);
    assert_eq!(answer.json()["@odata.context"], context.as_str());
    answer.json()["value"].clone()
}

#[actix_web::test]
async fn a_secret_is_stored_encrypted_and_only_given_out_by_name() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, with_key).await;
    let created = app.post(&beta(CONFIGURATIONS), &body(PLAIN)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    assert!(!created.text.contains(PLAIN));
    let id = created.id();
    let settings = &created.json()["omaSettings"];
    assert_holds(
        settings,
        &json!([{"value": "b", "isEncrypted": false, "secretReferenceValueId": null}, {"value": "****", "isEncrypted": true}, {"value": "****"}]),
        "omaSettings",
    );
    let reference = settings[1]["secretReferenceValueId"].as_str().expect("a reference").to_owned();
    assert_eq!(reference.split('_').nth(1), Some(id.as_str()));
    let one = format!("{CONFIGURATIONS}/{id}");
    assert_eq!(app.get(&one).await.json()["omaSettings"][1]["value"], "****");
    assert_eq!((plain(&app, &one, 1).await, plain(&app, &one, 2).await), (json!(PLAIN), json!("AAEC")));

    let (properties, ciphertext): (String, Vec<u8>) = sqlx::query_as(
        "SELECT c.properties::text, s.ciphertext FROM device_configurations AS c JOIN device_configuration_secrets AS s ON s.device_configuration_id = c.id WHERE s.reference = $1",
    )
    .bind(&reference)
    .fetch_one(app.pool())
    .await
    .expect("a row");
    assert!(!properties.contains("hunter2") && !ciphertext.windows(7).any(|part| part == b"hunter2"));

    let function = |arguments: &str| format!("{one}/microsoft.graph.getOmaSettingPlainTextValue({arguments})");
    for (arguments, refusal) in [
        ("secretReferenceValueId='x'", "404 ResourceNotFound: The configuration has no secret 'x'."),
        ("secretReferenceValueId='it''s'", "404 ResourceNotFound: The configuration has no secret 'it's'."),
        ("secretReferenceValueId=x", "400 BadRequest: The parameters 'secretReferenceValueId=x' cannot be read."),
        ("secretReferenceValueId='it's'", "400 BadRequest: "),
        ("secretReferenceValueId='%00'", "400 BadRequest: "),
        ("x='x'", "400 BadRequest: The parameters 'x='x'' cannot be read."),
    ] {
        let said = app.get(&function(arguments)).await.refusal();
        assert!(said.starts_with(refusal), "{said}");
    }
    // A reference is valid only with its own configuration, and only while this exists.
    let other = app.configuration().await;
    let of_other = format!("{other}/getOmaSettingPlainTextValue(secretReferenceValueId='{reference}')");
    assert!(app.get(&of_other).await.refusal().starts_with("404 ResourceNotFound: The configuration has no secret"));
    app.delete(&one).await;
    let of_none = function(&format!("secretReferenceValueId='{reference}'"));
    assert!(app.get(&of_none).await.refusal().starts_with("404 ResourceNotFound: DeviceConfigurations not found"));
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM device_configuration_secrets")
        .fetch_one(app.pool())
        .await
        .expect("a count");
    assert_eq!(left, 0, "the secrets are deleted with their configuration");
}

#[actix_web::test]
async fn an_answer_with_masked_secrets_can_be_sent_back_and_keeps_them() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, with_key).await;
    let created = app.post(&beta(CONFIGURATIONS), &body(PLAIN)).await.json();
    let one = format!("{CONFIGURATIONS}/{}", created["id"].as_str().expect("an id"));
    for path in [one.clone(), beta(&one)] {
        let read = app.get(&path).await;
        let collection = path.rsplit_once('/').expect("a key").0;
        let again = app.post(collection, &read.json()).await;
        assert_eq!((again.status, &again.text), (StatusCode::CREATED, &read.text));
        let unchanged = app.patched(&path, &read.json()).await;
        assert_eq!((unchanged.status, &unchanged.text), (StatusCode::OK, &read.text));
        // The client changes one setting and sends all settings back.
        let mut changed = read.json();
        changed["omaSettings"][0]["value"] = format!("b of {path}").into();
        let patched = app.patched(&path, &changed).await.json();
        assert_eq!(patched["version"], json!(read.json()["version"].as_i64().expect("a version") + 1));
        assert_eq!((plain(&app, &one, 1).await, plain(&app, &one, 2).await), (json!(PLAIN), json!("AAEC")));
    }
    // Another configuration with the same content gets its own secrets.
    let mut copy = app.get(&beta(&one)).await.json();
    copy["id"] = uuid::Uuid::new_v4().to_string().into();
    let copied = app.post(&beta(CONFIGURATIONS), &copy).await;
    assert_eq!(copied.status, StatusCode::CREATED, "{}", copied.text);
    let copy = format!("{CONFIGURATIONS}/{}", copied.id());
    app.delete(&one).await;
    assert_eq!((plain(&app, &copy, 1).await, plain(&app, &copy, 2).await), (json!(PLAIN), json!("AAEC")));
}

#[actix_web::test]
async fn two_settings_with_one_uri_keep_both_secrets_and_a_new_uri_has_none() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, with_key).await;
    let mut twice = body("first");
    twice["omaSettings"][0] = twice["omaSettings"][1].clone();
    twice["omaSettings"][1]["value"] = "second".into();
    let one = format!("{CONFIGURATIONS}/{}", app.post(&beta(CONFIGURATIONS), &twice).await.id());
    let mut changed = app.get(&one).await.json();
    changed["description"] = "changed".into();
    assert_eq!(app.patch(&one, &changed).await.json()["version"], 2);
    assert_eq!((plain(&app, &one, 0).await, plain(&app, &one, 1).await), (json!("first"), json!("second")));
    changed["omaSettings"][1]["omaUri"] = "./new".into();
    let refusal = app.patch(&one, &changed).await.refusal();
    assert!(
        refusal.starts_with(
            "400 ModelValidationFailure: The value of 'omaSettings[1].value' is '****', and the configuration has no secret"
        ),
        "{refusal}"
    );
    // A new text for an encrypted setting is refused, because it would be stored in plain text.
    let mut clear = app.get(&one).await.json();
    clear["omaSettings"][0]["value"] = "in the clear".into();
    assert_eq!(app.patch(&one, &clear).await.status, StatusCode::BAD_REQUEST);
    // On /beta the reference identifies the secret, whatever the URI of the setting is.
    let mut renamed = app.get(&beta(&one)).await.json();
    renamed["omaSettings"][1]["omaUri"] = "./new".into();
    assert_eq!(app.patched(&beta(&one), &renamed).await.json()["version"], 3);
    assert_eq!((plain(&app, &one, 0).await, plain(&app, &one, 1).await), (json!("first"), json!("second")));
}

#[actix_web::test]
async fn a_patch_that_names_a_replaced_secret_is_refused_and_the_new_one_stays() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, with_key).await;
    let one = format!("{CONFIGURATIONS}/{}", app.post(&beta(CONFIGURATIONS), &body("old")).await.id());
    let stale = app.get(&beta(&one)).await.json();
    let replace = json!({"omaSettings": body("new")["omaSettings"]});
    assert_eq!(app.patch(&beta(&one), &replace).await.status, StatusCode::NO_CONTENT);
    let refusal = app.patch(&beta(&one), &stale).await.refusal();
    assert!(
        refusal.starts_with(
            "409 Conflict: The secret that 'omaSettings[1].secretReferenceValueId' names has been replaced."
        ),
        "{refusal}"
    );
    assert_eq!(plain(&app, &one, 1).await, json!("new"));
    // A create that copies a secret can be sent again.
    let mut copy = app.get(&beta(&one)).await.json();
    copy["id"] = uuid::Uuid::new_v4().to_string().into();
    let first = app.post(&beta(CONFIGURATIONS), &copy).await;
    let again = app.post(&beta(CONFIGURATIONS), &copy).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &first.text));
}

#[actix_web::test]
async fn a_secret_is_replaced_and_a_create_sent_again_is_known() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, with_key).await;
    let collection = beta(CONFIGURATIONS);
    let mut first = body(PLAIN);
    first["id"] = uuid::Uuid::new_v4().to_string().into();
    let created = app.post(&collection, &first).await;
    let again = app.post(&collection, &first).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &created.text));
    let mut other = first.clone();
    other["omaSettings"][1]["value"] = "another".into();
    assert_eq!(app.post(&collection, &other).await.status, StatusCode::CONFLICT);

    let one = format!("{CONFIGURATIONS}/{}", created.id());
    // The same text again changes nothing.
    let same = json!({"omaSettings": first["omaSettings"]});
    assert_eq!(app.patched(&beta(&one), &same).await.text, created.text);
    let before = created.json()["omaSettings"][1]["secretReferenceValueId"].as_str().expect("a reference").to_owned();
    let patch = json!({"omaSettings": other["omaSettings"]});
    assert_eq!(app.patched(&beta(&one), &patch).await.json()["version"], 2);
    assert_eq!((plain(&app, &one, 1).await, plain(&app, &one, 2).await), (json!("another"), json!("AAEC")));
    let gone = app.get(&format!("{one}/getOmaSettingPlainTextValue(secretReferenceValueId='{before}')")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    // Two settings with the same text have secrets of their own, which are found by their URIs.
    let alike = json!({"omaSettings": body("AAEC")["omaSettings"]});
    let patched = app.patched(&beta(&one), &alike).await;
    assert_eq!((&patched.json()["version"], patched.text), (&json!(3), app.patched(&beta(&one), &alike).await.text));
    app.patch(&one, &json!({"omaSettings": []})).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM device_configuration_secrets")
        .fetch_one(app.pool())
        .await
        .expect("a count");
    assert_eq!(left, 0);
}

#[actix_web::test]
async fn without_a_key_or_for_a_number_a_secret_is_refused() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let app = App::start_on(options.clone(), |_| ()).await;
    let refusal = app.post(&beta(CONFIGURATIONS), &body(PLAIN)).await.refusal();
    assert!(
        refusal.starts_with("400 ModelValidationFailure: The value of 'omaSettings[1].value' cannot be encrypted, because this service has no key. Ask an operator to set secrets.key,"),
        "{refusal}"
    );
    assert!(!refusal.contains("hunter2"));
    for (of, value) in [
        ("Integer", json!(1)),
        ("Integer", json!("hunter2")),
        ("StringXml", json!("hunter2!")),
        ("String", json!({"x": "hunter2"})),
        ("Boolean", json!(true)),
    ] {
        let setting = json!({"@odata.type": format!("#microsoft.graph.omaSetting{of}"), "displayName": "n", "omaUri": "./n", "value": value, "isEncrypted": true});
        let mut wrong = body(PLAIN);
        wrong["omaSettings"] = json!([setting]);
        let refusal = app.post(&beta(CONFIGURATIONS), &wrong).await.refusal();
        assert!(
            refusal.starts_with("400 ModelValidationFailure: ") && refusal.contains("omaSettings[0].value"),
            "{refusal}"
        );
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
    for settings in [
        json!({"value": "hunter2", "isEncrypted": true}),
        json!([{"@odata.type": "#microsoft.graph.omaSettingString", "Value": "hunter2", "isEncrypted": true}]),
        json!([{"@odata.type": "#microsoft.graph.omaSettingNew", "value": "hunter2", "isEncrypted": 1}]),
    ] {
        for of in ["windows10CustomConfiguration", "windowsKioskConfiguration"] {
            let wrong =
                json!({"@odata.type": format!("#microsoft.graph.{of}"), "displayName": "a", "omaSettings": settings});
            let refusal = app.post(&beta(CONFIGURATIONS), &wrong).await.refusal();
            assert!(refusal.starts_with("400 ModelValidationFailure: ") && !refusal.contains("hunter2"), "{refusal}");
        }
    }
    // /v1.0 does not have the property that marks a secret, as in Graph.
    let refusal = app.post(CONFIGURATIONS, &body(PLAIN)).await.refusal();
    assert!(refusal.contains("The property 'isEncrypted' does not exist on type"), "{refusal}");
    assert_eq!(app.get(CONFIGURATIONS).await.json()["value"], json!([]));

    // With a wrong key, the answer is a 500 without details.
    let app = App::start_on(options.clone(), with_key).await;
    let created = app.post(&beta(CONFIGURATIONS), &body(PLAIN)).await.json();
    let reference = created["omaSettings"][1]["secretReferenceValueId"].as_str().expect("a reference");
    let one = format!("{CONFIGURATIONS}/{}", created["id"].as_str().expect("an id"));
    let wrong = |settings: &mut Settings| settings.secrets.key = Some(KEY.replace('A', "B").into());
    let app = App::start_on(options, wrong).await;
    let answer = app.get(&format!("{one}/getOmaSettingPlainTextValue(secretReferenceValueId='{reference}')")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.text);
}

/// Returns a configuration with `count` secrets under one URI.
fn many(count: usize, text: &str) -> Value {
    let setting = |n: usize| json!({"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./a", "value": format!("{text}{n}"), "isEncrypted": true});
    json!({"@odata.type": "#microsoft.graph.windowsKioskConfiguration", "displayName": "a", "omaSettings": (0..count).map(setting).collect::<Vec<_>>()})
}

#[actix_web::test]
async fn a_thousand_secrets_are_replaced_and_more_are_refused() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, with_key).await;
    let one = format!("{}/{}", beta(CONFIGURATIONS), app.post(&beta(CONFIGURATIONS), &many(1000, "a")).await.id());
    assert_eq!(app.patched(&one, &many(1000, "b")).await.json()["version"], 2);
    assert_eq!(app.patched(&one, &many(1000, "b")).await.json()["version"], 2);
    let refusal = app.patch(&one, &many(1001, "b")).await.refusal();
    assert!(refusal.contains("more than 1000 values to encrypt"), "{refusal}");
}

/// The test measures the processor time of a separate process, which does not depend on other
/// processes.
#[actix_web::test]
async fn secrets_are_matched_without_comparing_each_pair() {
    if is_remote() {
        return;
    }
    let (options, folder) = (database(true).await, Folder::new());
    let mut command = folder.command_on(&options);
    command.env("DEVICEGRAPH__SECRETS__KEY", KEY);
    let service = Service::start(&mut command);
    let used = || {
        let (_, text) = service.request("GET", "/metrics", "");
        let seconds = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        seconds.expect("the processor time").parse::<f64>().expect("a number")
    };
    // Returns the answer to a request and the processor time that it took.
    let send = |method: &str, path: &str, body: &Value| {
        let before = used();
        let (status, text) = service.request(method, path, &body.to_string());
        assert!(status < 300, "{text}");
        (text, used() - before)
    };
    let patch = |count: usize, times: usize| {
        let (created, _) = send("POST", &beta(CONFIGURATIONS), &many(count, "a"));
        let created: Value = serde_json::from_str(&created).expect("JSON");
        let one = format!("{}/{}", beta(CONFIGURATIONS), created["id"].as_str().expect("an id"));
        (0..times).map(|time| send("PATCH", &one, &many(count, &format!("b{time} "))).1).sum::<f64>()
    };
    patch(1000, 1);
    // Both have 1,000 secrets in all. If the service compared each pair, the second would take ten
    // times as long.
    let (small, large) = (patch(100, 10), patch(1000, 1));
    assert!(large < 4.0 * small, "{small} s for 10 times 100, {large} s for 1000");
}

#[actix_web::test]
async fn a_secret_and_a_plain_text_under_one_uri_are_not_confused() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, with_key).await;
    let mut both = body("secret");
    both["omaSettings"][0]["omaUri"] = "./b".into();
    let one = format!("{CONFIGURATIONS}/{}", app.post(&beta(CONFIGURATIONS), &both).await.id());
    let mut changed = app.get(&one).await.json();
    changed["omaSettings"][0]["displayName"] = "another".into();
    assert_eq!(app.patch(&one, &changed).await.json()["version"], 2);
    assert_eq!(plain(&app, &one, 1).await, json!("secret"));
    // The type of a secret cannot change, and `isEncrypted: false` does not make it plain text.
    changed["omaSettings"][1]["@odata.type"] = "#microsoft.graph.omaSettingStringXml".into();
    let refusal = app.patch(&one, &changed).await.refusal();
    assert!(refusal.contains("the configuration has no secret with the same type and 'omaUri'"), "{refusal}");
    let mut unmarked = app.get(&beta(&one)).await.json();
    unmarked["omaSettings"][1]["isEncrypted"] = false.into();
    let answer = app.patched(&beta(&one), &unmarked).await.json();
    assert_eq!((&answer["version"], &answer["omaSettings"][1]["isEncrypted"]), (&json!(2), &json!(true)));
    unmarked["omaSettings"][1]["value"] = "in the clear".into();
    let answer = app.patched(&beta(&one), &unmarked).await.json();
    assert_eq!(answer["omaSettings"][1]["secretReferenceValueId"], json!(null));
    // `isEncrypted` in any other property is refused.
    let elsewhere = json!({"new": [{"value": "hunter2", "isEncrypted": true}]});
    let refusal = app.patch(&beta(&one), &elsewhere).await.refusal();
    assert!(refusal.contains("A value in 'new' is marked 'isEncrypted'") && !refusal.contains("hunter2"), "{refusal}");
}

#[actix_web::test]
async fn without_secrets_a_masked_value_is_a_text() {
    let app = App::start().await;
    let one = app.configuration().await;
    let masked = json!({"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "a", "omaUri": "./a", "value": "****"});
    let patched = app.patch(&one, &json!({"omaSettings": [masked]})).await;
    assert_eq!((patched.status, &patched.json()["omaSettings"][0]["value"]), (StatusCode::OK, &json!("****")));
}

#[actix_web::test]
async fn a_copy_of_a_secret_needs_the_key_and_the_current_secret() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let app = App::start_on(options.clone(), with_key).await;
    let created = app.post(&beta(CONFIGURATIONS), &body("old")).await;
    let one = format!("{}/{}", beta(CONFIGURATIONS), created.id());
    let mut copy = created.json();
    copy.as_object_mut().expect("an object").remove("id");
    let without_key = App::start_on(options, |_| ()).await;
    let refusal = without_key.post(&beta(CONFIGURATIONS), &copy).await.refusal();
    assert!(refusal.contains("this service has no key"), "{refusal}");
    app.patch(&one, &json!({"omaSettings": body("new")["omaSettings"]})).await;
    let refusal = app.post(&beta(CONFIGURATIONS), &copy).await.refusal();
    assert!(refusal.starts_with("409 Conflict: The secret that 'omaSettings[1].secret"), "{refusal}");
}
