//! Statements for many requests at once.

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::column;
use crate::resources::assignments::model::Assignment;

/// Inserts the rows in whose way nothing is, each in the name of its `by`; their ids.
///
/// Left out are those of a configuration that is not there or that somebody
/// holds, and those whose place, by id or by target, is taken. They lock and are
/// inserted in the order in which they are given.
pub async fn insert_group(
    connection: &mut PgConnection,
    rows: &[&Assignment],
    by: &[Option<&str>],
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
        by as &[Option<&str>],
    )
    .fetch_all(connection)
    .await
}

/// The assignments of these ids, each at the place of its id.
pub async fn find_group(connection: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Option<Assignment>>> {
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
    /// The oldest id first.
    pub rows: Vec<Assignment>,
    /// What they say together; nothing where there are none.
    pub digest: Option<String>,
}

/// The assignments of these configurations, each at the place of its
/// configuration; none where that is not there, or has more than its `most`.
pub async fn find_sets(
    connection: &mut PgConnection,
    configurations: &[Uuid],
    most: &[i64],
) -> sqlx::Result<Vec<Option<Set>>> {
    // The digest once for each set and not for each row, and none of a set that is too large.
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
        most,
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
