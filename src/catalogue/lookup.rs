//! Finds types by their names.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::LazyLock,
};

use super::{
    document, families,
    model::{NAMESPACE, Type, TypeId, ValueType},
    spelling::is_misspelt,
    version::Version,
};
use crate::error::{ApiError, shorten};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let (types, others) = document::read().expect("the catalogue is embedded and held by a test");
    let names = types.iter().enumerate().map(|(id, found)| (found.name.clone(), TypeId(id))).collect();
    let mut folded: HashMap<_, Vec<_>> = HashMap::new();
    for (id, found) in types.iter().enumerate() {
        folded.entry(found.name.to_ascii_lowercase()).or_default().push(TypeId(id));
    }
    Catalogue { types, names, folded, others }
});

struct Catalogue {
    types: Vec<Type>,
    names: HashMap<String, TypeId>,
    /// The types by their names in lower case.
    folded: HashMap<String, Vec<TypeId>>,
    /// The names of enumerations and operations.
    others: HashSet<String>,
}

impl TypeId {
    /// Returns the type.
    pub fn get(self) -> &'static Type {
        &CATALOGUE.types[self.0]
    }
}

impl Type {
    /// Returns the type with this name, without its namespace.
    pub fn find(name: &str) -> Option<&'static Self> {
        CATALOGUE.names.get(name).map(|id| id.get())
    }

    /// Returns the type that an `@odata.type` names.
    pub fn named(odata_type: &str) -> Option<&'static Self> {
        unqualified(odata_type).and_then(Self::find)
    }

    /// Returns the types whose names differ from `name` at most by letter case.
    pub(super) fn like(name: &str) -> Vec<&'static Self> {
        let ids = CATALOGUE.folded.get(&name.to_ascii_lowercase());
        ids.into_iter().flatten().map(|id| id.get()).collect()
    }

    /// Returns every type of the catalogue, in its order.
    pub fn all() -> &'static [Self] {
        &CATALOGUE.types
    }

    /// Returns whether this is the type of this name, or is derived from it.
    pub fn is_a(&self, name: &str) -> bool {
        self.name == name || self.base.is_some_and(|base| base.get().is_a(name))
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(primitive) => write!(formatter, "Edm.{primitive:?}"),
            Self::Enumeration(enumeration) => write!(formatter, "{NAMESPACE}.{}", enumeration.name),
            Self::Complex(id) => write!(formatter, "{NAMESPACE}.{}", id.get().name),
        }
    }
}

/// Returns the name in an `@odata.type`, with or without its `#`. Returns `None` for a name
/// outside of Graph's namespace.
pub fn unqualified(odata_type: &str) -> Option<&str> {
    odata_type.strip_prefix('#').unwrap_or(odata_type).strip_prefix(NAMESPACE)?.strip_prefix('.')
}

/// Returns the type that an `@odata.type` names. It must be `expected` or derived from it.
///
/// # Errors
/// 400 with Graph's message for a type that the catalogue lacks or that is not derived from
/// `expected`. Abstract types are accepted: the caller checks them.
pub fn resolve(odata_type: &str, expected: &str) -> Result<&'static Type, ApiError> {
    let found = Type::named(odata_type).ok_or_else(|| unresolved(odata_type, ""))?;
    assignable(found, expected)
}

/// Returns Graph's 400 for a name that is no type. `meant` follows it: a sentence that says what
/// to write, with a space before it, or an empty text.
pub(super) fn unresolved(name: &str, meant: &str) -> ApiError {
    ApiError::model(format!(
        "A type named '{}' could not be resolved by the model. When a model is available, each type name must resolve to a valid type.{meant}",
        shorten(name.strip_prefix('#').unwrap_or(name)),
    ))
}

/// Returns the type when it is `expected` or derived from it.
pub(super) fn assignable(found: &'static Type, expected: &str) -> Result<&'static Type, ApiError> {
    if found.is_a(expected) { Ok(found) } else { Err(not_assignable(&found.name, expected, "")) }
}

/// Returns whether a configuration is expected and the name, which the catalogue lacks, belongs to
/// another family of Graph's types. Nested values are not checked: they have types of every kind.
pub(super) fn is_elsewhere(name: &str, expected: &str) -> bool {
    expected == "deviceConfiguration" && families::of_type(name).is_some()
}

/// Returns Graph's 400 for a type of another family that the catalogue does not have.
pub(super) fn elsewhere(name: &str, expected: &str) -> ApiError {
    let remedy = match families::of_type(name) {
        Some(families::ASSIGNMENTS) => " It is an assignment and not a configuration.".to_owned(),
        family => format!(" It is {}, which this service does not store.", family.unwrap_or("something else")),
    };
    not_assignable(name, expected, &remedy)
}

fn not_assignable(name: &str, expected: &str, remedy: &str) -> ApiError {
    ApiError::model(format!(
        "An entry with type '{NAMESPACE}.{name}' was found, but it is not assignable to the expected type '{NAMESPACE}.{expected}'. The type specified in the entry must be equal to either the expected type or a derived type.{remedy}",
    ))
}

/// Returns the sentence, with a space before it, that names the setting for a type that Graph
/// may have and the catalogue lacks. Returns an empty text where the setting would not help.
pub(super) fn unknown_type_remedy(name: &str, version: Version) -> &'static str {
    match version == Version::Beta && !is_misspelling(name) {
        true => " If Graph has this type, set catalogue.unknown_types to 'accept'.",
        false => "",
    }
}

/// Returns the names of a version, sorted: its types, all enumerations and all operations.
pub fn names(version: Version) -> impl Iterator<Item = &'static str> {
    let is_in = |name: &&str| Type::find(name).is_none_or(|of| of.is_in(version));
    unsorted_names().filter(is_in).collect::<BTreeSet<_>>().into_iter()
}

/// Returns the names of all types, enumerations and operations of the catalogue.
pub(super) fn unsorted_names() -> impl Iterator<Item = &'static str> {
    let types = CATALOGUE.types.iter().map(|of| &of.name);
    types.chain(&CATALOGUE.others).map(String::as_str)
}

/// Returns whether a name is one of the catalogue with one or two letters wrong. The cost grows
/// with the size of the catalogue, so a request asks it of a few names only.
pub(super) fn is_misspelling(name: &str) -> bool {
    unsorted_names().any(|known| is_misspelt(name, known))
}

/// Returns the name in an `@odata.type` of Graph's namespace, if the catalogue lacks it.
pub fn undeclared(odata_type: &str) -> Option<&str> {
    unqualified(odata_type).filter(|name| is_undeclared(name))
}

/// Returns whether a name without the namespace can be a type and is not in the catalogue.
pub(super) fn is_undeclared(name: &str) -> bool {
    let is_identifier = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    is_identifier && Type::find(name).is_none() && !CATALOGUE.others.contains(name)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{
        super::{
            model::{Limits, Property},
            version::Version,
        },
        *,
    };

    fn derived(base: &str) -> Vec<&'static Type> {
        Type::all().iter().filter(|found| found.is_in(Version::V1) && found.is_a(base) && found.name != base).collect()
    }

    /// The counts of Graph's v1.0 model of August 2026, without what `/beta` adds. `tests/catalogue`
    /// compares the document with Graph's packages.
    #[test]
    fn the_catalogue_is_whole() {
        let document: Value = serde_json::from_str(include_str!("graph.csdl.json")).expect("JSON");
        let elements = document[NAMESPACE].as_object().expect("a schema");
        let is_v1 = |element: &&Value| element.get("@Org.OData.Core.V1.Revisions").is_none();
        let of_kind =
            |kind: &'static str| elements.values().filter(is_v1).filter(move |element| element["$Kind"] == kind);
        assert_eq!((of_kind("ComplexType").count(), of_kind("EnumType").count()), (42, 68));
        let is_beta =
            |name: &str, element: &Value| element.get(format!("{name}@Org.OData.Core.V1.Revisions")).is_some();
        let members = |element: &Value| {
            let is_member = |name: &&String| !name.starts_with('$') && !name.contains('@') && !is_beta(name, element);
            element.as_object().expect("a type").keys().filter(is_member).count()
        };
        assert_eq!(of_kind("EnumType").map(members).sum::<usize>(), 379);
        assert_eq!(of_kind("EnumType").filter(|element| element["$IsFlags"] == true).count(), 3);
        assert_eq!(elements.values().filter(|element| element.is_array()).count(), 2, "bound operations");

        let configurations = derived("deviceConfiguration");
        assert_eq!(configurations.len(), 26);
        assert_eq!(configurations.iter().filter(|found| !found.is_abstract).count(), 24);
        assert_eq!(derived("deviceAndAppManagementAssignmentTarget").len(), 5);
        let count = |found: &Type| found.properties(Version::V1).count();
        let own = |found: &Type| count(found) - found.base.map_or(0, |base| count(base.get()));
        assert_eq!(count(Type::find("deviceConfiguration").expect("it is there")), 6);
        assert_eq!(configurations.iter().map(|found| own(found)).sum::<usize>(), 623);
        assert_eq!(configurations.iter().map(|found| own(found)).max(), Some(201));
        let limited = |found: &Type| {
            let inherited = found.base.map_or(0, |base| base.get().properties.len());
            let is_limited = |property: &&Property| {
                let Limits { minimum, maximum, max_items } = property.limits;
                minimum.or(maximum).or(max_items).is_some()
            };
            found.properties[inherited..]
                .iter()
                .filter(|property| property.is_in(Version::V1))
                .filter(is_limited)
                .count()
        };
        assert_eq!(configurations.iter().map(|found| limited(found)).sum::<usize>(), 58, "properties with limits");
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
        assert_eq!(undeclared("#microsoft.graph.windowsFutureConfiguration"), Some("windowsFutureConfiguration"));
        for odata_type in [
            "#microsoft.graph.groupAssignmentTarget",
            "#microsoft.graph.appListType",
            "#microsoft.graph.assign",
            "#contoso.thing",
            "#microsoft.graph.",
            "#microsoft.graph.a.b",
            "#microsoft.graph.a-b",
        ] {
            assert_eq!(undeclared(odata_type), None, "{odata_type}");
        }
    }
}
