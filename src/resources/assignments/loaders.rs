//! Assignments, read in groups: see [`groups`](crate::database::coalescing).

use sqlx::PgConnection;

use super::{
    model::{Assignment, AssignmentId},
    sql::groups::{self, Set},
};
use crate::{
    database::coalescing::{Groups, Member},
    resources::configurations::model::ConfigurationId,
};

/// Reads assignments by their ids.
pub type Reader = Groups<Key>;
/// Reads the assignments of one configuration.
pub type SetReader = Groups<SetOf>;

/// An assignment that is asked for.
pub struct Key {
    /// Its configuration.
    pub configuration: ConfigurationId,
    /// Its id.
    pub id: AssignmentId,
}

impl Member for Key {
    type Answer = Assignment;
    const NAME: &'static str = "assignments";
    const MOST: usize = 256;

    async fn ask(connection: &mut PgConnection, group: &[&Self]) -> sqlx::Result<Vec<Option<Assignment>>> {
        let ids: Vec<_> = group.iter().map(|key| key.id.0).collect();
        let found = groups::find_group(connection, &ids).await?;
        let is_below = |key: &Self, found: &Assignment| found.device_configuration_id == key.configuration.0;
        Ok(group.iter().zip(found).map(|(key, found)| found.filter(|found| is_below(key, found))).collect())
    }
}

/// A configuration whose assignments are asked for.
pub struct SetOf {
    /// The configuration.
    pub configuration: ConfigurationId,
    /// How many a page holds. Who has more is asked alone, so that nobody waits for it.
    pub size: u32,
}

impl Member for SetOf {
    type Answer = Set;
    const NAME: &'static str = "assignment sets";
    /// A page can be long, and all of them are held at once.
    const MOST: usize = 16;

    async fn ask(connection: &mut PgConnection, group: &[&Self]) -> sqlx::Result<Vec<Option<Set>>> {
        let configurations: Vec<_> = group.iter().map(|of| of.configuration.0).collect();
        let most: Vec<_> = group.iter().map(|of| i64::from(of.size)).collect();
        groups::find_sets(connection, &configurations, &most).await
    }
}
