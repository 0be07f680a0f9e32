//! The digests of large sets that the database keeps: they equal the computed digests, and no
//! writer waits for them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::harness::{App, beta, group, is_remote};

const LARGE: usize = 501;

fn groups(from: usize, to: usize) -> Value {
    json!({"assignments": (from..to).map(|n| group(&format!("g{n}"))).collect::<Vec<_>>()})
}

/// Creates a configuration with a large set whose digest is not kept. Returns its path and id.
async fn large_set(app: &App) -> (String, String) {
    let configuration = app.configuration().await;
    let id = configuration.rsplit('/').next().expect("an id").to_owned();
    let insert = format!(
        "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
         SELECT gen_random_uuid(), '{id}', 'groupAssignmentTarget', 'g' || n FROM generate_series(0, {}) AS n",
        LARGE - 1
    );
    app.pool().execute(AssertSqlSafe(insert)).await.expect("a set");
    (configuration, id)
}

/// Creates a configuration with a large set whose digest is kept.
async fn kept_set(app: &App) -> (String, String) {
    let (configuration, id) = large_set(app).await;
    assert!(keep(&mut app.pool().acquire().await.expect("a session"), &id).await);
    (configuration, id)
}

async fn keep(session: &mut PgConnection, id: &str) -> bool {
    let keep = sqlx::query_scalar("SELECT device_configuration_keep_digest($1::uuid)").bind(id);
    keep.fetch_one(session).await.expect("an answer")
}

async fn number(pool: &PgPool, query: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(pool).await.expect("a number")
}

async fn parts(app: &App) -> i64 {
    number(app.pool(), "SELECT count(*) FROM device_configuration_digest_parts").await
}

async fn write(session: &mut PgConnection, statement: &str) {
    session.execute(AssertSqlSafe(statement.to_owned())).await.expect(statement);
}

/// Checks that the digest is kept and equals the one that is computed from all rows.
async fn check(app: &App, id: &str, after: &str) {
    let both = "SELECT k.digest, k.assignments, p.digest, p.assignments, s.digest, s.assignments
                FROM device_configuration_kept_digests AS k
                LEFT JOIN device_configuration_computed_digests AS p USING (device_configuration_id)
                LEFT JOIN device_configuration_assignment_sets AS s USING (device_configuration_id)
                WHERE device_configuration_id = $1::uuid";
    let row = sqlx::query(both).bind(id).fetch_optional(app.pool()).await.expect("digests");
    let row = row.unwrap_or_else(|| panic!("no digest is kept after {after}"));
    let digest = |at: usize| (row.get::<Option<String>, _>(at), row.get::<Option<i64>, _>(at + 1));
    if digest(2).1.is_some() {
        assert_eq!(digest(0), digest(2), "kept and computed after {after}");
    } else {
        assert_eq!(digest(0), (None, Some(0)), "kept after {after}");
    }
    assert_eq!(digest(4), digest(2), "shown and computed after {after}");
}

#[actix_web::test]
async fn a_read_of_a_large_set_begins_to_keep_its_digest_and_shows_no_other_one() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (configuration, id) = large_set(&app).await;
    let path = format!("{configuration}/assignments?$top=2");
    let computed = app.get(&path).await;
    check(&app, &id, "a page").await;
    assert_eq!(parts(&app).await, 1);
    let kept = app.get(&path).await;
    assert_eq!((computed.header("etag"), &computed.text), (kept.header("etag"), &kept.text));
    assert_eq!(app.get(&format!("{configuration}/assignments")).await.header("etag"), kept.header("etag"));

    let (conditional, id) = large_set(&app).await;
    let first = app.get(&format!("{conditional}/assignments?$top=1")).await.json()["value"][0]["id"].clone();
    app.pool().execute("TRUNCATE device_configuration_digest_parts").await.expect("the table may be emptied");
    let request = app.request(Method::GET, &format!("{conditional}/assignments/{}", first.as_str().expect("an id")));
    assert_eq!(app.answer(request.header("if-none-match", "\"other\"")).await.status, StatusCode::OK);
    check(&app, &id, "a conditional read").await;

    let small = app.configuration().await;
    app.post(&format!("{small}/assign"), &groups(0, LARGE - 1)).await;
    app.get(&format!("{small}/assignments?$top=2")).await;
    assert_eq!(parts(&app).await, 1, "the digest of a smaller set is not kept");
}

#[actix_web::test]
async fn pages_and_changes_show_the_kept_digest_and_do_not_compute_it() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (configuration, id) = kept_set(&app).await;
    // A wrong sum in the kept digest shows whether an answer has the kept or the computed one.
    let wrong = format!(
        "UPDATE device_configuration_digest_parts SET first_sum = first_sum + 1 WHERE device_configuration_id = '{id}'"
    );
    app.pool().execute(AssertSqlSafe(wrong)).await.expect("a wrong sum");
    let kept = async || {
        let kept = "SELECT digest FROM device_configuration_kept_digests WHERE device_configuration_id = $1::uuid";
        let kept: String = sqlx::query_scalar(kept).bind(&id).fetch_one(app.pool()).await.expect("a digest");
        format!("W/\"{kept}\"")
    };
    let path = format!("{configuration}/assignments");
    let page = app.get(&format!("{path}?$top=2")).await;
    assert_eq!(page.header("etag"), kept().await, "a page");
    let next = page.json()["@odata.nextLink"].as_str().expect("a link").replacen(&app.origin, "", 1);
    for query in [next.as_str(), &format!("{path}?$orderby=id desc"), &format!("{path}?$filter=id eq 'x'")] {
        assert_eq!(app.get(query).await.header("etag"), kept().await, "{query}");
    }
    let one = format!("{path}/{}", page.json()["value"][0]["id"].as_str().expect("an id"));
    assert_eq!(app.patch(&one, &group("other")).await.header("etag"), kept().await, "PATCH");
    let delete = app.request(Method::DELETE, &one).header("if-match", kept().await);
    let deleted = app.answer(delete).await;
    assert_eq!((deleted.status, deleted.header("etag")), (StatusCode::NO_CONTENT, &*kept().await));
    let assigned = app.post(&format!("{configuration}/assign"), &groups(5, LARGE)).await;
    assert_eq!(assigned.header("etag"), kept().await, "assign");
}

#[actix_web::test]
async fn every_write_changes_the_kept_digest() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (configuration, id) = kept_set(&app).await;
    let path = format!("{configuration}/assignments");
    check(&app, &id, "its begin").await;
    let one = app.post(&path, &group("a")).await.id();
    check(&app, &id, "a create").await;
    app.patch(&format!("{path}/{one}"), &group("b")).await;
    check(&app, &id, "PATCH").await;
    app.patch(&format!("{path}/{one}"), &group("g1")).await;
    check(&app, &id, "a refused PATCH, which is rolled back to a savepoint").await;
    app.delete(&format!("{path}/{one}")).await;
    check(&app, &id, "DELETE").await;
    app.post(&format!("{configuration}/assign"), &groups(100, LARGE + 100)).await;
    check(&app, &id, "assign").await;
    let mut filtered = groups(200, LARGE + 200);
    for row in filtered["assignments"].as_array_mut().expect("an array") {
        row["target"]["deviceAndAppManagementAssignmentFilterId"] = "f".into();
        row["target"]["deviceAndAppManagementAssignmentFilterType"] = "include".into();
    }
    app.post(&format!("{}/assign", beta(&configuration)), &filtered).await;
    check(&app, &id, "assign on beta").await;

    let (_, other) = kept_set(&app).await;
    let rows =
        format!("device_configuration_assignments WHERE device_configuration_id = '{id}' AND group_id LIKE 'g5%'");
    for statement in [
        format!(
            "UPDATE device_configuration_assignments SET intent = 'remove' WHERE device_configuration_id IN ('{id}', '{other}')"
        ),
        format!(
            "UPDATE device_configuration_assignments SET device_configuration_id = '{other}', group_id = 'moved' WHERE device_configuration_id = '{id}' AND group_id = 'g300'"
        ),
        format!("DELETE FROM {rows}"),
        format!(
            "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type) VALUES (gen_random_uuid(), '{id}', 'allDevicesAssignmentTarget') ON CONFLICT (id) DO UPDATE SET intent = 'apply'"
        ),
        format!("BEGIN; DELETE FROM device_configuration_assignments WHERE device_configuration_id = '{id}'; ROLLBACK"),
        format!(
            "BEGIN; SAVEPOINT s; DELETE FROM device_configuration_assignments WHERE device_configuration_id = '{id}'; ROLLBACK TO s; UPDATE device_configuration_assignments SET source = 'policySets' WHERE device_configuration_id = '{other}'; COMMIT"
        ),
        format!("DELETE FROM device_configuration_assignments WHERE device_configuration_id = '{other}'"),
    ] {
        app.pool().execute(AssertSqlSafe(statement.clone())).await.expect("a change");
        check(&app, &id, &statement).await;
        check(&app, &other, &statement).await;
    }
    app.delete(&configuration).await;
    assert_eq!(
        number(
            app.pool(),
            &format!("SELECT count(*) FROM device_configuration_digest_parts WHERE device_configuration_id = '{id}'")
        )
        .await,
        0
    );
    kept_set(&app).await;
    app.pool().execute("TRUNCATE device_configuration_assignments").await.expect("it may be emptied");
    assert_eq!(parts(&app).await, 0);
}

#[actix_web::test]
async fn a_swap_of_two_targets_changes_the_digest() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (configuration, id) = large_set(&app).await;
    let path = format!("{configuration}/assignments?$top=1");
    let before = app.get(&path).await;
    let swap = format!(
        "UPDATE device_configuration_assignments SET group_id = group_id || 'x' WHERE device_configuration_id = '{id}' AND group_id IN ('g1', 'g2');
         UPDATE device_configuration_assignments SET group_id = CASE group_id WHEN 'g1x' THEN 'g2' ELSE 'g1' END WHERE device_configuration_id = '{id}' AND group_id IN ('g1x', 'g2x')"
    );
    app.pool().execute(AssertSqlSafe(swap)).await.expect("a swap");
    assert_ne!(app.get(&path).await.header("etag"), before.header("etag"));
    check(&app, &id, "a swap").await;
}

#[actix_web::test]
async fn transactions_that_write_at_the_same_time_do_not_wait_for_the_digest() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (_, id) = kept_set(&app).await;
    let insert = |group: &str| {
        format!(
            "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id) VALUES (gen_random_uuid(), '{id}', 'groupAssignmentTarget', '{group}')"
        )
    };
    let mut first = app.pool().begin().await.expect("a transaction");
    let mut second = app.pool().begin().await.expect("a transaction");
    // A statement that had to wait for a lock would fail.
    for session in [&mut first, &mut second] {
        write(session, "SET LOCAL lock_timeout = '1ms'").await;
    }
    write(&mut first, &insert("a")).await;
    write(&mut second, &insert("b")).await;
    write(&mut first, &insert("c")).await;
    assert!(
        !keep(&mut app.pool().acquire().await.expect("a session"), &id).await,
        "the writers have the configuration"
    );
    second.commit().await.expect("committed");
    check(&app, &id, "the second").await;
    first.commit().await.expect("committed");
    check(&app, &id, "both").await;
    let mut third = app.pool().begin().await.expect("a transaction");
    write(&mut third, &insert("d")).await;
    third.rollback().await.expect("rolled back");
    check(&app, &id, "a rollback").await;
    // A later write uses the existing parts.
    let before = parts(&app).await;
    for group in ["e", "f", "g"] {
        app.pool().execute(AssertSqlSafe(insert(group))).await.expect("a row");
    }
    check(&app, &id, "three more").await;
    assert_eq!(parts(&app).await, before);
}

#[actix_web::test]
async fn a_digest_that_begins_to_be_kept_misses_no_write() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let update = |id: &str, group: &str| {
        format!(
            "UPDATE device_configuration_assignments SET intent = 'remove' WHERE device_configuration_id = '{id}' AND group_id = '{group}'"
        )
    };

    // The write came first and is not committed. The read does not wait for it.
    let (configuration, id) = large_set(&app).await;
    let mut writer = app.pool().begin().await.expect("a transaction");
    write(&mut writer, &update(&id, "g1")).await;
    let path = format!("{configuration}/assignments?$top=1");
    assert_eq!(app.get(&path).await.status, StatusCode::OK);
    assert_eq!(parts(&app).await, 0, "the read did not get the lock");
    writer.commit().await.expect("committed");
    app.get(&path).await;
    check(&app, &id, "the write").await;

    // The write comes while the digest begins to be kept, and commits before or after that.
    for writer_is_first in [true, false] {
        let (_, id) = large_set(&app).await;
        let mut keeper = app.pool().begin().await.expect("a transaction");
        assert!(keep(&mut keeper, &id).await);
        let mut writer = app.pool().begin().await.expect("a transaction");
        write(&mut writer, "SET LOCAL lock_timeout = '1ms'").await;
        write(&mut writer, &update(&id, "g2")).await;
        write(&mut writer, &format!("DELETE FROM device_configuration_assignments WHERE device_configuration_id = '{id}' AND group_id = 'g3'")).await;
        if writer_is_first {
            writer.commit().await.expect("committed");
            keeper.commit().await.expect("committed");
        } else {
            keeper.commit().await.expect("committed");
            writer.commit().await.expect("committed");
        }
        check(&app, &id, "both").await;
    }

    // The attempt to keep a digest is rolled back. The part that a write stores meanwhile must not
    // count.
    let (_, id) = large_set(&app).await;
    let mut keeper = app.pool().begin().await.expect("a transaction");
    assert!(keep(&mut keeper, &id).await);
    app.pool().execute(AssertSqlSafe(update(&id, "g2"))).await.expect("a write");
    keeper.rollback().await.expect("rolled back");
    let kept = format!("SELECT count(*) FROM device_configuration_kept_digests WHERE device_configuration_id = '{id}'");
    assert_eq!(number(app.pool(), &kept).await, 0);
    assert!(keep(&mut app.pool().acquire().await.expect("a session"), &id).await);
    check(&app, &id, "the second attempt").await;
}

#[actix_web::test]
async fn a_transaction_that_sees_an_older_state_changes_the_digest_too() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (_, id) = large_set(&app).await;
    let mut old = app.pool().begin().await.expect("a transaction");
    write(&mut old, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await;
    write(&mut old, "SELECT count(*) FROM device_configuration_assignments").await;
    assert!(!keep(&mut old, &id).await, "the snapshot of the transaction is too old");
    assert!(keep(&mut app.pool().acquire().await.expect("a session"), &id).await);
    for statement in [
        format!(
            "UPDATE device_configuration_assignments SET intent = 'remove' WHERE device_configuration_id = '{id}' AND group_id = 'g1'"
        ),
        format!(
            "DELETE FROM device_configuration_assignments WHERE device_configuration_id = '{id}' AND group_id = 'g2'"
        ),
        format!(
            "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id) VALUES (gen_random_uuid(), '{id}', 'groupAssignmentTarget', 'new')"
        ),
    ] {
        write(&mut old, &statement).await;
    }
    old.commit().await.expect("committed");
    check(&app, &id, "an old snapshot").await;
}

#[actix_web::test]
async fn no_digest_is_kept_in_a_read_only_transaction_or_without_a_configuration() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (_, id) = large_set(&app).await;
    let mut reader = app.pool().begin().await.expect("a transaction");
    write(&mut reader, "SET TRANSACTION READ ONLY").await;
    assert!(!keep(&mut reader, &id).await);
    assert!(!keep(&mut app.pool().acquire().await.expect("a session"), &Uuid::new_v4().to_string()).await);
}

#[actix_web::test]
async fn a_role_that_may_only_write_assignments_changes_the_digest() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (_, id) = kept_set(&app).await;
    let role = format!("writer_{}", Uuid::new_v4().simple());
    let mut session = app.pool().acquire().await.expect("a session").detach();
    write(
        &mut session,
        &format!("CREATE ROLE {role}; GRANT INSERT, SELECT, DELETE ON device_configuration_assignments TO {role}"),
    )
    .await;
    write(&mut session, &format!("SET ROLE {role}; SET search_path = pg_catalog")).await;
    let insert = format!(
        "INSERT INTO public.device_configuration_assignments (id, device_configuration_id, target_type) VALUES (gen_random_uuid(), '{id}', 'allDevicesAssignmentTarget')"
    );
    write(&mut session, &insert).await;
    write(&mut session, &format!("DELETE FROM public.device_configuration_assignments WHERE device_configuration_id = '{id}' AND group_id = 'g1'")).await;
    write(&mut session, "RESET search_path; RESET ROLE").await;
    write(&mut session, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    session.close().await.expect("closed");
    check(&app, &id, "the writes of a role").await;
}
