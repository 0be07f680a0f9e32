//! The difference between two states of a configuration, member by member, for a person.
//!
//! Two stored states are compared as `/beta` shows them: an unset property is equal to its
//! default, as in [`Configuration::reads_as`]. Values of secrets are masked.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    model::{Configuration, type_of},
    secrets::MASK,
};
use crate::catalogue::{rendering::Properties, version::Version};

/// A member that differs. Its values are never arrays or objects with content, whose members
/// differ each on its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberDifference {
    /// The path, for example `omaSettings[0].value`.
    pub path: String,
    /// The value before. `None` when the member was not there.
    pub before: Option<Value>,
    /// The value after. `None` when the member is not there any more.
    pub after: Option<Value>,
}

/// Returns the members in which two states of a configuration differ, sorted by path.
pub fn between(before: &Configuration, after: &Configuration) -> Vec<MemberDifference> {
    of_values(&shown(before), &shown(after))
}

/// Returns the members of a configuration that are set, as the difference to no configuration.
pub fn of_created(
    display_name: &str,
    description: Option<&str>,
    properties: &Map<String, Value>,
) -> Vec<MemberDifference> {
    let members = with_columns(properties.clone(), display_name, description);
    let mut differences = of_values(&Value::Object(Map::new()), &members);
    differences.retain(|difference| difference.after.as_ref().is_some_and(|after| !after.is_null()));
    differences
}

/// Returns the members in which two JSON values differ, sorted by path.
pub fn of_values(before: &Value, after: &Value) -> Vec<MemberDifference> {
    let mut differences = Vec::new();
    compare("", Some(before), Some(after), &mut differences);
    differences
}

/// Returns the members of a configuration with their defaults, as `/beta` shows them.
fn shown(configuration: &Configuration) -> Value {
    let Configuration { odata_type, display_name, description, properties: values, .. } = configuration;
    let shown =
        type_of(odata_type).and_then(|of| serde_json::to_value(Properties { of, values, version: Version::Beta }).ok());
    let members = match shown {
        Some(Value::Object(members)) => members,
        _ => Map::clone(values),
    };
    with_columns(members, display_name, description.as_deref())
}

/// Adds the members that have columns of their own.
fn with_columns(mut members: Map<String, Value>, display_name: &str, description: Option<&str>) -> Value {
    members.insert("displayName".to_owned(), display_name.into());
    members.insert("description".to_owned(), description.into());
    Value::Object(members)
}

/// The place of a value in an array or an object.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Index(usize),
    Name(&'a str),
}

/// Returns the elements or members of a value with their places.
fn parts(value: Option<&Value>) -> Vec<(Place<'_>, &Value)> {
    match value {
        Some(Value::Array(elements)) => elements.iter().enumerate().map(|(at, one)| (Place::Index(at), one)).collect(),
        Some(Value::Object(members)) => members.iter().map(|(name, value)| (Place::Name(name), value)).collect(),
        _ => Vec::new(),
    }
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, differences: &mut Vec<MemberDifference>) {
    if before == after {
        return;
    }
    let mut all: BTreeMap<_, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
    parts(before).into_iter().for_each(|(place, value)| all.entry(place).or_default().0 = Some(value));
    parts(after).into_iter().for_each(|(place, value)| all.entry(place).or_default().1 = Some(value));
    // The parts of an array or an object show that it is there.
    let own = |value: Option<&Value>| value.filter(|value| all.is_empty() || parts(Some(value)).is_empty()).cloned();
    let (own_before, own_after) = (own(before), own(after));
    let is_scalar = |value: &Option<Value>| {
        value.as_ref().is_some_and(|value| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_)))
    };
    if all.is_empty() || is_scalar(&own_before) || is_scalar(&own_after) {
        differences.push(MemberDifference { path: path.to_owned(), before: own_before, after: own_after });
    }
    let has_secret = holds_secret(before) || holds_secret(after);
    for (place, (before, after)) in all {
        let (path, name) = match place {
            Place::Index(index) => (format!("{path}[{index}]"), ""),
            Place::Name(name) if path.is_empty() => (name.to_owned(), name),
            Place::Name(name) => (format!("{path}.{name}"), name),
        };
        let is_secret = has_secret && name == "value";
        if before != after && (is_secret || is_named_as_secret(name)) {
            let masked = |value: Option<&Value>| value.map(|value| masked(value, is_secret));
            differences.push(MemberDifference { path, before: masked(before), after: masked(after) });
        } else {
            compare(&path, before, after, differences);
        }
    }
}

/// Returns whether a value is a setting whose `value` is a secret.
fn holds_secret(value: Option<&Value>) -> bool {
    value.is_some_and(|value| {
        value.get("isEncrypted") == Some(&Value::Bool(true)) || value.get("value").is_some_and(|value| value == MASK)
    })
}

/// Returns whether the name of a member says that its text is a secret, such as `preSharedKey`.
/// The service stores such a text as it is sent, and the output of a command may be kept.
fn is_named_as_secret(name: &str) -> bool {
    const ENDS: [&str; 7] =
        ["password", "passphrase", "privatekey", "productkey", "secret", "sharedkey", "workspacekey"];
    let name = name.to_ascii_lowercase();
    ENDS.iter().any(|end| name.ends_with(end))
}

/// Returns the value of a secret for a person. `is_marked` says that it is a secret of any
/// type, and not only a text.
fn masked(value: &Value, is_marked: bool) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) if !is_marked => value.clone(),
        _ => MASK.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(before: &Value, after: &Value) -> Value {
        json!(of_values(before, after))
    }

    #[test]
    fn members_are_compared_down_to_their_scalars() {
        for (before, after, expected) in [
            (json!({"a": 1, "b": [1, 2]}), json!({"b": [1, 2], "a": 1}), json!([])),
            (
                json!({"b": 1, "a": {"c": [1, {"d": "x"}]}}),
                json!({"b": 2, "a": {"c": [1, {"d": "y"}, true]}}),
                json!([
                    {"path": "a.c[1].d", "before": "x", "after": "y"},
                    {"path": "a.c[2]", "before": null, "after": true},
                    {"path": "b", "before": 1, "after": 2},
                ]),
            ),
            (json!({"a": []}), json!({"a": {}}), json!([{"path": "a", "before": [], "after": {}}])),
            (json!({"a": null}), json!({"a": [1]}), json!([{"path": "a[0]", "before": null, "after": 1}])),
            (
                json!({"a": "x"}),
                json!({"a": {"b": 1}}),
                json!([{"path": "a", "before": "x", "after": null}, {"path": "a.b", "before": null, "after": 1}]),
            ),
        ] {
            assert_eq!(shown(&before, &after), expected, "{before} {after}");
        }
        let missing = of_values(&json!({"a": null}), &json!({}));
        assert_eq!(missing, [MemberDifference { path: "a".to_owned(), before: Some(Value::Null), after: None }]);
    }

    #[test]
    fn a_configuration_without_another_shows_what_is_set() {
        let properties = json!({"x": null, "y": []});
        let created = of_created("a", None, properties.as_object().expect("an object"));
        let expected = json!([
            {"path": "displayName", "before": null, "after": "a"},
            {"path": "y", "before": null, "after": []},
        ]);
        assert_eq!(json!(created), expected);
    }

    #[test]
    fn values_of_secrets_are_masked() {
        let plain = json!({"value": "plain"});
        for secret in [
            json!({"value": "secret", "isEncrypted": true}),
            json!({"value": MASK}),
            json!({"value": 1234, "isEncrypted": true}),
            json!({"value": {"secret": "secret"}, "isEncrypted": true}),
        ] {
            for (before, after) in [(&secret, &plain), (&plain, &secret)] {
                let differences = of_values(&json!([before]), &json!([after]));
                let value = differences.iter().find(|one| one.path == "[0].value").expect("a value");
                assert_eq!((&value.before, &value.after), (&Some(MASK.into()), &Some(MASK.into())), "{secret}");
                assert!(differences.iter().all(|one| !one.path.starts_with("[0].value.")), "{secret}");
            }
        }
        let before = json!({"preSharedKey": "one", "passwordRequired": true, "adminPassword": null, "sharedSecret": 1});
        let after = json!({"preSharedKey": "two", "passwordRequired": false, "adminPassword": "x", "sharedSecret": 2});
        let expected = json!([
            {"path": "adminPassword", "before": null, "after": MASK},
            {"path": "passwordRequired", "before": true, "after": false},
            {"path": "preSharedKey", "before": MASK, "after": MASK},
            {"path": "sharedSecret", "before": 1, "after": 2},
        ]);
        assert_eq!(shown(&before, &after), expected);
    }
}
