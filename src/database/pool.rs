//! The connection pools of the workers, with a limit for each class of work.
//!
//! sqlx keeps the connections. This module adds: a connection that was open during an outage is
//! not used again. A connection that does not answer is replaced before a request gets it. A
//! connection that a request left in the middle of a statement is closed, and PostgreSQL then
//! ends the statement.

use std::{mem, ops::Deref, ops::DerefMut, sync::Arc, time::Duration};

use log::LevelFilter;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::{Instant, timeout};

use super::{
    metrics::DatabaseMetrics,
    outage::{DatabaseStatus, HealthMonitor},
    permits::{Permit, Permits, Scarcity},
    work::WorkClass,
};
use crate::{config, error::is_connection_lost};

/// Creates the pools of the workers.
#[derive(Clone)]
pub struct Pools {
    options: PgConnectOptions,
    size: u32,
    answer_timeout: Duration,
    acquire_timeout: Duration,
    limits: Limits,
    scarcity: Scarcity,
    monitor: Arc<HealthMonitor>,
    metrics: DatabaseMetrics,
}

/// How long the work of a request may take. `None` means no limit.
#[derive(Clone, Copy)]
pub struct Limits {
    /// One statement.
    pub statement: Option<Duration>,
    /// The wait of a statement for a lock.
    pub lock: Option<Duration>,
    /// An atomicity group of a batch.
    pub group: Option<Duration>,
}

/// The connection pool of a worker.
#[derive(Clone)]
pub struct Pool {
    connections: PgPool,
    database_status: DatabaseStatus,
    permits: Permits,
    acquire_timeout: Duration,
    limits: Limits,
    metrics: DatabaseMetrics,
}

/// The time limit for rolling back and returning a connection to the pool.
const RETURN_TIMEOUT: Duration = Duration::from_millis(500);
/// The interval at which the server checks whether the client of a running statement is still
/// connected.
const CLIENT_CHECK_MS: u32 = 500;

impl Pools {
    /// Creates the factory for the pools of `workers` workers.
    pub fn new(options: PgConnectOptions, settings: &config::Database, workers: usize) -> Self {
        let metrics = DatabaseMetrics::default();
        let answer_timeout = Duration::from_millis(settings.answer_timeout_ms);
        let monitor = Arc::new(HealthMonitor::new(options.clone(), answer_timeout, metrics.clone()));
        // A statement that runs longer than its client waits only blocks a connection.
        let options = options.options([
            ("lock_timeout", settings.lock_timeout_ms),
            ("statement_timeout", settings.statement_timeout_ms),
            ("client_connection_check_interval", CLIENT_CHECK_MS),
        ]);
        let slow = Duration::from_millis(settings.slow_statement_ms);
        let options = options.log_slow_statements(LevelFilter::Warn, slow);
        let size = (settings.max_connections / workers as u32).max(1);
        let acquire_timeout = Duration::from_millis(settings.acquire_timeout_ms);
        let limit = |ms: u64| Some(Duration::from_millis(ms)).filter(|limit| !limit.is_zero());
        let limits = Limits {
            statement: limit(settings.statement_timeout_ms.into()),
            lock: limit(settings.lock_timeout_ms.into()),
            group: limit(settings.group_timeout_ms),
        };
        let scarcity = Scarcity::default();
        Self { options, size, answer_timeout, acquire_timeout, limits, scarcity, monitor, metrics }
    }

    /// Creates the pool of a worker.
    pub fn pool(&self) -> Pool {
        let (database_status, size) = (self.monitor.database_status(), self.size as usize);
        let status = database_status.clone();
        let connections = PgPoolOptions::new()
            .max_connections(self.size)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(move |_, connection| {
                let is_fit = !status.predates_outage(connection.age);
                Box::pin(async move { Ok(is_fit) })
            })
            .connect_lazy_with(self.options.clone());
        self.metrics.add_pool(&connections);
        Pool {
            connections,
            database_status,
            permits: Permits::new(size, self.scarcity.clone()),
            acquire_timeout: self.acquire_timeout,
            limits: self.limits,
            metrics: self.metrics.clone(),
        }
    }

    /// Returns the options of a connection for requests.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Returns how long the database may take to answer before the service considers it down.
    pub fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// Returns how long a request waits for a connection.
    pub fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    /// Returns the state of the database.
    pub fn database_status(&self) -> DatabaseStatus {
        self.monitor.database_status()
    }

    /// Returns the metrics of the database.
    pub fn metrics(&self) -> &DatabaseMetrics {
        &self.metrics
    }

    /// Monitors the database. Never returns.
    pub async fn monitor(&self) {
        self.monitor.run().await;
    }
}

impl Pool {
    /// Takes a connection and runs `first` on it, its first statement. `begins` says whether
    /// `first` begins a transaction.
    ///
    /// # Errors
    /// When no connection is free in time, or the database is down.
    pub async fn acquire(&self, work: WorkClass, first: String, begins: bool) -> sqlx::Result<PooledConnection> {
        if self.database_status.is_down() {
            return Err(sqlx::Error::PoolTimedOut);
        }
        let started = Instant::now();
        let acquired = timeout(self.acquire_timeout, async {
            let permits = self.permits.acquire(work).await;
            loop {
                // Wrap the connection before its first statement: if this future is dropped in
                // the middle of the statement, the drop still rolls back the transaction.
                let connection = Some(self.connections.acquire().await?);
                let mut pooled = PooledConnection { connection, is_in_transaction: begins, permits: Vec::new() };
                match timeout(self.acquire_timeout / 2, pooled.execute(AssertSqlSafe(first.as_str()))).await {
                    Ok(Ok(_)) => {
                        pooled.permits = permits;
                        return Ok(pooled);
                    }
                    Ok(Err(error)) if !is_connection_lost(&error) => return Err(error),
                    // The pooled connection was dead. Close it and take the next one.
                    _ => {
                        drop(pooled.connection.take().map(PoolConnection::detach));
                        self.metrics.count_replaced_connection();
                    }
                }
            }
        });
        let acquired = acquired.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        self.metrics.observe_acquire(work, started.elapsed());
        acquired
    }

    /// Waits for the permits of a step of an atomicity group, which has a connection.
    ///
    /// # Errors
    /// When no permit is free in time.
    pub async fn acquire_permits(&self, work: WorkClass) -> sqlx::Result<Vec<Permit>> {
        timeout(self.acquire_timeout, self.permits.acquire(work)).await.map_err(|_| sqlx::Error::PoolTimedOut)
    }

    /// Returns whether the database may have been overloaded after `since`: it does not answer, or
    /// searches competed for connections.
    pub fn was_overloaded(&self, since: Instant) -> bool {
        self.database_status.is_down() || self.permits.were_scarce(since)
    }

    /// Returns how long the work of a request may take.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the state of the database.
    pub fn database_status(&self) -> &DatabaseStatus {
        &self.database_status
    }

    /// Returns the metrics of the database.
    pub fn metrics(&self) -> &DatabaseMetrics {
        &self.metrics
    }

    /// Returns the maximum number of connections.
    pub fn size(&self) -> u32 {
        self.connections.options().get_max_connections()
    }
}

/// A connection that a request uses. Dropping it rolls back an open transaction and returns the
/// connection to the pool.
pub struct PooledConnection {
    connection: Option<PoolConnection<Postgres>>,
    /// Whether a transaction is open.
    pub is_in_transaction: bool,
    permits: Vec<Permit>,
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut returning_connection = ReturningConnection(Some(connection));
        let (is_in_transaction, permits) = (self.is_in_transaction, mem::take(&mut self.permits));
        actix_web::rt::spawn(async move {
            let _ = timeout(RETURN_TIMEOUT, returning_connection.return_to_pool(is_in_transaction)).await;
            drop(permits);
        });
    }
}

/// A connection that is being returned to the pool. If it is dropped before that (a statement
/// still runs, or the connection is dead), it is closed and the server ends the statement.
struct ReturningConnection(Option<PoolConnection<Postgres>>);

impl ReturningConnection {
    async fn return_to_pool(&mut self, is_in_transaction: bool) {
        let Some(connection) = &mut self.0 else { return };
        if !is_in_transaction || connection.execute("ROLLBACK").await.is_ok() {
            let returning = connection.return_to_pool();
            self.0 = None;
            returning.await;
        }
    }
}

impl Drop for ReturningConnection {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_deref().expect("present until drop")
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_deref_mut().expect("present until drop")
    }
}
