//! Assignments of a device configuration: who gets it and who is left out.
//!
//! `/deviceManagement/deviceConfigurations/{id}/assignments` and `…/assign`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`handlers`] | what the routes do |
//! | [`model`] | an assignment read from Graph JSON |
//! | [`target`] | targets, and the refusal of one that is taken |
//! | [`create`] | a create: combined with others, retried, or refused |
//! | [`loaders`] | reads by key, combined with others |
//! | [`representation`] | an assignment as an answer shows it |
//! | [`sql`] | every statement |
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationassignment>

pub mod create;
pub mod handlers;
pub mod loaders;
pub mod model;
pub mod representation;
pub mod sql;
pub mod target;
