//! Reads of assignments by key, combined with others: see
//! [`coalescing`](crate::database::coalescing).

use sqlx::PgConnection;

use super::{
    model::{Assignment, AssignmentId},
    sql::{self, Set},
};
use crate::{
    database::coalescing::{CoalescedRequest, Coalescer},
    resources::parent::ConfigurationId,
};

/// Reads assignments by their ids.
pub type AssignmentLoader = Coalescer<AssignmentKey>;
/// Reads the assignments of one configuration.
pub type SetLoader = Coalescer<SetKey>;

/// An assignment that is asked for.
pub struct AssignmentKey {
    /// Its configuration.
    pub configuration: ConfigurationId,
    /// Its id.
    pub id: AssignmentId,
}

impl CoalescedRequest for AssignmentKey {
    type Answer = Assignment;
    const NAME: &'static str = "assignments";
    const MAX_SIZE: usize = 256;

    async fn execute(connection: &mut PgConnection, group: &[&Self]) -> sqlx::Result<Vec<Option<Assignment>>> {
        let ids: Vec<_> = group.iter().map(|key| key.id.0).collect();
        let found = sql::find_many(connection, &ids).await?;
        let is_below = |key: &Self, found: &Assignment| found.device_configuration_id == key.configuration.0;
        Ok(group.iter().zip(found).map(|(key, found)| found.filter(|found| is_below(key, found))).collect())
    }
}

/// A configuration whose assignments are asked for.
pub struct SetKey {
    /// The configuration.
    pub configuration: ConfigurationId,
    /// Rows of a page. A larger set is read by its own statement, so that other requests do not
    /// wait for it.
    pub size: u32,
}

impl CoalescedRequest for SetKey {
    type Answer = Set;
    const NAME: &'static str = "assignment sets";
    /// A page can be long, and all of them are held at once.
    const MAX_SIZE: usize = 16;

    async fn execute(connection: &mut PgConnection, group: &[&Self]) -> sqlx::Result<Vec<Option<Set>>> {
        let configurations: Vec<_> = group.iter().map(|of| of.configuration.0).collect();
        let most: Vec<_> = group.iter().map(|of| i64::from(of.size)).collect();
        sql::find_sets(connection, &configurations, &most).await
    }
}
