//! A strict JSON parser.
//!
//! `serde_json` accepts input that this service must refuse. When an object has two members
//! with one name, it silently keeps the last. It accepts the NUL character, which PostgreSQL
//! cannot store in text. This parser refuses both while line and column are still known. It
//! also refuses nesting beyond 100 levels, and everything that `serde_json` itself refuses,
//! such as lone surrogates and text after the end.
//!
//! Fractions and whole numbers beyond 64 bits become floating-point numbers, with their
//! precision. [`is_rounded`](crate::catalogue::messages::is_rounded) tells whether a number
//! lost digits.

use std::fmt;

use indexmap::{IndexMap, map::Entry};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};

use crate::{
    catalogue::messages::kind,
    error::{ApiError, shorten},
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

/// Reads one JSON value.
///
/// # Errors
/// What is wrong and where.
pub fn read(bytes: &[u8]) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = StrictValue { member: None, depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

/// Builds a [`Value`]. Refuses input that a [`Value`] cannot hold without loss. Knows the
/// current member for its messages.
struct StrictValue<'a> {
    member: Option<&'a str>,
    depth: usize,
}

/// The maximum nesting depth. An answer adds some levels around the value, and many parsers
/// refuse 128 levels.
const MAX_DEPTH: usize = 100;

impl StrictValue<'_> {
    fn refuse<T, E: Error>(&self, what: &str) -> Result<T, E> {
        Err(match self.member {
            Some(member) => E::custom(format_args!("the member '{}' holds {what}", shorten(member))),
            None => E::custom(format_args!("there is {what}")),
        })
    }

    fn enter<E: Error>(&self) -> Result<usize, E> {
        match self.depth < MAX_DEPTH {
            true => Ok(self.depth + 1),
            false => self.refuse(&format!("arrays and objects nested more than {MAX_DEPTH} levels deep")),
        }
    }

    fn text<E: Error>(&self, text: String) -> Result<String, E> {
        if text.contains('\0') { self.refuse("the character NUL, which cannot be stored") } else { Ok(text) }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // A whole number can be written in several ways: 1e2 is stored and read back as 100.
        match Number::from_f64(value) {
            Some(_) if value.fract() == 0.0 && value.abs() < TWO_POW_63 => Ok(Value::from(value as i64)),
            Some(number) => Ok(Value::Number(number)),
            None => self.refuse("a number that is not finite"),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.text(value).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(StrictValue { member: self.member, depth })? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let name = self.text(name)?;
            let value = members.next_value_seed(StrictValue { member: Some(&name), depth })?;
            if object.contains_key(&name) {
                return Err(duplicate_member(&name));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

fn duplicate_member<E: Error>(name: &str) -> E {
    E::custom(format_args!("the member '{}' appears twice in one object", shorten(name)))
}

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
                "Unable to read JSON request payload: the member 'b' holds the character NUL, which cannot be stored",
            ),
            (
                r#"{"\u0000":1}"#,
                "Unable to read JSON request payload: there is the character NUL, which cannot be stored",
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
