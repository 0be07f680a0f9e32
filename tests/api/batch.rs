//! `$batch`.

use futures_util::future::join;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::{
    harness::{App, CONFIGURATIONS, group, is_remote, until, waiting_for_locks},
    tokens::{READ, issuer},
};

const BATCH: &str = "/v1.0/$batch";

/// Sends a batch and returns the answers to its steps. The batch itself must succeed.
pub(crate) async fn batch(app: &App, requests: &Value) -> Vec<Value> {
    let answer = app.post(BATCH, &json!({ "requests": requests })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["responses"].as_array().expect("responses").clone()
}

pub(crate) fn statuses(answers: &[Value]) -> Vec<u64> {
    answers.iter().map(|answer| answer["status"].as_u64().expect("a status")).collect()
}

pub(crate) fn create(id: &str, name: &str) -> Value {
    json!({
        "id": id, "method": "POST", "url": "/deviceManagement/deviceConfigurations",
        "headers": {"Content-Type": "application/json"},
        "body": {"@odata.type": "#microsoft.graph.iosCustomConfiguration", "displayName": name},
    })
}

pub(crate) fn assign(id: &str, configuration: &str, to: &str) -> Value {
    json!({
        "id": id, "method": "POST", "url": format!("{configuration}/assignments"),
        "headers": {"Content-Type": "application/json"}, "body": group(to),
    })
}

pub(crate) fn with(mut step: Value, member: &str, value: impl Into<Value>) -> Value {
    step[member] = value.into();
    step
}

pub(crate) fn message(answer: &Value) -> &str {
    answer["body"]["error"]["message"].as_str().unwrap_or_else(|| panic!("a message in {answer}"))
}

#[actix_web::test]
async fn requests_of_the_sdks_are_answered_in_the_form_that_they_read() {
    let app = App::start().await;
    let (configuration, mark) = (app.configuration().await, Uuid::new_v4());
    let name = format!("{mark} é");
    let answers = batch(
        &app,
        &json!([
            // Python: an absolute URL, an encoded option name, and `depends_on`.
            {"id": "1", "method": "GET", "url": format!("{}{CONFIGURATIONS}?%24top=1&%24select=id", app.origin), "depends_on": [], "headers": {"accept": "application/json"}},
            // TypeScript: a path with a version.
            {"id": 2, "method": "GET", "url": configuration},
            {"id": "3", "method": "PATCH", "url": configuration, "headers": {"content-type": "application/json"}, "body": {"displayName": name}, "dependsOn": [2]},
            // Scripts: relative URLs, a method in lower case, and options that are not encoded.
            {"id": "4", "method": "get", "url": format!("deviceManagement/deviceConfigurations?$filter=displayName eq '{name}'&$select=displayName")},
            {"id": "5", "method": "GET", "url": "/deviceManagement/deviceConfigurations/$count"},
            {"id": "6", "method": "DELETE", "url": format!("{configuration}/"), "extra": {"a": 1}},
            {"id": "7", "method": "GET", "url": "https://graph.microsoft.com/beta/$metadata?$format=json"},
            {"id": "8", "method": "GET", "url": "/beta/$metadata"},
        ]),
    )
    .await;
    assert_eq!(statuses(&answers), [200, 200, 200, 200, 200, 204, 200, 200]);
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(answers[0]["body"]["value"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        answers[3]["body"]["value"],
        json!([{
            "@odata.type": "#microsoft.graph.windows10CustomConfiguration",
            "displayName": name,
        }])
    );
    for (place, media_type) in [(0, "application/json"), (4, "text/plain"), (7, "application/xml")] {
        let told = answers[place]["headers"]["Content-Type"].as_str().expect("Content-Type, spelled so");
        assert!(told.starts_with(media_type), "{told}");
    }
    assert!(answers[4]["body"].as_str().is_some_and(|count| count.parse::<u64>().is_ok()), "{}", answers[4]);
    let members = answers[5].as_object().map(|answer| answer.keys().cloned().collect::<Vec<_>>());
    assert_eq!(members, Some(vec!["id".to_owned(), "status".to_owned(), "headers".to_owned()]));
    assert!(answers[6]["body"]["$Version"].is_string());
    assert!(answers[7]["body"].as_str().is_some_and(|body| body.starts_with("PD94bWwg")), "XML in base64url");
    assert_eq!(app.get(&configuration).await.status, StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn a_batch_that_cannot_be_read_is_refused_whole() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let delete = json!({"id": "1", "method": "DELETE", "url": configuration});
    for (body, said) in [
        (
            json!({"requests": [&delete, {"id": "2"}]}).to_string(),
            "The member 'requests[1].method' of the batch is missing",
        ),
        (
            json!({"requests": vec![&delete; 21]}).to_string(),
            "A batch may have at most 20 requests, and this one has 21.",
        ),
        (
            json!({"requests": [&delete, &delete]}).to_string(),
            "The member 'requests[1].id' of the batch is '1', which an earlier request already has.",
        ),
        ("[]".to_owned(), "The request body must be a JSON object with the member 'requests'."),
        (
            json!({"requests": [["1", "DELETE", configuration]]}).to_string(),
            "The member 'requests[0]' of the batch must be an object with the members of a request.",
        ),
        (format!("{{\"requests\": [{delete}]"), "Unable to read JSON request payload"),
    ] {
        let refused = app.send_text(Method::POST, BATCH, body).await.refusal();
        assert!(refused.starts_with(&format!("400 BadRequest: {said}")), "{refused}");
    }
    let untyped = app.request(Method::POST, BATCH).header("content-type", "text/plain").body("{}");
    assert_eq!(app.answer(untyped).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(app.get(&configuration).await.status, StatusCode::OK);
    assert_eq!(app.post(BATCH, &json!({"requests": []})).await.text, r#"{"responses":[]}"#);
    let nested = batch(&app, &json!([{"id": "1", "method": "POST", "url": "/$batch", "headers": {"Content-Type": "application/json"}, "body": {"requests": []}}])).await;
    assert_eq!(message(&nested[0]), "A batch cannot contain another batch. Put its requests into the outer batch.");
}

#[actix_web::test]
async fn a_step_that_depends_on_a_failed_step_is_not_executed() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let answers = batch(
        &app,
        &json!([
            assign("a", &configuration, "a"),
            with(assign("again", &configuration, "a"), "dependsOn", json!(["A"])),
            with(assign("b", &configuration, "b"), "dependsOn", json!(["a", "again"])),
            with(assign("c", &configuration, "c"), "dependsOn", json!(["b"])),
            with(assign("d", &configuration, "d"), "dependsOn", json!(["a"])),
        ]),
    )
    .await;
    assert_eq!(statuses(&answers), [201, 409, 424, 424, 201]);
    assert_eq!(answers[2]["body"]["error"]["code"], "FailedDependency");
    assert_eq!(
        message(&answers[2]),
        "This request was not executed, because it depends on the request 'again', which failed."
    );
    assert_eq!(answers[2]["body"]["error"]["innerError"]["request-id"], answers[2]["headers"]["request-id"]);
    assert_eq!(answers[2]["headers"]["Content-Type"], "application/json");
    assert_eq!(app.assignments(&configuration).await.len(), 2);
}

#[actix_web::test]
async fn an_atomicity_group_is_written_completely_or_not_at_all() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let in_group = |step: Value| with(step, "atomicityGroup", "g");
    let patch = |name: &str| json!({"id": name, "method": "PATCH", "url": configuration, "headers": {"Content-Type": "application/json"}, "body": {"displayName": name}});
    let set = json!({"id": "set", "method": "POST", "url": format!("{configuration}/assign"), "headers": {"Content-Type": "application/json"},
        "body": {"assignments": [group("b"), group("c")]}});
    let read = json!({"id": "read", "method": "GET", "url": format!("{configuration}?$expand=assignments")});
    let written = batch(
        &app,
        &json!([
            in_group(assign("a", &configuration, "a")),
            in_group(patch("first")),
            in_group(set.clone()),
            in_group(read.clone()),
            in_group(create("new", "a test")),
            in_group(with(assign("of new", "$new", "a"), "dependsOn", json!(["new"]))),
            with(assign("behind", &configuration, "d"), "dependsOn", json!(["g"])),
        ]),
    )
    .await;
    assert_eq!(statuses(&written), [201, 200, 200, 200, 201, 201, 201]);
    // The read sees the changes of its own atomicity group.
    assert_eq!(written[3]["body"]["assignments"].as_array().map(Vec::len), Some(2));
    assert_eq!(app.assignments(&configuration).await.len(), 3);
    let new = format!("{CONFIGURATIONS}/{}", written[4]["body"]["id"].as_str().expect("an id"));
    assert_eq!(app.assignments(&new).await.len(), 1);

    let first = app.assignments(&configuration).await[0].clone();
    let move_it = json!({"id": "move", "method": "PATCH", "url": format!("{configuration}/assignments/{}", first["id"].as_str().expect("an id")),
        "headers": {"Content-Type": "application/json"}, "body": group("c")});
    let delete = json!({"id": "delete", "method": "DELETE", "url": new});
    let before = (app.get(&configuration).await.text, app.assignments(&configuration).await);
    for (fails, status) in [
        (assign("taken", &configuration, "b"), 409),
        // A statement that fails in the transaction, and another step after it.
        (move_it, 409),
        (json!({"id": "none", "method": "DELETE", "url": format!("{CONFIGURATIONS}/{}", Uuid::new_v4())}), 404),
        (with(patch("wrong"), "body", json!({"displayName": 7})), 400),
        (json!({"id": "verb", "method": "PUT", "url": configuration}), 405),
    ] {
        let answers = batch(
            &app,
            &json!([
                read.clone(),
                in_group(delete.clone()),
                in_group(patch("second")),
                in_group(assign("new target", &configuration, "e")),
                in_group(fails.clone()),
                in_group(create("never", "a test")),
                with(create("after", "a test"), "dependsOn", json!(["g"])),
                with(read.clone(), "id", "once more"),
            ]),
        )
        .await;
        assert_eq!(statuses(&answers), [200, 424, 424, 424, status, 424, 424, 200], "{answers:?}");
        let id = fails["id"].as_str().expect("an id");
        assert_eq!(
            message(&answers[1]),
            format!(
                "Nothing of the atomicity group was written, because its request '{id}' failed. The answer to that request says why."
            )
        );
        assert_eq!((app.get(&configuration).await.text, app.assignments(&configuration).await), before);
        assert_eq!(app.get(&new).await.status, StatusCode::OK);
        assert_eq!(answers[7]["body"], answers[0]["body"], "a read after the failed group sees none of its changes");
    }
}

#[actix_web::test]
async fn every_step_needs_the_permission_of_its_own_route() {
    let Some(issuer) = issuer() else { return };
    let app = App::start().await;
    let configuration = app.configuration().await;
    let requests = json!({"requests": [
        {"id": "1", "method": "GET", "url": configuration},
        assign("2", &configuration, "a"),
        with(assign("3", &configuration, "b"), "atomicityGroup", "g"),
        {"id": "4", "method": "GET", "url": configuration, "headers": {"Authorization": "Bearer garbage"}},
        {"id": "5", "method": "DELETE", "url": configuration, "headers": {"authorization": issuer.bearer(&issuer.claims())}, "dependsOn": ["2"]},
    ]});
    let send = async |authorization: Option<String>| {
        let request = app.anonymous(Method::POST, BATCH).header("content-type", "application/json");
        let request = authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        app.answer(request.body(requests.to_string())).await
    };
    assert_eq!(send(None).await.status, StatusCode::UNAUTHORIZED);
    let reader = send(Some(issuer.with("roles", json!([READ])))).await.json();
    let answers = reader["responses"].as_array().expect("responses");
    assert_eq!(statuses(answers), [200, 403, 403, 401, 424]);
    assert_eq!(answers[3]["headers"]["WWW-Authenticate"], r#"Bearer realm="devicegraph", error="invalid_token""#);
    assert!(app.assignments(&configuration).await.is_empty());
    let writer = send(Some(issuer.bearer(&issuer.claims()))).await.json();
    assert_eq!(statuses(writer["responses"].as_array().expect("responses")), [200, 201, 201, 401, 204]);
}

#[actix_web::test]
async fn a_step_has_its_own_request_ids_and_headers() {
    let app = App::start().await;
    let configuration = app.configuration().await;
    let requests = json!({"requests": [
        {"id": "1", "method": "GET", "url": configuration},
        {"id": "2", "method": "GET", "url": configuration, "headers": {"Client-Request-Id": "mine", "Accept": "application/json;odata.metadata=none"}},
        {"id": "3", "method": "PATCH", "url": configuration, "headers": {"Content-Type": "application/json", "Prefer": "return=minimal"}, "body": {"displayName": "x"}},
        {"id": "4", "method": "PATCH", "url": configuration, "body": {"displayName": "y"}},
        {"id": "5", "method": "HEAD", "url": configuration},
    ]});
    let request = app.request(Method::POST, BATCH).header("client-request-id", "of the batch");
    let request =
        request.header("content-type", "application/json").header("accept", "application/json;odata.metadata=none");
    let answer = app.answer(request.body(requests.to_string())).await.json();
    let answers = answer["responses"].as_array().expect("responses");
    assert_eq!(statuses(answers), [200, 200, 204, 415, 200]);
    assert_eq!(answers[0]["headers"]["client-request-id"], "of the batch");
    assert_eq!(answers[1]["headers"]["client-request-id"], "mine");
    assert_ne!(answers[0]["headers"]["request-id"], answers[1]["headers"]["request-id"]);
    let context = |place: usize| answers[place]["body"].get("@odata.context").is_some();
    assert_eq!((context(0), context(1)), (true, false), "the Accept header of each step applies to its own answer");
    assert_eq!(answers[2]["headers"]["Preference-Applied"], "return=minimal");
    assert_eq!((answers[2].get("body"), answers[4].get("body")), (None, None));
}

#[actix_web::test]
async fn reads_of_a_batch_run_concurrently_and_writes_do_not() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let run = async |step: &dyn Fn(usize) -> Value, side_by_side: usize| {
        let mut dba = app.pool().begin().await.expect("a transaction");
        dba.execute("LOCK TABLE device_configurations").await.expect("a lock");
        let steps: Vec<_> = (0..4).map(step).collect();
        let look = async {
            let waiting = async || waiting_for_locks(app.pool(), "devicegraph %").await;
            until("a statement of each step waits", async || waiting().await == side_by_side as i64).await;
            // The batch and the steps in progress: no other step has started.
            assert_eq!(app.in_flight().await, 1 + side_by_side);
            dba.rollback().await.expect("no lock");
        };
        let (answers, ()) = join(batch(&app, &json!(steps)), look).await;
        assert!(answers.iter().all(|answer| answer["status"].as_u64() < Some(300)), "{answers:?}");
    };
    // With `$expand` each read runs its own statement. Without it, the service would combine the
    // reads.
    let alone = format!("{configuration}?$expand=assignments");
    let read = |id: usize| json!({"id": id, "method": "GET", "url": alone});
    let write = |id: usize| create(&id.to_string(), "a test");
    run(&read, 4).await;
    run(&write, 1).await;
}

#[actix_web::test]
async fn an_atomicity_group_whose_connection_ends_is_not_written() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (configuration, locked) = (app.configuration().await, app.configuration().await);
    let id = locked.rsplit('/').next().expect("an id");
    let mut dba = app.pool().begin().await.expect("a transaction");
    let lock = format!("SELECT FROM device_configurations WHERE id = '{id}' FOR UPDATE");
    dba.execute(AssertSqlSafe(lock)).await.expect("a lock");
    let requests = json!([
        with(assign("a", &configuration, "a"), "atomicityGroup", "g"),
        with(
            json!({"id": "b", "method": "PATCH", "url": locked, "headers": {"Content-Type": "application/json"}, "body": {"displayName": "x"}}),
            "atomicityGroup",
            "g"
        ),
        assign("after", &configuration, "b"),
    ]);
    let end = async {
        end_waiting_session(&app).await;
        dba.rollback().await.expect("no lock");
    };
    let (answers, ()) = join(batch(&app, &requests), end).await;
    assert_eq!(statuses(&answers), [424, 503, 201], "{answers:?}");
    assert_eq!(answers[1]["headers"]["Retry-After"], "1");
    let left = app.assignments(&configuration).await;
    assert_eq!(left.iter().map(|one| &one["target"]["groupId"]).collect::<Vec<_>>(), ["b"]);
}

#[actix_web::test]
async fn an_atomicity_group_whose_commit_is_lost_has_an_unknown_outcome_in_every_step() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    // A commit that waits until the test ends its session.
    app.pool()
        .execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON device_configuration_assignments
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()",
        )
        .await
        .expect("a trigger");
    let mut dba = app.pool().begin().await.expect("a transaction");
    dba.execute("SELECT pg_advisory_xact_lock(7)").await.expect("a lock");
    let below = configuration.strip_prefix("/v1.0").expect("a version");
    let requests = json!([
        {"id": "it", "method": "GET", "url": below},
        with(assign("a", &configuration, "a"), "atomicityGroup", "g"),
        with(with(assign("b", "$it", "b"), "atomicityGroup", "g"), "dependsOn", json!(["it"])),
    ]);
    let (answers, ()) = join(batch(&app, &requests), end_waiting_session(&app)).await;
    assert_eq!(statuses(&answers), [200, 500, 500], "{answers:?}");
    for answer in &answers[1..] {
        assert_eq!(answer["body"]["error"]["code"], "OutcomeUnknown");
        assert!(
            message(answer)
                .ends_with(&format!("Read {configuration}/assignments to find out whether the change was written."))
        );
    }
    dba.rollback().await.expect("no lock");
}

/// Waits until a session waits for a lock, and ends this session.
async fn end_waiting_session(app: &App) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let end = async || sqlx::query_scalar::<_, bool>(end).fetch_all(app.pool()).await.expect("an answer");
    until("a session waits for a lock", async || !end().await.is_empty()).await;
}
