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

/// The key of a requested assignment.
pub struct AssignmentKey {
    /// The configuration of the assignment.
    pub configuration: ConfigurationId,
    /// The id of the assignment.
    pub id: AssignmentId,
}

impl CoalescedRequest for AssignmentKey {
    type Answer = Assignment;
    const NAME: &'static str = "assignments";
    const MAX_SIZE: usize = 256;

    async fn execute(connection: &mut PgConnection, requests: &[&Self]) -> sqlx::Result<Vec<Option<Assignment>>> {
        let ids: Vec<_> = requests.iter().map(|key| key.id.0).collect();
        let found = sql::find_many(connection, &ids).await?;
        let belongs_to = |key: &Self, found: &Assignment| found.device_configuration_id == key.configuration.0;
        Ok(requests.iter().zip(found).map(|(key, found)| found.filter(|found| belongs_to(key, found))).collect())
    }
}

/// The key of a requested set of assignments.
pub struct SetKey {
    /// The configuration.
    pub configuration: ConfigurationId,
    /// The size of a page. A larger set is read by its own statement, so that other requests do
    /// not wait for it.
    pub size: u32,
}

impl CoalescedRequest for SetKey {
    type Answer = Set;
    const NAME: &'static str = "assignment sets";
    /// A page can be long, and all pages of one statement are in memory at the same time.
    const MAX_SIZE: usize = 16;

    async fn execute(connection: &mut PgConnection, requests: &[&Self]) -> sqlx::Result<Vec<Option<Set>>> {
        let configurations: Vec<_> = requests.iter().map(|key| key.configuration.0).collect();
        let max_sizes: Vec<_> = requests.iter().map(|key| i64::from(key.size)).collect();
        sql::find_sets(connection, &configurations, &max_sizes).await
    }
}
