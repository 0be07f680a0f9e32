//! `devicegraph check`: lists the rows that the API would refuse.

use std::io;

use anyhow::Context;
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    catalogue::{Type, version::Version},
    odata::members::ObjectReader,
    resources::{
        assignments::{
            self,
            model::{self as assignment, NewAssignment},
        },
        configurations::{
            self,
            model::{self as configuration, Configuration, NewConfiguration},
        },
        parent::ConfigurationId,
        statuses::{
            self,
            model::{Status, StatusKind},
        },
    },
};

/// The number of configurations that are read at a time.
const PAGE: i64 = 500;

/// Reads every row in one snapshot and returns their number. Calls `report` with a line
/// for each row that the API would refuse: its table, its id and the reason.
///
/// # Errors
/// When the database does not answer or `report` fails.
pub async fn check(
    pool: &PgPool,
    beta: Version,
    mut report: impl FnMut(String) -> io::Result<()>,
) -> anyhow::Result<u64> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let (mut rows, mut after) = (0, None);
    loop {
        let page = configurations::sql::page(&mut transaction, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = Some(last.id);
        for (table, id, refusal) in refusals(&mut transaction, &page, beta, &mut rows).await? {
            report(format!("{table} {id}: {refusal}")).context("cannot print the report")?;
        }
    }
}

type Refusal = (&'static str, Uuid, String);

async fn refusals(
    connection: &mut PgConnection,
    page: &[Configuration],
    beta: Version,
    rows: &mut u64,
) -> anyhow::Result<Vec<Refusal>> {
    let mut refusals = Vec::new();
    for stored in page {
        *rows += 1;
        refusals.extend(refusal_of(stored, beta).map(|refusal| ("device_configurations", stored.id, refusal)));
        for kind in [StatusKind::Device, StatusKind::User, StatusKind::Setting] {
            for row in statuses::sql::list(connection, kind, ConfigurationId(stored.id)).await? {
                *rows += 1;
                let id = row["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
                refusals.extend(Status::refusal_of(kind, &row).map(|refusal| (kind.table(), id, refusal)));
            }
        }
    }
    let ids: Vec<Uuid> = page.iter().map(|stored| stored.id).collect();
    for id in assignments::sql::with_times_out_of_range(connection, &ids).await? {
        refusals.push((
            "device_configuration_assignments",
            id,
            "created_date_time or last_modified_date_time is outside the years 1 to 9999".to_owned(),
        ));
    }
    for stored in assignments::sql::list_of(connection, &ids).await? {
        *rows += 1;
        let members = object(serde_json::to_value(stored.plain(Version::Beta))?);
        let parsed = NewAssignment::parse(ObjectReader::new(members, String::new(), assignment::TYPE, Version::Beta));
        let refusal = parsed.err().map(|refusal| refusal.to_string());
        refusals.extend(refusal.map(|refusal| ("device_configuration_assignments", stored.id, refusal)));
    }
    Ok(refusals)
}

/// Returns the reason why a create with the values of the row would be refused, or `None`.
fn refusal_of(stored: &Configuration, beta: Version) -> Option<String> {
    if stored.is_unreadable() {
        return Some("it holds a time, a number or a nested value that JSON cannot represent".to_owned());
    }
    if stored.version == i32::MAX {
        return Some(format!("its version is {}, the highest number", stored.version));
    }
    if let Some(name) = configuration::RESERVED.iter().find(|name| stored.properties.contains_key(**name)) {
        return Some(format!("the column properties has a member '{name}', which cannot be a property of a type"));
    }
    if beta != Version::OpenBeta && Type::find(&stored.odata_type).is_none() {
        return Some(format!("the type '{}' is unknown, so its members are not checked", stored.odata_type));
    }
    let mut members = Map::clone(&stored.properties);
    members.insert("@odata.type".to_owned(), format!("#microsoft.graph.{}", stored.odata_type).into());
    members.insert("displayName".to_owned(), stored.display_name.clone().into());
    members.insert("description".to_owned(), stored.description.clone().into());
    let parsed = NewConfiguration::parse(ObjectReader::new(members, String::new(), configuration::TYPE, beta));
    parsed.err().map(|refusal| refusal.to_string())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
