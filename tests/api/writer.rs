//! Creates that are written in groups.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::time::sleep;
use uuid::Uuid;

use crate::harness::{App, CONFIGURATIONS, database, group, is_remote};

async fn create(app: &App, configuration: &str, body: &Value) -> StatusCode {
    app.post(&format!("{configuration}/assignments"), body).await.status
}

async fn counted(app: &App, name: &str) -> u64 {
    let text = app.get("/metrics").await.text;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("{name} in {text}"))
}

/// Has a commit that holds an assignment take its time, so that others gather.
async fn slow_down(app: &App) {
    let slow = "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF current_setting('slow.transaction', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
                        PERFORM set_config('slow.transaction', pg_current_xact_id()::text, true);
                        PERFORM pg_sleep(0.2);
                    END IF;
                    RETURN NULL;
                END $$;
                CREATE CONSTRAINT TRIGGER take_time AFTER INSERT ON device_configuration_assignments
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION take_time()";
    app.pool().execute(slow).await.expect("a trigger");
}

#[actix_web::test]
async fn creates_that_come_together_are_committed_together() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configurations = join_all((0..4).map(|_| app.configuration())).await;
    slow_down(&app).await;
    let bodies: Vec<_> = (0..50).map(|number| group(&format!("g{number}"))).collect();
    let all = configurations.iter().flat_map(|configuration| bodies.iter().map(move |body| (configuration, body)));
    let answers = join_all(all.map(|(configuration, body)| create(&app, configuration, body))).await;
    assert!(answers.iter().all(|status| *status == StatusCode::CREATED), "{answers:?}");
    let (groups, creates) = (
        counted(&app, "devicegraph_database_groups_total{of=\"creates\"}").await,
        counted(&app, "devicegraph_database_grouped_total{of=\"creates\"}").await,
    );
    assert_eq!(creates, 200, "each of them in a group");
    assert!(groups <= 20, "{groups} commits");
    for configuration in &configurations {
        assert_eq!(app.assignments(configuration).await.len(), 50);
    }
}

#[actix_web::test]
async fn one_that_cannot_be_written_is_told_why_and_its_neighbours_are_written() {
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
    slow_down(&app).await;
    let mut sent = vec![
        (&nowhere, group("a"), 404),
        (&configuration, with_id(group("b"), taken), 409),
        (&other, group("there"), 409),
        (&other, with_id(group("there"), taken), 201),
        (&configuration, group("poison"), 500),
    ];
    sent.extend((0..30).map(|number| (&configuration, group(&format!("g{number}")), 201)));
    // One id with two contents: one of them is written, and only one is told so.
    sent.extend(["x", "y"].map(|name| (&configuration, with_id(group(name), id), 0)));
    let answers = join_all(sent.iter().map(|(configuration, body, _)| create(&app, configuration, body))).await;
    for ((_, body, expected), status) in sent.iter().zip(&answers).filter(|((.., expected), _)| *expected > 0) {
        assert_eq!(status.as_u16(), *expected, "{body}");
    }
    let mut of_one_id: Vec<_> = answers[answers.len() - 2..].iter().map(StatusCode::as_u16).collect();
    of_one_id.sort_unstable();
    assert_eq!(of_one_id, [201, 409]);
    assert_eq!(app.assignments(&configuration).await.len(), 31);
}

#[actix_web::test]
async fn a_configuration_that_somebody_holds_stalls_no_other() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.database.lock_timeout_ms = 10_000).await;
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
        sleep(Duration::from_millis(100)).await;
        let started = Instant::now();
        let answers = join_all([&a, &b].map(|body| create(&app, &free, body))).await;
        assert_eq!(answers, [StatusCode::CREATED; 2]);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        holder.rollback().await.expect("the end of it");
    };
    let (waited, ()) = tokio::join!(waits, others);
    assert_eq!(waited, StatusCode::CREATED, "as soon as it is free");
}

#[actix_web::test]
async fn a_group_whose_connection_ends_in_its_commit_is_found_or_written_again() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    slow_down(&app).await;
    let bodies: Vec<_> = (0..20).map(|number| group(&format!("g{number}"))).collect();
    let creates = join_all(bodies.iter().map(|body| create(&app, &configuration, body)));
    let kills = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(120)).await;
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE application_name = 'devicegraph writer' AND datname = current_database()";
            app.pool().execute(end).await.expect("its end");
        }
    };
    let (answers, ()) = tokio::join!(creates, kills);
    let written = answers.iter().filter(|status| **status == StatusCode::CREATED).count();
    // Alone they wait for connections, and may be refused; none is told what is not so.
    assert!(answers.iter().all(|status| [201, 500, 503].contains(&status.as_u16())), "{answers:?}");
    let there = app.assignments(&configuration).await.len();
    let unknown = answers.iter().filter(|status| status.as_u16() == 500).count();
    assert!((written..=written + unknown).contains(&there), "{there} rows, {answers:?}");
    assert!(written > 0, "{answers:?}");
}

#[actix_web::test]
async fn the_groups_of_two_services_do_not_wait_for_each_other_in_circles() {
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
async fn a_connection_that_fell_silent_while_nobody_created_stops_nobody() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    assert_eq!(create(&app, &configuration, &group("a")).await, StatusCode::CREATED);
    let writer = "SELECT pid FROM pg_stat_activity WHERE application_name = 'devicegraph writer' AND datname = current_database()";
    let pid: i32 = sqlx::query_scalar(writer).fetch_one(app.pool()).await.expect("the writer");
    let signal = |signal| kill(Pid::from_raw(pid), signal).expect("it is there");
    sleep(Duration::from_millis(1100)).await;
    signal(Signal::SIGSTOP);
    let started = Instant::now();
    let status = create(&app, &configuration, &group("b")).await;
    signal(Signal::SIGCONT);
    assert_eq!(status, StatusCode::CREATED);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[actix_web::test]
async fn a_target_that_somebody_is_about_to_write_stalls_no_other() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.database.lock_timeout_ms = 10_000).await;
    let configuration = app.configuration().await;
    assert_eq!(create(&app, &configuration, &group("before")).await, StatusCode::CREATED);
    slow_down(&app).await;
    let mut holder = app.pool().begin().await.expect("a session");
    let insert = format!(
        "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
         VALUES (gen_random_uuid(), '{}', 'groupAssignmentTarget', 'held')",
        configuration.rsplit('/').next().expect("an id")
    );
    holder.execute(AssertSqlSafe(insert)).await.expect("a row that is not committed");
    // While the first one commits the others gather, the one that must wait among them.
    let (first, held) = (group("first"), group("held"));
    let first = create(&app, &configuration, &first);
    let waits = async {
        sleep(Duration::from_millis(50)).await;
        create(&app, &configuration, &held).await
    };
    let others = async {
        sleep(Duration::from_millis(50)).await;
        let bodies: Vec<_> = (0..60).map(|number| group(&format!("g{number}"))).collect();
        let started = Instant::now();
        let answers = join_all(bodies.iter().map(|body| create(&app, &configuration, body))).await;
        assert!(answers.iter().all(|status| *status == StatusCode::CREATED), "{answers:?}");
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        // The two before and these, and none of them alone.
        assert_eq!(counted(&app, "devicegraph_database_grouped_total{of=\"creates\"}").await, 62);
        holder.rollback().await.expect("the end of it");
    };
    let (first, waited, ()) = tokio::join!(first, waits, others);
    assert_eq!(first, StatusCode::CREATED);
    assert_eq!(waited, StatusCode::CREATED, "as soon as it is free");
}

/// Each refusal costs the others a wait, and there can be as many as creates.
#[actix_web::test]
async fn however_many_somebody_is_in_the_way_of_who_comes_later_does_not_wait_for_all_of_them() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.database.lock_timeout_ms = 10_000).await;
    let (configuration, other) = (app.configuration().await, app.configuration().await);
    let mut holder = app.pool().begin().await.expect("a session");
    hold(&mut holder, &configuration, 60).await;
    let held: Vec<_> = (0..60).map(|number| group(&format!("held{number}"))).collect();
    let later = group("later");
    let others = join_all(held.iter().map(|body| create(&app, &configuration, body)));
    let later = async {
        sleep(Duration::from_millis(100)).await;
        let status = create(&app, &other, &later).await;
        holder.rollback().await.expect("the end of it");
        status
    };
    let (others, later) = tokio::join!(others, later);
    assert_eq!(later, StatusCode::CREATED);
    assert!(others.contains(&StatusCode::CREATED), "{others:?}");
}

/// Asked one after the other, there is no time for all of them.
#[actix_web::test]
async fn however_many_somebody_is_in_the_way_of_their_neighbours_in_the_group_are_written() {
    if is_remote() {
        return;
    }
    let app = App::start_on(database(true).await, |settings| settings.database.lock_timeout_ms = 10_000).await;
    // In this order in a group, too.
    let [first, held, last] = [app.configuration().await, app.configuration().await, app.configuration().await];
    slow_down(&app).await;
    let mut holder = app.pool().begin().await.expect("a session");
    hold(&mut holder, &held, 400).await;
    let bodies: Vec<_> = (0..400).map(|number| group(&format!("held{number}"))).collect();
    let neighbour = group("neighbour");
    // While the first one is being written the others gather.
    let others = async {
        sleep(Duration::from_millis(50)).await;
        join_all(bodies.iter().map(|body| create(&app, &held, body))).await
    };
    let neighbours = async {
        sleep(Duration::from_millis(50)).await;
        let statuses = join_all([&first, &last].map(|at| create(&app, at, &neighbour))).await;
        holder.rollback().await.expect("the end of it");
        statuses
    };
    let (_, _, neighbours) = tokio::join!(create(&app, &first, &bodies[0]), others, neighbours);
    assert_eq!(neighbours, [StatusCode::CREATED; 2]);
}

/// Targets of a configuration, in a transaction that stays open.
async fn hold(holder: &mut PgConnection, configuration: &str, targets: u32) {
    let insert = format!(
        "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
         SELECT gen_random_uuid(), '{}', 'groupAssignmentTarget', 'held' || n FROM generate_series(0, {targets} - 1) AS n",
        configuration.rsplit('/').next().expect("an id")
    );
    holder.execute(AssertSqlSafe(insert)).await.expect("rows that are not committed");
}
