//! The store as files: `devicegraph seed`, `export`, `reset` and `check`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `files.rs` | reads the files |
//! | `foreign.rs` | recognises files of other tools that are no configuration |
//! | `decision.rs` | compares the files with the store and decides what a seed changes |
//! | `seed.rs` | writes the files to the store; reset |
//! | `plan.rs` | what a seed would change |
//! | `plan_text.rs` | the plan as text for a person |
//! | `request.rs` | the options of `devicegraph seed`, and the question before it deletes |
//! | `export.rs` | writes the files, and removes those of deleted configurations |
//! | `manifest.rs` | the list of the files that an export wrote |
//! | `check.rs` | lists the rows that the API would refuse |
//!
//! A file is JSON in UTF-8 in a form that tools write: one configuration; an array of
//! configurations; or a collection as Graph returns it, with the configurations in `value`. A
//! configuration may contain its `assignments`, as with `$expand=assignments`. A file may
//! contain what `/beta` accepts, because the same code parses it.

mod check;
mod decision;
mod export;
mod files;
mod foreign;
mod manifest;
mod plan;
mod plan_text;
mod request;
mod seed;

pub use check::check;
pub use export::export;
pub use files::{FileRules, read};
pub use plan::{Action, AssignmentChange, Plan, PlannedChange, plan};
pub use request::SeedRequest;
pub use seed::{Done, Prune, count, reset, seed, seed_and_prune, seed_if_empty};
