//! Writes objects in Graph's form: every property of the type, in the order of the catalogue,
//! with default values for unset properties. For `odata.metadata=full` it also writes the type
//! of each value whose type JSON does not show.
//!
//! <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_ControlInformationtypeodatatype>

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{
    model::{NAMESPACE, Primitive, Property, Type, ValueType},
    validation::TYPE,
    version::Version,
};

/// How objects are written.
#[derive(Clone, Copy)]
pub struct Form {
    /// The version whose properties are written.
    pub version: Version,
    /// Whether the types of values are written, as `odata.metadata=full` asks.
    pub is_full: bool,
}

impl Form {
    /// Returns the form without types of values.
    pub fn plain(version: Version) -> Self {
        Self { version, is_full: false }
    }
}

/// Writes the properties of an object of type `of` for which `wanted` returns true. `/beta`
/// also shows stored members that the type does not have; `/v1.0` hides them. The catalogue does
/// not know their types, so `full` does not write them.
///
/// # Errors
/// Those of `map`.
pub fn write<M: SerializeMap>(
    map: &mut M,
    of: &Type,
    values: &Map<String, Value>,
    wanted: impl Fn(&str) -> bool,
    form: Form,
) -> Result<(), M::Error> {
    for property in of.properties(form.version).filter(|property| wanted(&property.name)) {
        let value = values.get(&property.name).filter(|value| !(property.is_collection && value.is_null()));
        if form.is_full && value.map_or_else(|| property.has_default(), |value| !value.is_null()) {
            write_type(map, property)?;
        }
        match value {
            Some(value) => map.serialize_entry(&property.name, &Stored { property, value, form })?,
            None => map.serialize_entry(&property.name, &Unset(property, form.version))?,
        }
    }
    if form.version.is_beta() {
        let undeclared = values.iter().filter(|(name, _)| of.property(name, form.version).is_none() && wanted(name));
        write_undeclared(map, undeclared, form)?;
    }
    Ok(())
}

/// Writes the control information `type` of a property whose value is not null.
///
/// # Errors
/// Those of `map`.
pub fn write_type<M: SerializeMap>(map: &mut M, property: &Property) -> Result<(), M::Error> {
    match property.control_type() {
        Some(control_type) => map.serialize_entry(&format_args!("{}{TYPE}", property.name), &control_type),
        None => Ok(()),
    }
}

/// Writes members that the type does not have. Names of control information are left out of
/// `full`, which writes its own.
fn write_undeclared<'a, M: SerializeMap>(
    map: &mut M,
    values: impl Iterator<Item = (&'a String, &'a Value)>,
    form: Form,
) -> Result<(), M::Error> {
    let is_shown = |name: &str| name != TYPE && !(form.is_full && name.contains(['@', '#']));
    values.filter(|(name, _)| is_shown(name)).try_for_each(|(name, value)| map.serialize_entry(name, value))
}

impl Property {
    /// Returns the value of the control information `type`, or `None` where JSON shows the type.
    pub fn control_type(&self) -> Option<String> {
        let name = match &self.value_type {
            ValueType::Primitive(Primitive::Boolean | Primitive::Double | Primitive::String) if !self.is_collection => {
                return None;
            }
            // An object contains its own type.
            ValueType::Complex(_) if !self.is_collection => return None,
            ValueType::Primitive(primitive) => format!("{primitive:?}"),
            other => other.to_string(),
        };
        Some(if self.is_collection { format!("#Collection({name})") } else { format!("#{name}") })
    }

    /// Returns whether an unset property reads as a value and not as null.
    fn has_default(&self) -> bool {
        self.is_collection || !(self.is_nullable || matches!(self.value_type, ValueType::Complex(_)))
    }
}

impl Type {
    /// Returns the value of a property of `values`, an object of this type, as an answer shows
    /// it.
    pub fn shown<'a>(&self, name: &str, values: &'a Map<String, Value>, version: Version) -> Option<Cow<'a, Value>> {
        let shown = match (self.property(name, version), values.get(name)) {
            (Some(property), Some(value)) if !(property.is_collection && value.is_null()) => {
                serde_json::to_value(Stored { property, value, form: Form::plain(version) })
            }
            (Some(property), _) => serde_json::to_value(Unset(property, version)),
            (None, Some(value)) if version.is_beta() => return Some(Cow::Borrowed(value)),
            (None, _) => return None,
        };
        shown.ok().map(Cow::Owned)
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
        write(&mut map, self.of, self.values, |_| true, Form::plain(self.version))?;
        map.end()
    }
}

/// A value of a property, or an element of it.
struct Stored<'a> {
    property: &'a Property,
    value: &'a Value,
    form: Form,
}

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { property, form, .. } = *self;
        match (&property.value_type, self.value) {
            (ValueType::Complex(_), Value::Array(elements)) => {
                serializer.collect_seq(elements.iter().map(|value| Stored { property, value, form }))
            }
            (ValueType::Complex(declared), Value::Object(values)) => {
                let mut map = serializer.serialize_map(None)?;
                let odata_type = values.get(TYPE).and_then(Value::as_str);
                match odata_type {
                    Some(name) if form.is_full && !name.starts_with('#') => {
                        map.serialize_entry(TYPE, &format_args!("#{name}"))?;
                    }
                    Some(name) => map.serialize_entry(TYPE, name)?,
                    None if form.is_full => {
                        map.serialize_entry(TYPE, &format_args!("#{NAMESPACE}.{}", declared.get().name))?;
                    }
                    None => {}
                }
                match odata_type.map(Type::named) {
                    None => write(&mut map, declared.get(), values, |_| true, form)?,
                    Some(Some(of)) => {
                        // `/v1.0` would show no member of a type that it does not have.
                        let version = if of.is_in(form.version) { form.version } else { Version::Beta };
                        write(&mut map, of, values, |_| true, Form { version, ..form })?;
                    }
                    Some(None) => write_undeclared(&mut map, values.iter(), form)?,
                }
                map.end()
            }
            (_, value) => value.serialize(serializer),
        }
    }
}

/// The value of an unset property.
struct Unset<'a>(&'a Property, Version);

impl Serialize for Unset<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(property, version) = *self;
        match &property.value_type {
            _ if property.is_collection => serializer.collect_seq([(); 0]),
            _ if property.is_nullable => serializer.serialize_unit(),
            ValueType::Enumeration(enumeration) => serializer.serialize_str(enumeration.default_name(version)),
            ValueType::Complex(_) => serializer.serialize_unit(),
            ValueType::Primitive(primitive) => match primitive {
                Primitive::Boolean => serializer.serialize_bool(false),
                Primitive::Double | Primitive::Int32 | Primitive::Int64 | Primitive::Single => {
                    serializer.serialize_i32(0)
                }
                Primitive::Binary | Primitive::String => serializer.serialize_str(""),
                Primitive::Date => serializer.serialize_str("0001-01-01"),
                Primitive::DateTimeOffset => serializer.serialize_str("0001-01-01T00:00:00Z"),
                Primitive::TimeOfDay => serializer.serialize_str("00:00:00.0000000"),
            },
        }
    }
}
