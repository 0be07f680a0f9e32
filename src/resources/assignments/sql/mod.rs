//! Every statement on `device_configuration_assignments`: here those for one
//! request, in `groups.rs` those for many at once, in `sets.rs` those that make
//! some rows the assignments of a configuration.
//!
//! A function borrows a connection; whoever opened a transaction commits it.
//!
//! Whatever writes holds the configuration before it touches an assignment, so
//! that no two writers wait for each other: a create or a delete holds its key
//! (`FOR KEY SHARE`, many at a time), a change and `assign` hold it alone
//! (`FOR UPDATE`).

use serde_json::Value;
use sqlx::{FromRow, PgConnection, Row, types::Json};
use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId, TYPE},
    target,
};
use crate::{
    error::ApiError,
    odata::{
        etag::ETag,
        query::{Query, Within},
        sql::{Column, Table},
        token::Position,
    },
    resources::configurations::model::ConfigurationId,
};

pub mod groups;
pub mod sets;

/// The table as queries see it.
pub static TABLE: Table = Table {
    alias: "a",
    name: "device_configuration_assignments",
    of: TYPE,
    row: ROW,
    row_without_properties: ROW,
    record: "a.id, a.position, a.target_type, a.group_id, a.collection_id, NULL::text, NULL::text, NULL::text[]",
    beta_record: "a.id, a.position, a.target_type, a.group_id, a.collection_id, a.filter_id, a.filter_type, ARRAY[a.intent, a.source, a.source_id]",
    columns: &[
        ("id", Column::Id("%.id")),
        ("target", Column::Part(&TARGET)),
        ("intent", Column::Text("%.intent")),
        ("source", Column::Text("%.source")),
        // As it is shown.
        (
            "sourceId",
            Column::NullableText(
                "COALESCE(%.source_id, CASE %.source WHEN 'direct' THEN %.device_configuration_id::text END)",
            ),
        ),
    ],
    properties: None,
    odata_type: None,
    digest: Some("SELECT s.digest FROM device_configuration_assignment_sets AS s WHERE s.device_configuration_id = %"),
};

const ROW: &str = "a.id, a.device_configuration_id, a.target_type, a.group_id, a.collection_id, a.filter_id, a.filter_type, a.intent, a.source, a.source_id";

static TARGET: Table = Table {
    of: target::TYPE,
    columns: &[
        ("groupId", Column::NullableText("%.group_id")),
        ("collectionId", Column::NullableText("%.collection_id")),
        ("deviceAndAppManagementAssignmentFilterId", Column::NullableText("%.filter_id")),
        ("deviceAndAppManagementAssignmentFilterType", Column::Text("%.filter_type")),
    ],
    odata_type: Some("%.target_type"),
    ..TABLE
};

/// A row of an answer to a query.
pub struct Found {
    /// The assignment.
    pub assignment: Assignment,
    /// Its values of `$orderby`.
    pub position: Position,
    /// How many rows the query has, where that was asked.
    pub total: Option<i64>,
    /// What the assignments of the configuration say together.
    pub digest: Option<String>,
}

/// The same as it comes in the row of its configuration.
pub type Record = (
    Uuid,
    Option<Json<Vec<Value>>>,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<Option<String>>>,
);

impl Found {
    /// What a record of `configuration` says.
    pub fn of(record: Record, configuration: ConfigurationId) -> Self {
        let (id, keys, target_type, group_id, collection_id, filter_id, filter_type, beta) = record;
        let mut beta = beta.into_iter().flatten();
        let mut next = || beta.next().flatten();
        let assignment = Assignment {
            id,
            device_configuration_id: configuration.0,
            target_type,
            group_id,
            collection_id,
            filter_id,
            filter_type: filter_type.unwrap_or_default(),
            intent: next().unwrap_or_default(),
            source: next().unwrap_or_default(),
            source_id: next(),
        };
        Self {
            assignment,
            position: Position(keys.map(|keys| keys.0).unwrap_or_default(), id),
            total: None,
            digest: None,
        }
    }
}

/// The rows of a page.
pub async fn select(connection: &mut PgConnection, query: &Query, within: &Within<'_>) -> Result<Vec<Found>, ApiError> {
    let rows = query.rows(within)?.fetch_all(connection).await.map_err(|error| query.refusal(error))?;
    let found = rows.iter().map(|row| {
        let assignment = Assignment::from_row(row)?;
        let keys: Option<Json<Vec<Value>>> = row.try_get("position")?;
        let position = Position(keys.map(|keys| keys.0).unwrap_or_default(), assignment.id);
        let total = if query.count { Some(row.try_get("total")?) } else { None };
        let digest = if within.parent.is_some() { row.try_get("digest")? } else { None };
        Ok(Found { assignment, position, total, digest })
    });
    Ok(found.collect::<sqlx::Result<_>>()?)
}

/// The constraint that keeps a target to one assignment of a configuration.
const TARGET_KEY: &str = "device_configuration_assignments_target_key";

/// Inserts an assignment in the name of `by`; `None` when its configuration is
/// not there or its place, by id or by target, is taken.
pub async fn insert(
    connection: &mut PgConnection,
    row: &Assignment,
    by: Option<&str>,
) -> sqlx::Result<Option<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"INSERT INTO device_configuration_assignments
               (id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
                source, source_id, created_by, last_modified_by)
           SELECT $1, c.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11
           FROM device_configurations AS c
           WHERE c.id = $2
           FOR KEY SHARE
           ON CONFLICT DO NOTHING
           RETURNING
                id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
                source, source_id"#,
        row.id,
        row.device_configuration_id,
        row.target_type,
        row.group_id,
        row.collection_id,
        row.filter_id,
        row.filter_type,
        row.intent,
        row.source,
        row.source_id,
        by,
    )
    .fetch_optional(connection)
    .await
}

/// The assignment of this id, whatever its configuration.
pub async fn find_anywhere(connection: &mut PgConnection, id: AssignmentId) -> sqlx::Result<Option<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"SELECT
                id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
                source, source_id
           FROM device_configuration_assignments
           WHERE id = $1"#,
        id.0,
    )
    .fetch_optional(connection)
    .await
}

/// The assignment of a configuration to what `target_key` names.
pub async fn find_by_target(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    target_key: Option<&str>,
) -> sqlx::Result<Option<AssignmentId>> {
    let row = sqlx::query!(
        "SELECT id FROM device_configuration_assignments WHERE device_configuration_id = $1 AND target_key = $2",
        configuration.0,
        target_key,
    );
    Ok(row.fetch_optional(connection).await?.map(|row| AssignmentId(row.id)))
}

/// The assignments of a configuration, the oldest id first; none also when
/// there is no such configuration.
pub async fn list(connection: &mut PgConnection, configuration: ConfigurationId) -> sqlx::Result<Vec<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"SELECT
                id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
                source, source_id
           FROM device_configuration_assignments
           WHERE device_configuration_id = $1
           ORDER BY id"#,
        configuration.0,
    )
    .fetch_all(connection)
    .await
}

/// The ETag of the assignments of a configuration together; `None` when there
/// is no such configuration.
pub async fn find_etag(connection: &mut PgConnection, configuration: ConfigurationId) -> sqlx::Result<Option<ETag>> {
    let digest = sqlx::query_scalar!(
        "SELECT (SELECT s.digest FROM device_configuration_assignment_sets AS s WHERE s.device_configuration_id = $1)
         FROM device_configurations
         WHERE id = $1",
        configuration.0,
    );
    Ok(digest.fetch_optional(connection).await?.map(etag))
}

/// The ETag of assignments that say `digest` together; there is none when they
/// are none.
pub fn etag(digest: Option<String>) -> ETag {
    ETag::new(digest.as_deref().unwrap_or("none"))
}

/// One assignment of a configuration.
pub async fn find(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    id: AssignmentId,
) -> sqlx::Result<Option<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"SELECT
                id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
                source, source_id
           FROM device_configuration_assignments
           WHERE id = $2 AND device_configuration_id = $1"#,
        configuration.0,
        id.0,
    )
    .fetch_optional(connection)
    .await
}

/// Writes what a change by `by` left; `false` when the configuration has the target
/// already, and the transaction can then only be rolled back to a savepoint:
/// see [`Connection::attempt`](crate::database::connections::Connection::attempt).
pub async fn update(connection: &mut PgConnection, changed: &Assignment, by: Option<&str>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE device_configuration_assignments
         SET target_type = $2, group_id = $3, collection_id = $4, filter_id = $5, filter_type = $6, intent = $7,
             source = $8, source_id = $9, last_modified_date_time = greatest(clock_timestamp(), least(created_date_time, '9999-12-31T23:59:59.999999Z')), last_modified_by = $10,
             created_date_time = least(greatest(created_date_time, '0001-01-01T00:00:00Z'), '9999-12-31T23:59:59.999999Z')
         WHERE id = $1",
        changed.id,
        changed.target_type,
        changed.group_id,
        changed.collection_id,
        changed.filter_id,
        changed.filter_type,
        changed.intent,
        changed.source,
        changed.source_id,
        by,
    );
    match done.execute(connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(TARGET_KEY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes one assignment; `false` when the configuration does not have it.
pub async fn delete(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    id: AssignmentId,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM device_configuration_assignments AS a
         USING (SELECT id FROM device_configurations WHERE id = $1 FOR KEY SHARE) AS c
         WHERE a.device_configuration_id = c.id AND a.id = $2",
        configuration.0,
        id.0,
    );
    Ok(done.execute(connection).await?.rows_affected() > 0)
}

/// The assignments of several configurations, in the order of their ids.
pub async fn list_of(connection: &mut PgConnection, configurations: &[Uuid]) -> sqlx::Result<Vec<Assignment>> {
    sqlx::query_as!(
        Assignment,
        r#"SELECT
                id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
                source, source_id
           FROM device_configuration_assignments
           WHERE device_configuration_id = ANY ($1)
           ORDER BY id"#,
        configurations,
    )
    .fetch_all(connection)
    .await
}

/// The assignments of several configurations with a time outside of the years 1 to 9999.
pub async fn with_times_out_of_range(
    connection: &mut PgConnection,
    configurations: &[Uuid],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "SELECT id FROM device_configuration_assignments
         WHERE device_configuration_id = ANY ($1)
           AND NOT (least(created_date_time, last_modified_date_time) >= '0001-01-01T00:00:00Z'
                AND greatest(created_date_time, last_modified_date_time) < '10000-01-01T00:00:00Z')
         ORDER BY id",
        configurations,
    )
    .fetch_all(connection)
    .await
}

/// Deletes every assignment.
pub async fn delete_all(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM device_configuration_assignments").execute(connection).await.map(drop)
}

/// One column of some rows, as `unnest` takes it.
fn column<'a, T>(rows: impl IntoIterator<Item = &'a Assignment>, of: impl Fn(&'a Assignment) -> T) -> Vec<T> {
    rows.into_iter().map(of).collect()
}
