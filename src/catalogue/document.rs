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

use super::{
    csdl::Csdl,
    model::{Enumeration, Limits, Member, NAMESPACE, Navigation, Primitive, Property, Type, TypeId, ValueType},
};

/// Returns the types of the document in its order, and the names of all other elements.
///
/// # Errors
/// When the document cannot be read.
pub(super) fn read() -> anyhow::Result<(Vec<Type>, HashSet<String>)> {
    let document = Csdl::read()?;
    let schema = document.get(NAMESPACE).ok_or_else(|| anyhow::anyhow!("there is no schema {NAMESPACE}"))?.members();
    let elements: HashMap<_, _> = schema.iter().map(|(name, element)| (*name, element)).collect();
    let of_kind = |kinds: &'static [&str]| {
        schema.iter().filter(move |(_, element)| element.text("$Kind").is_some_and(|kind| kinds.contains(&kind)))
    };
    let structured = || of_kind(&["EntityType", "ComplexType"]);
    let ids = structured().enumerate().map(|(id, (name, _))| (*name, TypeId(id))).collect();
    let enumerations = of_kind(&["EnumType"]);
    let enumerations = enumerations.map(|(name, element)| (*name, Arc::new(enumeration(name, element)))).collect();
    let reader = Reader { elements, ids, enumerations };
    let types: Vec<_> = structured().map(|(name, of)| reader.structured(name, of)).collect::<anyhow::Result<_>>()?;
    let is_other = |name: &&str| !reader.ids.contains_key(name);
    let others = schema.iter().map(|(name, _)| *name).filter(is_other).map(str::to_owned).collect();
    Ok((types, others))
}

fn enumeration(name: &str, element: &Csdl) -> Enumeration {
    let member = |(name, value): (&str, &Csdl)| Member {
        name: name.to_owned(),
        bits: if let Csdl::Number(number) = value { *number } else { 0 },
        is_beta: element.is_beta_member(name),
    };
    let all = element.named().map(member).collect();
    Enumeration { name: name.to_owned(), is_flags: element.is("$IsFlags"), all }
}

struct Reader<'a> {
    elements: HashMap<&'a str, &'a Csdl>,
    ids: HashMap<&'a str, TypeId>,
    enumerations: HashMap<&'a str, Arc<Enumeration>>,
}

impl Reader<'_> {
    fn structured(&self, name: &str, element: &Csdl) -> anyhow::Result<Type> {
        let base = element.text("$BaseType").map(|base| self.id(base)).transpose()?;
        let (mut properties, mut navigation) = (Vec::new(), Vec::new());
        self.add_properties(name, &mut properties, &mut navigation)?;
        let positions = properties.iter().enumerate().map(|(at, property)| (property.name.clone(), at)).collect();
        let mut folded: HashMap<_, Vec<_>> = HashMap::new();
        for (at, property) in properties.iter().enumerate() {
            folded.entry(property.name.to_ascii_lowercase()).or_default().push(at);
        }
        let (is_abstract, is_beta) = (element.is("$Abstract"), element.is_beta());
        Ok(Type { name: name.to_owned(), base, is_abstract, is_beta, properties, navigation, positions, folded })
    }

    /// Adds the properties and the navigation properties of a type, those of its base first.
    fn add_properties(
        &self,
        name: &str,
        properties: &mut Vec<Property>,
        navigation: &mut Vec<Navigation>,
    ) -> anyhow::Result<()> {
        let element = self.elements.get(name).ok_or_else(|| anyhow::anyhow!("there is no type {name}"))?;
        if let Some(base) = element.text("$BaseType") {
            self.add_properties(unqualified(base)?, properties, navigation)?;
        }
        for (name, facts) in element.named() {
            match facts.get("$Kind") {
                None => properties.push(self.property(name, facts, element.is_beta())?),
                Some(_) => {
                    let is_beta = element.is_beta() || facts.is_beta();
                    let is_collection = facts.is("$Collection");
                    navigation.push(Navigation { name: name.to_owned(), is_collection, is_beta });
                }
            }
        }
        Ok(())
    }

    fn property(&self, name: &str, facts: &Csdl, is_of_beta: bool) -> anyhow::Result<Property> {
        let limit = |name: &str| facts.number(&format!("@Org.OData.Validation.V1.{name}"));
        let value_type = match facts.text("$Type").unwrap_or("Edm.String") {
            edm if edm.starts_with("Edm.") => ValueType::Primitive(Primitive::named(edm)?),
            other => self.graph_type(other)?,
        };
        Ok(Property {
            name: name.to_owned(),
            value_type,
            is_collection: facts.is("$Collection"),
            is_nullable: facts.is("$Nullable"),
            is_beta: is_of_beta || facts.is_beta(),
            limits: Limits { minimum: limit("Minimum"), maximum: limit("Maximum"), max_items: limit("MaxItems") },
        })
    }

    fn graph_type(&self, qualified: &str) -> anyhow::Result<ValueType> {
        match self.enumerations.get(unqualified(qualified)?) {
            Some(enumeration) => Ok(ValueType::Enumeration(Arc::clone(enumeration))),
            None => Ok(ValueType::Complex(self.id(qualified)?)),
        }
    }

    fn id(&self, qualified: &str) -> anyhow::Result<TypeId> {
        let name = unqualified(qualified)?;
        self.ids.get(name).copied().ok_or_else(|| anyhow::anyhow!("there is no type {name}"))
    }
}

fn unqualified(name: &str) -> anyhow::Result<&str> {
    let name = name.strip_prefix(NAMESPACE).and_then(|name| name.strip_prefix('.'));
    name.ok_or_else(|| anyhow::anyhow!("not a name of {NAMESPACE}"))
}
