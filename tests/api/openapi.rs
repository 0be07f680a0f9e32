//! `/openapi.json` describes the service correctly: it has every route, and requests and answers
//! match their schemas.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, OnceLock},
};

use devicegraph::{
    catalogue::version::{self, Version},
    server::{openapi::parameters::template, routes},
};
use jsonschema::{Draft, Registry, Validator};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    catalogue::{COMPUTED, added, concrete, full, named, wrong},
    harness::{Answer, App, CONFIGURATIONS, accept_unknown_types, beta, database, group, is_remote},
    tokens::issuer,
};

pub(crate) async fn document(app: &App) -> Value {
    let answer = app.answer(app.anonymous(Method::GET, "/openapi.json")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

/// A document of the service, and the validators of its schemas.
struct Described {
    document: Value,
    validators: &'static Validators,
}

/// The validators of one document, shared by all tests: they need much memory and time.
struct Validators {
    registry: Registry<'static>,
    by_pointer: Mutex<HashMap<String, Arc<OnceLock<Validator>>>>,
}

/// The name of the document in its registry.
const DOCUMENT: &str = "urn:document";

impl Validators {
    /// Returns the validators of a document. Tests with the same settings have the same one.
    fn of(document: &Value) -> &'static Self {
        static ALL: Mutex<Vec<(u64, &'static Validators)>> = Mutex::new(Vec::new());
        let mut hasher = DefaultHasher::new();
        document.to_string().hash(&mut hasher);
        let hash = hasher.finish();
        let mut all = ALL.lock().expect("no test panics here");
        if let Some((_, validators)) = all.iter().find(|(known, _)| *known == hash) {
            return validators;
        }
        let registry = Registry::new().draft(Draft::Draft202012).add(DOCUMENT, document.clone());
        let registry = registry.and_then(jsonschema::RegistryBuilder::prepare).expect("a registry");
        // A few documents, which live as long as the tests.
        let validators: &'static Self = Box::leak(Box::new(Self { registry, by_pointer: Mutex::default() }));
        all.push((hash, validators));
        validators
    }

    /// Returns the validator of the schema at a pointer.
    fn at(&'static self, pointer: &str) -> Arc<OnceLock<Validator>> {
        let validator =
            self.by_pointer.lock().expect("no test panics here").entry(pointer.to_owned()).or_default().clone();
        validator.get_or_init(|| {
            let fragment = percent_encoding::utf8_percent_encode(pointer, percent_encoding::NON_ALPHANUMERIC);
            let schema =
                json!({"$ref": format!("{DOCUMENT}#{}", fragment.to_string().replace("%2F", "/").replace("%7E", "~"))});
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
            options.with_registry(&self.registry).build(&schema).unwrap_or_else(|error| panic!("{pointer}: {error}"))
        });
        validator
    }
}

impl Described {
    async fn by(app: &App) -> Self {
        let mut document = document(app).await;
        // The only part with the address of this service.
        document.as_object_mut().expect("an object").remove("servers");
        Self { validators: Validators::of(&document), document }
    }

    /// Returns the value at a pointer and the pointer itself. When the value is a `$ref`, returns
    /// its target.
    fn at(&self, pointer: &str) -> (String, &Value) {
        let found = self.document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in the document"));
        match found.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.at(reference.trim_start_matches('#')),
            None => (pointer.to_owned(), found),
        }
    }

    /// Returns the errors of a value with the schema at a pointer.
    fn errors(&self, pointer: &str, value: &Value) -> Vec<String> {
        self.with_validator(pointer, |validator| {
            validator.iter_errors(value).map(|error| format!("{}: {error:.300}", error.instance_path())).collect()
        })
    }

    /// Returns whether a value matches the schema at a pointer. This is faster than `errors`.
    fn allows(&self, pointer: &str, value: &Value) -> bool {
        self.with_validator(pointer, |validator| validator.is_valid(value))
    }

    fn with_validator<T>(&self, pointer: &str, ask: impl FnOnce(&Validator) -> T) -> T {
        ask(self.validators.at(pointer).get().expect("a validator"))
    }

    /// Asserts that an answer matches its description in the document.
    #[track_caller]
    fn holds(&self, method: &Method, path: &str, answer: &Answer) {
        let escaped = path.replace('~', "~0").replace('/', "~1");
        let status = answer.status.as_u16();
        let at = format!("{status} of {method} {path}: {:.300}", answer.text);
        let responses = format!("/paths/{escaped}/{}/responses", method.as_str().to_lowercase());
        assert!(self.at(&responses).1.get(status.to_string()).is_some(), "not declared: {at}");
        let (pointer, response) = self.at(&format!("{responses}/{status}"));
        for name in response["headers"].as_object().expect("headers").keys() {
            let (header, declared) = self.at(&format!("{pointer}/headers/{}", name.replace('/', "~1")));
            match answer.headers.get(name.as_str()) {
                Some(value) => {
                    let value = json!(value.to_str().expect("text"));
                    assert_eq!(self.errors(&format!("{header}/schema"), &value), [""; 0], "{name} in {at}");
                }
                None => assert_ne!(declared["required"], true, "no {name} in {at}"),
            }
        }
        let told = ["location", "preference-applied", "odata-entityid", "www-authenticate", "retry-after", "allow"];
        let declared = response["headers"].as_object().expect("headers");
        for name in told.into_iter().filter(|name| answer.headers.contains_key(*name)) {
            assert!(declared.keys().any(|known| known.eq_ignore_ascii_case(name)), "{name} is not declared in {at}");
        }
        let Some(content) = response.get("content") else {
            assert_eq!(answer.text, "", "{at}");
            return;
        };
        let sent = answer.header("content-type").replace("; ", ";").replace(";charset=utf-8", "");
        assert!(content.get(&sent).is_some(), "{sent} is not declared: {at}");
        let schema = format!("{pointer}/content/{}/schema", sent.replace('/', "~1"));
        let body = if sent.starts_with("application/json") { answer.json() } else { json!(answer.text) };
        assert_eq!(self.errors(&schema, &body), [""; 0], "{at}");
    }
}

/// Returns every operation that the document must have: the entry of the route table, the method
/// and the path.
fn expected() -> Vec<(&'static routes::Route, String, String)> {
    let graph = version::MOUNTS.into_iter().flat_map(|(mount, version)| {
        let entries = routes::GRAPH_ROUTES.iter().filter(move |entry| entry.is_on(version));
        entries.map(move |entry| (mount, entry))
    });
    let all = graph.chain(routes::SERVICE_ROUTES.iter().map(|entry| ("", entry)));
    let operations = all.flat_map(|(mount, entry)| {
        let path = format!("{mount}{}", template(entry.path));
        let method = entry.method.as_str().to_lowercase();
        let head = (method == "get").then(|| (entry, "head".to_owned(), path.clone()));
        [(entry, method, path)].into_iter().chain(head)
    });
    operations.collect()
}

pub(crate) fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let all = paths.flat_map(|(path, methods)| {
        methods
            .as_object()
            .expect("methods")
            .iter()
            .map(move |(method, operation)| (method.clone(), path.clone(), operation))
    });
    all.collect()
}

#[actix_web::test]
async fn every_route_is_an_operation_with_an_id_of_its_own() {
    let document = document(&App::start().await).await;
    let there: BTreeSet<_> = operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let expected: BTreeSet<_> = expected().into_iter().map(|(_, method, path)| (method, path)).collect();
    assert_eq!(there, expected);
    let ids: BTreeSet<_> =
        operations(&document).into_iter().map(|(.., operation)| operation["operationId"].to_string()).collect();
    assert_eq!(ids.len(), there.len(), "each operation has its own id");
}

#[actix_web::test]
async fn the_document_says_which_operations_need_a_token() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let described = Described::by(&app).await;
    for (method, path, operation) in operations(&described.document) {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
        let concrete = path.replace("{secretReferenceValueId}", "x").replace(['{', '}'], "");
        let answer = app.answer(app.anonymous(method.clone(), &concrete)).await;
        let is_asked = operation.get("security").is_some();
        assert_eq!(answer.status == StatusCode::UNAUTHORIZED, is_asked, "{method} {path}: {}", answer.text);
        described.holds(&method, &path, &answer);
        if is_asked {
            let personal = issuer().expect("an issuer").with("tid", "9188040d-6c67-4c5b-b112-36a304b66dad");
            let answer = app.answer(app.anonymous(method.clone(), &concrete).header("authorization", personal)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            described.holds(&method, &path, &answer);
        }
    }
    let off = App::start_on(database(true).await, |settings| settings.auth = crate::harness::settings().auth).await;
    let text = document(&off).await.to_string();
    for word in ["\"401\"", "\"403\"", "WWW-Authenticate", "securitySchemes", "\"bearer\""] {
        assert!(!text.contains(word), "{word}");
    }
}

fn component(name: &str, version: Version) -> String {
    let version = if version == Version::Beta { "beta" } else { "v1" };
    format!("/components/schemas/{version}.{name}")
}

const VERSIONS: [(&str, Version); 2] = [("/v1.0", Version::V1), ("/beta", Version::Beta)];
const COLLECTION: &str = "/deviceManagement/deviceConfigurations";

#[actix_web::test]
async fn every_type_is_sent_and_answered_as_the_document_says() {
    let app = App::start().await;
    let described = Described::by(&app).await;
    for (mount, version) in VERSIONS {
        let collection = format!("{mount}{COLLECTION}");
        let escaped = collection.replace('/', "~1");
        let request = format!("/paths/{escaped}/post/requestBody/content/application~1json/schema");
        let one = format!("{collection}/{{configuration}}");
        let change = format!("/paths/{}/patch/requestBody/content/application~1json/schema", one.replace('/', "~1"));
        for of in concrete("deviceConfiguration", version) {
            for seed in 0..3 {
                let mut sent = if seed == 0 { serde_json::Map::new() } else { full(of, version, seed) };
                sent.insert(
                    "@odata.type".to_owned(),
                    named(of).trim_start_matches(if seed == 1 { "#" } else { "" }).into(),
                );
                sent.insert("displayName".to_owned(), of.name.clone().into());
                let sent = Value::from(sent);
                assert_eq!(described.errors(&request, &sent), [""; 0], "{sent:.300}");
                let created = app.post(&collection, &sent).await;
                described.holds(&Method::POST, &collection, &created);
                let path = format!("{collection}/{}", created.id());
                described.holds(&Method::GET, &one, &app.get(&path).await);
                // An answer is also a valid body of a request.
                assert_eq!(described.errors(&request, &created.json()), [""; 0], "{:.300}", created.text);
                assert_eq!(described.errors(&change, &created.json()), [""; 0], "{:.300}", created.text);
                described.holds(&Method::PATCH, &one, &app.patch(&path, &created.json()).await);
            }
        }
        described.holds(
            &Method::GET,
            &collection,
            &app.get(&format!("{collection}?$expand=assignments&$count=true&$top=9")).await,
        );
        described.holds(&Method::GET, &collection, &app.get(&format!("{collection}?$select=id")).await);
    }
}

#[actix_web::test]
async fn v1_answers_with_what_only_beta_has_as_the_document_says() {
    let app = App::start().await;
    let described = Described::by(&app).await;
    let app_rule = json!({"@odata.type": "#microsoft.graph.windowsFirewallRule", "displayName": "r"});
    for body in [
        json!({"@odata.type": "#microsoft.graph.windowsKioskConfiguration", "displayName": "a"}),
        json!({"@odata.type": "#microsoft.graph.windows10EndpointProtectionConfiguration", "displayName": "a", "firewallRules": [app_rule]}),
        json!({"@odata.type": "#microsoft.graph.windowsUpdateForBusinessConfiguration", "displayName": "a", "automaticUpdateMode": "windowsDefault"}),
    ] {
        let created = app.post(&beta(CONFIGURATIONS), &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        let read = app.get(&format!("{CONFIGURATIONS}/{}", created.id())).await;
        described.holds(&Method::GET, &format!("{CONFIGURATIONS}/{{configuration}}"), &read);
    }
}

#[actix_web::test]
async fn a_type_that_the_catalogue_lacks_is_described_where_it_is_accepted() {
    if is_remote() {
        return;
    }
    let (strict, open) = (App::start().await, App::start_on(database(true).await, accept_unknown_types).await);
    let body =
        json!({"@odata.type": "#microsoft.graph.windowsFutureConfiguration", "displayName": "a", "future": {"x": 1}});
    let request =
        format!("/paths/~1beta{}/post/requestBody/content/application~1json/schema", COLLECTION.replace('/', "~1"));
    for (app, status) in [(strict, StatusCode::BAD_REQUEST), (open, StatusCode::CREATED)] {
        let described = Described::by(&app).await;
        assert_eq!(described.errors(&request, &body).is_empty(), status == StatusCode::CREATED);
        let created = app.post(&beta(CONFIGURATIONS), &body).await;
        assert_eq!(created.status, status, "{}", created.text);
        described.holds(&Method::POST, &beta(CONFIGURATIONS), &created);
        if status == StatusCode::CREATED {
            for (mount, _) in VERSIONS {
                let read = app.get(&format!("{mount}{COLLECTION}/{}", created.id())).await;
                described.holds(&Method::GET, &format!("{mount}{COLLECTION}/{{configuration}}"), &read);
            }
        }
    }
}

#[actix_web::test]
async fn a_create_with_assignments_and_a_change_are_as_the_document_says() {
    let app = App::start().await;
    let described = Described::by(&app).await;
    let base = json!({"target": {"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}});
    for (mount, _) in VERSIONS {
        let collection = format!("{mount}{COLLECTION}");
        let at = format!("/paths/{}/post/requestBody/content/application~1json/schema", collection.replace('/', "~1"));
        for assignments in [
            json!([]),
            json!(null),
            json!([group("a"), {"id": "any", "target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}]),
            json!([base]),
            json!([{"target": {"@odata.type": "#microsoft.graph.nonsense"}}]),
            json!([5]),
            json!({}),
        ] {
            let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "a", "assignments": assignments});
            let answer = app.post(&collection, &body).await;
            described.holds(&Method::POST, &collection, &answer);
            let errors = described.errors(&at, &body);
            assert_eq!(errors.is_empty(), answer.status == StatusCode::CREATED, "{body} {errors:?} {}", answer.text);
        }
        let path = app.configuration().await.replacen("/v1.0", mount, 1);
        let one = format!("{collection}/{{configuration}}");
        for prefer in ["", "return=minimal", "return=representation"] {
            let request = app.request(Method::PATCH, &path).header("prefer", prefer);
            let answer = app.answer(request.header("content-type", "application/json").body("{}")).await;
            described.holds(&Method::PATCH, &one, &answer);
        }
    }
}

#[actix_web::test]
async fn a_value_that_is_refused_is_not_one_of_the_schema() {
    let described = Described::by(&App::start().await).await;
    let mut refused = 0;
    for (_, version) in VERSIONS {
        for of in concrete("deviceConfiguration", version) {
            let pointer = component(&format!("{}.request", of.name), version);
            for property in added(of, version) {
                let is_computed = property.name != "displayName" && COMPUTED.contains(&property.name.as_str());
                for (value, _) in wrong(property, &property.name, version, 1) {
                    if is_computed && value.is_null() {
                        continue;
                    }
                    let body = json!({"@odata.type": named(of), &property.name: value});
                    assert!(!described.allows(&pointer, &body), "{version:?} {body:.300}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 5_000, "{refused}");
}

#[actix_web::test]
async fn what_is_below_a_configuration_is_as_the_document_says() {
    let app = App::start().await;
    let described = Described::by(&app).await;
    let id = app.configuration().await.rsplit('/').next().expect("an id").to_owned();
    for (mount, _) in VERSIONS {
        let template = format!("{mount}{COLLECTION}/{{configuration}}");
        let path = template.replace("{configuration}", &id);
        let send = async |method: Method, below: &str, key: &str, body: Option<Value>, prefer: &str| {
            let path = format!("{path}/{}", below.replace("{assignment}", key).replace("{status}", key));
            let request = app.request(method.clone(), &path).header("prefer", prefer);
            let request = match &body {
                Some(body) => request.header("content-type", "application/json").body(body.to_string()),
                None => request,
            };
            let answer = app.answer(request).await;
            let (below, _) = below.split_once('?').unwrap_or((below, ""));
            described.holds(&method, &format!("{template}/{below}"), &answer);
            if let Some(body) = body {
                let at = format!("{template}/{below}").replace('/', "~1");
                let at = format!(
                    "/paths/{at}/{}/requestBody/content/application~1json/schema",
                    method.as_str().to_lowercase()
                );
                let is_right = described.errors(&at, &body);
                assert_eq!(
                    is_right.is_empty(),
                    answer.status != StatusCode::BAD_REQUEST,
                    "{method} {below} {body}: {is_right:?} {}",
                    answer.text
                );
            }
            answer
        };
        let bodies = [
            json!({"target": {"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}}),
            json!({"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}),
            json!({"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget", "groupId": "x"}}),
            json!({"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": ""}}),
            json!({"target": {"@odata.type": "#microsoft.graph.groupAssignmentTarget"}}),
            json!({"target": {"@odata.type": "#microsoft.graph.noTarget"}}),
            json!({"target": {"groupId": "x"}}),
            json!({"target": null}),
            json!({"id": "x", "target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}),
            json!({"more": 1, "target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}}),
            json!({}),
            group("a"),
        ];
        for body in &bodies {
            send(Method::POST, "assignments", "", Some(body.clone()), "").await;
            send(Method::POST, "assign", "", Some(json!({"assignments": [body]})), "").await;
            for mode in ["add", "remove"] {
                let call = json!({"mode": mode, "validateOnly": true, "assignments": [body]});
                send(Method::POST, "assign", "", Some(call), "").await;
            }
        }
        let id = "5a3b0f10-0000-4000-8000-0000000000ff";
        let removed = json!({"mode": "remove", "assignments": [group("missing"), {"id": id}]});
        send(Method::POST, "assign", "", Some(removed), "").await;
        for on_conflict in ["refuse", "change", "other"] {
            let call = json!({"mode": "replace", "onConflict": on_conflict, "assignments": [group("a")]});
            send(Method::POST, "assign", "", Some(call), "").await;
        }
        send(Method::POST, "assign", "", Some(json!({"assignments": null})), "").await;
        send(Method::POST, "microsoft.graph.assign", "", Some(json!({"assignments": []})), "").await;
        let created = send(Method::POST, "assignments", "", Some(group("b")), "return=representation").await;
        send(Method::POST, "assignments/$ref", "", Some(group("b")), "").await;
        send(Method::POST, "assignments/$ref", "", Some(group("c")), "return=minimal").await;
        send(Method::GET, "assignments?$top=1&$count=true", "", None, "odata.maxpagesize=5").await;
        send(Method::GET, "assignments/$ref?$top=1&$count=true", "", None, "odata.maxpagesize=5").await;
        send(Method::GET, "assignments/$count", "", None, "").await;
        send(Method::HEAD, "assignments", "", None, "").await;
        let key = created.id();
        for method in [Method::GET, Method::HEAD] {
            send(method, "assignments/{assignment}", &key, None, "").await;
        }
        send(Method::GET, "assignments/{assignment}?$select=id", &key, None, "").await;
        send(Method::PATCH, "assignments/{assignment}", &key, Some(group("d")), "return=minimal").await;
        send(Method::PATCH, "assignments/{assignment}", &key, Some(group("c")), "").await;
        send(Method::PATCH, "assignments/{assignment}", &key, Some(json!({"id": "any", "@odata.etag": 1})), "").await;
        send(Method::DELETE, "assignments/{assignment}", &key, None, "").await;
        send(Method::DELETE, "assignments/{assignment}", &key, None, "").await;
        for (rows, row, property) in [
            ("deviceStatuses", "deviceStatuses/{status}", "deviceDisplayName"),
            ("userStatuses", "userStatuses/{status}", "userDisplayName"),
            ("deviceSettingStateSummaries", "deviceSettingStateSummaries/{status}", "settingName"),
        ] {
            let created = send(Method::POST, rows, "", Some(json!({property: "a"})), "").await;
            let key = created.id();
            send(Method::GET, &format!("{rows}/$ref"), "", None, "").await;
            send(Method::POST, rows, "", Some(json!({"id": key, property: "b"})), "").await;
            for wrong in [json!({"id": "x"}), json!({property: 1}), json!({"more": 1})] {
                send(Method::POST, rows, "", Some(wrong), "").await;
            }
            send(Method::GET, rows, "", None, "").await;
            send(Method::GET, row, &key, None, "").await;
            send(Method::PATCH, row, &key, Some(json!({property: null})), "return=minimal").await;
            send(Method::PATCH, row, &key, Some(created.json()), "").await;
            send(Method::DELETE, row, &key, None, "").await;
            send(Method::GET, row, &key, None, "").await;
        }
        for overview in ["deviceStatusOverview", "userStatusOverview"] {
            send(Method::GET, overview, "", None, "").await;
            send(Method::GET, &format!("{overview}/$ref"), "", None, "").await;
        }
        if mount == "/beta" {
            let key = send(Method::POST, "assignments", "", Some(group("e")), "").await.id();
            send(Method::GET, "groupAssignments", "", None, "").await;
            send(Method::GET, "groupAssignments/{assignment}", &key, None, "").await;
        }
    }
}

#[actix_web::test]
async fn other_answers_are_as_the_document_says() {
    let app = App::start().await;
    let described = Described::by(&app).await;
    let collection = CONFIGURATIONS;
    let post = |content_type: &str, body: String| {
        app.request(Method::POST, collection).header("content-type", content_type).body(body)
    };
    let big = format!("{{\"displayName\": \"{}\"}}", "x".repeat(1 << 20));
    for (request, status) in [
        (post("text/plain", "x".to_owned()), 415),
        (post("application/json", big), 413),
        (post("application/json", "{".to_owned()), 400),
        (post("application/json", "{}".to_owned()).header("accept", "application/json;odata.metadata=all"), 406),
    ] {
        let answer = app.answer(request).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        described.holds(&Method::POST, collection, &answer);
    }
    for metadata in ["minimal", "full", "none"] {
        let accept = format!("application/json;odata.metadata={metadata}");
        let answer = app.answer(app.request(Method::GET, collection).header("accept", accept)).await;
        described.holds(&Method::GET, collection, &answer);
    }
    for path in [
        "/",
        "/health/live",
        "/health/ready",
        "/openapi.json",
        "/docs",
        "/docs/page.js",
        "/docs/swagger-ui.css",
        "/docs/swagger-ui-bundle.js",
        "/beta/$metadata",
        "/beta/$metadata?$format=json",
    ] {
        for method in [Method::GET, Method::HEAD] {
            let answer = app.send(method.clone(), path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            described.holds(&method, path.split('?').next().expect("a path"), &answer);
        }
    }
    let count = format!("{collection}/$count");
    described.holds(&Method::GET, &count, &app.get(&count).await);
    described.holds(&Method::GET, &count, &app.get(&format!("{count}?$top=1")).await);
}

#[actix_web::test]
async fn a_batch_is_as_the_document_says() {
    let app = App::start().await;
    let described = Described::by(&app).await;
    let get = json!({"id": 1, "method": "GET", "url": "/deviceManagement/deviceConfigurations"});
    let with = |name: &str, value: Value| {
        let mut step = get.clone();
        step[name] = value;
        json!({ "requests": [step] })
    };
    for body in [
        json!({"requests": [get, {"id": "2", "method": "delete", "url": "x", "depends_on": [], "dependsOn": ["1"], "headers": {"a": "b"}, "body": "c"}]}),
        json!({"requests": []}),
        json!({}),
        json!({"requests": null}),
        json!({"requests": [{"method": "GET", "url": "/"}]}),
        json!({"requests": (0..21).map(|id| json!({"id": id, "method": "GET", "url": "/"})).collect::<Vec<_>>()}),
        with("id", json!("")),
        with("id", json!(true)),
        with("method", json!("G T")),
        with("url", json!("")),
        with("headers", json!(null)),
        with("headers", json!({"a": 1})),
        with("headers", json!({"a": "\u{7f}"})),
        with("headers", json!({"a": "ü"})),
        with("headers", json!({"a b": "c"})),
        with("dependsOn", json!("1")),
        with("dependsOn", json!(null)),
        with("atomicityGroup", json!(5)),
        with("atomicityGroup", json!("")),
    ] {
        for mount in ["", "/v1.0", "/beta"] {
            let path = format!("{mount}/$batch");
            let answer = app.post(&path, &body).await;
            described.holds(&Method::POST, &path, &answer);
            let at = format!("/paths/{}/post/requestBody/content/application~1json/schema", path.replace('/', "~1"));
            let errors = described.errors(&at, &body);
            assert_eq!(errors.is_empty(), answer.status == StatusCode::OK, "{body} {errors:?} {}", answer.text);
        }
    }
}

#[actix_web::test]
async fn the_page_requests_nothing_from_other_hosts() {
    let app = App::start().await;
    let page = app.get("/docs").await;
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("http"), "{policy}");
    let sources = page.text.split(['"', '\'']).filter(|part| part.starts_with('/') && part.len() > 1);
    for path in sources {
        assert_eq!(app.get(path).await.status, StatusCode::OK, "{path}");
    }
    let script = app.get("/docs/page.js").await.text;
    assert!(!page.text.contains("://") && !script.contains("://") && script.contains("persistAuthorization: false"));
    for path in ["/docs/..%2fopenapi.json", "/docs/../../Cargo.toml", "/docs/x", "/docs/%2e%2e/%2e%2e/etc/passwd"] {
        assert_eq!(app.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
