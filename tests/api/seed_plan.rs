//! `seed --plan` and `seed --prune`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufReader, Read, Write},
    path::Path,
    process::{Command, Output, Stdio},
};

use devicegraph::import_export::{self, Action, Done, FileRules, Plan, Prune};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    harness::{App, CONFIGURATIONS, RULES, beta, database, group, is_remote, until, waiting_for_locks},
    secrets::KEY,
    service::{Folder, refusal, success},
    transfer::{export, store, vault, without_times},
};

const CUSTOM: &str = "#microsoft.graph.windows10CustomConfiguration";

/// A folder with one file of these configurations.
fn folder(configurations: &[Value]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("all.json"), json!(configurations).to_string()).expect("a file");
    folder
}

async fn plan(app: &App, folder: &Path, prune: bool) -> Result<Plan, String> {
    let seeds = import_export::read(folder, RULES).expect("the files are valid");
    import_export::plan(app.pool(), &vault(), seeds, prune).await.map_err(|error| format!("{error:#}"))
}

async fn seed(app: &App, folder: &Path, prune: bool) -> Result<Done, String> {
    let seeds = import_export::read(folder, RULES).expect("the files are valid");
    let prune = if prune { Prune::All } else { Prune::Nothing };
    let done = import_export::seed_and_prune(app.pool(), &vault(), seeds, &prune, || ()).await;
    done.map_err(|error| format!("{error:#}"))
}

/// Every row of every table, with the transaction that wrote it.
async fn tables(pool: &PgPool) -> Vec<String> {
    let tables = "SELECT format('SELECT coalesce(string_agg(t.xmin || '' '' || t.ctid || '' '' || t, E''\\n'' ORDER BY t.ctid), '''') FROM %s AS t', oid::regclass)
                  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname";
    let statements: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.expect("the tables");
    let mut rows = Vec::new();
    for statement in statements {
        rows.push(sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(pool).await.expect("the rows"));
    }
    rows
}

/// What can be in a file: the number of a configuration, and its content.
fn configuration(ids: [Uuid; 5], assigned: [Uuid; 6]) -> impl Strategy<Value = (usize, Value)> {
    let text = || prop_oneof![Just("a"), Just("b"), Just("é \"'\\ \u{1b}")];
    let setting = (text(), text()).prop_map(|(uri, value)| {
        json!({"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": uri, "value": value})
    });
    let unknown = prop_oneof![
        Just(json!(1)),
        Just(json!([])),
        Just(json!([1, {"b": "c"}])),
        Just(json!({"a": [true], "b": {"c": 2.5}})),
        Just(Value::Null),
    ];
    let assignment = (prop::option::of(0..6_usize), prop::bool::ANY, prop::bool::ANY);
    let targets = prop::sample::subsequence(vec!["a", "b", "devices", "base", "base"], 0..5);
    let assignments =
        (targets, [assignment.clone(), assignment.clone(), assignment.clone(), assignment.clone(), assignment]);
    let assignments = assignments.prop_map(move |(targets, all)| {
        let assignment = |(target, (id, is_excluded, is_removed)): (&str, (Option<usize>, bool, bool))| {
            let target = match target {
                "devices" => json!({"@odata.type": "#microsoft.graph.allDevicesAssignmentTarget"}),
                "base" => json!({"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}),
                group if is_excluded => {
                    json!({"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": group})
                }
                group => self::group(group)["target"].clone(),
            };
            let mut assignment = json!({"target": target, "intent": if is_removed { "remove" } else { "apply" }});
            if let Some(id) = id {
                assignment["id"] = json!(assigned[id]);
            }
            assignment
        };
        Value::from_iter(targets.into_iter().zip(all).map(assignment))
    });
    let members = (
        prop::option::of(text()),
        prop::option::of(prop::collection::vec(setting, 0..3)),
        prop::option::of(unknown),
        prop::option::of(assignments),
        prop::option::of(prop::collection::vec(text(), 0..3)),
    );
    (0..5_usize, text(), members, prop::bool::weighted(0.02)).prop_map(
        move |(n, name, (description, settings, unknown, assignments, tags), has_other_type)| {
            let odata_type = if has_other_type { "#microsoft.graph.windows81GeneralConfiguration" } else { CUSTOM };
            let mut members = Map::new();
            members.insert("@odata.type".to_owned(), odata_type.into());
            members.insert("id".to_owned(), json!(ids[n]));
            members.insert("displayName".to_owned(), name.into());
            members.insert("description".to_owned(), json!(description));
            members.extend(assignments.map(|all| ("assignments".to_owned(), all)));
            members.extend(tags.map(|tags| ("roleScopeTagIds".to_owned(), json!(tags))));
            members.extend(unknown.map(|value| ("unknownMember".to_owned(), value)));
            if !has_other_type {
                members.extend(settings.map(|all| ("omaSettings".to_owned(), all.into())));
            }
            (n, members.into())
        },
    )
}

/// The scalars in a value with their paths.
fn leaves(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(at, one)| leaves(&format!("{path}[{at}]"), one, found));
        }
        Value::Object(members) => members.iter().for_each(|(name, one)| {
            leaves(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, one, found);
        }),
        scalar => drop(found.insert(path.to_owned(), scalar.clone())),
    }
}

type Differences = BTreeMap<String, (Option<Value>, Option<Value>)>;

/// The scalars in which two configurations differ.
fn differences(before: &Value, after: &Value) -> Differences {
    let (mut one, mut other) = (BTreeMap::new(), BTreeMap::new());
    leaves("", before, &mut one);
    leaves("", after, &mut other);
    let paths: BTreeSet<_> = one.keys().chain(other.keys()).cloned().collect();
    let pair = |path: String| (path.clone(), (one.get(&path).cloned(), other.get(&path).cloned()));
    paths.into_iter().map(pair).filter(|(_, (before, after))| before != after).collect()
}

fn by_id(all: &Value) -> BTreeMap<String, Value> {
    let all = all.as_array().expect("a collection");
    all.iter().map(|one| (one["id"].as_str().expect("an id").to_owned(), one.clone())).collect()
}

/// Checks what a plan said against the store before and after the seed.
fn check(plan: &Plan, before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) {
    let ids: BTreeSet<_> = before.keys().chain(after.keys()).filter(|id| before.get(*id) != after.get(*id)).collect();
    let planned: BTreeSet<_> = plan.changes.iter().map(|change| change.id.to_string()).collect();
    assert_eq!(planned.iter().collect::<BTreeSet<_>>(), ids, "{plan:#?}");
    for change in &plan.changes {
        let id = change.id.to_string();
        let expected = match (before.get(&id), after.get(&id)) {
            (None, _) => Action::Create,
            (_, None) => Action::Delete,
            _ => Action::Change,
        };
        assert_eq!(change.action, expected);
        let of = |store: &BTreeMap<String, Value>| store.get(&id).cloned().unwrap_or_default();
        let (mut one, mut other) = (of(before), of(after));
        let set = |of: &mut Value| match of {
            Value::Null => BTreeMap::new(),
            of => by_id(&of.as_object_mut().and_then(|of| of.remove("assignments")).expect("assignments")),
        };
        let (mut set_before, set_after) = (set(&mut one), set(&mut other));
        for assignment in &change.assignments {
            let id = |of: &Option<Value>| of.as_ref().map(|of| of["id"].as_str().expect("an id").to_owned());
            if let Some(id) = id(&assignment.before) {
                assert_eq!(set_before.remove(&id), assignment.before);
            }
            if let Some(id) = id(&assignment.after) {
                set_before.insert(id, assignment.after.clone().expect("an assignment"));
            }
        }
        assert_eq!(set_before, set_after, "{plan:#?}");
        let scalar = |value: &Option<Value>| {
            value.clone().filter(|value| !value.is_null() && !value.is_array() && !value.is_object())
        };
        let members: Differences = change
            .members
            .iter()
            .map(|member| (member.path.clone(), (scalar(&member.before), scalar(&member.after))))
            .filter(|(_, (before, after))| before != after)
            .collect();
        let all = differences(&one, &other);
        match expected {
            Action::Change => assert_eq!(members, all),
            // A plan shows what the file has, and the service also shows defaults.
            _ => assert!(
                !members.is_empty() && members.iter().all(|(path, pair)| all.get(path) == Some(pair)),
                "{members:#?}"
            ),
        }
    }
}

#[actix_web::test]
async fn a_seed_does_what_its_plan_said() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let mut runner = TestRunner::new(ProptestConfig::default());
    let (ids, assigned) = ([(); 5].map(|()| Uuid::new_v4()), [(); 6].map(|()| Uuid::new_v4()));
    let files = (prop::collection::vec(configuration(ids, assigned), 0..6), prop::bool::ANY, any::<[bool; 5]>());
    let (mut seen, mut refused) = ([0; 4], 0);
    for _ in 0..150 {
        let (configurations, prune, as_stored) = files.new_tree(&mut runner).expect("files").current();
        let (before, rows) = (without_times(store(&app).await), tables(app.pool()).await);
        let mut configurations: BTreeMap<usize, Value> = configurations.into_iter().collect();
        for n in (0..5).filter(|n| as_stored[*n]) {
            configurations.extend(before.get(&ids[n].to_string()).map(|stored| (n, stored.clone())));
        }
        let folder = folder(&configurations.into_values().collect::<Vec<_>>());
        let planned = plan(&app, folder.path(), prune).await;
        assert_eq!(tables(app.pool()).await, rows, "a plan writes nothing");
        let done = seed(&app, folder.path(), prune).await;
        let after = without_times(store(&app).await);
        let plan = match planned {
            Ok(plan) => plan,
            Err(refusal) => {
                assert_eq!((done, &after), (Err(refusal), &before));
                refused += 1;
                continue;
            }
        };
        let Done { created, changed, deleted, unchanged } = done.expect("the plan was no refusal");
        let counts = [plan.create, plan.change, plan.delete, plan.unchanged];
        assert_eq!(counts, [created, changed, deleted, unchanged]);
        check(&plan, &before, &after);
        assert!(plan.changes.is_sorted_by_key(|change| (change.display_name.clone(), change.id)));
        let again = self::plan(&app, folder.path(), prune).await.expect("a plan");
        assert_eq!((again.has_changes(), again.unchanged), (false, created + changed + unchanged));
        for (seen, count) in seen.iter_mut().zip(counts) {
            *seen += count;
        }
    }
    assert!(seen.iter().all(|count| *count > 20) && refused > 5, "{seen:?} {refused}");
}

/// Runs `devicegraph seed`. Returns the exit code, standard output and standard error.
fn run(command: &mut Command, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        command.arg("seed").args(arguments).env("DEVICEGRAPH__LOG__FILTER", "warn").output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

const NOTHING: &str = "0 to create, 0 to change, 0 to delete, 1 unchanged\n";

#[actix_web::test]
async fn a_plan_of_an_export_finds_drift() {
    if is_remote() {
        return;
    }
    let (options, tools) = (database(true).await, Folder::new());
    let app = App::start_on(options.clone(), |_| ()).await;
    let one = app.configuration().await;
    let id = one.rsplit('/').next().expect("an id");
    let assigned = app.post(&format!("{one}/assignments"), &group("a")).await.id();
    let folder = export(&app).await;
    let path = folder.path().to_string_lossy().into_owned();
    let plan = |options_of_plan: &[&str]| {
        let arguments = [&[path.as_str(), "--plan"], options_of_plan].concat();
        run(&mut tools.command_on(&options), &arguments)
    };
    assert_eq!(plan(&[]), (Some(0), NOTHING.to_owned(), String::new()));
    let empty = json!({"create": 0, "change": 0, "delete": 0, "unchanged": 1, "changes": []});
    let (code, json, _) = plan(&["--prune", "--json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&json).expect("JSON")), (Some(0), empty));

    app.pool().execute("UPDATE device_configurations SET description = 'by SQL'").await.expect("an update");
    let changed = app.patch(&format!("{}/assignments/{assigned}", beta(&one)), &json!({"intent": "remove"})).await;
    assert!(changed.status.is_success(), "{}", changed.text);
    let added = app.configuration().await;
    let (code, json, said) = plan(&["--json"]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    let target = json!({
        "@odata.type": "#microsoft.graph.groupAssignmentTarget",
        "groupId": "a",
        "deviceAndAppManagementAssignmentFilterId": null,
        "deviceAndAppManagementAssignmentFilterType": "none",
    });
    let assignment = |intent: &str| {
        json!({
            "@odata.type": "#microsoft.graph.deviceConfigurationAssignment",
            "id": assigned,
            "target": target,
            "intent": intent,
            "source": "direct",
            "sourceId": id,
        })
    };
    let expected = json!({
        "create": 0,
        "change": 1,
        "delete": 0,
        "unchanged": 0,
        "changes": [{
            "action": "change",
            "id": id,
            "displayName": "a test",
            "@odata.type": CUSTOM,
            "members": [{"path": "description", "before": "by SQL", "after": null}],
            "assignments": [{"action": "change", "before": assignment("remove"), "after": assignment("apply")}],
        }],
    });
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), expected);
    assert_eq!(json.lines().count(), 1);
    let (code, text, _) = plan(&["--prune"]);
    let added = added.rsplit('/').next().expect("an id");
    let deleted = format!("- \"a test\" windows10CustomConfiguration {added}");
    let mut changes = [
        (
            id,
            format!(
                "~ \"a test\" windows10CustomConfiguration {id}\n    description: \"by SQL\" -> null\n    ~ assignment {assigned}: groupAssignmentTarget a\n        intent: \"remove\" -> \"apply\""
            ),
        ),
        (added, deleted),
    ];
    changes.sort();
    let expected = format!("{}\n{}\n0 to create, 1 to change, 1 to delete, 0 unchanged\n", changes[0].1, changes[1].1);
    assert_eq!((code, text), (Some(2), expected));
}

#[actix_web::test]
async fn the_exit_code_of_a_wrong_command_is_not_that_of_a_plan_with_changes() {
    if is_remote() {
        return;
    }
    let (options, tools) = (database(true).await, Folder::new());
    let folder = folder(&[json!({"@odata.type": CUSTOM, "displayName": "a", "x": "y"})]);
    let path = folder.path().to_string_lossy().into_owned();
    for (arguments, code) in [
        (&["--plan"][..], 2),
        (&["--plan", "--json"], 2),
        (&["--json"], 1),
        (&["--plan", "--yes"], 1),
        (&["--yes"], 1),
        (&["--plan", "--plam"], 1),
        (&["--help"], 0),
        (&[], 0),
        (&["--plan"], 0),
    ] {
        let arguments = [&[path.as_str()], arguments].concat();
        assert_eq!(run(&mut tools.command_on(&options), &arguments).0, Some(code), "{arguments:?}");
    }
    fs::write(folder.path().join("b.json"), r#"{"displayName": "b"}"#).expect("a file");
    let mut refusals = [&[path.as_str()][..], &[&path, "--plan"]].map(|arguments| {
        refusal(tools.command_on(&options).arg("seed").args(arguments).env("DEVICEGRAPH__LOG__FILTER", "warn"))
    });
    refusals.sort();
    assert!(refusals[0].contains("b.json: "), "{refusals:?}");
    assert_eq!(refusals[0], refusals[1]);
    let (_, help, _) = run(&mut tools.command_on(&options), &["--help"]);
    assert!(help.contains("With --plan the exit code is 0") && help.contains("--prune"), "{help}");
}

#[actix_web::test]
async fn a_plan_applies_no_migration() {
    if is_remote() {
        return;
    }
    let (options, tools) = (database(false).await, Folder::new());
    let folder = folder(&[json!({"@odata.type": CUSTOM, "displayName": "a"})]);
    let mut command = tools.command_on(&options);
    command.args(["seed", "--plan"]).arg(folder.path()).env("DEVICEGRAPH__DATABASE__MIGRATE", "true");
    let said = refusal(&mut command);
    assert_eq!(said, "the database lacks migrations; run `devicegraph migrate` as the owner of its tables");
    let pool = PgPool::connect_with(options).await.expect("a database");
    assert_eq!(tables(&pool).await, Vec::<String>::new());
}

#[actix_web::test]
async fn a_plan_shows_no_secret_and_nothing_that_a_terminal_obeys() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let app = App::start_on(options.clone(), |settings| settings.secrets.key = Some(KEY.to_owned().into())).await;
    let setting = |value: &str, is_encrypted: bool| json!({"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./s", "value": value, "isEncrypted": is_encrypted});
    let body = |settings: Value| json!({"@odata.type": CUSTOM, "displayName": "\u{1b}[31m\"red\"\\\u{9b}\u{202e}", "omaSettings": settings});
    let created = app.post(&beta(CONFIGURATIONS), &body(json!([setting("hunter2", true)]))).await;
    let one = format!("{}/{}", beta(CONFIGURATIONS), created.id());
    let network = Uuid::new_v4();
    let wifi = |key: &str| json!({"@odata.type": "#microsoft.graph.iosWiFiConfiguration", "displayName": "w", "networkName": "n", "ssid": "s", "connectAutomatically": true, "connectWhenNetworkNameIsHidden": true, "disableMacAddressRandomization": true, "proxySettings": "none", "wiFiSecurityType": "wpaPersonal", "preSharedKey": key, "id": network});
    let stored = app.post(&beta(CONFIGURATIONS), &wifi("hunter2-before")).await;
    assert_eq!(stored.status, 201, "{}", stored.text);

    // The value is not encrypted any more, and the file has another key for the network. A copy
    // takes the secret along.
    let mut plain = created.json();
    plain["omaSettings"] = json!([setting("hunter2-plain", false)]);
    let mut copy = created.json();
    copy["id"] = json!(Uuid::new_v4());
    let folder = folder(&[plain, copy, wifi("hunter2-after")]);
    let planned = plan(&app, folder.path(), false).await.expect("a plan");
    assert_eq!((planned.create, planned.change), (1, 2));
    let (mut text, mut json) = (Vec::new(), Vec::new());
    planned.write_text(&mut text).expect("a text");
    planned.write_json(&mut json).expect("JSON");
    let [text, json] = [text, json].map(|bytes| String::from_utf8(bytes).expect("text"));
    for shown in [&text, &json] {
        assert!(!shown.contains("hunter2") && shown.contains("\"****\""), "{shown}");
        assert!(!shown.contains(['\u{9b}']), "{shown}");
    }
    assert!(text.contains(r#" "\u{1b}[31m\"red\"\\\u{9b}\u{202e}" "#), "{text}");
    assert!(text.contains("    omaSettings[0].value: \"****\" -> \"****\"\n"), "{text}");
    assert!(text.contains("    preSharedKey: \"****\" -> \"****\"\n"), "{text}");
    assert!(json.contains("(generated by the seed)"), "{json}");
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON")["change"], 2);
    assert_eq!(seed(&app, folder.path(), false).await.map(|done| (done.created, done.changed)), Ok((1, 2)));

    // A file with a secret is refused, and the message does not show the secret either.
    let folder = self::folder(&[body(json!([setting("hunter2", true)]))]);
    let refused = plan(&app, folder.path(), false).await.expect_err("a secret");
    assert!(refused.contains("the file has the value in plain text") && !refused.contains("hunter2"), "{refused}");
    assert_eq!(seed(&app, folder.path(), false).await, Err(refused));
    assert_eq!(app.get(&one).await.json()["omaSettings"][0]["value"], "hunter2-plain");
}

#[actix_web::test]
async fn a_long_value_is_shortened_to_the_part_that_differs() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let id = Uuid::new_v4();
    let file =
        |text: &str| folder(&[json!({"@odata.type": CUSTOM, "displayName": "a", "id": id, "description": text})]);
    let long = "é".repeat(5000);
    let before = file(&format!("{long}before{long}"));
    seed(&app, before.path(), false).await.expect("a seed");
    let planned = plan(&app, file(&format!("{long}after")).path(), false).await.expect("a plan");
    let member = &planned.changes[0].members[0];
    let e = |count| "é".repeat(count);
    let [one, other] =
        [&member.before, &member.after].map(|text| text.as_ref().expect("a text").as_str().expect("a text"));
    assert_eq!(one, format!("…{}before{}… (10006 characters)", e(20), e(174)));
    assert_eq!(other, format!("…{}after (5005 characters)", e(20)));
    let planned = plan(&app, file("").path(), false).await.expect("a plan");
    assert_eq!(planned.changes[0].members[0].before, Some(json!(format!("{}… (10006 characters)", e(200)))));
}

#[actix_web::test]
async fn the_text_has_colours_only_where_a_terminal_shows_them() {
    if is_remote() {
        return;
    }
    let (options, tools) = (database(true).await, Folder::new());
    let folder = folder(&[json!({"@odata.type": CUSTOM, "displayName": "a"})]);
    let path = folder.path().to_string_lossy().into_owned();
    let text =
        |variable: (&str, &str)| run(tools.command_on(&options).env(variable.0, variable.1), &[&path, "--plan"]).1;
    let (plain, forced) = (text(("TERM", "xterm")), text(("CLICOLOR_FORCE", "1")));
    assert!(plain.starts_with("+ \"a\" windows10CustomConfiguration "), "{plain}");
    assert!(forced.starts_with("\u{1b}[32m+ \"a\""), "{forced}");
    assert_eq!(forced.replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), plain);
}

/// A store of two configurations, and a folder that has only the first.
async fn surplus(app: &App) -> (String, String, TempDir) {
    let kept = app.configuration().await;
    let folder = export(app).await;
    let gone = app.configuration().await;
    app.post(&format!("{gone}/assignments"), &group("a")).await;
    (kept, gone, folder)
}

#[actix_web::test]
async fn only_prune_deletes_and_it_deletes_in_the_transaction_of_the_seed() {
    if is_remote() {
        return;
    }
    let (options, tools) = (database(true).await, Folder::new());
    let app = App::start_on(options.clone(), |_| ()).await;
    let (kept, gone, folder) = surplus(&app).await;
    let path = folder.path().to_string_lossy().into_owned();
    let rows = tables(app.pool()).await;
    let seed = |arguments: &[&str]| run(&mut tools.command_on(&options), &[&[path.as_str()], arguments].concat());
    assert_eq!(seed(&[]).0, Some(0));
    assert_eq!(seed(&["--plan"]).0, Some(0));
    assert_eq!(seed(&["--plan", "--prune"]).0, Some(2));
    let mut unconfirmed = tools.command_on(&options);
    let said = refusal(unconfirmed.args(["seed", &path, "--prune"]));
    assert!(said.contains("there is no terminal") && said.contains("--yes"), "{said}");
    // A file is no folder, and a folder without configurations is not the content of a store.
    let file = format!("{path}/{}.json", kept.rsplit('/').next().expect("an id"));
    let empty = self::folder(&[]);
    let empty = empty.path().to_string_lossy().into_owned();
    for (path, message) in [
        (file.as_str(), "is a file; name the folder"),
        (&empty, "the folder has no configuration, and --prune would delete every configuration"),
    ] {
        for confirmed in ["--yes", "--plan"] {
            let mut command = tools.command_on(&options);
            let said = refusal(command.args(["seed", path, "--prune", confirmed]));
            assert!(said.contains(message), "{said}");
        }
    }
    // A file that fails when the others are written.
    let taken = app.get(&format!("{gone}/assignments")).await.json()["value"][0]["id"].clone();
    let mut other = json!({"@odata.type": CUSTOM, "displayName": "other"});
    fs::write(folder.path().join("other.json"), other.to_string()).expect("a file");
    other["displayName"] = "third".into();
    other["omaSettings"] = json!([{"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "u", "value": "v", "isEncrypted": true}]);
    fs::write(folder.path().join("third.json"), other.to_string()).expect("a file");
    assert_eq!(seed(&["--prune", "--yes"]).0, Some(1));
    assert_eq!(tables(app.pool()).await, rows);
    // The id of an assignment that goes is free.
    let third = json!({"@odata.type": CUSTOM, "displayName": "third", "assignments": [{"id": taken, "target": group("b")["target"]}]});
    fs::write(folder.path().join("third.json"), third.to_string()).expect("a file");
    assert_eq!(seed(&[]).0, Some(1), "another configuration has it");
    let (code, _, said) = seed(&["--prune", "--yes"]);
    assert_eq!((code, said.starts_with("seed is about to change the database ")), (Some(0), true), "{said}");
    assert_eq!(app.get(&gone).await.status, 404);
    assert_eq!(app.get(&kept).await.status, 200);
    assert_eq!(app.get(&format!("{CONFIGURATIONS}/$count")).await.text, "3");
    let said = success(tools.command_on(&options).args(["seed", &path, "--prune", "--yes"]));
    assert!(said.contains(r#""deleted":0"#), "{said}");
}

/// Runs the command on a terminal and answers its question. Returns the exit code and what the
/// terminal shows.
fn on_terminal(command: &Command, answer: &str) -> (Option<i32>, String) {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("script is a part of util-linux");
    let mut input = child.stdin.take();
    let mut shown = Vec::new();
    // Without an end of line, the question is not a line.
    for letter in BufReader::new(child.stdout.take().expect("piped")).bytes() {
        shown.push(letter.expect("a letter"));
        if shown.ends_with(b"[y/N] ") {
            let input = input.as_mut().filter(|_| !answer.is_empty()).expect("no question is expected");
            input.write_all(answer.as_bytes()).expect("an answer");
        }
    }
    let status = child.wait().expect("an end");
    (status.code(), String::from_utf8(shown).expect("text"))
}

#[actix_web::test]
async fn prune_asks_on_a_terminal() {
    if is_remote() {
        return;
    }
    let (options, tools) = (database(true).await, Folder::new());
    let app = App::start_on(options.clone(), |_| ()).await;
    let (_, gone, folder) = surplus(&app).await;
    let mut command = tools.command_on(&options);
    command.arg("seed").arg(folder.path()).arg("--prune");
    let name = options.get_database().expect("a name");
    let question = format!("Delete 1 configuration that is not in the folder from the database {name} at ");
    for (answer, code, status) in [("n\n", 1, 200), ("\n", 1, 200), ("y\n", 0, 404)] {
        let (found, said) = on_terminal(&command, answer);
        assert_eq!((found, said.contains(&question)), (Some(code), true), "{answer:?}: {said}");
        assert_eq!(app.get(&gone).await.status, status, "{answer:?}: {said}");
    }
    // Nothing is left to delete, so there is no question.
    let (code, said) = on_terminal(&command, "");
    assert_eq!((code, said.contains("Delete")), (Some(0), false), "{said}");
}

#[actix_web::test]
async fn prune_deletes_only_what_was_confirmed() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (_, gone, folder) = surplus(&app).await;
    let prune = async |confirmed: &[&String]| {
        let id = |path: &&String| path.rsplit('/').next().expect("an id").parse().expect("an id");
        let prune = Prune::Confirmed(confirmed.iter().map(id).collect());
        let seeds = import_export::read(folder.path(), RULES).expect("the files are valid");
        let done = import_export::seed_and_prune(app.pool(), &vault(), seeds, &prune, || ()).await;
        done.map(|done| done.deleted).map_err(|error| format!("{error:#}"))
    };
    let later = app.configuration().await;
    let refused = prune(&[&gone]).await.expect_err("another one");
    assert!(refused.contains("since the question") && refused.contains("nothing is changed"), "{refused}");
    assert_eq!((app.get(&gone).await.status.as_u16(), app.get(&later).await.status.as_u16()), (200, 200));
    assert_eq!(prune(&[&gone, &later]).await, Ok(2));
}

/// Waits until a session of this database waits for a lock on the table of assignments.
async fn until_assignments_wait(app: &App) {
    until("a session waits for the table", async || {
        let waits = "SELECT EXISTS (
                         SELECT FROM pg_locks
                         WHERE NOT granted AND relation = 'device_configuration_assignments'::regclass
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
        sqlx::query_scalar(waits).fetch_one(app.pool()).await.expect("an answer")
    })
    .await;
}

const LOCK_ASSIGNMENTS: &str = "LOCK TABLE device_configuration_assignments IN ACCESS EXCLUSIVE MODE";

#[actix_web::test]
async fn a_plan_beside_the_service_is_one_snapshot_and_waits_for_no_row() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    for _ in 0..2 {
        app.configuration().await;
    }
    let folder = export(&app).await;
    // A change that is not committed blocks no plan.
    let mut writer = app.pool().begin().await.expect("a session");
    writer.execute("UPDATE device_configurations SET description = 'not committed'").await.expect("an update");
    assert!(!plan(&app, folder.path(), true).await.expect("a plan").has_changes());
    writer.rollback().await.expect("an end");
    // It reads the assignments of the first configuration while the second one changes.
    let mut holder = app.pool().begin().await.expect("a session");
    holder.execute(LOCK_ASSIGNMENTS).await.expect("the lock");
    let change = async {
        until_assignments_wait(&app).await;
        app.pool().execute("UPDATE device_configurations SET description = 'later'").await.expect("an update");
        holder.rollback().await.expect("the end of the lock");
    };
    let (planned, ()) = tokio::join!(plan(&app, folder.path(), true), change);
    assert!(!planned.expect("a plan").has_changes(), "the plan has one snapshot");
    assert_eq!(plan(&app, folder.path(), true).await.expect("a plan").change, 2);
}

#[actix_web::test]
async fn a_configuration_that_is_created_between_decision_and_insert_gets_the_content_of_the_file() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let id = Uuid::new_v4();
    let file = json!({"@odata.type": CUSTOM, "displayName": "of the file", "id": id, "assignments": [group("a")]});
    let folder = folder(&[file]);
    let mut holder = app.pool().begin().await.expect("a session");
    holder.execute(LOCK_ASSIGNMENTS).await.expect("the lock");
    let create = async {
        until_assignments_wait(&app).await;
        let insert = format!(
            "INSERT INTO device_configurations (id, odata_type, display_name) VALUES ('{id}', 'windows10CustomConfiguration', 'of a client')"
        );
        app.pool().execute(AssertSqlSafe(insert)).await.expect("an insert");
        holder.rollback().await.expect("the end of the lock");
    };
    let (done, ()) = tokio::join!(seed(&app, folder.path(), false), create);
    assert_eq!(done, Ok(Done { changed: 1, ..Done::default() }));
    assert_eq!(app.get(&format!("{CONFIGURATIONS}/{id}")).await.json()["displayName"], "of the file");
    assert_eq!(app.assignments(&format!("{CONFIGURATIONS}/{id}")).await.len(), 1);
}

#[actix_web::test]
async fn a_secret_is_copied_before_the_seed_removes_it() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.secrets.key = Some(KEY.to_owned().into())).await;
    let settings = json!([{"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "s", "omaUri": "./s", "value": "hunter2", "isEncrypted": true}]);
    let body = |id: &Uuid| json!({"@odata.type": CUSTOM, "displayName": "a", "id": id, "omaSettings": settings});
    // A seed writes configurations in the order of their ids.
    let mut ids = [(); 4].map(|()| Uuid::new_v4());
    ids.sort();
    let [emptied, pruned, kept, copied] = ids;
    let mut secrets = Vec::new();
    for id in [emptied, pruned, kept] {
        let created = app.post(&beta(CONFIGURATIONS), &body(&id)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        secrets.push(created.json()["omaSettings"][0].clone());
    }
    let file = |id: &Uuid, settings: &[&Value]| json!({"@odata.type": CUSTOM, "displayName": "a", "id": id, "omaSettings": settings});
    let folder = folder(&[
        file(&emptied, &[]),
        file(&kept, &[&secrets[2]]),
        file(&copied, &[&secrets[0], &secrets[1], &secrets[2]]),
    ]);
    let planned = plan(&app, folder.path(), true).await.expect("a plan");
    assert_eq!((planned.create, planned.change, planned.delete, planned.unchanged), (1, 1, 1, 1));
    let done = seed(&app, folder.path(), true).await;
    assert_eq!(done, Ok(Done { created: 1, changed: 1, deleted: 1, unchanged: 1 }));
    let one = format!("{}/{copied}", beta(CONFIGURATIONS));
    for setting in app.get(&one).await.json()["omaSettings"].as_array().expect("settings") {
        let reference = setting["secretReferenceValueId"].as_str().expect("a reference");
        let read = app.get(&format!("{one}/getOmaSettingPlainTextValue(secretReferenceValueId='{reference}')")).await;
        assert_eq!(read.json()["value"], "hunter2");
    }
    // The secret of the other configuration is gone, and a file cannot mean it any more.
    let folder = self::folder(&[file(&emptied, &[&secrets[2]]), file(&kept, &[&secrets[0]])]);
    let refused = plan(&app, folder.path(), false).await.expect_err("a secret that is gone");
    assert!(refused.contains("omaSettings[0].secretReferenceValueId' names has been replaced"), "{refused}");
    assert_eq!(seed(&app, folder.path(), false).await, Err(refused));
}

#[actix_web::test]
async fn of_two_seeds_the_second_waits_for_the_first() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let folder = folder(&[json!({"@odata.type": CUSTOM, "displayName": "a"})]);
    let mut first = app.pool().begin().await.expect("a session");
    first.execute("SELECT pg_advisory_xact_lock(hashtextextended('devicegraph seed', 0))").await.expect("the lock");
    let end = async {
        until("the seed waits", async || waiting_for_locks(app.pool(), "%").await == 1).await;
        first.rollback().await.expect("the end of the first seed");
    };
    let (done, ()) = tokio::join!(seed(&app, folder.path(), false), end);
    assert_eq!(done, Ok(Done { created: 1, ..Done::default() }));
}

#[actix_web::test]
async fn the_id_of_an_assignment_moves_between_configurations() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let mut ids = [(); 2].map(|()| Uuid::new_v4());
    ids.sort();
    let assigned = Uuid::new_v4();
    // A seed writes configurations in the order of their ids: once the first gives the
    // assignment to the second, and once it takes it back.
    for (owner, number) in [(0, 1), (1, 2), (0, 2)] {
        let file = |at: usize| {
            let assignments =
                if at == owner { json!([{"id": assigned, "target": group("a")["target"]}]) } else { json!([]) };
            json!({"@odata.type": CUSTOM, "displayName": "a", "id": ids[at], "assignments": assignments})
        };
        let folder = folder(&[file(0), file(1)]);
        let planned = plan(&app, folder.path(), false).await.expect("a plan");
        let count: usize = planned.changes.iter().map(|change| change.assignments.len()).sum();
        assert_eq!(count, number);
        assert_eq!(seed(&app, folder.path(), false).await.map(|done| done.unchanged), Ok(0));
        let owned = app.assignments(&format!("{CONFIGURATIONS}/{}", ids[owner])).await;
        assert_eq!(owned[0]["id"], json!(assigned));
    }
}

/// What is not read is not in the folder, and would be deleted.
#[test]
fn prune_refuses_a_folder_that_is_not_read_completely() {
    let rules = FileRules { must_be_complete: true, ..RULES };
    let read = |folder: &Path| import_export::read(folder, rules).map(drop).map_err(|error| error.to_string());
    let folder = folder(&[json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a"})]);
    assert_eq!(read(folder.path()), Ok(()));
    let other = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("team");
    std::os::unix::fs::symlink(other.path(), &link).expect("a link");
    let refused = read(folder.path()).expect_err("a linked folder");
    assert!(refused.contains("team: not read, because it is a link to a folder"), "{refused}");
    assert!(import_export::read(folder.path(), RULES).is_ok(), "without --prune the link is skipped");
    fs::remove_file(link).expect("the link");
    fs::write(folder.path().join("policy.yaml"), "a: 1").expect("a file");
    let refused = read(folder.path()).expect_err("a file that is not read");
    assert!(refused.contains("policy.yaml"), "{refused}");
    fs::remove_file(folder.path().join("policy.yaml")).expect("the file");
    let manifest = folder.path().join(".devicegraph-export.json");
    let written = |complete| json!({"about": "", "store": Uuid::nil(), "files": [], "complete": complete}).to_string();
    fs::write(&manifest, written(false)).expect("a manifest");
    let refused = read(folder.path()).expect_err("an export that has not ended");
    assert!(refused.contains("was interrupted"), "{refused}");
    fs::write(&manifest, written(true)).expect("a manifest");
    assert_eq!(read(folder.path()), Ok(()));
}
