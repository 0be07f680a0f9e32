//! Exports in files: seed, export, reset.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use devicegraph::{
    config::{self, Settings},
    import_export,
    resources::configurations::vault::Vault,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{App, CONFIGURATIONS, RULES, beta, database, group, is_remote},
    secrets::KEY,
};

pub(crate) fn vault() -> Vault {
    Vault::new(&config::Secrets { key: Some(KEY.to_owned().into()) }).expect("a key")
}

const BASE: &str = "microsoft.graph.deviceAndAppManagementAssignmentTarget";

/// Returns every configuration with its assignments, as `/beta` shows them.
pub(crate) async fn store(app: &App) -> BTreeMap<String, Value> {
    let mut store = BTreeMap::new();
    for mut configuration in app.get(&format!("{}?$top=999", beta(CONFIGURATIONS))).await.json()["value"]
        .as_array()
        .expect("a collection")
        .clone()
    {
        let id = configuration["id"].as_str().expect("an id").to_owned();
        configuration["assignments"] = json!(app.assignments(&format!("{}/{id}", beta(CONFIGURATIONS))).await);
        store.insert(id, configuration);
    }
    store
}

pub(crate) fn without_times(mut store: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    for configuration in store.values_mut() {
        for name in ["@odata.etag", "createdDateTime", "lastModifiedDateTime", "version"] {
            configuration.as_object_mut().expect("an object").remove(name);
        }
    }
    store
}

pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let entries = entries.filter(|path| !path.ends_with(".devicegraph-export.json"));
    entries.map(|path| (path.file_name().expect("a name").into(), fs::read(&path).expect("a file"))).collect()
}

pub(crate) async fn export(app: &App) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    import_export::export(app.pool(), folder.path(), false, || ()).await.expect("an export");
    folder
}

/// Seeds from these files. Returns the numbers of created, changed and unchanged configurations, or
/// the error without the path of the folder.
async fn seed(app: &App, files: &[(&str, &str)]) -> Result<(usize, usize, usize), String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let seeds = match import_export::read(folder.path(), RULES) {
        Ok(seeds) => import_export::seed(app.pool(), &vault(), seeds, || ()).await,
        Err(error) => Err(error),
    };
    match seeds {
        Ok(done) => Ok((done.created, done.changed, done.unchanged)),
        Err(error) => Err(format!("{error:#}").replace(&format!("{}", folder.path().display()), "…")),
    }
}

#[actix_web::test]
async fn a_seed_from_an_export_restores_the_store_and_exports_the_same_bytes() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    for entry in fs::read_dir(samples).expect("the samples") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a sample");
        let created = app.send_text(reqwest::Method::POST, CONFIGURATIONS, text).await;
        if created.status != 201 {
            continue;
        }
        let path = format!("{}/{}", beta(CONFIGURATIONS), created.id());
        let mut filtered = group("a");
        filtered["intent"] = "remove".into();
        filtered["target"]["deviceAndAppManagementAssignmentFilterId"] = "f".into();
        filtered["target"]["deviceAndAppManagementAssignmentFilterType"] = "exclude".into();
        for body in [
            filtered,
            group("b"),
            json!({"target": {"@odata.type": BASE}}),
            json!({"target": {"@odata.type": BASE}}),
            json!({"target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}, "source": "policySets", "sourceId": "p"}),
        ] {
            assert_eq!(app.post(&format!("{path}/assignments"), &body).await.status, 201);
        }
    }
    let before = store(&app).await;
    assert_eq!(before.len(), 17);
    let first = export(&app).await;
    assert_eq!(files(first.path()).len(), 17);
    assert_eq!(import_export::reset(app.pool()).await.expect("a reset"), 17);
    assert_eq!(store(&app).await, BTreeMap::new());

    let seeds = import_export::read(first.path(), RULES).expect("an export can be read");
    let done = import_export::seed(app.pool(), &vault(), seeds, || ()).await.expect("an export can be seeded");
    assert_eq!((done.created, done.changed, done.unchanged), (17, 0, 0));
    assert_eq!(without_times(store(&app).await), without_times(before));
    assert_eq!(files(export(&app).await.path()), files(first.path()));
}

#[actix_web::test]
async fn a_seed_keeps_the_secrets_that_the_store_has() {
    if is_remote() {
        return;
    }
    let with_key = |settings: &mut Settings| settings.secrets.key = Some(KEY.to_owned().into());
    let app = App::start_on(database(true).await, with_key).await;
    let body = json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a", "omaSettings": [
        {"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./s", "value": "hunter2", "isEncrypted": true},
    ]});
    let created = app.post(&beta(CONFIGURATIONS), &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let exported = created.text.clone();
    assert_eq!(seed(&app, &[("a.json", &exported)]).await, Ok((0, 0, 1)));
    // A copy with another id gets its own secret.
    let copy = uuid::Uuid::new_v4().to_string();
    let file = exported.replace(&format!(r#""id":"{}""#, created.id()), &format!(r#""id":"{copy}""#));
    assert_eq!(seed(&app, &[("a.json", &file)]).await, Ok((1, 0, 0)));
    assert_eq!(seed(&app, &[("a.json", &file)]).await, Ok((0, 0, 1)));
    let plain = async |id: &str| {
        let one = format!("{CONFIGURATIONS}/{id}");
        let settings = app.get(&beta(&one)).await.json()["omaSettings"].clone();
        let reference = settings[0]["secretReferenceValueId"].as_str().expect("a reference").to_owned();
        let path = format!("{one}/getOmaSettingPlainTextValue(secretReferenceValueId='{reference}')");
        let answer = app.get(&path).await;
        (answer.status.as_u16(), answer.json()["value"].clone())
    };
    app.delete(&format!("{CONFIGURATIONS}/{}", created.id())).await;
    assert_eq!(plain(&copy).await, (200, json!("hunter2")));
    // A seed from an export that is older than the secret keeps the stored secret.
    let rotated = json!({"omaSettings": [{"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./s", "value": "new", "isEncrypted": true}]});
    app.patch(&format!("{}/{copy}", beta(CONFIGURATIONS)), &rotated).await;
    assert_eq!(seed(&app, &[("a.json", &file)]).await, Ok((0, 0, 1)));
    assert_eq!(plain(&copy).await, (200, json!("new")));
    // The secret was deleted with its configuration. A seed restores everything else and logs the
    // loss.
    assert_eq!(seed(&app, &[("a.json", &exported)]).await, Ok((1, 0, 0)));
    assert_eq!(plain(&created.id()).await.0, 404);
    let read = app.get(&format!("{}/{}", beta(CONFIGURATIONS), created.id())).await;
    let mut changed = read.json();
    changed["description"] = "changed".into();
    let patched = app.patch(&format!("{}/{}", beta(CONFIGURATIONS), created.id()), &changed).await;
    assert_eq!(patched.status, 204, "{}", patched.text);
    // With a new value the setting has a secret again.
    let again = json!({"omaSettings": body["omaSettings"]});
    app.patch(&format!("{}/{}", beta(CONFIGURATIONS), created.id()), &again).await;
    assert_eq!(plain(&created.id()).await, (200, json!("hunter2")));
}

#[actix_web::test]
async fn an_export_follows_the_store_and_leaves_other_files_alone() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (kept, deleted) = (app.configuration().await, app.configuration().await);
    let folder = export(&app).await;
    fs::write(folder.path().join("README.md"), "mine").expect("a file");
    // Other tools name files by ids, too.
    let other = "99999999-1111-4111-8111-111111111111.json";
    fs::write(folder.path().join(other), r#"{"id": "99999999-1111-4111-8111-111111111111"}"#).expect("a file");
    app.delete(&deleted).await;
    app.patch(&kept, &json!({"displayName": "é"})).await;
    import_export::export(app.pool(), folder.path(), false, || ()).await.expect("an export");
    let id = kept.rsplit('/').next().expect("an id");
    let files = files(folder.path());
    assert_eq!(
        files.keys().map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        [format!("{id}.json"), other.to_owned(), "README.md".to_owned()]
    );
    assert_eq!(
        String::from_utf8_lossy(&files[Path::new(&format!("{id}.json"))]),
        format!(
            "{{\n  \"@odata.type\": \"#microsoft.graph.windows10CustomConfiguration\",\n  \"assignments\": [],\n  \"description\": null,\n  \"displayName\": \"é\",\n  \"id\": \"{id}\"\n}}\n"
        )
    );
}

const GRAPH: &str = r##"{
  "@odata.context": "https://graph.microsoft.com/beta/$metadata#deviceManagement/deviceConfigurations(assignments())",
  "value": [{
    "@odata.type": "#microsoft.graph.windows10CustomConfiguration",
    "id": "0F9E8D7C-6b5a-4c3d-9e2f-1a0b9c8d7e6f", "displayName": "one", "version": 7, "createdDateTime": "2021-01-01T00:00:00Z",
    "roleScopeTagIds": ["0"], "supportsScopeTags": true, "@microsoft.graph.tips": "…",
    "assignments@odata.context": "…",
    "assignments": [
      {"id": "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f_adadadad-808e-44e2-905a-0b7873a8a531", "source": "direct", "sourceId": "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f", "intent": "apply",
       "target": {"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget", "deviceAndAppManagementAssignmentFilterId": null, "deviceAndAppManagementAssignmentFilterType": "none"}},
      {"target": {"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}}
    ]
  }]
}"##;
const TWO: &str = r##"{"@odata.type": "#microsoft.graph.windowsKioskConfiguration", "displayName": "two"}"##;
const THREE: &str = r##"[{"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "three", "value": 3, "assignments": []}]"##;

#[actix_web::test]
async fn every_file_format_of_other_tools_is_read_and_a_second_seed_changes_nothing() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let bom = format!("\u{feff}{THREE}");
    let utf_16: Vec<u8> = bom.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("powershell.json"), utf_16).expect("a file");
    std::os::unix::fs::symlink(".", folder.path().join("again")).expect("a link");
    assert_eq!(import_export::read(folder.path(), RULES).expect("UTF-16 with its mark").len(), 1);
    let files = [
        ("a/graph.json", GRAPH),
        ("b.JSON", TWO),
        ("c.json", &*bom),
        ("notes.txt", "no JSON"),
        (".git/x.json", "no JSON"),
    ];
    assert_eq!(seed(&app, &files).await, Ok((3, 0, 0)));
    let first = store(&app).await;
    assert_eq!(seed(&app, &files).await, Ok((0, 0, 3)));
    assert_eq!(store(&app).await, first, "no version and no time has changed");
    let one = &first["0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"];
    assert_eq!((&one["version"], &one["roleScopeTagIds"]), (&json!(1), &json!(["0"])));
    assert_eq!(one["assignments"].as_array().map(Vec::len), Some(2));

    // A changed file changes the stored configuration. It changes the assignments only if it has
    // the member `assignments`.
    let changed = GRAPH.replace("\"one\"", "\"uno\"").replace("allDevices", "allLicensedUsers");
    let two = TWO.replace('}', ", \"assignments\": []}");
    app.post(
        &format!(
            "{CONFIGURATIONS}/{}/assignments",
            first.values().find(|value| value["displayName"] == "two").expect("two")["id"].as_str().expect("an id")
        ),
        &group("a"),
    )
    .await;
    assert_eq!(seed(&app, &[("graph.json", &changed), ("two.json", TWO)]).await, Ok((0, 1, 1)));
    assert_eq!(seed(&app, &[("two.json", &two)]).await, Ok((0, 1, 0)));
    let second = store(&app).await;
    let one = &second["0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"];
    assert_eq!((&one["version"], &one["displayName"]), (&json!(2), &json!("uno")));
    assert!(
        one["assignments"].to_string().contains("allLicensedUsers")
            && !one["assignments"].to_string().contains("allDevices")
    );
    assert!(second.values().all(|value| value["displayName"] != "two" || value["assignments"] == json!([])));
    assert_eq!(second.len(), 3, "a configuration that no file has stays");
}

/// Each case has the stored assignments and those of the file. After the seed the store has those
/// of the file, and ids move with their targets.
#[actix_web::test]
async fn after_a_seed_the_store_has_the_assignments_of_the_file() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let ids = [(); 3].map(|()| uuid::Uuid::now_v7().to_string());
    let base = json!({"@odata.type": BASE});
    let excluded = json!({"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "a"});
    let [a, b] = ["a", "b"].map(|name| group(name)["target"].clone());
    let with_id = |id: &str, target: &Value| json!({"id": id, "target": target});
    let configuration = uuid::Uuid::new_v4().to_string();
    let file = |assignments: &[Value]| {
        json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "x", "id": configuration, "assignments": assignments})
            .to_string()
    };
    let sets = [
        vec![with_id(&ids[0], &base)],
        vec![with_id(&ids[0], &a)],
        vec![with_id(&ids[0], &a), with_id(&ids[1], &b)],
        vec![with_id(&ids[0], &b), with_id(&ids[1], &a)],
        vec![with_id(&ids[2], &excluded), with_id(&ids[1], &base), with_id(&ids[0], &base)],
        vec![],
        vec![with_id(&ids[2], &b)],
    ];
    for (n, set) in sets.iter().enumerate() {
        let done = seed(&app, &[("x.json", &file(set))]).await;
        assert_eq!(done, Ok(if n == 0 { (1, 0, 0) } else { (0, 1, 0) }), "{n}");
        let stored = app.assignments(&format!("{CONFIGURATIONS}/{configuration}")).await;
        let mut stored: Vec<_> =
            stored.iter().map(|one| with_id(one["id"].as_str().expect("an id"), &one["target"])).collect();
        let mut said = set.clone();
        stored.sort_by_key(Value::to_string);
        said.sort_by_key(Value::to_string);
        assert_eq!(stored, said, "{n}");
        assert_eq!(seed(&app, &[("x.json", &file(set))]).await, Ok((0, 0, 1)), "{n}");
    }
    // When the file has no id, the stored id stays.
    assert_eq!(seed(&app, &[("x.json", &file(&[json!({ "target": b })]))]).await, Ok((0, 0, 1)));
    let twice = seed(&app, &[("x.json", &file(&[with_id(&ids[0], &a), with_id(&ids[0], &b)]))]).await;
    assert_eq!(
        twice,
        Err("…/x.json: assignments[1].id repeats the id of assignments[0]; give each assignment its own id, or none"
            .to_owned())
    );
}

#[actix_web::test]
async fn a_refused_seed_names_the_file_and_the_member_and_writes_nothing() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let there = app.configuration().await;
    let taken = app.post(&format!("{there}/assignments"), &group("a")).await.id();
    let there = there.rsplit('/').next().expect("an id");
    let before = store(&app).await;
    let typed = |members: &str| format!(r##"{{"@odata.type": "#microsoft.graph.iosCustomConfiguration", {members}}}"##);
    for (files, message) in [
        (vec![("a.json", TWO), ("b.json", "{")], "…/b.json: EOF while parsing an object at line 1 column 1"),
        (
            vec![("a.json", TWO), ("b.json", "5")],
            "…/b.json: it holds a number; it must hold a configuration or an array of configurations",
        ),
        (vec![("a.json", TWO), ("b.json", "[5]")], "…/b.json: [0]: it is a number; it must be a configuration"),
        (
            vec![("a.json", &*TWO.replace("}", ", \"displayName\": \"x\"}"))],
            "…/a.json: the member 'displayName' appears twice in one object",
        ),
        (vec![("a.json", TWO), ("b.json", &*typed(r#""x": 1"#))], "…/b.json: The member 'displayName' is missing."),
        (
            vec![("a.json", &*format!("[{TWO}, {}]", typed(r#""displayName": null"#)))],
            "…/a.json: Cannot convert the literal 'null' to the expected type 'Edm.String' for the member '[1].displayName'.",
        ),
        (
            vec![("a.json", &*GRAPH.replace("windows10CustomConfiguration", "groupAssignmentTarget"))],
            "…/a.json: An entry with type 'microsoft.graph.groupAssignmentTarget' was found, but it is not assignable",
        ),
        (
            vec![("a.json", &*GRAPH.replace("\"id\": \"0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f_", "\"id\": \"x"))],
            "…/a.json: The value 'xadadadad-808e-44e2-905a-0b7873a8a531' of 'value[0].assignments[0].id' is not a GUID.",
        ),
        (
            vec![("a.json", &*GRAPH.replace("allDevicesAssignmentTarget", "groupAssignmentTarget"))],
            "…/a.json: The member 'value[0].assignments[0].target.groupId' is missing.",
        ),
        (
            vec![("a.json", &*GRAPH.replace("\"value\"", "\"@odata.nextLink\": \"x\", \"value\""))],
            "…/a.json: it has an @odata.nextLink, so it is only one page",
        ),
        (
            vec![("a.json", TWO), ("b.json", TWO)],
            "…/b.json: the same configuration is at …/a.json: both have this type and name; give each an id, a GUID",
        ),
        (
            vec![("a.json", GRAPH), ("b.json", GRAPH)],
            "…/b.json: value[0]: the same configuration is at …/a.json: value[0]: both have the id",
        ),
        (
            vec![("a.json", TWO), ("b.json", &*typed(&format!(r#""displayName": "x", "id": "{there}""#)))],
            "…/b.json: the configuration",
        ),
        (
            vec![
                ("a.json", TWO),
                (
                    "b.json",
                    &*typed(&format!(
                        r#""displayName": "x", "assignments": [{}]"#,
                        json!({"id": taken, "target": group("b")["target"]})
                    )),
                ),
            ],
            "…/b.json: assignments[0].id belongs to an assignment of another configuration; leave it out",
        ),
        (
            vec![
                ("a.json", TWO),
                ("b.json", &*typed(&format!(r#""displayName": "x", "assignments": [{}, {}]"#, group("b"), group("b")))),
            ],
            "…/b.json: assignments[1].target repeats the target of assignments[0]; keep one of the two",
        ),
        (vec![("a.txt", TWO)], "…: there is no file *.json in this folder"),
    ] {
        let refused = seed(&app, &files).await.expect_err(message);
        assert!(refused.starts_with(message), "{refused}");
        assert_eq!(store(&app).await, before, "{message}");
    }
    let missing = import_export::read(Path::new("/no/such/file.json"), RULES).expect_err("a file that does not exist");
    assert!(format!("{missing:#}").starts_with("cannot read /no/such/file.json"));
}
