//! Where the statements of a request run: on a connection of the pool, or, for
//! a step of an atomicity group, in the transaction of its group.
//!
//! Reads need no more than the connection. What commits goes through
//! [`Connection::execute_write`] or [`Connection::commit`], which know that its outcome
//! can stay unknown.

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
    pool::{Pool, PooledConnection},
    request::RequestContext,
    work::WorkClass,
};
use crate::error::ApiError;

/// What a handler asks for a connection.
pub struct Connections {
    of: Of,
    work: WorkClass,
    started: RequestContext,
}

enum Of {
    /// Each statement commits by itself, a transaction when it says so.
    Pool(Data<Pool>),
    /// Everything commits with the group.
    Group(Group),
}

/// The transaction of an atomicity group, lent to one step after the other.
#[derive(Clone)]
pub struct Group {
    running: Arc<Mutex<Option<PooledConnection>>>,
    outage: DatabaseStatus,
    started: RequestContext,
}

/// A connection on loan. In a transaction, what is not committed is rolled back.
pub struct Connection {
    of: Borrowed,
    outage: DatabaseStatus,
    started: RequestContext,
}

enum Borrowed {
    Pool(PooledConnection),
    /// The group commits and rolls back itself.
    Group(OwnedMappedMutexGuard<Option<PooledConnection>, PooledConnection>),
}

impl Connections {
    /// A connection for single statements.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn acquire(&self) -> sqlx::Result<Connection> {
        self.lend(false).await
    }

    /// A transaction.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub async fn begin(&self) -> sqlx::Result<Connection> {
        self.lend(true).await
    }

    /// Waits until the request must answer although the outcome of its write is unknown.
    /// Returns `None` for a step of an atomicity group: the group as a whole gives up.
    pub fn give_up_signal(&self) -> Option<impl Future<Output = ()>> {
        match &self.of {
            Of::Pool(pool) => Some(pool.outage().wait_for_give_up(self.started.at)),
            Of::Group(_) => None,
        }
    }

    async fn lend(&self, begins: bool) -> sqlx::Result<Connection> {
        let (of, outage) = match &self.of {
            Of::Pool(pool) => {
                // In a box: it is large, and would be moved about with every request, also of those that do without.
                let lent = Box::pin(open(pool, self.work, self.started, begins));
                (Borrowed::Pool(lent.await?), pool.outage())
            }
            Of::Group(group) => (group.lend().await?, &group.outage),
        };
        Ok(Connection { of, outage: outage.clone(), started: self.started })
    }
}

/// A connection that `pg_stat_activity` shows under the request's id; the
/// statement that says so also shows that the connection lives.
async fn open(pool: &Pool, work: WorkClass, started: RequestContext, begins: bool) -> sqlx::Result<PooledConnection> {
    let begin = if begins { "; BEGIN" } else { "" };
    let named = format!("SET application_name = 'devicegraph {}'{begin}", started.request_id);
    pool.acquire(work, named, begins).await
}

impl FromRequest for Connections {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let extensions = request.extensions();
        let group = extensions.get::<Group>().cloned().map(Of::Group);
        let of = group.or_else(|| request.app_data::<Data<Pool>>().cloned().map(Of::Pool));
        let (work, started) = (extensions.get().copied(), extensions.get().copied());
        let all = of.zip(work).zip(started).map(|((of, work), started)| Self { of, work, started });
        ready(all.ok_or_else(|| ApiError::internal(anyhow!("the route does not work on the database"))))
    }
}

impl Group {
    /// Begins the transaction.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub async fn begin(pool: &Pool, started: RequestContext) -> sqlx::Result<Self> {
        let lent = open(pool, WorkClass::Write, started, true).await?;
        Ok(Self { running: Arc::new(Mutex::new(Some(lent))), outage: pool.outage().clone(), started })
    }

    async fn lend(&self) -> sqlx::Result<Borrowed> {
        let lent = OwnedMutexGuard::try_map(self.running.clone().lock_owned().await, Option::as_mut);
        lent.map(Borrowed::Group).map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Commits what the steps did.
    ///
    /// # Errors
    /// When the commit failed. 500 when its outcome is unknown; the message names `resource`,
    /// which a client can read to find out.
    pub async fn commit(self, resource: impl fmt::Display) -> Result<(), ApiError> {
        match self.running.lock().await.take() {
            Some(lent) => {
                let of = Borrowed::Pool(lent);
                Connection { of, outage: self.outage, started: self.started }.commit(resource).await
            }
            None => Ok(()),
        }
    }

    /// Takes back what the steps did.
    pub async fn roll_back(self) {
        drop(self.running.lock().await.take());
    }
}

impl Connection {
    /// Carries out a statement that commits by itself where there is no
    /// transaction.
    ///
    /// # Errors
    /// Those of the statement. 500 when its outcome is unknown; the message names `resource`,
    /// which a client can read to find out.
    pub async fn execute_write<T>(
        &mut self,
        resource: impl fmt::Display,
        statement: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, ApiError> {
        match &mut self.of {
            Borrowed::Pool(lent) if !lent.is_open => {
                let given_up = self.outage.wait_for_give_up(self.started.at);
                tokio::select! {
                    biased;
                    done = statement(lent) => done.map_err(|error| ApiError::from_commit(error, resource)),
                    () = given_up => Err(ApiError::outcome_unknown(resource)),
                }
            }
            _ => Ok(statement(self).await?),
        }
    }

    /// Commits a transaction; for a step of a group, its group does.
    ///
    /// # Errors
    /// When the commit failed. 500 when its outcome is unknown; the message names `resource`,
    /// which a client can read to find out.
    pub async fn commit(mut self, resource: impl fmt::Display) -> Result<(), ApiError> {
        match &mut self.of {
            Borrowed::Pool(lent) if lent.is_open => {
                lent.is_open = false;
                self.execute_write(resource, async |connection| connection.execute("COMMIT").await).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Carries out a statement in a transaction; when it says `false` or fails it
    /// has not been.
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
        match &self.of {
            Borrowed::Pool(lent) => lent,
            Borrowed::Group(lent) => lent,
        }
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.of {
            Borrowed::Pool(lent) => lent,
            Borrowed::Group(lent) => lent,
        }
    }
}
