//! Every statement on the three tables of statuses.
//!
//! A row goes in and comes out as JSON with a member for each column, and
//! PostgreSQL holds it to the types of the table. A function borrows a
//! connection; whoever opened a transaction commits it.

use serde_json::Value;
use sqlx::PgConnection;

use super::model::{Kind, OverviewKind, StatusId};
use crate::{database::timestamp::Timestamp, resources::configurations::model::ConfigurationId};

/// Inserts a row in the name of `by`; `None` when its configuration is not there
/// or its id is taken.
pub async fn insert(
    connection: &mut PgConnection,
    kind: Kind,
    configuration: ConfigurationId,
    row: &Value,
    by: Option<&str>,
) -> sqlx::Result<Option<Value>> {
    match kind {
        Kind::Device => {
            sqlx::query_scalar!(
                r#"INSERT INTO device_configuration_device_statuses
                       (id, device_configuration_id, status, device_display_name, device_model, platform, user_name, user_principal_name, compliance_grace_period_expiration_date_time, last_reported_date_time,
                        created_by, last_modified_by)
                   SELECT row.id, c.id, row.status, row.device_display_name, row.device_model, row.platform, row.user_name, row.user_principal_name, row.compliance_grace_period_expiration_date_time, row.last_reported_date_time, $3, $3
                   FROM device_configurations AS c, jsonb_populate_record(NULL::device_configuration_device_statuses, $2) AS row
                   WHERE c.id = $1
                   FOR KEY SHARE OF c
                   ON CONFLICT DO NOTHING
                   RETURNING to_jsonb(device_configuration_device_statuses) AS "row!""#,
                configuration.0,
                row,
                by,
            )
            .fetch_optional(connection)
            .await
        }
        Kind::User => {
            sqlx::query_scalar!(
                r#"INSERT INTO device_configuration_user_statuses
                       (id, device_configuration_id, status, user_display_name, user_principal_name, devices_count, last_reported_date_time,
                        created_by, last_modified_by)
                   SELECT row.id, c.id, row.status, row.user_display_name, row.user_principal_name, row.devices_count, row.last_reported_date_time, $3, $3
                   FROM device_configurations AS c, jsonb_populate_record(NULL::device_configuration_user_statuses, $2) AS row
                   WHERE c.id = $1
                   FOR KEY SHARE OF c
                   ON CONFLICT DO NOTHING
                   RETURNING to_jsonb(device_configuration_user_statuses) AS "row!""#,
                configuration.0,
                row,
                by,
            )
            .fetch_optional(connection)
            .await
        }
        Kind::Setting => {
            sqlx::query_scalar!(
                r#"INSERT INTO device_configuration_setting_summaries
                       (id, device_configuration_id, setting_name, instance_path, compliant_device_count, conflict_device_count, error_device_count, non_compliant_device_count, not_applicable_device_count, remediated_device_count, unknown_device_count,
                        created_by, last_modified_by)
                   SELECT row.id, c.id, row.setting_name, row.instance_path, row.compliant_device_count, row.conflict_device_count, row.error_device_count, row.non_compliant_device_count, row.not_applicable_device_count, row.remediated_device_count, row.unknown_device_count, $3, $3
                   FROM device_configurations AS c, jsonb_populate_record(NULL::device_configuration_setting_summaries, $2) AS row
                   WHERE c.id = $1
                   FOR KEY SHARE OF c
                   ON CONFLICT DO NOTHING
                   RETURNING to_jsonb(device_configuration_setting_summaries) AS "row!""#,
                configuration.0,
                row,
                by,
            )
            .fetch_optional(connection)
            .await
        }
    }
}

/// The rows of a configuration, the oldest id first; none also when there is no
/// such configuration.
pub async fn list(
    connection: &mut PgConnection,
    kind: Kind,
    configuration: ConfigurationId,
) -> sqlx::Result<Vec<Value>> {
    match kind {
        Kind::Device => {
            sqlx::query_scalar!(
                r#"SELECT to_jsonb(s) AS "row!" FROM device_configuration_device_statuses AS s
                   WHERE device_configuration_id = $1 ORDER BY id"#,
                configuration.0,
            )
            .fetch_all(connection)
            .await
        }
        Kind::User => {
            sqlx::query_scalar!(
                r#"SELECT to_jsonb(s) AS "row!" FROM device_configuration_user_statuses AS s
                   WHERE device_configuration_id = $1 ORDER BY id"#,
                configuration.0,
            )
            .fetch_all(connection)
            .await
        }
        Kind::Setting => {
            sqlx::query_scalar!(
                r#"SELECT to_jsonb(s) AS "row!" FROM device_configuration_setting_summaries AS s
                   WHERE device_configuration_id = $1 ORDER BY id"#,
                configuration.0,
            )
            .fetch_all(connection)
            .await
        }
    }
}

/// One row of a configuration.
pub async fn find(
    connection: &mut PgConnection,
    kind: Kind,
    configuration: ConfigurationId,
    id: StatusId,
) -> sqlx::Result<Option<Value>> {
    match kind {
        Kind::Device => {
            sqlx::query_scalar!(
                r#"SELECT to_jsonb(s) AS "row!" FROM device_configuration_device_statuses AS s
                   WHERE id = $2 AND device_configuration_id = $1"#,
                configuration.0,
                id.0,
            )
            .fetch_optional(connection)
            .await
        }
        Kind::User => {
            sqlx::query_scalar!(
                r#"SELECT to_jsonb(s) AS "row!" FROM device_configuration_user_statuses AS s
                   WHERE id = $2 AND device_configuration_id = $1"#,
                configuration.0,
                id.0,
            )
            .fetch_optional(connection)
            .await
        }
        Kind::Setting => {
            sqlx::query_scalar!(
                r#"SELECT to_jsonb(s) AS "row!" FROM device_configuration_setting_summaries AS s
                   WHERE id = $2 AND device_configuration_id = $1"#,
                configuration.0,
                id.0,
            )
            .fetch_optional(connection)
            .await
        }
    }
}

/// Writes what a change by `by` left.
pub async fn update(connection: &mut PgConnection, kind: Kind, row: &Value, by: Option<&str>) -> sqlx::Result<()> {
    match kind {
        Kind::Device => {
            sqlx::query!(
                r#"UPDATE device_configuration_device_statuses AS s
                   SET status = row.status, device_display_name = row.device_display_name, device_model = row.device_model, platform = row.platform, user_name = row.user_name, user_principal_name = row.user_principal_name, compliance_grace_period_expiration_date_time = row.compliance_grace_period_expiration_date_time, last_reported_date_time = row.last_reported_date_time,
                       last_modified_by = $2
                   FROM jsonb_populate_record(NULL::device_configuration_device_statuses, $1) AS row
                   WHERE s.id = row.id"#,
                row,
                by,
            )
            .execute(connection)
            .await
            .map(drop)
        }
        Kind::User => {
            sqlx::query!(
                r#"UPDATE device_configuration_user_statuses AS s
                   SET status = row.status, user_display_name = row.user_display_name, user_principal_name = row.user_principal_name, devices_count = row.devices_count, last_reported_date_time = row.last_reported_date_time,
                       last_modified_by = $2
                   FROM jsonb_populate_record(NULL::device_configuration_user_statuses, $1) AS row
                   WHERE s.id = row.id"#,
                row,
                by,
            )
            .execute(connection)
            .await
            .map(drop)
        }
        Kind::Setting => {
            sqlx::query!(
                r#"UPDATE device_configuration_setting_summaries AS s
                   SET setting_name = row.setting_name, instance_path = row.instance_path, compliant_device_count = row.compliant_device_count, conflict_device_count = row.conflict_device_count, error_device_count = row.error_device_count, non_compliant_device_count = row.non_compliant_device_count, not_applicable_device_count = row.not_applicable_device_count, remediated_device_count = row.remediated_device_count, unknown_device_count = row.unknown_device_count,
                       last_modified_by = $2
                   FROM jsonb_populate_record(NULL::device_configuration_setting_summaries, $1) AS row
                   WHERE s.id = row.id"#,
                row,
                by,
            )
            .execute(connection)
            .await
            .map(drop)
        }
    }
}

/// Deletes one row; `false` when the configuration does not have it.
pub async fn delete(
    connection: &mut PgConnection,
    kind: Kind,
    configuration: ConfigurationId,
    id: StatusId,
) -> sqlx::Result<bool> {
    match kind {
        Kind::Device => {
            let done = sqlx::query!(
                "DELETE FROM device_configuration_device_statuses AS s
                 USING (SELECT id FROM device_configurations WHERE id = $1 FOR KEY SHARE) AS c
                 WHERE s.device_configuration_id = c.id AND s.id = $2",
                configuration.0,
                id.0,
            );
            Ok(done.execute(connection).await?.rows_affected() > 0)
        }
        Kind::User => {
            let done = sqlx::query!(
                "DELETE FROM device_configuration_user_statuses AS s
                 USING (SELECT id FROM device_configurations WHERE id = $1 FOR KEY SHARE) AS c
                 WHERE s.device_configuration_id = c.id AND s.id = $2",
                configuration.0,
                id.0,
            );
            Ok(done.execute(connection).await?.rows_affected() > 0)
        }
        Kind::Setting => {
            let done = sqlx::query!(
                "DELETE FROM device_configuration_setting_summaries AS s
                 USING (SELECT id FROM device_configurations WHERE id = $1 FOR KEY SHARE) AS c
                 WHERE s.device_configuration_id = c.id AND s.id = $2",
                configuration.0,
                id.0,
            );
            Ok(done.execute(connection).await?.rows_affected() > 0)
        }
    }
}

/// What the rows of a configuration add up to.
pub struct Overview {
    /// Of the configuration.
    pub version: i32,
    /// The last report, else the last change of the configuration.
    pub last_update_date_time: Timestamp,
    /// Compliant and remediated.
    pub success: i64,
    /// Not compliant.
    pub failed: i64,
    /// In error.
    pub error: i64,
    /// In conflict.
    pub conflict: i64,
    /// Not applicable.
    pub not_applicable: i64,
    /// In no known state yet, or not assigned.
    pub pending: i64,
}

/// Counts the rows of a configuration; `None` when it is not there.
pub async fn overview(
    connection: &mut PgConnection,
    kind: OverviewKind,
    configuration: ConfigurationId,
) -> sqlx::Result<Option<Overview>> {
    match kind {
        OverviewKind::Device => {
            sqlx::query_as!(
                Overview,
                r#"SELECT
                       c.version,
                       coalesce(max(s.last_reported_date_time), c.last_modified_date_time) AS "last_update_date_time!",
                       count(*) FILTER (WHERE s.status IN ('compliant', 'remediated')) AS "success!",
                       count(*) FILTER (WHERE s.status = 'nonCompliant') AS "failed!",
                       count(*) FILTER (WHERE s.status = 'error') AS "error!",
                       count(*) FILTER (WHERE s.status = 'conflict') AS "conflict!",
                       count(*) FILTER (WHERE s.status = 'notApplicable') AS "not_applicable!",
                       count(*) FILTER (WHERE s.status IN ('unknown', 'notAssigned')) AS "pending!"
                   FROM device_configurations AS c
                   LEFT JOIN device_configuration_device_statuses AS s ON s.device_configuration_id = c.id
                   WHERE c.id = $1
                   GROUP BY c.id"#,
                configuration.0,
            )
            .fetch_optional(connection)
            .await
        }
        OverviewKind::User => {
            sqlx::query_as!(
                Overview,
                r#"SELECT
                       c.version,
                       coalesce(max(s.last_reported_date_time), c.last_modified_date_time) AS "last_update_date_time!",
                       count(*) FILTER (WHERE s.status IN ('compliant', 'remediated')) AS "success!",
                       count(*) FILTER (WHERE s.status = 'nonCompliant') AS "failed!",
                       count(*) FILTER (WHERE s.status = 'error') AS "error!",
                       count(*) FILTER (WHERE s.status = 'conflict') AS "conflict!",
                       count(*) FILTER (WHERE s.status = 'notApplicable') AS "not_applicable!",
                       count(*) FILTER (WHERE s.status IN ('unknown', 'notAssigned')) AS "pending!"
                   FROM device_configurations AS c
                   LEFT JOIN device_configuration_user_statuses AS s ON s.device_configuration_id = c.id
                   WHERE c.id = $1
                   GROUP BY c.id"#,
                configuration.0,
            )
            .fetch_optional(connection)
            .await
        }
    }
}
