//! An assignment as JSON in an answer.

use serde::Serialize;
use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId, TYPE},
    sql::TABLE,
    target,
};
use crate::{
    catalogue::{NAMESPACE, Property, Type, rendering::Form, version::Version},
    odata::{
        links::{Links, Reference},
        select::Select,
    },
    resources::parent::ConfigurationId,
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
    #[serde(rename = "@odata.id", skip_serializing_if = "Option::is_none")]
    odata_id: Option<String>,
    #[serde(rename = "@odata.editLink", skip_serializing_if = "Option::is_none")]
    edit_link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetJson<'a>>,
    #[serde(rename = "intent@odata.type", skip_serializing_if = "Option::is_none")]
    intent_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intent: Option<&'a str>,
    #[serde(rename = "source@odata.type", skip_serializing_if = "Option::is_none")]
    source_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<Option<String>>,
}

/// A target as JSON.
#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetJson<'a> {
    #[serde(rename = "@odata.type")]
    odata_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_and_app_management_assignment_filter_id: Option<Option<&'a str>>,
    #[serde(rename = "deviceAndAppManagementAssignmentFilterType@odata.type", skip_serializing_if = "Option::is_none")]
    filter_type_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_and_app_management_assignment_filter_type: Option<&'a str>,
}

impl Assignment {
    /// Returns the JSON of an element of a collection.
    pub fn shown(&self, links: &Links) -> AssignmentJson<'_> {
        self.selected(links, None)
    }

    /// Returns the JSON of an assignment that is not stored yet.
    pub fn shown_without_id(&self, links: &Links) -> AssignmentJson<'_> {
        AssignmentJson { id: None, ..self.written(links.form(), None) }
    }

    /// Returns the JSON of its target alone.
    pub fn shown_target(&self, links: &Links) -> TargetJson<'_> {
        self.target(links.form())
    }

    /// Returns the JSON of an element of a collection, with the selected members.
    pub fn selected(&self, links: &Links, select: Option<&Select>) -> AssignmentJson<'_> {
        let address = || links.control.is_full.then(|| self.address());
        AssignmentJson { odata_id: address(), edit_link: address(), ..self.written(links.form(), select) }
    }

    /// Returns the JSON without control information, except the types of objects.
    pub fn plain(&self, version: Version) -> AssignmentJson<'_> {
        self.written(Form::plain(version), None)
    }

    fn written(&self, form: Form, select: Option<&Select>) -> AssignmentJson<'_> {
        let is_beta = form.version.is_beta();
        let has = |name: &str| select.is_none_or(|select| select.has(TYPE, name));
        let is_shown = |name: &str| is_beta && has(name);
        let type_of = |name: &str| (form.is_full && is_shown(name)).then(|| control_type(TYPE, name)).flatten();
        let source_id = || match self.source.as_str() {
            "direct" => Some(self.source_id.clone().unwrap_or_else(|| self.device_configuration_id.to_string())),
            _ => self.source_id.clone(),
        };
        AssignmentJson {
            context: None,
            odata_type: "#microsoft.graph.deviceConfigurationAssignment",
            odata_id: None,
            edit_link: None,
            id: has("id").then_some(self.id),
            target: has("target").then(|| self.target(form)),
            intent_type: type_of("intent"),
            intent: is_shown("intent").then_some(&self.intent),
            source_type: type_of("source"),
            source: is_shown("source").then_some(&self.source),
            source_id: is_shown("sourceId").then(source_id),
        }
    }

    fn target(&self, form: Form) -> TargetJson<'_> {
        const FILTER_TYPE: &str = "deviceAndAppManagementAssignmentFilterType";
        // The type of the base target has no '#', as in the documented example.
        let hash = if self.target_type == target::TYPE && !form.is_full { "" } else { "#" };
        let is_beta = form.version.is_beta();
        TargetJson {
            odata_type: format!("{hash}{NAMESPACE}.{}", self.target_type),
            group_id: self.group_id.as_deref(),
            collection_id: self.collection_id.as_deref(),
            device_and_app_management_assignment_filter_id: is_beta.then_some(self.filter_id.as_deref()),
            filter_type_type: (is_beta && form.is_full).then(|| control_type(target::TYPE, FILTER_TYPE)).flatten(),
            device_and_app_management_assignment_filter_type: is_beta.then_some(&self.filter_type),
        }
    }

    /// Returns its path below a version, with the keys in parentheses.
    fn address(&self) -> String {
        format!("{}/assignments('{}')", ConfigurationId(self.device_configuration_id).address(), AssignmentId(self.id))
    }

    /// Returns a reference to it.
    pub fn reference(&self, links: &Links) -> Reference {
        Reference::element(links, self.address())
    }

    /// Returns whether a client of `version` sees no difference. A create that is sent again is
    /// then answered with the stored row.
    pub fn reads_same_as(&self, other: &Self, version: Version) -> bool {
        self.device_configuration_id == other.device_configuration_id && self.plain(version) == other.plain(version)
    }

    /// Returns the JSON of an answer that is this assignment alone.
    pub fn shown_alone(&self, links: &Links, select: Option<&Select>) -> AssignmentJson<'_> {
        let selected = select.map(|select| format!("({})", select.fragment(&TABLE, false))).unwrap_or_default();
        let configuration = ConfigurationId(self.device_configuration_id).address();
        let context = links.context(format_args!("{configuration}/assignments{selected}/$entity"));
        AssignmentJson { context: Some(context), ..self.selected(links, select) }
    }

    /// Returns the JSON of the answer to a create. Graph's page documents it without a context.
    /// `odata.metadata=full` adds the context, since the links are relative to it.
    pub fn shown_created(&self, links: &Links) -> AssignmentJson<'_> {
        match links.control.is_full {
            true => self.shown_alone(links, None),
            false => self.shown(links),
        }
    }
}

/// Returns the control information `type` of a property.
fn control_type(of: &str, property: &str) -> Option<String> {
    Type::find(of)?.property(property, Version::Beta).and_then(Property::control_type)
}
