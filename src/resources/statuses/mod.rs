//! What devices, users and settings report of a configuration, below
//! `/deviceManagement/deviceConfigurations/{id}`: three collections, and two
//! overviews that count their rows.
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfigurationdevicestatus>

pub mod handlers;
pub mod model;
pub mod sql;
