//! Reads the JSON of request bodies. [`crate::json`] is the parser.

use std::fmt;

use indexmap::{IndexMap, map::Entry};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    catalogue::messages::kind,
    error::ApiError,
    json::{duplicate_member, read},
};

/// Reads one JSON object.
///
/// # Errors
/// `BadRequest` that says what is wrong and where.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    check_start(bytes)?;
    match read(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(Value::Array(_)) => Err(ApiError::bad_request(
            r#"The request body must be a JSON object, not an array. A create takes one object, and 'assign' takes {"assignments": […]}."#,
        )),
        Ok(other) => {
            Err(ApiError::bad_request(format!("The request body must be a JSON object, not {}.", kind(&other))))
        }
        Err(error) => Err(ApiError::bad_request(format!("Unable to read JSON request payload: {error}."))),
    }
}

/// Checks that a body begins with JSON.
///
/// # Errors
/// 400 for an empty body and for a byte order mark.
pub fn check_start(bytes: &[u8]) -> Result<(), ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request("The request body is empty. Send a JSON object."));
    }
    if [UTF_8_MARK, &[0xff, 0xfe], &[0xfe, 0xff]].iter().any(|mark| bytes.starts_with(mark)) {
        return Err(ApiError::bad_request(
            "The request body starts with a byte order mark. Send JSON in UTF-8 without this mark.",
        ));
    }
    Ok(())
}

/// The byte order mark of UTF-8. JSON that is sent over a network must not have it (RFC 8259).
const UTF_8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// An object whose members are parsed later, each from its original text. No two members have
/// one name.
pub struct RawObject<'a>(pub IndexMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = RawObject<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<RawObject<'de>, A::Error> {
        let mut unread = IndexMap::new();
        while let Some((name, value)) = members.next_entry::<String, &RawValue>()? {
            match unread.entry(name) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(existing) => return Err(duplicate_member(existing.key())),
            };
        }
        Ok(RawObject(unread))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> String {
        object(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn a_refusal_says_what_and_where() {
        for (text, expected) in [
            ("", "The request body is empty. Send a JSON object."),
            (" \r\n", "The request body is empty. Send a JSON object."),
            ("\u{feff}{}", "The request body starts with a byte order mark. Send JSON in UTF-8 without this mark."),
            ("{", "Unable to read JSON request payload: EOF while parsing an object"),
            (
                "[]",
                r#"The request body must be a JSON object, not an array. A create takes one object, and 'assign' takes {"assignments": […]}."#,
            ),
            ("null", "The request body must be a JSON object, not null."),
            (r#"{"a":1,"a":2}"#, "Unable to read JSON request payload: the member 'a' appears twice in one object"),
            (
                r#"{"a":{"b":["x\u0000"]}}"#,
                "Unable to read JSON request payload: the member 'b' contains the character NUL, which cannot be stored",
            ),
            (
                r#"{"\u0000":1}"#,
                "Unable to read JSON request payload: the JSON contains the character NUL, which cannot be stored",
            ),
            (r#"{"a":"\ud800"}"#, "Unable to read JSON request payload: unexpected end of hex escape"),
            (r#"{"a":1e999}"#, "Unable to read JSON request payload: number out of range"),
            (r#"{"a":1} x"#, "Unable to read JSON request payload: trailing characters"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(expected), "{refusal}");
            assert!(refusal.contains(" at line 1 column ") || expected.ends_with('.'), "{refusal}");
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        assert!(refusal(&deep).contains("arrays and objects nested more than 100 levels deep"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e18..1e18)
                .prop_filter("a whole one is not a float", |value: &f64| value.fract() != 0.0)
                .prop_map(Value::from),
            "[^\0]{0,8}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[^\0]{0,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_was_sent(members in prop::collection::btree_map("[^\0]{0,8}", value(), 0..4)) {
            let sent: Map<String, Value> = members.into_iter().collect();
            let bytes = serde_json::to_vec(&sent).expect("values are JSON");
            prop_assert_eq!(object(&bytes).expect("valid"), sent);
        }

        #[test]
        fn arbitrary_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = object(&bytes);
        }
    }
}
