//! Graph's types: `graph.csdl.json`, a CSDL JSON document, and the code that reads it.
//!
//! The types are data: a new type of Graph needs an entry in the document and no code.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `model.rs` | the types |
//! | `lookup.rs` | finds types by their names |
//! | [`families`] | types of Graph that are no configuration |
//! | `naming.rs` | finds types that queries and paths name, in any letter case |
//! | [`version`] | the versions of the API and their mounts |
//! | [`messages`] | refusals of values, with Graph's messages |
//! | [`date_literals`] | times as Windows PowerShell writes them |
//! | [`member_names`] | classifies a member of a body by its name |
//! | [`sent_types`] | types that bodies name |
//! | [`spelling`] | names that a client may have meant |
//! | [`csdl`] | the document as a tree |
//! | `document.rs` | reads the types from the document |
//! | [`validation`] | checks values that a client sends |
//! | [`rendering`] | writes stored values in Graph's form |
//!
//! <https://docs.oasis-open.org/odata/odata-csdl-json/v4.01/odata-csdl-json-v4.01.html>

pub mod csdl;
pub mod date_literals;
mod document;
pub mod families;
mod lookup;
pub mod member_names;
pub mod messages;
mod model;
mod naming;
pub mod rendering;
pub mod sent_types;
pub mod spelling;
pub mod validation;
pub mod version;

pub use self::{
    csdl::DOCUMENT,
    lookup::{names, resolve, undeclared, unqualified},
    model::{Enumeration, Limits, Member, NAMESPACE, Navigation, Primitive, Property, Type, TypeId, ValueType},
    naming::{NamedType, named_type, spelled},
};
