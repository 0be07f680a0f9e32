//! The parameters `mode`, `onConflict` and `validateOnly` of `assign`.

use std::collections::BTreeMap;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, App, beta, group, is_remote};

fn excluded(id: &str) -> Value {
    json!({"target": {"@odata.type": "#microsoft.graph.exclusionGroupAssignmentTarget", "groupId": id}})
}

fn filtered(id: &str, filter: &str) -> Value {
    let mut assignment = group(id);
    assignment["target"]["deviceAndAppManagementAssignmentFilterId"] = filter.into();
    assignment["target"]["deviceAndAppManagementAssignmentFilterType"] = "include".into();
    assignment
}

/// Returns the actions of an answer, each with the group that it concerns.
fn actions(answer: &Value) -> Vec<(String, String)> {
    let changes = answer["changes"].as_array().expect("changes");
    let group = |change: &Value| {
        let rows = [&change["after"]["target"], &change["before"]["target"], &change["target"]];
        rows.iter().find_map(|target| target["groupId"].as_str()).unwrap_or("none").to_owned()
    };
    changes.iter().map(|change| (change["action"].as_str().expect("an action").to_owned(), group(change))).collect()
}

fn sorted_targets(assignments: &Value) -> Vec<String> {
    let mut targets: Vec<_> =
        assignments.as_array().expect("assignments").iter().map(|row| row["target"].to_string()).collect();
    targets.sort();
    targets
}

async fn conditional(app: &App, path: &str, body: &Value, etag: &str) -> Answer {
    let request = app.request(Method::POST, path).header("If-Match", etag).header("Content-Type", "application/json");
    app.answer(request.body(body.to_string())).await
}

/// Creates a configuration with the groups `a` (with the filter `f`) and `b`, and without `c`.
async fn start(app: &App) -> String {
    let configuration = app.configuration().await;
    let set = json!({"assignments": [filtered("a", "f"), group("b"), excluded("c")]});
    let answer = app.post(&beta(&format!("{configuration}/assign")), &set).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.json().get("changes").is_none(), "without new parameters the answer is as before");
    configuration
}

#[actix_web::test]
async fn add_keeps_the_rest_and_on_v1_never_clears_a_filter() {
    let app = App::start().await;
    let configuration = start(&app).await;
    let before = app.get(&beta(&format!("{configuration}/assignments"))).await.json()["value"].clone();
    let path = format!("{configuration}/assign");
    let body = json!({"mode": "add", "assignments": [group("a"), group("d")]});
    let answer = app.post(&path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let expected = [("no-op", "a"), ("create", "d")].map(|(action, group)| (action.to_owned(), group.to_owned()));
    assert_eq!(actions(&answer.json()), expected);
    let after = app.get(&beta(&format!("{configuration}/assignments"))).await.json()["value"].clone();
    assert_eq!(after.as_array().expect("a set").len(), 4);
    for row in before.as_array().expect("a set") {
        assert!(after.as_array().expect("a set").contains(row), "{row} is gone from {after}");
    }
    // On /beta, members that the client did not send stay, and another filter is an update.
    let body = json!({"mode": "add", "assignments": [group("a")]});
    assert_eq!(actions(&app.post(&beta(&path), &body).await.json()), [("no-op".to_owned(), "a".to_owned())]);
    let body = json!({"mode": "add", "assignments": [filtered("a", "g")]});
    let answer = app.post(&beta(&path), &body).await;
    assert_eq!(actions(&answer.json()), [("update".to_owned(), "a".to_owned())]);
    let change = &answer.json()["changes"][0];
    assert_eq!(change["before"]["id"], change["after"]["id"]);
    assert_eq!(change["after"]["target"]["deviceAndAppManagementAssignmentFilterId"], "g");
}

#[actix_web::test]
async fn the_opposite_inclusion_is_refused_or_changed_in_place() {
    let app = App::start().await;
    let configuration = start(&app).await;
    let path = format!("{configuration}/assign");
    let stored = app.assignments(&configuration).await;
    let stored = stored.iter().find(|row| row["target"]["groupId"] == "c").expect("the excluded group");
    let id = stored["id"].as_str().expect("an id");
    for validate_only in [false, true] {
        for on_conflict in [None, Some("refuse")] {
            let mut body =
                json!({"mode": "add", "validateOnly": validate_only, "assignments": [group("x"), group("c")]});
            if let Some(on_conflict) = on_conflict {
                body["onConflict"] = on_conflict.into();
            }
            let answer = app.post(&path, &body).await;
            assert!(answer.status == StatusCode::CONFLICT && answer.text.contains(id), "{}", answer.text);
        }
    }
    let body = json!({"mode": "replace", "onConflict": "refuse", "assignments": [group("c")]});
    let answer = app.post(&path, &body).await;
    assert!(answer.status == StatusCode::CONFLICT && answer.text.contains("'onConflict'"), "{}", answer.text);
    assert_eq!(app.assignments(&configuration).await.len(), 3, "a refused call writes nothing");
    for mode in ["add", "replace"] {
        let element = if mode == "add" { group("c") } else { excluded("c") };
        let body = json!({"mode": mode, "onConflict": "change", "assignments": [element]});
        let answer = app.post(&path, &body).await;
        let changes = answer.json()["changes"].as_array().expect("changes").clone();
        let change = changes.iter().find(|change| change["action"] == "update").expect("an update");
        assert_eq!((&change["before"]["id"], &change["after"]["id"]), (&json!(id), &json!(id)));
        assert_ne!(change["before"]["target"], change["after"]["target"]);
    }
    // The mode replace without onConflict works as before: a new assignment takes the place.
    let answer = app.post(&path, &json!({"mode": "replace", "assignments": [group("c")]})).await;
    let expected = [("delete", "c"), ("create", "c")].map(|(action, group)| (action.to_owned(), group.to_owned()));
    assert_eq!(actions(&answer.json()), expected);
}

#[actix_web::test]
async fn remove_takes_targets_and_ids_and_a_missing_one_is_no_change() {
    let app = App::start().await;
    let configuration = start(&app).await;
    let base = json!({"target": {"@odata.type": "#microsoft.graph.deviceAndAppManagementAssignmentTarget"}});
    let base = app.post(&format!("{configuration}/assignments"), &base).await.json().clone();
    let path = format!("{configuration}/assign");
    let unknown = "5a3b0f10-0000-4000-8000-0000000000ff";
    // `c` is excluded, so that including it is another target. Filters are ignored.
    let removed =
        [filtered("a", "other"), group("c"), group("missing"), json!({"id": base["id"]}), json!({"id": unknown})];
    let body = json!({"mode": "remove", "assignments": removed});
    let answer = app.post(&beta(&path), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let expected = [("delete", "a"), ("delete", "none"), ("no-op", "c"), ("no-op", "missing"), ("no-op", "none")];
    assert_eq!(actions(&answer.json()), expected.map(|(action, group)| (action.to_owned(), group.to_owned())));
    assert_eq!(answer.json()["changes"][4]["id"], unknown);
    let left = app.get(&format!("{configuration}/assignments")).await.json()["value"].clone();
    assert_eq!(sorted_targets(&left).len(), 2);
    assert_eq!(sorted_targets(&answer.json()["value"]).len(), 2);
    // An element that was read has an id and a target: the target counts.
    let read = left[0].clone();
    let answer = app.post(&path, &json!({"mode": "remove", "assignments": [read]})).await;
    assert_eq!(answer.json()["changes"][0]["action"], "delete");
    // One assignment that is named twice is one change. An id of another configuration is none.
    let other = app.configuration().await;
    let kept = app.post(&format!("{other}/assignments"), &group("kept")).await.json();
    let last = app.assignments(&configuration).await[0].clone();
    app.post(&path, &json!({"mode": "add", "assignments": [group("twice")]})).await;
    let twice = app.assignments(&configuration).await;
    let twice = twice.iter().find(|row| row["target"]["groupId"] == "twice").expect("the group");
    let elements = json!([{"id": twice["id"]}, group("twice"), {"id": kept["id"]}]);
    let answer = app.post(&path, &json!({"mode": "remove", "assignments": elements})).await;
    let expected = [("delete", "twice"), ("no-op", "none")].map(|(action, of)| (action.to_owned(), of.to_owned()));
    assert_eq!(actions(&answer.json()), expected);
    assert_eq!(app.assignments(&other).await.len(), 1);
    assert_eq!(app.assignments(&configuration).await, [last]);
    let again = app.post(&path, &json!({"mode": "remove", "assignments": []})).await;
    assert_eq!(again.json()["changes"], json!([]));
    assert_eq!(again.json()["value"].as_array().expect("a set").len(), 1);
}

#[actix_web::test]
async fn wrong_parameters_are_named() {
    let app = App::start().await;
    let configuration = start(&app).await;
    let path = format!("{configuration}/assign");
    let base = json!({"target": {"@odata.type": "#microsoft.graph.deviceAndAppManagementAssignmentTarget"}});
    for (body, name) in [
        (json!({"mode": "merge", "assignments": []}), "'mode'"),
        (json!({"mode": null, "assignments": []}), "'mode'"),
        (json!({"Mode": "add", "assignments": []}), "Mode"),
        (json!({"onConflict": "overwrite", "assignments": []}), "'onConflict'"),
        (json!({"mode": "remove", "onConflict": "change", "assignments": []}), "'onConflict'"),
        (json!({"validateOnly": "yes", "assignments": []}), "'validateOnly'"),
        (json!({"mode": "add"}), "Send the targets to add"),
        (json!({"mode": "remove"}), "Send the targets to remove"),
        (json!({"Mode": "Add", "mode": "Add", "assignments": []}), "mode"),
        (json!({"mode": "remove", "assignments": [{"id": "00000000-0000-0000-0000-000000000000"}]}), "target"),
        (json!({"mode": "add", "assignments": [base]}), "assignments[0].target"),
        (json!({"mode": "add", "assignments": [group("x"), excluded("x")]}), "assignments[1].target"),
        (json!({"mode": "remove", "assignments": [{}]}), "target"),
        (json!({"mode": "remove", "assignments": [base]}), "assignments[0].id"),
        (json!({"mode": "remove", "assignments": [{"id": "no-guid"}]}), "assignments[0].id"),
        (json!({"mode": "remove", "assignments": [{"id": configuration_id(&configuration), "intent": "x"}]}), "intent"),
    ] {
        let refusal = app.post(&path, &body).await.refusal();
        assert!(refusal.starts_with("400 ") && refusal.contains(name), "{body}: {refusal}");
    }
    // A dry run exists on assign only. Elsewhere the member is unknown, and nothing is written.
    let mut create = group("y");
    create["validateOnly"] = true.into();
    for (path, body) in [
        (format!("{configuration}/assignments"), create.clone()),
        (beta(&format!("{configuration}/assignments")), create),
        (
            "/beta/deviceManagement/deviceConfigurations".to_owned(),
            json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a", "validateOnly": true}),
        ),
        ("/beta/$batch".to_owned(), json!({"requests": [], "validateOnly": true})),
        (
            "/beta/$batch".to_owned(),
            json!({"requests": [{"id": "1", "method": "DELETE", "url": configuration.trim_start_matches("/v1.0"), "validateOnly": true}]}),
        ),
        (
            "/v1.0/deviceManagement/deviceConfigurations".to_owned(),
            json!({"@odata.type": "#microsoft.graph.iosUpdateConfiguration", "displayName": "a", "validateOnly": true}),
        ),
    ] {
        let refusal = app.post(&path, &body).await.refusal();
        assert!(refusal.starts_with("400 ") && refusal.contains("validateOnly"), "{refusal}");
    }
    let change = json!({"description": "changed", "validateOnly": true});
    let refusal = app.send_json(Method::PATCH, &beta(&configuration), &change).await.refusal();
    assert!(refusal.starts_with("400 ") && refusal.contains("validateOnly"), "{refusal}");
    assert_eq!(app.get(&configuration).await.json()["description"], Value::Null);
    assert_eq!(app.assignments(&configuration).await.len(), 3);
}

/// Elements that were read from another configuration name it as their source.
#[actix_web::test]
async fn add_does_not_copy_the_source_of_another_configuration() {
    let app = App::start().await;
    let (from, to) = (start(&app).await, start(&app).await);
    let read = app.get(&beta(&format!("{from}/assignments"))).await.json()["value"].clone();
    let body = json!({"mode": "add", "assignments": read});
    let answer = app.post(&beta(&format!("{to}/assign")), &body).await;
    assert!(actions(&answer.json()).iter().all(|(action, _)| action == "no-op"), "{}", answer.text);
    // The source that is stored stays, also when the client sends none.
    let row = app.get(&beta(&format!("{to}/assignments"))).await.json()["value"][0].clone();
    let path = beta(&format!("{to}/assignments/{}", row["id"].as_str().expect("an id")));
    let changed = app.send_json(Method::PATCH, &path, &json!({"source": "direct", "sourceId": "kept"})).await;
    assert_eq!(changed.json()["sourceId"], "kept", "{}", changed.text);
    let answer = app.post(&beta(&format!("{to}/assign")), &body).await;
    assert!(actions(&answer.json()).iter().all(|(action, _)| action == "no-op"), "{}", answer.text);
    let empty = app.configuration().await;
    let answer = app.post(&beta(&format!("{empty}/assign")), &body).await;
    let rows = answer.json()["value"].as_array().expect("a set").clone();
    assert!(rows.iter().all(|row| row["sourceId"] == configuration_id(&empty)), "{}", answer.text);
}

#[actix_web::test]
async fn group_assignments_take_the_modes() {
    let app = App::start().await;
    let configuration = start(&app).await;
    let path = beta(&format!("{configuration}/assign"));
    for (mode, action) in [("add", "no-op"), ("remove", "delete"), ("remove", "no-op"), ("add", "create")] {
        let body = json!({"mode": mode, "deviceConfigurationGroupAssignments": [{"targetGroupId": "b"}]});
        let answer = app.post(&path, &body).await;
        assert_eq!(actions(&answer.json()), [(action.to_owned(), "b".to_owned())], "{mode}: {}", answer.text);
    }
    let body =
        json!({"mode": "add", "deviceConfigurationGroupAssignments": [{"targetGroupId": "b", "excludeGroup": true}]});
    assert_eq!(app.post(&path, &body).await.status, StatusCode::CONFLICT);
}

/// A plan answers while another session has locked the configuration.
#[actix_web::test]
async fn a_plan_waits_for_no_lock() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = start(&app).await;
    let mut other = app.pool().begin().await.expect("a transaction");
    let lock = "SELECT id FROM device_configurations FOR UPDATE";
    sqlx::query(lock).fetch_all(&mut *other).await.expect("the lock");
    let body = json!({"mode": "add", "validateOnly": true, "assignments": [group("d")]});
    let answer = app.post(&format!("{configuration}/assign"), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

/// A plan in an atomicity group sees what the group has written. A conflict rolls the group back.
#[actix_web::test]
async fn a_plan_is_a_step_of_a_batch() {
    let app = App::start().await;
    let configuration = start(&app).await;
    let url = format!("{configuration}/assign");
    let step = |id: &str, body: Value| json!({"id": id, "atomicityGroup": "g", "method": "POST", "url": url, "headers": {"Content-Type": "application/json"}, "body": body});
    let add = json!({"mode": "add", "assignments": [group("d")]});
    let mut plan = add.clone();
    plan["validateOnly"] = true.into();
    let batch = json!({"requests": [step("1", add), step("2", plan)]});
    let answers = app.post("/v1.0/$batch", &batch).await.json();
    let planned = answers["responses"].as_array().expect("answers").iter().find(|answer| answer["id"] == "2").cloned();
    let planned = planned.expect("the plan");
    assert_eq!(planned["body"]["changes"][0]["action"], "no-op", "{planned}");
    let add = json!({"mode": "add", "assignments": [group("e")]});
    let conflict = json!({"mode": "add", "validateOnly": true, "assignments": [group("c")]});
    let batch = json!({"requests": [step("1", add), step("2", conflict)]});
    app.post("/v1.0/$batch", &batch).await;
    assert_eq!(app.assignments(&configuration).await.len(), 4, "nothing of the second group is stored");
}

fn configuration_id(path: &str) -> &str {
    path.rsplit('/').next().expect("an id")
}

#[actix_web::test]
async fn a_plan_writes_nothing_locks_nothing_and_is_what_the_call_does() {
    let app = App::start().await;
    let configuration = start(&app).await;
    let path = beta(&format!("{configuration}/assign"));
    let calls = [
        json!({"assignments": [filtered("a", "g"), group("d")]}),
        json!({"mode": "add", "onConflict": "change", "assignments": [group("c"), filtered("b", "h"), group("e")]}),
        json!({"mode": "remove", "assignments": [group("d"), group("missing")]}),
        json!({"mode": "replace", "assignments": []}),
    ];
    for call in calls {
        let list = format!("{configuration}/assignments");
        let before = app.get(&list).await;
        let mut plan = call.clone();
        plan["validateOnly"] = true.into();
        let planned = app.post(&path, &plan).await;
        assert_eq!(planned.status, StatusCode::OK, "{}", planned.text);
        assert_eq!(app.get(&list).await.text, before.text, "the plan writes nothing");
        let etag = before.header("etag");
        assert_eq!(planned.header("etag"), etag, "the plan names the set that it was made from");
        let mut call = call.clone();
        if call.get("mode").is_none() {
            call["mode"] = "replace".into();
        }
        let done = conditional(&app, &path, &call, etag).await;
        assert_eq!(done.status, StatusCode::OK, "{}", done.text);
        assert_eq!(planned.json()["changes"], done.json()["changes"]);
        assert_eq!(sorted_targets(&planned.json()["value"]), sorted_targets(&done.json()["value"]));
        let stale = conditional(&app, &path, &plan, "W/\"other\"").await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "a plan checks the condition");
    }
    let missing = "/v1.0/deviceManagement/deviceConfigurations/5a3b0f10-0000-4000-8000-0000000000ff/assign";
    let answer = app.post(missing, &json!({"validateOnly": true, "assignments": []})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

/// A set as the model keeps it: whether each group is excluded, and its filter.
type Model = BTreeMap<usize, (bool, Option<String>)>;

/// A call: the mode, whether it changes conflicts, whether it is on `/beta`, and the groups.
type Call = (usize, bool, bool, BTreeMap<usize, (bool, Option<usize>)>);

const MODES: [&str; 3] = ["replace", "add", "remove"];

fn call() -> impl Strategy<Value = Call> {
    let element = (any::<bool>(), proptest::option::of(0..2_usize));
    (0..3_usize, any::<bool>(), any::<bool>(), proptest::collection::btree_map(0..5_usize, element, 0..4))
}

fn body((mode, changes, is_beta, elements): &Call) -> Value {
    let element = |(group, (is_excluded, filter)): (&usize, &(bool, Option<usize>))| {
        let group = format!("g{group}");
        match (is_excluded, filter.filter(|_| *is_beta)) {
            (true, _) => excluded(&group),
            (false, Some(filter)) => filtered(&group, &format!("f{filter}")),
            (false, None) => crate::harness::group(&group),
        }
    };
    let mut body = json!({"mode": MODES[*mode], "assignments": elements.iter().map(element).collect::<Vec<_>>()});
    if *changes && MODES[*mode] != "remove" {
        body["onConflict"] = "change".into();
    }
    body
}

/// Returns the set after a call, or `None` when the call is refused.
fn expected(before: &Model, (mode, changes, is_beta, elements): &Call) -> Option<Model> {
    let mut after = if MODES[*mode] == "replace" { Model::new() } else { before.clone() };
    for (group, (is_excluded, filter)) in elements {
        let sent = filter.filter(|_| *is_beta && !is_excluded).map(|filter| format!("f{filter}"));
        let stored = before.get(group);
        let is_opposite = stored.is_some_and(|(stored, _)| stored != is_excluded);
        let kept = stored.and_then(|(_, filter)| filter.clone());
        match MODES[*mode] {
            "remove" if !is_opposite => drop(after.remove(group)),
            "remove" => {}
            "add" if is_opposite && !changes => return None,
            // A filter belongs to the inclusion: the opposite has none, unless the client sends one.
            _ if is_opposite => drop(after.insert(*group, (*is_excluded, sent))),
            "replace" if *is_beta => drop(after.insert(*group, (*is_excluded, sent))),
            _ => drop(after.insert(*group, (*is_excluded, sent.or(kept)))),
        }
    }
    Some(after)
}

async fn stored(app: &App, configuration: &str) -> Model {
    let set = app.get(&beta(&format!("{configuration}/assignments"))).await.json();
    let row = |row: &Value| {
        let target = &row["target"];
        let group = target["groupId"].as_str().expect("a group").trim_start_matches('g').parse().expect("a number");
        let is_excluded = target["@odata.type"] == "#microsoft.graph.exclusionGroupAssignmentTarget";
        let filter = target["deviceAndAppManagementAssignmentFilterId"].as_str().map(str::to_owned);
        (group, (is_excluded, filter))
    };
    set["value"].as_array().expect("a set").iter().map(row).collect()
}

#[actix_web::test]
async fn every_mode_does_what_a_model_does_and_what_its_plan_said() {
    let app = App::start().await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..25 {
        let configuration = app.configuration().await;
        let mut model = Model::new();
        let calls = proptest::collection::vec(call(), 6).new_tree(&mut runner).expect("calls").current();
        for call in calls {
            let path = format!("{configuration}/assign");
            let path = if call.2 { beta(&path) } else { path };
            let body = body(&call);
            let mut plan = body.clone();
            plan["validateOnly"] = true.into();
            let planned = app.post(&path, &plan).await;
            assert_eq!(stored(&app, &configuration).await, model, "a plan writes nothing: {plan}");
            let done = app.post(&path, &body).await;
            assert_eq!(planned.status, done.status, "{plan}: {} {}", planned.text, done.text);
            match expected(&model, &call) {
                None => assert_eq!(done.status, StatusCode::CONFLICT, "{model:?} {body}: {}", done.text),
                Some(after) => {
                    assert_eq!(done.status, StatusCode::OK, "{model:?} {body}: {}", done.text);
                    assert_eq!(planned.json()["changes"], done.json()["changes"], "{model:?} {body}");
                    let named = done.json()["changes"].as_array().expect("changes").len();
                    assert!(named >= call.3.len(), "an entry for each named target: {}", done.text);
                    model = after;
                }
            }
            assert_eq!(stored(&app, &configuration).await, model, "{body}");
        }
    }
}
