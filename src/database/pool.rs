//! The connections of a worker, and how many of them one kind of work may have.
//!
//! sqlx keeps the connections. This adds: a connection that was open during an outage is
//! not used again. A connection that does not answer is replaced before a request gets it.
//! A connection that a request left in the middle of a statement is closed, and PostgreSQL
//! then ends the statement.

use std::{ops::Deref, ops::DerefMut, sync::Arc, time::Duration};

use log::LevelFilter;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Executor, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{
    metrics::DatabaseMetrics,
    outage::{DatabaseStatus, HealthMonitor},
    work::WorkClass,
};
use crate::{config, error::is_connection_lost};

/// Makes the pools of the workers.
#[derive(Clone)]
pub struct Pools {
    options: PgConnectOptions,
    size: u32,
    answer_timeout: Duration,
    acquire_timeout: Duration,
    watch: Arc<HealthMonitor>,
    metrics: DatabaseMetrics,
}

/// The connections of a worker.
#[derive(Clone)]
pub struct Pool {
    connections: PgPool,
    outage: DatabaseStatus,
    queries: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    acquire_timeout: Duration,
    metrics: DatabaseMetrics,
}

/// How long a connection may take to be fit for the next request.
const RETURN: Duration = Duration::from_millis(500);
/// How often a server looks whether the client of a running statement is there.
const CLIENT_CHECK_MS: u32 = 500;

impl Pools {
    /// Pools of `workers` for requests to the database of these options.
    pub fn new(options: PgConnectOptions, settings: &config::Database, workers: usize) -> Self {
        let metrics = DatabaseMetrics::default();
        let answer_timeout = Duration::from_millis(settings.answer_timeout_ms);
        let watch = Arc::new(HealthMonitor::new(options.clone(), answer_timeout, metrics.clone()));
        // What waits longer than its client does only keeps others from a connection.
        let options = options.options([
            ("lock_timeout", settings.lock_timeout_ms),
            ("statement_timeout", settings.statement_timeout_ms),
            ("client_connection_check_interval", CLIENT_CHECK_MS),
        ]);
        let slow = Duration::from_millis(settings.slow_statement_ms);
        let options = options.log_slow_statements(LevelFilter::Warn, slow);
        let size = (settings.max_connections / workers as u32).max(1);
        let acquire_timeout = Duration::from_millis(settings.acquire_timeout_ms);
        Self { options, size, answer_timeout, acquire_timeout, watch, metrics }
    }

    /// The pool of a worker.
    pub fn pool(&self) -> Pool {
        let (outage, size) = (self.watch.outage(), self.size as usize);
        let known = outage.clone();
        let connections = PgPoolOptions::new()
            .max_connections(self.size)
            .acquire_timeout(self.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(move |_, connection| {
                let is_fit = !known.predates_outage(connection.age);
                Box::pin(async move { Ok(is_fit) })
            })
            .connect_lazy_with(self.options.clone());
        self.metrics.watch(&connections);
        // Together less than all of them: whatever the others do, a read by key finds one.
        let bound = |share: usize| Arc::new(Semaphore::new(share.max(1)));
        Pool {
            connections,
            outage,
            queries: bound(size * 3 / 8),
            writes: bound(size / 2),
            acquire_timeout: self.acquire_timeout,
            metrics: self.metrics.clone(),
        }
    }

    /// How a connection for requests is opened.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// How long the database may take to answer before it counts as out of reach.
    pub fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// How long a request waits for a connection.
    pub fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    /// What is known of the database.
    pub fn outage(&self) -> DatabaseStatus {
        self.watch.outage()
    }

    /// What is counted of the database.
    pub fn metrics(&self) -> &DatabaseMetrics {
        &self.metrics
    }

    /// Watches the database, and never ends.
    pub async fn watch(&self) {
        self.watch.keep().await;
    }
}

impl Pool {
    /// A connection after `first`, its first statement, which `begins` a
    /// transaction or not.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn acquire(&self, work: WorkClass, first: String, begins: bool) -> sqlx::Result<PooledConnection> {
        if self.outage.is_down() {
            return Err(sqlx::Error::PoolTimedOut);
        }
        let started = Instant::now();
        let acquired = timeout(self.acquire_timeout, async {
            let permit = match work {
                WorkClass::Lookup => None,
                WorkClass::Search => self.queries.clone().acquire_owned().await.ok(),
                WorkClass::Write => self.writes.clone().acquire_owned().await.ok(),
            };
            loop {
                // On loan before the statement: given up in the middle of it, a transaction is still rolled back.
                let connection = Some(self.connections.acquire().await?);
                let mut lent = PooledConnection { connection, is_open: begins, permit: None };
                match timeout(self.acquire_timeout / 2, lent.execute(AssertSqlSafe(first.as_str()))).await {
                    Ok(Ok(_)) => {
                        lent.permit = permit;
                        return Ok(lent);
                    }
                    Ok(Err(error)) if !is_connection_lost(&error) => return Err(error),
                    // It was dead: the next one, or a new one, is not.
                    _ => {
                        drop(lent.connection.take().map(PoolConnection::detach));
                        self.metrics.retried();
                    }
                }
            }
        });
        let acquired = acquired.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        self.metrics.waited(work, started.elapsed());
        acquired
    }

    /// What is known of the database.
    pub fn outage(&self) -> &DatabaseStatus {
        &self.outage
    }

    /// What is counted of the database.
    pub fn metrics(&self) -> &DatabaseMetrics {
        &self.metrics
    }

    /// How many connections there may be.
    pub fn size(&self) -> u32 {
        self.connections.options().get_max_connections()
    }
}

/// A connection on loan. Dropped, it goes back, without what is not committed.
pub struct PooledConnection {
    connection: Option<PoolConnection<Postgres>>,
    /// Whether a transaction is.
    pub is_open: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut ending = ReturningConnection(Some(connection));
        let (is_open, permit) = (self.is_open, self.permit.take());
        actix_web::rt::spawn(async move {
            let _ = timeout(RETURN, ending.return_to_pool(is_open)).await;
            drop(permit);
        });
    }
}

/// A connection on its way back. Dropped before it is there, in the middle of a
/// statement or dead, it is closed, and the server notices.
struct ReturningConnection(Option<PoolConnection<Postgres>>);

impl ReturningConnection {
    async fn return_to_pool(&mut self, is_open: bool) {
        let Some(connection) = &mut self.0 else { return };
        if !is_open || connection.execute("ROLLBACK").await.is_ok() {
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
        self.connection.as_deref().expect("it is there until it is dropped")
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_deref_mut().expect("it is there until it is dropped")
    }
}
