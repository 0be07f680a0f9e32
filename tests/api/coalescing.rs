//! Creates that conflict with each other in one combined statement, and combined
//! statements whose commit is not acknowledged.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use actix_web::{FromRequest, HttpMessage, ResponseError, test::TestRequest, web::Data};
use devicegraph::{
    database::{
        coalescing::{CoalescedRequest, Coalescer, Outcome},
        connections::Connections,
        pool::Pools,
        request::RequestContext,
        session::{self, SharedConnection},
        work::WorkClass,
    },
    error::ApiError,
    resources::assignments::{
        create::{PendingInsert, Writer},
        model::Assignment,
    },
};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{task::yield_now, time::Instant};
use uuid::Uuid;

use crate::{
    harness::{Answer, App, database, group, is_remote, settings},
    wire::Wire,
};

/// The name under which the service opens the session of its writer.
const WRITER: &str = "devicegraph writer";

/// A writer whose task runs on the thread of the test, and a configuration.
struct Direct {
    writer: Writer,
    session: session::Shared,
    connections: Connections,
    pool: PgPool,
    configuration: Uuid,
}

impl Direct {
    /// Starts a writer that reaches the database by `options`. A create waits as long as
    /// `wait` for a combined statement to take it.
    async fn start(database: PgConnectOptions, options: PgConnectOptions, wait: Duration) -> Self {
        let mut settings = settings().database;
        settings.answer_timeout_ms = 60_000;
        settings.acquire_timeout_ms = wait.as_millis().try_into().expect("a short time");
        let pools = Pools::new(options, &settings, 1);
        let request = TestRequest::default().app_data(Data::new(pools.pool())).to_http_request();
        request.extensions_mut().insert(WorkClass::Write);
        request.extensions_mut().insert(RequestContext { request_id: Uuid::new_v4(), at: Instant::now() });
        let connections = Connections::extract(&request).await.expect("the request has what an extractor needs");
        let session = SharedConnection::new(&pools, WRITER);
        let writer = Writer::start(&pools, session.clone());
        let pool = PgPool::connect_with(database).await.expect("the database answers");
        let configuration = Uuid::new_v4();
        let insert = "INSERT INTO device_configurations (id, odata_type, display_name) VALUES ($1, 'a', 'a')";
        sqlx::query(insert).bind(configuration).execute(&pool).await.expect("a configuration");
        Self { writer, session, connections, pool, configuration }
    }

    async fn start_alone(wait: Duration) -> Self {
        let database = database(true).await;
        Self::start(database.clone(), database, wait).await
    }

    /// Hands a create to the writer and returns its outcome.
    async fn create(&self, id: Uuid, group: &str) -> Result<Outcome<()>, ApiError> {
        let row = Assignment {
            id,
            device_configuration_id: self.configuration,
            target_type: "groupAssignmentTarget".to_owned(),
            group_id: Some(group.to_owned()),
            collection_id: None,
            filter_id: None,
            filter_type: "none".to_owned(),
            intent: "apply".to_owned(),
            source: "direct".to_owned(),
            source_id: None,
        };
        let new = PendingInsert { row, target_key: Some(format!("group:{group}")), actor: None };
        self.writer.execute(new, &self.connections).await
    }

    /// Returns the id and the directory group of each stored assignment.
    async fn stored(&self) -> Vec<(Uuid, String)> {
        let rows = sqlx::query_as("SELECT id, group_id FROM device_configuration_assignments ORDER BY group_id");
        rows.fetch_all(&self.pool).await.expect("rows")
    }
}

/// Polls a future once and returns whether it is still pending. The writer's task runs on
/// the same thread, so it cannot run before the test awaits something that is pending.
async fn is_waiting<F: Future>(future: &mut Pin<Box<F>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// A wait that no create of a passing test uses up.
const LONG: Duration = Duration::from_secs(60);

#[actix_web::test]
async fn of_two_creates_with_one_id_in_a_combined_statement_the_first_is_written_and_the_other_runs_alone() {
    if is_remote() {
        return;
    }
    let direct = Direct::start_alone(LONG).await;
    let id = Uuid::new_v4();
    let session = direct.session.lock().await;
    let mut both = Box::pin(join_all([direct.create(id, "b"), direct.create(id, "a")]));
    assert!(is_waiting(&mut both).await);
    drop(session);
    let outcomes = both.await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Answered(())), Ok(Outcome::RunSeparately)]), "{outcomes:?}");
    assert_eq!(direct.stored().await, [(id, "b".to_owned())]);
}

#[actix_web::test]
async fn of_two_creates_with_one_target_in_a_combined_statement_the_first_is_written_and_the_other_runs_alone() {
    if is_remote() {
        return;
    }
    let direct = Direct::start_alone(LONG).await;
    let mut ids = [Uuid::new_v4(), Uuid::new_v4()];
    ids.sort_unstable();
    // The statement inserts in the order of ids. The create that comes first has the larger id.
    let [other, first] = ids;
    let session = direct.session.lock().await;
    let mut both = Box::pin(join_all([direct.create(first, "a"), direct.create(other, "a")]));
    assert!(is_waiting(&mut both).await);
    drop(session);
    let outcomes = both.await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Answered(())), Ok(Outcome::RunSeparately)]), "{outcomes:?}");
    assert_eq!(direct.stored().await, [(first, "a".to_owned())]);
}

#[actix_web::test]
async fn a_create_whose_client_left_before_the_combined_statement_is_not_written() {
    if is_remote() {
        return;
    }
    let direct = Direct::start_alone(LONG).await;
    let (left, stayed) = (Uuid::new_v4(), Uuid::new_v4());
    let session = direct.session.lock().await;
    let mut leaves = Box::pin(direct.create(left, "a"));
    let mut stays = Box::pin(direct.create(stayed, "b"));
    assert!(is_waiting(&mut leaves).await && is_waiting(&mut stays).await);
    drop(leaves);
    drop(session);
    let outcome = stays.await;
    assert!(matches!(outcome, Ok(Outcome::Answered(()))), "{outcome:?}");
    assert_eq!(direct.stored().await, [(stayed, "b".to_owned())]);
}

#[actix_web::test]
async fn a_create_that_no_combined_statement_took_in_time_is_refused_and_not_written() {
    if is_remote() {
        return;
    }
    let direct = Direct::start_alone(Duration::from_millis(150)).await;
    let first = Uuid::new_v4();
    let session = direct.session.lock().await;
    let mut taken = Box::pin(direct.create(first, "a"));
    assert!(is_waiting(&mut taken).await);
    // The writer's task takes this create and waits for the session.
    yield_now().await;
    let refusal = direct.create(Uuid::new_v4(), "b").await.expect_err("the session is held");
    assert_eq!(refusal.status_code(), StatusCode::SERVICE_UNAVAILABLE.as_u16());
    drop(session);
    let outcome = taken.await;
    assert!(matches!(outcome, Ok(Outcome::Answered(()))), "{outcome:?}");
    assert_eq!(direct.stored().await, [(first, "a".to_owned())]);
}

#[actix_web::test]
async fn creates_that_run_one_by_one_after_a_refused_statement_are_unknown_without_an_answer_to_their_commit() {
    if is_remote() {
        return;
    }
    let database = database(true).await;
    let wire = Wire::before(&database);
    let direct = Direct::start(database.clone(), wire.options(&database), LONG).await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON device_configuration_assignments
                      FOR EACH ROW WHEN (NEW.group_id = 'poison') EXECUTE FUNCTION refuse()";
    direct.pool.execute(refuse).await.expect("a trigger");
    // PostgreSQL refuses the combined statement. The creates then run one by one in a
    // transaction, and the answer to its commit is lost.
    wire.keep_back(WRITER, "COMMIT");
    let id = Uuid::new_v4();
    let mut both = Box::pin(join_all([direct.create(Uuid::new_v4(), "poison"), direct.create(id, "neighbour")]));
    let lose = async {
        wire.wait_for_answer().await;
        assert_eq!(direct.stored().await, [(id, "neighbour".to_owned())]);
        wire.lose();
    };
    let outcomes = tokio::select! {
        outcomes = &mut both => panic!("{outcomes:?} arrived before the commit"),
        () = lose => both.await,
    };
    assert!(matches!(outcomes[..], [Ok(Outcome::Unknown), Ok(Outcome::Unknown)]), "{outcomes:?}");
}

/// Starts an application behind a proxy that can lose an answer, and creates a configuration.
async fn app_behind_a_wire() -> (App, Wire, String) {
    let database = database(true).await;
    let wire = Wire::before(&database);
    let app = App::start_on(wire.options(&database), |_| ()).await;
    let configuration = app.configuration().await;
    (app, wire, configuration)
}

/// Returns a create without an id and one with an id.
fn bodies() -> [Value; 2] {
    let mut with_id = group("b");
    with_id["id"] = json!(Uuid::new_v4());
    [group("a"), with_id]
}

/// Sends a create whose commit is not acknowledged to the service, and returns its answer.
/// `meanwhile` runs after the commit and before the service learns that it lost the session.
async fn create_unacknowledged(
    (app, wire, configuration): &(App, Wire, String),
    body: &Value,
    meanwhile: impl AsyncFnOnce(),
) -> Answer {
    wire.keep_back(WRITER, "INSERT");
    let lose = async {
        wire.wait_for_answer().await;
        meanwhile().await;
        wire.lose();
    };
    let path = format!("{configuration}/assignments");
    let mut answer = Box::pin(app.post(&path, body));
    tokio::select! {
        answer = &mut answer => panic!("{} arrived before the writer's commit", answer.text),
        () = lose => answer.await,
    }
}

/// Asserts that the outcome is unknown and that the message says what to read.
#[track_caller]
fn assert_unknown(answer: &Answer) {
    let expected = "500 OutcomeUnknown: The connection to the database was lost while this change was being written. Read deviceManagement/deviceConfigurations/[guid]/assignments/[guid] to find out whether the change was written.";
    assert_eq!(answer.refusal(), expected);
    assert!(answer.headers.get("retry-after").is_none());
}

/// Makes PostgreSQL refuse the inserts of every session except the writer's with an error
/// after which the service answers 503, unless the row may be written already.
async fn refuse_others(app: &App) {
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      IF current_setting('application_name') <> 'devicegraph writer' THEN
                          RAISE 'not now' USING ERRCODE = 'lock_not_available';
                      END IF;
                      RETURN NEW;
                  END $$;
                  CREATE TRIGGER refuse BEFORE INSERT ON device_configuration_assignments
                      FOR EACH ROW EXECUTE FUNCTION refuse()";
    app.pool().execute(refuse).await.expect("a trigger");
}

/// Makes PostgreSQL end the writer's session during a commit, before anything is committed.
async fn end_commits(app: &App) {
    let end = "CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   IF current_setting('application_name') = 'devicegraph writer' THEN
                       PERFORM pg_terminate_backend(pg_backend_pid());
                   END IF;
                   RETURN NULL;
               END $$;
               CREATE CONSTRAINT TRIGGER end_session AFTER INSERT ON device_configuration_assignments
                   DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_session()";
    app.pool().execute(end).await.expect("a trigger");
}

#[actix_web::test]
async fn a_create_that_was_written_without_an_answer_is_found() {
    if is_remote() {
        return;
    }
    let all = app_behind_a_wire().await;
    let mut created = Vec::new();
    for body in bodies() {
        let answer = create_unacknowledged(&all, &body, async || ()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        created.push(answer.json());
        let (app, _, configuration) = &all;
        assert_eq!(sorted(app.assignments(configuration).await), created);
    }
}

/// Returns the assignments in the order of their directory groups.
fn sorted(mut assignments: Vec<Value>) -> Vec<Value> {
    assignments.sort_by_key(|assignment| assignment["target"]["groupId"].to_string());
    assignments
}

/// An answer of 503 would tell the client that nothing was written.
#[actix_web::test]
async fn a_create_that_was_written_without_an_answer_and_cannot_be_looked_for_is_unknown() {
    if is_remote() {
        return;
    }
    let all = app_behind_a_wire().await;
    let (app, _, configuration) = &all;
    refuse_others(app).await;
    for (rows, body) in bodies().iter().enumerate() {
        let answer = create_unacknowledged(&all, body, async || ()).await;
        assert_unknown(&answer);
        let stored = app.assignments(configuration).await;
        assert_eq!(stored.len(), rows + 1);
        let is_named = |row: &Value| answer.text.contains(row["id"].as_str().expect("an id"));
        assert_eq!(stored.iter().filter(|row| is_named(row)).count(), 1, "{} names none of {stored:?}", answer.text);
    }
}

#[actix_web::test]
async fn a_create_that_was_written_without_an_answer_and_then_changed_is_not_written_again() {
    if is_remote() {
        return;
    }
    let all = app_behind_a_wire().await;
    let (app, _, configuration) = &all;
    let change = async || {
        let change = "UPDATE device_configuration_assignments SET group_id = 'changed ' || group_id";
        app.pool().execute(change).await.expect("a change");
    };
    let [without_id, with_id] = bodies();
    assert_unknown(&create_unacknowledged(&all, &without_id, change).await);
    let refusal = create_unacknowledged(&all, &with_id, change).await.refusal();
    assert_eq!(refusal, "409 Conflict: Another assignment has the id '[guid]'. Send another id, or none.");
    let stored = app.assignments(configuration).await;
    let groups: Vec<_> = stored.iter().map(|row| row["target"]["groupId"].as_str().expect("a group")).collect();
    assert_eq!(groups.len(), 2, "{groups:?}");
    assert!(groups.iter().all(|group| group.starts_with("changed ")), "{groups:?}");
}

#[actix_web::test]
async fn a_create_whose_session_ended_before_its_commit_is_written_by_another() {
    if is_remote() {
        return;
    }
    let (app, _wire, configuration) = app_behind_a_wire().await;
    end_commits(&app).await;
    let mut created = Vec::new();
    for body in bodies() {
        let answer = app.post(&format!("{configuration}/assignments"), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        created.push(answer.json());
        assert_eq!(sorted(app.assignments(&configuration).await), created);
    }
}

#[actix_web::test]
async fn a_create_whose_session_ended_before_its_commit_and_that_no_other_writes_is_unknown() {
    if is_remote() {
        return;
    }
    let (app, _wire, configuration) = app_behind_a_wire().await;
    end_commits(&app).await;
    refuse_others(&app).await;
    for body in bodies() {
        assert_unknown(&app.post(&format!("{configuration}/assignments"), &body).await);
        assert_eq!(app.assignments(&configuration).await, [] as [Value; 0]);
    }
}

/// A request whose code panics, as a defect of the service would.
struct Fragile {
    panics: bool,
}

impl CoalescedRequest for Fragile {
    type Answer = ();
    const NAME: &'static str = "fragile requests";
    const MAX_SIZE: usize = 8;

    async fn execute(_: &mut PgConnection, group: &[&Self]) -> sqlx::Result<Vec<Option<()>>> {
        if group.iter().any(|one| one.panics) {
            // `resume_unwind` does not call the panic hook, which would end the run in the
            // fail-fast mode.
            std::panic::resume_unwind(Box::new("a defect"));
        }
        Ok(vec![Some(()); group.len()])
    }
}

#[actix_web::test]
async fn after_a_panic_the_next_combined_statements_run() {
    if is_remote() {
        return;
    }
    let options = database(true).await;
    let direct = Direct::start(options.clone(), options.clone(), LONG).await;
    let mut settings = settings().database;
    settings.answer_timeout_ms = 60_000;
    let pools = Pools::new(options, &settings, 1);
    let groups = Coalescer::start(&pools, SharedConnection::new(&pools, "devicegraph fragile"));
    let outcome =
        async |panics: bool| groups.execute(Fragile { panics }, &direct.connections).await.expect("an outcome");
    for _ in 0..2 {
        assert!(matches!(outcome(true).await, Outcome::Unknown));
        assert!(matches!(outcome(false).await, Outcome::Answered(())));
    }
}
