//! Coalescing: one statement answers many requests of one kind.
//!
//! Requests that arrive while a combined statement runs wait in a queue, and the next
//! statement takes all of them. No request waits for a statement to fill up.
//!
//! A combined statement executes the requests that conflict with nothing. Each of the
//! others runs its own statement on its own connection, which finds the reason. When the
//! database refuses a combined statement, its requests run one after the other, each under
//! a savepoint, in one transaction.

use std::{
    collections::HashSet,
    panic::AssertUnwindSafe,
    slice,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use anyhow::anyhow;
use futures_util::FutureExt;
use sqlx::{Connection, PgConnection};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot::{self, error::RecvError},
    },
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{
    connections::Connections,
    metrics::DatabaseMetrics,
    outage::{self, DatabaseStatus},
    pool::Pools,
    session::{self, STATEMENT_TIMEOUT},
};
use crate::error::{ApiError, is_connection_lost, is_transient};

/// A request that the service can execute together with others of its kind.
pub trait CoalescedRequest: Sized + Send + 'static {
    /// The answer to one request.
    type Answer: Send + 'static;
    /// The name of this kind of request in `/metrics`.
    const NAME: &'static str;
    /// The maximum number of requests in one statement.
    const MAX_SIZE: usize;

    /// Sorts the requests. Replies `RunSeparately` to a request that cannot be in one
    /// statement with the others.
    fn deduplicate_and_sort(queued: Vec<QueuedRequest<Self>>) -> Vec<QueuedRequest<Self>> {
        queued
    }

    /// Returns the configuration that the request belongs to. A lock that stops one request may
    /// stop the other requests of this configuration. By default returns one id for all requests.
    fn parent(&self) -> Uuid {
        Uuid::nil()
    }

    /// Executes all requests in one statement. Returns the answers in the order of the
    /// requests. An answer is `None` when its request must run separately. On an error nothing
    /// is written.
    fn execute(
        connection: &mut PgConnection,
        requests: &[&Self],
    ) -> impl Future<Output = sqlx::Result<Vec<Option<Self::Answer>>>>;
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The database answered, and committed the write.
    Answered(T),
    /// Nothing is written. The request must run its own statement.
    RunSeparately,
    /// The database did not report the outcome: the connection was lost, or the statement took
    /// too long.
    Unknown,
}

impl<T> Outcome<T> {
    /// Returns the answer, or `None` when there is none. A read may then run again.
    pub fn answered(self) -> Option<T> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::RunSeparately | Self::Unknown => None,
        }
    }
}

/// Queues the requests of handlers.
pub struct Coalescer<R: CoalescedRequest> {
    queue: mpsc::Sender<QueuedRequest<R>>,
    max_wait: Duration,
}

/// The task that executes the queue.
struct Worker<R: CoalescedRequest> {
    queue: mpsc::Receiver<QueuedRequest<R>>,
    session: session::Shared,
    database_status: DatabaseStatus,
    metrics: DatabaseMetrics,
}

/// A request in the queue, or in a combined statement.
pub struct QueuedRequest<R: CoalescedRequest> {
    /// The request.
    pub request: R,
    state: Arc<AtomicU8>,
    outcome: oneshot::Sender<Outcome<R::Answer>>,
}

/// The capacity of the queue. When it is full, the service refuses further requests.
const QUEUE_CAPACITY: usize = 4096;
/// How long the requests of a refused statement may take one after the other. The rest
/// then run separately.
const SEPARATE_LIMIT: Duration = Duration::from_millis(500);
/// The time within which most requests are answered.
const USUAL_WAIT: Duration = Duration::from_millis(100);

/// The states of a request. A queued request either gets into a combined statement or gives up,
/// never both.
const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl<R: CoalescedRequest> Coalescer<R> {
    /// Starts the worker task on the runtime of this thread. The task ends when every
    /// `Coalescer` is dropped, after it has executed what was queued.
    pub fn start(pools: &Pools, session: session::Shared) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_CAPACITY);
        let worker =
            Worker { queue, session, database_status: pools.database_status(), metrics: pools.metrics().clone() };
        actix_web::rt::spawn(worker.run());
        Self { queue: sender, max_wait: pools.acquire_timeout() }
    }

    /// Executes a request together with others. A step of an atomicity group runs
    /// separately, in the transaction of its group.
    ///
    /// # Errors
    /// 503 when the queue is full or the database is down. Nothing is written.
    pub async fn execute(&self, request: R, connections: &Connections) -> Result<Outcome<R::Answer>, ApiError> {
        let Some(give_up) = connections.give_up_signal().filter(|_| !cfg!(feature = "alone")) else {
            return Ok(Outcome::RunSeparately);
        };
        let (outcome, mut reply) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(QUEUED));
        match self.queue.try_send(QueuedRequest { request, state: state.clone(), outcome }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(ApiError::unavailable(anyhow!(
                    "the queue of {} is full ({QUEUE_CAPACITY} requests)",
                    R::NAME
                )));
            }
            Err(TrySendError::Closed(_)) => return Ok(Outcome::RunSeparately),
        }
        let was_taken = || state.swap(GIVEN_UP, Ordering::AcqRel) == TAKEN;
        let outcome = |reply: Result<_, RecvError>| {
            reply.unwrap_or_else(|_| if was_taken() { Outcome::Unknown } else { Outcome::RunSeparately })
        };
        // Most requests are answered within this time. They cost one timer and nothing else.
        let usual_wait = USUAL_WAIT.min(self.max_wait);
        if let Ok(reply) = timeout(usual_wait, &mut reply).await {
            return Ok(outcome(reply));
        }
        let answer = async {
            match timeout(self.max_wait - usual_wait, &mut reply).await {
                Ok(reply) => Ok(outcome(reply)),
                Err(_) if state.compare_exchange(QUEUED, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok() => Err(
                    ApiError::unavailable(anyhow!("no combined statement took the request within {:?}", self.max_wait)),
                ),
                // A combined statement has taken the request and will reply.
                Err(_) => Ok(outcome((&mut reply).await)),
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            () = give_up => if was_taken() { Ok(Outcome::Unknown) } else { Err(outage::refusal()) },
        }
    }
}

impl<R: CoalescedRequest> Worker<R> {
    /// Executes what is queued until the queue is closed and empty.
    async fn run(mut self) {
        let mut received = Vec::new();
        while self.queue.recv_many(&mut received, R::MAX_SIZE).await > 0 {
            let queued = R::deduplicate_and_sort(received.drain(..).filter_map(QueuedRequest::take).collect());
            // A panic is a defect of the service. The outcome of these requests is unknown. The
            // worker continues with the next requests.
            if !queued.is_empty() && AssertUnwindSafe(self.run_requests(queued)).catch_unwind().await.is_err() {
                tracing::error!("a combined statement of {} panicked", R::NAME);
            }
        }
    }

    async fn run_requests(&self, queued: Vec<QueuedRequest<R>>) {
        let requests: Vec<_> = queued.iter().map(|queued| &queued.request).collect();
        match self.execute(&requests).await {
            StatementOutcome::Answered(answers) => {
                for (queued, answer) in queued.into_iter().zip(answers) {
                    queued.reply(answer.map_or(Outcome::RunSeparately, Outcome::Answered));
                }
            }
            StatementOutcome::NotWritten => queued.into_iter().for_each(|queued| queued.reply(Outcome::RunSeparately)),
            StatementOutcome::Unknown => queued.into_iter().for_each(|queued| queued.reply(Outcome::Unknown)),
        }
    }

    async fn execute(&self, requests: &[&R]) -> StatementOutcome<R::Answer> {
        let mut session = self.session.lock().await;
        let Some(mut live) = session.open().await else { return StatementOutcome::NotWritten };
        let answered = tokio::select! {
            biased;
            answered = timeout(STATEMENT_TIMEOUT + GRACE, execute(&mut live.connection, requests)) => answered,
            () = self.database_status.wait_for_give_up(Instant::now()) => return StatementOutcome::Unknown,
        };
        let Ok(answered) = answered else { return StatementOutcome::Unknown };
        match &answered {
            StatementOutcome::Unknown => self.metrics.count_replaced_connection(),
            StatementOutcome::NotWritten => session.keep(live),
            StatementOutcome::Answered(answers) => {
                session.keep(live);
                self.metrics.count_combined(R::NAME, answers.iter().flatten().count());
            }
        }
        answered
    }
}

/// The outcome of a combined statement.
enum StatementOutcome<T> {
    Answered(Vec<Option<T>>),
    /// Nothing is written.
    NotWritten,
    Unknown,
}

async fn execute<R: CoalescedRequest>(connection: &mut PgConnection, requests: &[&R]) -> StatementOutcome<R::Answer> {
    let error = match R::execute(connection, requests).await {
        Ok(answers) => return StatementOutcome::Answered(answers),
        Err(error) => error,
    };
    if is_connection_lost(&error) {
        return StatementOutcome::Unknown;
    }
    if !is_lock_failure(&error) {
        if is_transient(&error) {
            return StatementOutcome::NotWritten;
        }
        tracing::warn!("the database refused a combined statement of {} {}: {error}", requests.len(), R::NAME);
    }
    if requests.len() == 1 {
        return StatementOutcome::NotWritten;
    }
    // If the transaction itself fails (BEGIN, savepoint or COMMIT), the outcome is unknown.
    execute_with_savepoints(connection, requests).await.map_or(StatementOutcome::Unknown, StatementOutcome::Answered)
}

/// Executes each request under its own savepoint in one transaction. After one request of
/// a configuration fails, the other requests of that configuration run last, so that they
/// cannot use up the time of the rest.
async fn execute_with_savepoints<R: CoalescedRequest>(
    connection: &mut PgConnection,
    requests: &[&R],
) -> sqlx::Result<Vec<Option<R::Answer>>> {
    let started = Instant::now();
    let mut transaction = connection.begin().await?;
    session::shorten_lock_timeout(&mut transaction).await?;
    let mut answers: Vec<_> = requests.iter().map(|_| None).collect();
    let mut failed_parents = HashSet::new();
    for is_last_pass in [false, true] {
        for (request, answer) in requests.iter().zip(&mut answers) {
            let is_next = answer.is_none() && (is_last_pass || !failed_parents.contains(&request.parent()));
            if !is_next || started.elapsed() > SEPARATE_LIMIT {
                continue;
            }
            let mut savepoint = transaction.begin().await?;
            *answer = Some(match R::execute(&mut savepoint, slice::from_ref(request)).await {
                Ok(mut answers) => {
                    savepoint.commit().await?;
                    answers.pop().flatten()
                }
                Err(error) if is_connection_lost(&error) => return Err(error),
                Err(_) => {
                    savepoint.rollback().await?;
                    failed_parents.insert(request.parent());
                    None
                }
            });
        }
    }
    transaction.commit().await?;
    Ok(answers.into_iter().map(Option::flatten).collect())
}

/// How long the service waits for a statement after the server's own timeout.
const GRACE: Duration = Duration::from_secs(1);

/// Returns whether the statement failed because of a lock timeout, a deadlock or a
/// serialization failure.
fn is_lock_failure(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55P03" || code.starts_with("40"))
}

impl<R: CoalescedRequest> QueuedRequest<R> {
    /// Takes the request out of the queue. Returns `None` when the request gave up or its
    /// client has disconnected.
    fn take(self) -> Option<Self> {
        let taken = self.state.compare_exchange(QUEUED, TAKEN, Ordering::AcqRel, Ordering::Acquire);
        (taken.is_ok() && !self.outcome.is_closed()).then_some(self)
    }

    /// Sends the outcome. Ignores a closed receiver: the request gave up (timeout, outage or
    /// disconnect) and no longer waits.
    pub fn reply(self, outcome: Outcome<R::Answer>) {
        let _ = self.outcome.send(outcome);
    }
}
