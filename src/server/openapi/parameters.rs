//! Parameters of requests: path segments, query options and headers.

use serde_json::{Value, json};

use super::members::TEXT;

/// Returns a path of the route table as a path template of OpenAPI.
pub fn template(path: &str) -> String {
    path.replace("({arguments})", "(secretReferenceValueId='{secretReferenceValueId}')")
}

/// Returns the names of the parameters in a template.
pub fn in_path(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// The request headers of every resource.
pub const HEADERS: [&str; 4] = ["client-request-id", "OData-Version", "OData-MaxVersion", "Prefer"];

/// The request headers of a resource with an ETag.
pub const CONDITIONS: [&str; 2] = ["If-Match", "If-None-Match"];

/// Returns the name of the component of a query option. The name of a component cannot contain
/// `$`.
pub fn option_component(name: &str) -> String {
    format!("query.{name}")
}

/// Returns the components of all parameters.
pub fn all() -> Value {
    let key = |name: &str, of: &str| json!({"name": name, "in": "path", "required": true, "description": of, "schema": {"type": "string", "format": "uuid"}});
    let header = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "header", "description": description, "schema": schema});
    let option = |name: &str, description: &str, schema: Value| json!({"name": format!("${name}"), "in": "query", "description": description, "schema": schema});
    let etags = || json!({"type": "string", "pattern": r#"^(?:\*|(?:W/)?"[A-Za-z0-9._-]*"(?:, *(?:W/)?"[A-Za-z0-9._-]*")*)$"#, "examples": ["W/\"1\""]});
    let whole = || json!({"type": "integer", "minimum": 0});
    let text = |example: &str| json!({"type": "string", "minLength": 1, "pattern": TEXT, "examples": [example]});
    json!({
        "configuration": key("configuration", "The id of a configuration."),
        "assignment": key("assignment", "The id of an assignment."),
        "status": key("status", "The id of a status or summary."),
        "secretReferenceValueId": {
            "name": "secretReferenceValueId", "in": "path", "required": true,
            "description": "The `secretReferenceValueId` of an OMA setting, which `/beta` shows. Write a quote in it twice.",
            "schema": {"type": "string", "minLength": 1, "pattern": r"^(?:[^'\u0000/]|'')*$"},
        },
        "client-request-id": header("client-request-id", "An id that the client chooses for the request. The answer repeats it.", json!({"type": "string"})),
        "OData-Version": header("OData-Version", "The OData version of the request.", json!({"type": "string", "enum": ["4.0", "4.01"]})),
        "OData-MaxVersion": header("OData-MaxVersion", "The latest OData version that the client supports: 4.0 or later.", json!({"type": "string", "pattern": r"^(?:[4-9]|[1-9][0-9]{1,8})(?:\..*)?$"})),
        "Prefer": header("Prefer", "`handling=strict`: refuse unknown query options instead of ignoring them. `return=minimal` or `return=representation`: answer a change without or with the instance. `odata.maxpagesize`: the maximum number of rows of a page.", json!({"type": "string"})),
        "If-Match": header("If-Match", "`*`, or ETags separated by commas. The service executes the request only if one of them is the current ETag of the resource.", etags()),
        "If-None-Match": header("If-None-Match", "`*`, or ETags separated by commas. The service executes the request only if none of them is the current ETag of the resource. Otherwise a read is answered with 304.", etags()),
        "query.filter": option("filter", "The condition that the rows must meet.", text("id ne null")),
        "query.orderby": option("orderby", "The properties to sort by, separated by commas, each with `asc` or `desc`.", text("id desc")),
        "query.select": option("select", "The properties to return, separated by commas.", text("id")),
        "query.expand": option("expand", "`assignments`, optionally with query options in parentheses.", text("assignments")),
        "query.top": option("top", "The maximum number of rows.", whole()),
        "query.skip": option("skip", "The number of rows to skip. Cannot be combined with `$skiptoken`.", whole()),
        "query.skiptoken": option("skiptoken", "The start of a page. Follow `@odata.nextLink` instead of setting it.", json!({"type": "string", "minLength": 1, "pattern": TEXT})),
        "query.count": option("count", "Whether the answer contains the number of all rows.", json!({"type": "boolean"})),
        "query.format": option("format", "The format of the model.", json!({"type": "string", "enum": ["xml", "json", "application/xml", "application/json"]})),
    })
}
