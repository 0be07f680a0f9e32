//! The elements of an `assign` with the mode `remove`: targets, or ids of assignments.

use std::collections::HashSet;

use uuid::Uuid;

use super::{
    model::{NewAssignment, TYPE, check_type},
    set::{AssignmentSet, Element},
    target::{self, Target},
};
use crate::{
    error::ApiError,
    odata::{key, members::ObjectReader},
};

/// What a client wants to remove from a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unassigned {
    /// The assignment to this target, included or excluded as the target says.
    Target(Target),
    /// The assignment with this id.
    Id(Uuid),
}

impl Unassigned {
    /// Reads the parameters with targets. An element with a target means the target, whatever
    /// its id is, so that a client can send what it has read from another configuration. Filters
    /// are ignored. An element without a target, or with the base target, means its id.
    ///
    /// # Errors
    /// 400 that names the wrong member.
    pub fn parse_all(members: &mut ObjectReader, reason: &str) -> Result<Vec<Self>, ApiError> {
        let mut elements = Vec::new();
        for element in AssignmentSet::elements(members, reason)? {
            elements.push(match element? {
                Element::Assignment(members) => Self::parse(members)?,
                Element::GroupAssignment(members) => Self::Target(AssignmentSet::group_element(members)?.1.target),
            });
        }
        let mut seen = HashSet::new();
        elements.retain(|element| seen.insert(element.clone()));
        Ok(elements)
    }

    fn parse(mut members: ObjectReader) -> Result<Self, ApiError> {
        let path = members.path("id");
        let has_target = members.has("target");
        let id = match has_target {
            true => members.nullable_string("id")?.flatten().and_then(|id| key::guid(&id)).filter(|id| !id.is_nil()),
            false => key::client_id(&mut members)?,
        };
        if !has_target {
            let Some(id) = id else {
                return Err(members.missing("target", ". Send the target, or the id of the assignment."));
            };
            check_type(&mut members, TYPE)?;
            NewAssignment::ignore_beta_members(&mut members)?;
            members.reject_unread()?;
            return Ok(Self::Id(id));
        }
        match (NewAssignment::parse_without_id(members)?.target, id) {
            (Target::Base, Some(id)) => Ok(Self::Id(id)),
            (Target::Base, None) => Err(ApiError::model(format!(
                "The target {} names nothing. Send the id of the assignment as '{path}'.",
                target::TYPE
            ))),
            (target, _) => Ok(Self::Target(target)),
        }
    }
}
