//! Reads the types from the CSDL JSON document.
//!
//! The reader uses these parts of CSDL: entity, complex and enumeration types with their bases;
//! properties with type, collection and nullability; the annotations `Validation.Minimum`,
//! `Maximum` and `MaxItems`; and `Core.Revisions`, which marks what `/beta` adds: a type with all
//! that it adds, a property, or a member of an enumeration. A client may send null for an empty
//! collection that is `$Nullable`, as in Graph's own model. An element is never null.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use super::model::{Enumeration, Limits, Member, NAMESPACE, Primitive, Property, Type, TypeId, ValueType};

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "microsoft.graph")]
    schema: IndexMap<String, Element>,
}

/// A type, or the overloads of an operation.
#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Type(IndexMap<String, Value>),
    Operation(#[expect(dead_code, reason = "only types are read here")] Vec<Value>),
}

/// Returns the types of the document in its order, and the names of all other elements.
///
/// # Errors
/// When the document cannot be read.
pub(super) fn read(text: &str) -> anyhow::Result<(Vec<Type>, HashSet<String>)> {
    let Document { schema } = serde_json::from_str(text)?;
    let mut others: HashSet<String> = schema.keys().cloned().collect();
    let elements: IndexMap<_, _> = schema
        .into_iter()
        .filter_map(|(name, element)| match element {
            Element::Type(members) => Some((name, members)),
            Element::Operation(_) => None,
        })
        .collect();
    let is = |name: &str, kind: &str| elements.get(name).is_some_and(|members| members["$Kind"] == kind);
    let structured: IndexMap<_, _> =
        elements.iter().filter(|(name, _)| is(name, "EntityType") || is(name, "ComplexType")).collect();
    let ids: HashMap<_, _> = structured.keys().enumerate().map(|(id, name)| (name.as_str(), TypeId(id))).collect();
    let enumerations = elements.iter().filter(|(name, _)| is(name, "EnumType"));
    let enumerations = enumerations.map(|(name, members)| (name.as_str(), Arc::new(enumeration(name, members))));
    let reader = Reader { elements: &elements, ids: &ids, enumerations: enumerations.collect() };
    let types: Vec<_> =
        structured.iter().map(|(name, members)| reader.structured(name, members)).collect::<anyhow::Result<_>>()?;
    types.iter().for_each(|found| {
        others.remove(&found.name);
    });
    Ok((types, others))
}

/// The annotation of what only `/beta` has.
const REVISIONS: &str = "@Org.OData.Core.V1.Revisions";

fn enumeration(name: &str, members: &IndexMap<String, Value>) -> Enumeration {
    // The annotation of a member stands beside it, with the name of the member before it.
    let named = members.iter().filter(|(name, _)| !name.starts_with('$') && !name.contains('@'));
    let all = named.map(|(name, value)| Member {
        name: name.clone(),
        bits: value.as_i64().unwrap_or_default(),
        is_beta: members.contains_key(&format!("{name}{REVISIONS}")),
    });
    let is_flags = members.get("$IsFlags") == Some(&Value::Bool(true));
    Enumeration { name: name.to_owned(), is_flags, all: all.collect() }
}

struct Reader<'a> {
    elements: &'a IndexMap<String, IndexMap<String, Value>>,
    ids: &'a HashMap<&'a str, TypeId>,
    enumerations: HashMap<&'a str, Arc<Enumeration>>,
}

impl Reader<'_> {
    fn structured(&self, name: &str, members: &IndexMap<String, Value>) -> anyhow::Result<Type> {
        let base = members.get("$BaseType").map(|base| self.id(base)).transpose()?;
        let (mut properties, mut navigation) = (Vec::new(), Vec::new());
        self.add_properties(name, &mut properties, &mut navigation)?;
        let positions = properties.iter().enumerate().map(|(at, property)| (property.name.clone(), at)).collect();
        let mut folded: HashMap<_, Vec<_>> = HashMap::new();
        for (at, property) in properties.iter().enumerate() {
            folded.entry(property.name.to_ascii_lowercase()).or_default().push(at);
        }
        let is_abstract = members.get("$Abstract") == Some(&Value::Bool(true));
        let is_beta = members.contains_key(REVISIONS);
        Ok(Type { name: name.to_owned(), base, is_abstract, is_beta, properties, navigation, positions, folded })
    }

    /// Adds the properties of a type and the names of its navigation properties, those of its
    /// base first.
    fn add_properties(
        &self,
        name: &str,
        properties: &mut Vec<Property>,
        navigation: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let members = self.members(name)?;
        if let Some(base) = members.get("$BaseType") {
            self.add_properties(unqualified(base)?, properties, navigation)?;
        }
        let is_beta = members.contains_key(REVISIONS);
        for (name, facts) in members.iter().filter(|(name, _)| !name.starts_with(['$', '@'])) {
            match facts.get("$Kind") {
                None => properties.push(self.property(name, facts, is_beta)?),
                Some(_) => navigation.push(name.clone()),
            }
        }
        Ok(())
    }

    fn property(&self, name: &str, facts: &Value, is_of_beta: bool) -> anyhow::Result<Property> {
        let is = |name: &str| facts.get(name) == Some(&Value::Bool(true));
        let limit = |name: &str| facts.get(format!("@Org.OData.Validation.V1.{name}")).and_then(Value::as_i64);
        let value_type = match facts.get("$Type").and_then(Value::as_str).unwrap_or("Edm.String") {
            edm if edm.starts_with("Edm.") => ValueType::Primitive(Primitive::named(edm)?),
            _ => self.graph_type(&facts["$Type"])?,
        };
        Ok(Property {
            name: name.to_owned(),
            value_type,
            is_collection: is("$Collection"),
            is_nullable: is("$Nullable"),
            is_beta: is_of_beta || facts.get(REVISIONS).is_some(),
            limits: Limits { minimum: limit("Minimum"), maximum: limit("Maximum"), max_items: limit("MaxItems") },
        })
    }

    fn graph_type(&self, qualified: &Value) -> anyhow::Result<ValueType> {
        match self.enumerations.get(unqualified(qualified)?) {
            Some(enumeration) => Ok(ValueType::Enumeration(Arc::clone(enumeration))),
            None => Ok(ValueType::Complex(self.id(qualified)?)),
        }
    }

    fn id(&self, qualified: &Value) -> anyhow::Result<TypeId> {
        let name = unqualified(qualified)?;
        self.ids.get(name).copied().ok_or_else(|| anyhow::anyhow!("there is no type {name}"))
    }

    fn members(&self, name: &str) -> anyhow::Result<&IndexMap<String, Value>> {
        self.elements.get(name).ok_or_else(|| anyhow::anyhow!("there is no type {name}"))
    }
}

fn unqualified(name: &Value) -> anyhow::Result<&str> {
    let name = name.as_str().and_then(|name| name.strip_prefix(NAMESPACE)?.strip_prefix('.'));
    name.ok_or_else(|| anyhow::anyhow!("not a name of {NAMESPACE}"))
}
