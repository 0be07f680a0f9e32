//! Statements that change or delete assignments.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    columns::{TARGET_KEY, column},
    read::list,
};
use crate::resources::{
    assignments::{
        difference::Difference,
        model::{Assignment, AssignmentId},
    },
    parent::ConfigurationId,
};

/// Writes a changed assignment with the author `actor`. Returns `false` when another assignment
/// of the configuration has the target. The transaction must then be rolled back to a
/// savepoint: see
/// [`Connection::with_savepoint`](crate::database::connections::Connection::with_savepoint).
pub async fn update(connection: &mut PgConnection, changed: &Assignment, actor: Option<&str>) -> sqlx::Result<bool> {
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
        actor,
    );
    match done.execute(connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(TARGET_KEY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes one assignment. Returns `false` when the configuration does not have it.
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

/// Deletes every assignment.
pub async fn delete_all(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM device_configuration_assignments").execute(connection).await.map(drop)
}

/// Replaces the assignments of a configuration, which the caller has locked, with `rows`. Matches
/// rows by their ids: a row of `stored`, which is the current set, stays when a row has its id
/// and its target. The rows have no author, because a seed has no caller. Returns the set that is
/// stored then, sorted by id.
pub async fn replace_by_id(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    stored: &[Assignment],
    rows: &[Assignment],
) -> sqlx::Result<Vec<Assignment>> {
    write(connection, configuration, &Difference::by_id(stored, rows), None).await?;
    list(connection, configuration).await
}

/// Writes a difference of a set whose configuration the caller has locked. No statement has a join: with statistics that are out of date, PostgreSQL
/// could plan a join that compares each row with each other row. So the cost of each statement
/// grows linearly with the set.
pub async fn write(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    difference: &Difference<'_>,
    actor: Option<&str>,
) -> sqlx::Result<()> {
    if !difference.deleted.is_empty() {
        delete_many(connection, configuration, &difference.deleted).await?;
    }
    if !difference.changed.is_empty() {
        update_many(connection, configuration, &difference.changed, actor).await?;
    }
    if !difference.added.is_empty() {
        insert_missing(connection, configuration, &difference.added, actor).await?;
    }
    Ok(())
}

/// Deletes the assignments of a configuration with these ids, which are in ascending order, as
/// `list` returns them.
pub async fn delete_many(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    ids: &[Uuid],
) -> sqlx::Result<()> {
    debug_assert!(ids.is_sorted(), "width_bucket searches in a sorted array");
    sqlx::query!(
        // width_bucket finds the id by a binary search. `= ANY` reads the whole array for each
        // row in a generic plan, and a join can have a plan that does the same.
        "DELETE FROM device_configuration_assignments AS a
         WHERE a.device_configuration_id = $1 AND ($2::uuid[])[width_bucket(a.id, $2::uuid[])] = a.id",
        configuration.0,
        ids,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Updates the rows with the ids of `changed`. A changed row keeps its group or collection.
async fn update_many(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    changed: &[Assignment],
    actor: Option<&str>,
) -> sqlx::Result<()> {
    let rows = || changed.iter();
    sqlx::query!(
        // Each row exists, so none is inserted. ON CONFLICT finds a row by the index of the
        // primary key in every plan. An UPDATE with a join can have a plan that does not.
        "INSERT INTO device_configuration_assignments AS a
             (id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
              source, source_id, created_by, last_modified_by)
         SELECT new.id, $1, new.target_type, new.group_id, new.collection_id, new.filter_id, new.filter_type,
                new.intent, new.source, new.source_id, $11, $11
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                     $10::text[])
              AS new (id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id)
         ON CONFLICT (id) DO UPDATE
         SET target_type = excluded.target_type, filter_id = excluded.filter_id, filter_type = excluded.filter_type, intent = excluded.intent,
             source = excluded.source, source_id = excluded.source_id,
             last_modified_date_time = greatest(clock_timestamp(), least(a.created_date_time, '9999-12-31T23:59:59.999999Z')), last_modified_by = excluded.last_modified_by,
             created_date_time = least(greatest(a.created_date_time, '0001-01-01T00:00:00Z'), '9999-12-31T23:59:59.999999Z')
         WHERE a.device_configuration_id = excluded.device_configuration_id",
        configuration.0,
        &column(rows(), |row| row.id),
        &column(rows(), |row| row.target_type.as_str()) as &[&str],
        &column(rows(), |row| row.group_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.collection_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.filter_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.filter_type.as_str()) as &[&str],
        &column(rows(), |row| row.intent.as_str()) as &[&str],
        &column(rows(), |row| row.source.as_str()) as &[&str],
        &column(rows(), |row| row.source_id.as_deref()) as &[Option<&str>],
        actor,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Inserts the rows whose id and target are free. Leaves out the others. The caller has locked
/// or created the configuration.
pub async fn insert_missing(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    rows: &[&Assignment],
    actor: Option<&str>,
) -> sqlx::Result<()> {
    let rows = || rows.iter().copied();
    sqlx::query!(
        "INSERT INTO device_configuration_assignments
             (id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent,
              source, source_id, created_by, last_modified_by)
         SELECT new.id, $1, new.target_type, new.group_id, new.collection_id, new.filter_id, new.filter_type,
                new.intent, new.source, new.source_id, $11, $11
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                     $10::text[])
              AS new (id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id)
         ON CONFLICT DO NOTHING",
        configuration.0,
        &column(rows(), |row| row.id),
        &column(rows(), |row| row.target_type.as_str()) as &[&str],
        &column(rows(), |row| row.group_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.collection_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.filter_id.as_deref()) as &[Option<&str>],
        &column(rows(), |row| row.filter_type.as_str()) as &[&str],
        &column(rows(), |row| row.intent.as_str()) as &[&str],
        &column(rows(), |row| row.source.as_str()) as &[&str],
        &column(rows(), |row| row.source_id.as_deref()) as &[Option<&str>],
        actor,
    )
    .execute(connection)
    .await
    .map(drop)
}
