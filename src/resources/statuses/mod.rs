//! Statuses: the reports of devices, users and settings on a configuration, below
//! `/deviceManagement/deviceConfigurations/{id}`. There are three collections, and two
//! overviews that count their rows.
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationdevicestatus>

pub mod handlers;
pub mod model;
pub mod representation;
pub mod sql;
