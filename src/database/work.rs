//! What a request does with its connection.

/// What a request does with its connection.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum WorkClass {
    /// Reads what a key leads to.
    Lookup,
    /// Searches a collection, for as long as that takes.
    Search,
    /// Writes, and may wait for others that do.
    Write,
}
