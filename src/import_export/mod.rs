//! Exports in files: `devicegraph seed` reads them, `devicegraph export`
//! writes them, `devicegraph reset` makes room for one.
//!
//! A file is JSON in UTF-8 in one of the forms that tools write: one
//! configuration; an array of them; or a collection as Graph answers it, with
//! the configurations in `value`. A configuration may have its `assignments`
//! in it, as `$expand=assignments` puts them there. What is accepted is what
//! `/beta` accepts, and it goes through the same parsers.

mod check;
mod export;
mod files;
mod manifest;
mod seed;

pub use check::check;
pub use export::export;
pub use files::read;
pub use seed::{count, reset, seed, seed_if_empty};
