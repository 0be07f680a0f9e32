//! Graph's types: `graph.csdl.json`, a CSDL JSON document, and what reads it.
//!
//! The document is data: a type that Graph adds is a line in it and no code.
//! It holds the type hierarchy; the properties of the concrete configuration
//! types are not in it yet, so that a configuration's own properties are kept
//! as they are sent.
//!
//! <https://docs.oasis-open.org/odata/odata-csdl-json/v4.01/odata-csdl-json-v4.01.html>

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::error::{ApiError, excerpt};

/// The namespace of every Graph type.
pub const NAMESPACE: &str = "microsoft.graph";

static CATALOGUE: LazyLock<Document> = LazyLock::new(|| {
    serde_json::from_str(include_str!("graph.csdl.json")).expect("the catalogue is embedded and held by a test")
});

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "microsoft.graph")]
    types: BTreeMap<String, Type>,
}

#[derive(Deserialize)]
struct Type {
    #[serde(rename = "$BaseType")]
    base: Option<String>,
    #[serde(rename = "$Abstract", default)]
    is_abstract: bool,
}

/// A type of the catalogue.
#[derive(Clone, Copy)]
pub struct TypeRef {
    name: &'static str,
    facts: &'static Type,
}

impl TypeRef {
    fn find(name: &str) -> Option<Self> {
        let (name, facts) = CATALOGUE.types.get_key_value(name)?;
        Some(Self { name, facts })
    }

    /// Its name without the namespace.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether a value can only be of a type derived from it.
    pub fn is_abstract(self) -> bool {
        self.facts.is_abstract
    }

    fn base(self) -> Option<Self> {
        Self::find(unqualified(self.facts.base.as_deref()?)?)
    }

    fn is_a(self, name: &str) -> bool {
        self.name == name || self.base().is_some_and(|base| base.is_a(name))
    }
}

/// The name in an `@odata.type`, which comes with or without its `#`; `None`
/// for a name outside Graph's namespace.
fn unqualified(odata_type: &str) -> Option<&str> {
    odata_type.strip_prefix('#').unwrap_or(odata_type).strip_prefix(NAMESPACE)?.strip_prefix('.')
}

/// The type that an `@odata.type` names where an `expected` one is due.
///
/// # Errors
/// 400, in Graph's words, for a type that is not in the catalogue or is of
/// another family. Whether an abstract type will do is the caller's to say.
pub fn resolve(odata_type: &str, expected: &str) -> Result<TypeRef, ApiError> {
    let Some(found) = unqualified(odata_type).and_then(TypeRef::find) else {
        return Err(ApiError::model(format!(
            "A type named '{}' could not be resolved by the model. When a model is available, each type name must resolve to a valid type.",
            excerpt(odata_type.strip_prefix('#').unwrap_or(odata_type)),
        )));
    };
    if !found.is_a(expected) {
        return Err(ApiError::model(format!(
            "An entry with type '{NAMESPACE}.{}' was found, but it is not assignable to the expected type '{NAMESPACE}.{expected}'. The type specified in the entry must be equal to either the expected type or a derived type.",
            found.name(),
        )));
    }
    Ok(found)
}

/// The name in an `@odata.type` of Graph's namespace that the catalogue lacks.
pub fn undeclared(odata_type: &str) -> Option<&str> {
    let name = unqualified(odata_type)?;
    let is_identifier = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    (is_identifier && TypeRef::find(name).is_none()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(base: &str) -> Vec<TypeRef> {
        let names = CATALOGUE.types.keys().map(|name| TypeRef::find(name).expect("its own key"));
        names.filter(|found| found.is_a(base) && found.name() != base).collect()
    }

    #[test]
    fn the_hierarchy_is_whole() {
        let configurations = derived("deviceConfiguration");
        assert_eq!(configurations.len(), 26);
        assert_eq!(configurations.iter().filter(|found| !found.is_abstract()).count(), 24);
        assert_eq!(derived("deviceAndAppManagementAssignmentTarget").len(), 5);
        for (name, facts) in &CATALOGUE.types {
            let found = TypeRef::find(name).expect("its own key");
            assert_eq!(facts.base.is_some(), found.base().is_some(), "{name} has a base that is not here");
        }
    }

    #[test]
    fn a_type_is_named_with_or_without_its_hash() {
        for odata_type in ["#microsoft.graph.groupAssignmentTarget", "microsoft.graph.groupAssignmentTarget"] {
            assert!(resolve(odata_type, "deviceAndAppManagementAssignmentTarget").is_ok());
            assert!(resolve(odata_type, "groupAssignmentTarget").is_ok());
            assert!(resolve(odata_type, "deviceConfiguration").is_err());
        }
        for odata_type in [
            "",
            "#",
            "groupAssignmentTarget",
            "##microsoft.graph.groupAssignmentTarget",
            "microsoft.graph.",
            "microsoft.graphgroupAssignmentTarget",
        ] {
            assert!(resolve(odata_type, "deviceAndAppManagementAssignmentTarget").is_err(), "{odata_type}");
        }
    }

    #[test]
    fn only_a_name_of_graph_that_is_not_here_is_undeclared() {
        assert_eq!(undeclared("#microsoft.graph.windowsKioskConfiguration"), Some("windowsKioskConfiguration"));
        for odata_type in [
            "#microsoft.graph.groupAssignmentTarget",
            "#contoso.thing",
            "#microsoft.graph.",
            "#microsoft.graph.a.b",
            "#microsoft.graph.a-b",
        ] {
            assert_eq!(undeclared(odata_type), None, "{odata_type}");
        }
    }
}
