//! `/openapi.json`: what the service reads and answers, in OpenAPI 3.1, and
//! `/docs`, the page that shows it.
//!
//! The document is put together from the route table, the catalogue and the
//! table of errors; only what none of them knows is written here.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod.rs` | the document put together |
//! | [`operations`] | what is said of each route |
//! | [`parameters`] | paths, query options and headers of requests |
//! | [`bodies`] | bodies of requests |
//! | [`answers`] | answers and their headers |
//! | [`schemas`] | the catalogue in JSON Schema |
//!
//! <https://spec.openapis.org/oas/v3.1.1.html>

use std::sync::OnceLock;

use actix_web::{HttpResponse, http::Method, web::Data};
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    answers::{Answers, Asked},
    operations::{ALL, Group, Operation},
    schemas::Schemas,
};
use super::routes::{Entry, GRAPH, MOUNTS, OWN};
use crate::{
    auth::{Access, Gate},
    odata::links::Version,
};

pub mod answers;
pub mod bodies;
pub mod operations;
pub mod parameters;
pub mod schemas;

/// The document of a service, put together when it is first asked for.
#[derive(Default)]
pub struct Document(OnceLock<String>);

/// `GET /openapi.json`
pub async fn get(document: Data<Document>, gate: Data<Gate>) -> HttpResponse {
    let text = document.0.get_or_init(|| serde_json::to_string(&OpenApi::of(&gate)).unwrap_or_default());
    // With a parameter, by which `negotiate` sees that no control information is to be taken out of it.
    HttpResponse::Ok().content_type("application/json;charset=utf-8").body(text.clone())
}

/// Members in the order in which they are read.
#[derive(Serialize)]
struct OpenApi {
    openapi: &'static str,
    info: Value,
    servers: Value,
    /// Nobody is asked, where no operation says otherwise.
    security: [(); 0],
    tags: Vec<Value>,
    paths: IndexMap<String, IndexMap<&'static str, Value>>,
    components: Value,
}

const ABOUT: &str = "Device configurations and their assignments, in the Microsoft Graph dialect. \
What `/beta` adds is below `/beta`; a path without a version means `/v1.0`. \
A method that a path does not have is answered 405 with `Allow`, and a path that is not here 404, both with the body of every error. \
A query option that is not declared is refused where it is one of OData's and ignored otherwise. \
`Accept` may ask for `application/json;odata.metadata=none`.";

impl OpenApi {
    fn of(gate: &Gate) -> Self {
        let mut writer = Writer { gate, schemas: Schemas::default(), answers: Answers::default() };
        let mut paths: IndexMap<String, IndexMap<&'static str, Value>> = IndexMap::new();
        let of_graph = MOUNTS.into_iter().flat_map(|mount| GRAPH.iter().map(move |entry| (mount, entry)));
        for (mount, entry) in of_graph.chain(OWN.iter().map(|entry| (("", Version::V1), entry))) {
            let path = format!("{}{}", mount.0, parameters::template(entry.path));
            for (method, operation) in writer.operations(mount, entry) {
                paths.entry(path.clone()).or_default().insert(method, operation);
            }
        }
        Self {
            openapi: "3.1.1",
            info: json!({
                "title": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "summary": env!("CARGO_PKG_DESCRIPTION"),
                "description": ABOUT,
                "contact": {"name": "Whoever runs this service"},
                "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
            }),
            servers: json!([{"url": "/", "description": "Where this document is from."}]),
            security: [],
            tags: tags(),
            paths,
            components: writer.components(),
        }
    }
}

/// The groups of each mount.
fn tags() -> Vec<Value> {
    let of = |mount: &str, group: Group| json!({"name": tag(mount, group), "description": group.about().1});
    let of_graph = MOUNTS.into_iter().flat_map(|(mount, _)| Group::OF_GRAPH.map(|group| of(mount, group)));
    of_graph.chain([of("", Group::Service)]).collect()
}

fn tag(mount: &str, group: Group) -> String {
    let (name, _) = group.about();
    match mount.trim_start_matches('/') {
        "" => name.to_owned(),
        version => format!("{version} {name}"),
    }
}

/// What is said of a route.
fn said(entry: &Entry) -> Option<&'static Operation> {
    ALL.iter().find(|said| said.method == entry.method.as_str() && said.path == entry.path)
}

struct Writer<'a> {
    gate: &'a Gate,
    schemas: Schemas,
    answers: Answers,
}

impl Writer<'_> {
    /// The operations of an entry: GET is HEAD too.
    fn operations(&mut self, mount: (&str, Version), entry: &Entry) -> Vec<(&'static str, Value)> {
        let Some(said) = said(entry) else { return Vec::new() };
        match entry.method {
            Method::GET => vec![
                ("get", self.operation(mount, entry, said, false)),
                ("head", self.operation(mount, entry, said, true)),
            ],
            Method::POST => vec![("post", self.operation(mount, entry, said, false))],
            Method::PATCH => vec![("patch", self.operation(mount, entry, said, false))],
            Method::DELETE => vec![("delete", self.operation(mount, entry, said, false))],
            _ => Vec::new(),
        }
    }

    fn operation(
        &mut self,
        (mount, version): (&str, Version),
        entry: &Entry,
        said: &Operation,
        is_head: bool,
    ) -> Value {
        let prefix = mount.trim_start_matches('/').replace("v1.0", "v1");
        let id = [prefix.as_str(), &said.id, if is_head { "head" } else { "" }];
        let id: Vec<_> = id.into_iter().filter(|part| !part.is_empty()).collect();
        let access = if self.gate.asks(entry.access) { entry.access } else { Access::Open };
        let asked = Asked { operation: said, access, version, is_tagged: entry.is_tagged, is_head };
        let mut operation = json!({
            "operationId": id.join("."),
            "tags": [tag(mount, said.group)],
            "summary": if is_head { format!("The headers of: {}", said.summary) } else { said.summary.clone() },
            "description": self.asks(entry.access),
            "parameters": parameters_of(entry),
            "responses": self.answers.of(&mut self.schemas, asked),
        });
        if access != Access::Open {
            operation["security"] = security(access);
        }
        if let Some(body) = said.body {
            operation["requestBody"] = bodies::request(&mut self.schemas, body, version);
        }
        if let Some(page) = &said.page {
            let view = if version == Version::Beta { "beta" } else { "1.0" };
            let url = format!("https://learn.microsoft.com/graph/api/{page}?view=graph-rest-{view}");
            operation["externalDocs"] = json!({"url": url, "description": "Microsoft Graph"});
        }
        operation
    }

    /// What a caller needs, in words.
    fn asks(&self, access: Access) -> String {
        match access.permissions() {
            _ if !self.gate.asks(access) => "Asks for no token.".to_owned(),
            [] => "Asks for a token, whatever it permits.".to_owned(),
            permissions => format!("Asks for a token with the permission `{}`.", permissions.join("` or `")),
        }
    }

    fn components(self) -> Value {
        let mut components = json!({
            "headers": answers::headers(),
            "parameters": parameters::all(),
            "responses": self.answers.0,
            "schemas": self.schemas.0,
        });
        if self.gate.asks(Access::Token) {
            let description = "A token of a trusted issuer; the permissions of an operation stand in `scp` or `roles`.";
            let bearer = json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description});
            components["securitySchemes"] = json!({ "bearer": bearer });
        } else if let Some(headers) = components["headers"].as_object_mut() {
            headers.retain(|name, _| !name.starts_with("WWW-Authenticate"));
        }
        components
    }
}

/// One of the permissions is enough.
fn security(access: Access) -> Value {
    match access.permissions() {
        [] => json!([{"bearer": []}]),
        permissions => permissions.iter().map(|permission| json!({"bearer": [permission]})).collect(),
    }
}

fn parameters_of(entry: &Entry) -> Value {
    let template = parameters::template(entry.path);
    let in_path = parameters::in_path(&template).map(str::to_owned);
    let options = entry.options.iter().map(|name| parameters::option_component(name));
    let conditions = entry.is_tagged.then_some(parameters::CONDITIONS).into_iter().flatten();
    let headers = parameters::HEADERS.into_iter().chain(conditions).map(str::to_owned);
    let all = in_path.chain(options).chain(headers);
    all.map(|name| json!({"$ref": format!("#/components/parameters/{name}")})).collect()
}
