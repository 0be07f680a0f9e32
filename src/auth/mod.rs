//! Authentication and authorization.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`access`] | the access that a route requires |
//! | [`authenticator`] | finds the caller of a request, or refuses the request |
//! | [`caller`] | the caller that a token names, with its permissions |
//! | [`tokens`] | validates tokens, and caches valid ones |
//! | [`keys`] | the keys of an issuer, and their refresh |
//! | [`mint`] | `devicegraph token` |
//!
//! The 401 comes before any other refusal, because authentication runs before routing. The
//! route table has the access of each route.

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
