//! The members of a batch and its steps, and what is said of a wrong one.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    error::{ApiError, shorten},
    odata::json::RawObject,
};

/// A refusal of the batch that says where in it.
pub fn wrong(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(format!("The member '{place}' of the batch {what}."))
}

/// A value of JSON that is right as such.
///
/// # Errors
/// When it is not right as a `T`.
pub fn read<'a, T: Deserialize<'a>>(place: &str, json: &'a RawValue) -> Result<T, ApiError> {
    serde_json::from_str(json.get()).map_err(|error| {
        // A position in the member would be taken for one in the body.
        let (position, said) = (format!(" at line {} column {}", error.line(), error.column()), error.to_string());
        wrong(place, &format!("cannot be read: {}", said.strip_suffix(&position).unwrap_or(&said)))
    })
}

/// The members of an object in the batch. One that is null is none.
pub struct BatchObject<'a> {
    place: String,
    values: RawObject<'a>,
}

impl<'a> BatchObject<'a> {
    /// Those of an object.
    ///
    /// # Errors
    /// When it is no object, or one with two members of one name.
    pub fn read(place: String, json: &'a RawValue, expected: &str) -> Result<Self, ApiError> {
        match json.get().starts_with('{') {
            true => Ok(Self { values: read(&place, json)?, place }),
            false => Err(wrong(&place, expected)),
        }
    }

    /// Where in the batch a member stands.
    pub fn place(&self, name: &str) -> String {
        format!("{}.{}", self.place, shorten(name))
    }

    /// A refusal of a member.
    pub fn wrong(&self, name: &str, what: &str) -> ApiError {
        wrong(&self.place(name), what)
    }

    /// Returns the raw JSON of a member.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.values.0.get(name).copied().filter(|value| value.get() != "null")
    }

    /// A member, if it is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn value(&self, name: &str) -> Result<Option<Value>, ApiError> {
        self.raw(name).map(|value| read(&self.place(name), value)).transpose()
    }

    /// A member that every request has.
    ///
    /// # Errors
    /// When the member is absent.
    pub fn required(&self, name: &str) -> Result<Value, ApiError> {
        self.value(name)?.ok_or_else(|| self.wrong(name, "is missing, and every request has one"))
    }

    /// All of them, unread.
    pub fn all(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.values.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}
