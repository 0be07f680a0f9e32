//! `$filter` as a syntax tree, without types and without SQL.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `expression.rs` | the tree and its text form |
//! | `tokens.rs` | the tokenizer |
//! | `hints.rs` | syntax of other languages, and what OData has for it |
//! | `parser.rs` | the grammar |
//!
//! [`parse`] returns an [`Expression`]. Its [`Display`](std::fmt::Display) form parses to the
//! same tree.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_SystemQueryOptionfilter>

mod expression;
mod hints;
mod parser;
mod tokens;

pub use self::expression::{Expression, Function, Lambda, Literal, Operator, Path, Segment};
pub use parser::{parse, path};
