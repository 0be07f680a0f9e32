//! Answers: the headers that every answer has, the successes and the refusals. Each is a
//! component. HEAD has its own components, without a body.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    assignments as assignment_schemas,
    members::reference,
    schemas::{Schemas, Variant},
};
use crate::{
    auth::Access,
    catalogue::{Type, validation::TYPE, version::Version},
    error::Code,
    resources::{assignments::model as assignments, configurations::model as configurations},
    server::{operation::Answer, routes::Route},
};

/// The answers that operations refer to.
#[derive(Default)]
pub struct Answers(pub BTreeMap<String, Value>);

/// The facts of an operation that its answers depend on.
#[derive(Clone, Copy)]
pub struct ResponseContext<'a> {
    /// The route of the operation.
    pub route: &'a Route,
    /// The required access. `Open` when the operation needs no token.
    pub access: Access,
    /// The version of the API.
    pub version: Version,
    /// Whether the answer has no body.
    pub is_head: bool,
}

/// The headers of every answer.
const ALWAYS: [&str; 7] = [
    "request-id",
    "client-request-id",
    "OData-Version",
    "Cache-Control",
    "Content-Security-Policy",
    "Referrer-Policy",
    "X-Content-Type-Options",
];

/// Returns the components of all headers.
pub fn headers() -> Value {
    let header =
        |description: &str, schema: Value| json!({"description": description, "required": true, "schema": schema});
    let optional = |description: &str, schema: Value| json!({"description": description, "schema": schema});
    let url = || json!({"type": "string", "format": "uri"});
    json!({
        "request-id": header("The id of the request. The log line of the request has the same id.", json!({"type": "string", "format": "uuid"})),
        "client-request-id": header("The id that the client sent for the request, or else the request-id.", json!({"type": "string"})),
        "OData-Version": header("The OData version of the answer.", json!({"type": "string", "const": "4.0"})),
        "Cache-Control": header("Caches must not store the answer.", json!({"type": "string", "const": "no-store"})),
        "Content-Security-Policy": header("What a browser may load and execute from the answer.", json!({"type": "string"})),
        "Referrer-Policy": header("A browser sends no Referer header to the targets of links.", json!({"type": "string", "const": "no-referrer"})),
        "X-Content-Type-Options": header("A browser must not guess another media type.", json!({"type": "string", "const": "nosniff"})),
        "Strict-Transport-Security": optional("Sent only when the service itself serves HTTPS.", json!({"type": "string"})),
        "ETag": header("The current ETag of the resource, for If-Match.", json!({"type": "string", "pattern": "^W/\".+\"$"})),
        "ETag.optional": optional("The current ETag of the resource. Sent when the answer describes only this resource, and for a set of assignments only when the request has a condition.", json!({"type": "string", "pattern": "^W/\".+\"$"})),
        "Location": header("The URL of the new instance.", url()),
        "OData-EntityId": header("The URL of the new instance.", url()),
        "Preference-Applied": optional("The preference that the service applied.", json!({"type": "string"})),
        "WWW-Authenticate": header("The required kind of token, and what is wrong with the one that was sent (RFC 6750).", json!({"type": "string"})),
        "WWW-Authenticate.403": optional("The permissions. The token needs one of them (RFC 6750).", json!({"type": "string"})),
        "Retry-After": header("The number of seconds after which the client may send the same request again.", json!({"type": "string", "pattern": "^[0-9]+$"})),
    })
}

impl Answers {
    /// Returns the answers of an operation by status.
    pub fn of(&mut self, schemas: &mut Schemas, context: ResponseContext<'_>) -> Map<String, Value> {
        let mut all = Map::new();
        let unchanged = (
            "304",
            "unchanged".to_owned(),
            response("The client already has the current version.", &[ETAG], Value::Null, true),
        );
        let is_read = matches!(context.route.operation.answer, Answer::Collection(_) | Answer::Entity(_));
        let unchanged = Some(unchanged).filter(|_| context.route.has_etag && is_read);
        for (status, name, answer) in successes(schemas, context).into_iter().chain(unchanged) {
            all.insert(status.to_owned(), self.component(format!("{name}{}", suffix(context)), || answer));
        }
        for status in refusals(context) {
            let answer = || refusal(schemas, status, context.is_head);
            all.insert(status.to_string(), self.component(format!("error.{status}{}", suffix(context)), answer));
        }
        all
    }

    fn component(&mut self, name: String, make: impl FnOnce() -> Value) -> Value {
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.0.entry(name).or_insert_with(make);
        reference
    }
}

fn suffix(context: ResponseContext<'_>) -> &'static str {
    if context.is_head { ".head" } else { "" }
}

/// Returns the statuses of the refusals of an operation.
fn refusals(context: ResponseContext<'_>) -> Vec<u16> {
    let ResponseContext { route, access, .. } = context;
    let operation = &route.operation;
    let requires_token = access != Access::Open;
    // 421: any operation, while authorization is disabled.
    let mut all = vec![400, 406, 412, 421];
    if requires_token {
        all.extend([401, 403]);
    }
    if route.path.contains('{') {
        all.push(404);
    }
    if operation.body.is_some() {
        all.extend([408, 413, 415]);
    }
    if operation.conflicts {
        all.push(409);
    }
    if !operation.answer.is_static() {
        all.push(500);
    }
    // Without the keys of the issuers, no token can be validated.
    if requires_token || !operation.answer.is_static() {
        all.push(503);
    }
    all.sort_unstable();
    all
}

fn response(description: &str, own: &[(&str, &str)], content: Value, is_head: bool) -> Value {
    let always =
        ALWAYS.iter().map(|name| (*name, *name)).chain([("Strict-Transport-Security", "Strict-Transport-Security")]);
    let headers: Map<_, _> = always
        .chain(own.iter().copied())
        .map(|(name, component)| (name.to_owned(), json!({"$ref": format!("#/components/headers/{component}")})))
        .collect();
    let mut response = json!({"description": description, "headers": headers});
    if !is_head && !content.is_null() {
        response["content"] = content;
    }
    response
}

fn refusal(schemas: &mut Schemas, status: u16, is_head: bool) -> Value {
    let of_status = Code::ALL.into_iter().map(Code::wire).filter(|(of, _)| of.as_u16() == status);
    let (codes, name): (Vec<_>, _) = of_status.fold((Vec::new(), ""), |(mut codes, _), (of, code)| {
        codes.push(code);
        (codes, of.canonical_reason().unwrap_or_default())
    });
    let own: &[_] = match status {
        401 => &[("WWW-Authenticate", "WWW-Authenticate")],
        403 => &[("WWW-Authenticate", "WWW-Authenticate.403")],
        412 => &[ANY_ETAG],
        503 => &[("Retry-After", "Retry-After")],
        _ => &[],
    };
    let envelope = schemas.component("error".to_owned(), |_| envelope());
    let schema = json!({"allOf": [envelope, {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}]});
    response(&format!("{name}."), own, json!({"application/json": {"schema": schema}}), is_head)
}

/// Returns the schema of an error in Graph's form.
fn envelope() -> Value {
    let object = |properties: Value| {
        let required: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let inner = object(json!({
        "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$", "description": "The time of the answer, in UTC."},
        "request-id": {"type": "string", "format": "uuid"},
        "client-request-id": {"type": "string"},
    }));
    object(json!({"error": object(json!({
        "code": {"type": "string", "description": "The error code, for programs."},
        "message": {"type": "string", "description": "What is wrong and what to send instead, for people."},
        "innerError": inner,
    }))}))
}

/// The status, the name of the component and the answer.
type Success = (&'static str, String, Value);

/// Returns the successful answers.
fn successes(schemas: &mut Schemas, context: ResponseContext<'_>) -> Vec<Success> {
    let (variant, head) = (Variant::answer(context.version), context.is_head);
    let ok = |name: String, description: &str, own: &[_], content| {
        vec![("200", name, response(description, own, content, head))]
    };
    match context.route.operation.answer {
        Answer::Collection(of) => {
            let is_paged = of == configurations::TYPE || of == assignments::TYPE;
            let own: &[_] = match of {
                assignments::TYPE => &[APPLIED, ETAG],
                _ if is_paged => &[APPLIED],
                _ => &[],
            };
            let content = json(collection(schemas, of, variant, is_paged));
            ok(variant.name(&format!("{of}.collection")), "The collection, or a page of it.", own, content)
        }
        Answer::Entity(of) => {
            let own: &[_] = if context.route.has_etag { &[ANY_ETAG] } else { &[] };
            ok(variant.name(&format!("{of}.read")), "The instance.", own, json(alone(schemas, of, variant)))
        }
        Answer::Changed(of) => {
            let content = json(alone(schemas, of, variant));
            let own: &[_] = if context.route.has_etag { &[APPLIED, ETAG] } else { &[APPLIED] };
            let mut all = ok(variant.name(&format!("{of}.changed")), "The changed instance.", own, content);
            let name = if context.route.has_etag { "changed.tagged" } else { "changed" };
            all.push(match (of, context.version) {
                (configurations::TYPE, Version::Beta | Version::OpenBeta) => {
                    let description = "The instance was changed. Send `Prefer: return=representation` to get it.";
                    ("204", format!("{name}.beta"), response(description, own, Value::Null, head))
                }
                _ => unwanted(name, own, head),
            });
            all
        }
        Answer::Created(of) => {
            let created = created(schemas, of, variant, &[LOCATION, APPLIED, ANY_ETAG], head);
            let own = [APPLIED, LOCATION, ("OData-EntityId", "OData-EntityId"), ANY_ETAG];
            vec![created, unwanted("created", &own, head)]
        }
        Answer::CreatedAlways(of) => vec![created(schemas, of, variant, &[LOCATION], head)],
        Answer::Deleted => {
            vec![("204", "deleted".to_owned(), response("Deleted.", &[ANY_ETAG], Value::Null, head))]
        }
        Answer::Assigned => {
            let assignment = instance(schemas, assignments::TYPE, variant);
            let content = json(assignment_schemas::answer(schemas, variant, &assignment));
            ok(variant.name("assigned"), "The resulting set.", &[ETAG], content)
        }
        Answer::References { is_paged } => {
            let name = if is_paged { "references.page" } else { "references" };
            let own: &[_] = if is_paged { &[APPLIED, ETAG] } else { &[] };
            let content = json(references(is_paged));
            ok(name.to_owned(), "References to the instances, or to a page of them.", own, content)
        }
        Answer::Reference => {
            let url = || json!({"type": "string", "format": "uri"});
            let content = json(object(json!({"@odata.context": url(), "@odata.id": url()})));
            ok("reference".to_owned(), "A reference to the instance.", &[], content)
        }
        other => {
            let (name, description, content) = of_service(other);
            ok(name, description, &[], content)
        }
    }
}

/// Entity references.
fn references(is_paged: bool) -> Value {
    let url = || json!({"type": "string", "format": "uri"});
    let mut properties = json!({
        "@odata.context": url(),
        "value": {"type": "array", "items": object(json!({"@odata.id": url()}))},
    });
    let mut references = object(properties.clone());
    if is_paged {
        add_paging(&mut properties);
        references["properties"] = properties;
    }
    references
}

/// Adds the members of a page that describe the other pages.
fn add_paging(properties: &mut Value) {
    properties["@odata.count"] = json!({"type": "integer", "minimum": 0, "description": "The number of all elements. Sent only with `$count=true`."});
    properties["@odata.nextLink"] = json!({"type": "string", "format": "uri", "description": "The URL of the next page. Missing on the last page."});
}

const APPLIED: (&str, &str) = ("Preference-Applied", "Preference-Applied");
const LOCATION: (&str, &str) = ("Location", "Location");
const ETAG: (&str, &str) = ("ETag", "ETag");
const ANY_ETAG: (&str, &str) = ("ETag", "ETag.optional");

fn created(schemas: &mut Schemas, of: &str, variant: Variant, own: &[(&str, &str)], head: bool) -> Success {
    let schema = if of == assignments::TYPE { instance(schemas, of, variant) } else { alone(schemas, of, variant) };
    ("201", variant.name(&format!("{of}.created")), response("The new instance.", own, json(schema), head))
}

fn unwanted(name: &str, own: &[(&str, &str)], head: bool) -> Success {
    ("204", name.to_owned(), response("Done. Sent with `Prefer: return=minimal`.", own, Value::Null, head))
}

/// Returns the name, the description and the content of an answer that is not an instance.
fn of_service(answer: Answer) -> (String, &'static str, Value) {
    let text = || json!({"type": "string"});
    let (name, description, content) = match answer {
        Answer::Count => {
            let number = json!({"type": "string", "pattern": "^[0-9]+$"});
            ("count", "The number of elements.", json!({"text/plain": {"schema": number}}))
        }
        Answer::PlainText => {
            let members = json!({"@odata.context": {"type": "string", "format": "uri"}, "value": text()});
            ("plainText", "The value of the secret.", json(object(members)))
        }
        Answer::Csdl => {
            let json = json!({"schema": {"type": "object"}});
            ("model", "The model.", json!({"application/xml": {"schema": text()}, "application/json": json}))
        }
        Answer::Welcome => {
            let names = ["name", "version", "deviceConfigurations", "ready"].map(|name| (name.to_owned(), text()));
            let mut content = json(object(Map::from_iter(names).into()));
            content["text/html"] = json!({"schema": text()});
            ("welcome", "The main paths of the service. The console when `Accept` prefers HTML.", content)
        }
        Answer::Status(status) => {
            (status, "The check succeeded.", json(object(json!({"status": {"type": "string", "const": status}}))))
        }
        Answer::File(media_type) => {
            let of = if media_type == "application/json" { "object" } else { "string" };
            let name = format!("file.{}", media_type.replace(['/', '+'], "."));
            return (name, "The file.", json!({media_type: {"schema": {"type": of}}}));
        }
        _ => {
            let step = json!({
                "type": "object",
                "required": ["id", "status", "headers"],
                "properties": {
                    "id": text(),
                    "status": {"type": "integer", "minimum": 100, "maximum": 599},
                    "headers": {"type": "object", "additionalProperties": text()},
                    "body": {"description": "The body as JSON or text, or as base64url for other media types. Missing when the body is empty."},
                },
                "additionalProperties": false,
            });
            let all = object(json!({"responses": {"type": "array", "items": step}}));
            ("batch", "The answers, in the order of the requests.", json!({"application/json": {"schema": all}}))
        }
    };
    (name.to_owned(), description, content)
}

/// Returns JSON content with each level of control information.
fn json(schema: Value) -> Value {
    json!({
        "application/json": {"schema": schema},
        "application/json;odata.metadata=minimal": {"schema": schema},
        "application/json;odata.metadata=full": {"schema": {"type": "object", "description": "The same, with the id, the links and the operations of each entity, and with `…@odata.type` for each value whose type is not visible in JSON."}},
        "application/json;odata.metadata=none": {"schema": {"type": "object", "description": "The same, without members whose name begins with `@odata.`, except `@odata.nextLink`, `@odata.count` and the `@odata.id` of a reference."}},
    })
}

fn object(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).cloned().collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Returns the schema of an instance in an answer.
fn instance(schemas: &mut Schemas, of: &str, variant: Variant) -> Value {
    match Type::find(of) {
        Some(of) if of.name == configurations::TYPE => schemas.declared(of, variant),
        Some(of) => schemas.object(of, variant),
        None => json!(false),
    }
}

/// Returns the schema of an instance that is the whole answer.
fn alone(schemas: &mut Schemas, of: &str, variant: Variant) -> Value {
    let whole = schemas.component("alone".to_owned(), |_| {
        let properties = json!({"@odata.context": {"type": "string", "format": "uri"}, TYPE: {"type": "string"}});
        json!({"type": "object", "properties": properties, "required": ["@odata.context", TYPE]})
    });
    json!({"allOf": [instance(schemas, of, variant), whole]})
}

fn collection(schemas: &mut Schemas, of: &str, variant: Variant, is_paged: bool) -> Value {
    let mut properties = json!({
        "@odata.context": {"type": "string", "format": "uri"},
        "value": {"type": "array", "items": instance(schemas, of, variant)},
    });
    if is_paged {
        add_paging(&mut properties);
    }
    let name = if is_paged { "collection" } else { "set" };
    schemas.component(variant.name(&format!("{of}.{name}")), |_| {
        json!({"type": "object", "properties": properties, "required": ["@odata.context", "value"], "additionalProperties": false})
    });
    reference(&variant.name(&format!("{of}.{name}")))
}
