//! The handlers of the routes of configurations.

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    web::{self, Data},
};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{
    create,
    loader::{ConfigurationKey, ConfigurationLoader},
    model::{self, Configuration, ConfigurationPatch, NewConfiguration, TYPE},
    representation::{ConfigurationJson, Expanded},
    sql, store,
    vault::Vault,
};
use crate::{
    auth::Caller,
    catalogue::{NAMESPACE, version::Version},
    database::connections::Connections,
    error::{ApiError, shorten},
    odata::{
        body::Body,
        casts::TypeCasts,
        etag::Conditions,
        key,
        links::{Collection, Links},
        options::Options,
        paging::{Paging, TEXT_PLAIN},
        prefer::{Preferences, Return},
        query::{Query, QueryScope},
    },
    resources::{
        assignments,
        parent::{self, ConfigurationId},
    },
};

/// `GET /deviceManagement/deviceConfigurations`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfiguration-list>
pub async fn list(
    connections: Connections,
    links: Links,
    casts: TypeCasts,
    paging: Paging,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let query_scope = QueryScope { casts: &casts.of_collection, ..QueryScope::all() };
    let mut query = Query::parse(options, &sql::TABLE, &query_scope, links.version)?;
    query.limit(&paging);
    let mut connection = connections.acquire().await?;
    let mut found = sql::select(&mut connection, &query, &query_scope).await?;
    let counted = found.first().and_then(|found| found.total);
    let count = query.count_rows(&mut connection, &query_scope, counted).await?;
    let next = query.truncate_to_page(&mut found).map(|last| query.next(&query_scope, &last.position));
    let cast = casts.of_collection.iter().map(|cast| format!("/{cast}")).collect::<String>();
    let path = format!("deviceManagement/deviceConfigurations{cast}");
    let next = next.map(|next| format!("{}?{next}", links.to(&path)));
    let context = links.context(format_args!("{path}{}", query.context_fragment()));
    let value = found.iter_mut().map(|found| shown(found, &query, &links)).collect();
    Ok(paging.answer(Collection { context, count, next, value }))
}

/// Returns the JSON of a row, with its expanded assignments.
fn shown<'a>(found: &'a mut sql::QueryRow, query: &'a Query, links: &'a Links) -> ConfigurationJson<'a> {
    let expanded = query.expand.as_deref().zip(found.assignments.as_mut()).map(|(expand, assignments)| {
        let id = ConfigurationId(found.configuration.id);
        let next = expand.truncate_to_page(assignments).map(|last| {
            let next = expand.next(&assignments::sql::scope_of(id), &last.position);
            format!("{}?{next}", links.to(format_args!("{}/assignments", id.path())))
        });
        let context = expanded_context(&found.configuration, links, &expand.context_fragment());
        let rows = assignments.iter();
        let value = rows.map(|row| row.assignment.selected(links, expand.select.as_ref())).collect();
        Expanded { context, count: found.assignments_count, next, value }
    });
    ConfigurationJson { select: query.select.as_ref(), assignments: expanded, ..found.configuration.shown(links) }
}

/// Returns `assignments@odata.context` of a configuration whose assignments are expanded.
fn expanded_context(configuration: &Configuration, links: &Links, selected: &str) -> String {
    let Configuration { id, odata_type, .. } = configuration;
    let address = ConfigurationId(*id).address();
    links.context(format_args!("{address}/{NAMESPACE}.{odata_type}/assignments{selected}"))
}

/// `GET /deviceManagement/deviceConfigurations/$count`
pub async fn count(
    connections: Connections,
    links: Links,
    casts: TypeCasts,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let query_scope = QueryScope { casts: &casts.of_collection, ..QueryScope::all() };
    let query = Query::parse(options, &sql::TABLE, &query_scope, links.version)?;
    let count = query.total(&mut *connections.acquire().await?, &query_scope).await?;
    Ok(HttpResponse::Ok().content_type(TEXT_PLAIN).body(count.to_string()))
}

/// `POST /deviceManagement/deviceConfigurations`
///
/// Creates the nested `assignments` in the same transaction, and answers with them.
///
/// A client that sends its own id can repeat the create. The answer to the repetition is the
/// stored rows.
///
/// # Errors
/// 409 when the id belongs to another configuration, or to one with other assignments.
pub async fn create(
    connections: Connections,
    caller: Caller,
    vault: Data<Vault>,
    links: Links,
    casts: TypeCasts,
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    if let Some(cast) = casts.of_collection.first() {
        return Err(ApiError::bad_request(format!(
            "A create names its type in '@odata.type'. Leave '{}' out of the path.",
            shorten(cast)
        )));
    }
    let new = NewConfiguration::parse(body.members(TYPE))?;
    let created = create::execute(&connections, &vault, new, &caller, links.version).await?;
    let configuration = &created.configuration;
    let location = links.to(ConfigurationId(configuration.id).path());
    let etag = configuration.etag();
    let Some(assignments) = &created.assignments else {
        return Ok(etag.on(preferences.created(location, configuration.shown_alone(&links))));
    };
    let expanded = ConfigurationJson {
        context: Some(links.context("deviceManagement/deviceConfigurations(assignments())/$entity")),
        assignments: Some(Expanded {
            context: expanded_context(configuration, &links, ""),
            count: None,
            next: None,
            value: assignments.iter().map(|stored| stored.shown(&links)).collect(),
        }),
        ..configuration.shown(&links)
    };
    let has_body = preferences.returns != Some(Return::Minimal);
    let answer = preferences.created(location, expanded);
    // The ETag of the configuration does not cover the assignments in the body.
    Ok(if has_body { answer } else { etag.on(answer) })
}

/// `GET /deviceManagement/deviceConfigurations/{id}`
pub async fn get(
    connections: Connections,
    loader: Data<ConfigurationLoader>,
    links: Links,
    id: ConfigurationId,
    conditions: Conditions,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let query_scope = QueryScope { parent: Some(("c.id", id.0)), ..QueryScope::all() };
    let query = Query::parse(options, &sql::TABLE, &query_scope, links.version)?;
    let key = ConfigurationKey { id, with_properties: query.needs_properties() };
    let read = match query.expand {
        None => loader.execute(key, &connections).await?.answered(),
        Some(_) => None,
    };
    let found = match read {
        Some(configuration) => Some(sql::QueryRow::alone(configuration)),
        None => sql::select(&mut *connections.acquire().await?, &query, &query_scope).await?.pop(),
    };
    let mut found = found.ok_or_else(|| ConfigurationId::not_found(id))?;
    let context =
        links.context(format_args!("deviceManagement/deviceConfigurations{}/$entity", query.context_fragment()));
    let etag = found.configuration.etag();
    let unchanged = conditions.unchanged(&etag)?;
    let answer =
        || HttpResponse::Ok().json(ConfigurationJson { context: Some(context), ..shown(&mut found, &query, &links) });
    Ok(match query.expand {
        // The ETag does not cover the assignments.
        Some(_) => answer(),
        None => unchanged.unwrap_or_else(|| etag.on(answer())),
    })
}

/// Checks that a configuration has the types that the type-cast segments of the path name.
///
/// # Errors
/// 400 for a type that is unknown or not derived from deviceConfiguration. 404 when the
/// configuration has another type.
pub async fn check_casts(request: &mut ServiceRequest) -> Result<(), ApiError> {
    let casts = request.extract::<TypeCasts>().await?;
    let casts = [casts.of_collection, casts.of_entity].concat();
    if casts.is_empty() || request.match_info().get("configuration").is_none() {
        return Ok(());
    }
    let (id, version) = (request.extract::<ConfigurationId>().await?, Version::of(request.request()));
    let connections = request.extract::<Connections>().await?;
    let odata_type = sql::find_type(&mut *connections.acquire().await?, id).await?;
    let odata_type = odata_type.ok_or_else(|| ConfigurationId::not_found(id))?;
    for cast in casts {
        if !model::is_a(&odata_type, &cast, version)? {
            return Err(ApiError::not_found(format!(
                "The configuration {id} is of type '{NAMESPACE}.{odata_type}', not '{cast}'. Leave the type out of the path."
            )));
        }
    }
    Ok(())
}

/// `PATCH /deviceManagement/deviceConfigurations/{id}`
///
/// A patch that changes nothing succeeds and does not raise the version. On `/beta` the answer is
/// 204 unless the client prefers the entity, as Graph answers there.
///
/// # Errors
/// 412 when the condition of the request does not hold. 409 when the patch names a secret that
/// has been replaced meanwhile.
pub async fn update(
    connections: Connections,
    caller: Caller,
    vault: Data<Vault>,
    links: Links,
    (id, conditions): (ConfigurationId, Conditions),
    preferences: Preferences,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let max_values = body.max_values;
    let patch = ConfigurationPatch::parse(body.members(TYPE))?;
    let mut transaction = connections.begin().await?;
    let stored = sql::find_for_update(&mut transaction, id).await?;
    let stored = stored.ok_or_else(|| ConfigurationId::not_found(id))?;
    conditions.check(&stored.etag())?;
    let (changed, secrets) = patch.apply(&stored, max_values)?;
    let (stored, _) = store::replace(&mut transaction, &vault, stored, changed, secrets, caller.id()).await?;
    transaction.commit(id.path()).await?;
    Ok(stored.etag().on(preferences.changed_on(links.version, stored.shown_alone(&links))))
}

/// `DELETE /deviceManagement/deviceConfigurations/{id}`
///
/// Deletes the assignments of the configuration, too.
///
/// # Errors
/// 412 when the condition of the request does not hold.
pub async fn delete(
    connections: Connections,
    id: ConfigurationId,
    conditions: Conditions,
) -> Result<HttpResponse, ApiError> {
    let mut connection = match conditions.is_empty() {
        true => connections.acquire().await?,
        false => {
            let mut transaction = connections.begin().await?;
            parent::lock(&mut transaction, id).await?;
            let stored = sql::find(&mut transaction, id).await?;
            conditions.check(&stored.ok_or_else(|| ConfigurationId::not_found(id))?.etag())?;
            transaction
        }
    };
    let is_there = connection.execute_write(id.path(), async |connection| sql::delete(connection, id).await).await?;
    connection.commit(id.path()).await?;
    match is_there {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(ConfigurationId::not_found(id)),
    }
}

/// `GET /deviceManagement/deviceConfigurations/{id}/getOmaSettingPlainTextValue(secretReferenceValueId='…')`
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfiguration-getomasettingplaintextvalue>
///
/// # Errors
/// 404 when the configuration has no such secret.
pub async fn plain_text(
    connections: Connections,
    vault: Data<Vault>,
    links: Links,
    id: ConfigurationId,
    arguments: web::Path<(String, String)>,
    options: Options,
) -> Result<HttpResponse, ApiError> {
    let arguments = key::resolve_alias(&arguments.1, |name| options.alias(name));
    let reference = key::function_argument(&arguments, "secretReferenceValueId")?;
    let mut connection = connections.acquire().await?;
    match sql::find_secrets(&mut connection, std::slice::from_ref(&reference)).await?.pop() {
        Some(secret) if secret.device_configuration_id == id.0 => {
            let value = vault.open(&secret)?;
            let answer = json!({"@odata.context": links.context("Edm.String"), "value": value.expose_secret()});
            Ok(HttpResponse::Ok().json(answer))
        }
        _ => {
            parent::check(&mut connection, id).await?;
            Err(ApiError::not_found(format!(
                "The configuration has no secret '{}'. Read the configuration on /beta: its settings name the existing secrets.",
                shorten(&reference)
            )))
        }
    }
}
