//! The members of objects in JSON Schema: the patterns of their names, and the schema of any value.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::catalogue::{self, NAMESPACE, version::Version};

/// The direction of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In a request.
    Request,
    /// In an answer.
    Answer,
}

/// Control information and annotations. The service refuses some of them in a request. The exact
/// pattern of the accepted names is left out, because test generators cannot use it.
const ANNOTATION: &str = r"^[^@\u0000]*@(?:odata|microsoft\.graph)\.[^\u0000]*$";
/// The names of properties on `/beta`. SQL can store any name. In a request, the service also
/// refuses names that are no identifiers, and near misses of known names.
const NAME: &str = r"^[^@#.\u0000]+$";
/// The operations that an answer with `odata.metadata=full` lists. A client may send them back.
const OPERATION: &str = r"^#microsoft\.graph\.[^\u0000]+$";
/// A text that can be stored.
pub const TEXT: &str = r"^[^\u0000]*$";

/// Returns the schemas of any value and of any object.
pub fn undeclared_values() -> BTreeMap<String, Value> {
    let any = reference("any");
    let object = json!({"type": "object", "propertyNames": {"pattern": TEXT}, "additionalProperties": any});
    let value = json!({
        "description": "Any value that the service can store unchanged.",
        "anyOf": [
            {"type": ["boolean", "null"]},
            {"type": "string", "pattern": TEXT},
            {"type": "integer", "minimum": i64::MIN, "maximum": u64::MAX},
            {"type": "number", "not": {"type": "integer"}},
            {"type": "array", "items": any},
            reference(ANY_OBJECT),
        ],
    });
    BTreeMap::from([("any".to_owned(), value), (ANY_OBJECT.to_owned(), object)])
}

/// The name of the schema of any object.
pub const ANY_OBJECT: &str = "anyObject";

/// Returns the schema of an object with these properties. Other properties are allowed if it
/// `is_open`.
pub fn closed(properties: Map<String, Value>, required: Vec<String>, is_open: bool, side: Side) -> Value {
    let mut others = Map::from_iter([(ANNOTATION.to_owned(), reference("any"))]);
    if side == Side::Request {
        others.insert(OPERATION.to_owned(), true.into());
    }
    if is_open {
        others.insert(NAME.to_owned(), reference("any"));
    }
    let mut object =
        json!({"type": "object", "properties": properties, "patternProperties": others, "additionalProperties": false});
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

/// Returns the schema of the name of a type that this version does not have. An answer of `/v1.0`
/// can have a type that only `/beta` has.
pub fn undeclared_type(version: Version) -> Value {
    let names = catalogue::names(version).collect::<Vec<_>>().join("|");
    json!({
        "type": "string",
        "description": "A type that this version does not have.",
        "pattern": format!(r"^#?{}\.(?!(?:{names})$)[A-Za-z][A-Za-z0-9_]{{0,127}}$", NAMESPACE.replace('.', r"\.")),
    })
}

/// Returns the schema of text that can be stored.
pub fn text() -> Value {
    json!({"type": "string", "pattern": TEXT})
}

/// The pattern of a GUID.
pub const GUID: &str = "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}";

/// Returns the address of a component in the document.
pub fn path(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// Returns a reference to a component.
pub fn reference(name: &str) -> Value {
    json!({"$ref": path(name)})
}
