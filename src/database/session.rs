//! The database session of combined statements: a connection outside the pools, opened on
//! demand and kept as long as it answers.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{outage::DatabaseStatus, pool::Pools};

/// The shared session. Its mutex lets one combined statement run at a time.
pub type Shared = Arc<Mutex<SharedConnection>>;

/// A connection that is opened on demand, and its options.
pub struct SharedConnection {
    options: PgConnectOptions,
    database_status: DatabaseStatus,
    /// The timeout for opening the connection, and for a ping on it.
    connect_timeout: Duration,
    kept: Option<LiveConnection>,
}

/// An open connection that answers. Dropping it closes it.
pub struct LiveConnection {
    /// The connection on which the statements run.
    pub connection: PgConnection,
    opened: Instant,
    last_used: Instant,
}

/// The lock timeout of a combined statement, in milliseconds.
const LOCK_TIMEOUT_MS: u32 = 30;
/// The lock timeout of one request while the others wait for it, in milliseconds.
const SEPARATE_LOCK_TIMEOUT_MS: u32 = 3;
/// The statement timeout, which the server enforces.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Settings that force index lookups: a combined statement reads by keys only. By default,
/// PostgreSQL scans a table of some thousand rows as a whole, and makes a new plan for each
/// number of keys.
const INDEX_LOOKUPS_ONLY: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// A connection that was idle for longer than this must answer a ping before its next use.
const MAX_UNCHECKED_IDLE: Duration = Duration::from_secs(1);

impl SharedConnection {
    /// Creates the session for the database of these pools. `pg_stat_activity` shows it as
    /// `name`.
    pub fn new(pools: &Pools, name: &str) -> Shared {
        let statement = u32::try_from(STATEMENT_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        let options = pools.options().clone().application_name(name);
        let options = options.options([("lock_timeout", LOCK_TIMEOUT_MS), ("statement_timeout", statement)]);
        let options = options.options(INDEX_LOOKUPS_ONLY);
        // Shorter than the answer timeout, so that the service notices an outage before the
        // request waits for it.
        let connect_timeout = pools.answer_timeout() * 9 / 10;
        Arc::new(Mutex::new(Self { options, database_status: pools.database_status(), connect_timeout, kept: None }))
    }

    /// Takes the kept connection if it answers, else opens a new one. Returns `None` while the
    /// database does not answer.
    pub async fn open(&mut self) -> Option<LiveConnection> {
        if let Some(mut live) =
            self.kept.take().filter(|live| !self.database_status.predates_outage(live.opened.elapsed()))
        {
            let answers = live.last_used.elapsed() < MAX_UNCHECKED_IDLE
                || matches!(timeout(self.connect_timeout, live.connection.ping()).await, Ok(Ok(())));
            if answers {
                return Some(live);
            }
        }
        if self.database_status.is_down() {
            return None;
        }
        let connection = timeout(self.connect_timeout, self.options.connect()).await.ok()?.ok()?;
        Some(LiveConnection { connection, opened: Instant::now(), last_used: Instant::now() })
    }

    /// Keeps a connection that has answered, for the next combined statement.
    pub fn keep(&mut self, live: LiveConnection) {
        self.kept = Some(LiveConnection { last_used: Instant::now(), ..live });
    }
}

/// Shortens the lock timeout for the rest of the transaction.
pub async fn shorten_lock_timeout(transaction: &mut PgConnection) -> sqlx::Result<()> {
    let set = format!("SET LOCAL lock_timeout = {SEPARATE_LOCK_TIMEOUT_MS}");
    transaction.execute(AssertSqlSafe(set)).await.map(drop)
}
