//! A create of an assignment, combined with other creates.
//!
//! A small write costs little more than its commit. So the next statement inserts all creates
//! that arrive while one statement commits. Each create is answered after the commit of its
//! row.
//!
//! The combined statement leaves out a create whose configuration is missing or locked, or
//! whose id or target is taken. That create runs its own statement, which finds the reason: see
//! [`coalescing`](crate::database::coalescing).

use std::{collections::HashSet, future::pending};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId, NewAssignment},
    sql,
};
use crate::{
    auth::Caller,
    catalogue::version::Version,
    database::{
        coalescing::{CoalescedRequest, Coalescer, Outcome, QueuedRequest},
        connections::{Connection, Connections},
    },
    error::ApiError,
    resources::parent::{self, ConfigurationId},
};

/// A create request.
pub struct Create<'a> {
    configuration: ConfigurationId,
    id: AssignmentId,
    new: &'a NewAssignment,
    row: Assignment,
    target_key: Option<String>,
    caller: &'a Caller,
    version: Version,
}

/// Retries of a create whose insert found a conflict that was gone when it looked for the
/// conflicting row.
const TRIES: u8 = 10;

impl<'a> Create<'a> {
    /// Makes a create with the client's id, or else with a new id.
    pub fn new(new: &'a NewAssignment, configuration: ConfigurationId, caller: &'a Caller, version: Version) -> Self {
        let id = AssignmentId(new.id.unwrap_or_else(Uuid::now_v7));
        let (row, target_key) = (new.row(configuration, id), new.target.key());
        Self { configuration, id, new, row, target_key, caller, version }
    }

    /// Inserts the row together with other creates, or separately. Returns the stored row.
    ///
    /// # Errors
    /// Those of [`Create::insert`].
    pub async fn execute(self, connections: &Connections, writer: &Writer) -> Result<Assignment, ApiError> {
        let (row, target_key) = (self.row.clone(), self.target_key.clone());
        let new = PendingInsert { row, target_key, actor: self.caller.id().map(str::to_owned) };
        match writer.execute(new, connections).await? {
            Outcome::Answered(()) => Ok(self.row),
            Outcome::RunSeparately => self.insert(&mut connections.acquire().await?).await,
            Outcome::Unknown => self.insert_again(connections).await,
        }
    }

    /// Repeats an insert whose outcome is unknown. The id is the same, so the insert finds the
    /// row or writes it.
    async fn insert_again(&self, connections: &Connections) -> Result<Assignment, ApiError> {
        let unknown = || ApiError::outcome_unknown(self.id.path(self.configuration));
        let again = async { self.insert(&mut connections.acquire().await?).await };
        let give_up = async {
            match connections.give_up_signal() {
                Some(give_up) => give_up.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            done = again => done.map_err(|error| if error.is_of_client() { error } else { unknown() }),
            () = give_up => Err(unknown()),
        }
    }

    /// Inserts the row on this connection. Returns the stored row.
    ///
    /// # Errors
    /// 404 when the configuration does not exist. 409 when the id or the target is taken.
    pub async fn insert(&self, connection: &mut Connection) -> Result<Assignment, ApiError> {
        let Self { configuration, id, new, row, .. } = self;
        for _ in 0..TRIES {
            let insert = async |connection: &mut PgConnection| sql::insert(connection, row, self.caller.id()).await;
            if let Some(stored) = connection.execute_write(id.path(*configuration), insert).await? {
                return Ok(stored);
            }
            parent::check(connection, *configuration).await?;
            match sql::find_anywhere(connection, *id).await? {
                Some(stored) if stored.reads_same_as(row, self.version) => return Ok(stored),
                // The service generated this id, so the row is our own insert, and another request has
                // changed it since.
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
            "the id or target of assignment {id} was taken and free again {TRIES} times"
        )))
    }

    /// Returns the row that this create has stored already.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_existing(&self, connection: &mut PgConnection) -> Result<Option<Assignment>, ApiError> {
        if self.new.id.is_none() {
            return Ok(None);
        }
        let stored = sql::find(connection, self.configuration, self.id).await?;
        Ok(stored.filter(|stored| stored.reads_same_as(&self.row, self.version)))
    }
}

/// Queues the creates of handlers.
pub type Writer = Coalescer<PendingInsert>;

/// A row that waits for its insert.
pub struct PendingInsert {
    /// The row to insert.
    pub row: Assignment,
    /// The key of its target, which is unique in a configuration. The base target has none.
    pub target_key: Option<String>,
    /// The id of the caller, which becomes the author of the row.
    pub actor: Option<String>,
}

impl CoalescedRequest for PendingInsert {
    type Answer = ();
    const NAME: &'static str = "creates";
    /// As many as the default of `server.max_connections`.
    const MAX_SIZE: usize = 1024;

    /// Leaves out requests that repeat an id or a target, so that each returned row belongs to
    /// one request. Sorts the rows, which prevents deadlocks between two services.
    fn deduplicate_and_sort(queued: Vec<QueuedRequest<Self>>) -> Vec<QueuedRequest<Self>> {
        let (mut ids, mut targets) = (HashSet::new(), HashSet::new());
        let mut sorted: Vec<QueuedRequest<Self>> = Vec::with_capacity(queued.len());
        for candidate in queued {
            let new = &candidate.request;
            let target = new.target_key.as_ref().map(|key| (new.row.device_configuration_id, key.clone()));
            if ids.contains(&new.row.id) || target.as_ref().is_some_and(|target| targets.contains(target)) {
                candidate.reply(Outcome::RunSeparately);
                continue;
            }
            ids.insert(new.row.id);
            targets.extend(target);
            sorted.push(candidate);
        }
        sorted.sort_unstable_by(|one, other| one.request.sort_key().cmp(&other.request.sort_key()));
        sorted
    }

    /// Returns the configuration: `assign` locks all targets of a configuration.
    fn parent(&self) -> Uuid {
        self.row.device_configuration_id
    }

    async fn execute(connection: &mut PgConnection, requests: &[&Self]) -> sqlx::Result<Vec<Option<()>>> {
        let rows: Vec<_> = requests.iter().map(|new| &new.row).collect();
        let actors: Vec<_> = requests.iter().map(|new| new.actor.as_deref()).collect();
        let written: HashSet<_> = sql::insert_many(connection, &rows, &actors).await?.into_iter().collect();
        Ok(requests.iter().map(|new| written.contains(&new.row.id).then_some(())).collect())
    }
}

impl PendingInsert {
    fn sort_key(&self) -> (Uuid, Option<&str>, Uuid) {
        (self.row.device_configuration_id, self.target_key.as_deref(), self.row.id)
    }
}
