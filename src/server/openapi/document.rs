//! Assembles the document.

use actix_web::http::Method;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    answers::{self, Answers, ResponseContext},
    bodies, parameters,
    schemas::Schemas,
};
use crate::{
    auth::{Access, Authenticator},
    catalogue::version::{MOUNTS, Version, mounts},
    server::{
        operation::Tag,
        routes::{GRAPH_ROUTES, Route, SERVICE_ROUTES},
    },
};

/// Returns `/openapi.json` of a service with this authentication. `beta` is the version of
/// `/beta`.
pub fn generate(authenticator: &Authenticator, beta: Version) -> String {
    serde_json::to_string(&OpenApi::of(authenticator, beta).sorted()).unwrap_or_default()
}

/// The members have the usual order of OpenAPI.
#[derive(Serialize)]
struct OpenApi {
    openapi: &'static str,
    info: Value,
    servers: Value,
    /// No token is required, unless an operation says otherwise.
    security: [(); 0],
    tags: Vec<Value>,
    paths: IndexMap<String, IndexMap<&'static str, Value>>,
    components: Value,
}

const ABOUT: &str = "Device configurations and their assignments, in the Microsoft Graph dialect. \
What `/beta` adds is below `/beta`; a path without a version means `/v1.0`. \
A method that a path does not have is answered 405 with `Allow`, and a path that is not here 404, both with the body of every error. \
A query option that is not declared is refused where it is one of OData's and ignored otherwise. \
`Accept` may ask for `application/json` with `odata.metadata=minimal`, `full` or `none`.";

impl OpenApi {
    /// Sorts the members inside each part by their names, so that two releases are easy to
    /// compare.
    fn sorted(mut self) -> Self {
        let inner = self.paths.values_mut().flat_map(IndexMap::values_mut).chain(&mut self.tags);
        inner.chain([&mut self.info, &mut self.servers, &mut self.components]).for_each(Value::sort_all_objects);
        self
    }

    fn of(authenticator: &Authenticator, beta: Version) -> Self {
        let schemas = Schemas::new(bodies::target, bodies::element);
        let mut writer = Writer { authenticator, schemas, answers: Answers::default() };
        let mut paths: IndexMap<String, IndexMap<&'static str, Value>> = IndexMap::new();
        let of_mount = |mount: (&'static str, Version)| {
            GRAPH_ROUTES.iter().filter(move |route| route.is_on(mount.1)).map(move |route| (mount, route))
        };
        let of_graph = mounts(beta).into_iter().flat_map(of_mount);
        for (mount, route) in of_graph.chain(SERVICE_ROUTES.iter().map(|route| (("", Version::V1), route))) {
            let path = format!("{}{}", mount.0, parameters::template(route.path));
            for (method, operation) in writer.operations(mount, route) {
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

/// Returns the tags of all mounts.
fn tags() -> Vec<Value> {
    let of = |mount: &str, tag: Tag| json!({"name": name_of(mount, tag), "description": tag.about().1});
    let of_graph = MOUNTS.into_iter().flat_map(|(mount, _)| Tag::OF_GRAPH.map(|tag| of(mount, tag)));
    of_graph.chain([of("", Tag::Service)]).collect()
}

fn name_of(mount: &str, tag: Tag) -> String {
    let (name, _) = tag.about();
    match mount.trim_start_matches('/') {
        "" => name.to_owned(),
        version => format!("{version} {name}"),
    }
}

struct Writer<'a> {
    authenticator: &'a Authenticator,
    schemas: Schemas,
    answers: Answers,
}

impl Writer<'_> {
    /// Returns the operations of a route. GET includes HEAD.
    fn operations(&mut self, mount: (&str, Version), route: &Route) -> Vec<(&'static str, Value)> {
        match route.method {
            Method::GET => {
                vec![("get", self.operation(mount, route, false)), ("head", self.operation(mount, route, true))]
            }
            Method::POST => vec![("post", self.operation(mount, route, false))],
            Method::PATCH => vec![("patch", self.operation(mount, route, false))],
            Method::DELETE => vec![("delete", self.operation(mount, route, false))],
            _ => Vec::new(),
        }
    }

    fn operation(&mut self, (mount, version): (&str, Version), route: &Route, is_head: bool) -> Value {
        let prefix = mount.trim_start_matches('/').replace("v1.0", "v1");
        let documentation = &route.operation;
        let id = [prefix.as_str(), documentation.id, if is_head { "head" } else { "" }];
        let id: Vec<_> = id.into_iter().filter(|part| !part.is_empty()).collect();
        let access = if self.authenticator.requires_token(route.access) { route.access } else { Access::Open };
        let context = ResponseContext { route, access, version, is_head };
        let mut operation = json!({
            "operationId": id.join("."),
            "tags": [name_of(mount, documentation.tag)],
            "summary": if is_head { format!("The headers of: {}", documentation.summary) } else { documentation.summary.to_owned() },
            "description": self.describe_access(route.access),
            "parameters": parameters_of(route),
            "responses": self.answers.of(&mut self.schemas, context),
        });
        if access != Access::Open {
            operation["security"] = security(access);
        }
        if let Some(body) = documentation.body {
            operation["requestBody"] = bodies::request(&mut self.schemas, body, version);
        }
        if let Some(page) = documentation.page {
            let view = if version.is_beta() { "beta" } else { "1.0" };
            let url = format!("https://learn.microsoft.com/graph/api/{page}?view=graph-rest-{view}");
            operation["externalDocs"] = json!({"url": url, "description": "Microsoft Graph"});
        }
        operation
    }

    /// Describes the required token.
    fn describe_access(&self, access: Access) -> String {
        match access.permissions() {
            _ if !self.authenticator.requires_token(access) => "Asks for no token.".to_owned(),
            [] => "Asks for a token, whatever it permits.".to_owned(),
            permissions => format!("Asks for a token with the permission `{}`.", permissions.join("` or `")),
        }
    }

    fn components(self) -> Value {
        let mut components = json!({
            "headers": answers::headers(),
            "parameters": parameters::all(),
            "responses": self.answers.0,
            "schemas": self.schemas.components,
        });
        if self.authenticator.requires_token(Access::Token) {
            let description = "A token of a trusted issuer; the permissions of an operation stand in `scp` or `roles`.";
            let bearer = json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description});
            components["securitySchemes"] = json!({ "bearer": bearer });
        } else if let Some(headers) = components["headers"].as_object_mut() {
            headers.retain(|name, _| !name.starts_with("WWW-Authenticate"));
        }
        components
    }
}

/// Returns the security requirement: one of the permissions is enough.
fn security(access: Access) -> Value {
    match access.permissions() {
        [] => json!([{"bearer": []}]),
        permissions => permissions.iter().map(|permission| json!({"bearer": [permission]})).collect(),
    }
}

fn parameters_of(route: &Route) -> Value {
    let template = parameters::template(route.path);
    let in_path = parameters::in_path(&template).map(str::to_owned);
    let options = route.options.iter().map(|name| parameters::option_component(name));
    let conditions = route.has_etag.then_some(parameters::CONDITIONS).into_iter().flatten();
    let headers = parameters::HEADERS.into_iter().chain(conditions).map(str::to_owned);
    let all = in_path.chain(options).chain(headers);
    all.map(|name| json!({"$ref": format!("#/components/parameters/{name}")})).collect()
}
