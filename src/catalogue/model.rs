//! The types.

use std::collections::HashMap;

use anyhow::bail;

use super::version::Version;

/// The namespace of every Graph type.
pub const NAMESPACE: &str = "microsoft.graph";

/// An entity type or a complex type.
pub struct Type {
    /// Its name without the namespace.
    pub name: String,
    pub(super) base: Option<TypeId>,
    /// Whether a value can only be of a type derived from it.
    pub is_abstract: bool,
    pub(super) properties: Vec<Property>,
    pub(super) positions: HashMap<String, usize>,
}

/// A type, by its place in the catalogue: types refer to each other in circles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeId(pub(super) usize);

/// A property, inherited ones included. Navigation properties are none.
pub struct Property {
    /// Its name.
    pub name: String,
    /// Of what type it is, or an element of it.
    pub value_type: ValueType,
    /// Whether it is an array.
    pub is_collection: bool,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// Whether only `/beta` has it.
    pub is_beta: bool,
    /// What Graph states of its values.
    pub limits: Limits,
}

/// Limits of a property; `None` where none is stated.
#[derive(Clone, Copy)]
pub struct Limits {
    /// The least number.
    pub minimum: Option<i64>,
    /// The largest number.
    pub maximum: Option<i64>,
    /// Elements at most.
    pub max_items: Option<i64>,
}

/// Of what type a value is.
pub enum ValueType {
    /// One of OData's own.
    Primitive(Primitive),
    /// One of some names, or several of them.
    Enumeration(Enumeration),
    /// An object.
    Complex(TypeId),
}

/// The primitive types of OData that Graph uses here.
///
/// <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_PrimitiveValue>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// Base64 of either alphabet.
    Binary,
    /// `true` or `false`.
    Boolean,
    /// `2026-11-24`
    Date,
    /// `2026-11-24T13:15:00Z`, with any offset.
    DateTimeOffset,
    /// A whole number of 32 bits.
    Int32,
    /// A number of single precision.
    Single,
    /// A text.
    String,
    /// `13:15:00.0000000`
    TimeOfDay,
}

/// An enumeration.
pub struct Enumeration {
    /// Its name without the namespace.
    pub name: String,
    /// Whether a value may be several of the names, with commas between.
    pub is_flags: bool,
    /// Its names.
    pub members: Vec<String>,
    /// What the names stand for, in their order.
    pub bits: Vec<i64>,
}

impl Type {
    /// Its properties in the order of the catalogue, those of its base first.
    pub fn properties(&self, version: Version) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |property| property.is_in(version))
    }

    /// The property of this name.
    pub fn property(&self, name: &str, version: Version) -> Option<&Property> {
        let property = self.positions.get(name).map(|&at| &self.properties[at]);
        property.filter(|property| property.is_in(version))
    }
}

impl Property {
    fn is_in(&self, version: Version) -> bool {
        !self.is_beta || version == Version::Beta
    }

    /// Whether the other has values of the same type, and the same one when it is not set.
    pub fn reads_like(&self, other: &Self) -> bool {
        self.is_collection == other.is_collection
            && self.is_nullable == other.is_nullable
            && self.value_type.to_string() == other.value_type.to_string()
    }
}

impl Primitive {
    pub(super) fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "Edm.Binary" => Self::Binary,
            "Edm.Boolean" => Self::Boolean,
            "Edm.Date" => Self::Date,
            "Edm.DateTimeOffset" => Self::DateTimeOffset,
            "Edm.Int32" => Self::Int32,
            "Edm.Single" => Self::Single,
            "Edm.String" => Self::String,
            "Edm.TimeOfDay" => Self::TimeOfDay,
            _ => bail!("values of type {name} cannot be read"),
        })
    }
}
