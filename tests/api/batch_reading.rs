//! How `$batch` reads the members of a step.

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    batch::{assign, batch, create, message, statuses, with},
    harness::{App, CONFIGURATIONS, beta, database, is_remote},
    service::{Folder, Service},
};

#[actix_web::test]
async fn a_url_may_begin_with_what_another_step_answered() {
    let app = App::start().await;
    let answers = batch(
        &app,
        &json!([
            create("new", "a test"),
            with(assign("a", "$new", "a"), "dependsOn", json!(["new"])),
            {"id": "read", "method": "GET", "url": "/$NEW?$expand=assignments", "dependsOn": ["new", "a"]},
            {"id": "unsaid", "method": "GET", "url": "$new"},
            {"id": "nothing", "method": "GET", "url": "$other"},
        ]),
    )
    .await;
    assert_eq!(statuses(&answers), [201, 201, 200, 400, 404]);
    assert_eq!(answers[2]["body"]["assignments"][0]["id"], answers[1]["body"]["id"]);
    assert_eq!(message(&answers[3]), "The url refers to the answer to the request 'new'. Add that id to 'dependsOn'.");
}

#[actix_web::test]
async fn a_url_may_begin_with_what_a_step_has_read_or_changed() {
    let app = App::start().await;
    let patch = json!({"id": "patch", "method": "PATCH", "url": "$READ", "dependsOn": ["read"],
        "headers": {"Content-Type": "application/json"}, "body": {"displayName": "changed"}});
    let answers = batch(
        &app,
        &json!([
            create("new", "a test"),
            {"id": "read", "method": "GET", "url": "$new?$select=id", "dependsOn": ["new"]},
            with(assign("a", "$read", "a"), "dependsOn", json!(["read"])),
            patch,
            with(assign("b", "$patch", "b"), "dependsOn", json!(["patch"])),
            {"id": "list", "method": "GET", "url": "/$patch/assignments?$select=id", "dependsOn": ["patch", "b"]},
        ]),
    )
    .await;
    assert_eq!(statuses(&answers), [201, 200, 201, 200, 201, 200], "{answers:?}");
    assert_eq!(answers[5]["body"]["value"].as_array().map(Vec::len), Some(2));

    // A URL with an origin and without a version means /v1.0, also in a batch on /beta.
    let path = app.configuration().await;
    let url = format!("https://graph.microsoft.com{}", path.strip_prefix("/v1.0").expect("a version"));
    let requests = json!({"requests": [
        {"id": "first", "method": "GET", "url": url},
        {"id": "then", "method": "GET", "url": "$first", "dependsOn": ["first"]},
    ]});
    let answer = app.post("/beta/$batch", &requests).await.json();
    assert_eq!(answer["responses"][1]["body"], answer["responses"][0]["body"]);
    assert_ne!(answer["responses"][1]["body"], app.get(&beta(&path)).await.json());
}

#[actix_web::test]
async fn a_url_that_begins_with_a_name_of_odata_is_no_reference_to_a_step() {
    let app = App::start().await;
    for id in ["metadata", "METADATA", "batch", "all", "entity", "root", "id", "crossjoin"] {
        let answers = batch(
            &app,
            &json!([
                {"id": id, "method": "GET", "url": "/deviceManagement/deviceConfigurations?$top=1"},
                {"id": "1", "method": "GET", "url": "/$metadata?$format=json", "dependsOn": [id]},
                {"id": "2", "method": "GET", "url": "$metadata?$format=json"},
                {"id": "3", "method": "GET", "url": format!("${id}/x"), "dependsOn": [id]},
            ]),
        )
        .await;
        assert_eq!(statuses(&answers), [200, 200, 200, 404], "{id} {answers:?}");
        assert!(answers[1]["body"]["$Version"].is_string(), "{id}");
    }
    let answers = batch(&app, &json!([{"id": "1", "method": "GET", "url": "$later"}, create("later", "a test")])).await;
    assert_eq!(statuses(&answers), [404, 201]);
    assert!(message(&answers[0]).starts_with("Resource not found for the path '/v1.0/$later'."), "{answers:?}");
}

#[actix_web::test]
async fn a_step_cannot_replace_the_forwarded_headers_of_its_batch() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.server.forwarded_headers = true).await;
    let path = app.configuration().await;
    let of_step =
        json!({"Forwarded": "host=evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "ftp"});
    let requests = json!({"requests": [{"id": "1", "method": "GET", "url": path, "headers": of_step}]});
    let request = app.request(Method::POST, "/v1.0/$batch").header("content-type", "application/json");
    let request = request.header("x-forwarded-host", "graph.example").header("x-forwarded-proto", "https");
    let answer = app.answer(request.body(requests.to_string())).await.json();
    let context = answer["responses"][0]["body"]["@odata.context"].as_str().expect("a context");
    assert!(context.starts_with("https://graph.example/v1.0/$metadata#"), "{context}");
}

#[actix_web::test]
async fn headers_of_a_step_are_read_as_lines_of_http() {
    let app = App::start().await;
    let new = with(
        create("1", "a test"),
        "headers",
        json!({"Content-Type": "\t application/json ", "Prefer": " return=minimal\t"}),
    );
    let answers = batch(&app, &json!([new])).await;
    assert_eq!(statuses(&answers), [204], "{answers:?}");
    for (headers, said) in [
        (
            r#"{"Prefer": "a", "Prefer": "b"}"#,
            "The member 'requests[0].headers' of the batch cannot be read: the member 'Prefer' appears twice in one object.",
        ),
        (
            r#"{"Prefer": "a", "prefer": "b"}"#,
            "The member 'requests[0].headers.prefer' of the batch repeats a header in another letter case. Send it once.",
        ),
    ] {
        let body = format!(r#"{{"requests": [{{"id": "1", "method": "GET", "url": "/x", "headers": {headers}}}]}}"#);
        let refused = app.send_text(Method::POST, "/v1.0/$batch", body).await;
        assert_eq!(refused.refusal(), format!("400 BadRequest: {said}"));
    }
}

#[actix_web::test]
async fn a_refusal_names_no_type_of_the_program() {
    let app = App::start().await;
    for (body, said) in [
        (r#""x""#, "The request body must be a JSON object with the member 'requests'."),
        ("7", "The request body must be a JSON object with the member 'requests'."),
        ("null", "The request body must be a JSON object with the member 'requests'."),
        (
            r#"{"requests": [{"id": "1", "method": "GET", "url": "/\udc00"}]}"#,
            "The member 'requests[0].url' of the batch cannot be read: lone leading surrogate in hex escape.",
        ),
    ] {
        let refused = app.send_text(Method::POST, "/v1.0/$batch", body).await;
        assert_eq!(refused.refusal(), format!("400 BadRequest: {said}"));
    }
}

#[actix_web::test]
async fn head_is_refused_without_a_body() {
    let app = App::start().await;
    let missing = format!("{CONFIGURATIONS}/{}", Uuid::new_v4());
    let answers = batch(
        &app,
        &json!([
            {"id": "1", "method": "HEAD", "url": missing},
            {"id": "2", "method": "HEAD", "url": CONFIGURATIONS, "dependsOn": ["1"]},
            {"id": "3", "method": "HEAD", "url": "$1"},
        ]),
    )
    .await;
    assert_eq!(statuses(&answers), [404, 424, 400]);
    assert!(answers.iter().all(|answer| answer.get("body").is_none()), "{answers:?}");
}

#[test]
fn the_log_has_the_final_status_of_each_step() {
    if is_remote() {
        return;
    }
    let folder = Folder::new();
    let service = Service::start(folder.command().env("DEVICEGRAPH__LOG__FORMAT", "json"));
    let in_group = |step: Value| with(step, "atomicityGroup", "g");
    let requests = json!({"requests": [
        in_group(create("1", "a test")),
        in_group(json!({"id": "2", "method": "PUT", "url": CONFIGURATIONS})),
        in_group(with(assign("3", "$1", "a"), "dependsOn", json!(["1"]))),
        {"id": "4", "method": "GET", "url": format!("{CONFIGURATIONS}?$top=1"), "dependsOn": ["g"]},
    ]});
    let (status, text) = service.request("POST", "/v1.0/$batch", &requests.to_string());
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let log = service.log_until_stopped(Signal::SIGTERM);
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let expected = [vec![201, 424], vec![405], vec![424], vec![424]];
    for (answer, expected) in answer["responses"].as_array().expect("responses").iter().zip(expected) {
        let id = &answer["headers"]["request-id"];
        let of_step = lines.iter().filter(|line| line["message"] == "request" && line["request_id"] == *id);
        let told: Vec<_> = of_step.clone().map(|line| line["status"].as_u64().expect("a status")).collect();
        assert_eq!(told, expected, "{log}");
        let is_its_own =
            |line: &Value| line["path"].as_str().is_some_and(|path| path.contains('/') && !path.contains('?'));
        assert!(of_step.clone().all(is_its_own), "{log}");
    }
}
