//! The CSDL JSON document of the catalogue, as a tree.
//!
//! Names and texts are parts of the embedded document, and objects are lists, so that the tree is
//! small. It is read once for the catalogue and once for each form of `$metadata`.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};

/// The text of the document.
pub const DOCUMENT: &str = include_str!("graph.csdl.json");

/// The annotation of what only `/beta` has. An enumeration annotates its member `name` as
/// `name@Org.OData.Core.V1.Revisions`.
pub const REVISIONS: &str = "@Org.OData.Core.V1.Revisions";

/// A value of the document.
#[derive(Clone, Debug)]
pub enum Csdl {
    /// The members of an object, in their order.
    Object(Vec<(&'static str, Csdl)>),
    /// An array.
    Array(Vec<Csdl>),
    /// A text.
    Text(&'static str),
    /// A whole number.
    Number(i64),
    /// A Boolean.
    Boolean(bool),
}

impl Csdl {
    /// Reads the document.
    ///
    /// # Errors
    /// When the document has another form.
    pub fn read() -> serde_json::Result<Self> {
        serde_json::from_str(DOCUMENT)
    }

    /// Returns the members of an object. Other values have none.
    pub fn members(&self) -> &[(&'static str, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// Returns the members that are neither facets nor annotations.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Self)> {
        let members = self.members().iter().map(|(name, member)| (*name, member));
        members.filter(|(name, _)| !name.starts_with('$') && !name.contains('@'))
    }

    /// Returns a member of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(known, _)| *known == name).map(|(_, member)| member)
    }

    /// Returns a member that is a text.
    pub fn text(&self, name: &str) -> Option<&'static str> {
        match self.get(name)? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a member that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns whether a member is true.
    pub fn is(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Self::Boolean(true)))
    }

    /// Returns whether only `/beta` has a type or a property.
    pub fn is_beta(&self) -> bool {
        self.get(REVISIONS).is_some()
    }

    /// Returns whether only `/beta` has a member of this enumeration.
    pub fn is_beta_member(&self, name: &str) -> bool {
        self.members().iter().any(|(known, _)| known.strip_suffix(REVISIONS) == Some(name))
    }

    /// Returns the elements of an array. Other values have none.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            _ => &[],
        }
    }
}

impl<'de: 'static> Deserialize<'de> for Csdl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CsdlVisitor)
    }
}

struct CsdlVisitor;

impl<'de: 'static> Visitor<'de> for CsdlVisitor {
    type Value = Csdl;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CSDL without escapes in its texts")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Csdl, E> {
        Ok(Csdl::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Csdl, E> {
        Ok(Csdl::Number(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Csdl, E> {
        i64::try_from(value).map(Csdl::Number).map_err(E::custom)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Csdl, E> {
        Ok(Csdl::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Csdl, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        elements.shrink_to_fit();
        Ok(Csdl::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Csdl, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<&'de str, Csdl>()? {
            members.push(member);
        }
        members.shrink_to_fit();
        Ok(Csdl::Object(members))
    }
}

impl Serialize for Csdl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, member)| map.serialize_entry(name, member))?;
                map.end()
            }
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Boolean(value) => serializer.serialize_bool(*value),
        }
    }
}
