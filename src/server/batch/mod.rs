//! `$batch`: up to 20 requests in one, each answered as it would be alone.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `handler.rs` | runs the steps in order, and handles their dependencies |
//! | [`steps`] | parses the request |
//! | [`members`] | reads the members of the request |
//! | [`target`] | the target of a step |
//! | [`dispatch`] | runs a step through the application's own routes |
//! | [`answer`] | the answer to a step, and its JSON |
//!
//! Adjacent reads run concurrently. All other steps run one after the other, so that a read
//! sees every earlier write and no later one. An atomicity group is one transaction, and its
//! steps are answered after its commit.
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
