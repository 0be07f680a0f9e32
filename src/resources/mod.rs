//! The resources: what the service stores and Graph defines.

pub mod assignments;
pub mod configurations;
pub mod statuses;
