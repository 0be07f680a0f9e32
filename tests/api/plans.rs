//! The plans of PostgreSQL: a filter on an indexed column, and a page in the order of an index,
//! read this index.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use devicegraph::{
    catalogue::version::Version,
    odata::{
        options::Options,
        query::{Query, QueryScope},
        sql::EntityTable,
        token::Position,
    },
    resources::{assignments, configurations, parent},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, Row};
use uuid::Uuid;

use crate::{
    filter::encoded,
    harness::{App, is_remote},
};

const NAME: &str = "device_configurations_display_name_idx";
const TYPE: &str = "device_configurations_odata_type_idx";
const CREATED: &str = "device_configurations_created_date_time_idx";
const MODIFIED: &str = "device_configurations_last_modified_date_time_idx";
const KEY: &str = "device_configurations_pkey";
const GROUP: &str = "device_configuration_assignments_group_id_idx";
const PARENT: &str = "device_configuration_assignments_target_key";

fn query(table: &'static EntityTable, query_scope: &QueryScope<'_>, options: &[(&str, &str)]) -> Query {
    let text: Vec<_> = options.iter().map(|(name, value)| format!("${name}={}", encoded(value))).collect();
    let options = Options::parse(&text.join("&")).expect("options");
    Query::parse(options, table, query_scope, Version::V1).expect("a query")
}

async fn plan(app: &App, query: &Query, query_scope: &QueryScope<'_>) -> String {
    let rows = query.plan(query_scope).expect("a statement").fetch_all(app.pool()).await.expect("a plan");
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[actix_web::test]
async fn a_filter_and_an_order_on_an_indexed_column_read_its_index() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    for statement in [
        "INSERT INTO device_configurations (id, odata_type, display_name, description, created_date_time, last_modified_date_time)
         SELECT gen_random_uuid(), CASE WHEN 'name ' || n LIKE 'name 777%' THEN 'macOSCustomConfiguration' ELSE (ARRAY['iosCustomConfiguration', 'windows10CustomConfiguration', 'iosGeneralDeviceConfiguration'])[1 + (n % 300) % 3] END, 'name ' || n, 'd ' || n, time, time
         FROM generate_series(1, 30000) AS n, LATERAL (SELECT now() - n * interval '1 minute' AS time) AS t",
        "INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
         SELECT gen_random_uuid(), id, 'groupAssignmentTarget', 'g ' || substr(display_name, 6) FROM device_configurations",
    ] {
        sqlx::query(statement).execute(app.pool()).await.expect("rows");
    }
    sqlx::raw_sql("VACUUM ANALYZE").execute(app.pool()).await.expect("statistics");
    let id: Uuid =
        sqlx::query_scalar("SELECT id FROM device_configurations LIMIT 1").fetch_one(app.pool()).await.expect("an id");
    let one = id.to_string();
    let all = QueryScope::all();
    for (filter, index) in [
        (format!("id eq '{one}'"), KEY),
        (format!("id in ('{one}','x')"), KEY),
        ("displayName eq 'name 7'".to_owned(), NAME),
        ("displayName in ('name 7','name 8')".to_owned(), NAME),
        ("startswith(displayName,'name 77')".to_owned(), NAME),
        ("displayName gt 'name 9998'".to_owned(), NAME),
        ("displayName ge 'name 77' and displayName lt 'name 78' and description ne 'x'".to_owned(), NAME),
        ("isof('microsoft.graph.macOSCustomConfiguration')".to_owned(), TYPE),
        ("microsoft.graph.macOSCustomConfiguration/payloadName eq 'x'".to_owned(), TYPE),
        ("'name 7' eq displayName".to_owned(), NAME),
        ("'name 9998' lt displayName".to_owned(), NAME),
        ("createdDateTime ge 2100-01-01T00:00:00Z".to_owned(), CREATED),
        ("createdDateTime ge 2100-01-01T00:00:00.1234567Z".to_owned(), CREATED),
        ("2100-01-01T00:00:00.1234567%2B01:00 lt createdDateTime".replace("%2B", "+"), CREATED),
        ("lastModifiedDateTime ge 2100-01-01T00:00:00Z".to_owned(), MODIFIED),
        ("assignments/any(a:a/target/microsoft.graph.groupAssignmentTarget/groupId eq 'g 7')".to_owned(), GROUP),
        ("assignments/any(a:a/target/groupId in ('g 7','g 8'))".to_owned(), GROUP),
        ("Assignments/Any(A:a/TARGET/GroupId eq '7D1F2A34-5B6C-4D7E-8F90-1A2B3C4D5E6F')".to_owned(), GROUP),
        ("DISPLAYNAME eq 'name 7'".to_owned(), NAME),
        ("isof('Microsoft.Graph.MacOSCustomConfiguration')".to_owned(), TYPE),
    ] {
        let plan = plan(&app, &query(&configurations::sql::TABLE, &all, &[("filter", &filter)]), &all).await;
        assert!(plan.contains(index), "{filter}\n{plan}");
        assert!(!plan.contains("Seq Scan"), "{filter}\n{plan}");
    }
    // The next page starts with a condition on the index and needs no sort.
    for (order, keys, index) in [
        ("id", vec![json!(one)], KEY),
        ("displayName", vec![json!(STANDARD.encode("name 5"))], NAME),
        ("displayName desc", vec![json!(STANDARD.encode("name 5"))], NAME),
        ("createdDateTime", vec![json!("2026-01-01T00:00:00+00:00")], CREATED),
        ("lastModifiedDateTime desc", vec![json!("2026-01-01T00:00:00+00:00")], MODIFIED),
    ] {
        let first = query(&configurations::sql::TABLE, &all, &[("orderby", order), ("top", "10")]);
        let token = first.next(&all, &Position(keys, id));
        let token = token.split("$skiptoken=").nth(1).expect("a token").to_owned();
        let next =
            query(&configurations::sql::TABLE, &all, &[("orderby", order), ("top", "10"), ("skiptoken", &token)]);
        for (query, condition) in [(first, ""), (next, "Index Cond: ")] {
            let plan = plan(&app, &query, &all).await;
            assert!(plan.contains(index) && plan.contains(condition), "{order}\n{plan}");
            assert!(!plan.contains("Sort"), "{order}\n{plan}");
        }
    }
    // A query with a type in its path reads an index, too.
    let casts = ["microsoft.graph.iosCustomConfiguration".to_owned()];
    let cast = QueryScope { casts: &casts, ..QueryScope::all() };
    for (options, index) in [
        ([("filter", "startswith(displayName,'name 77')"), ("top", "10")], NAME),
        ([("orderby", "displayName"), ("top", "10")], NAME),
        ([("orderby", "createdDateTime desc"), ("top", "10")], CREATED),
    ] {
        let plan = plan(&app, &query(&configurations::sql::TABLE, &cast, &options), &cast).await;
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{options:?}\n{plan}");
    }
    // `$expand` stays one statement. It reads the assignments of the page's rows through an index.
    let expanded = query(
        &configurations::sql::TABLE,
        &all,
        &[("expand", "assignments"), ("top", "10"), ("orderby", "displayName")],
    );
    let plan_of_expanded = plan(&app, &expanded, &all).await;
    assert!(plan_of_expanded.contains(PARENT) && !plan_of_expanded.contains("Seq Scan"), "{plan_of_expanded}");
    let query_scope = assignments::sql::scope_of(parent::ConfigurationId(id));
    let plan_of_list = plan(&app, &query(&assignments::sql::TABLE, &query_scope, &[]), &query_scope).await;
    assert!(plan_of_list.contains(PARENT), "{plan_of_list}");
}

/// Returns the statements that write a whole set: the text of each, and the number of its
/// parameters. They come from the folder against which the build checks them.
fn statements_on_sets() -> Vec<(String, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").path());
    let statements = files.map(|file| {
        let file: Value = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
        let parameters = file["describe"]["parameters"]["Left"].as_array().map(Vec::len).unwrap_or_default();
        (file["query"].as_str().expect("a statement").to_owned(), parameters)
    });
    let is_of_a_set = |text: &str| {
        let writes =
            ["INSERT INTO", "UPDATE", "DELETE FROM"].map(|verb| format!("{verb} device_configuration_assignments"));
        // Leave out the creates: a create has one row, and a combined statement has few.
        writes.iter().any(|start| text.starts_with(start)) && text.contains("[]") && !text.contains("SKIP LOCKED")
    };
    statements.filter(|(text, _)| is_of_a_set(text)).collect()
}

#[actix_web::test]
async fn no_statistics_make_the_cost_of_a_set_quadratic() {
    if is_remote() {
        return;
    }
    let app = App::start().await;
    let statements = statements_on_sets();
    assert_eq!(statements.len(), 3, "delete, change and insert: {statements:#?}");
    let mut connection = app.pool().acquire().await.expect("a connection");
    for before in ["SELECT", "VACUUM ANALYZE device_configuration_assignments"] {
        connection.execute(before).await.expect("statistics");
        for mode in ["force_generic_plan", "force_custom_plan"] {
            for (text, parameters) in &statements {
                let nulls = vec!["NULL"; *parameters].join(", ");
                let explain = format!(
                    "SET plan_cache_mode = {mode}; PREPARE checked AS {text}; EXPLAIN EXECUTE checked({nulls})"
                );
                let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.expect("a plan");
                let plan = rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
                // A join, and a search in an unsorted array, can compare each row with each other row.
                for quadratic in ["Nested Loop", "Join", "ANY (", "ALL (", "SubPlan"] {
                    assert!(!plan.contains(quadratic), "{mode}, {quadratic}: {text}\n{plan}");
                }
                connection.execute("DEALLOCATE checked").await.expect("it was prepared");
            }
        }
    }
}
