//! An object of a `jsonb` column. Reading it never fails: a value that cannot be read becomes null.

use std::ops::{Deref, DerefMut};

use serde_json::{Map, Value};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, PgValueFormat, PgValueRef},
    types::Json,
};

use crate::json::{self, MAX_DEPTH};

/// An object of a `jsonb` column.
///
/// PostgreSQL also stores numbers that no double can hold, and values that are nested deeper
/// than clients can read. Each is read as null. A value that is not an object is read as an
/// empty object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    members: Map<String, Value>,
    /// Whether the column holds a value that was replaced.
    pub is_repaired: bool,
}

impl Object {
    /// Reads the text of a `jsonb` value.
    fn read(text: &str) -> Self {
        if let Some(members) = parse(text) {
            return Self { members, is_repaired: false };
        }
        let members = parse(&repaired(text)).unwrap_or_default();
        Self { members, is_repaired: true }
    }
}

fn parse(text: &str) -> Option<Map<String, Value>> {
    match json::read(text.as_bytes()) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

/// Returns JSON with null in place of every number that is no finite double, and of every
/// array and object below [`MAX_DEPTH`].
fn repaired(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut depth, mut rest) = (0, text);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '-' | '0'..='9' => rest.find(|letter| !"+-.eE0123456789".contains(letter)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        let is_deep = depth > MAX_DEPTH || depth == MAX_DEPTH && matches!(first, '}' | ']');
        match first {
            '{' | '[' if depth == MAX_DEPTH + 1 => out.push_str("null"),
            _ if is_deep => {}
            '-' | '0'..='9' if !token.parse::<f64>().is_ok_and(f64::is_finite) => out.push_str("null"),
            _ => out.push_str(token),
        }
    }
    out
}

/// Returns the length of the string at the start of the text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = letter == '\\' && !is_escaped,
        }
    }
    text.len()
}

impl From<Map<String, Value>> for Object {
    fn from(members: Map<String, Value>) -> Self {
        Self { members, is_repaired: false }
    }
}

impl Deref for Object {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.members
    }
}

impl DerefMut for Object {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.members
    }
}

impl Type<Postgres> for Object {
    fn type_info() -> PgTypeInfo {
        <Json<Value> as Type<Postgres>>::type_info()
    }

    fn compatible(of: &PgTypeInfo) -> bool {
        <Json<Value> as Type<Postgres>>::compatible(of)
    }
}

impl Encode<'_, Postgres> for Object {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&Json(&self.members), buffer)
    }
}

impl Decode<'_, Postgres> for Object {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let format = value.format();
        let bytes = value.as_bytes()?;
        // In the binary format, the text follows a version number, which is 1.
        let text = if format == PgValueFormat::Binary { bytes.get(1..).unwrap_or_default() } else { bytes };
        Ok(Self::read(std::str::from_utf8(text)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_json_cannot_hold_are_null() {
        let read = Object::read(r#"{"a": 1e400, "b": [-1E+999, 2, "1e400", "\"1e400"], "c": 1e-400, "d": {"e": 12}}"#);
        assert_eq!(read["b"], json!([null, 2, "1e400", "\"1e400"]));
        assert_eq!((&read["a"], &read["c"], &read["d"]), (&json!(null), &json!(0), &json!({"e": 12})));
        assert!(read.is_repaired);
    }

    #[test]
    fn what_is_nested_too_deep_is_null() {
        for levels in [MAX_DEPTH - 1, MAX_DEPTH, 110, 125, 126, 127, 200, 5000] {
            let text = format!(r#"{{"a": {}"x"{}, "b": 1e400, "c": [1]}}"#, "[".repeat(levels), "]".repeat(levels));
            let read = Object::read(&text);
            assert_eq!((&read["b"], &read["c"]), (&json!(null), &json!([1])), "{levels}");
            let (mut depth, mut value) = (1, &read["a"]);
            while let Some(element) = value.get(0) {
                (depth, value) = (depth + 1, element);
            }
            let is_whole = *value == json!("x");
            assert_eq!((depth, is_whole), (levels.min(MAX_DEPTH - 1) + 1, levels < MAX_DEPTH), "{levels}");
        }
    }

    #[test]
    fn what_is_no_object_is_empty() {
        for text in ["[1e400]", "null", "1", "\"{\""] {
            assert_eq!(Object::read(text), Object { members: Map::new(), is_repaired: true });
        }
    }

    proptest! {
        #[test]
        fn what_can_be_read_is_repaired_to_itself(text in "\\PC{0,20}", number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            let value = json!({"a": text, text.clone(): [number, {"b": null}]});
            prop_assert_eq!(parse(&repaired(&value.to_string())), parse(&value.to_string()));
        }
    }
}
