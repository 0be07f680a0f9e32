//! Creates, written in groups.
//!
//! What a small write costs is its commit. So the creates that come while one
//! group commits are written as the next, in one statement, and each is answered
//! after the commit that holds it.
//!
//! Where a configuration is not there or held, where a place is taken, a create
//! is left out of what is written, and is to try alone: see [`groups`](crate::database::coalescing).

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{model::Assignment, sql};
use crate::database::coalescing::{Groups, Member, Outcome, Waiting};

/// Where handlers hand in their creates.
pub type Writer = Groups<NewRow>;

/// A row that is to be inserted.
pub struct NewRow {
    /// The row.
    pub row: Assignment,
    /// What its target is told by, where a configuration has it once.
    pub target_key: Option<String>,
    /// In whose name.
    pub by: Option<String>,
}

impl Member for NewRow {
    type Answer = ();
    const NAME: &'static str = "creates";
    /// As many as there may be clients by default.
    const MOST: usize = 1024;

    /// No id and no target twice, so that each row that comes back has one request,
    /// and in one order, so that the groups of two services do not wait for each
    /// other in circles.
    fn arrange(group: Vec<Waiting<Self>>) -> Vec<Waiting<Self>> {
        let (mut ids, mut places) = (HashSet::new(), HashSet::new());
        let mut arranged: Vec<Waiting<Self>> = Vec::with_capacity(group.len());
        for waiting in group {
            let new = &waiting.member;
            let place = new.target_key.as_ref().map(|key| (new.row.device_configuration_id, key.clone()));
            if ids.contains(&new.row.id) || place.as_ref().is_some_and(|place| places.contains(place)) {
                waiting.tell(Outcome::Alone);
                continue;
            }
            ids.insert(new.row.id);
            places.extend(place);
            arranged.push(waiting);
        }
        arranged.sort_unstable_by(|one, other| one.member.order().cmp(&other.member.order()));
        arranged
    }

    /// Its configuration: whoever assigns holds many targets of one.
    fn parent(&self) -> Uuid {
        self.row.device_configuration_id
    }

    async fn ask(connection: &mut PgConnection, group: &[&Self]) -> sqlx::Result<Vec<Option<()>>> {
        let rows: Vec<_> = group.iter().map(|new| &new.row).collect();
        let by: Vec<_> = group.iter().map(|new| new.by.as_deref()).collect();
        let written: HashSet<_> = sql::groups::insert_group(connection, &rows, &by).await?.into_iter().collect();
        Ok(group.iter().map(|new| written.contains(&new.row.id).then_some(())).collect())
    }
}

impl NewRow {
    fn order(&self) -> (Uuid, Option<&str>, Uuid) {
        (self.row.device_configuration_id, self.target_key.as_deref(), self.row.id)
    }
}
