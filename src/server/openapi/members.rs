//! The members of objects in JSON Schema: what they can be called, and those of which nothing
//! is known.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::catalogue::{member_names, validation::TYPE};

/// The direction of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In a request.
    Request,
    /// In an answer.
    Answer,
}

/// Control information and annotations of an answer.
const ANNOTATION: &str = r"^[^@\u0000]*@(?:odata|microsoft\.graph)\.[^\u0000]*$";
/// What a property can be called in an answer, on `/beta`. SQL can store any name.
const NAME: &str = r"^[^@#.\u0000]+$";
/// What a property can be called in a request, on `/beta`: an identifier of OData. The service
/// refuses characters outside of ASCII that are not letters.
const SENT_NAME: &str = r"^(?:[A-Za-z_]|[^\u0000-\u007f])(?:[A-Za-z0-9_]|[^\u0000-\u007f]){0,127}$";
/// A text that can be stored.
pub const TEXT: &str = r"^[^\u0000]*$";

/// Returns the pattern of members of a request that have no effect: control information, and
/// operations as an answer lists them.
fn without_effect() -> String {
    let name = r"(?:[A-Za-z_]|[^\u0000-\u007f])(?:[A-Za-z0-9_]|[^\u0000-\u007f]){0,127}";
    let terms = member_names::WITHOUT_EFFECT.join("|");
    format!(
        r"^(?:{name})?@(?:odata\.(?:{terms})|microsoft\.graph\.tips)$|^#microsoft\.graph\.{name}(?:\.{name})*(?:\((?:{name}(?:,{name})*)?\))?$"
    )
}

/// Returns the schemas of values of which nothing is known.
pub fn undeclared_values() -> BTreeMap<String, Value> {
    let mut components = BTreeMap::new();
    for side in [Side::Request, Side::Answer] {
        let (any, any_object) = (any(side), any_object(side));
        let mut object = json!({"type": "object", "additionalProperties": reference(any)});
        object["propertyNames"] = match side {
            Side::Answer => json!({"pattern": TEXT}),
            Side::Request => json!({"anyOf": [{"pattern": SENT_NAME}, {"pattern": without_effect()}]}),
        };
        if side == Side::Request {
            object["properties"] = json!({TYPE: text()});
        }
        let value = json!({
            "description": "What can be stored as it is sent.",
            "anyOf": [
                {"type": ["boolean", "null"]},
                {"type": "string", "pattern": TEXT},
                {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
                {"type": "number", "not": {"type": "integer"}},
                {"type": "array", "items": reference(any)},
                reference(any_object),
            ],
        });
        components.insert(any.to_owned(), value);
        components.insert(any_object.to_owned(), object);
    }
    components
}

/// Returns the name of the schema of any value.
fn any(side: Side) -> &'static str {
    if side == Side::Request { "any.request" } else { "any" }
}

/// Returns the name of the schema of any object.
pub fn any_object(side: Side) -> &'static str {
    if side == Side::Request { "anyObject.request" } else { "anyObject" }
}

/// Returns the schema of an object with these properties. Other properties are allowed if it
/// `is_open`.
pub fn closed(properties: Map<String, Value>, required: Vec<String>, is_open: bool, side: Side) -> Value {
    let (annotation, name) = match side {
        Side::Answer => (ANNOTATION.to_owned(), NAME),
        Side::Request => (without_effect(), SENT_NAME),
    };
    let mut others = Map::from_iter([(annotation, reference("any"))]);
    if is_open {
        others.insert(name.to_owned(), reference(any(side)));
    }
    let mut object =
        json!({"type": "object", "properties": properties, "patternProperties": others, "additionalProperties": false});
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

/// Returns the schema of text that can be stored.
pub fn text() -> Value {
    json!({"type": "string", "pattern": TEXT})
}

/// Returns the address of a component in the document.
pub fn path(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// Returns a reference to a component.
pub fn reference(name: &str) -> Value {
    json!({"$ref": path(name)})
}
