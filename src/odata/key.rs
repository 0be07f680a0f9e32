//! Ids: keys in a path, ids that a client chooses for new rows, and ids of objects that this
//! service does not store.

use std::{borrow::Cow, fmt};

use uuid::Uuid;

use super::members::ObjectReader;
use crate::error::{ApiError, shorten};

/// Parses a GUID in its only accepted form, 8-4-4-4-12. Hexadecimal digits are
/// case-insensitive.
///
/// Other text in a path is still a well-formed key, because `id` is an Edm.String in Graph. It
/// belongs to no row, so the answer is 404.
pub fn guid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// Takes the `id` that a client gives a new row. Returns `None` where the service makes one:
/// for a missing member, null, an empty text and the zero GUID, which all mean "no id".
///
/// Exports from Graph carry ids of the form `guid_guid`. They belong to rows of another tenant,
/// so the service replaces them.
///
/// # Errors
/// 400 for any other `id`.
pub fn client_id(members: &mut ObjectReader) -> Result<Option<Uuid>, ApiError> {
    let Some(text) = members.nullable_string("id")?.flatten().filter(|text| !is_none(text)) else { return Ok(None) };
    if let Some(id) = guid(&text) {
        return Ok(Some(id));
    }
    match text.split_once('_') {
        Some((left, right)) if guid(left).is_some() && guid(right).is_some() => Ok(None),
        _ => Err(ApiError::model(format!(
            "The value '{}' of '{}' is not a GUID. Send a GUID, or leave the id out: the service then creates one.",
            shorten(&text),
            members.path("id"),
        ))),
    }
}

/// Takes an `id` that is not applied, because the path or the target says which row is meant.
///
/// # Errors
/// 400 for a value that is neither a string nor null.
pub fn ignore_id(members: &mut ObjectReader) -> Result<(), ApiError> {
    members.nullable_string("id").map(drop)
}

/// Returns whether an identifier means that there is none: an empty text and the zero GUID.
pub fn is_none(text: &str) -> bool {
    text.is_empty() || guid(text).is_some_and(|id| id.is_nil())
}

/// Returns the argument of a function call in a path, `name='text'`, with a single parameter.
///
/// <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_InlineParameterSyntax>
///
/// # Errors
/// 400 for other parameters, and for an argument that is not a string.
pub fn function_argument(arguments: &str, name: &str) -> Result<String, ApiError> {
    let argument = arguments.trim().strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('='));
    let text = argument.and_then(|text| text.trim().strip_prefix('\'')?.strip_suffix('\''));
    // A quote in the text is doubled.
    if let Some(alias) = argument.map(str::trim).filter(|text| text.starts_with('@')) {
        let alias = shorten(alias);
        return Err(ApiError::bad_request(format!(
            "The parameter alias '{alias}' has no value. Add ?{alias}='…' to the URL."
        )));
    }
    match text.filter(|text| !text.replace("''", "").contains(['\'', '\0'])) {
        Some(text) => Ok(text.replace("''", "'")),
        None => Err(ApiError::bad_request(format!(
            "The parameters '{}' cannot be read. Write ({name}='…').",
            shorten(arguments)
        ))),
    }
}

/// Returns the parameters of a function call in a path with the value of a parameter alias in
/// the place of its name: `name=@alias` is `name='text'` when the query has `@alias='text'`.
///
/// <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_ParameterAliases>
pub fn resolve_alias<'a>(arguments: &'a str, value: impl Fn(&str) -> Option<&'a str>) -> Cow<'a, str> {
    let alias = arguments.split_once('=').filter(|(_, alias)| alias.trim().starts_with('@'));
    match alias.and_then(|(name, alias)| Some((name, value(alias.trim())?))) {
        Some((name, text)) => Cow::Owned(format!("{name}={text}")),
        None => Cow::Borrowed(arguments),
    }
}

/// Returns an identifier as it is stored: a GUID in lower case, any other text unchanged.
pub fn as_stored(text: String) -> String {
    guid(&text).map_or(text, |guid| guid.to_string())
}

/// The id of an object that this service does not store: a group, a collection, a filter.
///
/// An id has 1 to 256 characters. A GUID is converted to lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExternalId(String);

impl ExternalId {
    /// Parses the value of the member at `path`.
    ///
    /// # Errors
    /// 400 when the text is empty or too long.
    pub fn parse(text: String, path: &str) -> Result<Self, ApiError> {
        match text.chars().count() {
            1..=256 => Ok(Self(as_stored(text))),
            length => Err(ApiError::model(format!("The value of '{path}' has {length} characters. Send 1 to 256."))),
        }
    }

    /// Returns the text as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_one_form_in_any_letter_case() {
        assert!(guid("7E159A72-9a72-7e15-729a-157e729a157e").is_some());
        for text in [
            "",
            "7e159a729a727e15729a157e729a157e",
            "{7e159a72-9a72-7e15-729a-157e729a157e}",
            "urn:uuid:7e159a72-9a72-7e15-729a-157e729a157e",
            "7e159a72-9a72-7e15-729a-157e729a157g",
        ] {
            assert_eq!(guid(text), None, "{text}");
        }
    }

    #[test]
    fn an_identifier_is_counted_in_characters_and_a_guid_is_lowered() {
        let parse = |text: &str| {
            ExternalId::parse(text.to_owned(), "target.groupId").map(|id| id.0).map_err(|error| error.to_string())
        };
        assert_eq!(parse("groupId Value").as_deref(), Ok("groupId Value"));
        assert_eq!(
            parse("7E159A72-9A72-7E15-729A-157E729A157E").as_deref(),
            Ok("7e159a72-9a72-7e15-729a-157e729a157e")
        );
        assert!(parse(&"ü".repeat(256)).is_ok());
        assert_eq!(
            parse(&"ü".repeat(257)),
            Err("The value of 'target.groupId' has 257 characters. Send 1 to 256.".to_owned())
        );
        assert_eq!(parse(""), Err("The value of 'target.groupId' has 0 characters. Send 1 to 256.".to_owned()));
    }
}
