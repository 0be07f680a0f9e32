//! `…/groupAssignments`: the group targets of a configuration in the older form that `/beta`
//! still has. Read-only: `…/assignments` and `…/assign` write them.
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationgroupassignment>

use actix_web::HttpResponse;
use serde::Serialize;
use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId, GROUP_ASSIGNMENT_TYPE},
    sql,
};
use crate::{
    catalogue::NAMESPACE,
    database::connections::Connections,
    error::ApiError,
    odata::links::{Collection, Links, Reference},
    resources::parent::{self, ConfigurationId},
};

/// A group target as an answer shows it. It has the id of its assignment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupAssignmentJson<'a> {
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(rename = "@odata.type")]
    odata_type: String,
    #[serde(rename = "@odata.id", skip_serializing_if = "Option::is_none")]
    odata_id: Option<String>,
    id: Uuid,
    target_group_id: &'a str,
    exclude_group: bool,
}

impl<'a> GroupAssignmentJson<'a> {
    /// Returns the group target of an assignment, or `None` when its target is no group. It has
    /// no edit link, because a client cannot change it.
    fn of(stored: &'a Assignment, links: &Links) -> Option<Self> {
        let exclude_group = match stored.target_type.as_str() {
            "groupAssignmentTarget" => false,
            "exclusionGroupAssignmentTarget" => true,
            _ => return None,
        };
        Some(Self {
            context: None,
            odata_type: format!("#{NAMESPACE}.{GROUP_ASSIGNMENT_TYPE}"),
            odata_id: links.control.is_full.then(|| address(stored)),
            id: stored.id,
            target_group_id: stored.group_id.as_deref()?,
            exclude_group,
        })
    }
}

/// `GET …/deviceConfigurations/{id}/groupAssignments`
pub async fn list(
    connections: Connections,
    links: Links,
    configuration: ConfigurationId,
) -> Result<HttpResponse, ApiError> {
    let stored = stored(&connections, configuration).await?;
    let value = stored.iter().filter_map(|stored| GroupAssignmentJson::of(stored, &links)).collect();
    Ok(HttpResponse::Ok().json(Collection::whole(links.context(context(configuration)), value)))
}

/// `GET …/deviceConfigurations/{id}/groupAssignments/$ref`
pub async fn references(
    connections: Connections,
    links: Links,
    configuration: ConfigurationId,
) -> Result<HttpResponse, ApiError> {
    let stored = stored(&connections, configuration).await?;
    let groups = stored.iter().filter(|stored| GroupAssignmentJson::of(stored, &links).is_some());
    let value = groups.map(|stored| Reference::element(&links, address(stored))).collect();
    let context = links.context(Reference::COLLECTION);
    Ok(HttpResponse::Ok().json(Collection::whole(context, value)))
}

/// Returns all assignments of a configuration.
///
/// # Errors
/// 404 when the configuration does not exist.
async fn stored(connections: &Connections, configuration: ConfigurationId) -> Result<Vec<Assignment>, ApiError> {
    let mut connection = connections.acquire().await?;
    let stored = sql::list(&mut connection, configuration).await?;
    if stored.is_empty() {
        parent::check(&mut connection, configuration).await?;
    }
    Ok(stored)
}

/// `GET …/groupAssignments/{id}`
///
/// # Errors
/// 404 when the configuration does not have the assignment, or its target is no group.
pub async fn get(
    connections: Connections,
    links: Links,
    (configuration, id): (ConfigurationId, AssignmentId),
) -> Result<HttpResponse, ApiError> {
    let mut connection = connections.acquire().await?;
    let stored = sql::find(&mut connection, configuration, id).await?;
    let Some(shown) = stored.as_ref().and_then(|stored| GroupAssignmentJson::of(stored, &links)) else {
        parent::check(&mut connection, configuration).await?;
        return Err(ApiError::not_found(format!(
            "DeviceConfigurationGroupAssignments not found: Assignment {id}. GET …/groupAssignments lists the existing ones."
        )));
    };
    let context = links.context(format_args!("{}/$entity", context(configuration)));
    Ok(HttpResponse::Ok().json(GroupAssignmentJson { context: Some(context), ..shown }))
}

fn context(configuration: ConfigurationId) -> String {
    format!("{}/groupAssignments", configuration.address())
}

/// Returns the path of a group target below a version, with the keys in parentheses.
fn address(stored: &Assignment) -> String {
    format!("{}/groupAssignments('{}')", ConfigurationId(stored.device_configuration_id).address(), stored.id)
}
