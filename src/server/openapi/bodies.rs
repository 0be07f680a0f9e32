//! Request bodies: instances of the catalogue's types, with the additional rules of the
//! resources.

use serde_json::{Value, json};

use super::{
    assignments::{self as assignment_schemas, assignment},
    members::GUID,
    schemas::{Schemas, Variant, concrete},
};
use crate::{
    catalogue::{Type, validation::TYPE, version::Version},
    resources::{assignments::model as assignments, configurations::model as configurations},
    server::{batch::steps::MAX_REQUESTS, operation::Body},
};

/// Returns the schema of the body of a request.
pub fn request(schemas: &mut Schemas, body: Body, version: Version) -> Value {
    let variant = Variant::request(version);
    let schema = match body {
        Body::New(configurations::TYPE) => new_configuration(schemas, variant),
        Body::Change(configurations::TYPE) => changed_configuration(schemas, variant),
        Body::New(assignments::TYPE) => {
            json!({"allOf": [assignment(schemas, variant), {"required": ["target"], "properties": {"id": new_id(), "target": true}}]})
        }
        Body::Change(assignments::TYPE) => assignment(schemas, variant),
        Body::New(name) | Body::Change(name) => match Type::find(name) {
            Some(of) => json!({"allOf": [schemas.object(of, variant), {"properties": {"id": new_id()}}]}),
            None => json!(false),
        },
        Body::Assign => assignment_schemas::parameters(schemas, variant),
        Body::Batch => schemas.component("batch.request".to_owned(), |_| batch()),
    };
    let mut content = json!({ "schema": schema });
    if let Some(example) = example(body) {
        content["example"] = example;
    }
    json!({
        "required": true,
        "description": "JSON in UTF-8 with at most `server.max_body_bytes` bytes. `Content-Encoding` may be gzip or deflate.",
        "content": {"application/json": content},
    })
}

/// Returns the schema of the id of a new row: a GUID, or an id in Graph's form, which the
/// service replaces. Null, an empty text and the zero GUID mean that there is no id.
fn new_id() -> Value {
    json!({"type": ["string", "null"], "pattern": format!("^(?:{GUID}(?:_{GUID})?)?$")})
}

fn new_configuration(schemas: &mut Schemas, variant: Variant) -> Value {
    let Some(base) = Type::find(configurations::TYPE) else { return json!(false) };
    let any = schemas.declared(base, variant);
    json!({"allOf": [any, {"required": [TYPE, "displayName"], "properties": {TYPE: true, "displayName": true, "id": new_id()}}]})
}

/// Returns the schema of a change. The type is optional, so it can be a change of any type.
fn changed_configuration(schemas: &mut Schemas, variant: Variant) -> Value {
    let Some(base) = Type::find(configurations::TYPE) else { return json!(false) };
    if schemas.is_short {
        return schemas.configuration_in_short(base, variant);
    }
    schemas.component(variant.name("deviceConfigurationChange"), |schemas| {
        let mut all = schemas.alternatives(concrete(base, variant.version), variant);
        all.extend((variant.version == Version::OpenBeta).then(|| schemas.undeclared(base, variant)));
        json!({"anyOf": all, "properties": {"assignments": false}})
    })
}

/// Returns the schema of a batch. Unknown members are allowed, because some clients send them.
fn batch() -> Value {
    const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
    let name = || json!({"type": ["string", "number"], "minLength": 1});
    let value = json!({"type": "string", "pattern": r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$"});
    let headers =
        json!({"type": ["object", "null"], "propertyNames": {"pattern": TOKEN}, "additionalProperties": value});
    let step = json!({
        "type": "object",
        "required": ["id", "method", "url"],
        "properties": {
            "id": name(),
            "method": {"type": "string", "pattern": TOKEN},
            "url": {"type": "string", "minLength": 1, "description": "An absolute URL, or a path with a version, or a path below the version of the batch. `$` and the id of an earlier request at the start mean the resource in the answer to that request."},
            "headers": headers,
            "body": {"description": "JSON, or a text when the headers name another media type."},
            "dependsOn": {"type": ["array", "null"], "items": name(), "description": "The ids of earlier requests, or the names of groups. If one of them fails, the service does not execute this request."},
            "depends_on": {"type": ["array", "null"], "items": name(), "description": "Works like `dependsOn`. Microsoft's Python SDK sends this name."},
            "atomicityGroup": {"description": "The name of a group. The requests of a group must follow one another. They are one transaction.", "type": ["string", "number", "null"], "minLength": 1},
        },
    });
    json!({"type": "object", "required": ["requests"], "properties": {"requests": {"type": "array", "maxItems": MAX_REQUESTS, "items": step}}})
}

fn example(body: Body) -> Option<Value> {
    let target = |id: &str| json!({"target": {TYPE: "#microsoft.graph.groupAssignmentTarget", "groupId": id}});
    let group = "7d1f2a34-5b6c-4d7e-8f90-1a2b3c4d5e6f";
    match body {
        Body::New(configurations::TYPE) => Some(
            json!({TYPE: "#microsoft.graph.iosUpdateConfiguration", "displayName": "iOS update window", "utcTimeOffsetInMinutes": 60}),
        ),
        Body::Change(configurations::TYPE) => Some(json!({"description": "Nights and weekends"})),
        Body::New(assignments::TYPE) | Body::Change(assignments::TYPE) => Some(target(group)),
        Body::Assign => Some(json!({"assignments": [target(group)]})),
        Body::Batch => Some(
            json!({"requests": [{"id": "1", "method": "GET", "url": "/deviceManagement/deviceConfigurations?$top=1"}]}),
        ),
        Body::New(_) | Body::Change(_) => None,
    }
}
