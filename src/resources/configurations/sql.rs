//! Every statement on `device_configurations` and `device_configuration_secrets`.
//!
//! A function borrows a connection. Its caller commits the transaction that the caller began.

use std::borrow::Cow;

use serde_json::Value;
use sqlx::{PgConnection, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::{
    model::{Configuration, NewConfiguration, TYPE},
    vault::{Sealed, StoredSecret},
};
use crate::{
    database::json::Object,
    error::ApiError,
    odata::{
        query::{Query, QueryScope},
        sql::{EntityTable, PropertyColumn},
        token::Position,
    },
    resources::{assignments, parent::ConfigurationId},
};

/// The table as queries see it.
pub static TABLE: EntityTable = EntityTable {
    alias: "c",
    name: "device_configurations",
    of: TYPE,
    row: "c.id, c.odata_type, c.display_name, c.description, c.version, c.created_date_time, c.last_modified_date_time, c.properties",
    row_without_properties: "c.id, c.odata_type, c.display_name, c.description, c.version, c.created_date_time, c.last_modified_date_time, '{}'::jsonb AS properties",
    record: "c.id",
    beta_record: "c.id",
    columns: &[
        ("id", PropertyColumn::Id("%.id")),
        ("displayName", PropertyColumn::LongText("%.display_name", "left(%.display_name, 600)")),
        ("description", PropertyColumn::NullableText("%.description")),
        ("version", PropertyColumn::Number("%.version::float8")),
        ("createdDateTime", PropertyColumn::Time("%.created_date_time")),
        ("lastModifiedDateTime", PropertyColumn::Time("%.last_modified_date_time")),
        ("supportsScopeTags", PropertyColumn::True),
        ("assignments", PropertyColumn::Rows(&assignments::sql::TABLE, "%.device_configuration_id = c.id")),
    ],
    properties: Some("%.properties"),
    odata_type: Some("%.odata_type"),
    digest: None,
};

/// A row of the result of a query.
pub struct QueryRow {
    /// The configuration. Members that are not selected may be missing.
    pub configuration: Configuration,
    /// The position of the row in the sort order.
    pub position: Position,
    /// The assignments, when the client expands them.
    pub assignments: Option<Vec<assignments::sql::QueryRow>>,
    /// The number of assignments, when the client asked for it.
    pub assignments_count: Option<i64>,
    /// The number of all rows of the query, when the client asked for it.
    pub total: Option<i64>,
}

impl QueryRow {
    /// Returns the row of a configuration that was read by its id.
    pub fn alone(configuration: Configuration) -> Self {
        let position = Position(Vec::new(), configuration.id);
        Self { configuration, position, assignments: None, assignments_count: None, total: None }
    }
}

/// Returns the rows of a page.
pub async fn select(
    connection: &mut PgConnection,
    query: &Query,
    query_scope: &QueryScope<'_>,
) -> Result<Vec<QueryRow>, ApiError> {
    let rows = query.page_statement(query_scope)?.fetch_all(connection).await.map_err(|error| query.refusal(error))?;
    Ok(rows.iter().map(|row| read_row(row, query)).collect::<sqlx::Result<_>>()?)
}

fn read_row(row: &PgRow, query: &Query) -> sqlx::Result<QueryRow> {
    let configuration = Configuration {
        id: row.try_get("id")?,
        odata_type: row.try_get("odata_type")?,
        display_name: row.try_get("display_name")?,
        description: row.try_get("description")?,
        version: row.try_get("version")?,
        created_date_time: row.try_get("created_date_time")?,
        last_modified_date_time: row.try_get("last_modified_date_time")?,
        properties: row.try_get("properties")?,
    };
    let keys: Option<Json<Vec<Value>>> = row.try_get("position")?;
    let (mut expanded, mut count) = (None, None);
    if let Some(expand) = &query.expand {
        let records: Vec<assignments::sql::ExpandedRow> = row.try_get("expanded")?;
        let parent = ConfigurationId(configuration.id);
        expanded = Some(records.into_iter().map(|record| assignments::sql::QueryRow::of(record, parent)).collect());
        count = if expand.count { Some(row.try_get("expanded_count")?) } else { None };
    }
    let position = Position(keys.map(|keys| keys.0).unwrap_or_default(), configuration.id);
    let total = if query.count { Some(row.try_get("total")?) } else { None };
    Ok(QueryRow { configuration, position, assignments: expanded, assignments_count: count, total })
}

/// Returns the concrete type of a configuration.
pub async fn find_type(connection: &mut PgConnection, id: ConfigurationId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("SELECT odata_type FROM device_configurations WHERE id = $1", id.0)
        .fetch_optional(connection)
        .await
}

/// Inserts a configuration with its secrets and the author `actor`. Returns the stored row, or
/// `None` when its id is taken.
pub async fn insert(
    connection: &mut PgConnection,
    id: ConfigurationId,
    new: &NewConfiguration,
    properties: Cow<'_, Object>,
    secrets: &[Sealed],
    actor: Option<&str>,
) -> sqlx::Result<Option<Configuration>> {
    let (references, ciphertexts) = columns(secrets);
    let statement = sqlx::query_as!(
        Configuration,
        r#"WITH inserted AS (
               INSERT INTO device_configurations
                   (id, odata_type, display_name, description, properties, created_by, last_modified_by)
               VALUES ($1, $2, $3, $4, $5, $6, $6)
               ON CONFLICT ON CONSTRAINT device_configurations_pkey DO NOTHING
               RETURNING *),
           hidden AS (
               INSERT INTO device_configuration_secrets (reference, device_configuration_id, ciphertext)
               SELECT secret.reference, inserted.id, secret.ciphertext
               FROM inserted, unnest($7::text[], $8::bytea[]) AS secret (reference, ciphertext))
           SELECT
                id AS "id!", odata_type AS "odata_type!", display_name AS "display_name!", description,
                version AS "version!", created_date_time AS "created_date_time!",
                last_modified_date_time AS "last_modified_date_time!",
                properties AS "properties!: Object"
           FROM inserted"#,
        id.0,
        new.odata_type,
        new.display_name,
        new.description,
        &*properties as &Object,
        actor,
        &references as &[&str],
        &ciphertexts as &[&[u8]],
    );
    // The statement has the values as text. Free them before the written row needs memory, too.
    drop(properties);
    statement.fetch_optional(connection).await
}

fn columns(secrets: &[Sealed]) -> (Vec<&str>, Vec<&[u8]>) {
    secrets.iter().map(|secret| (secret.reference.as_str(), secret.ciphertext.as_slice())).unzip()
}

/// Returns the secrets with these references, of any configuration.
pub async fn find_secrets(connection: &mut PgConnection, references: &[String]) -> sqlx::Result<Vec<StoredSecret>> {
    sqlx::query_as!(
        StoredSecret,
        "SELECT reference, device_configuration_id, ciphertext FROM device_configuration_secrets
         WHERE reference = ANY ($1)",
        references,
    )
    .fetch_all(connection)
    .await
}

/// Replaces the secrets of a configuration: keeps those of `kept`, deletes the others and
/// inserts `new`.
pub async fn replace_secrets(
    connection: &mut PgConnection,
    id: ConfigurationId,
    kept: &[String],
    new: &[Sealed],
) -> sqlx::Result<()> {
    let (references, ciphertexts) = columns(new);
    sqlx::query!(
        "DELETE FROM device_configuration_secrets WHERE device_configuration_id = $1 AND reference <> ALL ($2)",
        id.0,
        kept,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO device_configuration_secrets (reference, device_configuration_id, ciphertext)
         SELECT secret.reference, $1, secret.ciphertext
         FROM unnest($2::text[], $3::bytea[]) AS secret (reference, ciphertext)",
        id.0,
        &references as &[&str],
        &ciphertexts as &[&[u8]],
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Finds a configuration.
pub async fn find(connection: &mut PgConnection, id: ConfigurationId) -> sqlx::Result<Option<Configuration>> {
    sqlx::query_as!(
        Configuration,
        r#"SELECT
                id, odata_type, display_name, description, version, created_date_time,
                last_modified_date_time, properties
           FROM device_configurations
           WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(connection)
    .await
}

/// The stored size of properties, in bytes, above which a configuration is read by its own
/// statement, so that other requests do not wait for it.
const LARGE: i32 = 16 << 10;

/// Returns the configurations with these ids, in the order of `ids`. Reads the properties where
/// `with_properties` says so. Returns `None` for a configuration that does not exist, or whose
/// properties are too large.
pub async fn find_many(
    connection: &mut PgConnection,
    ids: &[Uuid],
    with_properties: &[bool],
) -> sqlx::Result<Vec<Option<Configuration>>> {
    let rows = sqlx::query!(
        r#"SELECT
                asked.place AS "place!", c.id, c.odata_type, c.display_name, c.description, c.version,
                c.created_date_time, c.last_modified_date_time,
                CASE WHEN asked.with_properties THEN c.properties ELSE '{}' END AS "properties!: Object"
           FROM unnest($1::uuid[], $2::boolean[]) WITH ORDINALITY AS asked (id, with_properties, place)
           JOIN device_configurations AS c
             ON c.id = asked.id AND (NOT asked.with_properties OR pg_column_size(c.properties) <= $3)"#,
        ids,
        with_properties,
        LARGE,
    );
    let mut found: Vec<Option<Configuration>> = ids.iter().map(|_| None).collect();
    for row in rows.fetch_all(connection).await? {
        let place = usize::try_from(row.place - 1).ok();
        if let Some(found) = place.and_then(|place| found.get_mut(place)) {
            *found = Some(Configuration {
                id: row.id,
                odata_type: row.odata_type,
                display_name: row.display_name,
                description: row.description,
                version: row.version,
                created_date_time: row.created_date_time,
                last_modified_date_time: row.last_modified_date_time,
                properties: row.properties,
            });
        }
    }
    Ok(found)
}

/// Finds a configuration and locks it against other changes until the transaction ends.
///
/// Assignments can still be created: a create locks only the key of the configuration.
pub async fn find_for_update(
    connection: &mut PgConnection,
    id: ConfigurationId,
) -> sqlx::Result<Option<Configuration>> {
    sqlx::query_as!(
        Configuration,
        r#"SELECT
                id, odata_type, display_name, description, version, created_date_time,
                last_modified_date_time, properties
           FROM device_configurations
           WHERE id = $1
           FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_optional(connection)
    .await
}

/// Writes a changed configuration with the author `actor`, and raises the version. Returns the
/// stored row.
///
/// The time of the change is taken while the row is locked. It is never earlier than the
/// creation and the previous change, because the clock of another server may be behind. A
/// stored time that a constraint refuses is replaced by the nearest time that the constraint
/// accepts. When the stored properties could not be read completely, only the members that
/// differ from `stored` are written.
pub async fn update(
    connection: &mut PgConnection,
    stored: Configuration,
    mut changed: Configuration,
    actor: Option<&str>,
) -> sqlx::Result<Configuration> {
    let is_partial = stored.properties.is_repaired;
    let removed: Vec<_> =
        stored.properties.keys().filter(|name| !changed.properties.contains_key(*name)).cloned().collect();
    if is_partial {
        changed.properties.retain(|name, value| stored.properties.get(name) != Some(value));
    }
    let statement = sqlx::query_as!(
        Configuration,
        r#"UPDATE device_configurations
           SET display_name = $2, description = $3, version = least(version, 2147483645) + 1,
               created_date_time = least(greatest(created_date_time, '0001-01-01T00:00:00Z'), '9999-12-31T23:59:59.999999Z'),
               properties = CASE WHEN $6::boolean THEN properties - $7::text[] || $4 ELSE $4 END,
               last_modified_date_time = greatest(clock_timestamp(), least(created_date_time, '9999-12-31T23:59:59.999999Z'), CASE
                   WHEN last_modified_date_time BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T00:00:00Z'
                   THEN last_modified_date_time + interval '1 microsecond' END),
               last_modified_by = $5
           WHERE id = $1
           RETURNING
                id, odata_type, display_name, description, version, created_date_time,
                last_modified_date_time, properties"#,
        changed.id,
        changed.display_name,
        changed.description,
        &changed.properties as &Object,
        actor,
        is_partial,
        &removed,
    );
    // The statement has the values as text. Free them before the written row needs memory, too.
    drop((stored, changed));
    statement.fetch_one(connection).await
}

/// Deletes a configuration and its assignments. Returns `false` when the configuration does not
/// exist.
pub async fn delete(connection: &mut PgConnection, id: ConfigurationId) -> sqlx::Result<bool> {
    let done = sqlx::query!("DELETE FROM device_configurations WHERE id = $1", id.0).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

/// Returns up to `limit` configurations after the id `after`, sorted by id.
pub async fn page(connection: &mut PgConnection, after: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<Configuration>> {
    sqlx::query_as!(
        Configuration,
        r#"SELECT
                id, odata_type, display_name, description, version, created_date_time,
                last_modified_date_time, properties
           FROM device_configurations
           WHERE $1::uuid IS NULL OR id > $1
           ORDER BY id
           LIMIT $2"#,
        after,
        limit,
    )
    .fetch_all(connection)
    .await
}

/// Returns the ids of all configurations.
pub async fn ids(connection: &mut PgConnection) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!("SELECT id FROM device_configurations").fetch_all(connection).await
}

/// Returns the id of the store. A backup of the database keeps the id. Every other database has
/// another id.
pub async fn store_id(connection: &mut PgConnection) -> sqlx::Result<Uuid> {
    sqlx::query_scalar!("SELECT id FROM devicegraph_store").fetch_one(connection).await
}

/// Counts the configurations.
pub async fn count(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM device_configurations"#).fetch_one(connection).await
}

/// Deletes every configuration and every assignment. Returns the number of configurations.
pub async fn delete_all(connection: &mut PgConnection) -> sqlx::Result<u64> {
    Ok(sqlx::query!("DELETE FROM device_configurations").execute(connection).await?.rows_affected())
}

/// Locks every configuration until the transaction ends.
pub async fn lock_all(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query_scalar!(
        r#"WITH held AS (SELECT id FROM device_configurations ORDER BY id FOR UPDATE)
           SELECT count(*) FROM held"#,
    )
    .fetch_one(connection)
    .await
    .map(drop)
}

/// Waits until the transaction of another process that seeds the database ends.
pub async fn lock_seeding(connection: &mut PgConnection) -> sqlx::Result<()> {
    let lock = sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('devicegraph seed', 0))");
    lock.fetch_one(connection).await.map(drop)
}
