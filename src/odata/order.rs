//! `$orderby`, and keyset pagination in its order.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    filter::{self, Path},
    select::parts,
    sql::{INDEXED_PREFIX_CHARS, Kind, Operand, Parameter, Parameters},
    token::{self, Position},
};
use crate::{
    catalogue::Primitive,
    error::{ApiError, shorten},
};

/// The maximum number of keys.
const MAX_KEYS: usize = 16;

/// Parses `$orderby`. Returns the keys, each with `true` for descending.
///
/// # Errors
/// 400 for text that is not a list of properties with directions.
pub fn parse(text: &str) -> Result<Vec<(Path, bool)>, ApiError> {
    match parts(text, ',').nth(MAX_KEYS) {
        None => parts(text, ',').map(key).collect(),
        Some(_) => Err(ApiError::bad_request(format!("there are more than {MAX_KEYS} sort keys. Write fewer."))),
    }
}

fn key(text: &str) -> Result<(Path, bool), ApiError> {
    let text = text.trim();
    let (path, direction) = text.split_once(char::is_whitespace).unwrap_or((text, "asc"));
    let is_descending = match direction.trim().to_ascii_lowercase().as_str() {
        "asc" => false,
        "desc" => true,
        _ => {
            return Err(ApiError::bad_request(format!(
                "'{}' is followed by '{}'. Write asc or desc there, or a comma and the next property.",
                shorten(path),
                shorten(direction.trim())
            )));
        }
    };
    if path.contains('(') {
        return Err(ApiError::bad_request(format!(
            "'{}' is a function or a condition, which cannot be a sort key. Write a property.",
            shorten(path)
        )));
    }
    Ok((filter::path(path)?, is_descending))
}

/// The sort keys. The last key is always the id. Nulls sort before all values.
pub struct Keys {
    /// The keys of `$orderby`, each with `true` for descending.
    pub order: Vec<(Operand, bool)>,
    /// The SQL of the id.
    pub id: String,
}

impl Keys {
    /// Returns the sorted value. For text it is a prefix, so that the link to the next page has
    /// a limited length.
    fn value(operand: &Operand) -> String {
        match (&operand.indexed_prefix, operand.kind) {
            (Some(indexed_prefix), _) => indexed_prefix.clone(),
            (None, Kind::Text | Kind::TextOf(Primitive::Binary)) => {
                format!("left({}, {INDEXED_PREFIX_CHARS})", operand.whole())
            }
            (None, _) => operand.whole(),
        }
    }

    fn sql(operand: &Operand) -> String {
        let collation = if operand.kind.is_text() { " COLLATE \"C\"" } else { "" };
        Self::value(operand) + collation
    }

    /// Returns whether the id descends. It has the direction of the key before it, so that an
    /// index on both can be used.
    fn is_id_descending(&self) -> bool {
        self.order.last().is_some_and(|(_, is_descending)| *is_descending)
    }

    /// Returns the SQL after `ORDER BY`.
    pub fn order(&self) -> String {
        let mut keys = Vec::new();
        for (operand, is_descending) in &self.order {
            let direction = if *is_descending { " DESC" } else { "" };
            let nulls = match (operand.can_be_null(), is_descending) {
                (false, _) => "",
                (true, false) => " NULLS FIRST",
                (true, true) => " NULLS LAST",
            };
            keys.push(format!("{}{direction}{nulls}", Self::sql(operand)));
        }
        keys.push(format!("{}{}", self.id, if self.is_id_descending() { " DESC" } else { "" }));
        keys.join(", ")
    }

    /// Returns the SQL of the keys of a row, for a token.
    pub fn position(&self) -> String {
        // Encode text as bytes: in a database with the encoding SQL_ASCII, the prefix can end
        // inside a character.
        let key = |(operand, _): &(Operand, bool)| match operand.kind.is_text() {
            true => format!("encode(convert_to({}, getdatabaseencoding()), 'base64')", Self::value(operand)),
            false => Self::value(operand),
        };
        let keys: Vec<_> = self.order.iter().map(key).collect();
        match keys.is_empty() {
            true => "NULL::jsonb".to_owned(),
            false => format!("jsonb_build_array({})", keys.join(", ")),
        }
    }

    /// Returns the condition for the rows after a position.
    ///
    /// # Errors
    /// 400 for a position whose values do not fit the keys.
    pub fn after(&self, position: &Position, parameters: &mut Parameters) -> Result<String, ApiError> {
        let Position(values, id) = position;
        if values.len() != self.order.len() {
            return Err(token::foreign());
        }
        let mut keys = Vec::new();
        for ((operand, is_descending), value) in self.order.iter().zip(values) {
            let value = match value {
                Value::Null if operand.can_be_null() => None,
                value => {
                    let value = parameters.add(parameter(operand.kind, value)?);
                    Some(match operand.kind {
                        Kind::Time => format!("{value}::timestamptz"),
                        kind if kind.is_text() => {
                            format!("convert_from(decode({value}, 'base64'), getdatabaseencoding())")
                        }
                        _ => value,
                    })
                }
            };
            keys.push((Self::sql(operand), operand.can_be_null(), *is_descending, value));
        }
        let id = parameters.add(Parameter::Id(*id));
        let is_descending = self.is_id_descending();
        let sign = if is_descending { "<" } else { ">" };
        // If no key can be null and all keys have the same direction, compare rows as a tuple,
        // which an index supports.
        if keys.iter().all(|(_, can_be_null, is_key_descending, value)| {
            !can_be_null && *is_key_descending == is_descending && value.is_some()
        }) {
            let (columns, values): (Vec<_>, Vec<_>) =
                keys.into_iter().map(|(sql, _, _, value)| (sql, value.unwrap_or_default())).unzip();
            let columns = columns.into_iter().chain([self.id.clone()]).collect::<Vec<_>>().join(", ");
            let values = values.into_iter().chain([id]).collect::<Vec<_>>().join(", ");
            return Ok(format!("({columns}) {sign} ({values})"));
        }
        let last = format!("{} {sign} {id}", self.id);
        Ok(keys.into_iter().rev().fold(last, |rest, (key, can_be_null, is_descending, value)| {
            match (value, is_descending) {
                (None, false) => format!("({key} IS NOT NULL OR {rest})"),
                (None, true) => format!("({key} IS NULL AND {rest})"),
                (Some(value), false) => format!("({key} >= {value} AND ({key} > {value} OR {rest}))"),
                (Some(value), true) => {
                    let null = if can_be_null { format!(" OR {key} IS NULL") } else { String::new() };
                    format!("(({key} <= {value} AND ({key} < {value} OR {rest})){null})")
                }
            }
        }))
    }
}

/// Reads the value of a key from a token.
fn parameter(kind: Kind, value: &Value) -> Result<Parameter, ApiError> {
    let read = match (kind, value) {
        (Kind::Id, Value::String(text)) => text.parse().ok().map(Parameter::Id),
        // The text is in PostgreSQL's format, including 'infinity' and years of five digits.
        // PostgreSQL would also read words such as 'now', which no row contains.
        (Kind::Time, Value::String(text)) => {
            let is_time =
                text.starts_with(|first: char| first.is_ascii_digit()) || text.trim_start_matches('-') == "infinity";
            is_time.then(|| Parameter::Text(text.clone()))
        }
        (Kind::Number, Value::String(text)) => text.parse().ok().map(Parameter::Number),
        (Kind::Number, Value::Number(number)) => number.as_f64().map(Parameter::Number),
        (Kind::Flags(..), Value::Number(number)) => number.as_i64().map(Parameter::Whole),
        (Kind::Boolean, Value::Bool(value)) => Some(Parameter::Boolean(*value)),
        (Kind::Text | Kind::TextOf(_) | Kind::Name(..), Value::String(text)) => {
            // PostgreSQL breaks base64 into lines of 76 characters.
            let is_base64 = STANDARD.decode(text.replace('\n', "")).is_ok();
            is_base64.then(|| Parameter::Text(text.clone()))
        }
        _ => None,
    };
    read.ok_or_else(token::foreign)
}
