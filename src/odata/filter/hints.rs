//! Hints for syntax of other languages: the syntax that OData has for it.

use super::expression::Function;
use crate::{catalogue::spelling::suggestion, error::shorten};

/// Signs and words of other languages, each with OData's operator for it.
const OPERATORS: [(&str, &str); 27] = [
    ("=", "eq"),
    ("==", "eq"),
    ("===", "eq"),
    ("equals", "eq"),
    ("equal", "eq"),
    ("is", "eq"),
    ("!=", "ne"),
    ("!==", "ne"),
    ("<>", "ne"),
    ("neq", "ne"),
    ("isnot", "ne"),
    ("notequals", "ne"),
    ("<", "lt"),
    ("<=", "le"),
    ("=<", "le"),
    ("lte", "le"),
    (">", "gt"),
    (">=", "ge"),
    ("=>", "ge"),
    ("gte", "ge"),
    ("&&", "and"),
    ("&", "and"),
    ("||", "or"),
    ("|", "or"),
    ("!", "not"),
    ("notin", "not (… in (…))"),
    ("between", "ge … and … le"),
];

/// Infix operators of other languages, each with OData's function for it.
const FUNCTIONS: [(&str, &str); 7] = [
    ("like", "contains"),
    ("contains", "contains"),
    ("substringof", "contains"),
    ("startswith", "startswith"),
    ("beginswith", "startswith"),
    ("endswith", "endswith"),
    ("match", "contains"),
];

fn find(known: &'static [(&'static str, &'static str)], text: &str) -> Option<&'static str> {
    known.iter().find(|(known, _)| known.eq_ignore_ascii_case(text)).map(|(_, meant)| *meant)
}

/// Returns what to write instead of a sign.
pub(super) fn sign(sign: &str) -> String {
    match find(&OPERATORS, sign) {
        Some(meant) => format!("write '{meant}' instead of '{sign}'"),
        None => {
            format!(
                "'{}' is not an operator; the operators are eq, ne, gt, ge, lt, le, in, has, and, or and not",
                shorten(sign)
            )
        }
    }
}

/// Returns what to write instead of a text that begins with a quote of another kind, which
/// may have a backslash before it.
pub(super) fn unquoted(letters: &[char]) -> String {
    let is_quote = |letter: &char| matches!(letter, '"' | '`' | '´' | '‘' | '’' | '“' | '”' | '„' | '\\');
    let letters = letters.strip_prefix(&['\\']).unwrap_or(letters);
    let text: String = letters.iter().skip(1).take_while(|letter| !is_quote(letter)).collect();
    let first = letters.first().copied().unwrap_or('"');
    format!("write a text in single quotes, as in '{}', and not in {first}", shorten(&text.replace('\'', "''")))
}

/// Returns a hint for a word in the place of an operator, or an empty text.
pub(super) fn operator(word: &str) -> String {
    match (find(&OPERATORS, word), find(&FUNCTIONS, word)) {
        (Some(meant), _) => format!("; write '{meant}' instead of '{}'", shorten(word)),
        (None, Some(function)) => {
            format!("; write '{}' as a function, as in {function}(displayName,'text')", shorten(word))
        }
        (None, None) => String::new(),
    }
}

/// Returns a hint for a function that is not supported, or an empty text.
pub(super) fn function(name: &str) -> String {
    if let Some(function) = find(&FUNCTIONS, name) {
        return format!("; write {function}(displayName,'text')");
    }
    let meant = suggestion(name, Function::ALL.iter().map(|(known, ..)| *known).chain(["isof"]));
    if meant.is_empty() { meant } else { format!(".{meant}") }
}
