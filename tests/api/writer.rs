//! Creates that are combined into one statement.

use std::time::{Duration, Instant};

use futures_util::future::{FutureExt, LocalBoxFuture, join, join_all};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres, Transaction};
use tokio::time::sleep;
use uuid::Uuid;

use crate::harness::{App, CONFIGURATIONS, database, end_sessions, group, is_remote, until, waiting_for_locks};

const WRITER: &str = "devicegraph writer";
const GROUPS: &str = "devicegraph_database_groups_total{of=\"creates\"}";
const GROUPED: &str = "devicegraph_database_grouped_total{of=\"creates\"}";
const RETRIES: &str = "devicegraph_database_retries_total";

async fn create(app: &App, configuration: &str, body: &Value) -> StatusCode {
    app.post(&format!("{configuration}/assignments"), body).await.status
}

/// Makes the writer's commits of assignments to groups like `first…` wait for a lock,
/// which the transaction that is returned holds.
async fn hold_commits(app: &App) -> Transaction<'static, Postgres> {
    // The session of the writer has a lock timeout of 30 ms. The function has its own, which never
    // ends the wait.
    let wait = "CREATE FUNCTION wait_for_test() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$ BEGIN
                    IF current_setting('application_name') = 'devicegraph writer' THEN
                        PERFORM pg_advisory_xact_lock(1);
                    END IF;
                    RETURN NULL;
                END $$;
                CREATE CONSTRAINT TRIGGER wait_for_test AFTER INSERT ON device_configuration_assignments
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.group_id LIKE 'first%')
                    EXECUTE FUNCTION wait_for_test()";
    app.pool().execute(wait).await.expect("a trigger");
    let mut commits = app.pool().begin().await.expect("a session");
    commits.execute("SELECT pg_advisory_xact_lock(1)").await.expect("the lock");
    commits
}

/// Sends a create and waits until the writer waits in its commit, see [`hold_commits`].
async fn held_create<'a>(app: &'a App, configuration: &'a str) -> LocalBoxFuture<'a, StatusCode> {
    for number in 0..20 {
        let body = group(&format!("first {number}"));
        let mut created = async move { create(app, configuration, &body).await }.boxed_local();
        tokio::select! {
            // On a busy machine the writer may get no connection in time. The create is then not
            // combined.
            status = &mut created => assert_eq!(status, StatusCode::CREATED),
            () = until("the writer commits", async || waiting_for_locks(app.pool(), WRITER).await > 0) => return created,
        }
    }
    panic!("the writer writes no create");
}

/// Runs `creates` while the writer waits in the commit of another create. Ends this wait when the
/// service has received `count` of them, so that they become the next combined statement. Takes the
/// lock of [`hold_commits`]. The writer waits for a commit for at most 6 seconds, so `count` must
/// be small.
async fn as_one_group<T>(
    app: &App,
    commits: Transaction<'static, Postgres>,
    count: usize,
    creates: impl Future<Output = T>,
) -> T {
    let configuration = app.configuration().await;
    let first = held_create(app, &configuration).await;
    let go_on = async {
        until("the creates have arrived", async || app.in_flight().await > count).await;
        commits.rollback().await.expect("the end of it");
    };
    let (first, (), answers) = tokio::join!(first, go_on, creates);
    assert_eq!(first, StatusCode::CREATED);
    answers
}

#[actix_web::test]
async fn concurrent_creates_share_a_commit() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configurations = join_all((0..4).map(|_| app.configuration())).await;
    let bodies: Vec<_> = (0..10).map(|number| group(&format!("g{number}"))).collect();
    let all = configurations.iter().flat_map(|configuration| bodies.iter().map(move |body| (configuration, body)));
    let creates = join_all(all.map(|(configuration, body)| create(&app, configuration, body)));
    let answers = as_one_group(&app, hold_commits(&app).await, 40, creates).await;
    assert!(answers.iter().all(|status| *status == StatusCode::CREATED), "{answers:?}");
    assert_eq!(app.metric(GROUPED).await, 41.0, "each create is combined");
    // There are two combined statements, and a few more for creates that had arrived and were not
    // in the queue yet.
    let groups = app.metric(GROUPS).await;
    assert!(groups <= 10.0, "{groups} commits");
    for configuration in &configurations {
        assert_eq!(app.assignments(configuration).await.len(), 10);
    }
}

#[actix_web::test]
async fn a_create_that_fails_gets_its_reason_and_the_combined_others_are_written() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (configuration, other) = (app.configuration().await, app.configuration().await);
    let nowhere = format!("{CONFIGURATIONS}/{}", Uuid::new_v4());
    let (id, taken) = (Uuid::new_v4(), Uuid::new_v4());
    let with_id = |mut body: Value, id: Uuid| {
        body["id"] = json!(id);
        body
    };
    assert_eq!(create(&app, &other, &with_id(group("there"), taken)).await, StatusCode::CREATED);
    let poison = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON device_configuration_assignments
                      FOR EACH ROW WHEN (NEW.group_id = 'poison') EXECUTE FUNCTION refuse()";
    app.pool().execute(poison).await.expect("a trigger");
    let mut sent = vec![
        (&nowhere, group("a"), 404),
        (&configuration, with_id(group("b"), taken), 409),
        (&other, group("there"), 409),
        (&other, with_id(group("there"), taken), 201),
        (&configuration, group("poison"), 500),
    ];
    sent.extend((0..30).map(|number| (&configuration, group(&format!("g{number}")), 201)));
    // Two creates have one id and different targets. Only one of them is written and answered with
    // 201.
    sent.extend(["x", "y"].map(|name| (&configuration, with_id(group(name), id), 0)));
    let creates = join_all(sent.iter().map(|(configuration, body, _)| create(&app, configuration, body)));
    let answers = as_one_group(&app, hold_commits(&app).await, sent.len(), creates).await;
    for ((_, body, expected), status) in sent.iter().zip(&answers).filter(|((.., expected), _)| *expected > 0) {
        assert_eq!(status.as_u16(), *expected, "{body}");
    }
    let mut of_one_id: Vec<_> = answers[answers.len() - 2..].iter().map(StatusCode::as_u16).collect();
    of_one_id.sort_unstable();
    assert_eq!(of_one_id, [201, 409]);
    assert_eq!(app.assignments(&configuration).await.len(), 31);
}

#[actix_web::test]
async fn a_locked_configuration_delays_no_other() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (held, free) = (app.configuration().await, app.configuration().await);
    let mut holder = app.pool().begin().await.expect("a session");
    let lock = format!(
        "SELECT FROM device_configurations WHERE id = '{}' FOR UPDATE",
        held.rsplit('/').next().expect("an id")
    );
    holder.execute(AssertSqlSafe(lock)).await.expect("the lock");
    let (a, b) = (group("a"), group("b"));
    let waits = create(&app, &held, &a);
    let others = async {
        let waiting = async || waiting_for_locks(app.pool(), "devicegraph %").await;
        until("the create waits for the configuration", async || waiting().await == 1).await;
        let answers = join_all([&a, &b].map(|body| create(&app, &free, body))).await;
        assert_eq!(answers, [StatusCode::CREATED; 2]);
        assert_eq!(waiting().await, 1, "the first create still waits");
        holder.rollback().await.expect("the end of it");
    };
    let (waited, ()) = tokio::join!(waits, others);
    assert_eq!(waited, StatusCode::CREATED, "the create succeeds when the configuration is unlocked");
}

#[actix_web::test]
async fn a_combined_statement_whose_session_ends_in_its_commit_is_written_again() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let commits = hold_commits(&app).await;
    let one = held_create(&app, &configuration).await;
    let before = app.assignments(&configuration).await.len();
    let bodies: Vec<_> = (0..19).map(|number| group(&format!("first of many {number}"))).collect();
    let others = join_all(bodies.iter().map(|body| create(&app, &configuration, body)));
    let ends = async {
        until("the creates have arrived", async || app.in_flight().await == 20).await;
        assert_eq!(end_sessions(app.pool(), WRITER).await, 1);
        // The other creates are the next combined statement, unless the writer gets no new
        // connection in time.
        let is_next = async || waiting_for_locks(app.pool(), WRITER).await > 0 || app.in_flight().await == 0;
        until("the writer commits the next combined statement", is_next).await;
        end_sessions(app.pool(), WRITER).await;
        commits.rollback().await.expect("the end of it");
    };
    let (one, others, ()) = tokio::join!(one, others, ends);
    assert_eq!(one, StatusCode::CREATED);
    assert!(others.iter().all(|status| *status == StatusCode::CREATED), "{others:?}");
    assert_eq!(app.assignments(&configuration).await.len(), before + 20);
    assert!(app.metric(RETRIES).await >= 1.0, "no session ended during a commit");
}

#[actix_web::test]
async fn the_combined_statements_of_two_services_do_not_deadlock() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let (one, other) = (App::start_on(options.clone(), |_| ()).await, App::start_on(options, |_| ()).await);
    let configurations = join_all((0..3).map(|_| one.configuration())).await;
    let bodies: Vec<_> = (0..40).map(|number| group(&format!("g{number}"))).collect();
    let places =
        || configurations.iter().flat_map(|configuration| bodies.iter().map(move |body| (configuration, body)));
    let forward = join_all(places().map(|(configuration, body)| create(&one, configuration, body)));
    let backward: Vec<_> = places().collect();
    let backward =
        join_all(backward.into_iter().rev().map(|(configuration, body)| create(&other, configuration, body)));
    let (first, second) = tokio::join!(forward, backward);
    let all: Vec<_> = first.iter().chain(&second).map(StatusCode::as_u16).collect();
    assert_eq!(all.iter().filter(|status| **status == 201).count(), 120, "{all:?}");
    assert_eq!(all.iter().filter(|status| **status == 409).count(), 120, "{all:?}");
}

#[actix_web::test]
async fn a_connection_that_fell_silent_while_idle_delays_no_create() {
    if is_remote() {
        return;
    }
    // The service gives up a connection that is silent for this time.
    let app = App::start_on(database(true).await, |settings| settings.database.answer_timeout_ms = 500).await;
    let configuration = app.configuration().await;
    let find = async || -> Option<i32> {
        let pid = "SELECT pid FROM pg_stat_activity
                   WHERE application_name = $1 AND datname = current_database() ORDER BY backend_start";
        sqlx::query_scalar(pid).bind(WRITER).fetch_optional(app.pool()).await.expect("an answer")
    };
    let has_session = async || {
        assert_eq!(create(&app, &configuration, &group(&Uuid::new_v4().to_string())).await, StatusCode::CREATED);
        find().await.is_some()
    };
    until("the writer has a session", has_session).await;
    let pid = find().await.expect("the writer");
    let count = "CREATE SEQUENCE inserts;
                 CREATE FUNCTION count_insert() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN PERFORM nextval('inserts'); RETURN NEW; END $$;
                 CREATE TRIGGER count_insert BEFORE INSERT ON device_configuration_assignments FOR EACH ROW
                     EXECUTE FUNCTION count_insert()";
    app.pool().execute(count).await.expect("a trigger");
    let signal = |signal| kill(Pid::from_raw(pid), signal).expect("it is there");
    // The writer checks a connection that it has not used for 1 second. A longer pause has the same
    // effect.
    sleep(Duration::from_millis(1100)).await;
    signal(Signal::SIGSTOP);
    let status = create(&app, &configuration, &group("b")).await;
    signal(Signal::SIGCONT);
    assert_eq!(status, StatusCode::CREATED);
    // The session ends after it has executed everything that the service had sent to it.
    until("the silent session is gone", async || find().await != Some(pid)).await;
    let inserts: i64 =
        sqlx::query_scalar("SELECT last_value FROM inserts").fetch_one(app.pool()).await.expect("a number");
    assert_eq!(inserts, 1, "the create was sent on the silent connection, too");
}

#[actix_web::test]
async fn a_target_in_an_uncommitted_transaction_delays_no_other() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let commits = hold_commits(&app).await;
    let mut holder = app.pool().begin().await.expect("a session");
    hold(&mut holder, &configuration, 1).await;
    let (bodies, held): (Vec<_>, _) = ((0..30).map(|number| group(&format!("g{number}"))).collect(), group("held0"));
    let others = async {
        let started = Instant::now();
        let answers = join_all(bodies.iter().map(|body| create(&app, &configuration, body))).await;
        assert!(answers.iter().all(|status| *status == StatusCode::CREATED), "{answers:?}");
        // The held create and these 30 are combined, and none of them runs alone. The writer spends
        // at most half a second on them. On a slower machine some of them may run alone.
        let grouped = app.metric(GROUPED).await;
        let expected = if started.elapsed() < Duration::from_millis(500) { 31.0..=31.0 } else { 2.0..=31.0 };
        assert!(expected.contains(&grouped), "{grouped} combined");
        let waits = async || waiting_for_locks(app.pool(), "devicegraph %").await == 1;
        until("the create of the held target still waits", waits).await;
        holder.rollback().await.expect("the end of it");
    };
    let creates = join(create(&app, &configuration, &held), others);
    let (waited, ()) = as_one_group(&app, commits, 31, creates).await;
    assert_eq!(waited, StatusCode::CREATED, "the create succeeds when the target is free");
}

/// Each blocked create makes the others wait for the lock timeout, and a combined statement can
/// have many blocked creates.
#[actix_web::test]
async fn a_later_create_does_not_wait_for_all_blocked_creates() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let (configuration, other) = (app.configuration().await, app.configuration().await);
    let commits = hold_commits(&app).await;
    count_attempts(&app).await;
    let mut holder = app.pool().begin().await.expect("a session");
    hold(&mut holder, &configuration, 30).await;
    let held: Vec<_> = (0..30).map(|number| group(&format!("held{number}"))).collect();
    let held = join_all(held.iter().map(|body| create(&app, &configuration, body)));
    let later = async {
        until("the writer has tried a held target", async || attempts(&app).await > 0).await;
        let status = create(&app, &other, &group("later")).await;
        let attempts = attempts(&app).await;
        holder.rollback().await.expect("the end of it");
        (status, attempts)
    };
    let (held, (later, attempts)) = as_one_group(&app, commits, 30, join(held, later)).await;
    assert_eq!(later, StatusCode::CREATED);
    // The writer spends at most half a second on them, and each attempt takes 100 ms. A slow
    // machine makes fewer attempts.
    assert!(attempts <= 15, "after {attempts} attempts");
    assert!(
        held.iter().all(|status| *status == StatusCode::CREATED),
        "they succeed when the targets are free: {held:?}"
    );
}

/// The writer has no time to try all blocked creates. It writes the creates of other configurations
/// before them.
#[actix_web::test]
async fn the_neighbours_of_many_blocked_creates_are_written_before_them() {
    if is_remote() {
        return;
    }
    // With this many connections, a create that is not combined gets one, although the creates of
    // held targets wait.
    let app = App::start_on(database(true).await, |settings| settings.database.max_connections = 160).await;
    // A combined statement has the configurations in this order, too.
    let [first, held, last] = [app.configuration().await, app.configuration().await, app.configuration().await];
    let commits = hold_commits(&app).await;
    count_attempts(&app).await;
    let mut holder = app.pool().begin().await.expect("a session");
    hold(&mut holder, &held, 30).await;
    let bodies: Vec<_> = (0..30).map(|number| group(&format!("held{number}"))).collect();
    let neighbour = group("neighbour");
    let others = async {
        until("the neighbours have arrived", async || app.in_flight().await == 3).await;
        join_all(bodies.iter().map(|body| create(&app, &held, body))).await
    };
    let neighbours = async {
        let statuses = join_all([&first, &last].map(|at| create(&app, at, &neighbour))).await;
        holder.rollback().await.expect("the end of it");
        statuses
    };
    let (_, neighbours) = as_one_group(&app, commits, 32, join(others, neighbours)).await;
    assert_eq!(neighbours, [StatusCode::CREATED; 2]);
    // The writer has tried the combined statement, and then the first held target. The other held
    // targets come last.
    let before = sqlx::query_scalar("SELECT max(attempts) FROM attempts_before_neighbours");
    let before: Option<i64> = before.fetch_one(app.pool()).await.expect("a number");
    assert!(before.is_some_and(|attempts| attempts <= 3), "after {before:?} attempts");
}

/// Inserts targets of a configuration in a transaction that stays open.
async fn hold(holder: &mut PgConnection, configuration: &str, targets: u32) {
    let insert = format!(
        "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
         SELECT gen_random_uuid(), '{}', 'groupAssignmentTarget', 'held' || n FROM generate_series(0, {targets} - 1) AS n",
        configuration.rsplit('/').next().expect("an id")
    );
    holder.execute(AssertSqlSafe(insert)).await.expect("rows that are not committed");
}

/// Counts how often the writer tries to insert a held target, and makes each attempt take at least
/// 100 ms. Records the number of attempts before a neighbour was inserted.
async fn count_attempts(app: &App) {
    let count = "CREATE SEQUENCE attempts;
                 CREATE TABLE attempts_before_neighbours (attempts bigint NOT NULL);
                 CREATE FUNCTION count_attempts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF NEW.group_id = 'neighbour' THEN
                         INSERT INTO attempts_before_neighbours
                             SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM attempts;
                     ELSIF current_setting('application_name') = 'devicegraph writer' THEN
                         PERFORM nextval('attempts'), pg_sleep(0.1);
                     END IF;
                     RETURN NEW;
                 END $$;
                 CREATE TRIGGER count_attempts BEFORE INSERT ON device_configuration_assignments FOR EACH ROW
                     WHEN (NEW.group_id = 'neighbour' OR NEW.group_id LIKE 'held%') EXECUTE FUNCTION count_attempts()";
    app.pool().execute(count).await.expect("a trigger");
}

async fn attempts(app: &App) -> i64 {
    let attempts = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM attempts";
    sqlx::query_scalar(attempts).fetch_one(app.pool()).await.expect("a number")
}
