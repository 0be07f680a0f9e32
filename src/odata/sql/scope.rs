//! What names in an expression mean.

use super::{operand::Operand, table::Parameters, values::Instance};
use crate::catalogue::version::Version;

/// What names in an expression mean, and the parameters of the statement.
pub struct Scope<'a> {
    pub(super) root: Instance,
    pub(super) there: Option<String>,
    pub(super) variables: Vec<(String, Variable)>,
    pub(super) version: Version,
    pub(super) elements: usize,
    /// The values of the statement.
    pub parameters: &'a mut Parameters,
}

#[derive(Clone)]
pub(super) enum Variable {
    Instance(Instance),
    Scalar(Operand),
}

/// Whether a condition may be null for false.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exactness {
    NullIsFalse,
    Exact,
}
