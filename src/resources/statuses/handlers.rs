//! The handlers of the routes of statuses.
//!
//! Each function serves all three collections. The path selects the collection.

use actix_web::{HttpResponse, http::header::LOCATION};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    model::{OverviewKind, SentStatus, Status, StatusId, StatusKind},
    representation::context,
    sql,
};
use crate::{
    auth::Caller,
    database::connections::Connections,
    error::ApiError,
    odata::{
        body::Body,
        links::{Collection, Links, Reference},
        prefer::Preferences,
    },
    resources::parent::{self, ConfigurationId},
};

/// `GET …/deviceConfigurations/{id}/deviceStatuses`, and the two other collections.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationdevicestatus-list>
pub async fn list(
    connections: Connections,
    links: Links,
    kind: StatusKind,
    configuration: ConfigurationId,
) -> Result<HttpResponse, ApiError> {
    let stored = stored(&connections, kind, configuration).await?;
    let value = stored.iter().map(|stored| stored.shown(&links, configuration)).collect();
    let context = links.context(context(kind, configuration));
    Ok(HttpResponse::Ok().json(Collection::whole(context, value)))
}

/// `GET …/deviceStatuses/$ref`, and of the two others.
pub async fn references(
    connections: Connections,
    links: Links,
    kind: StatusKind,
    configuration: ConfigurationId,
) -> Result<HttpResponse, ApiError> {
    let stored = stored(&connections, kind, configuration).await?;
    let value = stored.iter().map(|stored| stored.reference(&links, configuration)).collect();
    let context = links.context(Reference::COLLECTION);
    Ok(HttpResponse::Ok().json(Collection::whole(context, value)))
}

/// Returns the rows of a configuration.
///
/// # Errors
/// 404 when there is no such configuration.
async fn stored(
    connections: &Connections,
    kind: StatusKind,
    configuration: ConfigurationId,
) -> Result<Vec<Status>, ApiError> {
    let mut connection = connections.acquire().await?;
    let rows = sql::list(&mut connection, kind, configuration).await?;
    if rows.is_empty() {
        parent::check(&mut connection, configuration).await?;
    }
    rows.iter().map(|row| Status::of_row(kind, row)).collect()
}

/// `POST …/deviceConfigurations/{id}/deviceStatuses`, and the two other collections.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationdevicestatus-create>
///
/// # Errors
/// 409 when the id belongs to another row.
pub async fn create(
    connections: Connections,
    caller: Caller,
    links: Links,
    kind: StatusKind,
    configuration: ConfigurationId,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let sent = SentStatus::parse(kind, body.members(kind.type_name()))?;
    let id = StatusId(sent.id.unwrap_or_else(Uuid::now_v7));
    let row = Status::new(kind, id.0, &sent)?.row(configuration);
    let mut connection = connections.acquire().await?;
    let path = path(kind, configuration, id);
    let insert =
        async |connection: &mut PgConnection| sql::insert(connection, kind, configuration, &row, caller.id()).await;
    let row = match connection.execute_write(&path, insert).await? {
        Some(row) => row,
        None => {
            parent::check(&mut connection, configuration).await?;
            let stored = sql::find(&mut connection, kind, configuration, id).await?;
            let is_same =
                |row: &serde_json::Value| Status::of_row(kind, row).is_ok_and(|stored| stored.changed(&sent) == stored);
            // A repeated create: the service chose the members that the client left out in the
            // first create.
            stored.filter(is_same).ok_or_else(|| {
                ApiError::conflict(format!("Another row has the id '{}'. Send another id, or none.", id.0))
            })?
        }
    };
    let stored = Status::of_row(kind, &row)?;
    let location = links.to(path);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(stored.shown_alone(&links, configuration)))
}

/// `GET …/deviceStatuses/{id}`, and the two other collections.
pub async fn get(
    connections: Connections,
    links: Links,
    kind: StatusKind,
    configuration: ConfigurationId,
    id: StatusId,
) -> Result<HttpResponse, ApiError> {
    let mut connection = connections.acquire().await?;
    match sql::find(&mut connection, kind, configuration, id).await? {
        Some(row) => Ok(HttpResponse::Ok().json(Status::of_row(kind, &row)?.shown_alone(&links, configuration))),
        None => Err(not_found(&mut connection, configuration, id).await),
    }
}

/// `PATCH …/deviceStatuses/{id}`, and the two other collections.
pub async fn update(
    connections: Connections,
    caller: Caller,
    links: Links,
    kind: StatusKind,
    (configuration, id): (ConfigurationId, StatusId),
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let sent = SentStatus::parse(kind, body.members(kind.type_name()))?;
    let mut transaction = connections.begin().await?;
    if !parent::lock(&mut transaction, configuration).await? {
        return Err(ConfigurationId::not_found(configuration));
    }
    let row = sql::find(&mut transaction, kind, configuration, id).await?;
    let stored = Status::of_row(kind, &row.ok_or_else(|| StatusId::not_found(id.0))?)?;
    let mut changed = stored.changed(&sent);
    if changed != stored {
        let row = changed.row(configuration);
        sql::update(&mut transaction, kind, &row, caller.id()).await?;
        changed = Status::of_row(kind, &row)?;
    }
    transaction.commit(path(kind, configuration, id)).await?;
    Ok(preferences.changed(changed.shown_alone(&links, configuration)))
}

/// `DELETE …/deviceStatuses/{id}`, and the two other collections.
pub async fn delete(
    connections: Connections,
    kind: StatusKind,
    configuration: ConfigurationId,
    id: StatusId,
) -> Result<HttpResponse, ApiError> {
    let mut connection = connections.acquire().await?;
    let delete = async |connection: &mut PgConnection| sql::delete(connection, kind, configuration, id).await;
    match connection.execute_write(path(kind, configuration, id), delete).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(not_found(&mut connection, configuration, id).await),
    }
}

/// `GET …/deviceConfigurations/{id}/deviceStatusOverview`, and `userStatusOverview`.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfigurationdeviceoverview-get>
pub async fn overview(
    connections: Connections,
    links: Links,
    kind: OverviewKind,
    configuration: ConfigurationId,
) -> Result<HttpResponse, ApiError> {
    let counted = sql::overview(&mut *connections.acquire().await?, kind, configuration).await?;
    let counted = counted.ok_or_else(|| ConfigurationId::not_found(configuration))?;
    Ok(HttpResponse::Ok().json(kind.shown(configuration, &counted, &links)))
}

/// `GET …/deviceConfigurations/{id}/deviceStatusOverview/$ref`, and of users.
///
/// # Errors
/// 404 when there is no such configuration.
pub async fn overview_reference(
    connections: Connections,
    links: Links,
    kind: OverviewKind,
    configuration: ConfigurationId,
) -> Result<HttpResponse, ApiError> {
    parent::check(&mut *connections.acquire().await?, configuration).await?;
    Ok(HttpResponse::Ok().json(kind.reference(configuration, &links)))
}

fn path(kind: StatusKind, configuration: ConfigurationId, id: StatusId) -> String {
    format!("deviceManagement/deviceConfigurations/{configuration}/{}/{}", kind.segment(), id.0)
}

/// Returns the 404 of the configuration when it does not exist, else the 404 of the status.
async fn not_found(connection: &mut PgConnection, configuration: ConfigurationId, id: StatusId) -> ApiError {
    parent::check(connection, configuration).await.err().unwrap_or_else(|| StatusId::not_found(id.0))
}
