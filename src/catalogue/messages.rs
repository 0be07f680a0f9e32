//! What a refusal says of a value that does not fit its type, in Graph's words.

use std::fmt;

use serde_json::{Number, Value};

use crate::error::{ApiError, shorten};

/// What a value is, as a message says it.
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

/// Whether a number is a whole one of more than 64 bits, whose last digits are
/// lost.
pub fn is_rounded(number: &Number) -> bool {
    number.is_f64() && number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Adds to Graph's words, which name no place, where something stands.
pub fn located(refusal: ApiError, path: impl fmt::Display) -> ApiError {
    ApiError::model(format!("{refusal} It stands in '{path}'."))
}

/// 400, in Graph's words, for a value of another type.
pub fn mismatch(value: &Value, expected: &str, path: impl fmt::Display) -> ApiError {
    // What is inside of it may not be for a message.
    let literal = match value {
        Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        other => shorten(&other.to_string()),
    };
    ApiError::model(format!(
        "Cannot convert the literal '{literal}' to the expected type '{expected}' for the member '{path}'."
    ))
}

/// 400 for what is not an object where one is due.
pub fn no_object(value: &Value, type_name: &str, path: impl fmt::Display) -> ApiError {
    ApiError::model(format!(
        "The value of '{path}' must be an object of type 'microsoft.graph.{type_name}', not {}.",
        kind(value),
    ))
}

/// 400, in Graph's words, for a property that `type_name` does not have.
pub fn unknown(name: &str, type_name: &str) -> ApiError {
    ApiError::model(format!(
        "The property '{}' does not exist on type 'microsoft.graph.{type_name}'. Make sure to only use property names that are defined by the type.",
        shorten(name),
    ))
}

/// Whether a property can have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['@', '#', '.'])
}

/// Control information (`@odata.context`, `target@odata.type`) and Graph's own
/// annotations (`@microsoft.graph.tips`): what an answer carries beside its
/// properties, and what may come back with it.
pub fn is_annotation(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, term)| term.starts_with("odata.") || term.starts_with("microsoft.graph."))
}
