//! HTTP: everything between a connection and the handler of a route.

pub mod app;
pub mod batch;
pub mod body_guard;
pub mod cancellation;
pub mod cors;
pub mod docs;
pub mod health;
pub mod hosts;
pub mod metrics;
pub mod openapi;
pub mod paths;
pub mod routes;
pub mod telemetry;
