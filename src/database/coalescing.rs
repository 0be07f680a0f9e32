//! Requests that the database answers together, one statement for many.
//!
//! What comes while one group is on its way is gathered, and is the next. Nobody
//! waits for a group to fill: a lone request goes at once.
//!
//! A group answers what nothing is in the way of, and no more. Whoever is not
//! answered asks alone, on a connection of its own, and finds out why there; no
//! neighbour suffers from it. So when the database refuses a group, it is asked
//! again for one after the other, in one transaction.

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
    outage::{self, Outage},
    pool::Pools,
    session::{self, STATEMENT},
};
use crate::{
    error::{ApiError, is_connection_lost, is_transient},
    server::metrics,
};

/// What can be asked of the database together with others of its kind.
pub trait Member: Sized + Send + 'static {
    /// What the database answers to one.
    type Answer: Send + 'static;
    /// What `/metrics` calls them.
    const NAME: &'static str;
    /// How many a group has at most.
    const MOST: usize;

    /// Puts a group in order; who cannot be in it with the others is told to ask
    /// alone.
    fn arrange(group: Vec<Waiting<Self>>) -> Vec<Waiting<Self>> {
        group
    }

    /// What it belongs to: what is in the way of one may be in the way of the others
    /// there. All are alike where nothing is said.
    fn parent(&self) -> Uuid {
        Uuid::nil()
    }

    /// Asks for all of them in one statement. Each has an answer at its place, or
    /// none and is to ask alone; when it fails, it has written nothing.
    fn ask(
        connection: &mut PgConnection,
        group: &[&Self],
    ) -> impl Future<Output = sqlx::Result<Vec<Option<Self::Answer>>>>;
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The database answered, and committed what was to be written.
    Done(T),
    /// Nothing of it is written, and it is to be tried alone.
    Alone,
    /// The database did not say.
    Unknown,
}

impl<T> Outcome<T> {
    /// What the database answered. Who only reads may ask again.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(answer) => Some(answer),
            Self::Alone | Self::Unknown => None,
        }
    }
}

/// Where handlers hand in their requests.
pub struct Groups<M: Member> {
    queue: mpsc::Sender<Waiting<M>>,
    longest: Duration,
}

/// What carries them out.
struct Runner<M: Member> {
    queue: mpsc::Receiver<Waiting<M>>,
    session: session::Shared,
    outage: Outage,
    metrics: metrics::Database,
}

/// A request in the queue, or in a group.
pub struct Waiting<M: Member> {
    /// What is asked.
    pub member: M,
    state: Arc<AtomicU8>,
    outcome: oneshot::Sender<Outcome<M::Answer>>,
}

/// Requests that may wait; more are refused before the database is asked.
const QUEUE: usize = 4096;
/// How long a refused group may take, one after the other; then whoever is left
/// asks alone.
const ONE_BY_ONE: Duration = Duration::from_millis(500);
/// When a request is usually answered.
const SOON: Duration = Duration::from_millis(100);

/// A request waits, until either a group takes it or it is given up.
const WAITS: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl<M: Member> Groups<M> {
    /// Groups that are carried out in a session, on the runtime of this thread. They
    /// end when nobody is left who could hand in: nothing that was is left behind.
    pub fn start(pools: &Pools, session: session::Shared) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let runner = Runner { queue, session, outage: pools.outage(), metrics: pools.metrics().clone() };
        actix_web::rt::spawn(runner.run());
        Self { queue: sender, longest: pools.acquire_timeout() }
    }

    /// Asks together with others, if the request is not a step of an atomicity
    /// group: that has a transaction, and asks in it.
    ///
    /// # Errors
    /// 503 when too many wait, or the database answers nobody: nothing is written.
    pub async fn ask(&self, member: M, connections: &Connections) -> Result<Outcome<M::Answer>, ApiError> {
        let Some(gives_up) = connections.gives_up().filter(|_| !cfg!(feature = "alone")) else {
            return Ok(Outcome::Alone);
        };
        let (outcome, mut told) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITS));
        match self.queue.try_send(Waiting { member, state: state.clone(), outcome }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(ApiError::unavailable(anyhow!("{QUEUE} {} wait already", M::NAME)));
            }
            Err(TrySendError::Closed(_)) => return Ok(Outcome::Alone),
        }
        let was_taken = || state.swap(GIVEN_UP, Ordering::AcqRel) == TAKEN;
        let outcome = |told: Result<_, RecvError>| {
            told.unwrap_or_else(|_| if was_taken() { Outcome::Unknown } else { Outcome::Alone })
        };
        // Most are answered by then: one timer, and nothing else is made for them.
        let soon = SOON.min(self.longest);
        if let Ok(told) = timeout(soon, &mut told).await {
            return Ok(outcome(told));
        }
        let answer = async {
            match timeout(self.longest - soon, &mut told).await {
                Ok(told) => Ok(outcome(told)),
                Err(_) if state.compare_exchange(WAITS, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok() => {
                    Err(ApiError::unavailable(anyhow!("no group has taken the request in {:?}", self.longest)))
                }
                // One has it, and tells.
                Err(_) => Ok(outcome((&mut told).await)),
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            () = gives_up => if was_taken() { Ok(Outcome::Unknown) } else { Err(outage::refusal()) },
        }
    }
}

impl<M: Member> Runner<M> {
    /// Carries out what comes, until nobody can hand in any more.
    async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.queue.recv_many(&mut waiting, M::MOST).await > 0 {
            let group = M::arrange(waiting.drain(..).filter_map(Waiting::taken).collect());
            // A panic is a defect of the service. The outcome of these requests is unknown, and
            // those after them are carried out.
            if !group.is_empty() && AssertUnwindSafe(self.carry_out(group)).catch_unwind().await.is_err() {
                tracing::error!("a combined statement of {} panicked", M::NAME);
            }
        }
    }

    async fn carry_out(&self, group: Vec<Waiting<M>>) {
        let members: Vec<_> = group.iter().map(|waiting| &waiting.member).collect();
        match self.ask(&members).await {
            Asked::Answered(answers) => {
                for (waiting, answer) in group.into_iter().zip(answers) {
                    waiting.tell(answer.map_or(Outcome::Alone, Outcome::Done));
                }
            }
            Asked::Nothing => group.into_iter().for_each(|waiting| waiting.tell(Outcome::Alone)),
            Asked::Unknown => group.into_iter().for_each(|waiting| waiting.tell(Outcome::Unknown)),
        }
    }

    async fn ask(&self, group: &[&M]) -> Asked<M::Answer> {
        let mut session = self.session.lock().await;
        let Some(mut open) = session.open().await else { return Asked::Nothing };
        let answered = tokio::select! {
            biased;
            answered = timeout(STATEMENT + GRACE, ask(&mut open.connection, group)) => answered,
            () = self.outage.is_over_patience(Instant::now()) => return Asked::Unknown,
        };
        let Ok(answered) = answered else { return Asked::Unknown };
        match &answered {
            Asked::Unknown => self.metrics.retried(),
            Asked::Nothing => session.keep(open),
            Asked::Answered(answers) => {
                session.keep(open);
                self.metrics.grouped(M::NAME, answers.iter().flatten().count());
            }
        }
        answered
    }
}

/// What the database said to a group.
enum Asked<T> {
    Answered(Vec<Option<T>>),
    /// Nothing is written.
    Nothing,
    Unknown,
}

async fn ask<M: Member>(connection: &mut PgConnection, group: &[&M]) -> Asked<M::Answer> {
    let error = match M::ask(connection, group).await {
        Ok(answers) => return Asked::Answered(answers),
        Err(error) => error,
    };
    if is_connection_lost(&error) {
        return Asked::Unknown;
    }
    if !is_locked(&error) {
        if is_transient(&error) {
            return Asked::Nothing;
        }
        tracing::warn!("a group of {} {} was refused: {error}", group.len(), M::NAME);
    }
    if group.len() == 1 {
        return Asked::Nothing;
    }
    // In what state a transaction is that failed itself nobody knows.
    one_by_one(connection, group).await.map_or(Asked::Unknown, Asked::Answered)
}

/// Each under a savepoint, in one transaction. Those of a parent of whom one was
/// refused come last: there can be many, and they are not to take the time of all.
async fn one_by_one<M: Member>(connection: &mut PgConnection, group: &[&M]) -> sqlx::Result<Vec<Option<M::Answer>>> {
    let started = Instant::now();
    let mut transaction = connection.begin().await?;
    session::hurry(&mut transaction).await?;
    let mut answers: Vec<_> = group.iter().map(|_| None).collect();
    let mut refused = HashSet::new();
    for is_last in [false, true] {
        for (member, answer) in group.iter().zip(&mut answers) {
            let is_next = answer.is_none() && (is_last || !refused.contains(&member.parent()));
            if !is_next || started.elapsed() > ONE_BY_ONE {
                continue;
            }
            let mut savepoint = transaction.begin().await?;
            *answer = Some(match M::ask(&mut savepoint, slice::from_ref(member)).await {
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

/// Whether somebody else's row was in the way, or a circle.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55P03" || code.starts_with("40"))
}

impl<M: Member> Waiting<M> {
    /// If nobody has given it up, and its client is there.
    fn taken(self) -> Option<Self> {
        let taken = self.state.compare_exchange(WAITS, TAKEN, Ordering::AcqRel, Ordering::Acquire);
        (taken.is_ok() && !self.outcome.is_closed()).then_some(self)
    }

    /// Whoever has given up has answered already.
    pub fn tell(self, outcome: Outcome<M::Answer>) {
        let _ = self.outcome.send(outcome);
    }
}
