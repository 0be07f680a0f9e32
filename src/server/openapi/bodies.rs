//! Request bodies: instances of the catalogue's types, with the additional rules of the
//! resources.

use serde_json::{Map, Value, json};

use super::{
    members::{TEXT, closed, text},
    schemas::{Schemas, Variant, concrete, discriminator, or_null},
};
use crate::{
    catalogue::{Type, validation::TYPE, version::Version},
    resources::{
        assignments::{
            model::{self as assignments, GROUP_ASSIGNMENT_TYPE},
            target,
        },
        configurations::model as configurations,
    },
    server::{batch::steps::MAX_REQUESTS, operation::Body},
};

const GUID: &str = "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}";

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
        Body::Assign => assign(schemas, variant),
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

/// Returns the schema of the id of an object that this service does not store.
fn identifier() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": TEXT})
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

/// Returns the schema of an assignment in which every member is optional.
fn assignment(schemas: &mut Schemas, variant: Variant) -> Value {
    let Some(of) = Type::find(assignments::TYPE) else { return json!(false) };
    let component = schemas.object(of, variant);
    if variant.version.is_beta()
        && let Some(object) = schemas.components.tree(&variant.name(&of.name))
    {
        object["properties"]["sourceId"] = or_null(identifier());
    }
    component
}

/// Returns the schema of a target. It includes the base type, which Graph declares abstract.
pub fn target(schemas: &mut Schemas, variant: Variant) -> Value {
    let Some(base) = Type::find(target::TYPE) else { return json!(false) };
    target_of(schemas, variant, "target", || [base].into_iter().chain(concrete(base, variant.version)))
}

/// Returns the schema of a target that is not the base type.
fn naming_target(schemas: &mut Schemas, variant: Variant) -> Value {
    let Some(base) = Type::find(target::TYPE) else { return json!(false) };
    target_of(schemas, variant, "namingTarget", || concrete(base, variant.version))
}

fn target_of<I: Iterator<Item = &'static Type>>(
    schemas: &mut Schemas,
    variant: Variant,
    name: &str,
    types: impl Fn() -> I,
) -> Value {
    schemas.component(variant.name(name), |schemas| {
        let all = schemas.alternatives(types(), variant);
        for of in types() {
            schemas.components.tree(&variant.name(&of.name)).into_iter().for_each(named);
        }
        let discriminator = discriminator(types(), variant);
        let mut target = json!({"type": "object", "required": [TYPE], "oneOf": all, "discriminator": discriminator});
        if variant.version.is_beta() {
            target["allOf"] = json!([{ "anyOf": filters() }]);
        }
        target
    })
}

/// Makes the members that name a target required ids.
fn named(target: &mut Value) {
    let named: Vec<_> =
        ["groupId", "collectionId"].into_iter().filter(|name| target["properties"].get(name).is_some()).collect();
    for name in named {
        target["properties"][name] = identifier();
        match &mut target["required"] {
            Value::Array(required) if !required.contains(&name.into()) => required.push(name.into()),
            Value::Array(_) => {}
            none => *none = json!([name]),
        }
    }
}

/// Returns the schemas of a filter: an id with a type, or neither. No filter has null, an empty
/// text or the zero GUID as its id.
fn filters() -> Value {
    const ID: &str = "deviceAndAppManagementAssignmentFilterId";
    const KIND: &str = "deviceAndAppManagementAssignmentFilterType";
    const NO_ID: &str = "00000000-0000-0000-0000-000000000000";
    let mut id = identifier();
    id["not"] = json!({"const": NO_ID});
    json!([
        {"properties": {ID: {"enum": [null, "", NO_ID]}, KIND: {"const": "none"}}},
        {"properties": {ID: id, KIND: {"enum": ["include", "exclude"]}}, "required": [ID, KIND]},
    ])
}

/// Returns the schema of an element of the assignments in `assign` and in a create of a configuration.
pub fn element(schemas: &mut Schemas, variant: Variant) -> Value {
    schemas.component(variant.name("assignmentElement"), |schemas| {
        let assignment = assignment(schemas, variant);
        let naming = json!({"required": ["target"], "properties": {"target": naming_target(schemas, variant)}});
        json!({"allOf": [assignment, naming]})
    })
}

fn assign(schemas: &mut Schemas, variant: Variant) -> Value {
    let name = "assign";
    schemas.component(variant.name(name), |schemas| {
        let mut properties = Map::new();
        properties.insert("assignments".to_owned(), json!({"type": "array", "items": element(schemas, variant)}));
        if variant.version == Version::V1 {
            return closed(properties, vec!["assignments".to_owned()], false, variant.side);
        }
        let members = Map::from_iter([
            (TYPE.to_owned(), json!({"enum": [format!("#microsoft.graph.{GROUP_ASSIGNMENT_TYPE}"), format!("microsoft.graph.{GROUP_ASSIGNMENT_TYPE}")]})),
            ("id".to_owned(), or_null(text())),
            ("targetGroupId".to_owned(), identifier()),
            ("excludeGroup".to_owned(), json!({"type": "boolean"})),
        ]);
        let of_group = closed(members, vec!["targetGroupId".to_owned()], false, variant.side);
        let all = ["assignments", "deviceConfigurationGroupAssignments"];
        properties.insert(all[1].to_owned(), json!({"type": "array", "items": of_group}));
        let there = all.map(|name| json!({"required": [name], "properties": {name: {"type": "array", "items": {}}}}));
        for name in all {
            properties[name] = or_null(properties[name].clone());
        }
        let mut set = closed(properties, Vec::new(), false, variant.side);
        set["anyOf"] = there.into_iter().collect();
        set
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
