//! A summary of `/openapi.json` that a person can review: operations, parameters and responses
//! in a line each, a digest of each schema, and three schemas in full.

use std::{fmt::Write, fs, iter};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::{
    harness::{App, is_remote},
    openapi::{document, operations},
};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/openapi.txt");

/// The schemas that are shown in full: a type for requests, a type with derived types for answers,
/// and a type with members that only `/beta` has.
const IN_FULL: [&str; 3] = ["v1.iosCustomConfiguration.request", "v1.omaSetting", "beta.deviceConfigurationAssignment"];

/// Returns the last part of a reference, or the schema itself in one line.
fn referred(value: &Value) -> String {
    let reference = value.get("$ref").and_then(Value::as_str);
    reference.and_then(|path| path.rsplit('/').next()).map_or_else(|| value.to_string(), str::to_owned)
}

fn line_of(method: &str, path: &str, operation: &Value) -> String {
    let mut line =
        format!("{} {path}: {}", method.to_uppercase(), operation["operationId"].as_str().unwrap_or_default());
    let all = |value: &Value| value.as_array().into_iter().flatten().map(referred).collect::<Vec<_>>().join(", ");
    write!(line, "; parameters {}", all(&operation["parameters"])).expect("text");
    for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(|content| content.values()) {
        write!(line, "; body {}", referred(&content["schema"])).expect("text");
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        write!(line, "; {status} {}", referred(response)).expect("text");
    }
    if let Some(security) = operation.get("security") {
        write!(line, "; security {security}").expect("text");
    }
    line
}

fn summary(document: &Value) -> String {
    let mut lines = vec!["# Operations".to_owned()];
    let mut of_paths: Vec<_> =
        operations(document).iter().map(|(method, path, operation)| line_of(method, path, operation)).collect();
    of_paths.sort();
    lines.append(&mut of_paths);
    for part in ["parameters", "headers", "responses", "securitySchemes"] {
        lines.push(format!("\n# {part}"));
        let entries = document["components"][part].as_object().into_iter().flatten();
        lines.extend(entries.map(|(name, value)| format!("{name}: {value}")));
    }
    lines.push("\n# Schemas, with the beginnings of their digests".to_owned());
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        let digest = digest(&SHA256, schema.to_string().as_bytes());
        let start: String = digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push(format!("{name} {start}"));
    }
    for name in IN_FULL {
        lines.push(format!("\n# {name}\n{:#}", schemas[name]));
    }
    lines.join("\n") + "\n"
}

#[actix_web::test]
async fn the_document_is_the_one_that_was_committed() {
    if is_remote() {
        return;
    }
    let mut document = document(&App::start().await).await;
    // The order of the sections is no change for clients.
    document.sort_all_objects();
    let served = summary(&document);
    if std::env::var_os("RENEW_OPENAPI").is_some() {
        fs::write(SNAPSHOT, &served).expect("the summary can be written");
    }
    let committed = fs::read_to_string(SNAPSHOT).unwrap_or_default();
    let lines = served.lines().zip(committed.lines().chain(iter::repeat("")));
    let other = lines.enumerate().find(|(_, (one, other))| one != other);
    assert!(
        served == committed,
        "the summary of /openapi.json is not tests/api/openapi.txt, first where it is now {other:?}. If the change is meant, renew the file and look at the difference: RENEW_OPENAPI=1 cargo test --test api openapi_snapshot"
    );
}
