//! Every statement on the three tables of statuses.
//!
//! The service sends and reads a row as JSON with a member for each column. PostgreSQL checks
//! it against the types of the table. A function borrows a connection. Its caller commits the
//! transaction that the caller began.
//!
//! Each statement is written once, with `$table` in the place of the table. The macro
//! `on_table` generates the statement for each table, and the build checks each of them.

use serde_json::Value;
use sqlx::PgConnection;

use super::model::{Overview, OverviewKind, StatusId, StatusKind};
use crate::resources::parent::ConfigurationId;

/// Runs the statement that the macro `$statement` generates for the table of a kind.
macro_rules! on_table {
    ($kind:expr, $statement:ident) => {
        match $kind {
            StatusKind::Device => $statement!("device_configuration_device_statuses"),
            StatusKind::User => $statement!("device_configuration_user_statuses"),
            StatusKind::Setting => $statement!("device_configuration_setting_summaries"),
        }
    };
}

/// Inserts a row with the author `actor`. Returns the stored row, or `None` when its
/// configuration does not exist or its id is taken.
pub async fn insert(
    connection: &mut PgConnection,
    kind: StatusKind,
    configuration: ConfigurationId,
    row: &Value,
    actor: Option<&str>,
) -> sqlx::Result<Option<Value>> {
    macro_rules! statement {
        ($table:tt, $columns:tt, $values:tt) => {
            sqlx::query_scalar!(
                "INSERT INTO "
                    + $table
                    + " (id, device_configuration_id, "
                    + $columns
                    + ", created_by, last_modified_by)
                 SELECT row.id, c.id, "
                    + $values
                    + ", $3, $3
                 FROM device_configurations AS c, jsonb_populate_record(NULL::"
                    + $table
                    + ", $2) AS row
                 WHERE c.id = $1
                 FOR KEY SHARE OF c
                 ON CONFLICT DO NOTHING
                 RETURNING to_jsonb("
                    + $table
                    + ") AS \"row!\"",
                configuration.0,
                row,
                actor,
            )
            .fetch_optional(connection)
            .await
        };
    }
    match kind {
        StatusKind::Device => statement!(
            "device_configuration_device_statuses",
            "status, device_display_name, device_model, platform, user_name, user_principal_name, compliance_grace_period_expiration_date_time, last_reported_date_time",
            "row.status, row.device_display_name, row.device_model, row.platform, row.user_name, row.user_principal_name, row.compliance_grace_period_expiration_date_time, row.last_reported_date_time"
        ),
        StatusKind::User => statement!(
            "device_configuration_user_statuses",
            "status, user_display_name, user_principal_name, devices_count, last_reported_date_time",
            "row.status, row.user_display_name, row.user_principal_name, row.devices_count, row.last_reported_date_time"
        ),
        StatusKind::Setting => statement!(
            "device_configuration_setting_summaries",
            "setting_name, instance_path, compliant_device_count, conflict_device_count, error_device_count, non_compliant_device_count, not_applicable_device_count, remediated_device_count, unknown_device_count",
            "row.setting_name, row.instance_path, row.compliant_device_count, row.conflict_device_count, row.error_device_count, row.non_compliant_device_count, row.not_applicable_device_count, row.remediated_device_count, row.unknown_device_count"
        ),
    }
}

/// Returns the rows of a configuration, sorted by id. The result is also empty when the
/// configuration does not exist.
pub async fn list(
    connection: &mut PgConnection,
    kind: StatusKind,
    configuration: ConfigurationId,
) -> sqlx::Result<Vec<Value>> {
    macro_rules! statement {
        ($table:tt) => {
            sqlx::query_scalar!(
                "SELECT to_jsonb(s) AS \"row!\" FROM "
                    + $table
                    + " AS s
                 WHERE device_configuration_id = $1 ORDER BY id",
                configuration.0,
            )
            .fetch_all(connection)
            .await
        };
    }
    on_table!(kind, statement)
}

/// Finds one row of a configuration.
pub async fn find(
    connection: &mut PgConnection,
    kind: StatusKind,
    configuration: ConfigurationId,
    id: StatusId,
) -> sqlx::Result<Option<Value>> {
    macro_rules! statement {
        ($table:tt) => {
            sqlx::query_scalar!(
                "SELECT to_jsonb(s) AS \"row!\" FROM "
                    + $table
                    + " AS s
                 WHERE id = $2 AND device_configuration_id = $1",
                configuration.0,
                id.0,
            )
            .fetch_optional(connection)
            .await
        };
    }
    on_table!(kind, statement)
}

/// Writes a changed row with the author `actor`.
pub async fn update(
    connection: &mut PgConnection,
    kind: StatusKind,
    row: &Value,
    actor: Option<&str>,
) -> sqlx::Result<()> {
    macro_rules! statement {
        ($table:tt, $columns:tt) => {
            sqlx::query!(
                "UPDATE "
                    + $table
                    + " AS s
                 SET "
                    + $columns
                    + ", last_modified_by = $2
                 FROM jsonb_populate_record(NULL::"
                    + $table
                    + ", $1) AS row
                 WHERE s.id = row.id",
                row,
                actor,
            )
            .execute(connection)
            .await
            .map(drop)
        };
    }
    match kind {
        StatusKind::Device => statement!(
            "device_configuration_device_statuses",
            "status = row.status, device_display_name = row.device_display_name, device_model = row.device_model, platform = row.platform, user_name = row.user_name, user_principal_name = row.user_principal_name, compliance_grace_period_expiration_date_time = row.compliance_grace_period_expiration_date_time, last_reported_date_time = row.last_reported_date_time"
        ),
        StatusKind::User => statement!(
            "device_configuration_user_statuses",
            "status = row.status, user_display_name = row.user_display_name, user_principal_name = row.user_principal_name, devices_count = row.devices_count, last_reported_date_time = row.last_reported_date_time"
        ),
        StatusKind::Setting => statement!(
            "device_configuration_setting_summaries",
            "setting_name = row.setting_name, instance_path = row.instance_path, compliant_device_count = row.compliant_device_count, conflict_device_count = row.conflict_device_count, error_device_count = row.error_device_count, non_compliant_device_count = row.non_compliant_device_count, not_applicable_device_count = row.not_applicable_device_count, remediated_device_count = row.remediated_device_count, unknown_device_count = row.unknown_device_count"
        ),
    }
}

/// Deletes one row. Returns `false` when the configuration does not have it.
pub async fn delete(
    connection: &mut PgConnection,
    kind: StatusKind,
    configuration: ConfigurationId,
    id: StatusId,
) -> sqlx::Result<bool> {
    macro_rules! statement {
        ($table:tt) => {{
            let done = sqlx::query!(
                "DELETE FROM "
                    + $table
                    + " AS s
                 USING (SELECT id FROM device_configurations WHERE id = $1 FOR KEY SHARE) AS c
                 WHERE s.device_configuration_id = c.id AND s.id = $2",
                configuration.0,
                id.0,
            );
            Ok(done.execute(connection).await?.rows_affected() > 0)
        }};
    }
    on_table!(kind, statement)
}

/// Counts the rows of a configuration. Returns `None` when the configuration does not exist.
pub async fn overview(
    connection: &mut PgConnection,
    kind: OverviewKind,
    configuration: ConfigurationId,
) -> sqlx::Result<Option<Overview>> {
    macro_rules! statement {
        ($table:tt) => {
            sqlx::query_as!(
                Overview,
                "SELECT
                     c.version,
                     coalesce(max(s.last_reported_date_time), c.last_modified_date_time) AS \"last_update_date_time!\",
                     count(*) FILTER (WHERE s.status IN ('compliant', 'remediated')) AS \"success!\",
                     count(*) FILTER (WHERE s.status = 'nonCompliant') AS \"failed!\",
                     count(*) FILTER (WHERE s.status = 'error') AS \"error!\",
                     count(*) FILTER (WHERE s.status = 'conflict') AS \"conflict!\",
                     count(*) FILTER (WHERE s.status = 'notApplicable') AS \"not_applicable!\",
                     count(*) FILTER (WHERE s.status IN ('unknown', 'notAssigned')) AS \"pending!\"
                 FROM device_configurations AS c
                 LEFT JOIN " + $table + " AS s ON s.device_configuration_id = c.id
                 WHERE c.id = $1
                 GROUP BY c.id",
                configuration.0,
            )
            .fetch_optional(connection)
            .await
        };
    }
    match kind {
        OverviewKind::Device => statement!("device_configuration_device_statuses"),
        OverviewKind::User => statement!("device_configuration_user_statuses"),
    }
}
