//! Creates, written in groups.
//!
//! What a small write costs is its commit. So the creates that come while one
//! group commits are gathered and written as the next, in one statement, and each
//! is answered after the commit that holds it. Nobody waits for a group to fill:
//! a lone create goes at once.
//!
//! A group writes what nothing is in the way of, and no more. Where a
//! configuration is not there or held, where a place is taken, where a group has
//! failed, the request is told to write alone: on a connection of its own it finds
//! out why, and no neighbour suffers from it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use anyhow::anyhow;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{model::Assignment, sql};
use crate::{
    database::{
        outage::{self, Outage},
        pool::Pools,
    },
    error::{ApiError, is_connection_lost, is_transient},
    metrics,
};

/// Creates that may wait; more are refused before anything of them is written.
const QUEUE: usize = 4096;
/// Creates in a group at most: as many as there may be clients by default.
const GROUP: usize = 1024;
/// Milliseconds that a group waits for somebody else's row; then it is halved.
const LOCK_TIMEOUT_MS: u32 = 30;
/// How long a group may take, told to the server and, some more, held here.
const STATEMENT: Duration = Duration::from_secs(5);
/// How long a connection may take to come about, or to show that it lives.
const CONNECTION: Duration = Duration::from_millis(450);
/// After what time without use it must show that.
const IDLE: Duration = Duration::from_secs(1);

/// What became of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed as it was given.
    Written,
    /// Nothing of it is written, and it is to be tried alone.
    Alone,
    /// The database did not say.
    Unknown,
}

/// Where handlers hand in their creates.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Waiting>,
    longest: Duration,
}

/// What writes them.
pub struct Groups {
    queue: mpsc::Receiver<Waiting>,
    options: PgConnectOptions,
    connection: Option<Kept>,
    outage: Outage,
    metrics: metrics::Database,
}

/// A connection between two groups.
struct Kept {
    connection: PgConnection,
    opened: Instant,
    used: Instant,
}

struct Waiting {
    row: Assignment,
    target_key: Option<String>,
    by: Option<String>,
    state: Arc<AtomicU8>,
    outcome: oneshot::Sender<Outcome>,
}

/// A create waits, until either a group takes it or its request gives it up.
const WAITS: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

/// A writer to the database of these pools, and the groups that must run for it.
pub fn writer(pools: &Pools) -> (Writer, Groups) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let options = pools.options().clone().application_name("devicegraph writer");
    let statement = u32::try_from(STATEMENT.as_millis()).unwrap_or(u32::MAX);
    let options = options.options([("lock_timeout", LOCK_TIMEOUT_MS), ("statement_timeout", statement)]);
    let (outage, metrics) = (pools.outage(), pools.metrics().clone());
    let writer = Writer { queue: sender, longest: pools.acquire_timeout() };
    (writer, Groups { queue, options, connection: None, outage, metrics })
}

impl Writer {
    /// Writes a row in the name of `by`, with others or tells to try alone.
    /// `gives_up` ends when the request is to be answered all the same.
    ///
    /// # Errors
    /// 503 when too many wait, or the database answers nobody: nothing is written.
    pub async fn write(
        &self,
        row: &Assignment,
        target_key: Option<&str>,
        by: Option<&str>,
        gives_up: impl Future<Output = ()>,
    ) -> Result<Outcome, ApiError> {
        let (outcome, mut told) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITS));
        let (target_key, by) = (target_key.map(str::to_owned), by.map(str::to_owned));
        let create = Waiting { row: row.clone(), target_key, by, state: state.clone(), outcome };
        match self.queue.try_send(create) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(ApiError::unavailable(anyhow!("{QUEUE} creates wait already")));
            }
            Err(TrySendError::Closed(_)) => return Ok(Outcome::Alone),
        }
        let was_taken = || state.swap(GIVEN_UP, Ordering::AcqRel) == TAKEN;
        let answer = async {
            match timeout(self.longest, &mut told).await {
                Ok(told) => Ok(told),
                Err(_) if state.compare_exchange(WAITS, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok() => {
                    Err(ApiError::unavailable(anyhow!("no group has taken the create in {:?}", self.longest)))
                }
                // One has it, and tells.
                Err(_) => Ok((&mut told).await),
            }
        };
        tokio::select! {
            biased;
            told = answer => {
                Ok(told?.unwrap_or_else(|_| if was_taken() { Outcome::Unknown } else { Outcome::Alone }))
            }
            () = gives_up => if was_taken() { Ok(Outcome::Unknown) } else { Err(outage::refusal()) },
        }
    }
}

impl Groups {
    /// Writes what comes, until nobody can hand in any more.
    pub async fn run(mut self) {
        let mut creates = Vec::new();
        while self.queue.recv_many(&mut creates, GROUP).await > 0 {
            let mut groups = vec![gather(&mut creates)];
            while let Some(mut group) = groups.pop().filter(|group| !group.is_empty()) {
                match self.write(&group).await {
                    // One of them is to blame, and the halves show which.
                    Written::Refused if group.len() > 1 => {
                        let half = group.split_off(group.len() / 2);
                        groups.extend([half, group]);
                    }
                    written => group.into_iter().for_each(|create| create.tell(&written)),
                }
            }
        }
    }

    async fn write(&mut self, group: &[Waiting]) -> Written {
        let Some(mut kept) = self.live().await else { return Written::Rows(HashSet::new()) };
        let rows: Vec<_> = group.iter().map(|create| &create.row).collect();
        let by: Vec<_> = group.iter().map(|create| create.by.as_deref()).collect();
        let written = tokio::select! {
            biased;
            written = timeout(STATEMENT + IDLE, sql::insert_group(&mut kept.connection, &rows, &by)) => written,
            () = self.outage.is_over_patience(Instant::now()) => return Written::Unknown,
        };
        let Ok(written) = written else { return Written::Unknown };
        if written.as_ref().is_err_and(is_connection_lost) {
            return Written::Unknown;
        }
        self.connection = Some(Kept { used: Instant::now(), ..kept });
        match written {
            Ok(ids) => {
                self.metrics.grouped(ids.len());
                Written::Rows(ids.into_iter().collect())
            }
            Err(error) if is_locked(&error) => Written::Refused,
            Err(error) if is_transient(&error) => Written::Rows(HashSet::new()),
            Err(error) => {
                tracing::warn!("a group of {} creates was refused: {error}", group.len());
                Written::Refused
            }
        }
    }

    /// The connection, if it lives, else a new one.
    async fn live(&mut self) -> Option<Kept> {
        if let Some(mut kept) = self.connection.take().filter(|kept| !self.outage.is_survivor(kept.opened.elapsed())) {
            let is_live =
                kept.used.elapsed() < IDLE || matches!(timeout(CONNECTION, kept.connection.ping()).await, Ok(Ok(())));
            if is_live {
                return Some(kept);
            }
        }
        if self.outage.is_on() {
            return None;
        }
        let connection = timeout(CONNECTION, self.options.connect()).await.ok()?.ok()?;
        Some(Kept { connection, opened: Instant::now(), used: Instant::now() })
    }
}

/// Whether somebody else's row was in the way, or a circle.
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55P03" || code.starts_with("40"))
}

/// What became of a group.
enum Written {
    /// The rows of these ids are committed, and nothing else is.
    Rows(HashSet<Uuid>),
    /// The database refused the whole group.
    Refused,
    /// It did not say.
    Unknown,
}

/// A group of what has come: no id and no target twice, so that each row that
/// comes back has one request, and in one order, so that the groups of two
/// services do not wait for each other in circles.
fn gather(creates: &mut Vec<Waiting>) -> Vec<Waiting> {
    let (mut ids, mut places) = (HashSet::new(), HashSet::new());
    let mut group: Vec<Waiting> = Vec::with_capacity(creates.len());
    for create in creates.drain(..) {
        let place = create.target_key.as_ref().map(|key| (create.row.device_configuration_id, key.clone()));
        let is_first = !ids.contains(&create.row.id) && place.as_ref().is_none_or(|place| !places.contains(place));
        let taken = create.state.compare_exchange(WAITS, TAKEN, Ordering::AcqRel, Ordering::Acquire);
        match (taken, is_first) {
            // Given up, or its client is gone.
            (Err(_), _) => {}
            _ if create.outcome.is_closed() => {}
            (Ok(_), false) => drop(create.outcome.send(Outcome::Alone)),
            (Ok(_), true) => {
                ids.insert(create.row.id);
                places.extend(place);
                group.push(create);
            }
        }
    }
    group.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
    group
}

impl Waiting {
    /// Whoever has given up has answered already.
    fn tell(self, written: &Written) {
        let outcome = match written {
            Written::Rows(ids) if ids.contains(&self.row.id) => Outcome::Written,
            Written::Rows(_) | Written::Refused => Outcome::Alone,
            Written::Unknown => Outcome::Unknown,
        };
        let _ = self.outcome.send(outcome);
    }

    fn order(&self) -> (Uuid, Option<&str>, Uuid) {
        (self.row.device_configuration_id, self.target_key.as_deref(), self.row.id)
    }
}
