//! The files that an export may remove and overwrite, and the commands that may change a database.

use std::{fs, path::Path};

use devicegraph::import_export;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    harness::{App, CONFIGURATIONS, database, is_remote},
    service::{Folder, Service, devicegraph, refusal, success},
};

const MANIFEST: &str = ".devicegraph-export.json";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

async fn export(app: &App, folder: &Path, force: bool) -> Result<usize, String> {
    import_export::export(app.pool(), folder, force, || ()).await.map_err(|error| format!("{error:#}"))
}

/// Returns the names of the files in a folder, without the manifest.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> =
        entries.map(|name| name.to_string_lossy().into_owned()).filter(|name| name != MANIFEST).collect();
    names.sort();
    names
}

#[actix_web::test]
async fn an_export_removes_what_an_earlier_one_wrote_and_nothing_else() {
    if is_remote() {
        return;
    }
    let (app, folder) = (App::start().await, folder());
    let (kept, gone) = (app.configuration().await, app.configuration().await);
    let id = |path: &str| path.rsplit('/').next().expect("an id").to_owned();
    // A file of another tool. It has an id as its name and the members of an exported file.
    let other = Uuid::new_v4();
    let foreign =
        json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "id": other, "assignments": []}).to_string();
    fs::write(folder.path().join(format!("{other}.json")), &foreign).expect("a file");
    fs::create_dir(folder.path().join(format!("{}.json", Uuid::new_v4()))).expect("a folder");
    assert_eq!(export(&app, folder.path(), false).await, Ok(2));
    let before = names(folder.path());
    assert_eq!(app.delete(&gone).await.status, 204);
    assert_eq!(export(&app, folder.path(), false).await, Ok(1));
    let expected: Vec<_> = before.into_iter().filter(|name| *name != format!("{}.json", id(&gone))).collect();
    assert_eq!(names(folder.path()), expected);
    assert!(expected.contains(&format!("{}.json", id(&kept))));
    assert_eq!(fs::read_to_string(folder.path().join(format!("{other}.json"))).expect("a file"), foreign);
}

#[actix_web::test]
async fn an_export_of_an_empty_store_removes_files_only_with_force() {
    if is_remote() {
        return;
    }
    let (app, folder) = (App::start().await, folder());
    let path = app.configuration().await;
    assert_eq!(export(&app, folder.path(), false).await, Ok(1));
    let before = names(folder.path());
    assert_eq!(app.delete(&path).await.status, 204);
    let refused = export(&app, folder.path(), false).await.expect_err("an export that would only remove files");
    assert!(
        refused.starts_with("the store has no configuration, and the export would only remove files from "),
        "{refused}"
    );
    assert!(refused.contains(&before[0]) && refused.ends_with("or remove them with --force"), "{refused}");
    assert_eq!(names(folder.path()), before);
    assert_eq!(export(&app, folder.path(), true).await, Ok(0));
    assert!(names(folder.path()).is_empty());
}

#[actix_web::test]
async fn the_export_of_another_store_is_not_replaced() {
    if is_remote() {
        return;
    }
    let (one, other, folder) = (App::start().await, App::start().await, folder());
    // The databases of the tests are copies of one template, so both stores have the same id.
    sqlx::query("UPDATE devicegraph_store SET id = gen_random_uuid()").execute(other.pool()).await.expect("another id");
    one.configuration().await;
    other.configuration().await;
    assert_eq!(export(&one, folder.path(), false).await, Ok(1));
    let before = names(folder.path());
    let refused = export(&other, folder.path(), false).await.expect_err("another store");
    assert!(refused.contains("holds the export of another store") && refused.contains(&before[0]), "{refused}");
    assert_eq!(names(folder.path()), before);
    assert_eq!(export(&other, folder.path(), true).await, Ok(1));
    assert_ne!(names(folder.path()), before);
    // The folder now belongs to the second store.
    assert_eq!(export(&other, folder.path(), false).await, Ok(1));
}

#[actix_web::test]
async fn a_file_that_no_export_wrote_is_not_overwritten() {
    if is_remote() {
        return;
    }
    let (app, folder) = (App::start().await, folder());
    let id = app.configuration().await.rsplit('/').next().expect("an id").to_owned();
    let path = folder.path().join(format!("{id}.json"));
    fs::write(&path, "another tool's").expect("a file");
    let refused = export(&app, folder.path(), false).await.expect_err("a file of another tool");
    assert!(refused.contains(&id) && refused.contains("overwrite them with --force"), "{refused}");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "another tool's");
    assert_eq!(export(&app, folder.path(), true).await, Ok(1));
    // An export without its manifest is still recognized.
    fs::remove_file(folder.path().join(MANIFEST)).expect("a manifest");
    assert_eq!(export(&app, folder.path(), false).await, Ok(1));
}

#[actix_web::test]
async fn a_manifest_names_only_files_of_its_folder() {
    if is_remote() {
        return;
    }
    let (app, outer) = (App::start().await, folder());
    app.configuration().await;
    let folder = outer.path().join("export");
    assert_eq!(export(&app, &folder, false).await, Ok(1));
    let victim = outer.path().join(format!("{}.json", Uuid::new_v4()));
    fs::write(&victim, "kept").expect("a file");
    fs::write(folder.join("notes.json"), "kept").expect("a file");
    let text = fs::read_to_string(folder.join(MANIFEST)).expect("a manifest");
    let mut manifest: Value = serde_json::from_str(&text).expect("JSON");
    let up = format!("../{}", victim.file_name().expect("a name").to_string_lossy());
    for name in [up.as_str(), "notes.json", "..", "", "/etc/passwd", victim.to_str().expect("text")] {
        manifest["files"].as_array_mut().expect("files").push(name.into());
    }
    fs::write(folder.join(MANIFEST), manifest.to_string()).expect("a file");
    assert_eq!(export(&app, &folder, false).await, Ok(1));
    assert!(victim.exists() && folder.join("notes.json").exists());
    fs::write(folder.join(MANIFEST), "{").expect("a file");
    let refused = export(&app, &folder, false).await.expect_err("a file that is no manifest");
    assert!(refused.starts_with("cannot read the manifest "), "{refused}");
    assert_eq!(export(&app, &folder, true).await, Ok(1));
}

#[actix_web::test]
async fn an_export_writes_through_no_link() {
    if is_remote() {
        return;
    }
    let (app, folder) = (App::start().await, folder());
    let id = app.configuration().await.rsplit('/').next().expect("an id").to_owned();
    let victim = folder.path().join("victim");
    fs::write(&victim, "kept").expect("a file");
    for name in [format!("{id}.json.new"), format!("{id}.json"), MANIFEST.to_owned()] {
        std::os::unix::fs::symlink(&victim, folder.path().join(name)).expect("a link");
    }
    assert_eq!(export(&app, folder.path(), true).await, Ok(1));
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "kept");
    for name in [format!("{id}.json"), MANIFEST.to_owned()] {
        assert!(fs::symlink_metadata(folder.path().join(&name)).expect("a file").is_file(), "{name}");
    }
}

#[test]
fn only_the_service_creates_a_database() {
    let folder = Folder::new();
    let backup = folder.0.join("backup");
    fs::create_dir(&backup).expect("a folder");
    fs::write(backup.join("a.json"), "{}").expect("a file");
    let backup = backup.to_string_lossy().into_owned();
    for arguments in [&["export", &backup][..], &["seed", &backup], &["reset", "--yes"], &["migrate"], &["check"]] {
        let said = refusal(folder.command().args(arguments));
        let expected = format!("there is no database in {}; start the service once", folder.data_dir().display());
        assert!(said.starts_with(&expected), "{arguments:?}: {said}");
        assert!(!folder.data_dir().exists(), "{arguments:?}");
    }
    // The message has the absolute path of a relative folder.
    let said =
        refusal(devicegraph(&folder.0).args(["export", &backup]).env("DEVICEGRAPH__DATABASE__DATA_DIR", "nowhere"));
    assert!(said.contains(&format!("{}/nowhere", folder.0.canonicalize().expect("a folder").display())), "{said}");
}

#[test]
fn a_command_that_changes_a_database_names_it_first() {
    let folder = Folder::new();
    let service = Service::start(&mut folder.command());
    service.create("a");
    let backup = folder.0.join("backup");
    success(folder.command().args(["export", &backup.to_string_lossy()]));
    for arguments in [&["seed", &backup.to_string_lossy()][..], &["reset", "--yes"]] {
        // The message does not depend on the log filter.
        let said = success(folder.command().args(arguments).env("DEVICEGRAPH__LOG__FILTER", "off"));
        let name = arguments[0];
        let expected = format!("{name} is about to change the private database in {}", folder.data_dir().display());
        assert!(said.contains(&expected), "{said}");
    }
    let answer = service.request("GET", CONFIGURATIONS, "").1;
    assert!(answer.contains(r#""value":[]"#), "{answer}");
}

/// Only commands that change a database apply its migrations.
#[actix_web::test]
async fn a_command_that_only_reads_applies_no_migration() {
    if is_remote() {
        return;
    }
    let options = database(false).await;
    let folder = Folder::new();
    for arguments in [&["export", "backup"][..], &["check"]] {
        let said = refusal(folder.command_on(&options).args(arguments).env("DEVICEGRAPH__DATABASE__MIGRATE", "true"));
        assert_eq!(said, "the database lacks migrations; run `devicegraph migrate` as the owner of its tables");
    }
    let pool = PgPool::connect_with(options).await.expect("a database");
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&pool).await.expect("a count"), 0);
    pool.close().await;
}

/// An export leaves out values that JSON cannot hold. A seed from this export does not remove them.
#[actix_web::test]
async fn an_export_that_is_loaded_again_keeps_what_json_cannot_hold() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let (app, files, folder) = (App::start_on(options.clone(), |_| ()).await, folder(), Folder::new());
    app.configuration().await;
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let update =
        format!(r#"UPDATE device_configurations SET properties = '{{"huge": 1e400, "deep": {deep}, "text": "a"}}'"#);
    app.pool().execute(AssertSqlSafe(update)).await.expect("SQL accepts it");
    let stored = "SELECT properties::text FROM device_configurations";
    let before: String = sqlx::query_scalar(stored).fetch_one(app.pool()).await.expect("a row");
    assert_eq!(export(&app, files.path(), false).await, Ok(1));
    let said = success(folder.command_on(&options).args(["seed", &files.path().to_string_lossy()]));
    assert!(said.contains(r#""unchanged":1"#), "{said}");
    let after: String = sqlx::query_scalar(stored).fetch_one(app.pool()).await.expect("a row");
    assert_eq!(after, before);
}
