//! Values held to their types: what a client sent, made what is stored.
//!
//! Stored is what was sent, with three things made one: base64 is the standard
//! alphabet with padding, times are in UTC, and a nested `@odata.type` is there,
//! with its `#`, exactly where it says more than the property does.
//!
//! On `/beta` the catalogue is open: a property or a type of Graph's that it
//! lacks is taken at its word.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use serde_json::{Map, Value};
use time::{
    Date, OffsetDateTime, Time, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

use super::{Enumeration, NAMESPACE, Primitive, Property, Type, ValueType, resolve, undeclared};
use crate::{
    error::{ApiError, excerpt},
    odata::{json, links::Version, members},
};

/// Where a value stands in a body.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    /// The body itself.
    Body,
    /// A member of what stands at a path.
    Member(&'a Path<'a>, &'a str),
    /// An element of it.
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Member(Self::Body, name) => formatter.write_str(&excerpt(name)),
            Self::Member(parent, name) => write!(formatter, "{parent}.{}", excerpt(name)),
            Self::Element(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// Adds to Graph's words, which name no place, where a value stands.
    fn locate(&self, refusal: ApiError) -> ApiError {
        match self {
            Self::Body => refusal,
            _ => ApiError::model(format!("{refusal} It stands in '{self}'.")),
        }
    }
}

/// Holds the members of an object at `path` to `of`.
///
/// # Errors
/// 400 that names the member by its path.
pub fn check(values: &mut Map<String, Value>, of: &Type, path: Path<'_>, version: Version) -> Result<(), ApiError> {
    values.retain(|name, _| !members::is_annotation(name));
    for (name, value) in values.iter_mut() {
        match of.property(name, version) {
            Some(property) => property.check(value, Path::Member(&path, name), version)?,
            None if version == Version::Beta && members::is_name(name) => {}
            None => return Err(path.locate(members::unknown(name, &of.name))),
        }
    }
    Ok(())
}

impl Property {
    fn check(&self, value: &mut Value, path: Path<'_>, version: Version) -> Result<(), ApiError> {
        match value {
            Value::Null if self.is_nullable => Ok(()),
            Value::Array(elements) if self.is_collection => {
                let most = self.limits.max_items.unwrap_or(i64::MAX);
                if elements.len() as i64 > most {
                    return Err(ApiError::model(format!(
                        "The collection '{path}' holds {} items, and {most} are the most. Send fewer.",
                        elements.len()
                    )));
                }
                let mut numbered = elements.iter_mut().enumerate();
                numbered.try_for_each(|(index, element)| self.check_one(element, Path::Element(&path, index), version))
            }
            other if self.is_collection => Err(mismatch(other, &format!("Collection({})", self.value_type), path)),
            one => self.check_one(one, path, version),
        }
    }

    fn check_one(&self, value: &mut Value, path: Path<'_>, version: Version) -> Result<(), ApiError> {
        let is_right = match &self.value_type {
            ValueType::Primitive(primitive) => primitive.read(value),
            ValueType::Enumeration(enumeration) => return enumeration.read(value, path),
            ValueType::Complex(declared) => return complex(value, declared.get(), path, version),
        };
        if !is_right {
            return Err(mismatch(value, &self.value_type.to_string(), path));
        }
        let (minimum, maximum) = (self.limits.minimum, self.limits.maximum);
        match value.as_i64() {
            Some(number)
                if minimum.is_some_and(|least| number < least) || maximum.is_some_and(|most| number > most) =>
            {
                let bound = |limit: Option<i64>| limit.map_or_else(|| "…".to_owned(), |limit| limit.to_string());
                Err(ApiError::model(format!(
                    "The value {number} of '{path}' is not in its range, {} to {}.",
                    bound(minimum),
                    bound(maximum)
                )))
            }
            _ => Ok(()),
        }
    }
}

fn mismatch(value: &Value, expected: &str, path: Path<'_>) -> ApiError {
    // What is inside of it may not be for a message.
    let literal = match value {
        Value::Array(_) | Value::Object(_) => json::kind(value).to_owned(),
        other => excerpt(&other.to_string()),
    };
    ApiError::model(format!(
        "Cannot convert the literal '{literal}' to the expected type '{expected}' for the member '{path}'."
    ))
}

fn complex(value: &mut Value, declared: &'static Type, path: Path<'_>, version: Version) -> Result<(), ApiError> {
    let Value::Object(values) = value else {
        return Err(ApiError::model(format!(
            "The value of '{path}' must be an object of type '{NAMESPACE}.{}', not {}.",
            declared.name,
            json::kind(value),
        )));
    };
    let of = match values.remove(TYPE) {
        None => declared,
        Some(Value::String(text)) => match (resolve(&text, &declared.name), undeclared(&text)) {
            (Ok(of), _) => of,
            (Err(_), Some(name)) if version == Version::Beta => {
                values.retain(|name, _| !members::is_annotation(name));
                values.insert(TYPE.to_owned(), format!("#{NAMESPACE}.{name}").into());
                return Ok(());
            }
            (Err(refusal), _) => return Err(path.locate(refusal)),
        },
        Some(other) => return Err(mismatch(&other, "Edm.String", Path::Member(&path, TYPE))),
    };
    if of.is_abstract {
        return Err(path.locate(abstract_class(&of.name)));
    }
    check(values, of, path, version)?;
    if of.name != declared.name {
        values.insert(TYPE.to_owned(), format!("#{NAMESPACE}.{}", of.name).into());
    }
    Ok(())
}

/// The member that says what an object is.
pub const TYPE: &str = "@odata.type";

/// 400 for an object that does not say which of several types it is.
pub fn abstract_class(name: &str) -> ApiError {
    ApiError::model(format!(
        "Cannot create an abstract class. Set '{TYPE}' to a concrete type that is derived from '{NAMESPACE}.{name}'."
    ))
}

impl Enumeration {
    fn read(&self, value: &mut Value, path: Path<'_>) -> Result<(), ApiError> {
        let Value::String(text) = value else {
            return Err(mismatch(value, &format!("{NAMESPACE}.{}", self.name), path));
        };
        let is_member = |name: &str| self.members.iter().any(|member| member == name);
        if is_member(text) {
            return Ok(());
        }
        let flags: Vec<_> = text.split(',').map(str::trim).collect();
        if self.is_flags && flags.iter().all(|name| is_member(name)) {
            *text = flags.join(",");
            return Ok(());
        }
        let (text, members) = (excerpt(text), self.members.join(", "));
        let several = if self.is_flags { ", or several of them with commas between" } else { "" };
        Err(ApiError::model(format!("The value '{text}' of '{path}' is not one of {members}{several}.")))
    }
}

/// Either alphabet is made the standard one first.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
const TIME: &[BorrowedFormatItem<'static>] =
    format_description!("[hour]:[minute][optional [:[second][optional [.[subsecond]]]]]");

impl Primitive {
    /// Whether the value is one of this type; a right one is made what is stored.
    pub fn read(self, value: &mut Value) -> bool {
        match (self, &*value) {
            (Self::Boolean, Value::Bool(_)) | (Self::String, Value::String(_)) => true,
            (Self::Int32, Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            (Self::Single, Value::Number(number)) => number.as_f64().is_some_and(|number| (number as f32).is_finite()),
            (Self::Single, Value::String(text)) => ["INF", "-INF", "NaN"].contains(&text.as_str()),
            (_, Value::String(text)) => match self.canonical(text) {
                Some(canonical) => {
                    *value = Value::String(canonical);
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    fn canonical(self, text: &str) -> Option<String> {
        match self {
            Self::Binary => {
                let standard = text.replace('-', "+").replace('_', "/");
                LENIENT.decode(standard).ok().map(|bytes| STANDARD.encode(bytes))
            }
            Self::Date => Date::parse(text, DATE).ok().map(|_| text.to_owned()),
            Self::DateTimeOffset => {
                let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
                time.replace_nanosecond(time.nanosecond() / 100 * 100).ok()?.format(&Rfc3339).ok()
            }
            Self::TimeOfDay => {
                let time = Time::parse(text, TIME).ok()?;
                let (hour, minute, second, ticks) =
                    (time.hour(), time.minute(), time.second(), time.nanosecond() / 100);
                Some(format!("{hour:02}:{minute:02}:{second:02}.{ticks:07}"))
            }
            Self::Boolean | Self::Int32 | Self::Single | Self::String => None,
        }
    }
}
