//! Checks values that a client sends against their types, and normalizes them.
//!
//! The service stores values as they were sent, except for three normalizations. Base64 gets
//! the standard alphabet with padding. Times are converted to UTC. A nested `@odata.type` is
//! stored, with its `#`, only when it differs from the declared type of the property.
//!
//! On `/beta`, the service accepts properties and types of Graph that the catalogue lacks,
//! without checking them.

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

use super::{
    member_names, messages,
    model::{Enumeration, Limits, NAMESPACE, Primitive, Property, Type, ValueType},
    sent_types::{self, SentType},
    spelling,
    version::Version,
};
use crate::error::{ApiError, shorten};

/// The path of a value in a body.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    /// The body itself.
    Body,
    /// A member of the object at a path.
    Member(&'a Path<'a>, &'a str),
    /// An element of the array at a path.
    Element(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Member(Self::Body, name) => formatter.write_str(&shorten(name)),
            Self::Member(parent, name) => write!(formatter, "{parent}.{}", shorten(name)),
            Self::Element(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    fn locate(&self, refusal: ApiError) -> ApiError {
        match self {
            Self::Body => refusal,
            _ => messages::located(refusal, self),
        }
    }
}

/// Checks the members of the object at `path` against the type `of`, and normalizes them.
/// Control information is removed.
///
/// # Errors
/// 400 that names the member by its path.
pub fn check(values: &mut Map<String, Value>, of: &Type, path: Path<'_>, version: Version) -> Result<(), ApiError> {
    member_names::remove_control_information(values, |name| Path::Member(&path, name).to_string())?;
    check_properties(values, of, path, version)
}

/// Checks members whose names are known to be names of properties.
///
/// # Errors
/// Those of [`check`].
pub fn check_properties(
    values: &mut Map<String, Value>,
    of: &Type,
    path: Path<'_>,
    version: Version,
) -> Result<(), ApiError> {
    // Graph writes an empty collection where a client expands a navigation property.
    let is_empty = |name: &str, value: &Value| {
        value.as_array().is_some_and(Vec::is_empty)
            && of.navigation(name).is_some_and(|found| found.is_collection && found.is_in(version))
    };
    values.retain(|name, value| !is_empty(name, value));
    for (name, value) in values.iter_mut() {
        match of.property(name, version) {
            Some(property) => property.check(value, Path::Member(&path, name), version)?,
            None if of.navigation(name).is_some() => {
                return Err(messages::navigation(Path::Member(&path, name), "leave it out"));
            }
            None if version.is_beta() && spelling::near_miss(name, names(of, version)).is_none() => {
                undeclared_value(value, Path::Member(&path, name))?;
            }
            None => return Err(unknown(name, of, path, version)),
        }
    }
    Ok(())
}

/// Returns the names that a member of `of` can be a misspelling of.
fn names(of: &Type, version: Version) -> impl Iterator<Item = &str> + Clone {
    let properties = of.properties(version).map(|property| property.name.as_str());
    properties.chain(of.navigation.iter().map(|navigation| navigation.name.as_str()))
}

/// Returns the 400 for a member that `of` does not have. `path` is that of its object.
pub fn unknown(name: &str, of: &Type, path: Path<'_>, version: Version) -> ApiError {
    messages::unknown(name, &of.name, names(of, version), path)
}

impl Property {
    /// Checks the value at `path` against the property, and normalizes it.
    ///
    /// # Errors
    /// 400 that names the member by its path.
    pub fn check(&self, value: &mut Value, path: Path<'_>, version: Version) -> Result<(), ApiError> {
        match value {
            Value::Null if self.allows_null() => Ok(()),
            Value::Array(elements) if self.is_collection => {
                let max_items = self.limits.max_items.unwrap_or(i64::MAX);
                if elements.len() as i64 > max_items {
                    return Err(ApiError::model(format!(
                        "The collection '{path}' holds {} items. At most {max_items} are allowed. Send fewer.",
                        elements.len()
                    )));
                }
                let mut numbered = elements.iter_mut().enumerate();
                numbered.try_for_each(|(index, element)| self.check_one(element, Path::Element(&path, index), version))
            }
            other if self.is_collection => {
                Err(messages::mismatch(other, &format!("Collection({})", self.value_type), path))
            }
            one => self.check_one(one, path, version),
        }
    }

    fn check_one(&self, value: &mut Value, path: Path<'_>, version: Version) -> Result<(), ApiError> {
        let is_right = match &self.value_type {
            ValueType::Primitive(primitive) => primitive.read(value),
            ValueType::Enumeration(enumeration) => return enumeration.read(value, path, version),
            ValueType::Complex(declared) => return complex(value, declared.get(), path, version),
        };
        if !is_right {
            return Err(messages::mismatch(value, &self.value_type.to_string(), path));
        }
        match value.as_i64() {
            Some(number) if !self.allows(number) => {
                let bound = |limit: Option<i64>| limit.map_or_else(|| "…".to_owned(), |limit| limit.to_string());
                Err(ApiError::model(format!(
                    "The value {number} of '{path}' is out of range. Send a number from {} to {}.",
                    bound(self.limits.minimum),
                    bound(self.limits.maximum)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the property can be null. An unset object reads as null, and a client may
    /// send back what it has read. So null is allowed for every object, nullable or not.
    pub fn allows_null(&self) -> bool {
        self.is_nullable || matches!(self.value_type, ValueType::Complex(_)) && !self.is_collection
    }

    /// Returns whether the property can have this number. An unset property that is not nullable
    /// reads as 0, and a client may send back what it has read. So 0 is allowed there, also outside
    /// the range.
    pub fn allows(&self, number: i64) -> bool {
        let Limits { minimum, maximum, .. } = self.limits;
        let is_unset = number == 0 && !self.is_nullable && !self.is_collection;
        is_unset || minimum.is_none_or(|least| number >= least) && maximum.is_none_or(|most| number <= most)
    }
}

/// Checks that a value of a type that the catalogue lacks can be stored without loss. Removes
/// control information from its objects, except the name of a type.
fn undeclared_value(value: &mut Value, path: Path<'_>) -> Result<(), ApiError> {
    match value {
        Value::Number(number) if messages::is_rounded(number) => Err(ApiError::model(format!(
            "The number of '{path}' has more than 64 bits and would be rounded. Send it as a string."
        ))),
        Value::Array(elements) => elements
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, element)| undeclared_value(element, Path::Element(&path, index))),
        Value::Object(values) => {
            let odata_type = values.remove(TYPE);
            undeclared_members(values, path)?;
            match odata_type {
                Some(Value::String(text)) => {
                    sent_types::check_undeclared(&text).map_err(|refusal| path.locate(refusal))?;
                    values.insert(TYPE.to_owned(), text.into());
                }
                Some(other) => return Err(messages::mismatch(&other, "Edm.String", Path::Member(&path, TYPE))),
                None => {}
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn undeclared_members(values: &mut Map<String, Value>, path: Path<'_>) -> Result<(), ApiError> {
    member_names::remove_control_information(values, |name| Path::Member(&path, name).to_string())?;
    values.iter_mut().try_for_each(|(name, value)| undeclared_value(value, Path::Member(&path, name)))
}

fn complex(value: &mut Value, declared: &'static Type, path: Path<'_>, version: Version) -> Result<(), ApiError> {
    let Value::Object(values) = value else {
        return Err(messages::no_object(value, &declared.name, path));
    };
    let of = match values.remove(TYPE) {
        None => declared,
        Some(Value::String(text)) => match sent_types::read(&text, &declared.name, version) {
            Ok(SentType::Known(of)) => of,
            Ok(SentType::Undeclared(name)) => {
                undeclared_members(values, path)?;
                values.insert(TYPE.to_owned(), format!("#{NAMESPACE}.{name}").into());
                return Ok(());
            }
            Err(refusal) => return Err(path.locate(refusal)),
        },
        Some(other) => return Err(messages::mismatch(&other, "Edm.String", Path::Member(&path, TYPE))),
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

/// The member that names the type of an object.
pub const TYPE: &str = "@odata.type";

/// Returns the 400 for an object that does not name a concrete type.
pub fn abstract_class(name: &str) -> ApiError {
    ApiError::model(format!(
        "Cannot create an abstract class. Set '{TYPE}' to a concrete type that is derived from '{NAMESPACE}.{name}'."
    ))
}

impl Enumeration {
    fn read(&self, value: &mut Value, path: Path<'_>, version: Version) -> Result<(), ApiError> {
        let Value::String(text) = value else {
            return Err(messages::mismatch(value, &format!("{NAMESPACE}.{}", self.name), path));
        };
        let is_member = |name: &str| self.member(name, version).is_some();
        if is_member(text) {
            return Ok(());
        }
        let flags: Vec<_> = text.split(',').map(str::trim).collect();
        if self.is_flags && flags.iter().all(|name| is_member(name)) {
            let mut once = Vec::new();
            flags.into_iter().for_each(|flag| {
                if !once.contains(&flag) {
                    once.push(flag)
                }
            });
            *text = once.join(",");
            return Ok(());
        }
        let several = if self.is_flags { ", or several of them separated by commas" } else { "" };
        let is_in_beta = flags.iter().all(|name| self.member(name, Version::Beta).is_some());
        let in_beta = if is_in_beta { " Only /beta has it." } else { "" };
        Err(ApiError::model(format!(
            "The value '{}' of '{path}' is not one of {}{several}.{in_beta}",
            shorten(text),
            self.names(version)
        )))
    }
}

/// Decodes the standard alphabet, to which the URL-safe alphabet is converted first. Padding is
/// optional, and unused bits of the last character may be set. Most encoders and Graph do the
/// same.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
const TIME: &[BorrowedFormatItem<'static>] =
    format_description!("[hour]:[minute][optional [:[second][optional [.[subsecond]]]]]");
const OFFSET: &[BorrowedFormatItem<'static>] = format_description!("[offset_hour sign:mandatory]:[offset_minute]");

/// Parses a `dateValue` of OData's grammar, in the years that both PostgreSQL and clients
/// support.
fn date(text: &str) -> Option<Date> {
    let date = Date::parse(text, DATE).ok().filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))?;
    (date.year() > 0).then_some(date)
}

/// Parses a `timeOfDayValue`, with Graph's precision of 100 nanoseconds.
fn time(text: &str) -> Option<Time> {
    let time = Time::parse(text, TIME).ok()?;
    time.replace_nanosecond(time.nanosecond() / 100 * 100).ok()
}

/// Parses a `dateTimeOffsetValue` and converts it to UTC.
pub fn date_time(text: &str) -> Option<OffsetDateTime> {
    let text = text.to_ascii_uppercase();
    let (day, rest) = text.split_once('T')?;
    let (clock, offset) = match rest.strip_suffix('Z') {
        Some(clock) => (clock, UtcOffset::UTC),
        None => {
            let (clock, offset) = rest.split_at_checked(rest.len().checked_sub("+00:00".len())?)?;
            (clock, UtcOffset::parse(offset, OFFSET).ok()?)
        }
    };
    let time = date(day)?.with_time(time(clock)?).assume_offset(offset);
    time.checked_to_offset(UtcOffset::UTC).filter(|time| time.year() > 0)
}

impl Primitive {
    /// Returns whether the value has this type. Normalizes a valid value.
    pub fn read(self, value: &mut Value) -> bool {
        match (self, &*value) {
            (Self::Boolean, Value::Bool(_)) | (Self::String, Value::String(_)) => true,
            (Self::Int32, Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            (Self::Int64, Value::Number(number)) => number.as_i64().is_some(),
            (Self::Single, Value::Number(number)) => {
                number.as_f64().is_some_and(|number| number.abs() <= f64::from(f32::MAX))
            }
            (Self::Double, Value::Number(_)) => true,
            (Self::Single | Self::Double, Value::String(text)) => ["INF", "-INF", "NaN"].contains(&text.as_str()),
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
                let standard: String = text.split_ascii_whitespace().collect();
                let standard = standard.replace('-', "+").replace('_', "/");
                LENIENT.decode(standard).ok().map(|bytes| STANDARD.encode(bytes))
            }
            Self::Date => date(text).map(|_| text.to_owned()),
            Self::DateTimeOffset => date_time(text)?.format(&Rfc3339).ok(),
            Self::TimeOfDay => {
                let time = time(text)?;
                let (hour, minute, second, ticks) =
                    (time.hour(), time.minute(), time.second(), time.nanosecond() / 100);
                Some(format!("{hour:02}:{minute:02}:{second:02}.{ticks:07}"))
            }
            Self::Boolean | Self::Double | Self::Int32 | Self::Int64 | Self::Single | Self::String => None,
        }
    }
}
