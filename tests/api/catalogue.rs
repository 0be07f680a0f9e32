//! Every type and every property of the catalogue, over HTTP: right values come
//! back, wrong ones are refused with the place where they stand.

use devicegraph::{
    catalogue::{Primitive, Property, Type, ValueType},
    odata::links::Version,
};
use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use crate::harness::{App, CONFIGURATIONS, beta, is_remote};

/// What the service sets by itself, the name, and what makes a value a secret.
const COMPUTED: [&str; 8] = [
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "version",
    "displayName",
    "supportsScopeTags",
    "isEncrypted",
    "secretReferenceValueId",
];

fn concrete(base: &str) -> Vec<&'static Type> {
    Type::all().iter().filter(|found| found.is_a(base) && !found.is_abstract).collect()
}

fn named(found: &Type) -> String {
    format!("#microsoft.graph.{}", found.name)
}

fn own(of: &'static Type, version: Version) -> impl Iterator<Item = &'static Property> {
    let is_nested = !of.is_a("deviceConfiguration");
    of.properties(version).filter(move |property| {
        is_nested && property.name == "displayName" || !COMPUTED.contains(&property.name.as_str())
    })
}

/// A right value, another one for another `seed`, as it is sent and as it is read.
fn right(property: &Property, version: Version, seed: usize) -> Value {
    if property.is_collection {
        return (seed..seed + 2).map(|seed| right_one(property, version, seed)).collect();
    }
    right_one(property, version, seed)
}

fn right_one(property: &Property, version: Version, seed: usize) -> Value {
    match &property.value_type {
        ValueType::Enumeration(enumeration) => enumeration.members[seed % enumeration.members.len()].clone().into(),
        ValueType::Complex(id) => {
            let types = concrete(&id.get().name);
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
            Primitive::Int32 => {
                let (least, most) = (property.limits.minimum, property.limits.maximum);
                [least.unwrap_or(i32::MIN.into()), most.unwrap_or(i32::MAX.into())][seed % 2].into()
            }
            Primitive::Single => [json!(0.75), json!(-3), json!("INF")][seed % 3].clone(),
            Primitive::String => ["", "Grüße, 世界", "\"'\\\n"][seed % 3].into(),
            Primitive::TimeOfDay => ["00:00:00.0000000", "23:59:59.9999999"][seed % 2].into(),
        },
    }
}

fn full(of: &'static Type, version: Version, seed: usize) -> Map<String, Value> {
    own(of, version)
        .enumerate()
        .map(|(number, property)| (property.name.clone(), right(property, version, seed + number)))
        .collect()
}

/// Values that are not the property's, each with a part of the message that says where.
fn wrong(property: &Property) -> Vec<(Value, String)> {
    let name = &property.name;
    let mut wrong: Vec<_> = match property.is_collection {
        false => wrong_ones(property).into_iter().map(|value| (value, format!("'{name}"))).collect(),
        true => {
            let good = right_one(property, Version::V1, 0);
            let scalars = [json!("x"), json!(1), json!({})].map(|value| (value, format!("'{name}'")));
            let elements = wrong_ones(property).into_iter().chain([json!(null), json!([])]);
            let elements = elements.map(|value| (json!([good, value]), format!("'{name}[1]")));
            scalars.into_iter().chain(elements).collect()
        }
    };
    if !property.is_nullable {
        wrong.push((json!(null), format!("'{name}'")));
    }
    if let Some(most) = property.limits.max_items {
        let items = vec![right_one(property, Version::V1, 0); most as usize + 1];
        wrong.push((items.into(), format!("'{name}'")));
    }
    wrong
}

fn wrong_ones(property: &Property) -> Vec<Value> {
    match &property.value_type {
        ValueType::Enumeration(_) => vec![json!("noSuchMember"), json!(""), json!(1), json!(true), json!({})],
        ValueType::Complex(id) => {
            let of = concrete(&id.get().name)[0];
            let stranger = json!({"@odata.type": "#microsoft.graph.deviceConfiguration"});
            let mut with_more = json!({"noSuchProperty": 1, "@odata.type": named(of)});
            let mut wrong = vec![json!("x"), json!(1), stranger, with_more.clone(), json!({"@odata.type": 1})];
            with_more["@odata.type"] = "#microsoft.graph.noSuchType".into();
            wrong.push(with_more);
            if id.get().is_abstract {
                wrong.push(json!({}));
            }
            let nested = of.properties(Version::V1).filter(|inner| !inner.is_collection);
            let nested =
                nested.flat_map(|inner| wrong_ones(inner).into_iter().map(|value| (inner.name.clone(), value)));
            wrong.extend(nested.map(|(name, value)| json!({"@odata.type": named(of), name: value})));
            wrong
        }
        ValueType::Primitive(primitive) => match primitive {
            Primitive::Binary => vec![json!("*"), json!("A"), json!(1), json!({})],
            Primitive::Boolean => vec![json!("true"), json!(1), json!({})],
            Primitive::Date => vec![json!("2026-02-30"), json!("28.2.2026"), json!("2026-02-28T00:00:00Z"), json!(1)],
            Primitive::DateTimeOffset => vec![json!("2026-02-28"), json!("2026-02-28T00:00:00"), json!("x"), json!(1)],
            Primitive::Int32 => {
                let limits =
                    [property.limits.minimum.map(|least| least - 1), property.limits.maximum.map(|most| most + 1)];
                let beyond = limits.into_iter().flatten().map(Value::from);
                [json!("1"), json!(1.5), json!(2_147_483_648_i64), json!(true)].into_iter().chain(beyond).collect()
            }
            Primitive::Single => vec![json!("1"), json!(1e39), json!(true)],
            Primitive::String => vec![json!(1), json!(true), json!({}), json!([])],
            Primitive::TimeOfDay => vec![json!("24:00:00"), json!("1"), json!("x"), json!(1)],
        },
    }
}

/// Whether all of `sent` is in `read`, at every depth.
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
    for of in concrete("deviceConfiguration") {
        for (path, version) in [(CONFIGURATIONS.to_owned(), Version::V1), (beta(CONFIGURATIONS), Version::Beta)] {
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
                // What GET answers can be posted back: it is what is there already.
                let again = app.post(&path, &read.json()).await;
                assert_eq!((again.status, &again.text), (StatusCode::CREATED, &read.text), "{}", of.name);
                let unchanged = app.patch(&one, &read.json()).await;
                assert_eq!((unchanged.status, &unchanged.text), (StatusCode::OK, &read.text), "{}", of.name);
                // And to a store that does not have it.
                app.delete(&one).await;
                let restored = app.post(&path, &read.json()).await.json();
                assert_eq!(restored["id"], read.json()["id"]);
                assert_holds(&restored, &sent, &of.name);
            }
        }
    }
}

#[actix_web::test]
async fn every_wrong_value_is_refused_with_its_place() {
    let app = App::start().await;
    let mut refused = 0;
    for of in concrete("deviceConfiguration") {
        for property in own(of, Version::V1) {
            for (value, place) in wrong(property) {
                let body = json!({"@odata.type": named(of), "displayName": "a", &property.name: value});
                let answer = app.post(CONFIGURATIONS, &body).await;
                let at = format!("{}.{} = {:.200}", of.name, property.name, value.to_string());
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{at}: {}", answer.text);
                let refusal = answer.refusal();
                assert!(
                    refusal.starts_with("400 ModelValidationFailure: ") && refusal.contains(&place),
                    "{at}: {refusal}"
                );
                refused += 1;
            }
        }
        let body = json!({"@odata.type": named(of), "displayName": "a", "noSuchProperty": null});
        assert_eq!(
            app.post(CONFIGURATIONS, &body).await.refusal(),
            format!(
                "400 ModelValidationFailure: The property 'noSuchProperty' does not exist on type 'microsoft.graph.{}'. Make sure to only use property names that are defined by the type.",
                of.name
            )
        );
    }
    assert!(refused > 3000, "{refused}");
    if !is_remote() {
        assert_eq!(app.get(CONFIGURATIONS).await.json()["value"], json!([]), "nothing was written");
    }
}
