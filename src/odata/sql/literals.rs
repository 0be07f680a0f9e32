//! Literals, each read with the type of the value that it is compared with.

use serde_json::Value as Json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    operand::{Kind, Operand},
    table::Parameter,
    translator::ExpressionTranslator,
};
use crate::{
    catalogue::{Enumeration, NAMESPACE, Primitive, spelled, unqualified, version::Version},
    error::{ApiError, shorten},
    odata::{filter::Literal, key},
};

impl ExpressionTranslator<'_> {
    /// Converts a literal to an operand that can be compared with `beside`.
    pub(super) fn literal(&mut self, literal: &Literal, beside: &Operand) -> Result<Operand, ApiError> {
        let (mut kind, mut is_cut) = (beside.kind, false);
        let parameter = match (kind, literal) {
            (Kind::Id, Literal::Text(text)) => match key::guid(text) {
                Some(id) => Parameter::Id(id),
                None => {
                    kind = Kind::Text;
                    Parameter::Text(text.clone())
                }
            },
            (Kind::Number, Literal::Plain(text)) => match text.parse() {
                Ok(number) => Parameter::Number(number),
                Err(_) => return Err(mismatch(literal, beside)),
            },
            (Kind::Boolean, Literal::Boolean(value)) => {
                return Ok(Operand::plain(kind, value.to_string(), &value.to_string()));
            }
            (Kind::Time, Literal::Plain(text)) => {
                let Some(text) = canonical(Primitive::DateTimeOffset, text) else {
                    return Err(mismatch(literal, beside));
                };
                let Ok(time) = OffsetDateTime::parse(&text, &Rfc3339) else { return Err(mismatch(literal, beside)) };
                // A column has a precision of microseconds.
                is_cut = time.nanosecond() % 1000 != 0;
                Parameter::Time(time.replace_nanosecond(time.nanosecond() / 1000 * 1000).unwrap_or(time))
            }
            (Kind::Flags(of, version), Literal::Text(names) | Literal::Enumeration(_, names)) => {
                check_type(of, literal, beside)?;
                let mut bits = names.split(',').map(|name| bits_of(of, version, name.trim(), beside));
                Parameter::Whole(bits.try_fold(0, |all, bits| bits.map(|bits| all | bits))?)
            }
            (Kind::Text | Kind::TextOf(_) | Kind::Name(..), _) => Parameter::Text(text_of(literal, beside)?),
            _ => return Err(mismatch(literal, beside)),
        };
        let literal = Operand::plain(kind, self.parameters.add(parameter), &shorten(&literal.to_string()));
        Ok(Operand { is_cut, ..literal })
    }
}

/// Converts a literal to text in the form of the values of `beside`.
pub(super) fn text_of(literal: &Literal, beside: &Operand) -> Result<String, ApiError> {
    let primitive = match (beside.kind, literal) {
        (Kind::Text, Literal::Text(text)) if beside.is_identifier => return Ok(key::as_stored(text.clone())),
        (Kind::Text, Literal::Text(text)) => return Ok(text.clone()),
        (Kind::Name(of, version), Literal::Text(name) | Literal::Enumeration(_, name)) => {
            check_type(of, literal, beside)?;
            return bits_of(of, version, name, beside).map(|_| name.clone());
        }
        (Kind::TextOf(Primitive::Binary), Literal::Binary(text)) => Some((Primitive::Binary, text)),
        (Kind::TextOf(primitive), Literal::Plain(text)) if primitive != Primitive::Binary => Some((primitive, text)),
        _ => None,
    };
    let text = primitive.and_then(|(primitive, text)| canonical(primitive, text));
    text.map(|text| text.trim_end_matches('Z').to_owned()).ok_or_else(|| mismatch(literal, beside))
}

/// Converts a text to the canonical form of stored values of the type.
fn canonical(primitive: Primitive, text: &str) -> Option<String> {
    // Refuse more digits of a second than Graph keeps, which would be cut off silently.
    let digits = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = digits.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    if primitive != Primitive::Binary && digits.trim_end_matches('0').len() > 7 {
        return None;
    }
    let mut value = Json::String(text.to_owned());
    match (primitive.read(&mut value), value) {
        (true, Json::String(text)) => Some(text),
        _ => None,
    }
}

pub(super) fn is_time(text: &str) -> bool {
    canonical(Primitive::DateTimeOffset, text).is_some()
}

fn check_type(of: &Enumeration, literal: &Literal, beside: &Operand) -> Result<(), ApiError> {
    match literal {
        Literal::Enumeration(name, _)
            if !unqualified(&spelled(name)).is_some_and(|name| name.eq_ignore_ascii_case(&of.name)) =>
        {
            Err(mismatch(literal, beside))
        }
        _ => Ok(()),
    }
}

fn bits_of(of: &Enumeration, version: Version, name: &str, beside: &Operand) -> Result<i64, ApiError> {
    match of.member(name, version) {
        Some(member) => Ok(member.bits),
        None => Err(ApiError::bad_request(format!(
            "The value '{}' is not a member of the type of '{}', {NAMESPACE}.{}. Write one of these: {}.",
            shorten(name),
            beside.name,
            of.name,
            of.names(version)
        ))),
    }
}

/// Returns the 400 that names the literal, the compared value, and the right syntax.
pub(super) fn mismatch(literal: &Literal, beside: &Operand) -> ApiError {
    let remedy = match beside.kind {
        Kind::Id | Kind::Text => "Write a text in single quotes, as in 'text'.".to_owned(),
        Kind::Number => "Write a number without quotes.".to_owned(),
        Kind::Boolean => "Write true or false, without quotes.".to_owned(),
        Kind::Time | Kind::TextOf(Primitive::DateTimeOffset) => {
            "Write a time without quotes, as in 2026-11-24T13:15:00Z, with at most seven fractional digits, and write '+' in an offset as %2B.".to_owned()
        }
        Kind::TextOf(Primitive::Date) => "Write a date without quotes, as in 2026-11-24.".to_owned(),
        Kind::TextOf(Primitive::TimeOfDay) => "Write a time of day without quotes, as in 13:15:00.".to_owned(),
        Kind::TextOf(_) => "Write base64 as binary'AAEC'.".to_owned(),
        Kind::Name(of, version) | Kind::Flags(of, version) => {
            let first = of.default_name(version);
            format!("Write a member in single quotes, as in '{first}', or as {NAMESPACE}.{}'{first}'.", of.name)
        }
    };
    ApiError::bad_request(format!(
        "The literal {} cannot be compared with '{}' of type {}. {remedy}",
        shorten(&literal.to_string()),
        beside.name,
        beside.kind.type_name()
    ))
}
