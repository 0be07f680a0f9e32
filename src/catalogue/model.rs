//! The model of types.

use std::{collections::HashMap, sync::Arc};

use anyhow::bail;

use super::version::Version;

/// The namespace of every Graph type.
pub const NAMESPACE: &str = "microsoft.graph";

/// An entity type or a complex type.
pub struct Type {
    /// The name without the namespace.
    pub name: String,
    pub(super) base: Option<TypeId>,
    /// Whether every value must have a derived type.
    pub is_abstract: bool,
    /// Whether only `/beta` has it.
    pub(super) is_beta: bool,
    pub(super) properties: Vec<Property>,
    /// Its navigation properties, those of its base first.
    pub navigation: Vec<Navigation>,
    pub(super) positions: HashMap<String, usize>,
    /// The places of the properties by their names in lower case.
    pub(super) folded: HashMap<String, Vec<usize>>,
}

/// A navigation property.
pub struct Navigation {
    /// Its name.
    pub name: String,
    /// Whether it leads to several entities.
    pub is_collection: bool,
    /// Whether only `/beta` has it.
    pub is_beta: bool,
}

impl Navigation {
    /// Returns whether a version has it.
    pub fn is_in(&self, version: Version) -> bool {
        !self.is_beta || version.is_beta()
    }
}

/// The index of a type in the catalogue. Types refer to each other in cycles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeId(pub(super) usize);

/// A property of a type, or inherited from its base. Navigation properties are not included.
pub struct Property {
    /// Its name.
    pub name: String,
    /// The type of its value, or of its elements.
    pub value_type: ValueType,
    /// Whether it is an array.
    pub is_collection: bool,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// Whether only `/beta` has it.
    pub is_beta: bool,
    /// The limits that Graph documents for its values.
    pub limits: Limits,
}

/// The limits of a property. `None` means no limit.
#[derive(Clone, Copy)]
pub struct Limits {
    /// The smallest number.
    pub minimum: Option<i64>,
    /// The largest number.
    pub maximum: Option<i64>,
    /// The maximum number of elements.
    pub max_items: Option<i64>,
}

/// The type of a value.
pub enum ValueType {
    /// A primitive type of OData.
    Primitive(Primitive),
    /// A member of an enumeration, or several members of a flags enumeration.
    Enumeration(Arc<Enumeration>),
    /// An object.
    Complex(TypeId),
}

/// The primitive types of OData that the catalogue uses.
///
/// <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_PrimitiveValue>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// Base64 in the standard or the URL-safe alphabet.
    Binary,
    /// `true` or `false`.
    Boolean,
    /// `2026-11-24`
    Date,
    /// `2026-11-24T13:15:00Z`, with any offset.
    DateTimeOffset,
    /// A double-precision number.
    Double,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A single-precision number.
    Single,
    /// Text.
    String,
    /// `13:15:00.0000000`
    TimeOfDay,
}

/// An enumeration.
pub struct Enumeration {
    /// The name without the namespace.
    pub name: String,
    /// Whether a value may have several members, separated by commas.
    pub is_flags: bool,
    /// The members of all versions.
    pub all: Vec<Member>,
}

/// A member of an enumeration.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its number. In a flags enumeration, its bits.
    pub bits: i64,
    /// Whether only `/beta` has it.
    pub is_beta: bool,
}

impl Type {
    /// Returns whether a version has the type.
    pub fn is_in(&self, version: Version) -> bool {
        !self.is_beta || version.is_beta()
    }

    /// Returns the properties in the order of the catalogue, those of the base first.
    pub fn properties(&self, version: Version) -> impl Iterator<Item = &Property> + Clone {
        self.properties.iter().filter(move |property| property.is_in(version))
    }

    /// Returns the navigation property with this name, of any version.
    pub fn navigation(&self, name: &str) -> Option<&Navigation> {
        self.navigation.iter().find(|known| known.name == name)
    }

    /// Returns the property with this name.
    pub fn property(&self, name: &str, version: Version) -> Option<&Property> {
        let property = self.positions.get(name).map(|&at| &self.properties[at]);
        property.filter(|property| property.is_in(version))
    }

    /// Returns the properties whose names in lower case are `folded`.
    pub fn properties_like(&self, folded: &str, version: Version) -> impl Iterator<Item = &Property> {
        let places = self.folded.get(folded).into_iter().flatten();
        places.map(|&at| &self.properties[at]).filter(move |property| property.is_in(version))
    }
}

impl Enumeration {
    /// Returns the members of a version, in the order of the catalogue.
    pub fn members(&self, version: Version) -> impl Iterator<Item = &Member> + Clone {
        self.all.iter().filter(move |member| !member.is_beta || version.is_beta())
    }

    /// Returns the member with this name.
    pub fn member(&self, name: &str, version: Version) -> Option<&Member> {
        self.members(version).find(|member| member.name == name)
    }

    /// Returns the names of the members of a version, for messages.
    pub fn names(&self, version: Version) -> String {
        self.members(version).map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the name of the member that an unset property has: the one with the number 0, or
    /// else the first one.
    pub fn default_name(&self, version: Version) -> &str {
        let mut members = self.members(version);
        let zero = members.clone().find(|member| member.bits == 0);
        zero.or_else(|| members.next()).map_or("", |member| &member.name)
    }
}

impl Property {
    pub(super) fn is_in(&self, version: Version) -> bool {
        !self.is_beta || version.is_beta()
    }

    /// Returns whether the other property has the same type. One of them may be nullable.
    pub fn has_type_of(&self, other: &Self) -> bool {
        self.is_collection == other.is_collection && self.value_type.to_string() == other.value_type.to_string()
    }
}

impl Primitive {
    pub(super) fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "Edm.Binary" => Self::Binary,
            "Edm.Boolean" => Self::Boolean,
            "Edm.Date" => Self::Date,
            "Edm.DateTimeOffset" => Self::DateTimeOffset,
            "Edm.Double" => Self::Double,
            "Edm.Int32" => Self::Int32,
            "Edm.Int64" => Self::Int64,
            "Edm.Single" => Self::Single,
            "Edm.String" => Self::String,
            "Edm.TimeOfDay" => Self::TimeOfDay,
            _ => bail!("values of type {name} cannot be read"),
        })
    }
}
