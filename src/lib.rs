//! devicegraph keeps device configurations and their assignments in PostgreSQL
//! and speaks the Microsoft Graph dialect for them.
//!
//! # The map, in reading order
//!
//! | file | what it holds |
//! | --- | --- |
//! | `main.rs`, [`cli`] | the command line |
//! | [`config`], `default.toml` | every setting |
//! | [`app`] | the service put together: start, serve, stop |
//! | [`routes`] | the route table |
//! | [`assignments`] | the heart: who gets a configuration |
//! | [`configurations`] | what is assigned |
//! | [`statuses`] | what devices and users report of it |
//! | [`catalogue`] | Graph's types, as data |
//! | [`odata`] | what is the same for every resource: bodies, ids, links, options |
//! | [`openapi`] | what the service reads and answers, as a document and as a page |
//! | [`console`] | the page for people, at `/` |
//! | [`transfer`] | exports in files: seed, export, reset |
//! | [`error`] | every refusal, and how it becomes HTTP |
//! | [`auth`] | who may call: tokens, keys, permissions |
//! | [`browsers`] | whose pages may call, and the headers for browsers |
//! | [`hosts`] | which host names a request may name while authorization is off |
//! | [`tls`] | the certificate of the service, and what it trusts itself |
//! | [`database`] | which PostgreSQL, its migrations, the private server |
//! | [`health`] | what the service says of itself |
//! | [`patience`] | when a request is given up |
//! | [`metrics`] | what an operator watches |
//! | [`unread`] | bodies that nobody reads to their end |
//! | [`telemetry`] | logs, and the ids of a request |
//!
//! A resource is a folder with `model.rs` (Graph JSON to a valid value and
//! back), `sql.rs` or `sql/` (every statement) and `handlers.rs` (what a route does). A
//! request goes `routes.rs` → extractors → `handlers.rs` → `sql.rs` → answer; what
//! `writer.rs` and `reader.rs` stand for goes through `database/groups.rs`, with
//! others of its kind.

pub mod app;
pub mod assignments;
pub mod auth;
pub mod browsers;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod configurations;
pub mod console;
pub mod database;
pub mod error;
pub mod health;
pub mod hosts;
pub mod metrics;
pub mod odata;
pub mod openapi;
pub mod patience;
pub mod routes;
pub mod statuses;
pub mod telemetry;
pub mod tls;
pub mod transfer;
pub mod unread;
