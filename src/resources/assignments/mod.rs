//! Assignments of a device configuration: the targets that get it, and those that it leaves
//! out.
//!
//! `/deviceManagement/deviceConfigurations/{id}/assignments` and `…/assign`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`handlers`] | what the routes do |
//! | [`model`] | an assignment read from Graph JSON |
//! | [`target`] | targets, and the 409 of a target that is taken |
//! | [`assign`] | the action `assign` |
//! | [`plan`] | what it does to a set: modes, conflicts, changes |
//! | [`set`] | the targets of `assign`, and of a create of a configuration |
//! | [`unassigned`] | what the mode `remove` removes |
//! | [`create`] | a create: combined with others, retried, or refused |
//! | [`difference`] | which rows a replacement of the set writes |
//! | [`etags`] | the ETag of a set, and the lock of a conditional change |
//! | [`group_assignments`] | the group targets in the form that only `/beta` has |
//! | [`loaders`] | reads by key, combined with others |
//! | [`representation`] | an assignment in an answer |
//! | [`sql`] | every statement |
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationassignment>

pub mod assign;
pub mod create;
pub mod difference;
pub mod etags;
pub mod group_assignments;
pub mod handlers;
pub mod loaders;
pub mod model;
pub mod plan;
pub mod representation;
pub mod set;
pub mod sql;
pub mod target;
pub mod unassigned;
