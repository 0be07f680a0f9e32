//! Requests that the database answers together, one statement for many.
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
    session::{self, STATEMENT},
};
use crate::error::{ApiError, is_connection_lost, is_transient};

/// What can be asked of the database together with others of its kind.
pub trait CoalescedRequest: Sized + Send + 'static {
    /// What the database answers to one.
    type Answer: Send + 'static;
    /// What `/metrics` calls them.
    const NAME: &'static str;
    /// How many a group has at most.
    const MAX_SIZE: usize;

    /// Sorts the requests. Replies `RunSeparately` to a request that cannot be in one
    /// statement with the others.
    fn deduplicate_and_sort(group: Vec<QueuedRequest<Self>>) -> Vec<QueuedRequest<Self>> {
        group
    }

    /// The configuration that the request belongs to. A lock that stops one request may stop
    /// the others of this configuration. By default all requests have the same one.
    fn parent(&self) -> Uuid {
        Uuid::nil()
    }

    /// Executes all requests in one statement. Returns the answer of each at its place, or
    /// `None` for a request that must run separately. On an error nothing is written.
    fn execute(
        connection: &mut PgConnection,
        group: &[&Self],
    ) -> impl Future<Output = sqlx::Result<Vec<Option<Self::Answer>>>>;
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The database answered, and committed the write.
    Answered(T),
    /// Nothing is written. The request must run its own statement.
    RunSeparately,
    /// The database did not say.
    Unknown,
}

impl<T> Outcome<T> {
    /// Returns the answer. For reads: `None` means that the read may run again.
    pub fn answered(self) -> Option<T> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::RunSeparately | Self::Unknown => None,
        }
    }
}

/// Queues the requests of handlers.
pub struct Coalescer<M: CoalescedRequest> {
    queue: mpsc::Sender<QueuedRequest<M>>,
    longest: Duration,
}

/// The task that executes the queue.
struct Worker<M: CoalescedRequest> {
    queue: mpsc::Receiver<QueuedRequest<M>>,
    session: session::Shared,
    outage: DatabaseStatus,
    metrics: DatabaseMetrics,
}

/// A request in the queue, or in a combined statement.
pub struct QueuedRequest<M: CoalescedRequest> {
    /// The request.
    pub member: M,
    state: Arc<AtomicU8>,
    outcome: oneshot::Sender<Outcome<M::Answer>>,
}

/// Requests that may wait; more are refused before the database is asked.
const QUEUE: usize = 4096;
/// How long the requests of a refused statement may take one after the other. The rest
/// then run separately.
const SEPARATE_LIMIT: Duration = Duration::from_millis(500);
/// When a request is usually answered.
const SOON: Duration = Duration::from_millis(100);

/// A request waits, until either a group takes it or it is given up.
const WAITS: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl<M: CoalescedRequest> Coalescer<M> {
    /// Starts the worker task on the runtime of this thread. The task ends when every
    /// `Coalescer` is dropped, after it has executed what was queued.
    pub fn start(pools: &Pools, session: session::Shared) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let worker = Worker { queue, session, outage: pools.outage(), metrics: pools.metrics().clone() };
        actix_web::rt::spawn(worker.run());
        Self { queue: sender, longest: pools.acquire_timeout() }
    }

    /// Executes a request together with others. A step of an atomicity group runs
    /// separately, in the transaction of its group.
    ///
    /// # Errors
    /// 503 when the queue is full or the database is down. Nothing is written.
    pub async fn execute(&self, member: M, connections: &Connections) -> Result<Outcome<M::Answer>, ApiError> {
        let Some(give_up) = connections.give_up_signal().filter(|_| !cfg!(feature = "alone")) else {
            return Ok(Outcome::RunSeparately);
        };
        let (outcome, mut reply) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITS));
        match self.queue.try_send(QueuedRequest { member, state: state.clone(), outcome }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(ApiError::unavailable(anyhow!("{QUEUE} {} wait already", M::NAME)));
            }
            Err(TrySendError::Closed(_)) => return Ok(Outcome::RunSeparately),
        }
        let was_taken = || state.swap(GIVEN_UP, Ordering::AcqRel) == TAKEN;
        let outcome = |reply: Result<_, RecvError>| {
            reply.unwrap_or_else(|_| if was_taken() { Outcome::Unknown } else { Outcome::RunSeparately })
        };
        // Most are answered by then: one timer, and nothing else is made for them.
        let soon = SOON.min(self.longest);
        if let Ok(reply) = timeout(soon, &mut reply).await {
            return Ok(outcome(reply));
        }
        let answer = async {
            match timeout(self.longest - soon, &mut reply).await {
                Ok(reply) => Ok(outcome(reply)),
                Err(_) if state.compare_exchange(WAITS, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok() => {
                    Err(ApiError::unavailable(anyhow!("no group has taken the request in {:?}", self.longest)))
                }
                // One has it, and tells.
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

impl<M: CoalescedRequest> Worker<M> {
    /// Executes what is queued until the queue is closed and empty.
    async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.queue.recv_many(&mut waiting, M::MAX_SIZE).await > 0 {
            let group = M::deduplicate_and_sort(waiting.drain(..).filter_map(QueuedRequest::taken).collect());
            // A panic is a defect of the service. The outcome of these requests is unknown, and
            // those after them are carried out.
            if !group.is_empty() && AssertUnwindSafe(self.run_requests(group)).catch_unwind().await.is_err() {
                tracing::error!("a combined statement of {} panicked", M::NAME);
            }
        }
    }

    async fn run_requests(&self, group: Vec<QueuedRequest<M>>) {
        let members: Vec<_> = group.iter().map(|waiting| &waiting.member).collect();
        match self.execute(&members).await {
            StatementOutcome::Answered(answers) => {
                for (waiting, answer) in group.into_iter().zip(answers) {
                    waiting.reply(answer.map_or(Outcome::RunSeparately, Outcome::Answered));
                }
            }
            StatementOutcome::NotWritten => group.into_iter().for_each(|waiting| waiting.reply(Outcome::RunSeparately)),
            StatementOutcome::Unknown => group.into_iter().for_each(|waiting| waiting.reply(Outcome::Unknown)),
        }
    }

    async fn execute(&self, group: &[&M]) -> StatementOutcome<M::Answer> {
        let mut session = self.session.lock().await;
        let Some(mut open) = session.open().await else { return StatementOutcome::NotWritten };
        let answered = tokio::select! {
            biased;
            answered = timeout(STATEMENT + GRACE, execute(&mut open.connection, group)) => answered,
            () = self.outage.wait_for_give_up(Instant::now()) => return StatementOutcome::Unknown,
        };
        let Ok(answered) = answered else { return StatementOutcome::Unknown };
        match &answered {
            StatementOutcome::Unknown => self.metrics.retried(),
            StatementOutcome::NotWritten => session.keep(open),
            StatementOutcome::Answered(answers) => {
                session.keep(open);
                self.metrics.grouped(M::NAME, answers.iter().flatten().count());
            }
        }
        answered
    }
}

/// What the database said to a combined statement.
enum StatementOutcome<T> {
    Answered(Vec<Option<T>>),
    /// Nothing is written.
    NotWritten,
    Unknown,
}

async fn execute<M: CoalescedRequest>(connection: &mut PgConnection, group: &[&M]) -> StatementOutcome<M::Answer> {
    let error = match M::execute(connection, group).await {
        Ok(answers) => return StatementOutcome::Answered(answers),
        Err(error) => error,
    };
    if is_connection_lost(&error) {
        return StatementOutcome::Unknown;
    }
    if !is_locked(&error) {
        if is_transient(&error) {
            return StatementOutcome::NotWritten;
        }
        tracing::warn!("a group of {} {} was refused: {error}", group.len(), M::NAME);
    }
    if group.len() == 1 {
        return StatementOutcome::NotWritten;
    }
    // If the transaction itself fails (BEGIN, savepoint or COMMIT), the outcome is unknown.
    execute_with_savepoints(connection, group).await.map_or(StatementOutcome::Unknown, StatementOutcome::Answered)
}

/// Executes each request under its own savepoint in one transaction. After one request of
/// a configuration fails, the other requests of that configuration run last, so that they
/// cannot use up the time of the rest.
async fn execute_with_savepoints<M: CoalescedRequest>(
    connection: &mut PgConnection,
    group: &[&M],
) -> sqlx::Result<Vec<Option<M::Answer>>> {
    let started = Instant::now();
    let mut transaction = connection.begin().await?;
    session::shorten_lock_timeout(&mut transaction).await?;
    let mut answers: Vec<_> = group.iter().map(|_| None).collect();
    let mut refused = HashSet::new();
    for is_last in [false, true] {
        for (member, answer) in group.iter().zip(&mut answers) {
            let is_next = answer.is_none() && (is_last || !refused.contains(&member.parent()));
            if !is_next || started.elapsed() > SEPARATE_LIMIT {
                continue;
            }
            let mut savepoint = transaction.begin().await?;
            *answer = Some(match M::execute(&mut savepoint, slice::from_ref(member)).await {
                Ok(mut answers) => {
                    savepoint.commit().await?;
                    answers.pop().flatten()
                }
                Err(error) if is_connection_lost(&error) => return Err(error),
                Err(_) => {
                    savepoint.rollback().await?;
                    refused.insert(member.parent());
                    None
                }
            });
        }
    }
    transaction.commit().await?;
    Ok(answers.into_iter().map(Option::flatten).collect())
}

/// How much longer than the server is told to a statement may take.
const GRACE: Duration = Duration::from_secs(1);

/// Whether the statement waited too long for a lock, or was in a deadlock.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55P03" || code.starts_with("40"))
}

impl<M: CoalescedRequest> QueuedRequest<M> {
    /// Takes the request out of the queue. Returns `None` when the request gave up or its
    /// client has disconnected.
    fn taken(self) -> Option<Self> {
        let taken = self.state.compare_exchange(WAITS, TAKEN, Ordering::AcqRel, Ordering::Acquire);
        (taken.is_ok() && !self.outcome.is_closed()).then_some(self)
    }

    /// Sends the outcome. Ignores a closed receiver: the request gave up and no longer waits.
    pub fn reply(self, outcome: Outcome<M::Answer>) {
        let _ = self.outcome.send(outcome);
    }
}
