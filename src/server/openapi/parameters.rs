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
        "status": key("status", "The id of what is reported."),
        "secretReferenceValueId": {
            "name": "secretReferenceValueId", "in": "path", "required": true,
            "description": "What an OMA setting, read on `/beta`, calls its secret. A quote in it is written twice.",
            "schema": {"type": "string", "minLength": 1, "pattern": r"^(?:[^'\u0000/]|'')*$"},
        },
        "client-request-id": header("client-request-id", "An id of the client's for the request, echoed in the answer.", json!({"type": "string"})),
        "OData-Version": header("OData-Version", "The version of OData that the request is of.", json!({"type": "string", "enum": ["4.0", "4.01"]})),
        "OData-MaxVersion": header("OData-MaxVersion", "The latest version of OData that the client reads: 4.0 or later.", json!({"type": "string", "pattern": r"^(?:[4-9]|[1-9][0-9]{1,8})(?:\..*)?$"})),
        "Prefer": header("Prefer", "`handling=strict`: what would be ignored is refused. `return=minimal` or `return=representation`: what a change is answered with. `odata.maxpagesize`: rows of a page at most.", json!({"type": "string"})),
        "If-Match": header("If-Match", "`*`, or ETags with commas between: the request is only carried out while the resource has one of them.", etags()),
        "If-None-Match": header("If-None-Match", "`*`, or ETags with commas between: the request is only carried out while the resource has none of them; a read is answered 304 instead.", etags()),
        "query.filter": option("filter", "Which rows.", text("id ne null")),
        "query.orderby": option("orderby", "Their order.", text("id desc")),
        "query.select": option("select", "Which of their properties, with commas between.", text("id")),
        "query.expand": option("expand", "`assignments`, with options of their own in parentheses.", text("assignments")),
        "query.top": option("top", "Rows at most.", whole()),
        "query.skip": option("skip", "Rows to leave out first; not with `$skiptoken`.", whole()),
        "query.skiptoken": option("skiptoken", "Where a page begins, as `@odata.nextLink` has it.", json!({"type": "string", "minLength": 1, "pattern": TEXT})),
        "query.count": option("count", "Whether to say how many there are in all.", json!({"type": "boolean"})),
        "query.format": option("format", "The form of the model.", json!({"type": "string", "enum": ["xml", "json", "application/xml", "application/json"]})),
    })
}
