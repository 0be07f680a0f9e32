//! The database session of combined statements: a connection outside the pools, opened on
//! demand and kept as long as it answers.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{outage::DatabaseStatus, pool::Pools};

/// One combined statement of any kind uses it at a time.
pub type Shared = Arc<Mutex<SharedConnection>>;

/// A session, or what it takes to open one.
pub struct SharedConnection {
    options: PgConnectOptions,
    outage: DatabaseStatus,
    /// How long a connection may take to come about, or to show that it lives.
    connect_timeout: Duration,
    kept: Option<LiveConnection>,
}

/// A connection that answers. Dropped, it is closed.
pub struct LiveConnection {
    /// Where statements are carried out.
    pub connection: PgConnection,
    since: Instant,
    used: Instant,
}

/// Milliseconds that a combined statement waits for a lock.
const LOCK_TIMEOUT_MS: u32 = 30;
/// Milliseconds that one request waits for a lock while others wait behind it.
const HURRIED_LOCK_TIMEOUT_MS: u32 = 3;
/// How long a statement may take, told to the server.
pub const STATEMENT: Duration = Duration::from_secs(5);
/// A group asks by keys alone. Left to itself PostgreSQL takes a table of some thousand
/// rows for small enough to read all of it, and plans anew for each size of a group.
const INDEX_LOOKUPS_ONLY: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// After what time without use it must show that.
const IDLE: Duration = Duration::from_secs(1);

impl SharedConnection {
    /// With the database of these pools, shown there as `name`.
    pub fn new(pools: &Pools, name: &str) -> Shared {
        let statement = u32::try_from(STATEMENT.as_millis()).unwrap_or(u32::MAX);
        let options = pools.options().clone().application_name(name);
        let options = options.options([("lock_timeout", LOCK_TIMEOUT_MS), ("statement_timeout", statement)]);
        let options = options.options(INDEX_LOOKUPS_ONLY);
        // Less than what the database has for an answer: then the outage is noticed before the request waits for it.
        let connect_timeout = pools.answer_timeout() * 9 / 10;
        Arc::new(Mutex::new(Self { options, outage: pools.outage(), connect_timeout, kept: None }))
    }

    /// The connection, if it lives, else a new one; none while the database does
    /// not answer.
    pub async fn open(&mut self) -> Option<LiveConnection> {
        if let Some(mut open) = self.kept.take().filter(|open| !self.outage.predates_outage(open.since.elapsed())) {
            let lives = open.used.elapsed() < IDLE
                || matches!(timeout(self.connect_timeout, open.connection.ping()).await, Ok(Ok(())));
            if lives {
                return Some(open);
            }
        }
        if self.outage.is_down() {
            return None;
        }
        let connection = timeout(self.connect_timeout, self.options.connect()).await.ok()?.ok()?;
        Some(LiveConnection { connection, since: Instant::now(), used: Instant::now() })
    }

    /// Keeps a connection that has answered for the next group.
    pub fn keep(&mut self, live: LiveConnection) {
        self.kept = Some(LiveConnection { used: Instant::now(), ..live });
    }
}

/// Shortens the time that the rest of a transaction waits for a lock.
pub async fn shorten_lock_timeout(transaction: &mut PgConnection) -> sqlx::Result<()> {
    let set = format!("SET LOCAL lock_timeout = {HURRIED_LOCK_TIMEOUT_MS}");
    transaction.execute(AssertSqlSafe(set)).await.map(drop)
}
