//! Reads the members of a batch and its steps.

use actix_web::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    error::{ApiError, shorten},
    odata::json::RawObject,
};

/// Returns the 400 for a member of the batch.
pub fn wrong(place: &str, what: &str) -> ApiError {
    ApiError::bad_request(format!("The member '{place}' of the batch {what}."))
}

/// Parses a value, which is valid JSON, as a `T`.
///
/// # Errors
/// When the value is not a valid `T`.
pub fn read<'a, T: Deserialize<'a>>(place: &str, json: &'a RawValue) -> Result<T, ApiError> {
    serde_json::from_str(json.get()).map_err(|error| {
        // Remove the position, which is relative to the member and not to the body.
        let (position, said) = (format!(" at line {} column {}", error.line(), error.column()), error.to_string());
        wrong(place, &format!("cannot be read: {}", said.strip_suffix(&position).unwrap_or(&said)))
    })
}

/// The members of an object in the batch. A null member counts as absent.
pub struct BatchObject<'a> {
    place: String,
    values: RawObject<'a>,
}

impl<'a> BatchObject<'a> {
    /// Reads the members of an object.
    ///
    /// # Errors
    /// When the value is not an object, or has two members with one name.
    pub fn read(place: String, json: &'a RawValue, expected: &str) -> Result<Self, ApiError> {
        match json.get().starts_with('{') {
            true => Ok(Self { values: read(&place, json)?, place }),
            false => Err(wrong(&place, expected)),
        }
    }

    /// Returns the place of a member in the batch.
    pub fn place(&self, name: &str) -> String {
        format!("{}.{}", self.place, shorten(name))
    }

    /// Returns the 400 for a member.
    pub fn wrong(&self, name: &str, what: &str) -> ApiError {
        wrong(&self.place(name), what)
    }

    /// Refuses a dry run: the step would be executed.
    ///
    /// # Errors
    /// 400 when the object has the member `validateOnly`.
    pub fn reject_dry_run(&self) -> Result<(), ApiError> {
        if self.values.0.contains_key("validateOnly") { Err(dry_run(&self.place("validateOnly"))) } else { Ok(()) }
    }

    /// Returns the raw JSON of a member.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.values.0.get(name).copied().filter(|value| value.get() != "null")
    }

    /// Returns a member, if it is present.
    ///
    /// # Errors
    /// When the member cannot be parsed.
    pub fn value(&self, name: &str) -> Result<Option<Value>, ApiError> {
        self.raw(name).map(|value| read(&self.place(name), value)).transpose()
    }

    /// Returns a member that every request must have.
    ///
    /// # Errors
    /// When the member is absent.
    pub fn required(&self, name: &str) -> Result<Value, ApiError> {
        self.value(name)?.ok_or_else(|| self.wrong(name, "is missing. Every request needs one"))
    }

    /// Returns all members as raw JSON.
    pub fn all(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.values.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// Returns whether a header describes the connection or the way through proxies. A step must
/// not set such a header.
pub fn is_connection_header(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 7] = [CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, TRANSFER_ENCODING, UPGRADE];
    NAMES.contains(name) || name.as_str().starts_with("x-forwarded-")
}

/// Returns the 400 for a dry run outside of `assign`.
pub fn dry_run(place: &str) -> ApiError {
    wrong(place, "exists only in the body of a request to 'assign'. Leave it out")
}
