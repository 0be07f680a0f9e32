//! The database: how the service opens it, connects to it and watches it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`opening`] | opens the database: URL, migrations, first checks |
//! | [`pool`], [`connections`] | the connections of a worker, and what a handler does with them |
//! | [`coalescing`], `session.rs` | combined statements, and the connection that they use |
//! | [`outage`] | watches whether the database answers |
//! | [`work`], `permits.rs` | the work classes, and how many connections each may use |
//! | [`request`] | the id and the arrival of a request, for the database's log |
//! | [`embedded`], `postmaster.rs`, `installation.rs`, … | the private PostgreSQL |
//! | [`json`], [`timestamp`] | values that PostgreSQL holds and JSON cannot |
//! | [`metrics`] | the metrics of the database |

mod account;
pub mod coalescing;
pub mod connections;
pub mod embedded;
mod installation;
pub mod json;
pub mod metrics;
pub mod opening;
pub mod outage;
mod permits;
pub mod pool;
mod postmaster;
pub mod request;
pub mod session;
mod socket_dir;
pub mod timestamp;
pub mod work;

pub use self::opening::{Database, data_dir, is_migrated, migrate, report_unreadable, validate_constraints};
