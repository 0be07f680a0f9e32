//! Writes objects in Graph's form: every property of the type, in the order of the catalogue,
//! with default values for unset properties.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{
    model::{Enumeration, Primitive, Property, Type, ValueType},
    validation::TYPE,
    version::Version,
};

/// Writes the properties of an object of type `of` for which `wanted` returns true. `/beta`
/// also shows stored members that the type does not have; `/v1.0` hides them.
///
/// # Errors
/// Those of `map`.
pub fn write<M: SerializeMap>(
    map: &mut M,
    of: &Type,
    values: &Map<String, Value>,
    wanted: impl Fn(&str) -> bool,
    version: Version,
) -> Result<(), M::Error> {
    for property in of.properties(version).filter(|property| wanted(&property.name)) {
        match values.get(&property.name) {
            Some(value) if !(property.is_collection && value.is_null()) => {
                map.serialize_entry(&property.name, &Stored { property, value, version })?;
            }
            _ => map.serialize_entry(&property.name, &Unset(property))?,
        }
    }
    if version == Version::Beta {
        let undeclared = values.iter().filter(|(name, _)| of.property(name, version).is_none() && wanted(name));
        write_undeclared(map, undeclared)?;
    }
    Ok(())
}

fn write_undeclared<'a, M: SerializeMap>(
    map: &mut M,
    values: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<(), M::Error> {
    values.filter(|(name, _)| *name != TYPE).try_for_each(|(name, value)| map.serialize_entry(name, value))
}

impl Type {
    /// Returns the value of a property of `values`, an object of this type, as an answer shows
    /// it.
    pub fn shown(&self, name: &str, values: &Map<String, Value>, version: Version) -> Option<Value> {
        let shown = match (self.property(name, version), values.get(name)) {
            (Some(property), Some(value)) if !(property.is_collection && value.is_null()) => {
                serde_json::to_value(Stored { property, value, version })
            }
            (Some(property), _) => serde_json::to_value(Unset(property)),
            (None, Some(value)) if version == Version::Beta => Ok(value.clone()),
            (None, _) => return None,
        };
        shown.ok()
    }
}

/// Returns whether two objects of type `of` look the same to a client, unset properties
/// included.
pub fn read_alike(of: &Type, one: &Map<String, Value>, other: &Map<String, Value>, version: Version) -> bool {
    let text = |values| serde_json::to_string(&Properties { of, values, version }).unwrap_or_default();
    text(one) == text(other)
}

/// The properties of an object, without other members.
pub struct Properties<'a> {
    /// The type of the object.
    pub of: &'a Type,
    /// The stored values.
    pub values: &'a Map<String, Value>,
    /// The version whose properties are shown.
    pub version: Version,
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        write(&mut map, self.of, self.values, |_| true, self.version)?;
        map.end()
    }
}

/// A value of a property, or an element of it.
struct Stored<'a> {
    property: &'a Property,
    value: &'a Value,
    version: Version,
}

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { property, version, .. } = *self;
        match (&property.value_type, self.value) {
            (ValueType::Complex(_), Value::Array(elements)) => {
                serializer.collect_seq(elements.iter().map(|value| Stored { property, value, version }))
            }
            (ValueType::Complex(declared), Value::Object(values)) => {
                let mut map = serializer.serialize_map(None)?;
                let odata_type = values.get(TYPE).and_then(Value::as_str);
                if let Some(odata_type) = odata_type {
                    map.serialize_entry(TYPE, odata_type)?;
                }
                match odata_type.map(Type::named) {
                    None => write(&mut map, declared.get(), values, |_| true, version)?,
                    Some(Some(of)) => write(&mut map, of, values, |_| true, version)?,
                    Some(None) => write_undeclared(&mut map, values.iter())?,
                }
                map.end()
            }
            (_, value) => value.serialize(serializer),
        }
    }
}

/// The value of an unset property.
struct Unset<'a>(&'a Property);

impl Serialize for Unset<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let property = self.0;
        match &property.value_type {
            _ if property.is_collection => serializer.collect_seq([(); 0]),
            _ if property.is_nullable => serializer.serialize_unit(),
            ValueType::Enumeration(Enumeration { members, .. }) => members.first().serialize(serializer),
            ValueType::Complex(_) => serializer.serialize_unit(),
            ValueType::Primitive(primitive) => match primitive {
                Primitive::Boolean => serializer.serialize_bool(false),
                Primitive::Int32 | Primitive::Single => serializer.serialize_i32(0),
                Primitive::Binary | Primitive::String => serializer.serialize_str(""),
                Primitive::Date => serializer.serialize_str("0001-01-01"),
                Primitive::DateTimeOffset => serializer.serialize_str("0001-01-01T00:00:00Z"),
                Primitive::TimeOfDay => serializer.serialize_str("00:00:00.0000000"),
            },
        }
    }
}
