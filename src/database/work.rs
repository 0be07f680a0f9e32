//! The class of work that a request does on its connection.

/// The class of work that a request does on its connection.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum WorkClass {
    /// Reads rows by their keys.
    Lookup,
    /// Searches a collection. Takes as long as the search needs.
    Search,
    /// Writes. May wait for a lock of another write.
    Write,
    /// Writes in an atomicity group, which holds the connection for all of its steps.
    WriteGroup,
}
