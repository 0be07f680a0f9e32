//! The session of a group after the other: a connection outside the pools, opened
//! when it is needed and kept as long as it answers.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{outage::Outage, pool::Pools};

/// One group has it at a time, of whatever kind.
pub type Shared = Arc<Mutex<Session>>;

/// A session, or what it takes to open one.
pub struct Session {
    options: PgConnectOptions,
    outage: Outage,
    /// How long a connection may take to come about, or to show that it lives.
    connect_timeout: Duration,
    kept: Option<Open>,
}

/// A connection that answers. Dropped, it is closed.
pub struct Open {
    /// Where statements are carried out.
    pub connection: PgConnection,
    since: Instant,
    used: Instant,
}

/// Milliseconds that a group waits for what somebody else holds.
const LOCK_TIMEOUT_MS: u32 = 30;
/// Milliseconds that one waits when others of a group wait for it.
const HURRIED_LOCK_TIMEOUT_MS: u32 = 3;
/// How long a statement may take, told to the server.
pub const STATEMENT: Duration = Duration::from_secs(5);
/// A group asks by keys alone. Left to itself PostgreSQL takes a table of some thousand
/// rows for small enough to read all of it, and plans anew for each size of a group.
const BY_KEY: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// After what time without use it must show that.
const IDLE: Duration = Duration::from_secs(1);

impl Session {
    /// With the database of these pools, shown there as `name`.
    pub fn new(pools: &Pools, name: &str) -> Shared {
        let statement = u32::try_from(STATEMENT.as_millis()).unwrap_or(u32::MAX);
        let options = pools.options().clone().application_name(name);
        let options = options.options([("lock_timeout", LOCK_TIMEOUT_MS), ("statement_timeout", statement)]);
        let options = options.options(BY_KEY);
        // Less than what the database has for an answer: then the outage is noticed before the request waits for it.
        let connect_timeout = pools.answer_timeout() * 9 / 10;
        Arc::new(Mutex::new(Self { options, outage: pools.outage(), connect_timeout, kept: None }))
    }

    /// The connection, if it lives, else a new one; none while the database does
    /// not answer.
    pub async fn open(&mut self) -> Option<Open> {
        if let Some(mut open) = self.kept.take().filter(|open| !self.outage.is_survivor(open.since.elapsed())) {
            let lives = open.used.elapsed() < IDLE
                || matches!(timeout(self.connect_timeout, open.connection.ping()).await, Ok(Ok(())));
            if lives {
                return Some(open);
            }
        }
        if self.outage.is_on() {
            return None;
        }
        let connection = timeout(self.connect_timeout, self.options.connect()).await.ok()?.ok()?;
        Some(Open { connection, since: Instant::now(), used: Instant::now() })
    }

    /// Keeps a connection that has answered for the next group.
    pub fn keep(&mut self, open: Open) {
        self.kept = Some(Open { used: Instant::now(), ..open });
    }
}

/// Has what follows in this transaction wait for next to nothing that somebody else
/// holds.
pub async fn hurry(transaction: &mut PgConnection) -> sqlx::Result<()> {
    let set = format!("SET LOCAL lock_timeout = {HURRIED_LOCK_TIMEOUT_MS}");
    transaction.execute(AssertSqlSafe(set)).await.map(drop)
}
