//! The connection on which the statements of a request run: one of the pool or, for a step of
//! an atomicity group, the transaction of that group.
//!
//! Reads use the connection directly. Writes commit through [`Connection::execute_write`] or
//! [`Connection::commit`], which handle an unknown outcome of the commit.

use std::{
    fmt,
    future::{Ready, ready},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web::Data};
use anyhow::anyhow;
use sqlx::{Executor, PgConnection};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use super::{
    outage::DatabaseStatus,
    permits::Permit,
    pool::{Pool, PooledConnection},
    request::RequestContext,
    work::WorkClass,
};
use crate::error::ApiError;

/// Gives a handler its connections.
pub struct Connections {
    source: Source,
    work: WorkClass,
    request: RequestContext,
}

enum Source {
    /// Each statement commits by itself, unless the handler begins a transaction.
    Pool(Data<Pool>),
    /// All statements commit with the group.
    Group(GroupTransaction),
}

/// The transaction of an atomicity group. One step at a time uses it.
#[derive(Clone)]
pub struct GroupTransaction {
    transaction: Arc<Mutex<Option<PooledConnection>>>,
    pool: Data<Pool>,
    work: WorkClass,
    request: RequestContext,
}

/// A connection that a handler uses. Dropping it rolls back a transaction that is not
/// committed.
pub struct Connection {
    origin: Borrowed,
    /// The permits of a search in a group that writes.
    _permits: Vec<Permit>,
    database_status: DatabaseStatus,
    request: RequestContext,
}

enum Borrowed {
    Pool(PooledConnection),
    /// The handler of the batch commits or rolls back the group.
    Group(OwnedMappedMutexGuard<Option<PooledConnection>, PooledConnection>),
}

impl Connections {
    /// Takes a connection for single statements.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn acquire(&self) -> sqlx::Result<Connection> {
        self.borrow(None).await
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn begin(&self) -> sqlx::Result<Connection> {
        self.borrow(Some("BEGIN")).await
    }

    /// Begins a transaction that only reads, all of it from one snapshot. A step of an atomicity
    /// group reads in the transaction of the group, and sees what the group has written.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn begin_snapshot(&self) -> sqlx::Result<Connection> {
        self.borrow(Some("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")).await
    }

    /// Waits until the request must answer although the outcome of its write is unknown.
    /// Returns `None` for a step of an atomicity group: the group as a whole gives up.
    pub fn give_up_signal(&self) -> Option<impl Future<Output = ()>> {
        match &self.source {
            Source::Pool(pool) => Some(pool.database_status().wait_for_give_up(self.request.at)),
            Source::Group(_) => None,
        }
    }

    async fn borrow(&self, begin: Option<&'static str>) -> sqlx::Result<Connection> {
        let (origin, permits, database_status) = match &self.source {
            Source::Pool(pool) => {
                // The future is boxed because it is large. Otherwise every request would move
                // it, also a request that uses no connection.
                let connection = Box::pin(open(pool, self.work, self.request, begin));
                (Borrowed::Pool(connection.await?), Vec::new(), pool.database_status())
            }
            Source::Group(group) => {
                let (origin, permits) = group.borrow(self.work).await?;
                (origin, permits, group.pool.database_status())
            }
        };
        let database_status = database_status.clone();
        Ok(Connection { origin, _permits: permits, database_status, request: self.request })
    }
}

/// Takes a connection and sets its `application_name` to the id of the request, for
/// `pg_stat_activity`. This statement also proves that the connection is alive.
async fn open(
    pool: &Pool,
    work: WorkClass,
    request: RequestContext,
    begin: Option<&'static str>,
) -> sqlx::Result<PooledConnection> {
    let begin_too = begin.map(|begin| format!("; {begin}")).unwrap_or_default();
    let named = format!("SET application_name = 'devicegraph {}'{begin_too}", request.request_id);
    pool.acquire(work, named, begin.is_some()).await
}

impl FromRequest for Connections {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let group = extensions.get::<GroupTransaction>().cloned().map(Source::Group);
        let source = group.or_else(|| request.app_data::<Data<Pool>>().cloned().map(Source::Pool));
        let (work, context) = (extensions.get().copied(), extensions.get().copied());
        let all = source.zip(work).zip(context).map(|((source, work), request)| Self { source, work, request });
        ready(all.ok_or_else(|| ApiError::internal(anyhow!("the route does not work on the database"))))
    }
}

impl GroupTransaction {
    /// Begins the transaction. A group that only reads counts as a search: it holds its
    /// connection for all of its steps.
    ///
    /// # Errors
    /// When no connection is free in time.
    pub async fn begin(pool: &Data<Pool>, only_reads: bool, request: RequestContext) -> sqlx::Result<Self> {
        let work = if only_reads { WorkClass::Search } else { WorkClass::WriteGroup };
        let connection = open(pool, work, request, Some("BEGIN")).await?;
        Ok(Self { transaction: Arc::new(Mutex::new(Some(connection))), pool: pool.clone(), work, request })
    }

    /// Lends the connection to a step. A search in a group that writes also needs the permits of
    /// a search.
    async fn borrow(&self, step: WorkClass) -> sqlx::Result<(Borrowed, Vec<Permit>)> {
        let permits = match (self.work, step) {
            (WorkClass::WriteGroup, WorkClass::Search) => self.pool.acquire_permits(step).await?,
            _ => Vec::new(),
        };
        let connection = OwnedMutexGuard::try_map(self.transaction.clone().lock_owned().await, Option::as_mut);
        connection.map(|connection| (Borrowed::Group(connection), permits)).map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Commits the changes of all steps.
    ///
    /// # Errors
    /// When the commit failed. 500 when its outcome is unknown; the message names `resource`,
    /// which a client can read to find out.
    pub async fn commit(self, resource: impl fmt::Display) -> Result<(), ApiError> {
        match self.transaction.lock().await.take() {
            Some(connection) => {
                let origin = Borrowed::Pool(connection);
                let database_status = self.pool.database_status().clone();
                let connection = Connection { origin, _permits: Vec::new(), database_status, request: self.request };
                connection.commit(resource).await
            }
            None => Ok(()),
        }
    }

    /// Rolls back the changes of all steps.
    pub async fn roll_back(self) {
        drop(self.transaction.lock().await.take());
    }
}

impl Connection {
    /// Executes a write. Without a transaction, the statement commits by itself.
    ///
    /// # Errors
    /// Those of the statement. 500 when its outcome is unknown; the message names `resource`,
    /// which a client can read to find out.
    pub async fn execute_write<T>(
        &mut self,
        resource: impl fmt::Display,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, ApiError> {
        match &mut self.origin {
            Borrowed::Pool(connection) if !connection.is_in_transaction => {
                let given_up = self.database_status.wait_for_give_up(self.request.at);
                tokio::select! {
                    biased;
                    done = statement(connection) => done.map_err(|error| ApiError::from_commit(error, resource)),
                    () = given_up => Err(ApiError::outcome_unknown(resource)),
                }
            }
            _ => Ok(statement(self).await?),
        }
    }

    /// Commits the transaction. Does nothing in a step of an atomicity group, because the group
    /// commits.
    ///
    /// # Errors
    /// When the commit failed. 500 when its outcome is unknown; the message names `resource`,
    /// which a client can read to find out.
    pub async fn commit(mut self, resource: impl fmt::Display) -> Result<(), ApiError> {
        match &mut self.origin {
            Borrowed::Pool(connection) if connection.is_in_transaction => {
                connection.is_in_transaction = false;
                self.execute_write(resource, async |connection| connection.execute("COMMIT").await).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Returns whether a transaction is open, so that a lock lasts longer than its statement.
    pub fn is_in_transaction(&self) -> bool {
        match &self.origin {
            Borrowed::Pool(connection) => connection.is_in_transaction,
            Borrowed::Group(_) => true,
        }
    }

    /// Executes a statement under a savepoint. Rolls back to the savepoint when the statement
    /// returns `false`. Returns what the statement returned.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn with_savepoint(
        &mut self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<bool>,
    ) -> sqlx::Result<bool> {
        self.execute("SAVEPOINT attempt").await?;
        let is_done = statement(self).await?;
        let end = if is_done { "RELEASE attempt" } else { "ROLLBACK TO attempt; RELEASE attempt" };
        self.execute(end).await?;
        Ok(is_done)
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.origin {
            Borrowed::Pool(connection) => connection,
            Borrowed::Group(connection) => connection,
        }
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.origin {
            Borrowed::Pool(connection) => connection,
            Borrowed::Group(connection) => connection,
        }
    }
}
