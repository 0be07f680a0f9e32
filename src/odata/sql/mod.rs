//! A query as one parameterized SQL statement.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `table.rs` | the tables that resources describe, and the parameters of a statement |
//! | `translator.rs` | the translator of expressions, with its variables and parameters |
//! | `operand.rs` | an operand of a comparison, as SQL |
//! | `names.rs` | finds properties and types by their names, in any letter case |
//! | `values.rs` | the value at the end of a path, as SQL |
//! | `operands.rs` | paths and functions as operands; lambdas |
//! | `literals.rs` | literals as operands |
//! | `predicate.rs` | translates an expression to an SQL condition; the entry point |
//!
//! Names in the text of a statement are constants of this crate and of the catalogue. Every
//! text of a client is a parameter.

mod literals;
mod names;
mod operand;
mod operands;
mod predicate;
mod table;
mod translator;
mod values;

pub use self::{
    operand::{Kind, Operand},
    table::{EntityTable, INDEXED_PREFIX_CHARS, Parameter, Parameters, PropertyColumn},
    translator::ExpressionTranslator,
    values::{Instance, Value},
};
