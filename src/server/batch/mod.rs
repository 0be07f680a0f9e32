//! `$batch`: up to 20 requests in one, each answered as it would be alone.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `handler.rs` | the order of the steps, and what depends on what |
//! | [`steps`] | the request, read |
//! | [`members`] | its members, and what is said of a wrong one |
//! | [`target`] | where a step goes |
//! | [`dispatch`] | a step, carried out by the application's own routes |
//! | [`answer`] | what it was answered, and how that is written |
//!
//! Reads that stand next to each other are carried out side by side, everything
//! else one after the other, so that a read sees every write before it and none
//! behind it. An atomicity group is one transaction and is answered after its
//! commit.
//!
//! <https://learn.microsoft.com/graph/json-batching>

pub mod answer;
pub mod dispatch;
pub mod handler;
pub mod members;
pub mod steps;
pub mod target;

#[cfg(test)]
mod tests;

pub use self::handler::post;
