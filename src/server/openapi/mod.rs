//! `/openapi.json`: the API in OpenAPI 3.1.
//!
//! The document is generated from the route table, the catalogue and the table of errors. Only
//! facts that none of them has are written here.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `document.rs` | assembles the document |
//! | [`components`] | the schemas that operations refer to |
//! | [`parameters`] | paths, query options and headers of requests |
//! | [`bodies`] | bodies of requests |
//! | [`assignments`] | assignments, targets and `assign` |
//! | [`answers`] | answers and their headers |
//! | [`schemas`] | the catalogue in JSON Schema |
//! | [`members`] | names of members in JSON Schema, and values without a known type |
//!
//! <https://spec.openapis.org/oas/v3.1.1.html>

pub mod answers;
pub mod assignments;
pub mod bodies;
pub mod components;
pub mod document;
pub mod members;
pub mod parameters;
pub mod schemas;

pub use self::document::write;
