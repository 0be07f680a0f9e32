//! HTTP: everything between a connection and the handler of a route.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`app`] | the service put together: start, serve, stop |
//! | [`routes`] | the route table |
//! | [`operation`] | what the documentation says of a route |
//! | [`routing`] | binds the routes; checks permission, options and casts; cancels |
//! | [`paths`] | one spelling for every path |
//! | [`authentication`] | the caller of a request, or 401 |
//! | [`batch`] | `$batch` |
//! | [`openapi`] | `/openapi.json` |
//! | [`docs`] | `/docs`, the page that shows it |
//! | [`cancellation`] | when a request is given up: the client has disconnected or the database is down |
//! | [`body_guard`] | request bodies that no handler reads to their end |
//! | [`cors`] | pages of other origins, and the headers for browsers |
//! | [`hosts`] | which host names a request may name while authorization is off |
//! | [`envelope`] | the body of every error |
//! | [`health`] | health checks, and the stop of the service |
//! | [`metrics`] | `/metrics` |
//! | [`telemetry`] | logs, and the ids of a request |
//!
//! Only the command line imports this folder.

pub mod app;
pub mod authentication;
pub mod batch;
pub mod body_guard;
pub mod cancellation;
pub mod cors;
pub mod docs;
pub mod envelope;
pub mod health;
pub mod hosts;
pub mod metrics;
pub mod openapi;
pub mod operation;
pub mod paths;
pub mod routes;
pub mod routing;
pub mod telemetry;
