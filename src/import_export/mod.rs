//! The store as files: `devicegraph seed`, `export`, `reset` and `check`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `files.rs` | reads the files |
//! | `seed.rs` | makes the store what the files say; reset |
//! | `export.rs` | writes the files, and removes those of deleted configurations |
//! | `manifest.rs` | the list of the files that an export wrote |
//! | `check.rs` | lists the rows that the API would refuse |
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
