//! The targets of a request that names several: `assign`, and a create of a configuration.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    model::{Assignment, AssignmentId, GROUP_ASSIGNMENT_TYPE, NewAssignment, TYPE, check_type},
    target::Target,
};
use crate::{
    catalogue::version::Version,
    error::ApiError,
    odata::{
        key::{self, ExternalId},
        members::ObjectReader,
    },
    resources::parent::ConfigurationId,
};

/// The set that replaces all assignments of the configuration in `assign`, or that a configuration
/// is created with.
///
/// <https://learn.microsoft.com/graph/api/intune-deviceconfig-deviceconfiguration-assign>
#[derive(Debug)]
pub struct AssignmentSet(pub Vec<NewAssignment>);

/// The reader of an element of a parameter of `assign`.
pub enum Element {
    /// An assignment.
    Assignment(ObjectReader),
    /// A group target in the form that only `/beta` has.
    GroupAssignment(ObjectReader),
}

impl AssignmentSet {
    /// Reads the parameters of the action. On `/beta` a client can send
    /// `deviceConfigurationGroupAssignments` instead of `assignments`, or both, which are then
    /// one set.
    ///
    /// # Errors
    /// 400 for a wrong member, for the base target, which names nothing, and for a target that
    /// is sent twice.
    pub fn parse(members: &mut ObjectReader, reason: &str) -> Result<Self, ApiError> {
        let elements = Self::elements(members, reason)?;
        Self::of(elements.map(|element| match element? {
            Element::Assignment(members) => Self::element(members),
            Element::GroupAssignment(members) => Self::group_element(members),
        }))
    }

    /// Takes the elements of both parameters.
    ///
    /// # Errors
    /// 400 with `reason` when both parameters are missing.
    pub fn elements(
        members: &mut ObjectReader,
        reason: &str,
    ) -> Result<impl Iterator<Item = Result<Element, ApiError>> + use<>, ApiError> {
        let assignments = members.objects("assignments", TYPE)?;
        let group_assignments = match members.version() {
            Version::Beta | Version::OpenBeta => {
                members.objects("deviceConfigurationGroupAssignments", GROUP_ASSIGNMENT_TYPE)?
            }
            Version::V1 => None,
        };
        if assignments.is_none() && group_assignments.is_none() {
            return Err(members.missing("assignments", reason));
        }
        let assignments = assignments.into_iter().flatten().map(|element| element.map(Element::Assignment));
        let group_assignments = group_assignments.into_iter().flatten();
        Ok(assignments.chain(group_assignments.map(|element| element.map(Element::GroupAssignment))))
    }

    /// Reads the `assignments` of a configuration that is created. `None` when the body does
    /// not have them.
    ///
    /// # Errors
    /// Those of [`AssignmentSet::parse`].
    pub fn nested(configuration: &mut ObjectReader) -> Result<Option<Self>, ApiError> {
        let assignments = configuration.objects("assignments", TYPE)?;
        assignments.map(|elements| Self::of(elements.map(|element| Self::element(element?)))).transpose()
    }

    /// Collects elements, each with the path of its target. Refuses a target that appears twice.
    fn of(elements: impl Iterator<Item = Result<(String, NewAssignment), ApiError>>) -> Result<Self, ApiError> {
        let mut keys = BTreeSet::new();
        let mut set = Vec::new();
        for element in elements {
            let (path, new) = element?;
            let Some(key) = new.target.key() else {
                return Err(ApiError::model(format!(
                    "The base target at '{path}' names no target. Send a type that is derived from it, for example '#microsoft.graph.groupAssignmentTarget'."
                )));
            };
            if !keys.insert(key) {
                return Err(ApiError::model(format!(
                    "The element at '{path}' targets {}, as an earlier element does. Send each target once, either included or excluded.",
                    new.target.description(),
                )));
            }
            set.push(new);
        }
        Ok(Self(set))
    }

    /// Returns the rows of a configuration, each with a new id.
    pub fn rows(&self, configuration: ConfigurationId) -> Vec<Assignment> {
        self.0.iter().map(|new| new.row(configuration, AssignmentId(Uuid::now_v7()))).collect()
    }

    fn element(mut members: ObjectReader) -> Result<(String, NewAssignment), ApiError> {
        let path = members.path("target");
        // Elements that the client has read carry ids. The target decides which stored
        // assignment an element keeps.
        key::ignore_id(&mut members)?;
        Ok((path, NewAssignment::parse_without_id(members)?))
    }

    /// Reads an element of the form that only `/beta` has, and the path of its group.
    ///
    /// <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationgroupassignment>
    ///
    /// # Errors
    /// 400 that names the wrong member.
    pub fn group_element(mut members: ObjectReader) -> Result<(String, NewAssignment), ApiError> {
        let path = members.path("targetGroupId");
        check_type(&mut members, GROUP_ASSIGNMENT_TYPE)?;
        key::ignore_id(&mut members)?;
        let Some(group) = members.string("targetGroupId")? else {
            return Err(members.missing("targetGroupId", ". Send the id of the group."));
        };
        let group = ExternalId::parse(group, &path)?;
        let target = match members.boolean("excludeGroup")? {
            Some(true) => Target::ExclusionGroup(group),
            _ => Target::Group(group),
        };
        members.reject_unread()?;
        Ok((path, NewAssignment::of(target)))
    }
}
