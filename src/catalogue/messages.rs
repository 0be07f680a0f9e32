//! Refusals of values that do not fit their types, with Graph's messages.

use std::fmt;

use serde_json::{Number, Value};

use super::{date_literals, model::Type, spelling, version::Version};
use crate::error::{ApiError, shorten};

/// Returns the kind of a JSON value for a message.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a Boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Returns whether a number is a whole number beyond 64 bits, whose last digits are lost.
pub fn is_rounded(number: &Number) -> bool {
    number.is_f64() && number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Adds the path of a value to Graph's message, which names no path.
pub fn located(refusal: ApiError, path: impl fmt::Display) -> ApiError {
    ApiError::model(format!("{refusal} The error is at '{path}'."))
}

/// Returns the 400 with Graph's message for a value of another type.
pub fn mismatch(value: &Value, expected: &str, path: impl fmt::Display) -> ApiError {
    // An array or object is not quoted, because it may contain a secret.
    let literal = match value {
        Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        other => shorten(&other.to_string()),
    };
    let time = value.as_str().filter(|_| expected == "Edm.DateTimeOffset").and_then(date_literals::rewritten);
    let remedy = time.map_or_else(String::new, |time| format!(" Write '{time}'."));
    ApiError::model(format!(
        "Cannot convert the literal '{literal}' to the expected type '{expected}' for the member '{path}'.{remedy}"
    ))
}

/// Returns the 400 for a value that must be an object.
pub fn no_object(value: &Value, type_name: &str, path: impl fmt::Display) -> ApiError {
    ApiError::model(format!(
        "The value of '{path}' must be an object of type 'microsoft.graph.{type_name}', not {}.",
        kind(value),
    ))
}

/// Returns the 400 for a navigation property, with what to do instead of sending it.
pub fn navigation(path: impl fmt::Display, remedy: &str) -> ApiError {
    ApiError::model(format!("The member '{path}' is a navigation property and cannot be set here: {remedy}."))
}

/// Returns the 400 with Graph's message for a property that `type_name` does not have. `known` are names that
/// the object at `place` can have; `place` is empty for the body itself.
pub fn unknown<'a>(
    name: &str,
    type_name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    place: impl fmt::Display,
) -> ApiError {
    let place = place.to_string();
    let path = |name: &str| if place.is_empty() { shorten(name) } else { format!("{place}.{}", shorten(name)) };
    let words = format!(
        "The property '{}' does not exist on type 'microsoft.graph.{type_name}'. Make sure to only use property names that are defined by the type.",
        shorten(name),
    );
    let is_in_beta = Type::find(type_name).is_some_and(|of| of.property(name, Version::Beta).is_some());
    if let Some(right) = spelling::near_miss(name, known.clone()).filter(|_| !is_in_beta) {
        return ApiError::model(format!("{words} '{}' is misspelt. Write '{}'.", path(name), path(right)));
    }
    let remedy = if is_in_beta { " Only /beta has it.".to_owned() } else { spelling::suggestion(name, known) };
    let refusal = ApiError::model(words + &remedy);
    if place.is_empty() { refusal } else { located(refusal, place) }
}
