//! The database: how the service opens it, connects to it and watches it.

mod account;
pub mod coalescing;
pub mod connections;
pub mod embedded;
mod installation;
pub mod json;
pub mod metrics;
pub mod opening;
pub mod outage;
pub mod pool;
mod postmaster;
pub mod request;
pub mod session;
mod socket_dir;
pub mod timestamp;
pub mod work;

pub use self::opening::{Database, data_dir, is_migrated, migrate, report_unreadable, validate_constraints};
