//! Reads of several statements, with a write that another session commits between them.
//!
//! An answer may be younger than its ETag but never older. A client that sends the ETag of
//! an older answer in If-Match would overwrite a change that it has not seen.

use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};

use crate::harness::{Answer, App, database, group, is_remote, until};

/// Sends a GET and returns its answer. Another session commits `change` just before the
/// service reads the ETag: that statement waits for a lock on the table of configurations,
/// which the other statements of the request do not read.
async fn get_around(app: &App, path: &str, change: String) -> Answer {
    let mut holder = app.pool().begin().await.expect("a session");
    holder.execute("LOCK TABLE device_configurations IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
    let request = app.request(Method::GET, path).header("if-none-match", "\"other\"");
    let change = async {
        until("the service waits for the lock", async || {
            let waits = "SELECT EXISTS (
                             SELECT FROM pg_locks
                             WHERE NOT granted AND relation = 'device_configurations'::regclass
                               AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
            sqlx::query_scalar(waits).fetch_one(app.pool()).await.expect("an answer")
        })
        .await;
        holder.execute(AssertSqlSafe(change)).await.expect("a change");
        holder.commit().await.expect("the change and the end of the lock");
    };
    let (answer, ()) = tokio::join!(app.answer(request), change);
    answer
}

/// Starts an application whose statements wait for that lock on a slow machine, too.
async fn patient_app() -> App {
    App::start_on(database(true).await, |settings| {
        settings.database.lock_timeout_ms = 120_000;
        settings.database.statement_timeout_ms = 0;
    })
    .await
}

#[actix_web::test]
async fn a_page_without_rows_is_read_after_its_etag() {
    if is_remote() {
        return;
    }
    let app = patient_app().await;
    let configuration = app.configuration().await;
    let id = configuration.rsplit('/').next().expect("an id");
    let insert = format!(
        "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
         VALUES (gen_random_uuid(), '{id}', 'groupAssignmentTarget', 'a')"
    );
    // A page with $orderby has its own statements and is not part of a combined one.
    let path = format!("{configuration}/assignments?$orderby=id desc");
    let raced = get_around(&app, &path, insert).await;
    let now = app.get(&path).await;
    assert_eq!(now.json()["value"].as_array().map(Vec::len), Some(1));
    assert_eq!(raced.header("etag"), now.header("etag"), "the ETag was read after the change");
    assert_eq!(raced.json()["value"], now.json()["value"]);
}

#[actix_web::test]
async fn an_assignment_is_read_after_the_etag_of_its_set() {
    if is_remote() {
        return;
    }
    let app = patient_app().await;
    let configuration = app.configuration().await;
    let path = format!("{configuration}/assignments");
    let path = format!("{path}/{}", app.post(&path, &group("before")).await.id());
    let update = "UPDATE device_configuration_assignments SET group_id = 'after'".to_owned();
    let raced = get_around(&app, &path, update).await;
    let now = app.get(&format!("{configuration}/assignments")).await;
    assert_eq!(raced.header("etag"), now.header("etag"), "the ETag was read after the change");
    assert_eq!(raced.json()["target"]["groupId"], json!("after"));
}
