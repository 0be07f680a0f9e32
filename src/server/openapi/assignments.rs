//! Assignments and targets in bodies, the parameters of `assign`, and the changes in its answer.

use serde_json::{Map, Value, json};

use super::{
    members::{GUID, TEXT, closed, reference, text},
    schemas::{Schemas, Variant, concrete, discriminator, or_null},
};
use crate::{
    catalogue::{Type, validation::TYPE, version::Version},
    resources::assignments::{
        model::{self as assignments, GROUP_ASSIGNMENT_TYPE},
        target,
    },
};

/// The parameters that name targets. `/v1.0` has only the first.
const SETS: [&str; 2] = ["assignments", "deviceConfigurationGroupAssignments"];

/// Returns the schema of the id of an object that this service does not store.
fn identifier() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": TEXT})
}

/// Returns the schema of an assignment in which every member is optional.
pub fn assignment(schemas: &mut Schemas, variant: Variant) -> Value {
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

/// Returns the schema of the parameters: of a request that assigns targets, or of one that removes
/// them.
pub fn parameters(schemas: &mut Schemas, variant: Variant) -> Value {
    schemas.component(variant.name("assign"), |schemas| {
        let set = element(schemas, variant);
        let removed = json!({"anyOf": [set, removed_by_id(schemas, variant)]});
        let on_conflict = json!({"enum": ["refuse", "change"], "description": "With `change`, a group that is stored with the opposite inclusion is changed, and keeps its id. Otherwise the mode `add` is 409."});
        let modes = json!({"enum": ["replace", "add"], "description": "`replace`, the default: the targets are the whole set. `add`: they are added, and the rest stays."});
        let mut assigning = named_sets(variant, &set);
        assigning.insert("mode".to_owned(), modes);
        assigning.insert("onConflict".to_owned(), on_conflict);
        let mut removing = named_sets(variant, &removed);
        let mode = json!({"const": "remove", "description": "Removes the targets, or the assignments with these ids. The rest stays."});
        removing.insert("mode".to_owned(), mode);
        json!({"anyOf": [
            with_sets(assigning, Vec::new(), variant),
            with_sets(removing, vec!["mode".to_owned()], variant),
        ]})
    })
}

/// Returns the schema of an element of the assignments in `assign` and in a create of a
/// configuration.
pub fn element(schemas: &mut Schemas, variant: Variant) -> Value {
    schemas.component(variant.name("assignmentElement"), |schemas| {
        let assignment = assignment(schemas, variant);
        let naming = json!({"required": ["target"], "properties": {"target": naming_target(schemas, variant)}});
        json!({"allOf": [assignment, naming]})
    })
}

/// Returns the schema of an element that names an assignment by its id.
fn removed_by_id(schemas: &mut Schemas, variant: Variant) -> Value {
    let id = json!({"type": "string", "pattern": format!("^{GUID}$"), "not": {"const": uuid::Uuid::nil()}});
    json!({"allOf": [assignment(schemas, variant), {"required": ["id"], "properties": {"id": id}}]})
}

/// Returns the parameters with these elements.
fn named_sets(variant: Variant, element: &Value) -> Map<String, Value> {
    let mut properties = Map::new();
    let validate_only =
        json!({"type": "boolean", "description": "The answer shows what the call would do. Nothing is written."});
    properties.insert("validateOnly".to_owned(), validate_only);
    properties.insert(SETS[0].to_owned(), json!({"type": "array", "items": element}));
    if variant.version != Version::V1 {
        let types =
            [format!("#microsoft.graph.{GROUP_ASSIGNMENT_TYPE}"), format!("microsoft.graph.{GROUP_ASSIGNMENT_TYPE}")];
        let members = Map::from_iter([
            (TYPE.to_owned(), json!({ "enum": types })),
            ("id".to_owned(), or_null(text())),
            ("targetGroupId".to_owned(), identifier()),
            ("excludeGroup".to_owned(), json!({"type": "boolean"})),
        ]);
        let of_group = closed(members, vec!["targetGroupId".to_owned()], false, variant.side);
        properties.insert(SETS[1].to_owned(), json!({"type": "array", "items": of_group}));
    }
    properties
}

/// Closes the parameters. One of the sets is required, and on `/beta` the other may be null.
fn with_sets(mut properties: Map<String, Value>, mut required: Vec<String>, variant: Variant) -> Value {
    if variant.version == Version::V1 {
        required.push(SETS[0].to_owned());
        return closed(properties, required, false, variant.side);
    }
    let present = SETS.map(|name| json!({"required": [name], "properties": {name: {"type": "array", "items": {}}}}));
    for name in SETS {
        properties[name] = or_null(properties[name].clone());
    }
    let mut set = closed(properties, required, false, variant.side);
    set["anyOf"] = present.into_iter().collect();
    set
}

/// Returns the schema of the answer: the resulting set and, where the request has `mode`,
/// `onConflict` or `validateOnly`, the changes.
pub fn answer(schemas: &mut Schemas, variant: Variant, assignment: &Value) -> Value {
    let target = target(schemas, variant);
    let name = variant.name("assigned.result");
    schemas.component(name.clone(), |_| {
        let row = || json!({"anyOf": [assignment, {"type": "null"}]});
        let change = json!({
            "type": "object",
            "properties": {
                "action": {"enum": ["create", "update", "delete", "no-op"]},
                "before": row(),
                "after": row(),
                "target": target,
                "id": {"type": "string", "format": "uuid"},
            },
            "required": ["action", "before", "after"],
            "additionalProperties": false,
        });
        json!({
            "type": "object",
            "properties": {
                "@odata.context": {"type": "string", "format": "uri"},
                "value": {"type": "array", "items": assignment},
                "changes": {"type": "array", "items": change},
            },
            "required": ["@odata.context", "value"],
            "additionalProperties": false,
        })
    });
    reference(&name)
}
