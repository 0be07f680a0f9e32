//! An assignment as JSON in an answer.

use serde::Serialize;
use uuid::Uuid;

use super::{
    model::{Assignment, TYPE},
    sql::TABLE,
    target,
};
use crate::{
    catalogue::{NAMESPACE, version::Version},
    odata::{links::Links, select::Select},
};

/// An assignment as JSON: the documented members in the documented order, then the members that
/// `/beta` adds.
#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentJson<'a> {
    #[serde(rename = "@odata.context", skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(rename = "@odata.type")]
    odata_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<Option<String>>,
}

#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetJson<'a> {
    #[serde(rename = "@odata.type")]
    odata_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_and_app_management_assignment_filter_id: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_and_app_management_assignment_filter_type: Option<&'a str>,
}

impl Assignment {
    /// Returns the JSON of an element of a collection, and of the answer to a create.
    pub fn shown(&self, version: Version) -> AssignmentJson<'_> {
        self.selected(version, None)
    }

    /// Returns the JSON with the selected members.
    pub fn selected(&self, version: Version, select: Option<&Select>) -> AssignmentJson<'_> {
        // The type of the base target has no '#', as in the documented example.
        let hash = if self.target_type == target::TYPE { "" } else { "#" };
        let is_beta = version == Version::Beta;
        let has = |name: &str| select.is_none_or(|select| select.has(TYPE, name));
        let source_id = || match self.source.as_str() {
            "direct" => Some(self.source_id.clone().unwrap_or_else(|| self.device_configuration_id.to_string())),
            _ => self.source_id.clone(),
        };
        let target = || TargetJson {
            odata_type: format!("{hash}{NAMESPACE}.{}", self.target_type),
            group_id: self.group_id.as_deref(),
            collection_id: self.collection_id.as_deref(),
            device_and_app_management_assignment_filter_id: is_beta.then_some(self.filter_id.as_deref()),
            device_and_app_management_assignment_filter_type: is_beta.then_some(&self.filter_type),
        };
        AssignmentJson {
            context: None,
            odata_type: "#microsoft.graph.deviceConfigurationAssignment",
            id: has("id").then_some(self.id),
            target: has("target").then(target),
            intent: (is_beta && has("intent")).then_some(&self.intent),
            source: (is_beta && has("source")).then_some(&self.source),
            source_id: (is_beta && has("sourceId")).then(source_id),
        }
    }

    /// Returns whether a client of `version` sees no difference. A create that is sent again is
    /// then answered with the stored row.
    pub fn reads_same_as(&self, other: &Self, version: Version) -> bool {
        self.device_configuration_id == other.device_configuration_id && self.shown(version) == other.shown(version)
    }

    /// Returns the JSON of an answer that is this assignment alone.
    pub fn shown_alone(&self, links: &Links, select: Option<&Select>) -> AssignmentJson<'_> {
        let selected = select.map(|select| format!("({})", select.fragment(&TABLE, false))).unwrap_or_default();
        let fragment = format!(
            "deviceManagement/deviceConfigurations('{}')/assignments{selected}/$entity",
            self.device_configuration_id
        );
        AssignmentJson { context: Some(links.context(fragment)), ..self.selected(links.version, select) }
    }
}
