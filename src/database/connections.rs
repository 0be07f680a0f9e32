//! Where the statements of a request run: on a connection of the pool, or, for
//! a step of an atomicity group, in the transaction of its group.

use std::{
    future::{Ready, ready},
    ops::{Deref, DerefMut},
    sync::Arc,
};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web::Data};
use anyhow::anyhow;
use sqlx::{PgConnection, PgPool, Postgres, Transaction, pool::PoolConnection};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use crate::error::ApiError;

type Running = Transaction<'static, Postgres>;

/// What a handler asks for a connection.
pub enum Connections {
    /// Each statement commits by itself, a transaction when it says so.
    Pool(Data<PgPool>),
    /// Everything commits with the group.
    Group(Group),
}

/// The transaction of an atomicity group, lent to one step after the other.
#[derive(Clone)]
pub struct Group(Arc<Mutex<Option<Running>>>);

/// A connection on loan, in a transaction or not.
pub enum Connection {
    /// Of the pool.
    Single(PoolConnection<Postgres>),
    /// Of the pool, in a transaction that is rolled back unless it is committed.
    Transaction(Running),
    /// Of the group, which commits and rolls back itself.
    Group(OwnedMappedMutexGuard<Option<Running>, Running>),
}

impl Connections {
    /// A connection for single statements.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn acquire(&self) -> sqlx::Result<Connection> {
        match self {
            Self::Pool(pool) => Ok(Connection::Single(pool.acquire().await?)),
            Self::Group(group) => group.lend().await,
        }
    }

    /// A transaction.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub async fn begin(&self) -> sqlx::Result<Connection> {
        match self {
            Self::Pool(pool) => Ok(Connection::Transaction(pool.begin().await?)),
            Self::Group(group) => group.lend().await,
        }
    }
}

impl FromRequest for Connections {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let group = request.extensions().get::<Group>().cloned().map(Self::Group);
        let pool = || request.app_data::<Data<PgPool>>().cloned().map(Self::Pool);
        ready(group.or_else(pool).ok_or_else(|| ApiError::internal(anyhow!("there is no pool"))))
    }
}

impl Group {
    /// Begins the transaction.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub async fn begin(pool: &PgPool) -> sqlx::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Some(pool.begin().await?)))))
    }

    async fn lend(&self) -> sqlx::Result<Connection> {
        let lent = OwnedMutexGuard::try_map(self.0.clone().lock_owned().await, Option::as_mut);
        lent.map(Connection::Group).map_err(|_| sqlx::Error::PoolClosed)
    }

    /// Commits what the steps did.
    ///
    /// # Errors
    /// When it was not committed, or nobody knows.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self.0.lock().await.take() {
            Some(transaction) => transaction.commit().await,
            None => Ok(()),
        }
    }

    /// Takes back what the steps did. When that cannot be said to the database,
    /// the end of the connection says it.
    pub async fn roll_back(self) {
        if let Some(transaction) = self.0.lock().await.take() {
            drop(transaction.rollback().await);
        }
    }
}

impl Connection {
    /// Commits a transaction; for a step of a group, its group does.
    ///
    /// # Errors
    /// When it was not committed, or nobody knows.
    pub async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Transaction(transaction) => transaction.commit().await,
            Self::Single(_) | Self::Group(_) => Ok(()),
        }
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Single(connection) => connection,
            Self::Transaction(transaction) => transaction,
            Self::Group(transaction) => transaction,
        }
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Single(connection) => connection,
            Self::Transaction(transaction) => transaction,
            Self::Group(transaction) => transaction,
        }
    }
}
