//! Concurrent requests that change the same rows.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{App, beta, group};

#[actix_web::test]
async fn of_32_racing_creates_of_one_target_one_succeeds_and_31_get_its_id() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let answers = join_all((0..32).map(|_| async { app.post(&path, &group("a")).await })).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!((won.len(), lost.len()), (1, 31));
    for answer in lost {
        assert!(answer.refusal().starts_with("409 Conflict: "));
        assert!(answer.text.contains(&won[0].id()), "{}", answer.text);
    }
    assert_eq!(app.assignments(&configuration).await, [won[0].json()]);
}

#[actix_web::test]
async fn of_32_racing_creates_with_one_id_each_is_answered_with_the_same_row() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let mut body = group("a");
    body["id"] = uuid::Uuid::new_v4().to_string().into();
    let answers = join_all((0..32).map(|_| async { app.post(&path, &body).await })).await;
    let texts: BTreeSet<_> = answers.iter().map(|answer| (answer.status.as_u16(), &answer.text)).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(app.assignments(&configuration).await.len(), 1);
}

#[actix_web::test]
async fn racing_assigns_leave_one_of_the_sets_whole() {
    let app = App::start().await;
    for _ in 0..10 {
        let configuration = app.configuration().await;
        let path = format!("{configuration}/assign");
        let set = |prefix: &str| -> Vec<String> { (0..20).map(|n| format!("{prefix}{n:02}")).collect() };
        let sets = [set("a"), set("b"), set("c")];
        let assign = async |set: &[String]| {
            let body = json!({"assignments": set.iter().map(|id| group(id)).collect::<Vec<_>>()});
            let answer = app.post(&path, &body).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        };
        join_all(sets.iter().map(|set| assign(set))).await;
        let mut left: Vec<_> = app
            .assignments(&configuration)
            .await
            .iter()
            .map(|one| one["target"]["groupId"].as_str().expect("a group").to_owned())
            .collect();
        left.sort();
        assert!(sets.contains(&left), "{left:?}");
    }
}

#[actix_web::test]
async fn a_parent_deleted_under_racing_creates_leaves_no_orphan() {
    let app = App::start().await;
    for _ in 0..10 {
        let configuration = app.configuration().await;
        let path = format!("{configuration}/assignments");
        let create = async |n: usize| {
            let answer = app.post(&path, &group(&n.to_string())).await;
            match answer.status {
                StatusCode::CREATED => {}
                StatusCode::NOT_FOUND => drop(answer.refusal()),
                _ => panic!("{} {}", answer.status, answer.text),
            }
        };
        let delete = async {
            create(99).await;
            assert_eq!(app.delete(&configuration).await.status, StatusCode::NO_CONTENT);
        };
        tokio::join!(join_all((0..16).map(create)), delete);
        assert_eq!(app.get(&path).await.status, StatusCode::NOT_FOUND);
    }
}

/// Concurrent writes of every kind on one configuration and three directory groups take their locks
/// in every order and do not deadlock.
#[actix_web::test]
async fn writes_of_every_kind_do_not_deadlock() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let names = ["a", "b", "c"];
    let worker = async |worker: usize| {
        for round in 0..20 {
            let name = names[(worker + round) % 3];
            let answer = match (worker + round) % 4 {
                0 => app.post(&path, &group(name)).await,
                1 => {
                    app.post(&format!("{configuration}/assign"), &json!({"assignments": [group(name), group("d")]}))
                        .await
                }
                kind => {
                    let listed = app.assignments(&configuration).await;
                    let Some(one) = listed.get(round % listed.len().max(1)).and_then(|one| one["id"].as_str()) else {
                        continue;
                    };
                    let one = format!("{path}/{one}");
                    if kind == 2 { app.patch(&one, &group(name)).await } else { app.delete(&one).await }
                }
            };
            assert!([200, 201, 204, 404, 409].contains(&answer.status.as_u16()), "{} {}", answer.status, answer.text);
        }
    };
    join_all((0..12).map(worker)).await;
    let left = app.assignments(&configuration).await;
    let groups: BTreeSet<_> = left.iter().map(|one: &Value| one["target"]["groupId"].to_string()).collect();
    assert_eq!(groups.len(), left.len(), "a target stands twice");
}

#[actix_web::test]
async fn racing_patches_raise_the_version_one_by_one() {
    let app = App::start().await;
    // On /beta a property may have any name.
    let configuration = beta(&app.configuration().await);
    let patch = async |n: usize| {
        let answer = app.patched(&configuration, &json!({ (format!("p{n}")): n })).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["version"].as_i64().expect("a number")
    };
    let versions: BTreeSet<_> = join_all((0..16).map(patch)).await.into_iter().collect();
    assert_eq!(versions, (2..18).collect());
    let read = app.get(&configuration).await.json();
    assert!((0..16).all(|n| read[format!("p{n}")] == n), "every change is there: {read}");
}
