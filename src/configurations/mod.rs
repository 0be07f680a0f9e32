//! Device configurations: `/deviceManagement/deviceConfigurations`.
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfiguration>

pub mod handlers;
pub mod model;
pub mod secrets;
pub mod sql;
pub mod store;
pub mod vault;
