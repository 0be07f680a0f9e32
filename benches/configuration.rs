//! Measures how long it takes to parse and to serialize a configuration of the largest type with
//! every property set, and compares this with `serde_json` on the same bytes: `cargo bench --bench
//! configuration`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use devicegraph::{
    catalogue::{Primitive, Property, Type, ValueType, version::Version},
    odata::{json, links::Links, members::ObjectReader, negotiate::ControlInformation},
    resources::configurations::model::{Configuration, NewConfiguration, TYPE},
};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

/// Returns the type with the most properties.
fn largest() -> &'static Type {
    let of_family =
        Type::all().iter().filter(|found| found.is_in(Version::V1) && found.is_a(TYPE) && !found.is_abstract);
    of_family.max_by_key(|found| found.properties(Version::V1).count()).expect("a type")
}

fn value(property: &Property) -> Value {
    let one = match &property.value_type {
        ValueType::Enumeration(enumeration) => enumeration.default_name(Version::V1).into(),
        ValueType::Complex(id) => {
            let declared = id.get();
            let of = Type::all()
                .iter()
                .find(|found| found.is_in(Version::V1) && found.is_a(&declared.name) && !found.is_abstract)
                .expect("a type");
            let mut members = members(of);
            members.insert("@odata.type".to_owned(), format!("#microsoft.graph.{}", of.name).into());
            members.into()
        }
        ValueType::Primitive(primitive) => match primitive {
            Primitive::Binary => "AAEC".into(),
            Primitive::Boolean => true.into(),
            Primitive::Date => "2026-02-28".into(),
            Primitive::DateTimeOffset => "2026-03-01T06:00:00Z".into(),
            Primitive::Int32 | Primitive::Int64 => property.limits.minimum.unwrap_or(1).into(),
            Primitive::Double | Primitive::Single => 0.75.into(),
            Primitive::String => "a text of some length".into(),
            Primitive::TimeOfDay => "06:00:00.0000000".into(),
        },
    };
    if property.is_collection { json!([one]) } else { one }
}

fn members(of: &Type) -> Map<String, Value> {
    of.properties(Version::V1).map(|property| (property.name.clone(), value(property))).collect()
}

fn parse(body: &[u8]) -> NewConfiguration {
    let values = json::object(body).expect("an object");
    NewConfiguration::parse(ObjectReader::new(values, String::new(), TYPE, Version::V1)).expect("it is right")
}

fn reading_and_writing(criterion: &mut Criterion) {
    let of = largest();
    let mut body = members(of);
    body.insert("@odata.type".to_owned(), format!("#microsoft.graph.{}", of.name).into());
    body.insert("id".to_owned(), Uuid::nil().to_string().into());
    let body = serde_json::to_vec(&body).expect("JSON");
    let parsed = parse(&body);
    let now = OffsetDateTime::now_utc();
    let stored = Configuration {
        id: Uuid::nil(),
        odata_type: parsed.odata_type,
        display_name: parsed.display_name,
        description: parsed.description,
        version: 1,
        created_date_time: now.into(),
        last_modified_date_time: now.into(),
        properties: parsed.properties,
    };
    let links = |is_full| {
        let control = ControlInformation { has_etags: is_full, is_full };
        Links::new(format_args!("http://localhost:8080"), Version::V1, control)
    };
    let (plain, full) = (links(false), links(true));
    let written = serde_json::to_vec(&stored.shown(&plain)).expect("JSON");
    let value: Value = serde_json::from_slice(&written).expect("JSON");
    let count = of.properties(Version::V1).count();

    let mut group = criterion.benchmark_group(format!("{}, {count} properties, {} bytes", of.name, body.len()));
    group.bench_function("read", |bencher| bencher.iter(|| black_box(parse(black_box(&body)))));
    group.bench_function("read by serde_json", |bencher| {
        bencher.iter(|| black_box(serde_json::from_slice::<Value>(black_box(&body))));
    });
    group.bench_function("write", |bencher| {
        bencher.iter(|| black_box(serde_json::to_vec(black_box(&stored.shown(&plain)))));
    });
    group.bench_function("write with odata.metadata=full", |bencher| {
        bencher.iter(|| black_box(serde_json::to_vec(black_box(&stored.shown(&full)))));
    });
    group.bench_function("write by serde_json", |bencher| {
        bencher.iter(|| black_box(serde_json::to_vec(black_box(&value))));
    });
    group.finish();
}

criterion_group!(benches, reading_and_writing);
criterion_main!(benches);
