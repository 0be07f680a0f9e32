//! What several statements share: a constraint, and rows as columns.

use crate::resources::assignments::model::Assignment;

/// One column of some rows, as `unnest` takes it.
pub(super) fn column<'a, T>(
    rows: impl IntoIterator<Item = &'a Assignment>,
    of: impl Fn(&'a Assignment) -> T,
) -> Vec<T> {
    rows.into_iter().map(of).collect()
}

/// The constraint that keeps a target to one assignment of a configuration.
pub(super) const TARGET_KEY: &str = "device_configuration_assignments_target_key";
