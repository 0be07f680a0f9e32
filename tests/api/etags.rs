//! Conditional requests: If-Match and If-None-Match.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, App, CONFIGURATIONS, group};

/// Sends a request with an additional header.
async fn conditional(app: &App, method: Method, path: &str, header: (&str, &str), body: Option<&Value>) -> Answer {
    let request = app.request(method, path).header(header.0, header.1);
    app.answer(match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    })
    .await
}

fn etag(answer: &Answer) -> String {
    let etag = answer.header("etag").to_owned();
    assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
    etag
}

/// Asserts that an answer is 412 and has the current ETag in its header and in its message.
#[track_caller]
fn assert_refused(answer: &Answer, now: &str) {
    assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{}", answer.text);
    assert_eq!(answer.header("etag"), now);
    let expected = format!(
        "412 PreconditionFailed: A precondition of the request does not match: the current ETag is {now}. Read the resource again. If the change is still right, send it with this ETag."
    );
    answer.refusal();
    let error = &answer.json()["error"];
    let code = error["code"].as_str().expect("a code");
    assert_eq!(format!("412 {code}: {}", error["message"].as_str().expect("a message")), expected);
}

#[actix_web::test]
async fn every_form_of_a_configuration_has_the_etag_of_its_version() {
    let app = App::start().await;
    let body = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "etags"});
    let minimal = ("accept", "application/json;odata.metadata=minimal");
    let created = conditional(&app, Method::POST, CONFIGURATIONS, minimal, Some(&body)).await;
    let first = etag(&created);
    assert_eq!(created.json()["@odata.etag"], *first);
    let path = format!("{CONFIGURATIONS}/{}", created.id());
    for path in [path.clone(), path.replace("/v1.0", "/beta"), format!("{path}?$select=id")] {
        let read = conditional(&app, Method::GET, &path, minimal, None).await;
        assert_eq!(etag(&read), first);
        assert_eq!(read.json()["@odata.etag"], *first);
        assert_eq!(etag(&app.get(&path).await), first);
    }
    let list = format!("{CONFIGURATIONS}?$filter=id eq '{}'&$select=displayName", created.id());
    let listed = conditional(&app, Method::GET, &list, minimal, None).await;
    assert_eq!(listed.json()["value"][0]["@odata.etag"], *first);
    let change = json!({"displayName": "etags 2"});
    let changed = conditional(&app, Method::PATCH, &path, minimal, Some(&change)).await;
    let second = etag(&changed);
    assert_ne!(second, first);
    assert_eq!(changed.json()["@odata.etag"], *second);
    assert_eq!(etag(&app.patch(&path, &json!({"displayName": "etags 2"})).await), second, "nothing changed");
    app.post(&format!("{path}/assignments"), &group("a")).await;
    assert_eq!(etag(&app.get(&path).await), second, "assignments do not change the ETag of the configuration");
    let minimal = conditional(&app, Method::PATCH, &path, ("prefer", "return=minimal"), Some(&json!({}))).await;
    assert_eq!((minimal.status, etag(&minimal)), (StatusCode::NO_CONTENT, second));
    let none = app.answer(app.request(Method::GET, &path).header("accept", "application/json;odata.metadata=none"));
    assert!(none.await.json().get("@odata.etag").is_none());
}

#[actix_web::test]
async fn the_second_of_two_administrators_is_refused() {
    let app = App::start().await;
    let path = app.configuration().await;
    let read = etag(&app.get(&path).await);
    let change = |name: &str| json!({ "displayName": name });
    let first = conditional(&app, Method::PATCH, &path, ("if-match", &read), Some(&change("first"))).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    let now = etag(&first);
    let second = conditional(&app, Method::PATCH, &path, ("if-match", &read), Some(&change("second"))).await;
    assert_refused(&second, &now);
    assert_refused(&conditional(&app, Method::DELETE, &path, ("if-match", &read), None).await, &now);
    assert_eq!(app.get(&path).await.json()["displayName"], "first");
    // One matching ETag of several is enough, and `*` matches every stored resource.
    for tags in [format!("{read}, {now}"), "*".to_owned()] {
        let changed = conditional(&app, Method::PATCH, &path, ("if-match", &tags), Some(&json!({}))).await;
        assert_eq!(changed.status, StatusCode::OK);
    }
    for tags in [now.as_str(), "*"] {
        let refused = conditional(&app, Method::PATCH, &path, ("if-none-match", tags), Some(&json!({}))).await;
        assert_refused(&refused, &now);
    }
    let deleted = conditional(&app, Method::DELETE, &path, ("if-match", &now), None).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    for method in [Method::PATCH, Method::DELETE, Method::GET] {
        let gone = conditional(&app, method, &path, ("if-match", &now), Some(&json!({}))).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "a deleted resource is 404 and not 412");
    }
    // A configuration that is created again with the same id has another ETag.
    let id = path.rsplit('/').next().expect("an id");
    let body =
        json!({"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "displayName": "a test", "id": id});
    assert_ne!(etag(&app.post(CONFIGURATIONS, &body).await), read);
}

#[actix_web::test]
async fn a_get_of_an_unchanged_resource_is_304() {
    let app = App::start().await;
    let path = app.configuration().await;
    let assignments = format!("{path}/assignments");
    let id = app.post(&assignments, &group("a")).await.id();
    for path in [&path, &assignments] {
        let now = etag(&app.get(path).await);
        for tags in [now.as_str(), "*", &format!(r#""x", {now}"#)] {
            let unchanged = conditional(&app, Method::GET, path, ("if-none-match", tags), None).await;
            assert_eq!((unchanged.status, unchanged.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
            assert_eq!(etag(&unchanged), now);
        }
        let other = conditional(&app, Method::GET, path, ("if-none-match", r#"W/"other""#), None).await;
        assert_eq!(other.status, StatusCode::OK);
        assert_refused(&conditional(&app, Method::GET, path, ("if-match", r#"W/"other""#), None).await, &now);
    }
    // The ETag of a configuration does not cover its assignments.
    let now = etag(&app.get(&path).await);
    let expanded = format!("{path}?$expand=assignments");
    let whole = conditional(&app, Method::GET, &expanded, ("if-none-match", &now), None).await;
    assert_eq!((whole.status, whole.headers.get("etag")), (StatusCode::OK, None));
    let set = etag(&app.get(&assignments).await);
    let one = format!("{assignments}/{id}");
    assert_eq!(
        conditional(&app, Method::GET, &one, ("if-none-match", &set), None).await.status,
        StatusCode::NOT_MODIFIED
    );
    let filtered = format!("{assignments}?$filter=id eq null");
    assert_eq!(etag(&app.get(&filtered).await), set, "an empty page has the ETag of the set");
}

#[actix_web::test]
async fn a_set_that_was_changed_since_it_was_read_is_not_changed() {
    let app = App::start().await;
    let path = app.configuration().await;
    let (assignments, assign) = (format!("{path}/assignments"), format!("{path}/assign"));
    let none = etag(&app.get(&assignments).await);
    let added = conditional(&app, Method::POST, &assignments, ("if-match", &none), Some(&group("a"))).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    let one = etag(&added);
    assert_eq!(etag(&app.get(&assignments).await), one);
    assert_ne!(one, none);
    let first = format!("{assignments}/{}", added.id());
    let set = json!({"assignments": [group("b")]});
    for (method, path, body) in [
        (Method::POST, &assign, Some(&set)),
        (Method::POST, &assignments, Some(&group("c"))),
        (Method::PATCH, &first, Some(&group("c"))),
        (Method::DELETE, &first, None),
    ] {
        assert_refused(&conditional(&app, method.clone(), path, ("if-match", &none), body).await, &one);
        // The ETag of the configuration does not match its set of assignments.
        let configuration =
            etag(&app.get(path.trim_end_matches("/assign").split("/assignments").next().expect("a path")).await);
        assert_refused(&conditional(&app, method, path, ("if-match", &configuration), body).await, &one);
    }
    let changed = conditional(&app, Method::PATCH, &first, ("if-match", &one), Some(&group("c"))).await;
    let two = etag(&changed);
    let assigned = conditional(&app, Method::POST, &assign, ("if-match", &two), Some(&set)).await;
    assert_eq!(assigned.status, StatusCode::OK, "{}", assigned.text);
    let three = etag(&assigned);
    assert_eq!(etag(&app.get(&assignments).await), three);
    let id = assigned.json()["value"][0]["id"].as_str().expect("an id").to_owned();
    let deleted = conditional(&app, Method::DELETE, &format!("{assignments}/{id}"), ("if-match", &three), None).await;
    assert_eq!((deleted.status, etag(&deleted)), (StatusCode::NO_CONTENT, none.clone()));
    // The ETag of the set also changes with a filter, which only `/beta` shows.
    let before = etag(&app.post(&assign, &set).await);
    let filtered = json!({"assignments": [{"target": {
        "@odata.type": "#microsoft.graph.groupAssignmentTarget", "groupId": "b",
        "deviceAndAppManagementAssignmentFilterId": "f", "deviceAndAppManagementAssignmentFilterType": "include"}}]});
    let after = etag(&app.post(&assign.replace("/v1.0", "/beta"), &filtered).await);
    assert_ne!(before, after);
}

#[actix_web::test]
async fn of_many_conditional_changes_of_one_set_one_succeeds() {
    let app = App::start().await;
    let path = app.configuration().await;
    let now = etag(&app.get(&format!("{path}/assignments")).await);
    let (assign, assignments) = (format!("{path}/assign"), format!("{path}/assignments"));
    let sent = (0..8).map(|number| {
        let (app, assign, assignments, now) = (&app, &assign, &assignments, &now);
        async move {
            let one = group(&format!("g{number}"));
            match number % 2 {
                0 => {
                    let set = json!({ "assignments": [one] });
                    conditional(app, Method::POST, assign, ("if-match", now), Some(&set)).await
                }
                _ => conditional(app, Method::POST, assignments, ("if-match", now), Some(&one)).await,
            }
        }
    });
    let answers = futures_util::future::join_all(sent).await;
    let done = answers.iter().filter(|answer| answer.status.is_success()).count();
    let refused = answers.iter().filter(|answer| answer.status == StatusCode::PRECONDITION_FAILED).count();
    assert_eq!((done, refused), (1, 7));
    assert_eq!(app.assignments(&path).await.len(), 1);
}

#[actix_web::test]
async fn a_conditional_create_can_be_sent_again() {
    let app = App::start().await;
    let path = format!("{}/assignments", app.configuration().await);
    let now = etag(&app.get(&path).await);
    let mut body = group("a");
    body["id"] = json!(uuid::Uuid::new_v4());
    let first = conditional(&app, Method::POST, &path, ("if-match", &now), Some(&body)).await;
    let again = conditional(&app, Method::POST, &path, ("if-match", &now), Some(&body)).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!((etag(&first), first.text), (etag(&again), again.text));
    body["id"] = json!(uuid::Uuid::new_v4());
    let other = conditional(&app, Method::POST, &path, ("if-match", &now), Some(&body)).await;
    assert_eq!(other.status, StatusCode::PRECONDITION_FAILED, "{}", other.text);
}

#[actix_web::test]
async fn a_condition_that_is_malformed_or_has_no_etag_to_match_is_refused() {
    let app = App::start().await;
    let path = app.configuration().await;
    for tags in ["1", "W/1", r#""a"#, "", r#""a",,"b""#] {
        let refused = conditional(&app, Method::PATCH, &path, ("if-match", tags), Some(&json!({}))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{tags}: {}", refused.text);
    }
    let new = json!({"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": "etags"});
    for (method, path, header, body) in [
        (Method::POST, CONFIGURATIONS.to_owned(), "if-match", Some(&new)),
        (Method::GET, CONFIGURATIONS.to_owned(), "if-match", None),
        (Method::GET, format!("{path}/deviceStatuses"), "if-match", None),
        (Method::GET, format!("{path}/assignments/$count"), "if-match", None),
    ] {
        let refused = conditional(&app, method, &path, (header, r#"W/"1""#), body).await;
        let expected = format!(
            "412 PreconditionFailed: The header {header} cannot be applied, because this resource has no ETag. Only configurations and their assignments have one. Leave the header out."
        );
        assert_eq!(refused.refusal(), expected, "{path}");
    }
    let refused = conditional(&app, Method::POST, CONFIGURATIONS, ("if-none-match", "*"), Some(&new)).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    let read = conditional(&app, Method::GET, CONFIGURATIONS, ("if-none-match", r#"W/"1""#), None).await;
    assert_eq!(read.status, StatusCode::OK, "the condition does not match");
}

#[actix_web::test]
async fn a_step_of_a_batch_depends_on_an_etag_as_a_request_does() {
    let app = App::start().await;
    let path = app.configuration().await;
    let url = path.trim_start_matches("/v1.0").to_owned();
    let now = etag(&app.get(&path).await);
    let change = |id: &str| {
        json!({"id": id, "method": "PATCH", "url": url, "dependsOn": if id == "2" { vec!["1"] } else { vec![] },
        "headers": {"Content-Type": "application/json", "If-Match": now}, "body": {"displayName": id}})
    };
    let answer = app.post("/v1.0/$batch", &json!({"requests": [change("1"), change("2")]})).await.json();
    let statuses: Vec<_> =
        answer["responses"].as_array().expect("answers").iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [200, 412]);
    assert_eq!(answer["responses"][0]["headers"]["ETag"], answer["responses"][1]["headers"]["ETag"]);
}
