//! Reads of configurations by id, combined with others: see
//! [`coalescing`](crate::database::coalescing).

use sqlx::PgConnection;

use super::{model::Configuration, sql};
use crate::{
    database::coalescing::{CoalescedRequest, Coalescer},
    resources::parent::ConfigurationId,
};

/// Reads configurations by their ids.
pub type ConfigurationLoader = Coalescer<ConfigurationKey>;

/// The key of a requested configuration.
pub struct ConfigurationKey {
    /// The id of the configuration.
    pub id: ConfigurationId,
    /// Whether to read the properties, too.
    pub with_properties: bool,
}

impl CoalescedRequest for ConfigurationKey {
    type Answer = Configuration;
    const NAME: &'static str = "configurations";
    /// A configuration can be large, and all configurations of one statement are in memory at
    /// the same time.
    const MAX_SIZE: usize = 64;

    async fn execute(connection: &mut PgConnection, requests: &[&Self]) -> sqlx::Result<Vec<Option<Configuration>>> {
        let ids: Vec<_> = requests.iter().map(|key| key.id.0).collect();
        let with_properties: Vec<_> = requests.iter().map(|key| key.with_properties).collect();
        sql::find_many(connection, &ids, &with_properties).await
    }
}
