//! The types of configurations: every one is filtered, selected, exported and loaded, and an
//! unknown one is refused.

use devicegraph::{
    catalogue::{Primitive, Property, Type, ValueType, version::Version},
    import_export::{self, FileRules},
};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::{
    catalogue::{concrete, full, named},
    filter::encoded,
    harness::{App, CONFIGURATIONS, RULES, accept_unknown_types, beta, database, is_remote},
    transfer::{export, files, store, vault, without_times},
};

/// Returns a configuration of a type, with a name.
fn of_type(name: &str) -> Value {
    json!({"@odata.type": format!("#microsoft.graph.{name}"), "displayName": "a"})
}

/// Names of types that are no configuration, each with a part of the refusal.
const REFUSED: [(&str, &str); 8] = [
    (
        "windows10CompliancePolicy",
        "'microsoft.graph.windows10CompliancePolicy' was found, but it is not assignable to the expected type 'microsoft.graph.deviceConfiguration'.",
    ),
    ("deviceManagementConfigurationPolicy", "It is a settings catalog policy, which this service does not store."),
    ("deviceHealthScript", "It is a script, which this service does not store."),
    ("win32LobApp", "It is an app, which this service does not store."),
    ("group", "It is a group, which this service does not store."),
    ("user", "It is a user, which this service does not store."),
    ("windows10CustomConfiguraton", "Write '#microsoft.graph.windows10CustomConfiguration'."),
    ("Windows10CustomConfiguration", "Write '#microsoft.graph.windows10CustomConfiguration'."),
];

const FUTURE: &str = "windowsFutureConfiguration";
const SETTING: &str = "If Graph has this type, set catalogue.unknown_types to 'accept'.";

fn seed_refusal(body: &Value, rules: FileRules) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.json"), body.to_string()).expect("a file");
    import_export::read(folder.path(), rules).err().map(|error| format!("{error:#}"))
}

#[actix_web::test]
async fn a_type_that_is_no_configuration_is_refused_with_either_setting() {
    if is_remote() {
        return;
    }
    let strict = App::start().await;
    let open = App::start_on(database(true).await, accept_unknown_types).await;
    let rules = [RULES, FileRules { beta: Version::OpenBeta, ..RULES }];
    for (app, rules) in [(&strict, rules[0]), (&open, rules[1])] {
        for (name, expected) in REFUSED {
            for path in [CONFIGURATIONS.to_owned(), beta(CONFIGURATIONS)] {
                let refusal = app.post(&path, &of_type(name)).await.refusal();
                assert!(refusal.starts_with("400 ModelValidationFailure: ") && refusal.contains(expected), "{refusal}");
                assert!(!refusal.contains("unknown_types"), "{refusal}");
            }
            let refusal = seed_refusal(&of_type(name), rules).expect(name);
            assert!(refusal.contains("it looks like ") || refusal.contains(expected), "{refusal}");
            // Names of types in a query are case-insensitive.
            if name != "Windows10CustomConfiguration" {
                let filter = format!("{}?$filter=isof('microsoft.graph.{name}')", beta(CONFIGURATIONS));
                assert_eq!(app.get(&filter).await.status, StatusCode::BAD_REQUEST, "{name}");
            }
        }
        let stored = app.get(&beta(CONFIGURATIONS)).await.json()["value"].clone();
        assert_eq!(stored, json!([]));
    }
}

#[actix_web::test]
async fn an_unknown_type_is_refused_unless_the_setting_accepts_it() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let open = App::start_on(options.clone(), accept_unknown_types).await;
    let mut body = of_type(FUTURE);
    body["future"] = json!({"a": [1]});
    let created = open.post(&beta(CONFIGURATIONS), &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let on_v1 = open.post(CONFIGURATIONS, &body).await.refusal();
    assert!(on_v1.contains("could not be resolved by the model.") && !on_v1.contains("unknown_types"), "{on_v1}");
    assert_eq!(seed_refusal(&body, FileRules { beta: Version::OpenBeta, ..RULES }), None);

    // Another application uses the same database with the default setting.
    let strict = App::start_on(options, |_| ()).await;
    let refusal = strict.post(&beta(CONFIGURATIONS), &body).await.refusal();
    assert!(refusal.contains("could not be resolved by the model.") && refusal.ends_with(SETTING), "{refusal}");
    let refusal = seed_refusal(&body, RULES).expect("a refusal");
    assert!(refusal.contains("a.json: ") && refusal.ends_with(SETTING), "{refusal}");
    let one = format!("{}/{}", beta(CONFIGURATIONS), created.id());
    assert_eq!(strict.get(&one).await.json()["future"], body["future"], "a stored configuration stays readable");
    let changed = strict.patched(&one, &json!({"displayName": "b", "future": {"a": [2]}})).await;
    assert_eq!((changed.status, &changed.json()["future"]), (StatusCode::OK, &json!({"a": [2]})));
    let filter = format!("{}?$filter=isof('microsoft.graph.{FUTURE}')", beta(CONFIGURATIONS));
    let refusal = strict.get(&filter).await.refusal();
    assert!(refusal.starts_with("400 BadRequest: ") && refusal.ends_with(SETTING), "{refusal}");
    assert_eq!(open.get(&filter).await.json()["value"].as_array().map(Vec::len), Some(1));
}

#[actix_web::test]
async fn a_nested_value_has_a_known_type() {
    let app = App::start().await;
    let body = |odata_type: &str| {
        let setting = json!({"@odata.type": odata_type, "displayName": "s", "omaUri": "./a", "value": "b"});
        json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a", "omaSettings": [setting]})
    };
    for (name, expected) in
        [("omaSettingFuture", SETTING), ("omaSettingstring", "Write '#microsoft.graph.omaSettingString'.")]
    {
        let refusal = app.post(&beta(CONFIGURATIONS), &body(&format!("#microsoft.graph.{name}"))).await.refusal();
        assert!(refusal.contains(expected) && refusal.ends_with("The error is at 'omaSettings[0]'."), "{refusal}");
    }
}

#[actix_web::test]
async fn v1_shows_an_enumeration_member_of_beta_but_does_not_filter_by_it() {
    let app = App::start().await;
    let body = json!({
        "@odata.type": "#microsoft.graph.windowsUpdateForBusinessConfiguration", "displayName": "a",
        "automaticUpdateMode": "windowsDefault",
    });
    let refusal = app.post(CONFIGURATIONS, &body).await.refusal();
    assert!(refusal.contains("of 'automaticUpdateMode' is not one of userDefined, "), "{refusal}");
    assert!(!refusal.contains("autoInstallAndRebootWithoutEndUserControl, windowsDefault"), "{refusal}");
    assert!(refusal.ends_with(" Only /beta has it."), "{refusal}");
    let created = app.post(&beta(CONFIGURATIONS), &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let one = format!("{CONFIGURATIONS}/{}", created.id());
    for path in [one.clone(), beta(&one)] {
        assert_eq!(app.get(&path).await.json()["automaticUpdateMode"], "windowsDefault", "{path}");
    }
    // A client of /v1.0 can send back the value that it has read.
    let read = app.get(&one).await.json();
    assert_eq!(app.patch(&one, &read).await.status, StatusCode::OK);
    let filter = format!("?$filter=id eq '{}' and automaticUpdateMode eq 'windowsDefault'", created.id());
    let found = app.get(&format!("{}{filter}", beta(CONFIGURATIONS))).await.json();
    assert_eq!(found["value"].as_array().map(Vec::len), Some(1));
    let refusal = app.get(&format!("{CONFIGURATIONS}{filter}")).await.refusal();
    assert!(
        refusal.starts_with("400 BadRequest: ") && refusal.contains("'windowsDefault' is not a member of"),
        "{refusal}"
    );
}

/// Returns a condition that is true for a property with this value, or `None` for an object.
fn condition(path: &str, property: &Property, value: &Value) -> Option<String> {
    let literal = |value: &Value| match (&property.value_type, value) {
        (ValueType::Primitive(Primitive::Binary), Value::String(text)) => Some(format!("binary'{text}'")),
        (ValueType::Primitive(Primitive::String) | ValueType::Enumeration(_), Value::String(text)) => {
            Some(format!("'{}'", text.replace('\'', "''")))
        }
        (ValueType::Primitive(_), Value::String(text)) => Some(text.clone()),
        (ValueType::Primitive(_), value) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Array(elements) => Some(format!("{path}/any(x:x eq {})", literal(elements.first()?)?)),
        one => Some(format!("{path} eq {}", literal(one)?)),
    }
}

#[actix_web::test]
async fn every_property_of_beta_is_filtered_and_selected_with_a_cast() {
    let app = App::start().await;
    let (collection, mut filtered) = (beta(CONFIGURATIONS), 0);
    for of in concrete("deviceConfiguration", Version::Beta) {
        let mut sent = full(of, Version::Beta, 1);
        sent.extend([("@odata.type".to_owned(), named(of).into()), ("displayName".to_owned(), "a".into())]);
        let sent = Value::Object(sent);
        let created = app.post(&collection, &sent).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        let base = Type::find("deviceConfiguration").expect("a type");
        for property in of.properties(Version::Beta).filter(|one| base.property(&one.name, Version::Beta).is_none()) {
            let path = format!("microsoft.graph.{}/{}", of.name, property.name);
            let condition = condition(&path, property, &sent[&property.name]);
            let condition = condition.map_or_else(String::new, |condition| format!(" and {condition}"));
            filtered += usize::from(!condition.is_empty());
            let filter = encoded(&format!("id eq '{}'{condition}", created.id()));
            let answer = app.get(&format!("{collection}?$filter={filter}&$select=id,{path}")).await;
            let rows = answer.json()["value"].clone();
            assert_eq!(rows.as_array().map(Vec::len), Some(1), "{condition} {}", answer.text);
            assert!(rows[0].get(&property.name).is_some(), "{path}: {rows}");
            assert!(rows[0].get("displayName").is_none(), "{path}: {rows}");
        }
    }
    assert!(filtered > 1_700, "{filtered}");
}

#[actix_web::test]
async fn a_name_of_several_types_needs_a_cast_on_beta_alone() {
    let app = App::start().await;
    for name in
        ["workProfilePasswordRequiredType", "workProfileDataSharingType", "workProfileDefaultAppPermissionPolicy"]
    {
        let filter = format!("?$filter={name} eq 'deviceDefault'");
        let answer = app.get(&format!("{CONFIGURATIONS}{filter}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let refusal = app.get(&format!("{}{filter}", beta(CONFIGURATIONS))).await.refusal();
        let expected = format!(
            "The property '{name}' has different types in different types of configurations. Write the type of the configuration before the property: "
        );
        let casts = ["androidForWorkGeneralDeviceConfiguration", "androidWorkProfileGeneralDeviceConfiguration"];
        assert!(refusal.contains(&expected), "{refusal}");
        for of in casts {
            assert!(refusal.contains(&format!("'microsoft.graph.{of}/{name}'")), "{refusal}");
        }
    }
}

/// A property that was never set reads as null in types that allow null, and as false in the
/// others.
#[actix_web::test]
async fn a_name_that_is_nullable_in_some_types_reads_as_each_type_says() {
    let app = App::start().await;
    let mut ids = Vec::new();
    for of in ["iosGeneralDeviceConfiguration", "androidDeviceOwnerGeneralDeviceConfiguration"] {
        for value in [None, Some(true)] {
            let mut body = of_type(of);
            value.into_iter().for_each(|value| body["cameraBlocked"] = value.into());
            ids.push(app.post(&beta(CONFIGURATIONS), &body).await.id());
        }
    }
    let all = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    for (condition, expected) in [
        ("cameraBlocked eq false", vec![0]),
        ("cameraBlocked eq null", vec![2]),
        ("cameraBlocked eq true", vec![1, 3]),
        ("cameraBlocked ne true", vec![0, 2]),
        ("not cameraBlocked", vec![0]),
    ] {
        let filter = encoded(&format!("id in ({all}) and {condition}"));
        let answer = app.get(&format!("{}?$filter={filter}&$select=id", beta(CONFIGURATIONS))).await;
        assert_eq!(answer.status, StatusCode::OK, "{condition}: {}", answer.text);
        let mut found: Vec<_> =
            answer.json()["value"].as_array().expect("rows").iter().map(|row| row["id"].clone()).collect();
        let mut expected: Vec<_> = expected.into_iter().map(|place: usize| Value::from(ids[place].as_str())).collect();
        found.sort_by_key(Value::to_string);
        expected.sort_by_key(Value::to_string);
        assert_eq!(found, expected, "{condition}");
    }
}

#[actix_web::test]
async fn every_type_is_exported_and_loaded_again() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.server.max_page_size = 999).await;
    for of in concrete("deviceConfiguration", Version::Beta) {
        for seed in 0..2 {
            let mut body = if seed == 0 { Map::new() } else { full(of, Version::Beta, seed) };
            body.insert("@odata.type".to_owned(), named(of).into());
            body.insert("displayName".to_owned(), format!("{} {seed}", of.name).into());
            let created = app.send_json(Method::POST, &beta(CONFIGURATIONS), &body.into()).await;
            assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        }
    }
    let before = store(&app).await;
    let first = export(&app).await;
    import_export::reset(app.pool()).await.expect("a reset");
    let read = import_export::read(first.path(), RULES).expect("an export can be read");
    let done = import_export::seed(app.pool(), &vault(), read, || ()).await.expect("an export can be loaded");
    assert_eq!((done.created, done.changed, done.unchanged), (before.len(), 0, 0));
    assert_eq!(without_times(store(&app).await), without_times(before));
    assert_eq!(files(export(&app).await.path()), files(first.path()));
    let again = import_export::read(first.path(), RULES).expect("an export can be read");
    let done = import_export::seed(app.pool(), &vault(), again, || ()).await.expect("an export can be loaded");
    assert_eq!((done.created, done.changed), (0, 0));
}
