//! devicegraph keeps device configurations and their assignments in PostgreSQL
//! and speaks the Microsoft Graph dialect for them.
//!
//! # The map, from the top down
//!
//! A module imports modules of the same row or of a lower row. `tests/api/architecture.rs`
//! rejects import cycles.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `main.rs`, [`cli`] | the command line |
//! | [`server`] | HTTP: [the route table](server::routes), start and stop, `$batch`, `/openapi.json`, logs, metrics |
//! | [`import_export`] | the store as files: seed, export, reset, check |
//! | [`resources`] | the stored resources: [assignments](resources::assignments),
//! [configurations](resources::configurations), [statuses](resources::statuses) |
//! | [`odata`] | the parts of OData that all resources share: bodies, ids, links, query options
//! and their SQL |
//! | [`console`] | the page at `/` for people |
//! | [`auth`] | authentication and authorization: tokens, keys, permissions |
//! | [`catalogue`] | Graph's types, as data |
//! | [`database`] | the database, its migrations and connections; the private PostgreSQL |
//! | [`error`] | every error answer |
//! | [`json`] | the JSON parser |
//! | [`tls`] | the certificate of the service, and which certificates it trusts |
//! | [`config`], `default.toml` | every setting |
//!
//! # Where a behaviour is
//!
//! Find its route in [`server::routes`]. The entry names the handler. A resource is a folder
//! with `handlers.rs` (what a route does), `model.rs` (parses Graph JSON into a valid
//! value, or refuses it), `representation.rs` or `model.rs` (a row as an answer shows it) and `sql.rs` or
//! `sql/` (every statement).
//!
//! | behaviour | where |
//! | --- | --- |
//! | a duplicate target is refused | `insert` in [`resources::assignments::create`]; for PATCH,
//! `target_conflict` in `handlers`; for `assign`, `Plan::new` in `plan`, and `AssignmentSet::parse` in `set` |
//! | a token is validated | [`auth::tokens`] |
//! | a route is registered | `configure` in `server/routing.rs`, for each entry of [`server::routes`] |
//! | `$filter` becomes SQL | `odata/sql/predicate.rs`, called by [`odata::query`] |
//! | an ETag is computed | `etag` in `model` of a configuration, `etag` in `sql` of assignments;
//! [`odata::etag`] compares it |
//! | requests are combined into one statement | [`database::coalescing`], by `create.rs`,
//! `loaders.rs` or `loader.rs` of the resource |
//! | an outage of the database is detected | [`database::outage`]; then [`server::cancellation`] answers 503 |
//! | a request waits too long for a connection | [`database::pool`]; [`error`] makes a 503 of it |
//! | a connection is closed because it is idle or slow | [`server::client_connections`] |
//! | a next link is created | `list` in `handlers` of the resource, with [`odata::query`] |
//! | an export removes files | [`import_export::export`] |

pub mod auth;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod console;
pub mod database;
pub mod error;
pub mod import_export;
pub mod json;
pub mod odata;
pub mod resources;
pub mod server;
pub mod tls;
