//! What the routes of an assignment do.

use actix_web::HttpResponse;
use sqlx::{Acquire, PgConnection};
use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId, AssignmentPatch, AssignmentSet, NewAssignment, TYPE},
    sql,
    target::Target,
};
use crate::{
    auth::Caller,
    configurations::{self, model::ConfigurationId},
    database::connections::Connections,
    error::ApiError,
    odata::{
        body::Body,
        links::{Collection, Links, Version},
        options::Options,
        paging::{Paging, TEXT_PLAIN},
        prefer::Preferences,
        query::{Query, Within},
    },
};

/// `GET …/deviceConfigurations/{id}/assignments`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-list>
pub async fn list(
    connections: Connections,
    links: Links,
    configuration: ConfigurationId,
    paging: Paging,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::parse(options, &sql::TABLE, &of(configuration), links.version)?;
    query.limit(&paging);
    let within = of(configuration);
    let mut connection = connections.acquire().await?;
    let mut found = sql::select(&mut connection, &query, &within).await?;
    if found.is_empty() {
        configurations::handlers::check(&mut connection, configuration).await?;
    }
    let counted = found.first().and_then(|found| found.total);
    let count = query.count_rows(&mut connection, &within, counted).await?;
    let last = query.cut(&mut found).map(|last| &last.position);
    let next = last.map(|last| format!("{}?{}", links.to(set_path(configuration)), query.next(&within, last)));
    let selected = query.fragment();
    let context =
        links.context(format_args!("deviceManagement/deviceConfigurations('{configuration}')/assignments{selected}"));
    let value = found.iter().map(|found| found.assignment.selected(links.version, query.select.as_ref())).collect();
    Ok(paging.answer(Collection { context, count, next, value }))
}

/// `GET …/assignments/$count`
pub async fn count(
    connections: Connections,
    links: Links,
    configuration: ConfigurationId,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(options, &sql::TABLE, &of(configuration), links.version)?;
    let mut connection = connections.acquire().await?;
    let count = query.total(&mut connection, &of(configuration)).await?;
    if count == 0 {
        configurations::handlers::check(&mut connection, configuration).await?;
    }
    Ok(HttpResponse::Ok().content_type(TEXT_PLAIN).body(count.to_string()))
}

/// The assignments of one configuration.
pub fn of(configuration: ConfigurationId) -> Within<'static> {
    Within { parent: Some(("a.device_configuration_id", configuration.0)), ..Within::all() }
}

/// `POST …/deviceConfigurations/{id}/assignments` and `POST …/assignments/$ref`
///
/// With an id of its own a client may send the same create again: it is
/// answered with the row that the first one stored.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-create>
///
/// # Errors
/// 409 when the id belongs to another assignment, or the configuration is
/// assigned to the target already.
pub async fn create(
    connections: Connections,
    caller: Caller,
    links: Links,
    configuration: ConfigurationId,
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let new = NewAssignment::parse(body.members(TYPE))?;
    let stored = insert(&mut *connections.acquire().await?, configuration, &new, &caller, links.version).await?;
    let location = links.to(path(configuration, AssignmentId(stored.id)));
    Ok(preferences.created(location, stored.shown(links.version)))
}

/// How often a create is tried whose place was taken, and free again when it
/// asked by whom: somebody else creates and deletes the same target all the time.
const TRIES: u8 = 10;

async fn insert(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    new: &NewAssignment,
    caller: &Caller,
    version: Version,
) -> Result<Assignment, ApiError> {
    let id = AssignmentId(new.id.unwrap_or_else(Uuid::now_v7));
    let (row, target_key) = (new.row(configuration, id), new.target.key());
    for _ in 0..TRIES {
        let inserted = sql::insert(connection, &row, caller.id()).await;
        if let Some(stored) = inserted.map_err(|error| ApiError::from_commit(error, path(configuration, id)))? {
            return Ok(stored);
        }
        configurations::handlers::check(connection, configuration).await?;
        match sql::find_anywhere(connection, id).await? {
            Some(stored) if stored.shows_as(&row, version) => return Ok(stored),
            Some(_) => {
                return Err(ApiError::conflict(format!(
                    "Another assignment has the id '{id}'. Send another id, or none."
                )));
            }
            None => {}
        }
        if let Some(other) = sql::find_by_target(connection, configuration, target_key.as_deref()).await? {
            return Err(target_taken(&new.target, other));
        }
    }
    Err(ApiError::unavailable(anyhow::anyhow!("the place of assignment {id} was taken and free again {TRIES} times")))
}

fn target_taken(target: &Target, by: AssignmentId) -> ApiError {
    ApiError::conflict(format!(
        "The configuration is already assigned to {}, included or excluded, by the assignment '{by}'. Change or delete that one.",
        target.description(),
    ))
}

/// `GET …/assignments/{id}`
pub async fn get(
    connections: Connections,
    links: Links,
    configuration: ConfigurationId,
    id: AssignmentId,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(options, &sql::TABLE, &of(configuration), links.version)?;
    let mut connection = connections.acquire().await?;
    match sql::find(&mut connection, configuration, id).await? {
        Some(stored) => Ok(HttpResponse::Ok().json(stored.shown_alone(&links, query.select.as_ref()))),
        None => Err(not_found(&mut connection, configuration, id).await),
    }
}

/// `PATCH …/assignments/{id}`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-update>
///
/// # Errors
/// 409 when the configuration is assigned to the new target already.
pub async fn update(
    connections: Connections,
    caller: Caller,
    links: Links,
    (configuration, id): (ConfigurationId, AssignmentId),
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let patch = AssignmentPatch::parse(body.members(TYPE))?;
    let mut transaction = connections.begin().await?;
    if !configurations::sql::lock(&mut transaction, configuration).await? {
        return Err(ConfigurationId::not_found(configuration));
    }
    let stored = sql::find(&mut transaction, configuration, id).await?;
    let stored = stored.ok_or_else(|| AssignmentId::not_found(id))?;
    let changed = patch.apply(&stored);
    if changed != stored {
        let mut savepoint = transaction.begin().await?;
        if sql::update(&mut savepoint, &changed, caller.id()).await? {
            savepoint.commit().await?;
        } else {
            savepoint.rollback().await?;
            return Err(target_taken_by_whom(&mut transaction, configuration, patch.target).await?);
        }
    }
    transaction.commit().await.map_err(|error| ApiError::from_commit(error, path(configuration, id)))?;
    Ok(preferences.changed(changed.shown_alone(&links, None)))
}

/// The 409 that names who has the target. The configuration is held, so that
/// it is still there.
async fn target_taken_by_whom(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    target: Option<Target>,
) -> Result<ApiError, ApiError> {
    let target = target.unwrap_or(Target::Base);
    let other = sql::find_by_target(connection, configuration, target.key().as_deref()).await?;
    Ok(other.map_or_else(
        || ApiError::unavailable(anyhow::anyhow!("who has the target is gone")),
        |other| target_taken(&target, other),
    ))
}

/// `DELETE …/assignments/{id}`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-delete>
pub async fn delete(
    connections: Connections,
    configuration: ConfigurationId,
    id: AssignmentId,
) -> Result<HttpResponse, ApiError> {
    let mut connection = connections.acquire().await?;
    let deleted = sql::delete(&mut connection, configuration, id).await;
    match deleted.map_err(|error| ApiError::from_commit(error, path(configuration, id)))? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(not_found(&mut connection, configuration, id).await),
    }
}

/// `POST …/deviceConfigurations/{id}/assign` and `…/microsoft.graph.assign`
///
/// Replaces the whole set in one transaction: two calls at once leave one of
/// the two sets, never a mixture.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfiguration-assign>
pub async fn assign(
    connections: Connections,
    caller: Caller,
    links: Links,
    configuration: ConfigurationId,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let set = AssignmentSet::parse(body.members("assign"))?;
    let rows: Vec<Assignment> = set.0.iter().map(|new| new.row(configuration, AssignmentId(Uuid::now_v7()))).collect();
    let keys: Vec<_> = set.0.iter().map(|new| new.target.key()).collect();
    let mut transaction = connections.begin().await?;
    if !configurations::sql::lock(&mut transaction, configuration).await? {
        return Err(ConfigurationId::not_found(configuration));
    }
    let beta = links.version == Version::Beta;
    sql::replace(&mut transaction, configuration, &rows, &keys, beta, caller.id()).await?;
    let stored = sql::list(&mut transaction, configuration).await?;
    transaction.commit().await.map_err(|error| ApiError::from_commit(error, set_path(configuration)))?;
    let context = links.context("Collection(microsoft.graph.deviceConfigurationAssignment)");
    Ok(collection(&stored, &links, context))
}

fn collection(stored: &[Assignment], links: &Links, context: String) -> HttpResponse {
    let value = stored.iter().map(|stored| stored.shown(links.version)).collect();
    HttpResponse::Ok().json(Collection { context, count: None, next: None, value })
}

fn set_path(configuration: ConfigurationId) -> String {
    format!("deviceManagement/deviceConfigurations/{configuration}/assignments")
}

fn path(configuration: ConfigurationId, id: AssignmentId) -> String {
    format!("{}/{id}", set_path(configuration))
}

/// The 404 of a configuration that is not there, else of its assignment.
async fn not_found(connection: &mut PgConnection, configuration: ConfigurationId, id: AssignmentId) -> ApiError {
    configurations::handlers::check(connection, configuration)
        .await
        .err()
        .unwrap_or_else(|| AssignmentId::not_found(id))
}
