//! The table as queries see it, and the statements that read it.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{FromRow, PgConnection, Row, types::Json};
use uuid::Uuid;

use super::digest::{DIGEST, Digest};
use crate::{
    error::ApiError,
    odata::{
        query::{Query, QueryScope},
        sql::{EntityTable, PropertyColumn},
        token::Position,
    },
    resources::{
        assignments::{
            model::{Assignment, AssignmentId, TYPE},
            target,
        },
        parent::ConfigurationId,
    },
};

/// The table as queries see it.
pub static TABLE: EntityTable = EntityTable {
    alias: "a",
    name: "device_configuration_assignments",
    of: TYPE,
    row: ROW,
    row_without_properties: ROW,
    record: "a.id, a.position, a.target_type, a.group_id, a.collection_id, NULL::text, NULL::text, NULL::text[]",
    beta_record: "a.id, a.position, a.target_type, a.group_id, a.collection_id, a.filter_id, a.filter_type, ARRAY[a.intent, a.source, a.source_id]",
    columns: &[
        ("id", PropertyColumn::Id("%.id")),
        ("target", PropertyColumn::Part(&TARGET)),
        ("intent", PropertyColumn::Text("%.intent")),
        ("source", PropertyColumn::Text("%.source")),
        // The value that an answer shows.
        (
            "sourceId",
            PropertyColumn::Identifier(
                "COALESCE(%.source_id, CASE %.source WHEN 'direct' THEN %.device_configuration_id::text END)",
            ),
        ),
    ],
    properties: None,
    odata_type: None,
    digest: Some(DIGEST),
};

const ROW: &str = "a.id, a.device_configuration_id, a.target_type, a.group_id, a.collection_id, a.filter_id, a.filter_type, a.intent, a.source, a.source_id";

static TARGET: EntityTable = EntityTable {
    of: target::TYPE,
    columns: &[
        ("groupId", PropertyColumn::Identifier("%.group_id")),
        ("collectionId", PropertyColumn::Identifier("%.collection_id")),
        ("deviceAndAppManagementAssignmentFilterId", PropertyColumn::Identifier("%.filter_id")),
        ("deviceAndAppManagementAssignmentFilterType", PropertyColumn::Text("%.filter_type")),
    ],
    odata_type: Some("%.target_type"),
    ..TABLE
};

/// A row of the result of a query.
pub struct QueryRow {
    /// The assignment.
    pub assignment: Assignment,
    /// The position of the row in the sort order.
    pub position: Position,
    /// The number of all rows of the query, when the client asked for it.
    pub total: Option<i64>,
    /// The digest of the set of assignments.
    pub digest: Digest,
}

/// An assignment as a record in the row of its configuration.
pub type ExpandedRow = (
    Uuid,
    Option<Json<Vec<Value>>>,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<Option<String>>>,
);

impl QueryRow {
    /// Converts a record in the row of `configuration`.
    pub fn of(record: ExpandedRow, configuration: ConfigurationId) -> Self {
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
            digest: Digest::default(),
        }
    }
}

/// Returns the scope of a query on the assignments of one configuration.
pub fn scope_of(configuration: ConfigurationId) -> QueryScope<'static> {
    QueryScope { parent: Some(("a.device_configuration_id", configuration.0)), ..QueryScope::all() }
}

/// Returns the rows of a page.
pub async fn select(
    connection: &mut PgConnection,
    query: &Query,
    query_scope: &QueryScope<'_>,
) -> Result<Vec<QueryRow>, ApiError> {
    let rows = query.page_statement(query_scope)?.fetch_all(connection).await.map_err(|error| query.refusal(error))?;
    let found = rows.iter().map(|row| {
        let assignment = Assignment::from_row(row)?;
        let keys: Option<Json<Vec<Value>>> = row.try_get("position")?;
        let position = Position(keys.map(|keys| keys.0).unwrap_or_default(), assignment.id);
        let total = if query.count { Some(row.try_get("total")?) } else { None };
        let digest = if query_scope.parent.is_some() { row.try_get("digest")? } else { None };
        let digest = digest.map(Digest::from_record).unwrap_or_default();
        Ok(QueryRow { assignment, position, total, digest })
    });
    Ok(found.collect::<sqlx::Result<_>>()?)
}

/// Finds an assignment by its id in any configuration.
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

/// Finds the assignment of a configuration with this target key.
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

/// Returns the assignments of a configuration, sorted by id. The result is also empty when the
/// configuration does not exist.
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

/// Finds one assignment of a configuration.
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

/// Returns the assignments of several configurations, sorted by id.
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

/// Returns the ids of the assignments of several configurations that have a time outside of the
/// years 1 to 9999.
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

/// Returns the assignments with these ids, in the order of `ids`.
pub async fn find_many(connection: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Option<Assignment>>> {
    let rows = sqlx::query_as!(
        Assignment,
        "SELECT
             id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
             source, source_id
         FROM device_configuration_assignments
         WHERE id = ANY ($1)",
        ids,
    );
    let rows: HashMap<_, _> = rows.fetch_all(connection).await?.into_iter().map(|row| (row.id, row)).collect();
    Ok(ids.iter().map(|id| rows.get(id).cloned()).collect())
}

/// All assignments of a configuration.
#[derive(Default)]
pub struct Set {
    /// The rows, sorted by id.
    pub rows: Vec<Assignment>,
    /// The digest of the set. An empty set has none.
    pub digest: Option<String>,
}

/// Returns the sets of these configurations, in the order of `configurations`. A set is `None`
/// when its configuration does not exist, or has more rows than its element of `max_sizes`.
pub async fn find_sets(
    connection: &mut PgConnection,
    configurations: &[Uuid],
    max_sizes: &[i64],
) -> sqlx::Result<Vec<Option<Set>>> {
    // Read the digest once for each set and not for each row. Skip it for a set that is too
    // large.
    let rows = sqlx::query!(
        r#"WITH asked AS MATERIALIZED (
               SELECT asked.place, c.id, (
                   SELECT s.digest
                   FROM device_configuration_assignment_sets AS s
                   WHERE s.device_configuration_id = c.id) AS digest
               FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS asked (id, most, place)
               JOIN device_configurations AS c ON c.id = asked.id
               WHERE NOT EXISTS (
                   SELECT FROM device_configuration_assignments AS a
                   WHERE a.device_configuration_id = asked.id
                   OFFSET asked.most))
           SELECT
               asked.place AS "place!", asked.digest, a.id AS "id?", a.device_configuration_id AS "configuration?",
               a.target_type AS "target_type?", a.group_id, a.collection_id, a.filter_id,
               a.filter_type AS "filter_type?", a.intent AS "intent?", a.source AS "source?", a.source_id
           FROM asked
           LEFT JOIN device_configuration_assignments AS a ON a.device_configuration_id = asked.id
           ORDER BY a.id"#,
        configurations,
        max_sizes,
    );
    let mut sets: Vec<Option<Set>> = configurations.iter().map(|_| None).collect();
    for row in rows.fetch_all(connection).await? {
        let place = usize::try_from(row.place - 1).ok();
        let Some(set) = place.and_then(|place| sets.get_mut(place)) else { continue };
        let set = set.get_or_insert_default();
        set.digest = row.digest;
        let assignment = || {
            Some(Assignment {
                id: row.id?,
                device_configuration_id: row.configuration?,
                target_type: row.target_type?,
                group_id: row.group_id,
                collection_id: row.collection_id,
                filter_id: row.filter_id,
                filter_type: row.filter_type?,
                intent: row.intent?,
                source: row.source?,
                source_id: row.source_id,
            })
        };
        set.rows.extend(assignment());
    }
    Ok(sets)
}
