//! Statements that insert assignments: one, or those of many requests.

use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::column;
use crate::resources::assignments::model::Assignment;

/// Inserts an assignment with the author `actor`. Returns the stored row, or `None` when its
/// configuration does not exist, or its id or target is taken.
pub async fn insert(
    connection: &mut PgConnection,
    row: &Assignment,
    actor: Option<&str>,
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
        actor,
    )
    .fetch_optional(connection)
    .await
}

/// Inserts the rows that conflict with nothing, each with its author in `actors`. Returns their
/// ids.
///
/// Leaves out rows of a configuration that does not exist or is locked, and rows whose id
/// or target is taken. Locks and inserts in the given order.
pub async fn insert_many(
    connection: &mut PgConnection,
    rows: &[&Assignment],
    actors: &[Option<&str>],
) -> sqlx::Result<Vec<Uuid>> {
    let rows = || rows.iter().copied();
    sqlx::query_scalar!(
        "INSERT INTO device_configuration_assignments
             (id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
              source, source_id, created_by, last_modified_by)
         SELECT new.id, c.id, new.target_type, new.group_id, new.collection_id, new.filter_id, new.filter_type,
                new.intent, new.source, new.source_id, new.author, new.author
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::text[], $10::text[], $11::text[]) WITH ORDINALITY
              AS new (id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type,
                      intent, source, source_id, author, place)
         JOIN device_configurations AS c ON c.id = new.device_configuration_id
         ORDER BY new.place
         FOR KEY SHARE OF c SKIP LOCKED
         ON CONFLICT DO NOTHING
         RETURNING id",
        &column(rows(), |row| row.id),
        &column(rows(), |row| row.device_configuration_id),
        &column(rows(), |row| row.target_type.as_str()) as &[&str],
        &column(rows(), |row| row.group_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.collection_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.filter_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.filter_type.as_str()) as &[&str],
        &column(rows(), |row| row.intent.as_str()) as &[&str],
        &column(rows(), |row| row.source.as_str()) as &[&str],
        &column(rows(), |row| row.source_id.as_deref()) as &[Option<&str>],
        actors as &[Option<&str>],
    )
    .fetch_all(connection)
    .await
}
