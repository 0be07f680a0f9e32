//! Statements that change or delete assignments.

use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::{TARGET_KEY, column};
use crate::resources::{
    assignments::model::{Assignment, AssignmentId},
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

/// Replaces the assignments of a configuration, which the caller has locked, with `rows`.
///
/// `target_keys` has the target key of each row. An assignment whose target stays keeps its id.
/// The members that `/beta` adds are replaced only when `beta` says that the rows have them.
pub async fn replace(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    rows: &[Assignment],
    target_keys: &[Option<String>],
    beta: bool,
    actor: Option<&str>,
) -> sqlx::Result<()> {
    delete_others(connection, configuration, rows, target_keys).await?;
    if beta {
        update_beta_members(connection, configuration, rows, target_keys, actor).await?;
    }
    insert_missing(connection, configuration, rows, actor).await
}

/// Replaces the assignments like [`replace`], but matches rows by their ids. The rows of
/// `kept`, which have the id and the target of a row, stay, and all others are deleted. The
/// rows have no author, because a seed has no caller.
pub async fn replace_by_id(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    rows: &[Assignment],
    target_keys: &[Option<String>],
    kept: &[Uuid],
) -> sqlx::Result<()> {
    delete_but(connection, configuration, kept).await?;
    update_beta_members(connection, configuration, rows, target_keys, None).await?;
    insert_missing(connection, configuration, rows, None).await
}

async fn delete_others(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    rows: &[Assignment],
    target_keys: &[Option<String>],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM device_configuration_assignments AS a
         WHERE a.device_configuration_id = $1
           AND NOT EXISTS (
               SELECT FROM unnest($2::text[], $3::text[]) AS kept (target_type, target_key)
               WHERE kept.target_type = a.target_type AND kept.target_key = a.target_key)",
        configuration.0,
        &column(rows, |row| row.target_type.as_str()) as &[&str],
        target_keys as &[Option<String>],
    )
    .execute(connection)
    .await
    .map(drop)
}

async fn delete_but(connection: &mut PgConnection, configuration: ConfigurationId, kept: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM device_configuration_assignments WHERE device_configuration_id = $1 AND id <> ALL ($2)",
        configuration.0,
        kept,
    )
    .execute(connection)
    .await
    .map(drop)
}

/// Updates the members that `/beta` adds. The base target has no key, so its row is matched by
/// its id.
async fn update_beta_members(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    rows: &[Assignment],
    target_keys: &[Option<String>],
    actor: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE device_configuration_assignments AS a
         SET filter_id = new.filter_id, filter_type = new.filter_type, intent = new.intent, source = new.source,
             source_id = new.source_id, last_modified_date_time = greatest(clock_timestamp(), least(a.created_date_time, '9999-12-31T23:59:59.999999Z')), last_modified_by = $9,
             created_date_time = least(greatest(a.created_date_time, '0001-01-01T00:00:00Z'), '9999-12-31T23:59:59.999999Z')
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
              AS new (id, target_key, filter_id, filter_type, intent, source, source_id)
         WHERE a.device_configuration_id = $1
           AND coalesce(a.target_key, a.id::text) = coalesce(new.target_key, new.id::text)
           AND (a.filter_id, a.filter_type, a.intent, a.source, a.source_id) IS DISTINCT FROM
               (new.filter_id, new.filter_type, new.intent, new.source, new.source_id)",
        configuration.0,
        &column(rows, |row| row.id),
        target_keys as &[Option<String>],
        &column(rows, |row| row.filter_id.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.filter_type.as_str()) as &[&str],
        &column(rows, |row| row.intent.as_str()) as &[&str],
        &column(rows, |row| row.source.as_str()) as &[&str],
        &column(rows, |row| row.source_id.as_deref()) as &[Option<&str>],
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
    rows: &[Assignment],
    actor: Option<&str>,
) -> sqlx::Result<()> {
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
        &column(rows, |row| row.id),
        &column(rows, |row| row.target_type.as_str()) as &[&str],
        &column(rows, |row| row.group_id.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.collection_id.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.filter_id.as_deref()) as &[Option<&str>],
        &column(rows, |row| row.filter_type.as_str()) as &[&str],
        &column(rows, |row| row.intent.as_str()) as &[&str],
        &column(rows, |row| row.source.as_str()) as &[&str],
        &column(rows, |row| row.source_id.as_deref()) as &[Option<&str>],
        actor,
    )
    .execute(connection)
    .await
    .map(drop)
}
