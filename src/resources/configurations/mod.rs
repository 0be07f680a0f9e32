//! Device configurations: `/deviceManagement/deviceConfigurations`.
//!
//! Beside the three files of every resource stand those of the secrets of OMA
//! settings: `secrets.rs` (which values are secret, and which one a hidden value
//! means), `vault.rs` (the key), and `store.rs` (a configuration and its secrets
//! written together).
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfiguration>

pub mod handlers;
pub mod loader;
pub mod model;
pub mod secrets;
pub mod sql;
pub mod store;
pub mod vault;
