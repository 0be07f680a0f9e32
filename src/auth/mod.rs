//! Who may call, and what they may do.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`access`] | what a route asks of its caller |
//! | [`authenticator`] | the verdict on a request |
//! | [`caller`] | what a token says: who, and which permissions |
//! | [`tokens`] | the verdict on a token, and the memory of verdicts |
//! | [`keys`] | the keys of an issuer, and when they are read again |
//! | [`mint`] | `devicegraph token` |
//!
//! A 401 comes before any other verdict on a request: authentication runs
//! before routing. What a route asks stands in the route table.

pub mod access;
pub mod authenticator;
pub mod caller;
pub mod keys;
pub mod mint;
pub mod tokens;

pub use self::{
    access::{Access, PublicDocument},
    authenticator::Authenticator,
    caller::Caller,
};
