//! The schemas that operations refer to, by their names.
//!
//! The schema of a type is kept as text, which needs a fraction of the memory of its tree.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, value::RawValue};

/// The schemas of the document.
#[derive(Default, Serialize)]
pub struct Components(BTreeMap<String, Component>);

#[derive(Serialize)]
#[serde(untagged)]
enum Component {
    Tree(Value),
    Text(Box<RawValue>),
}

impl Components {
    /// Returns whether there is a schema of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds a schema, or replaces it.
    pub fn insert(&mut self, name: String, schema: Value) {
        self.0.insert(name, Component::Tree(schema));
    }

    /// Keeps a schema as text from now on. It can no longer be changed.
    pub fn keep_text(&mut self, name: &str) {
        if let Some(component) = self.0.get_mut(name)
            && let Component::Tree(tree) = component
        {
            tree.sort_all_objects();
            if let Ok(text) = serde_json::value::to_raw_value(tree) {
                *component = Component::Text(text);
            }
        }
    }

    /// Returns a schema for a change. It must not be kept as text.
    pub fn tree(&mut self, name: &str) -> Option<&mut Value> {
        match self.0.get_mut(name)? {
            Component::Tree(tree) => Some(tree),
            Component::Text(_) => None,
        }
    }

    /// Removes from each schema what only programs read: patterns of texts and of names, and
    /// members that an object cannot have.
    pub fn simplify(&mut self) {
        for component in self.0.values_mut() {
            match component {
                Component::Tree(tree) => simplify(tree),
                Component::Text(text) => {
                    if let Ok(mut tree) = serde_json::from_str(text.get()) {
                        simplify(&mut tree);
                        *text = serde_json::value::to_raw_value(&tree).unwrap_or_default();
                    }
                }
            }
        }
    }

    /// Sorts the members inside each schema by their names.
    pub fn sort(&mut self) {
        for component in self.0.values_mut() {
            if let Component::Tree(tree) = component {
                tree.sort_all_objects();
            }
        }
    }
}

fn simplify(schema: &mut Value) {
    let Value::Object(keywords) = schema else { return };
    for name in ["pattern", "patternProperties", "propertyNames", "additionalProperties"] {
        keywords.shift_remove(name);
    }
    for (name, value) in keywords.iter_mut() {
        match value {
            Value::Array(schemas) => schemas.iter_mut().for_each(simplify),
            Value::Object(schemas) if name == "properties" => {
                schemas.retain(|_, schema| *schema != Value::Bool(false));
                schemas.values_mut().for_each(simplify);
            }
            other => simplify(other),
        }
    }
}
