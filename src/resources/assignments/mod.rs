//! Assignments of a device configuration: who gets it and who is left out.
//!
//! `/deviceManagement/deviceConfigurations/{id}/assignments` and `…/assign`.
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationassignment>

pub mod create;
pub mod handlers;
pub mod loaders;
pub mod model;
pub mod sql;
pub mod target;
pub mod writer;
