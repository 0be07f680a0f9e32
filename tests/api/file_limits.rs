//! The number of JSON values that `seed` reads from one file.

use std::{fs, path::Path};

use devicegraph::{
    config,
    import_export::{self, Done, FileRules},
    resources::configurations::vault::Vault,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{App, CONFIGURATIONS, RULES, beta, database, group, is_remote};

/// Creates a folder with one file.
fn folder(text: impl AsRef<[u8]>) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.json"), text).expect("a file");
    folder
}

/// Reads a folder that must be refused. Returns the message without the path of the folder.
fn refusal(folder: &TempDir, max_values: usize) -> String {
    let refusal = import_export::read(folder.path(), FileRules { max_values, ..RULES }).expect_err("a refusal");
    format!("{refusal:#}").replace(&folder.path().display().to_string(), "…")
}

/// Returns a configuration with this number of values in `bytes` bytes.
fn configuration(values: usize, bytes: usize) -> String {
    let ones = vec!["1"; values - 6].join(",");
    let start =
        format!(r##"{{"@odata.type":"#microsoft.graph.iosUpdateConfiguration","displayName":"a","x":[{ones}],"t":""##);
    format!(r#"{start}{}"}}"#, "y".repeat(bytes - start.len() - 2))
}

#[test]
fn a_file_with_too_many_values_is_refused_with_the_setting() {
    // The limit of a file is the larger of two numbers: the limit of a body plus one value for
    // every 32 bytes, and one value for every 16 bytes.
    for (bytes, max_values, limit) in [(3200, 1000, 1100), (3200, 0, 200), (3200, 100, 200), (3200, 101, 201)] {
        let read = |values| {
            import_export::read(folder(configuration(values, bytes)).path(), FileRules { max_values, ..RULES })
        };
        assert_eq!(read(limit).expect("a configuration").len(), 1, "{bytes} {max_values}");
        assert!(read(limit + 1).is_err(), "{bytes} {max_values}");
    }
    let text = configuration(1200, 3200);
    let expected = "…/a.json: it holds 1200 JSON values, and the limit for a file of this size is 1100; an object with members counts as two; if the file is right, set server.max_body_values to 1100 or more";
    assert_eq!(refusal(&folder(&text), 1000), expected);
    assert_eq!(
        import_export::read(folder(&text).path(), FileRules { max_values: 1100, ..RULES })
            .expect("the setting helps")
            .len(),
        1
    );
    // PowerShell writes UTF-16. The limit counts the text and not its encoding.
    let units: Vec<u8> = ['\u{feff}'].into_iter().chain(text.chars()).flat_map(|c| (c as u16).to_le_bytes()).collect();
    assert_eq!(refusal(&folder(units), 1000), expected);
}

#[test]
fn every_file_with_too_many_values_is_listed() {
    let folder = folder(configuration(1200, 3200));
    fs::write(folder.path().join("b.json"), configuration(1300, 3200)).expect("a file");
    let said = refusal(&folder, 1000);
    assert!(said.starts_with("2 files are refused\n…/"), "{said}");
    assert!(said.contains("a.json: it holds 1200 ") && said.contains("b.json: it holds 1300 "), "{said}");
}

async fn seed(app: &App, folder: &Path, max_values: usize) -> Done {
    let vault = Vault::new(&config::Secrets::default()).expect("no key");
    let seeds = import_export::read(folder, FileRules { max_values, ..RULES }).expect("the files are right");
    import_export::seed(app.pool(), &vault, seeds, || ()).await.expect("the files can be seeded")
}

#[actix_web::test]
async fn many_ordinary_configurations_in_one_file_are_loaded() {
    if is_remote() {
        return;
    }
    let sample = fs::read_to_string("tests/samples/04-iosUpdate.json").expect("a sample");
    let mut sample: Value = serde_json::from_str(&sample).expect("JSON");
    let mut all = Vec::new();
    let mut values = 1;
    while values <= RULES.max_values {
        sample["displayName"] = format!("{}", all.len()).into();
        values += devicegraph::json::count_values_in(&sample);
        all.push(sample.clone());
    }
    let app = App::start().await;
    let done = seed(&app, folder(Value::from(all.clone()).to_string()).path(), RULES.max_values).await;
    assert!(all.len() > 3000, "{} configurations", all.len());
    assert_eq!(done, Done { created: all.len(), ..Done::default() });
}

#[actix_web::test]
async fn an_export_of_what_requests_have_written_is_loaded() {
    if is_remote() {
        return;
    }
    const MAX: usize = 2000;
    let app = App::start_on(database(true).await, |settings| settings.server.max_body_values = Some(MAX)).await;
    let collection = beta(CONFIGURATIONS);
    let body = |ones: usize| {
        let mut body = json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a"});
        body["x"] = json!(vec![1; ones]);
        body
    };
    assert_eq!(app.post(&collection, &body(MAX - 4)).await.status, 413);
    for (targets, others) in [(0, 0), (0, 4), (1, 0), (40, 4), (150, 0), (600, 4)] {
        let created = app.post(&collection, &body(MAX - 5)).await;
        assert_eq!(created.status, 201, "the most values of a body");
        let path = format!("{collection}/{}", created.id());
        let others: serde_json::Map<_, _> = (0..others).map(|n| (format!("other{n}"), n.into())).collect();
        assert_eq!(app.patch(&path, &others.into()).await.status, 204, "the most values of a configuration");
        for target in 0..targets {
            let created = app.post(&format!("{path}/assignments"), &group(&target.to_string())).await;
            assert_eq!(created.status, 201);
        }
        let exported = tempfile::tempdir().expect("a folder");
        import_export::export(app.pool(), exported.path(), false, || ()).await.expect("an export");
        let done = seed(&app, exported.path(), MAX).await;
        assert_eq!(done, Done { unchanged: 1, ..Done::default() }, "{targets}");
        assert_eq!(app.send(Method::DELETE, &path).await.status, 204);
    }
}
