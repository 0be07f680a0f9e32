//! Reads JSON strictly, into values that use little memory.
//!
//! `serde_json` accepts input that this service must refuse. When an object has two members
//! with one name, it silently keeps the last. It accepts the NUL character, which PostgreSQL
//! cannot store in text. This parser refuses both, with line and column. The position of a
//! repeated name is the end of its object. The parser also refuses nesting beyond 100 levels, and
//! everything that `serde_json` itself refuses, such as lone surrogates and text after the end.
//!
//! Fractions and whole numbers beyond 64 bits become floating-point numbers, with their
//! precision. [`is_rounded`](crate::catalogue::messages::is_rounded) tells whether a number
//! lost digits.
//!
//! Arrays and objects are as large as their content: an object with one member would otherwise
//! take the space of four. Members are sorted by their names.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::error::shorten;

/// Reads one JSON value.
///
/// # Errors
/// When the text is refused. The error says why, with line and column.
pub fn read(text: &[u8]) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
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

/// The maximum nesting depth of a value. It is the same for the body of a request and for a value
/// of the database, so that a client can send back what it has read. An answer adds some levels
/// around the value, and many parsers refuse 128 levels.
pub const MAX_DEPTH: usize = 100;

impl StrictValue<'_> {
    fn refuse<T, E: Error>(&self, what: &str) -> Result<T, E> {
        Err(match self.member {
            Some(member) => E::custom(format_args!("the member '{}' contains {what}", shorten(member))),
            None => E::custom(format_args!("the JSON contains {what}")),
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
        array.shrink_to_fit();
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let depth = self.enter()?;
        let mut sent = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            let name = self.text(name)?;
            let value = members.next_value_seed(StrictValue { member: Some(&name), depth })?;
            sent.push((name, value));
        }
        sent.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(pair) = sent.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(duplicate_member(&pair[0].0));
        }
        // A map that grows takes twice the memory of its members for a moment.
        let mut object = Map::with_capacity(sent.len());
        object.extend(sent);
        Ok(Value::Object(object))
    }
}

/// Counts the values in a value, itself included: objects, arrays, texts, numbers, Booleans and
/// nulls. An object with members counts twice, because it needs more memory.
pub fn count_values_in(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(count_values_in).sum::<usize>(),
        Value::Object(members) if !members.is_empty() => 2 + members.values().map(count_values_in).sum::<usize>(),
        _ => 1,
    }
}

/// Counts the values of a JSON text like [`count_values_in`], without parsing it. The count of a
/// text that is not JSON has no meaning.
pub fn count_values(text: &[u8]) -> usize {
    let (mut count, mut rest, mut opened) = (1, text, None);
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b',' | b'[' | b'{' | b']' | b'}')) {
        let is_empty = opened.is_some() && rest[..at].iter().all(u8::is_ascii_whitespace);
        let token = rest[at];
        rest = &rest[at + 1..];
        match (opened, token) {
            (Some(_), b']' | b'}') if is_empty => {}
            (Some(b'{'), _) => count += 2,
            (Some(_), _) => count += 1,
            (None, _) => {}
        }
        count += usize::from(token == b',');
        opened = matches!(token, b'[' | b'{').then_some(token);
        if token == b'"' {
            rest = after_string(rest);
        }
    }
    count
}

/// Returns what follows the string of which `rest` is the rest, without its first quote.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        let is_end = rest[at] == b'"';
        rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            break;
        }
    }
    rest
}

/// Returns the error for an object that has two members with one name.
pub fn duplicate_member<E: Error>(name: &str) -> E {
    E::custom(format_args!("the member '{}' appears twice in one object", shorten(name)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_counted_in_any_writing() {
        for (text, count) in [
            ("7", 1),
            ("{}", 1),
            (" [ ] ", 1),
            ("[[],{},[{}]]", 5),
            (r#"{"a":1}"#, 3),
            (r#"{"a,[{\"":"b,]}\\","c":[1, 2,{"d" : null}], "e":"\\\""}"#, 10),
            (r#"[ { "a" : [ ] , "b" : { } } , "x" ]"#, 6),
        ] {
            let value: Value = serde_json::from_str(text).expect(text);
            assert_eq!((count_values(text.as_bytes()), count_values_in(&value)), (count, count), "{text}");
        }
        for text in ["", "\"", "\"\\", "[", "}", ",,"] {
            count_values(text.as_bytes());
        }
    }

    #[test]
    fn members_are_sorted_by_their_names() {
        let read = read(br#"{"b":{"z":1,"y":2},"a":0}"#).expect("JSON");
        assert_eq!(read.to_string(), r#"{"a":0,"b":{"y":2,"z":1}}"#);
        assert_eq!(read, json!({"b": {"z": 1, "y": 2}, "a": 0}));
    }

    proptest! {
        #[test]
        fn arbitrary_values_are_counted(text in "[\\[{\"a\\\\ ,:1}\\]]{0,24}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                // An object that repeats a name has more values than are kept.
                prop_assert!(count_values(text.as_bytes()) >= count_values_in(&value));
            }
        }
    }
}
