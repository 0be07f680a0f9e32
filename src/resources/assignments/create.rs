//! A create: with others where nothing is in its way, and alone where something
//! is, which it then names.

use std::future::pending;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId, NewAssignment},
    sql,
    writer::{NewRow, Writer},
};
use crate::{
    auth::Caller,
    database::{
        coalescing::Outcome,
        connections::{Connection, Connections},
    },
    error::ApiError,
    odata::links::Version,
    resources::configurations::{self, model::ConfigurationId},
};

/// A create on its way.
pub struct Create<'a> {
    configuration: ConfigurationId,
    id: AssignmentId,
    new: &'a NewAssignment,
    row: Assignment,
    target_key: Option<String>,
    caller: &'a Caller,
    version: Version,
}

/// How often a create is tried whose place was taken, and free again when it
/// asked by whom: somebody else creates and deletes the same target all the time.
const TRIES: u8 = 10;

impl<'a> Create<'a> {
    /// With the client's id, else one of the service's.
    pub fn new(new: &'a NewAssignment, configuration: ConfigurationId, caller: &'a Caller, version: Version) -> Self {
        let id = AssignmentId(new.id.unwrap_or_else(Uuid::now_v7));
        let (row, target_key) = (new.row(configuration, id), new.target.key());
        Self { configuration, id, new, row, target_key, caller, version }
    }

    /// With others, if it can be.
    ///
    /// # Errors
    /// Those of [`Create::insert`].
    pub async fn carry_out(self, connections: &Connections, writer: &Writer) -> Result<Assignment, ApiError> {
        let (row, target_key) = (self.row.clone(), self.target_key.clone());
        let new = NewRow { row, target_key, by: self.caller.id().map(str::to_owned) };
        match writer.ask(new, connections).await? {
            Outcome::Done(()) => Ok(self.row),
            Outcome::Alone => self.insert(&mut connections.acquire().await?).await,
            Outcome::Unknown => self.insert_again(connections).await,
        }
    }

    /// With the same id the row is found, or written now. Whatever fails, it may
    /// have been written before.
    async fn insert_again(&self, connections: &Connections) -> Result<Assignment, ApiError> {
        let unknown = || ApiError::outcome_unknown(self.id.path(self.configuration));
        let again = async { self.insert(&mut connections.acquire().await?).await };
        let gives_up = async {
            match connections.gives_up() {
                Some(gives_up) => gives_up.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            done = again => done.map_err(|error| if error.is_of_client() { error } else { unknown() }),
            () = gives_up => Err(unknown()),
        }
    }

    /// On a connection of its own; the row is there afterwards.
    ///
    /// # Errors
    /// 404 without the configuration; 409 when the id or the target is taken.
    pub async fn insert(&self, connection: &mut Connection) -> Result<Assignment, ApiError> {
        let Self { configuration, id, new, row, .. } = self;
        for _ in 0..TRIES {
            let insert = async |connection: &mut PgConnection| sql::insert(connection, row, self.caller.id()).await;
            if let Some(stored) = connection.writing(id.path(*configuration), insert).await? {
                return Ok(stored);
            }
            configurations::handlers::check(connection, *configuration).await?;
            match sql::find_anywhere(connection, *id).await? {
                Some(stored) if stored.shows_as(row, self.version) => return Ok(stored),
                // Nobody else has an id of the service's: it was written, and changed since.
                Some(_) if new.id.is_none() => return Err(ApiError::outcome_unknown(id.path(*configuration))),
                Some(_) => {
                    return Err(ApiError::conflict(format!(
                        "Another assignment has the id '{id}'. Send another id, or none."
                    )));
                }
                None => {}
            }
            let other = sql::find_by_target(connection, *configuration, self.target_key.as_deref()).await?;
            if let Some(other) = other {
                return Err(new.target.taken(other));
            }
        }
        Err(ApiError::unavailable(anyhow::anyhow!(
            "the place of assignment {id} was taken and free again {TRIES} times"
        )))
    }

    /// What this create has made already, when it is sent again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_made(&self, connection: &mut PgConnection) -> Result<Option<Assignment>, ApiError> {
        if self.new.id.is_none() {
            return Ok(None);
        }
        let stored = sql::find(connection, self.configuration, self.id).await?;
        Ok(stored.filter(|stored| stored.shows_as(&self.row, self.version)))
    }
}
