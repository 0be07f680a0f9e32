//! Device configurations: `/deviceManagement/deviceConfigurations`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `handlers.rs` | what each route does |
//! | `model.rs` | Graph JSON to a valid configuration, and its ETag |
//! | `representation.rs` | a row as JSON, with as much control information as the client asks for |
//! | `sql.rs` | every statement on `device_configurations` and on its secrets |
//! | `create.rs` | creates a configuration with its assignments |
//! | `loader.rs` | the coalescing of reads by id |
//! | `store.rs` | writes a configuration together with its secrets |
//! | `difference.rs` | the members in which two states of a configuration differ |
//! | `secrets.rs` | which values are secret, and which secret a masked value means |
//! | `vault.rs` | encryption |
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfiguration>

pub mod create;
pub mod difference;
pub mod handlers;
pub mod loader;
pub mod model;
pub mod representation;
pub mod secrets;
pub mod sql;
pub mod store;
pub mod vault;
