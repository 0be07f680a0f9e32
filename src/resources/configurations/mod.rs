//! Device configurations: `/deviceManagement/deviceConfigurations`.
//!
//! Other files handle the secrets of OMA settings: `secrets.rs` (which values are secret, and
//! which secret a masked value means), `vault.rs` (encryption), and `store.rs` (writes a
//! configuration together with its secrets).
//!
//! <https://learn.microsoft.com/graph/api/resources/intune-deviceconfig-deviceconfiguration>

pub mod handlers;
pub mod loader;
pub mod model;
pub mod secrets;
pub mod sql;
pub mod store;
pub mod vault;
