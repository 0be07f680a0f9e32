//! `$filter` as a tree that knows no types and no database.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `expression.rs` | the tree, and how it is written |
//! | `tokens.rs` | text to words, literals and marks |
//! | `parser.rs` | the grammar: words to the tree |
//!
//! [`Expression`] is what [`parse`] makes; written with [`Display`](std::fmt::Display)
//! and parsed again, it is the same tree.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_SystemQueryOptionfilter>

mod expression;
mod parser;
mod tokens;

pub use self::expression::{Expression, Function, Lambda, Literal, Operator, Path, Segment};
pub use parser::{parse, path};
