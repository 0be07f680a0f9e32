//! `…/groupAssignments`: the group targets of a configuration in the older form that `/beta`
//! still has. Read-only: `…/assignments` and `…/assign` write them.
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationgroupassignment>

use actix_web::HttpResponse;
use serde::Serialize;
use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId},
    sql,
};
use crate::{
    database::connections::Connections,
    error::ApiError,
    odata::links::{Collection, Links},
    resources::parent::{self, ConfigurationId},
};

/// A group target as an answer shows it. It has the id of its assignment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupAssignmentJson<'a> {
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(rename = "@odata.type")]
    odata_type: &'static str,
    id: Uuid,
    target_group_id: &'a str,
    exclude_group: bool,
}

impl<'a> GroupAssignmentJson<'a> {
    /// Returns the group target of an assignment, or `None` when its target is no group.
    fn of(stored: &'a Assignment) -> Option<Self> {
        let exclude_group = match stored.target_type.as_str() {
            "groupAssignmentTarget" => false,
            "exclusionGroupAssignmentTarget" => true,
            _ => return None,
        };
        Some(Self {
            context: None,
            odata_type: "#microsoft.graph.deviceConfigurationGroupAssignment",
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
    let mut connection = connections.acquire().await?;
    let stored = sql::list(&mut connection, configuration).await?;
    if stored.is_empty() {
        parent::check(&mut connection, configuration).await?;
    }
    Ok(HttpResponse::Ok().json(Collection {
        context: links.context(context(configuration)),
        count: None,
        next: None,
        value: stored.iter().filter_map(GroupAssignmentJson::of).collect(),
    }))
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
    let Some(shown) = stored.as_ref().and_then(GroupAssignmentJson::of) else {
        parent::check(&mut connection, configuration).await?;
        return Err(ApiError::not_found(format!(
            "DeviceConfigurationGroupAssignments not found: Assignment {id}. GET …/groupAssignments lists those that the configuration has."
        )));
    };
    let context = links.context(format_args!("{}/$entity", context(configuration)));
    Ok(HttpResponse::Ok().json(GroupAssignmentJson { context: Some(context), ..shown }))
}

fn context(configuration: ConfigurationId) -> String {
    format!("deviceManagement/deviceConfigurations('{configuration}')/groupAssignments")
}
