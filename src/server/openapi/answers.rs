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
        "request-id": header("The id of the request, under which the log has it.", json!({"type": "string", "format": "uuid"})),
        "client-request-id": header("The client's own id of the request, or the service's.", json!({"type": "string"})),
        "OData-Version": header("The version of OData that the answer is of.", json!({"type": "string", "const": "4.0"})),
        "Cache-Control": header("Nothing is to be kept.", json!({"type": "string", "const": "no-store"})),
        "Content-Security-Policy": header("What a browser may make of the answer.", json!({"type": "string"})),
        "Referrer-Policy": header("A browser tells nobody where it was.", json!({"type": "string", "const": "no-referrer"})),
        "X-Content-Type-Options": header("The media type is what it says.", json!({"type": "string", "const": "nosniff"})),
        "Strict-Transport-Security": optional("There where the service speaks HTTPS itself.", json!({"type": "string"})),
        "ETag": header("What the resource is now, for If-Match.", json!({"type": "string", "pattern": "^W/\".+\"$"})),
        "ETag.optional": optional("What the resource is now, where the answer speaks of it alone and the ETag of a set was asked for.", json!({"type": "string", "pattern": "^W/\".+\"$"})),
        "Location": header("Where the new instance is.", url()),
        "OData-EntityId": header("Where the new instance is.", url()),
        "Preference-Applied": optional("The preference that was met.", json!({"type": "string"})),
        "WWW-Authenticate": header("What a token must be (RFC 6750).", json!({"type": "string"})),
        "WWW-Authenticate.403": optional("The permissions of which the token needs one (RFC 6750).", json!({"type": "string"})),
        "Retry-After": header("Seconds after which the same may be sent again.", json!({"type": "string", "pattern": "^[0-9]+$"})),
    })
}

impl Answers {
    /// Returns the answers of an operation by status.
    pub fn of(&mut self, schemas: &mut Schemas, context: ResponseContext<'_>) -> Map<String, Value> {
        let mut all = Map::new();
        let unchanged =
            ("304", "unchanged".to_owned(), response("The client has it as it is.", &[ETAG], Value::Null, true));
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
        "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$", "description": "In UTC."},
        "request-id": {"type": "string", "format": "uuid"},
        "client-request-id": {"type": "string"},
    }));
    object(json!({"error": object(json!({
        "code": {"type": "string", "description": "What a program is to look at."},
        "message": {"type": "string", "description": "What went wrong, and the remedy; for people."},
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
            let mut all = ok(variant.name(&format!("{of}.changed")), "The instance as it is now.", own, content);
            let name = if context.route.has_etag { "changed.tagged" } else { "changed" };
            all.push(match (of, context.version) {
                (configurations::TYPE, Version::Beta | Version::OpenBeta) => {
                    let description = "Done. `Prefer: return=representation` asks for the instance.";
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
        Answer::Deleted => vec![("204", "deleted".to_owned(), response("It is gone.", &[ANY_ETAG], Value::Null, head))],
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

/// Adds what a page says of the other pages.
fn add_paging(properties: &mut Value) {
    properties["@odata.count"] =
        json!({"type": "integer", "minimum": 0, "description": "How many there are in all, where `$count` asks."});
    properties["@odata.nextLink"] =
        json!({"type": "string", "format": "uri", "description": "Where the next page is, if there is one."});
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
    ("204", name.to_owned(), response("Done, as `Prefer: return=minimal` asks.", own, Value::Null, head))
}

/// Returns the name, the description and the content of an answer that is not an instance.
fn of_service(answer: Answer) -> (String, &'static str, Value) {
    let text = || json!({"type": "string"});
    let (name, description, content) = match answer {
        Answer::Count => {
            let number = json!({"type": "string", "pattern": "^[0-9]+$"});
            ("count", "How many there are.", json!({"text/plain": {"schema": number}}))
        }
        Answer::PlainText => {
            let members = json!({"@odata.context": {"type": "string", "format": "uri"}, "value": text()});
            ("plainText", "The secret.", json(object(members)))
        }
        Answer::Csdl => {
            let json = json!({"schema": {"type": "object"}});
            ("model", "The model.", json!({"application/xml": {"schema": text()}, "application/json": json}))
        }
        Answer::Welcome => {
            let names = ["name", "version", "deviceConfigurations", "ready"].map(|name| (name.to_owned(), text()));
            let mut content = json(object(Map::from_iter(names).into()));
            content["text/html"] = json!({"schema": text()});
            ("welcome", "What this is; where `Accept` prefers HTML, the console.", content)
        }
        Answer::Status(status) => {
            (status, "It is.", json(object(json!({"status": {"type": "string", "const": status}}))))
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
                    "body": {"description": "JSON, a text, or anything else in base64url; none where it is empty."},
                },
                "additionalProperties": false,
            });
            let all = object(json!({"responses": {"type": "array", "items": step}}));
            ("batch", "An answer to each request, in their order.", json!({"application/json": {"schema": all}}))
        }
    };
    (name.to_owned(), description, content)
}

/// Returns JSON content with each level of control information.
fn json(schema: Value) -> Value {
    json!({
        "application/json": {"schema": schema},
        "application/json;odata.metadata=minimal": {"schema": schema},
        "application/json;odata.metadata=full": {"schema": {"type": "object", "description": "The same with the id, the links and the operations of each entity, and with `…@odata.type` beside each value whose type JSON does not show."}},
        "application/json;odata.metadata=none": {"schema": {"type": "object", "description": "The same without members whose name begins with `@odata.`, but for `@odata.nextLink`, `@odata.count` and the `@odata.id` of a reference."}},
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
