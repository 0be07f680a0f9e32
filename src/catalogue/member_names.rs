//! Classifies a member of a body by its name: a property, control information or an operation.
//!
//! Control information is a whitelist. Terms without effect are accepted, because a client may send
//! back an answer that contains them. Every other annotation asks for an operation, and is refused.
//!
//! <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_ControlInformation>

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{ApiError, shorten};

/// Terms of `odata` that have no effect in a body.
const WITHOUT_EFFECT: [&str; 14] = [
    "context",
    "etag",
    "id",
    "editLink",
    "readLink",
    "type",
    "count",
    "nextLink",
    "navigationLink",
    "associationLink",
    "mediaReadLink",
    "mediaEditLink",
    "mediaContentType",
    "mediaEtag",
];

/// Graph's hints for developers, which come with an answer.
const TIPS: &str = "microsoft.graph.tips";

/// The longest name of OData, in characters.
const MAX_CHARS: usize = 128;

/// Returns whether a member has no effect: control information of a value or of another
/// member, or an operation of Graph.
pub fn is_without_effect(name: &str) -> bool {
    match name.split_once('@') {
        Some((target, term)) => {
            let is_known = |term: &str| WITHOUT_EFFECT.contains(&term);
            (target.is_empty() || is_identifier(target))
                && (term == TIPS || term.strip_prefix("odata.").is_some_and(is_known))
        }
        None => name.strip_prefix("#microsoft.graph.").is_some_and(is_operation),
    }
}

/// Returns whether this is the name of an operation. The overload of a function may follow in
/// parentheses.
fn is_operation(name: &str) -> bool {
    let (name, parameters) = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
        Some((name, parameters)) => (name, parameters),
        None => (name, ""),
    };
    name.split('.').all(is_identifier) && (parameters.is_empty() || parameters.split(',').all(is_identifier))
}

/// Returns whether a property can have this name.
///
/// <https://docs.oasis-open.org/odata/odata/v4.01/os/abnf/odata-abnf-construction-rules.txt>
pub fn is_identifier(name: &str) -> bool {
    // Almost every name is ASCII. A loop without an early end is compiled to vector instructions.
    let is_simple =
        name.bytes().fold(true, |is_simple, byte| is_simple & (byte.is_ascii_alphanumeric() | (byte == b'_')));
    name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && (is_simple || name.chars().all(|letter| letter.is_alphanumeric() || letter == '_'))
        && (name.len() <= MAX_CHARS || name.chars().nth(MAX_CHARS).is_none())
}

/// Removes the members without effect.
///
/// # Errors
/// 400 for a name that no property can have. `path` returns the path of a member.
pub fn remove_control_information<P: fmt::Display>(
    values: &mut Map<String, Value>,
    path: impl Fn(&str) -> P,
) -> Result<(), ApiError> {
    if values.keys().all(|name| is_identifier(name)) {
        return Ok(());
    }
    if let Some(name) = first_refused(values) {
        return Err(refusal(name, path(name)));
    }
    values.retain(|name, _| is_identifier(name));
    Ok(())
}

/// Returns the first name that no property can have and that has an effect.
pub fn first_refused(values: &Map<String, Value>) -> Option<&str> {
    let is_refused = |name: &&String| !is_identifier(name) && !is_without_effect(name);
    values.keys().find(is_refused).map(String::as_str)
}

/// Returns the 400 for a name that no property has and that has an effect.
pub fn refusal(name: &str, path: impl fmt::Display) -> ApiError {
    let path = path.to_string();
    if let Some(right) = spelled(name) {
        let place = path.strip_suffix(name).unwrap_or_default();
        return ApiError::model(format!("The member '{path}' is misspelt. Write '{place}{}'.", shorten(&right)));
    }
    let target = name.split_once('@').map_or(name, |(target, _)| target);
    ApiError::model(match name.split_once('@') {
        Some((_, "odata.bind")) => format!(
            "The member '{path}' asks for a link to another resource, and this service does not store such links. Leave the member out."
        ),
        Some((_, "odata.delta")) => format!(
            "The member '{path}' asks to change a part of '{}', which this service does not support. Send the whole collection.",
            shorten(target)
        ),
        Some((_, "odata.removed")) => format!(
            "The member '{path}' asks to remove an object, which this service does not support in a body. Leave the object out, or send DELETE to its URL."
        ),
        Some(_) => format!(
            "The annotation '{path}' is unknown. Leave it out. A body may contain only those annotations that answers of Graph contain."
        ),
        None if name.starts_with('#') => {
            format!("The member '{path}' is not an operation of 'microsoft.graph'. Leave it out.")
        }
        None => format!(
            "The member '{path}' has a name that no property can have. A name starts with a letter or '_', holds letters, digits and '_', and has 1 to {MAX_CHARS} characters. Correct it, or leave the member out."
        ),
    })
}

/// Returns the right spelling of control information that is written in the form of OData 4.01,
/// in other letter case or without its `@`.
fn spelled(name: &str) -> Option<String> {
    let (target, term) = match name.split_once('@') {
        Some(parts) => parts,
        None => ("", name.strip_prefix("odata.")?),
    };
    let short = match term.get(..6) {
        Some(prefix) if prefix.eq_ignore_ascii_case("odata.") => &term[6..],
        _ => term,
    };
    let known = WITHOUT_EFFECT.iter().find(|known| known.eq_ignore_ascii_case(short))?;
    (target.is_empty() || is_identifier(target)).then(|| format!("{target}@odata.{known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_information_and_operations_have_no_effect() {
        for term in WITHOUT_EFFECT {
            assert!(is_without_effect(&format!("@odata.{term}")) && is_without_effect(&format!("x@odata.{term}")));
        }
        for name in [
            "@microsoft.graph.tips",
            "#microsoft.graph.assign",
            "#microsoft.graph.windowsPrivacyAccessControls.x",
            "#microsoft.graph.getOmaSettingPlainTextValue(secretReferenceValueId)",
        ] {
            assert!(is_without_effect(name), "{name}");
        }
        for name in [
            "rootCertificate@odata.bind",
            "x@odata.delta",
            "@odata.removed",
            "@odata.deltaLink",
            "@odata.nothing",
            "@odata.",
            "@type",
            "@microsoft.graph.conflictBehavior",
            "a@b@odata.type",
            "a b@odata.type",
            "#contoso.assign",
            "#microsoft.graph.",
            "#microsoft.graph.a b",
            "#microsoft.graph.a(",
            "displayName",
            "",
        ] {
            assert!(!is_without_effect(name), "{name}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_send() {
        for (name, expected) in [
            ("@type", "The member '@type' is misspelt. Write '@odata.type'."),
            ("target@type", "The member 'target@type' is misspelt. Write 'target@odata.type'."),
            ("@OData.Type", "The member '@OData.Type' is misspelt. Write '@odata.type'."),
            ("odata.type", "The member 'odata.type' is misspelt. Write '@odata.type'."),
            ("x@odata.bind", "The member 'x@odata.bind' asks for a link"),
            ("x@odata.delta", "The member 'x@odata.delta' asks to change a part of 'x'"),
            ("@odata.removed", "The member '@odata.removed' asks to remove an object"),
            ("@odata.é", "The annotation '@odata.é' is unknown."),
            ("@oda\u{e9}.x", "The annotation '@oda\u{e9}.x' is unknown."),
            ("#x", "The member '#x' is not an operation"),
            ("a b", "The member 'a b' has a name that no property can have."),
            ("", "The member '' has a name that no property can have."),
        ] {
            let refusal = refusal(name, name).to_string();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
    }

    #[test]
    fn an_identifier_is_that_of_odata() {
        for name in ["a", "_", "a1", "é", &"a".repeat(128)] {
            assert!(is_identifier(name), "{name}");
        }
        for name in ["", "1a", "a b", "$x", "a-b", "a.b", "a\n", "a\u{7f}", "a\u{200b}", &"a".repeat(129)] {
            assert!(!is_identifier(name), "{name}");
        }
    }
}
