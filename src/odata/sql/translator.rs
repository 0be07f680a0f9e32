//! The translator of expressions to SQL.

use super::{operand::Operand, table::Parameters, values::Instance};
use crate::catalogue::version::Version;

/// Translates expressions to SQL: resolves names, and collects the parameters of the statement.
pub struct ExpressionTranslator<'a> {
    pub(super) root: Instance,
    pub(super) root_guard: Option<String>,
    pub(super) variables: Vec<(String, Variable)>,
    pub(super) version: Version,
    pub(super) elements: usize,
    /// The parameters of the statement.
    pub parameters: &'a mut Parameters,
}

#[derive(Clone)]
pub(super) enum Variable {
    Instance(Instance),
    Scalar(Operand),
}

/// Whether a condition may be null instead of false.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exactness {
    NullIsFalse,
    Exact,
}
