//! Configurations, read in groups: see [`groups`](crate::database::coalescing).

use sqlx::PgConnection;

use super::{
    model::{Configuration, ConfigurationId},
    sql,
};
use crate::database::coalescing::{Groups, Member};

/// Reads configurations by their ids.
pub type Reader = Groups<Key>;

/// A configuration that is asked for.
pub struct Key {
    /// Its id.
    pub id: ConfigurationId,
    /// Whether its properties are; without, they are left where they are.
    pub with_properties: bool,
}

impl Member for Key {
    type Answer = Configuration;
    const NAME: &'static str = "configurations";
    /// A configuration can be large, and all of them are held at once.
    const MOST: usize = 64;

    async fn ask(connection: &mut PgConnection, group: &[&Self]) -> sqlx::Result<Vec<Option<Configuration>>> {
        let ids: Vec<_> = group.iter().map(|key| key.id.0).collect();
        let with_properties: Vec<_> = group.iter().map(|key| key.with_properties).collect();
        sql::find_group(connection, &ids, &with_properties).await
    }
}
