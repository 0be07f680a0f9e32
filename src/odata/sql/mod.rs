//! A query as one parameterized SQL statement.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `table.rs` | tables, as a resource describes its own, and the parameters |
//! | `scope.rs` | what names in an expression mean |
//! | `operand.rs` | a value that can be compared, as SQL |
//! | `values.rs` | a path as the SQL of the value that it leads to |
//! | `operands.rs` | paths and functions as values that can be compared; lambdas |
//! | `literals.rs` | a literal, read as what it stands beside |
//! | `predicate.rs` | an expression as an SQL condition |
//!
//! Names in the text of a statement are constants of this crate and of the
//! catalogue. Whatever a client wrote is a parameter.

mod literals;
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
