//! The handlers of the routes of assignments.

use std::ops::ControlFlow::{self, Break, Continue};

use actix_web::{HttpResponse, web::Data};
use sqlx::PgConnection;

use super::{
    create::{Create, Writer},
    etags::{find_digest, keep_for_later_reads, lock_configuration, set_etag},
    loaders::{AssignmentKey, AssignmentLoader, SetKey, SetLoader},
    model::{Assignment, AssignmentId, AssignmentPatch, NewAssignment, TYPE},
    sql,
    target::Target,
};
use crate::{
    auth::Caller,
    database::connections::Connections,
    error::ApiError,
    odata::{
        body::Body,
        etag::{Conditions, ETag},
        links::{Collection, Links, Reference},
        options::Options,
        paging::{Paging, TEXT_PLAIN},
        prefer::Preferences,
        query::Query,
    },
    resources::parent::{self, ConfigurationId},
};

/// `GET …/deviceConfigurations/{id}/assignments`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-list>
pub async fn list(
    connections: Connections,
    loader: Data<SetLoader>,
    links: Links,
    configuration: ConfigurationId,
    (paging, conditions): (Paging, Conditions),
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::parse(options, &sql::TABLE, &sql::scope_of(configuration), links.version)?;
    query.limit(&paging);
    let path = links.to(set_path(configuration));
    let page = match read_page((&connections, &loader), configuration, &query, path, &conditions).await? {
        Break(unchanged) => return Ok(unchanged),
        Continue(page) => page,
    };
    let path = format_args!("{}/assignments{}", configuration.address(), query.context_fragment());
    let context = links.context(path);
    let value = page.rows.iter().map(|row| row.selected(&links, query.select.as_ref())).collect();
    Ok(page.etag.on(paging.answer(Collection { context, count: page.count, next: page.next, value })))
}

/// `GET …/deviceConfigurations/{id}/assignments/$ref`
///
/// # Errors
/// 404 when there is no such configuration.
pub async fn references(
    connections: Connections,
    loader: Data<SetLoader>,
    links: Links,
    configuration: ConfigurationId,
    (paging, conditions): (Paging, Conditions),
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::parse(options, &sql::TABLE, &sql::scope_of(configuration), links.version)?;
    query.limit(&paging);
    let path = links.to(format_args!("{}/$ref", set_path(configuration)));
    let page = match read_page((&connections, &loader), configuration, &query, path, &conditions).await? {
        Break(unchanged) => return Ok(unchanged),
        Continue(page) => page,
    };
    let context = links.context(Reference::COLLECTION);
    let value = page.rows.iter().map(|row| row.reference(&links)).collect();
    Ok(page.etag.on(paging.answer(Collection { context, count: page.count, next: page.next, value })))
}

/// A page of the assignments of a configuration.
struct Page {
    rows: Vec<Assignment>,
    count: Option<i64>,
    /// The URL of the next page.
    next: Option<String>,
    /// The ETag of all assignments of the configuration.
    etag: ETag,
}

/// Reads a page of the list at the URL `path`. Breaks with the 304 when the client has the set
/// already.
///
/// # Errors
/// 404 when the configuration does not exist. 412 when a condition does not hold.
async fn read_page(
    (connections, loader): (&Connections, &SetLoader),
    configuration: ConfigurationId,
    query: &Query,
    path: String,
    conditions: &Conditions,
) -> Result<ControlFlow<HttpResponse, Page>, ApiError> {
    if let Some(size) = query.whole_set_page_size()
        && let Some(set) = loader.execute(SetKey { configuration, size }, connections).await?.answered()
    {
        let etag = sql::etag(set.digest.as_deref());
        return Ok(match conditions.unchanged(&etag)? {
            Some(unchanged) => Break(unchanged),
            None => Continue(Page { rows: set.rows, count: None, next: None, etag }),
        });
    }
    let query_scope = sql::scope_of(configuration);
    let mut connection = connections.acquire().await?;
    let mut found = sql::select(&mut connection, query, &query_scope).await?;
    let digest = match found.first() {
        Some(first) => first.digest.clone(),
        None => {
            let digest = find_digest(&mut connection, configuration).await?;
            // Read the page after its ETag. A page older than its ETag would let a client overwrite
            // changes that it has not seen.
            found = sql::select(&mut connection, query, &query_scope).await?;
            digest
        }
    };
    keep_for_later_reads(&mut connection, configuration, &digest).await;
    let etag = digest.etag();
    if let Some(unchanged) = conditions.unchanged(&etag)? {
        return Ok(Break(unchanged));
    }
    let counted = found.first().and_then(|found| found.total);
    let count = query.count_rows(&mut connection, &query_scope, counted).await?;
    let last = query.truncate_to_page(&mut found).map(|last| &last.position);
    let next = last.map(|last| format!("{path}?{}", query.next(&query_scope, last)));
    let rows = found.into_iter().map(|found| found.assignment).collect();
    Ok(Continue(Page { rows, count, next, etag }))
}

/// `GET …/assignments/$count`
pub async fn count(
    connections: Connections,
    links: Links,
    configuration: ConfigurationId,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(options, &sql::TABLE, &sql::scope_of(configuration), links.version)?;
    let mut connection = connections.acquire().await?;
    let count = query.total(&mut connection, &sql::scope_of(configuration)).await?;
    if count == 0 {
        parent::check(&mut connection, configuration).await?;
    }
    Ok(HttpResponse::Ok().content_type(TEXT_PLAIN).body(count.to_string()))
}

/// `POST …/deviceConfigurations/{id}/assignments` and `POST …/assignments/$ref`
///
/// A client that sends its own id can repeat the create. The answer to the repetition is the
/// stored row.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-create>
///
/// # Errors
/// 409 when the id belongs to another assignment, or the configuration already has an
/// assignment to the target. 412 when the condition of the request does not hold.
pub async fn create(
    connections: Connections,
    caller: Caller,
    writer: Data<Writer>,
    links: Links,
    (configuration, conditions): (ConfigurationId, Conditions),
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let new = NewAssignment::parse(body.members(TYPE))?;
    let create = Create::new(&new, configuration, &caller, links.version);
    let created = |stored: &Assignment| {
        let location = links.to(AssignmentId(stored.id).path(configuration));
        preferences.created(location, stored.shown_created(&links))
    };
    if conditions.is_empty() {
        return Ok(created(&create.execute(&connections, &writer).await?));
    }
    let mut transaction = connections.begin().await?;
    if let Some(current) = lock_configuration(&mut transaction, configuration, &conditions).await? {
        // A repeated create sends the ETag from before its own change.
        if let Some(stored) = create.find_existing(&mut transaction).await? {
            return Ok(current.on(created(&stored)));
        }
        conditions.check(&current)?;
    }
    let stored = create.insert(&mut transaction).await?;
    let etag = set_etag(&mut transaction, configuration).await?;
    transaction.commit(AssignmentId(stored.id).path(configuration)).await?;
    Ok(etag.on(created(&stored)))
}

/// `GET …/assignments/{id}`
pub async fn get(
    connections: Connections,
    loader: Data<AssignmentLoader>,
    links: Links,
    (configuration, id): (ConfigurationId, AssignmentId),
    conditions: Conditions,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let query = Query::parse(options, &sql::TABLE, &sql::scope_of(configuration), links.version)?;
    let answer = |stored: &Assignment| HttpResponse::Ok().json(stored.shown_alone(&links, query.select.as_ref()));
    if conditions.is_empty()
        && let Some(stored) = loader.execute(AssignmentKey { configuration, id }, &connections).await?.answered()
    {
        return Ok(answer(&stored));
    }
    let mut connection = connections.acquire().await?;
    // Read the ETag before the assignment, so that the assignment is never older than its ETag.
    // Without a condition, skip this read.
    let etag = match conditions.is_empty() {
        true => None,
        false => {
            let digest = find_digest(&mut connection, configuration).await?;
            keep_for_later_reads(&mut connection, configuration, &digest).await;
            Some(digest.etag())
        }
    };
    let Some(stored) = sql::find(&mut connection, configuration, id).await? else {
        return Err(not_found(&mut connection, configuration, id).await);
    };
    match etag {
        Some(etag) => Ok(conditions.unchanged(&etag)?.unwrap_or_else(|| etag.on(answer(&stored)))),
        None => Ok(answer(&stored)),
    }
}

/// `PATCH …/assignments/{id}`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-update>
///
/// # Errors
/// 409 when the configuration already has an assignment to the new target. 412 when the
/// condition of the request does not hold.
pub async fn update(
    connections: Connections,
    caller: Caller,
    links: Links,
    (configuration, id): (ConfigurationId, AssignmentId),
    conditions: Conditions,
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let patch = AssignmentPatch::parse(body.members(TYPE))?;
    let mut transaction = connections.begin().await?;
    let current = lock_configuration(&mut transaction, configuration, &conditions).await?;
    let stored = sql::find(&mut transaction, configuration, id).await?;
    let stored = stored.ok_or_else(|| AssignmentId::not_found(id))?;
    current.map_or(Ok(()), |current| conditions.check(&current))?;
    let changed = patch.apply(&stored);
    if changed != stored {
        let update = async |connection: &mut PgConnection| sql::update(connection, &changed, caller.id()).await;
        if !transaction.with_savepoint(update).await? {
            return Err(target_conflict(&mut transaction, configuration, patch.target).await?);
        }
    }
    let etag = set_etag(&mut transaction, configuration).await?;
    transaction.commit(id.path(configuration)).await?;
    Ok(etag.on(preferences.changed(changed.shown_alone(&links, None))))
}

/// Returns the 409 that names the assignment with this target. The configuration is locked, so
/// that assignment still exists.
async fn target_conflict(
    connection: &mut PgConnection,
    configuration: ConfigurationId,
    target: Option<Target>,
) -> Result<ApiError, ApiError> {
    let target = target.unwrap_or(Target::Base);
    let other = sql::find_by_target(connection, configuration, target.key().as_deref()).await?;
    Ok(other.map_or_else(
        || ApiError::unavailable(anyhow::anyhow!("the assignment with this target is gone")),
        |other| target.taken(other),
    ))
}

/// `DELETE …/assignments/{id}`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationassignment-delete>
///
/// # Errors
/// 412 when the condition of the request does not hold.
pub async fn delete(
    connections: Connections,
    configuration: ConfigurationId,
    id: AssignmentId,
    conditions: Conditions,
) -> Result<HttpResponse, ApiError> {
    if conditions.is_empty() {
        let mut connection = connections.acquire().await?;
        let delete = async |connection: &mut PgConnection| sql::delete(connection, configuration, id).await;
        return match connection.execute_write(id.path(configuration), delete).await? {
            true => Ok(HttpResponse::NoContent().finish()),
            false => Err(not_found(&mut connection, configuration, id).await),
        };
    }
    let mut transaction = connections.begin().await?;
    let current = lock_configuration(&mut transaction, configuration, &conditions).await?;
    if !sql::delete(&mut transaction, configuration, id).await? {
        return Err(AssignmentId::not_found(id));
    }
    current.map_or(Ok(()), |current| conditions.check(&current))?;
    let etag = set_etag(&mut transaction, configuration).await?;
    transaction.commit(id.path(configuration)).await?;
    Ok(etag.on(HttpResponse::NoContent().finish()))
}

/// Returns the path of the assignments of a configuration below a version.
pub fn set_path(configuration: ConfigurationId) -> String {
    format!("{}/assignments", configuration.path())
}

/// Returns the 404 of the configuration when it does not exist, else the 404 of the assignment.
async fn not_found(connection: &mut PgConnection, configuration: ConfigurationId, id: AssignmentId) -> ApiError {
    parent::check(connection, configuration).await.err().unwrap_or_else(|| AssignmentId::not_found(id))
}
