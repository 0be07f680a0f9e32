//! How much control information a body carries: `odata.metadata=full`, and `@odata.etag`.

use std::{fs, path::Path};

use devicegraph::catalogue::{Property, Type, ValueType, version::Version};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    batch::batch,
    catalogue::{concrete, full, named},
    harness::{Answer, App, CONFIGURATIONS, accept_unknown_types, beta, database, group, is_remote, redact},
};

const FULL: &str = "application/json;odata.metadata=full";
const MINIMAL: &str = "application/json;odata.metadata=minimal";

async fn get(app: &App, path: &str, accept: &str) -> Answer {
    app.answer(app.request(Method::GET, path).header("accept", accept)).await
}

async fn get_full(app: &App, path: &str) -> Value {
    let answer = get(app, path, FULL).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, FULL), "{path}: {}", answer.text);
    answer.json()
}

async fn send(app: &App, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = app.request(method, path).header("content-type", "application/json").body(body.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.answer(request).await
}

/// Returns a body in the format of the golden files, with one member on each line.
fn golden(body: &Value, app: &App) -> String {
    let text = serde_json::to_string_pretty(body).expect("JSON");
    redact(&text.replace(&app.origin, "[origin]")) + "\n"
}

/// Returns the absolute URL of a link. A relative link starts at the path of the context.
fn resolved(link: &str, context: &str) -> String {
    match link.contains("://") {
        true => link.to_owned(),
        false => format!("{}/{link}", context.split_once("/$metadata").expect("a context").0),
    }
}

/// Follows every link of a body at every level. Returns the number of links.
async fn follow(app: &App, body: &Value, context: &str) -> usize {
    const LINKS: [&str; 5] =
        ["@odata.id", "@odata.editLink", "@odata.readLink", "@odata.navigationLink", "@odata.associationLink"];
    let Value::Object(members) = body else {
        let mut followed = 0;
        for element in body.as_array().into_iter().flatten() {
            followed += Box::pin(follow(app, element, context)).await;
        }
        return followed;
    };
    let mut followed = 0;
    for (name, value) in members {
        if LINKS.iter().any(|link| name.ends_with(link)) {
            let url = resolved(value.as_str().expect("a link"), context);
            let path = url.strip_prefix(&app.origin).unwrap_or_else(|| panic!("{name}: {url}"));
            let answer = get(app, path, FULL).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}: {path}: {}", answer.text);
            followed += 1;
        }
        followed += Box::pin(follow(app, value, context)).await;
    }
    followed
}

/// Follows every link of an answer. Returns the number of links.
async fn follow_all(app: &App, body: &Value) -> usize {
    follow(app, body, body["@odata.context"].as_str().expect("a context")).await
}

/// Asserts that `full` contains everything in `minimal`.
fn assert_superset(full: &Value, minimal: &Value) {
    match (full, minimal) {
        (Value::Object(full), Value::Object(minimal)) => {
            for (name, value) in minimal {
                assert_superset(full.get(name).unwrap_or_else(|| panic!("no {name} in {full:?}")), value);
            }
        }
        (Value::Array(full), Value::Array(minimal)) => {
            assert_eq!(full.len(), minimal.len());
            full.iter().zip(minimal).for_each(|(full, minimal)| assert_superset(full, minimal));
        }
        (full, minimal) => assert_eq!(full, minimal),
    }
}

/// Returns the type annotation that OData requires beside a property, or `None` when the JSON value
/// shows the type. It uses only the model.
fn expected_type(property: &Property) -> Option<String> {
    let qualified = property.value_type.to_string();
    let name = qualified.strip_prefix("Edm.").unwrap_or(&qualified);
    match (&property.value_type, property.is_collection) {
        (_, true) => Some(format!("#Collection({name})")),
        (ValueType::Complex(_), false) => None,
        _ if ["String", "Boolean", "Double"].contains(&name) => None,
        _ => Some(format!("#{name}")),
    }
}

/// Asserts that an object of a full body, and every object in it, has its type and the type
/// annotations of its properties. Returns the number of annotations.
fn assert_typed(read: &Value, version: Version, place: &str) -> usize {
    let name = read["@odata.type"].as_str().unwrap_or_else(|| panic!("{place} has no type"));
    assert!(name.starts_with("#microsoft.graph."), "{place}: {name}");
    let of = Type::named(name).unwrap_or_else(|| panic!("{place}: {name}"));
    let mut typed = 0;
    for property in of.properties(version) {
        let (place, value) = (format!("{place}.{}", property.name), &read[&property.name]);
        let told = read.get(format!("{}@odata.type", property.name)).and_then(Value::as_str);
        let expected = if value.is_null() { None } else { expected_type(property) };
        assert_eq!(told, expected.as_deref(), "{place}: {value}");
        typed += usize::from(told.is_some());
        let elements = value.as_array().map_or_else(|| vec![value], |elements| elements.iter().collect());
        for element in elements.into_iter().filter(|element| element.is_object()) {
            typed += assert_typed(element, version, &place);
        }
    }
    typed
}

/// Returns bodies of three types, each with the version on which to create it.
fn bodies() -> [(Version, Value); 3] {
    [
        (
            Version::Beta,
            json!({
                "@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "custom", "roleScopeTagIds": ["0"],
                "omaSettings": [
                    {"@odata.type": "#microsoft.graph.omaSettingInteger", "displayName": "level", "omaUri": "./a", "value": 1},
                    {"@odata.type": "microsoft.graph.omaSettingDateTime", "displayName": "time", "omaUri": "./b", "value": "2026-03-01T06:00:00Z"},
                ],
            }),
        ),
        (
            Version::V1,
            json!({
                "@odata.type": "#microsoft.graph.sharedPCConfiguration", "displayName": "shared", "allowedAccounts": "guest,domain",
                "maintenanceStartTime": "01:30:00.0000000",
                "accountManagerPolicy": {"accountDeletionPolicy": "diskSpaceThreshold", "inactiveThresholdDays": 30},
            }),
        ),
        (
            Version::V1,
            json!({
                "@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "update",
                "scheduledInstallDays": ["sunday", "monday"], "utcTimeOffsetInMinutes": -60,
            }),
        ),
    ]
}

#[actix_web::test]
async fn full_says_everything_of_a_configuration() {
    let app = App::start().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/control_information");
    for ((version, body), name) in bodies().into_iter().zip(["windows10Custom", "sharedPC", "iosUpdate"]) {
        let collection = CONFIGURATIONS.replace("v1.0", version.segment());
        let created = send(&app, Method::POST, &collection, &[("accept", FULL)], &body).await;
        assert_eq!((created.status, created.header("content-type")), (StatusCode::CREATED, FULL), "{}", created.text);
        let path = format!("{collection}/{}", created.id());
        let read = get_full(&app, &path).await;
        let (file, found) = (folder.join(format!("{name}.json")), golden(&read, &app));
        if std::env::var_os("RENEW_CONTROL_INFORMATION").is_some() {
            fs::write(&file, &found).expect("the file can be written");
        }
        let expected = fs::read_to_string(&file).expect("a golden body");
        assert!(found == expected, "RENEW_CONTROL_INFORMATION=1 writes {name}.json anew. The body is now:\n{found}");
        assert_eq!(created.json(), read);
        assert_superset(&read, &get(&app, &path, MINIMAL).await.json());
        assert_typed(&read, version, "");
        let links = if version == Version::Beta { 16 } else { 14 };
        assert_eq!(follow_all(&app, &read).await, links);
        // OData requires this order, so that a client can read the body as a stream.
        let text = get(&app, &path, FULL).await.text;
        let place = |name: &str| text.find(&format!("\"{name}\"")).unwrap_or_else(|| panic!("{name} in {text}"));
        assert!(place("@odata.context") < place("@odata.type") && place("@odata.type") < place("@odata.id"), "{text}");
        assert!(place("version@odata.type") < place("version") && place("@odata.etag") < place("id"), "{text}");
        // The answer to a PATCH equals the answer to a GET.
        let changed = [("accept", FULL), ("prefer", "return=representation")];
        let changed = send(&app, Method::PATCH, &path, &changed, &json!({"description": "x"})).await;
        assert_eq!((changed.status, changed.header("content-type")), (StatusCode::OK, FULL), "{}", changed.text);
        assert_eq!(changed.json(), get_full(&app, &path).await);
    }
}

#[actix_web::test]
async fn full_says_every_type_that_json_does_not_show() {
    let app = App::start().await;
    let mut typed = 0;
    for version in [Version::V1, Version::Beta] {
        let collection = CONFIGURATIONS.replace("v1.0", version.segment());
        for of in concrete("deviceConfiguration", version) {
            let mut sparse = json!({"@odata.type": named(of), "displayName": "sparse"});
            let mut whole = Value::Object(full(of, version, 1));
            whole["@odata.type"] = named(of).into();
            whole["displayName"] = "whole".into();
            for body in [&mut sparse, &mut whole] {
                let created = app.post(&collection, body).await;
                assert_eq!(created.status, StatusCode::CREATED, "{}: {}", of.name, created.text);
                let path = format!("{collection}/{}", created.id());
                let read = get_full(&app, &path).await;
                typed += assert_typed(&read, version, &of.name);
                assert_superset(&read, &get(&app, &path, MINIMAL).await.json());
                let edit = read["@odata.editLink"].as_str().expect("a link");
                assert!(edit.ends_with(&format!("')/microsoft.graph.{}", of.name)), "{edit}");
            }
        }
    }
    assert!(typed > 1000, "{typed}");
}

#[actix_web::test]
async fn full_says_everything_of_a_list_and_of_what_it_expands() {
    let app = App::start().await;
    let one = beta(&app.configuration().await);
    let id = one.rsplit('/').next().expect("an id");
    for target in [group("a"), json!({"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}})] {
        app.post(&format!("{one}/assignments"), &target).await;
    }
    let query = format!("$filter=id eq '{id}'&$expand=assignments&$count=true");
    let listed = get_full(&app, &format!("{}?{query}", beta(CONFIGURATIONS))).await;
    assert_eq!((&listed["@odata.count"], listed["value"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    let element = &listed["value"][0];
    let address = format!("deviceManagement/deviceConfigurations('{id}')");
    let link = format!("{}/beta/{address}/microsoft.graph.windows10CustomConfiguration/assignments", app.origin);
    assert_eq!(element["assignments@odata.navigationLink"], link);
    assert_eq!(element["assignments@odata.associationLink"], format!("{link}/$ref"));
    // The configuration has 16 links, and each assignment has two.
    assert_eq!(follow_all(&app, &listed).await, 20);
    assert_superset(&listed, &get(&app, &format!("{}?{query}", beta(CONFIGURATIONS)), MINIMAL).await.json());
    for assignment in element["assignments"].as_array().expect("assignments") {
        assert_typed(assignment, Version::Beta, "assignments");
        assert_eq!(
            assignment["@odata.id"],
            format!("{address}/assignments('{}')", assignment["id"].as_str().expect("an id"))
        );
    }
    let alone = get_full(&app, &format!("{one}?$expand=assignments")).await;
    assert_eq!(alone["assignments"], element["assignments"]);
    // `$select` selects links and operations as it selects properties.
    let selected = get_full(&app, &format!("{one}?$select=displayName,createdDateTime")).await;
    let names: Vec<_> = selected.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "@odata.context",
            "@odata.type",
            "@odata.id",
            "@odata.editLink",
            "@odata.etag",
            "createdDateTime@odata.type",
            "createdDateTime",
            "displayName",
        ]
    );
    for (query, is_shown) in [
        ("$select=id,assignments", true),
        ("$select=id&$expand=assignments", true),
        ("$select=*", true),
        ("$select=id", false),
    ] {
        let read = get_full(&app, &format!("{one}?{query}")).await;
        assert_eq!(read.get("assignments@odata.navigationLink").is_some(), is_shown, "{query}");
        assert_eq!(read.get("deviceStatuses@odata.navigationLink").is_some(), query == "$select=*", "{query}");
        assert_eq!(read.get("#microsoft.graph.assign").is_some(), query == "$select=*", "{query}");
    }
}

#[actix_web::test]
async fn full_says_everything_of_an_assignment() {
    let app = App::start().await;
    for one in [app.configuration().await, beta(&app.configuration().await)] {
        let version = if one.starts_with("/beta") { Version::Beta } else { Version::V1 };
        let assignments = format!("{one}/assignments");
        let base = json!({"target": {"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}});
        for sent in [group("a"), base] {
            let created = send(&app, Method::POST, &assignments, &[("accept", FULL)], &sent).await;
            assert_eq!((created.status, created.header("content-type")), (StatusCode::CREATED, FULL));
            let path = format!("{assignments}/{}", created.id());
            let read = get_full(&app, &path).await;
            assert_eq!(created.json(), read);
            assert_typed(&read, version, "assignment");
            assert_eq!(follow_all(&app, &read).await, 2);
            let changed = send(&app, Method::PATCH, &path, &[("accept", FULL)], &sent).await;
            assert_eq!((changed.status, changed.json()), (StatusCode::OK, read), "{}", changed.text);
        }
        let listed = get_full(&app, &assignments).await;
        assert_eq!(follow_all(&app, &listed).await, 4);
        let selected = get_full(&app, &format!("{assignments}?$select=id")).await;
        assert_eq!(selected["value"][0].as_object().map(serde_json::Map::len), Some(4), "{selected}");
        let set = json!({"assignments": [group("b")]});
        let assigned = send(&app, Method::POST, &format!("{one}/assign"), &[("accept", FULL)], &set).await;
        assert_eq!((assigned.status, assigned.header("content-type")), (StatusCode::OK, FULL), "{}", assigned.text);
        assert_eq!(follow_all(&app, &assigned.json()).await, 2);
        assert_eq!(assigned.json()["value"], get_full(&app, &assignments).await["value"]);
        // Without an Accept header, the answer is the documented one and has no control
        // information.
        let plain = app.post(&assignments, &group("c")).await.json();
        assert!(plain.get("@odata.id").is_none() && plain.get("@odata.context").is_none(), "{plain}");
    }
}

#[actix_web::test]
async fn full_says_everything_of_statuses() {
    let app = App::start().await;
    let one = app.configuration().await;
    for (segment, sent) in [
        ("deviceStatuses", json!({"deviceDisplayName": "d", "status": "compliant"})),
        ("userStatuses", json!({"userDisplayName": "u", "devicesCount": 1})),
        ("deviceSettingStateSummaries", json!({"settingName": "s"})),
    ] {
        let collection = format!("{one}/{segment}");
        let created = send(&app, Method::POST, &collection, &[("accept", FULL)], &sent).await;
        assert_eq!((created.status, created.header("content-type")), (StatusCode::CREATED, FULL), "{}", created.text);
        assert!(assert_typed(&created.json(), Version::V1, segment) > 1);
        let path = format!("{collection}/{}", created.id());
        assert_eq!(get_full(&app, &path).await, created.json());
        assert_eq!(follow_all(&app, &created.json()).await, 2);
        let changed = send(&app, Method::PATCH, &path, &[("accept", FULL)], &json!({})).await;
        assert_eq!(changed.json(), created.json());
        assert_eq!(follow_all(&app, &get_full(&app, &collection).await).await, 2);
        let references = get_full(&app, &format!("{collection}/$ref")).await;
        let id = format!(
            "{}/v1.0/deviceManagement/deviceConfigurations('{}')/{segment}('{}')",
            app.origin,
            one.rsplit('/').next().expect("an id"),
            created.id()
        );
        assert_eq!(references["value"], json!([{ "@odata.id": id }]));
        let missing = format!("{}/{segment}/$ref", CONFIGURATIONS.to_owned() + "/x");
        assert_eq!(app.get(&missing).await.status, StatusCode::NOT_FOUND);
    }
    for segment in ["deviceStatusOverview", "userStatusOverview"] {
        let read = get_full(&app, &format!("{one}/{segment}")).await;
        assert_eq!(assert_typed(&read, Version::V1, segment), 7, "{read}");
        // The overview is read-only, so it has no link to edit it.
        assert_eq!((follow_all(&app, &read).await, read.get("@odata.editLink")), (1, None));
        let reference = app.get(&format!("{one}/{segment}/$ref")).await.json();
        assert_eq!(reference["@odata.context"], format!("{}/v1.0/$metadata#$ref", app.origin));
        assert_eq!(follow_all(&app, &reference).await, 1);
        let other = format!("{CONFIGURATIONS}/7e159a72-9a72-7e15-729a-157e729a157e/{segment}/$ref");
        assert_eq!(app.get(&other).await.status, StatusCode::NOT_FOUND);
    }
}

#[actix_web::test]
async fn references_to_assignments_come_in_pages_and_by_filter() {
    let app = App::start().await;
    let one = app.configuration().await;
    let empty = app.get(&format!("{one}/assignments/$ref")).await;
    assert_eq!(
        empty.json(),
        json!({"@odata.context": format!("{}/v1.0/$metadata#Collection($ref)", app.origin), "value": []})
    );
    for name in ["a", "b", "c"] {
        app.post(&format!("{one}/assignments"), &group(name)).await;
    }
    let listed = app.get(&format!("{one}/assignments")).await;
    let expected: Vec<_> = listed.json()["value"]
        .as_array()
        .expect("assignments")
        .iter()
        .map(|assignment| {
            let id = assignment["id"].as_str().expect("an id");
            let configuration = one.rsplit('/').next().expect("an id");
            json!({"@odata.id": format!(
                "{}/v1.0/deviceManagement/deviceConfigurations('{configuration}')/assignments('{id}')",
                app.origin
            )})
        })
        .collect();
    let references = app.get(&format!("{one}/assignments/$ref")).await;
    assert_eq!(references.json()["value"], json!(expected));
    assert_eq!(references.header("etag"), listed.header("etag"));
    assert_eq!(follow_all(&app, &references.json()).await, 3);
    let mut next = Some(format!("{one}/assignments/$ref?$top=2&$count=true&$orderby=target/groupId"));
    let mut paged = Vec::new();
    while let Some(path) = next {
        let page = app.get(&path).await.json();
        assert_eq!(page["@odata.count"], 3, "{page}");
        paged.extend(page["value"].as_array().expect("a page").clone());
        next = page["@odata.nextLink"].as_str().map(|next| next.strip_prefix(&app.origin).expect("a link").to_owned());
        assert!(next.as_ref().is_none_or(|next| next.contains("/assignments/$ref?")), "{next:?}");
    }
    assert_eq!(paged, expected);
    let filter = "target/microsoft.graph.groupAssignmentTarget/groupId eq 'b'";
    let filtered = app.get(&format!("{one}/assignments/$ref?$filter={filter}")).await.json();
    assert_eq!(filtered["value"], json!([expected[1]]));
    let refused = app.get(&format!("{one}/assignments/$ref?$select=id")).await;
    assert!(refused.refusal().starts_with("400 BadRequest: The query option '$select'"));
    // A reference consists of its id, so odata.metadata=none does not remove the id.
    let none = get(&app, &format!("{one}/assignments/$ref"), "application/json;odata.metadata=none").await.json();
    assert_eq!(none, json!({ "value": expected }));
    let missing = format!("{CONFIGURATIONS}/7e159a72-9a72-7e15-729a-157e729a157e/assignments/$ref");
    assert_eq!(app.get(&missing).await.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn operations_are_at_the_targets_that_a_full_body_names() {
    let app = App::start().await;
    let one = app.configuration().await;
    let read = get_full(&app, &one).await;
    let assign = &read["#microsoft.graph.assign"];
    assert_eq!(assign["title"], "microsoft.graph.assign");
    let path = assign["target"].as_str().and_then(|target| target.strip_prefix(&app.origin)).expect("a target");
    let assigned = app.post(path, &json!({"assignments": [group("a")]})).await;
    assert_eq!(assigned.status, StatusCode::OK, "{}", assigned.text);
    let function = &read["#microsoft.graph.getOmaSettingPlainTextValue"];
    assert_eq!(function["title"], "microsoft.graph.getOmaSettingPlainTextValue");
    let path = function["target"].as_str().and_then(|target| target.strip_prefix(&app.origin)).expect("a target");
    let asked = app.get(&format!("{path}?@secretReferenceValueId='it''s'")).await.refusal();
    assert!(asked.starts_with("404 ResourceNotFound: The configuration has no secret 'it's'."), "{asked}");
    for query in ["", "?@other='x'"] {
        let asked = app.get(&format!("{path}{query}")).await.refusal();
        assert!(asked.contains("Add ?@secretReferenceValueId='…' to the URL."), "{query}: {asked}");
    }
    let asked = app.get(&format!("{path}?@secretReferenceValueId=x")).await.refusal();
    assert!(asked.starts_with("400 BadRequest: The parameters 'secretReferenceValueId="), "{asked}");
    let strict = app.request(Method::GET, &format!("{path}?@secretReferenceValueId='x'"));
    let asked = app.answer(strict.header("prefer", "handling=strict")).await.refusal();
    assert!(asked.starts_with("404 ResourceNotFound: The configuration has no secret 'x'."), "{asked}");
}

#[actix_web::test]
async fn a_full_body_can_be_posted_back() {
    let app = App::start().await;
    for (version, body) in bodies() {
        let collection = CONFIGURATIONS.replace("v1.0", version.segment());
        let id = app.post(&collection, &body).await.id();
        let mut read = get_full(&app, &format!("{collection}/{id}")).await;
        let again = app.post(&collection, &read).await;
        assert_eq!((again.status, again.id()), (StatusCode::CREATED, id.clone()), "{}", again.text);
        let members = read.as_object_mut().expect("an object");
        members.remove("id");
        let copy = app.post(&collection, &read).await;
        assert_eq!(copy.status, StatusCode::CREATED, "{}", copy.text);
        let (one, other) = (format!("{collection}/{id}"), format!("{collection}/{}", copy.id()));
        let (mut one, mut other) = (app.get(&one).await.json(), app.get(&other).await.json());
        for name in ["id", "createdDateTime", "lastModifiedDateTime"] {
            one[name] = Value::Null;
            other[name] = Value::Null;
        }
        assert_eq!(one, other);
    }
    let one = app.configuration().await;
    for segment in ["assignments", "deviceStatuses"] {
        let sent = if segment == "assignments" { group("a") } else { json!({"deviceDisplayName": "d"}) };
        let path = format!("{one}/{segment}");
        let id = app.post(&path, &sent).await.id();
        let read = get_full(&app, &format!("{path}/{id}")).await;
        let again = app.post(&path, &read).await;
        assert_eq!((again.status, again.id()), (StatusCode::CREATED, id), "{}", again.text);
    }
}

#[actix_web::test]
async fn a_type_that_only_beta_accepts_has_a_cast_only_there() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, accept_unknown_types).await;
    let body = json!({
        "@odata.type": "#microsoft.graph.contosoConfiguration", "displayName": "open", "unknown": {"a": [1]},
        "roleScopeTagIds": ["0"],
    });
    let one = format!("{CONFIGURATIONS}/{}", app.post(&beta(CONFIGURATIONS), &body).await.id());
    let on_beta = get_full(&app, &beta(&one)).await;
    let edit = on_beta["@odata.editLink"].as_str().expect("a link");
    assert!(edit.ends_with("')/microsoft.graph.contosoConfiguration"), "{edit}");
    assert_eq!(on_beta["unknown"], json!({"a": [1]}));
    assert_eq!(on_beta["roleScopeTagIds@odata.type"], "#Collection(String)");
    assert_eq!(follow_all(&app, &on_beta).await, 16);
    let on_v1 = get_full(&app, &one).await;
    assert_eq!(on_v1["@odata.editLink"], on_v1["@odata.id"]);
    assert_eq!(follow_all(&app, &on_v1).await, 14);
    // SQL can store properties with the names of control information. An answer does not repeat
    // these names.
    let one = beta(&app.configuration().await);
    sqlx::query(
        r##"UPDATE device_configurations SET properties = '{
               "@odata.id": "x", "version@odata.type": "x", "assignments@odata.navigationLink": "x",
               "#microsoft.graph.assign": "x", "omaSettings": [{"@odata.type": 7, "value@odata.type": "x"}, null, 5]}'
           WHERE odata_type = 'windows10CustomConfiguration'"##,
    )
    .execute(app.pool())
    .await
    .expect("the change");
    let answer = get(&app, &one, FULL).await;
    for name in ["@odata.id", "version@odata.type", "assignments@odata.navigationLink", "#microsoft.graph.assign"] {
        assert_eq!(answer.text.matches(&format!("\"{name}\":")).count(), 1, "{name}: {}", answer.text);
    }
    assert_eq!(answer.json()["omaSettings"][0]["@odata.type"], "#microsoft.graph.omaSetting", "{}", answer.text);
}

#[actix_web::test]
async fn an_etag_is_in_bodies_when_the_client_asks_for_control_information() {
    let app = App::start().await;
    let one = app.configuration().await;
    let listed = format!("{CONFIGURATIONS}?$filter=id eq '{}'", one.rsplit('/').next().expect("an id"));
    for (headers, has_etag) in [
        (vec![], false),
        (vec![("accept", "application/json")], false),
        (vec![("accept", "*/*")], false),
        (vec![("accept", "application/json;odata.streaming=true")], false),
        (vec![("odata-version", "4.0")], false),
        (vec![("accept", "application/json;odata.metadata=none")], false),
        (vec![("accept", "application/json;odata.metadata=none"), ("odata-maxversion", "4.0")], false),
        (vec![("accept", MINIMAL)], true),
        (vec![("accept", "application/json;metadata=Minimal")], true),
        (vec![("accept", FULL)], true),
        (vec![("odata-maxversion", "4.0")], true),
        (vec![("accept", "application/json"), ("odata-maxversion", "4.01")], true),
    ] {
        for (method, path, body) in [
            (Method::GET, &one, Value::Null),
            (Method::GET, &listed, Value::Null),
            (Method::PATCH, &one, json!({})),
            (Method::POST, &CONFIGURATIONS.to_owned(), bodies()[2].1.clone()),
        ] {
            let answer = send(&app, method.clone(), path, &headers, &body).await;
            assert!(answer.status.is_success(), "{}", answer.text);
            let body = answer.json();
            let entity = body.get("value").map_or(&body, |value| &value[0]);
            assert_eq!(entity.get("@odata.etag").is_some(), has_etag, "{method} {path} {headers:?}");
            if *path != listed {
                let header = answer.header("etag");
                assert!(entity.get("@odata.etag").is_none_or(|etag| *etag == header), "{}", answer.text);
            }
        }
    }
}

#[actix_web::test]
async fn a_step_of_a_batch_is_answered_by_its_own_headers() {
    let app = App::start().await;
    let one = app.configuration().await;
    let accepts =
        [None, Some("application/json"), Some(MINIMAL), Some(FULL), Some("application/json;odata.metadata=none")];
    let steps: Vec<_> = accepts
        .iter()
        .enumerate()
        .map(|(place, accept)| {
            let headers = accept.map_or(json!({}), |accept| json!({ "Accept": accept }));
            json!({"id": place.to_string(), "method": "GET", "url": one, "headers": headers})
        })
        .collect();
    let answers = batch(&app, &json!(steps)).await;
    let has = |place: usize, name: &str| answers[place]["body"].get(name).is_some();
    let etags: Vec<_> = (0..5).map(|place| has(place, "@odata.etag")).collect();
    assert_eq!(etags, [false, false, true, true, false]);
    let links: Vec<_> = (0..5).map(|place| has(place, "assignments@odata.navigationLink")).collect();
    assert_eq!(links, [false, false, false, true, false]);
    assert_eq!(answers[3]["headers"]["Content-Type"], FULL);
    assert_eq!(follow_all(&app, &answers[3]["body"]).await, 14);
    // The headers of the batch do not apply to its steps.
    let headers = [("accept", FULL), ("odata-maxversion", "4.0")];
    let body = json!({"requests": [{"id": "1", "method": "GET", "url": one}]});
    let outer = send(&app, Method::POST, "/v1.0/$batch", &headers, &body).await;
    assert!(outer.json()["responses"][0]["body"].get("@odata.etag").is_none(), "{}", outer.text);
}
