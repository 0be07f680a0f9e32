//! devicegraph keeps device configurations and their assignments in PostgreSQL
//! and speaks the Microsoft Graph dialect for them.
//!
//! # The map, in reading order
//!
//! | file | what it holds |
//! | --- | --- |
//! | `main.rs`, [`cli`] | the command line |
//! | [`config`], `default.toml` | every setting |
//! | [`server::app`] | the service put together: start, serve, stop |
//! | [`server::routes`] | the route table |
//! | [`resources::assignments`] | the heart: who gets a configuration |
//! | [`resources::configurations`] | what is assigned |
//! | [`resources::statuses`] | what devices and users report of it |
//! | [`catalogue`] | Graph's types, as data |
//! | [`odata`] | what is the same for every resource: bodies, ids, links, options |
//! | [`server::openapi`] | what the service reads and answers, as a document and as a page |
//! | [`console`] | the page for people, at `/` |
//! | [`import_export`] | exports in files: seed, export, reset |
//! | [`error`] | every refusal, and how it becomes HTTP |
//! | [`auth`] | who may call: tokens, keys, permissions |
//! | [`server::cors`] | whose pages may call, and the headers for browsers |
//! | [`server::hosts`] | which host names a request may name while authorization is off |
//! | [`tls`] | the certificate of the service, and what it trusts itself |
//! | [`database`] | which PostgreSQL, its migrations, the private server |
//! | [`server::health`] | what the service says of itself |
//! | [`server::cancellation`] | when a request is given up |
//! | [`server::metrics`] | what an operator watches |
//! | [`server::body_guard`] | bodies that nobody reads to their end |
//! | [`server::telemetry`] | logs, and the ids of a request |
//!
//! A resource is a folder with `model.rs` (Graph JSON to a valid value and
//! back), `sql.rs` or `sql/` (every statement) and `handlers.rs` (what a route does). A
//! request goes `routes.rs` → extractors → `handlers.rs` → `sql.rs` → answer; what
//! `writer.rs` and `loaders.rs` stand for goes through `database/coalescing.rs`, with
//! others of its kind.

pub mod auth;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod console;
pub mod database;
pub mod error;
pub mod import_export;
pub mod odata;
pub mod resources;
pub mod server;
pub mod tls;
