//! Graph's types: `graph.csdl.json`, a CSDL JSON document, and what reads it.
//!
//! The document is data: a type that Graph adds is an entry in it and no code.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `model.rs` | the types |
//! | `lookup.rs` | how a type is found by its name |
//! | [`version`] | the versions of the API, and where they are mounted |
//! | [`messages`] | refusals of values, in Graph's words |
//! | [`spelling`] | names that a client may have meant |
//! | `document.rs` | from the document to the types |
//! | [`validation`] | values that a client sends, held to their types |
//! | [`rendering`] | values that are stored, written as Graph writes them |
//!
//! <https://docs.oasis-open.org/odata/odata-csdl-json/v4.01/odata-csdl-json-v4.01.html>

mod document;
mod lookup;
pub mod messages;
mod model;
pub mod rendering;
pub mod spelling;
pub mod validation;
pub mod version;

pub use self::{
    lookup::{DOCUMENT, names, resolve, undeclared, unqualified},
    model::{Enumeration, Limits, NAMESPACE, Primitive, Property, Type, TypeId, ValueType},
};
