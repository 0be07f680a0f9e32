//! HTTP: everything between a connection and the handler of a route.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`app`] | builds, starts and stops the service |
//! | [`addresses`] | logs where the API, the console and the database are |
//! | [`http_server`] | accepts connections, TLS |
//! | [`client_connections`] | the open connections of clients, and which of them must end |
//! | [`client_addresses`] | the number of connections of each client address |
//! | [`client_stream`] | the bytes of a connection, in plain text or TLS |
//! | [`routes`] | the route table |
//! | [`operation`] | the documentation of a route |
//! | [`routing`] | binds the routes; checks permission, options and casts; cancels |
//! | [`paths`] | path normalization |
//! | [`authentication`] | the caller of a request, or 401 |
//! | [`batch`] | `$batch` |
//! | [`openapi`] | `/openapi.json` |
//! | [`docs`] | the page `/docs`, and `/openapi.json` |
//! | [`cancellation`] | cancels a request when the client has disconnected or the database is
//! down |
//! | [`expensive`] | the answer when a statement reached its timeout |
//! | [`body_guard`] | request bodies that no handler reads to their end |
//! | [`cors`] | pages of other origins, and the headers for browsers |
//! | [`hosts`] | the host check while authorization is disabled |
//! | [`envelope`] | the body of every error |
//! | [`health`] | health checks, and connections during shutdown |
//! | [`metrics`] | `/metrics` |
//! | [`telemetry`] | logs, and the ids of a request |
//!
//! Only the command line imports this folder.

pub mod addresses;
pub mod app;
pub mod authentication;
pub mod batch;
pub mod body_guard;
pub mod cancellation;
pub mod client_addresses;
pub mod client_connections;
pub mod client_stream;
pub mod cors;
pub mod docs;
pub mod envelope;
pub mod expensive;
pub mod health;
pub mod hosts;
pub mod http_server;
pub mod metrics;
pub mod openapi;
pub mod operation;
pub mod paths;
pub mod routes;
pub mod routing;
pub mod telemetry;
