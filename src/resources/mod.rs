//! The resources: the objects of Graph that the service stores.
//!
//! A resource is a folder with `model.rs` (Graph JSON to a valid value, and a row as JSON;
//! assignments have `representation.rs` for the second), `sql.rs` or `sql/` (every statement)
//! and `handlers.rs` (what a route does).

pub mod assignments;
pub mod configurations;
pub mod parent;
pub mod statuses;
