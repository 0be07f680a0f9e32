//! The tables, as a DBA meets them.

use devicegraph::{
    catalogue::version::Version,
    odata::members::ObjectReader,
    resources::{
        assignments::{
            model::{AssignmentId, NewAssignment},
            sql,
        },
        parent::ConfigurationId,
    },
};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool, Row, postgres::PgPoolOptions};

use crate::harness::{App, database, group, is_remote};

const CONFIGURATION: &str = "7e159a72-9a72-4e15-929a-157e729a157e";

async fn pool() -> PgPool {
    let pool = PgPoolOptions::new().connect_with(database(true).await).await.expect("a database");
    let insert = "INSERT INTO device_configurations (id, odata_type, display_name) VALUES ($1::uuid, 'iosCustomConfiguration', 'a')";
    sqlx::query(insert).bind(CONFIGURATION).execute(&pool).await.expect("a configuration");
    pool
}

async fn insert(pool: &PgPool, columns: &str, values: &str) -> Result<(), sqlx::Error> {
    let statement = format!(
        "INSERT INTO device_configuration_assignments (id, device_configuration_id, {columns}) VALUES (gen_random_uuid(), '{CONFIGURATION}', {values})"
    );
    sqlx::query(AssertSqlSafe(statement)).execute(pool).await.map(drop)
}

#[actix_web::test]
async fn the_database_refuses_by_name_what_the_api_refuses() {
    if is_remote() {
        return;
    }
    let pool = pool().await;
    let guid = "7E159A72-9A72-4E15-929A-157E729A157E";
    let long = "a".repeat(257);
    insert(&pool, "target_type, group_id", "'groupAssignmentTarget', 'taken'").await.expect("a plain INSERT is enough");
    for all in ["allDevicesAssignmentTarget", "allLicensedUsersAssignmentTarget"] {
        insert(&pool, "target_type", &format!("'{all}'")).await.expect("the first");
    }
    insert(&pool, "target_type, collection_id", "'configurationManagerCollectionAssignmentTarget', 'taken'")
        .await
        .expect("the first");
    for (columns, values, constraint) in [
        ("target_type", "'x'", "target_type_check"),
        ("target_type", "'#microsoft.graph.allDevicesAssignmentTarget'", "target_type_check"),
        ("target_type", "'groupAssignmentTarget'", "group_target_check"),
        ("target_type", "'exclusionGroupAssignmentTarget'", "group_target_check"),
        ("target_type, group_id", "'allDevicesAssignmentTarget', 'a'", "group_target_check"),
        ("target_type, group_id", "'deviceAndAppManagementAssignmentTarget', 'a'", "group_target_check"),
        ("target_type, group_id", "'groupAssignmentTarget', ''", "group_id_check"),
        ("target_type, group_id", &format!("'groupAssignmentTarget', '{long}'"), "group_id_check"),
        ("target_type, group_id", &format!("'groupAssignmentTarget', '{guid}'"), "group_id_check"),
        ("target_type", "'configurationManagerCollectionAssignmentTarget'", "collection_target_check"),
        ("target_type, group_id, collection_id", "'groupAssignmentTarget', 'a', 'b'", "collection_target_check"),
        ("target_type, collection_id", "'configurationManagerCollectionAssignmentTarget', ''", "collection_id_check"),
        (
            "target_type, collection_id",
            &format!("'configurationManagerCollectionAssignmentTarget', '{long}'"),
            "collection_id_check",
        ),
        (
            "target_type, collection_id",
            &format!("'configurationManagerCollectionAssignmentTarget', '{guid}'"),
            "collection_id_check",
        ),
        ("target_type, filter_id", "'deviceAndAppManagementAssignmentTarget', 'f'", "filter_check"),
        ("target_type, filter_type", "'deviceAndAppManagementAssignmentTarget', 'include'", "filter_check"),
        (
            "target_type, filter_id, filter_type",
            "'deviceAndAppManagementAssignmentTarget', '', 'include'",
            "filter_id_check",
        ),
        (
            "target_type, filter_id, filter_type",
            &format!("'deviceAndAppManagementAssignmentTarget', '{guid}', 'include'"),
            "filter_id_check",
        ),
        (
            "target_type, filter_id, filter_type",
            "'deviceAndAppManagementAssignmentTarget', 'f', 'both'",
            "filter_type_check",
        ),
        ("target_type, intent", "'deviceAndAppManagementAssignmentTarget', 'x'", "intent_check"),
        ("target_type, source", "'deviceAndAppManagementAssignmentTarget', 'x'", "source_check"),
        ("target_type, source_id", "'deviceAndAppManagementAssignmentTarget', ''", "source_id_check"),
        ("target_type", "'allDevicesAssignmentTarget'", "target_key"),
        ("target_type", "'allLicensedUsersAssignmentTarget'", "target_key"),
        ("target_type, group_id", "'groupAssignmentTarget', 'taken'", "target_key"),
        ("target_type, group_id", "'exclusionGroupAssignmentTarget', 'taken'", "target_key"),
        ("target_type, collection_id", "'configurationManagerCollectionAssignmentTarget', 'taken'", "target_key"),
    ] {
        let error = insert(&pool, columns, values).await.expect_err(values);
        let named = error.as_database_error().and_then(|error| error.constraint()).map(str::to_owned);
        assert_eq!(
            named,
            Some(format!("device_configuration_assignments_{constraint}")),
            "{columns} {values}: {error}"
        );
    }
    let orphan = "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type) VALUES (gen_random_uuid(), gen_random_uuid(), 'allDevicesAssignmentTarget')";
    let error = sqlx::query(orphan).execute(&pool).await.expect_err("no such configuration");
    let named = error.as_database_error().and_then(|error| error.constraint());
    assert_eq!(named, Some("device_configuration_assignments_device_configuration_id_fkey"));
    let no_type = "INSERT INTO device_configurations (id, odata_type, display_name) VALUES (gen_random_uuid(), '#microsoft.graph.x', 'a')";
    let error = sqlx::query(no_type).execute(&pool).await.expect_err("no type");
    let named = error.as_database_error().and_then(|error| error.constraint());
    assert_eq!(named, Some("device_configurations_odata_type_check"));
    for (column, value, constraint) in [
        ("odata_type", "'macOSCustomConfiguration'", "keep_odata_type"),
        ("version", "0", "version_check"),
        ("version", "2147483647", "version_limit_check"),
        ("created_date_time", "'infinity'", "created_date_time_check"),
        ("created_date_time", "'0001-12-31T00:00:00Z BC'", "created_date_time_check"),
        ("last_modified_date_time", "'-infinity'", "last_modified_date_time_check"),
        ("last_modified_date_time", "'10000-01-01T00:00:00Z'", "last_modified_date_time_check"),
        ("properties", "'[]'", "properties_check"),
    ] {
        let error = sqlx::query(AssertSqlSafe(format!("UPDATE device_configurations SET {column} = {value}")))
            .execute(&pool)
            .await
            .expect_err(column);
        assert_eq!(
            error.as_database_error().and_then(|error| error.constraint()),
            Some(&*format!("device_configurations_{constraint}"))
        );
    }
    // The base target names nothing, and a configuration may have it twice.
    for _ in 0..2 {
        insert(&pool, "target_type", "'deviceAndAppManagementAssignmentTarget'")
            .await
            .expect("the base target is exempt");
    }
}

#[actix_web::test]
async fn every_table_view_and_column_says_why_it_is_there() {
    if is_remote() {
        return;
    }
    let rows = sqlx::query(
        "SELECT c.relname || coalesce('.' || a.attname, '')
         FROM pg_class AS c
         LEFT JOIN LATERAL (
             SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
             UNION ALL SELECT NULL, 0) AS a ON true
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname <> '_sqlx_migrations'
           AND coalesce(col_description(c.oid, a.attnum), obj_description(c.oid, 'pg_class')) IS NULL",
    );
    let silent: Vec<String> =
        rows.fetch_all(&pool().await).await.expect("the catalogue").iter().map(|row| row.get(0)).collect();
    assert_eq!(silent, [] as [&str; 0]);
}

#[actix_web::test]
async fn the_overview_has_the_columns_that_the_documentation_lists() {
    if is_remote() {
        return;
    }
    let (_, list) = include_str!("../../docs/database.md")
        .split_once("The overview has these columns, in this order: ")
        .expect("the list");
    let list: Vec<_> = list.lines().next().expect("a line").split('`').skip(1).step_by(2).collect();
    let columns = "SELECT column_name::text FROM information_schema.columns
                   WHERE table_name = 'device_configuration_assignment_overview' ORDER BY ordinal_position";
    let columns: Vec<String> = sqlx::query_scalar(columns).fetch_all(&pool().await).await.expect("the view");
    assert_eq!(columns, list);
}

#[actix_web::test]
async fn the_target_key_of_the_table_is_the_one_of_the_code() {
    if is_remote() {
        return;
    }
    let pool = pool().await;
    let targets = [
        json!({"@odata.type": "microsoft.graph.deviceAndAppManagementAssignmentTarget"}),
        json!({"@odata.type": "microsoft.graph.allDevicesAssignmentTarget"}),
        json!({"@odata.type": "microsoft.graph.allLicensedUsersAssignmentTarget"}),
        json!({"@odata.type": "microsoft.graph.groupAssignmentTarget", "groupId": "a'b"}),
        json!({"@odata.type": "microsoft.graph.exclusionGroupAssignmentTarget", "groupId": "allDevices"}),
        json!({"@odata.type": "microsoft.graph.configurationManagerCollectionAssignmentTarget", "collectionId": "a"}),
    ];
    for target in targets {
        let body = json!({ "target": target }).as_object().expect("an object").clone();
        let new = NewAssignment::parse(ObjectReader::new(body, String::new(), "", Version::V1)).expect("valid");
        let row = new.row(ConfigurationId(CONFIGURATION.parse().expect("a GUID")), AssignmentId(uuid::Uuid::new_v4()));
        let mut connection = pool.acquire().await.expect("a connection");
        assert_eq!(sql::insert(&mut connection, &row, None).await.expect("a row").as_ref(), Some(&row));
        let key: Option<String> =
            sqlx::query_scalar("SELECT target_key FROM device_configuration_assignments WHERE id = $1")
                .bind(row.id)
                .fetch_one(&pool)
                .await
                .expect("the row");
        assert_eq!(key, new.target.key());
    }
}

#[actix_web::test]
async fn which_configurations_reach_a_group_is_one_index_scan() {
    if is_remote() {
        return;
    }
    let pool = pool().await;
    let fill = "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
                SELECT gen_random_uuid(), $1::uuid, 'groupAssignmentTarget', 'g' || n FROM generate_series(1, 5000) AS n";
    sqlx::query(fill).bind(CONFIGURATION).execute(&pool).await.expect("rows");
    sqlx::query("VACUUM ANALYZE device_configuration_assignments").execute(&pool).await.expect("statistics");
    let plan = "EXPLAIN SELECT device_configuration_id, target_type FROM device_configuration_assignments WHERE group_id = 'g77'";
    let plan: Vec<String> = sqlx::query_scalar(plan).fetch_all(&pool).await.expect("a plan");
    assert!(plan[0].contains("Index Only Scan using device_configuration_assignments_group_id_idx"), "{plan:?}");
}

#[actix_web::test]
async fn the_overview_shows_what_the_api_stored() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let configuration = app.configuration().await;
    let mut body = group("a");
    body["target"]["@odata.type"] = "#microsoft.graph.exclusionGroupAssignmentTarget".into();
    let id = app.post(&format!("{configuration}/assignments"), &body).await.id();
    let row = sqlx::query("SELECT * FROM device_configuration_assignment_overview WHERE assignment_id = $1::uuid")
        .bind(&id)
        .fetch_one(app.pool())
        .await
        .expect("the row");
    assert_eq!(
        row.get::<uuid::Uuid, _>("device_configuration_id").to_string(),
        configuration.rsplit('/').next().expect("an id")
    );
    assert_eq!(row.get::<String, _>("display_name"), "a test");
    assert_eq!(row.get::<String, _>("odata_type"), "windows10CustomConfiguration");
    assert_eq!(row.get::<String, _>("target_type"), "exclusionGroupAssignmentTarget");
    assert_eq!(row.get::<String, _>("group_id"), "a");
    assert!(row.get::<bool, _>("is_exclusion"));
}
