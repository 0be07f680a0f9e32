//! Every type and property of the catalogue over HTTP: valid values are returned as they were sent,
//! and invalid values are refused with their path.

use devicegraph::{
    catalogue::{Primitive, Property, Type, ValueType, version::Version},
    odata::members::ObjectReader,
    resources::configurations::model::NewConfiguration,
};
use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use crate::harness::{App, CONFIGURATIONS, beta, is_remote};

/// The properties that the service sets, the display name, and those that mark a value as a secret.
pub(crate) const COMPUTED: [&str; 8] = [
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "version",
    "displayName",
    "supportsScopeTags",
    "isEncrypted",
    "secretReferenceValueId",
];

pub(crate) fn concrete(base: &str, version: Version) -> Vec<&'static Type> {
    Type::all().iter().filter(|found| found.is_in(version) && found.is_a(base) && !found.is_abstract).collect()
}

pub(crate) fn named(found: &Type) -> String {
    format!("#microsoft.graph.{}", found.name)
}

/// Returns the properties of a type, without the keys and without those that mark a secret.
pub(crate) fn checked(of: &'static Type, version: Version) -> impl Iterator<Item = &'static Property> {
    let is_left_out = |name: &str| ["id", "isEncrypted", "secretReferenceValueId"].contains(&name);
    of.properties(version).filter(move |property| !is_left_out(&property.name))
}

/// Returns the properties that a type adds to the base type. For one type it returns those of the
/// base type too, because each of them needs only one test.
pub(crate) fn added(of: &'static Type, version: Version) -> impl Iterator<Item = &'static Property> {
    let base = Type::find("deviceConfiguration").expect("a type");
    let is_first = of.name == "iosCustomConfiguration";
    checked(of, version).filter(move |property| is_first || base.property(&property.name, version).is_none())
}

fn own(of: &'static Type, version: Version) -> impl Iterator<Item = &'static Property> {
    let is_nested = !of.is_a("deviceConfiguration");
    of.properties(version).filter(move |property| {
        is_nested && property.name == "displayName" || !COMPUTED.contains(&property.name.as_str())
    })
}

/// Returns a valid value of a property. A read returns the value as it was sent. Another `seed`
/// gives another value.
fn right(property: &Property, version: Version, seed: usize) -> Value {
    if property.is_collection {
        return (seed..seed + 2).map(|seed| right_one(property, version, seed)).collect();
    }
    right_one(property, version, seed)
}

fn right_one(property: &Property, version: Version, seed: usize) -> Value {
    match &property.value_type {
        ValueType::Enumeration(enumeration) => {
            let members: Vec<_> = enumeration.members(version).map(|member| member.name.as_str()).collect();
            members[seed % members.len()].into()
        }
        ValueType::Complex(id) => {
            let types = concrete(&id.get().name, version);
            let of = types[seed % types.len()];
            let mut members = full(of, version, seed);
            if of.name != id.get().name {
                members.insert("@odata.type".to_owned(), named(of).into());
            }
            members.into()
        }
        ValueType::Primitive(primitive) => match primitive {
            Primitive::Binary => ["AAEC", "AA==", ""][seed % 3].into(),
            Primitive::Boolean => seed.is_multiple_of(2).into(),
            Primitive::Date => "2026-02-28".into(),
            Primitive::DateTimeOffset => ["2026-03-01T06:00:00Z", "2026-03-01T06:00:00.1234567Z"][seed % 2].into(),
            Primitive::Int32 | Primitive::Int64 => {
                let (least, most) = match primitive {
                    Primitive::Int32 => (i32::MIN.into(), i32::MAX.into()),
                    _ => (i64::MIN, i64::MAX),
                };
                let (minimum, maximum) = (property.limits.minimum, property.limits.maximum);
                [minimum.unwrap_or(least), maximum.unwrap_or(most)][seed % 2].into()
            }
            Primitive::Double | Primitive::Single => [json!(0.75), json!(-3), json!("INF")][seed % 3].clone(),
            Primitive::String => ["", "Grüße, 世界", "\"'\\\n"][seed % 3].into(),
            Primitive::TimeOfDay => ["00:00:00.0000000", "23:59:59.9999999"][seed % 2].into(),
        },
    }
}

pub(crate) fn full(of: &'static Type, version: Version, seed: usize) -> Map<String, Value> {
    own(of, version)
        .enumerate()
        .map(|(number, property)| (property.name.clone(), right(property, version, seed + number)))
        .collect()
}

/// Returns invalid values of a property, each with the part of the message that names its path.
/// Below `depth` levels it returns only one invalid value, because types refer to each other in
/// circles.
pub(crate) fn wrong(property: &Property, path: &str, version: Version, depth: usize) -> Vec<(Value, String)> {
    let at = format!("'{path}'");
    let mut wrong: Vec<_> = match property.is_collection {
        false => wrong_ones(property, path, version, depth),
        true => {
            let good = right_one(property, version, 0);
            let scalars = [json!("x"), json!(1), json!({})].map(|value| (value, at.clone()));
            let place = format!("{path}[1]");
            let null_and_array = [json!(null), json!([])].map(|value| (value, format!("'{place}'")));
            let elements = wrong_ones(property, &place, version, depth).into_iter().chain(null_and_array);
            scalars.into_iter().chain(elements.map(|(value, place)| (json!([good, value]), place))).collect()
        }
    };
    if !property.allows_null() {
        wrong.push((json!(null), at.clone()));
    }
    if let Some(most) = property.limits.max_items {
        let items = vec![right_one(property, version, 0); most as usize + 1];
        wrong.push((items.into(), at));
    }
    wrong
}

fn wrong_ones(property: &Property, path: &str, version: Version, depth: usize) -> Vec<(Value, String)> {
    let here = |values: Vec<Value>| values.into_iter().map(|value| (value, format!("'{path}'"))).collect();
    match &property.value_type {
        ValueType::Enumeration(enumeration) => {
            let none = [json!("noSuchMember"), json!(""), json!(1), json!(true), json!({})];
            let (first, last) = (enumeration.default_name(version), &enumeration.all.last().expect("a member").name);
            let several = if enumeration.is_flags { format!("{first},") } else { format!("{first},{last}") };
            let of_beta = enumeration.all.iter().filter(|member| member.is_beta && version == Version::V1);
            let of_beta = of_beta.map(|member| member.name.as_str().into());
            here(none.into_iter().chain([several.into()]).chain(of_beta).collect())
        }
        ValueType::Complex(id) => {
            let declared = &id.get().name;
            let mut wrong: Vec<(Value, String)> =
                here(vec![json!("x"), json!(1), json!({"@odata.type": "#microsoft.graph.deviceConfiguration"})]);
            wrong.push((json!({"@odata.type": 1}), format!("'{path}.@odata.type'")));
            wrong.push((json!({"@odata.type": "#microsoft.graph.noSuchType"}), format!("'{path}'")));
            if id.get().is_abstract {
                wrong.extend(
                    [json!({}), json!({"@odata.type": named(id.get())})].map(|value| (value, format!("'{path}'"))),
                );
            }
            for of in concrete(declared, version).into_iter().take(if depth == 0 { 1 } else { usize::MAX }) {
                let with = |name: &str, value: &Value| json!({"@odata.type": named(of), name: value});
                if version == Version::V1 {
                    wrong.push((with("noSuchProperty", &json!(1)), format!("'{path}'")));
                }
                wrong.push((with("no.name", &json!(1)), format!("'{path}.no.name'")));
                if depth > 0 {
                    let inner = of.properties(version).flat_map(|inner| {
                        let wrong = self::wrong(inner, &format!("{path}.{}", inner.name), version, depth - 1);
                        wrong.into_iter().map(|(value, place)| (with(&inner.name, &value), place))
                    });
                    wrong.extend(inner);
                }
            }
            wrong
        }
        ValueType::Primitive(primitive) => here(match primitive {
            Primitive::Binary => vec![json!("*"), json!("A"), json!(1), json!({})],
            Primitive::Boolean => vec![json!("true"), json!(1), json!({})],
            Primitive::Date => {
                ["2026-02-30", "28.2.2026", "2026-02-28T00:00:00Z", "0000-01-01", "-2026-01-01", "+2026-01-01"]
                    .map(Value::from)
                    .into_iter()
                    .chain([json!(1)])
                    .collect()
            }
            Primitive::DateTimeOffset => [
                "2026-02-28",
                "2026-02-28T00:00:00",
                "2026-02-28 00:00:00Z",
                "2026-02-28T23:59:60Z",
                "2026-02-28T24:00:00Z",
                "2026-02-28T00:00:00+1:00",
                "0000-01-01T00:00:00Z",
                "0001-01-01T00:00:00+01:00",
                "9999-12-31T23:59:59-01:00",
                "x",
            ]
            .map(Value::from)
            .into_iter()
            .chain([json!(1)])
            .collect(),
            Primitive::Int32 | Primitive::Int64 => {
                let limits =
                    [property.limits.minimum.map(|least| least - 1), property.limits.maximum.map(|most| most + 1)];
                let beyond = limits.into_iter().flatten().filter(|number| !property.allows(*number)).map(Value::from);
                let none = [json!("1"), json!(1.5), json!(1e20), json!(true)];
                let long = (*primitive == Primitive::Int32).then(|| json!(2_147_483_648_i64));
                none.into_iter().chain(long).chain(beyond).collect()
            }
            Primitive::Double => vec![json!("1"), json!(true)],
            Primitive::Single => vec![json!("1"), json!(1e39), json!(true)],
            Primitive::String => vec![json!(1), json!(true), json!({}), json!([])],
            Primitive::TimeOfDay => vec![json!("24:00:00"), json!("23:59:60"), json!("1"), json!("x"), json!(1)],
        }),
    }
}

/// Asserts that `read` contains everything in `sent`, at every level.
#[track_caller]
pub(crate) fn assert_holds(read: &Value, sent: &Value, place: &str) {
    match (read, sent) {
        (Value::Object(read), Value::Object(sent)) => {
            for (name, value) in sent {
                assert_holds(&read[name], value, &format!("{place}.{name}"));
            }
        }
        (Value::Array(read), Value::Array(sent)) if read.len() == sent.len() => {
            read.iter()
                .zip(sent)
                .enumerate()
                .for_each(|(index, (read, sent))| assert_holds(read, sent, &format!("{place}[{index}]")));
        }
        _ => assert_eq!(read, sent, "{place}"),
    }
}

#[actix_web::test]
async fn every_type_round_trips_full_and_minimal() {
    let app = App::start().await;
    for (path, version) in [(CONFIGURATIONS.to_owned(), Version::V1), (beta(CONFIGURATIONS), Version::Beta)] {
        for of in concrete("deviceConfiguration", version) {
            for seed in 0..3 {
                let mut sent = if seed == 0 { Map::new() } else { full(of, version, seed) };
                sent.insert("@odata.type".to_owned(), named(of).into());
                sent.insert("displayName".to_owned(), format!("{} {seed}", of.name).into());
                let sent = Value::from(sent);
                let created = app.post(&path, &sent).await;
                assert_eq!(created.status, StatusCode::CREATED, "{}: {}", of.name, created.text);
                let one = format!("{path}/{}", created.id());
                let read = app.get(&one).await;
                assert_eq!(read.text, created.text);
                assert_holds(&read.json(), &sent, &of.name);
                // Every property is there, in the order of the catalogue.
                let mut rest = read.text.as_str();
                let of_row = ["id", "createdDateTime", "description", "displayName", "lastModifiedDateTime", "version"];
                let others = of.properties(version).map(|property| property.name.as_str());
                let others = others.filter(|name| !of_row.contains(name) && *name != "supportsScopeTags");
                for name in of_row.into_iter().chain(others) {
                    let (_, after) =
                        rest.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} in {rest}"));
                    rest = after;
                }
                // An answer to GET can be posted. The create finds the stored entity, which is
                // equal.
                let again = app.post(&path, &read.json()).await;
                assert_eq!((again.status, &again.text), (StatusCode::CREATED, &read.text), "{}", of.name);
                let unchanged = app.patched(&one, &read.json()).await;
                assert_eq!((unchanged.status, &unchanged.text), (StatusCode::OK, &read.text), "{}", of.name);
                // It can also be posted when the store does not have the entity.
                app.delete(&one).await;
                let restored = app.post(&path, &read.json()).await.json();
                assert_eq!(restored["id"], read.json()["id"]);
                assert_holds(&restored, &sent, &of.name);
            }
        }
    }
}

/// Parses each body with the code that a create runs. `one_wrong_value_of_every_property` sends
/// some of them, because there are too many for HTTP.
#[test]
fn every_wrong_value_is_refused_with_its_place() {
    let mut refused = 0;
    for version in [Version::V1, Version::Beta] {
        for of in concrete("deviceConfiguration", version) {
            for property in checked(of, version) {
                for (value, place) in wrong_in_body(property, version) {
                    let at = format!("{version:?} {}.{} = {:.200}", of.name, property.name, value.to_string());
                    let body = json!({"@odata.type": named(of), "displayName": "a", &property.name: value});
                    let Value::Object(body) = body else { unreachable!("it is an object") };
                    let body = ObjectReader::new(body, String::new(), "deviceConfiguration", version);
                    let refusal = NewConfiguration::parse(body).expect_err(&at).to_string();
                    assert!(refusal.contains(&place), "{at}: {refusal} names no {place}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 40_000, "{refused}");
}

/// Returns invalid values of a property in a body, each with the part of the message that names its
/// path. A computed property may be null, because the service ignores its value.
fn wrong_in_body(property: &Property, version: Version) -> Vec<(Value, String)> {
    let is_computed = property.name != "displayName" && COMPUTED.contains(&property.name.as_str());
    let mut wrong = wrong(property, &property.name, version, 2);
    wrong.retain(|(value, _)| !(is_computed && value.is_null()));
    wrong
}

#[actix_web::test]
async fn one_wrong_value_of_every_property_is_refused_with_its_place() {
    let app = App::start().await;
    for (path, version) in [(CONFIGURATIONS.to_owned(), Version::V1), (beta(CONFIGURATIONS), Version::Beta)] {
        for of in concrete("deviceConfiguration", version) {
            for (number, property) in own(of, version).enumerate() {
                let wrong = wrong_in_body(property, version);
                let (value, place) = &wrong[number % wrong.len()];
                let body = json!({"@odata.type": named(of), "displayName": "a", &property.name: value});
                let refusal = app.post(&path, &body).await.refusal();
                assert!(
                    refusal.starts_with("400 ModelValidationFailure: ") && refusal.contains(place),
                    "{path} {}.{} = {value:.200}: {refusal} names no {place}",
                    of.name,
                    property.name
                );
            }
            let body = json!({"@odata.type": named(of), "displayName": "a", "noSuchProperty": null});
            if version == Version::V1 {
                assert_eq!(
                    app.post(&path, &body).await.refusal(),
                    format!(
                        "400 ModelValidationFailure: The property 'noSuchProperty' does not exist on type 'microsoft.graph.{}'. Make sure to only use property names that are defined by the type.",
                        of.name
                    )
                );
            }
        }
    }
    if !is_remote() {
        assert_eq!(app.get(CONFIGURATIONS).await.json()["value"], json!([]), "nothing was written");
    }
}

#[test]
fn right_values_are_stored_in_one_form() {
    for (of, sent, stored) in [
        (Primitive::Binary, json!("-_8"), Some(json!("+/8="))),
        (Primitive::Binary, json!("AAEC\r\nAw=="), Some(json!("AAECAw=="))),
        (Primitive::Binary, json!("AB=="), Some(json!("AA=="))),
        (Primitive::Date, json!("9999-12-31"), Some(json!("9999-12-31"))),
        (Primitive::DateTimeOffset, json!("2026-02-28T13:15Z"), Some(json!("2026-02-28T13:15:00Z"))),
        (Primitive::DateTimeOffset, json!("2026-02-28t13:15:00.5z"), Some(json!("2026-02-28T13:15:00.5Z"))),
        (
            Primitive::DateTimeOffset,
            json!("2026-02-28T00:30:00.123456789012-05:45"),
            Some(json!("2026-02-28T06:15:00.1234567Z")),
        ),
        (Primitive::DateTimeOffset, json!("2026-02-28T00:30:00+23:59"), Some(json!("2026-02-27T00:31:00Z"))),
        (Primitive::Single, json!(1e20), Some(json!(1e20))),
        (Primitive::Single, json!(1e39), None),
        (Primitive::TimeOfDay, json!("13:15"), Some(json!("13:15:00.0000000"))),
        (Primitive::TimeOfDay, json!("13:15:01.25"), Some(json!("13:15:01.2500000"))),
    ] {
        let mut value = sent.clone();
        let is_right = of.read(&mut value);
        assert_eq!(is_right.then_some(value), stored, "{sent} as {of:?}");
    }
}
