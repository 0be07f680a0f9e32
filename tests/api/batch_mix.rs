//! A `$batch` answers and writes the same as its steps sent as single requests.

use std::collections::BTreeMap;

use futures_util::future::join;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Executor};

use crate::{
    batch::{batch, statuses, with},
    harness::{Answer, App, CONFIGURATIONS, beta, group, is_remote, redact},
};

/// The statuses of steps. The test must see each of them at least once.
const EVERY: [u64; 9] = [200, 201, 204, 400, 404, 405, 409, 415, 424];

fn known(n: u8) -> String {
    format!("7e159a72-9a72-7e15-729a-00000000000{n}")
}

/// Generates a step that may be valid or not. There are only a few ids and names, so that many
/// steps concern the same row.
fn step() -> impl Strategy<Value = Value> {
    let (configuration, assignment) = ((0_u8..3).prop_map(known), (3_u8..6).prop_map(known));
    let target = prop_oneof![
        3 => "[ab]".prop_map(|id| group(&id)["target"].clone()),
        1 => Just(json!({"@odata.type": "microsoft.graph.allDevicesAssignmentTarget"})),
        1 => Just(json!({"@odata.type": "#microsoft.graph.groupAssignmentTarget"})),
        1 => Just(json!("x")),
    ];
    let odata_type = prop::sample::select(vec!["iosCustomConfiguration", "windows10CustomConfiguration", "nothing"]);
    let new = (configuration.clone(), odata_type, prop::option::of("[a-c]{0,2}")).prop_map(|(id, odata_type, name)| {
        json!({"id": id, "@odata.type": format!("#microsoft.graph.{odata_type}"), "displayName": name})
    });
    let assign = (prop::option::of(assignment.clone()), target.clone()).prop_map(|(id, target)| {
        let mut body = json!({ "target": target });
        body.as_object_mut().expect("an object").extend(id.map(|id| ("id".to_owned(), id.into())));
        body
    });
    let set = prop::collection::vec(target.clone(), 0..3).prop_map(
        |targets| json!({"assignments": targets.iter().map(|target| json!({ "target": target })).collect::<Vec<_>>()}),
    );
    let patch = prop_oneof![
        "[a-c]".prop_map(|name| json!({ "displayName": name })),
        Just(json!({"displayName": 7})),
        Just(json!({"payload": "x"})),
    ];
    let all = "deviceManagement/deviceConfigurations";
    let query = prop::sample::select(vec![
        "",
        "?$count=true&$orderby=displayName,id",
        "?%24filter=displayName eq 'a'",
        "?$expand=assignments&$select=id,displayName",
        "?$filter=nothing eq 1",
        "?$search=x",
        "?custom=1",
        "?$filter=%zz",
        "?$orderby=version desc",
        "/$count",
    ]);
    let one = {
        let (configuration, assignment) = (configuration.clone(), assignment.clone());
        prop_oneof![
            configuration.clone().prop_map(move |id| format!("{all}/{id}")),
            (configuration.clone(), assignment.clone())
                .prop_map(move |(id, of)| format!("{all}/{id}/assignments/{of}")),
            (configuration.clone(), query.clone())
                .prop_map(move |(id, query)| format!("{all}/{id}/assignments{query}")),
            (configuration.clone(), query.clone()).prop_map(move |(id, query)| format!("{all}('{id}'){query}")),
            query.clone().prop_map(move |query| format!("{all}{query}")),
            configuration.prop_map(move |id| format!("{all}/{id}/deviceStatusOverview")),
            "[a-z$/%]{0,12}".prop_map(|path| format!("x{path}")),
            prop::sample::select(vec!["$metadata?$format=json", "$batch", "$all", "$entity?$id=x", "$root/x", "$id"])
                .prop_map(str::to_owned),
        ]
        .boxed()
    };
    let ids = (configuration.clone(), assignment);
    let request = prop_oneof![
        3 => one.clone().prop_map(|url| ("GET", url, None)),
        3 => new.prop_map(move |body| ("POST", all.to_owned(), Some(body))),
        3 => (configuration.clone(), assign).prop_map(move |(id, body)| ("POST", format!("{all}/{id}/assignments"), Some(body))),
        1 => (configuration.clone(), set).prop_map(move |(id, body)| ("POST", format!("{all}/{id}/assign"), Some(body))),
        2 => (configuration.clone(), patch).prop_map(move |(id, body)| ("PATCH", format!("{all}/{id}"), Some(body))),
        1 => (ids.clone(), target).prop_map(move |((id, of), target)| ("PATCH", format!("{all}/{id}/assignments/{of}"), Some(json!({"target": target})))),
        1 => ids.prop_map(move |(id, of)| ("DELETE", format!("{all}/{id}/assignments/{of}"), None)),
        1 => configuration.prop_map(move |id| ("DELETE", format!("{all}/{id}"), None)),
        1 => (prop::sample::select(vec!["PUT", "HEAD", "OPTIONS", "DELETE", "get", "FOO"]), one).prop_map(|(method, url)| (method, url, None)),
    ];
    let headers = prop_oneof![
        6 => Just(json!({"Content-Type": "application/json"})),
        1 => Just(json!({})),
        1 => Just(json!({"content-type": "text/plain"})),
        1 => Just(json!({"Content-Type": "application/json; charset=utf-8", "Prefer": "return=minimal, handling=strict"})),
        1 => Just(json!({"Content-Type": "application/json", "Accept": "application/json;odata.metadata=none"})),
        1 => Just(json!({"Content-Type": "application/json", "OData-MaxVersion": "3.0"})),
        1 => Just(json!({"Content-Type": "application/json", "If-Match": "W/\"none\""})),
        1 => Just(json!({"Content-Type": "application/json", "If-None-Match": "*"})),
    ];
    let prefix = prop::sample::select(vec![
        "",
        "/",
        "//",
        "/v1.0/",
        "/beta/",
        "/V1.0/",
        "[origin]/v1.0/",
        "[origin]/beta/",
        "https://graph.microsoft.com/v1.0/",
    ]);
    (request, headers, prefix).prop_map(|((method, url, body), headers, prefix)| {
        let step = json!({"method": method, "url": format!("{prefix}{url}"), "headers": headers});
        body.into_iter().fold(step, |step, body| with(step, "body", body))
    })
}

/// Returns the parts of an answer that are compared: the status, the headers that matter and the
/// body, without the parts that differ each time.
fn comparable(
    app: &App,
    status: u64,
    header: impl Fn(&str) -> Option<String>,
    body: String,
) -> (u64, Vec<Option<String>>, String) {
    let names = [
        "Allow",
        "Content-Type",
        "ETag",
        "Location",
        "OData-Version",
        "Preference-Applied",
        "Retry-After",
        "WWW-Authenticate",
    ];
    let plain = |text: String| redact(&text.replace(&app.origin, "[origin]"));
    let body = plain(body);
    let date = body.find(r#""date":""#).map_or(body.clone(), |at| format!("{}{}", &body[..at + 8], &body[at + 27..]));
    (status, names.map(|name| header(name).map(plain)).into(), date)
}

/// Sends a step as a single request.
async fn send_step_as_request(app: &App, step: &Value) -> Answer {
    let (method, url) = (step["method"].as_str().expect("a method"), step["url"].as_str().expect("a URL"));
    let path = url.strip_prefix("[origin]").or(url.strip_prefix("https://graph.microsoft.com")).unwrap_or(url);
    let path = format!("/{}", path.trim_start_matches('/'));
    let is_versioned = path.to_ascii_lowercase().starts_with("/v1.0/") || path.starts_with("/beta/");
    let path = if is_versioned { path } else { format!("/v1.0{path}") };
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
    let mut request = app.request(method, &path);
    for (name, value) in step["headers"].as_object().expect("headers") {
        request = request.header(name, value.as_str().expect("a header"));
    }
    app.answer(match step.get("body") {
        Some(body) => request.body(body.to_string()),
        None => request,
    })
    .await
}

/// Returns the id of a step. Some ids are names that OData itself uses after a `$`.
fn id(place: usize) -> String {
    match place % 4 {
        1 => ["metadata", "Batch", "all", "entity", "ROOT"][place / 4].to_owned(),
        _ => format!("step {place}"),
    }
}

async fn state(app: &App) -> String {
    let url = beta(&format!("{CONFIGURATIONS}?$expand=assignments&$orderby=displayName,id"));
    let all = app.get(&url).await;
    assert_eq!(all.status, StatusCode::OK, "{}", all.text);
    all.redacted()
}

#[actix_web::test]
async fn any_mix_of_steps_is_answered_as_the_same_requests_one_by_one() {
    if is_remote() {
        return;
    }
    let mut runner = TestRunner::new(ProptestConfig::default());
    let batches = prop::collection::vec((step(), prop::collection::vec(any::<prop::sample::Index>(), 0..2)), 1..=20);
    let (batched, single) = (App::start().await, App::start().await);
    let mut seen = BTreeMap::new();
    // Run at least 60 rounds. A rare status may need more rounds.
    let mut rounds = 0;
    while rounds < 60 || EVERY.iter().any(|status| !seen.contains_key(status)) {
        rounds += 1;
        assert!(rounds < 600, "a step was never answered one of {EVERY:?}: {seen:?}");
        let steps = batches.new_tree(&mut runner).expect("steps").current();
        let mut requests = Vec::new();
        for (place, (step, depends_on)) in steps.iter().enumerate() {
            let url = step["url"].as_str().expect("a URL").replace("[origin]", &batched.origin);
            let step = with(with(step.clone(), "id", id(place)), "url", url);
            let depends_on =
                depends_on.iter().filter(|_| place % 3 == 2).map(|other| id(other.index(place)).to_uppercase());
            requests.push(with(step, "dependsOn", depends_on.collect::<Vec<_>>()));
        }
        let answers = batch(&batched, &json!(requests)).await;
        let mut failed = Vec::new();
        for (place, (answer, (step, _))) in answers.iter().zip(&steps).enumerate() {
            *seen.entry(answer["status"].as_u64().expect("a status")).or_insert(0) += 1;
            let depends_on = requests[place]["dependsOn"].as_array().expect("ids").iter();
            let depends_on: Vec<_> = depends_on.map(|id| id.as_str().expect("an id").to_lowercase()).collect();
            if depends_on.iter().any(|id| failed.contains(id)) {
                assert_eq!(answer["status"], 424, "{answer}");
                failed.push(id(place).to_lowercase());
                continue;
            }
            let headers: Map<String, Value> = answer["headers"].as_object().expect("headers").clone();
            let body = match answer.get("body") {
                Some(Value::String(text)) => text.clone(),
                body => body.map(Value::to_string).unwrap_or_default(),
            };
            let header = |name: &str| headers.get(name).and_then(Value::as_str).map(str::to_owned);
            let inside = comparable(&batched, answer["status"].as_u64().expect("a status"), header, body);
            let alone = send_step_as_request(&single, step).await;
            let header = |name: &str| alone.headers.get(name).map(|value| value.to_str().expect("text").to_owned());
            // Give the members of both bodies the same order.
            let text = serde_json::from_str::<Value>(&alone.text).map_or(alone.text.clone(), |body| body.to_string());
            let outside = comparable(&single, alone.status.as_u16().into(), header, text);
            assert_eq!(inside, outside, "{step}");
            if inside.0 >= 400 {
                failed.push(id(place).to_lowercase());
            }
        }
        let (batched, single) = join(state(&batched), state(&single)).await;
        assert_eq!(batched, single);
    }
}

#[actix_web::test]
async fn any_group_of_steps_is_written_as_one_by_one_or_not_at_all() {
    if is_remote() {
        return;
    }
    let mut runner = TestRunner::new(ProptestConfig::default());
    let batches = prop::collection::vec(step(), 1..=4);
    let (mut written, mut taken_back) = (0, 0);
    let begin = async |app: &App| {
        let world = format!(
            "DELETE FROM device_configurations;
             INSERT INTO device_configurations (id, odata_type, display_name)
             VALUES ('{}', 'iosCustomConfiguration', 'a'), ('{}', 'iosCustomConfiguration', 'a')",
            known(0),
            known(1)
        );
        app.pool().execute(AssertSqlSafe(world)).await.expect("two configurations");
    };
    let (batched, single) = (App::start().await, App::start().await);
    join(begin(&batched), begin(&single)).await;
    // Run at least 200 rounds. Groups that succeed are rare and may need more rounds.
    let mut rounds = 0;
    while rounds < 200 || written < 6 || taken_back < 6 {
        rounds += 1;
        assert!(rounds < 2000, "{written} written, {taken_back} taken back");
        let steps = batches.new_tree(&mut runner).expect("steps").current();
        let requests = steps.iter().enumerate().map(|(place, step)| {
            let url = step["url"].as_str().expect("a URL").replace("[origin]", &batched.origin);
            with(with(with(step.clone(), "id", place), "url", url), "atomicityGroup", "g")
        });
        let requests: Vec<_> = requests.collect();
        let before = state(&batched).await;
        let alone = async {
            let mut alone = Vec::new();
            for step in &steps {
                alone.push(u64::from(send_step_as_request(&single, step).await.status.as_u16()));
            }
            alone
        };
        let requests = json!(requests);
        let (answers, alone) = join(batch(&batched, &requests), alone).await;
        let answers = statuses(&answers);
        match alone.iter().position(|status| *status >= 400) {
            None => {
                written += 1;
                assert_eq!(answers, alone, "{steps:?}");
                let (batched, single) = join(state(&batched), state(&single)).await;
                assert_eq!(batched, single, "{steps:?}");
            }
            Some(fails) => {
                taken_back += 1;
                let expected: Vec<_> =
                    (0..steps.len()).map(|place| if place == fails { alone[fails] } else { 424 }).collect();
                assert_eq!(answers, expected, "{steps:?}");
                assert_eq!(state(&batched).await, before, "{steps:?}");
                // As single requests, some of the steps were written. Start again with equal
                // stores.
                join(begin(&batched), begin(&single)).await;
            }
        }
    }
}
