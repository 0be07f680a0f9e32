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

/// A configuration that is asked for.
pub struct ConfigurationKey {
    /// Its id.
    pub id: ConfigurationId,
    /// Whether its properties are; without, they are left where they are.
    pub with_properties: bool,
}

impl CoalescedRequest for ConfigurationKey {
    type Answer = Configuration;
    const NAME: &'static str = "configurations";
    /// A configuration can be large, and all of them are held at once.
    const MAX_SIZE: usize = 64;

    async fn execute(connection: &mut PgConnection, requests: &[&Self]) -> sqlx::Result<Vec<Option<Configuration>>> {
        let ids: Vec<_> = requests.iter().map(|key| key.id.0).collect();
        let with_properties: Vec<_> = requests.iter().map(|key| key.with_properties).collect();
        sql::find_many(connection, &ids, &with_properties).await
    }
}
