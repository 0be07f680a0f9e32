//! Assembles the document.

use std::io::Write;

use actix_web::http::Method;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::{
    answers::{self, Answers, ResponseContext},
    assignments, bodies,
    components::Components,
    parameters,
    schemas::Schemas,
};
use crate::{
    auth::{Access, Authenticator},
    catalogue::version::{MOUNTS, Version, mounts},
    server::{
        docs::Extent,
        operation::Tag,
        routes::{GRAPH_ROUTES, Route, SERVICE_ROUTES},
    },
};

/// Writes the description of a service with this authentication. `beta` is the version of
/// `/beta`. The description of one version is for readers: it leaves out HEAD, the files of pages,
/// the exact schema of a configuration of any type, and patterns.
///
/// # Errors
/// Those of `output`.
pub fn write(
    authenticator: &Authenticator,
    beta: Version,
    extent: Extent,
    output: &mut dyn Write,
) -> serde_json::Result<()> {
    serde_json::to_writer(output, &OpenApi::of(authenticator, beta, extent)?.sorted())
}

/// The members have the usual order of OpenAPI. The operations are kept as text, which needs
/// less memory than their trees.
#[derive(Serialize)]
struct OpenApi {
    openapi: &'static str,
    info: Value,
    servers: Value,
    /// No token is required, unless an operation says otherwise.
    security: [(); 0],
    tags: Vec<Value>,
    paths: IndexMap<String, IndexMap<&'static str, Box<RawValue>>>,
    components: ComponentsOfDocument,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ComponentsOfDocument {
    headers: Value,
    parameters: Value,
    responses: Value,
    schemas: Components,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_schemes: Option<Value>,
}

const ABOUT: &str = "Device configurations and their assignments, in the Microsoft Graph dialect. \
All resources exist under `/v1.0` and `/beta`; a path without a version means `/v1.0`. \
The service answers 404 to an unknown path, and 405 with `Allow` to a method that the path does not support. \
An OData query option that an operation does not declare is refused. Any other undeclared query option is ignored. \
Every error has the same form of body. `Accept` may ask for `application/json` with `odata.metadata=minimal`, `full` or `none`.";

impl OpenApi {
    /// Sorts the members inside each part by their names, so that two releases are easy to
    /// compare.
    fn sorted(mut self) -> Self {
        let of_components =
            [&mut self.components.headers, &mut self.components.parameters, &mut self.components.responses];
        let all = self.tags.iter_mut().chain([&mut self.info, &mut self.servers]).chain(of_components);
        all.chain(&mut self.components.security_schemes).for_each(Value::sort_all_objects);
        self.components.schemas.sort();
        self
    }

    fn of(authenticator: &Authenticator, beta: Version, extent: Extent) -> serde_json::Result<Self> {
        let is_whole = matches!(extent, Extent::Whole);
        let schemas = Schemas::new(!is_whole, assignments::target, assignments::element);
        let mut writer = Writer { authenticator, schemas, answers: Answers::default(), has_head: is_whole };
        let mut paths: IndexMap<String, IndexMap<&'static str, Box<RawValue>>> = IndexMap::new();
        let of_mount = |mount: (&'static str, Version)| {
            GRAPH_ROUTES.iter().filter(move |route| route.is_on(mount.1)).map(move |route| (mount, route))
        };
        let is_described = |mount: &str| match extent {
            Extent::Whole => true,
            Extent::Version(version) => mount.strip_prefix('/') == Some(version.segment()),
        };
        let of_graph = mounts(beta).into_iter().filter(|(mount, _)| is_described(mount)).flat_map(of_mount);
        let is_file = |route: &Route| ["/docs/", "/console/"].iter().any(|folder| route.path.starts_with(folder));
        let of_service = SERVICE_ROUTES.iter().filter(|route| is_whole || !is_file(route));
        for (mount, route) in of_graph.chain(of_service.map(|route| (("", Version::V1), route))) {
            let path = format!("{}{}", mount.0, parameters::template(route.path));
            for (method, mut operation) in writer.operations(mount, route) {
                operation.sort_all_objects();
                paths.entry(path.clone()).or_default().insert(method, to_raw_value(&operation)?);
            }
        }
        let mut components = writer.components();
        if !is_whole {
            components.schemas.simplify();
        }
        Ok(Self {
            openapi: "3.1.1",
            info: json!({
                "title": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "summary": env!("CARGO_PKG_DESCRIPTION"),
                "description": ABOUT,
                "contact": {"name": "The operator of this service"},
                "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
            }),
            servers: json!([{"url": "/", "description": "The service that returned this document."}]),
            security: [],
            tags: tags(is_described),
            paths,
            components,
        })
    }
}

/// Returns the tags of the mounts that are described.
fn tags(is_described: impl Fn(&str) -> bool) -> Vec<Value> {
    let of = |mount: &str, tag: Tag| json!({"name": name_of(mount, tag), "description": tag.about().1});
    let mounts = MOUNTS.into_iter().filter(|(mount, _)| is_described(mount));
    let of_graph = mounts.flat_map(|(mount, _)| Tag::OF_GRAPH.map(|tag| of(mount, tag)));
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
    /// Whether HEAD is an operation beside GET.
    has_head: bool,
}

impl Writer<'_> {
    /// Returns the operations of a route. GET includes HEAD.
    fn operations(&mut self, mount: (&str, Version), route: &Route) -> Vec<(&'static str, Value)> {
        match route.method {
            Method::GET if self.has_head => {
                vec![("get", self.operation(mount, route, false)), ("head", self.operation(mount, route, true))]
            }
            Method::GET => vec![("get", self.operation(mount, route, false))],
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
            _ if !self.authenticator.requires_token(access) => "Requires no token.".to_owned(),
            [] => "Requires a valid token with any permissions.".to_owned(),
            permissions => format!("Requires a token with the permission `{}`.", permissions.join("` or `")),
        }
    }

    fn components(self) -> ComponentsOfDocument {
        let requires_token = self.authenticator.requires_token(Access::Token);
        let mut headers = answers::headers();
        if let (false, Some(headers)) = (requires_token, headers.as_object_mut()) {
            headers.retain(|name, _| !name.starts_with("WWW-Authenticate"));
        }
        let description = "A token of a trusted issuer. The token has its permissions in `scp` or `roles`.";
        let bearer = json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description});
        ComponentsOfDocument {
            headers,
            parameters: parameters::all(),
            responses: json!(self.answers.0),
            schemas: self.schemas.components,
            security_schemes: requires_token.then(|| json!({ "bearer": bearer })),
        }
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
