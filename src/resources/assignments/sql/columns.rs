//! Helpers of several statements: a constraint, and rows as columns.

use crate::resources::assignments::model::Assignment;

/// Returns one column of the rows, as `unnest` takes it.
pub(super) fn column<'a, T>(
    rows: impl IntoIterator<Item = &'a Assignment>,
    of: impl Fn(&'a Assignment) -> T,
) -> Vec<T> {
    rows.into_iter().map(of).collect()
}

/// The constraint that allows each target once in a configuration.
pub(super) const TARGET_KEY: &str = "device_configuration_assignments_target_key";
