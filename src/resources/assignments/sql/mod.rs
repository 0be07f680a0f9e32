//! Every statement on `device_configuration_assignments`.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `read.rs` | the table as queries see it, and statements that read |
//! | `insert.rs` | statements that insert one row, or the rows of many requests |
//! | `digest.rs` | the digest of a set, computed or kept |
//! | `columns.rs` | helpers of several statements |
//! | `change.rs` | statements that change, delete or replace |
//!
//! A function borrows a connection. Its caller commits the transaction that the caller began.
//!
//! Every write locks the configuration row before it touches an assignment. This fixed
//! order prevents deadlocks. A create or a delete without a condition takes the shared
//! lock (`FOR KEY SHARE`), which many can hold. Every other write takes the exclusive lock
//! (`FOR UPDATE`).

mod change;
mod columns;
mod digest;
mod insert;
mod read;

pub use self::{
    change::{delete, delete_all, delete_many, insert_missing, replace_by_id, update, write},
    digest::{Digest, MAX_COMPUTED, etag, find_digest, keep_digest},
    insert::{insert, insert_many},
    read::{
        ExpandedRow, QueryRow, Set, TABLE, find, find_anywhere, find_by_target, find_many, find_sets, list, list_of,
        scope_of, select, with_times_out_of_range,
    },
};
