//! An expression as an SQL condition.
//!
//! In OData, a comparison with null is never null itself: `eq` and `ne` compare null like a
//! value, and `gt` of null is false. SQL gives null instead of false. Where a comparison
//! decides about a row, null counts as false, so the SQL comparison is used as it is and an
//! index can serve it. Below a `not`, or where the comparison is a value, the SQL is made
//! exact. Functions, Boolean properties and `has` of null are null, and `not` of null is null.

use super::{
    literals::{mismatch, text_of},
    operand::{Kind, Operand},
    table::{INDEXED_PREFIX_CHARS, Parameter, Parameters},
    translator::{
        Exactness::{self, Exact, NullIsFalse},
        ExpressionTranslator,
    },
    values::Instance,
};
use crate::{
    catalogue::{Primitive, version::Version},
    error::{ApiError, shorten},
    odata::{
        filter::{Expression, Literal, Operator, Path, Segment},
        key,
    },
};

impl<'a> ExpressionTranslator<'a> {
    /// Creates a translator in which names are properties of `root`.
    pub fn new(mut root: Instance, version: Version, parameters: &'a mut Parameters) -> Self {
        let root_guard = root.take_guard();
        Self { root, root_guard, variables: Vec::new(), version, elements: 0, parameters }
    }

    /// Translates a filter to a condition that is true for the matching rows.
    ///
    /// # Errors
    /// 400 for a property that does not exist, and for values that cannot be compared. The
    /// message names both values.
    pub fn condition(&mut self, filter: &Expression) -> Result<String, ApiError> {
        self.predicate(filter, NullIsFalse)
    }

    /// Returns the condition that the root has the types of the casts. All other conditions
    /// assume it.
    pub fn root_guard(&self) -> Option<String> {
        self.root_guard.clone()
    }

    pub(super) fn predicate(&mut self, expression: &Expression, exactness: Exactness) -> Result<String, ApiError> {
        Ok(match expression {
            Expression::And(terms) => self.terms(terms, " AND ", exactness)?,
            Expression::Or(terms) => self.terms(terms, " OR ", exactness)?,
            Expression::Not(inner) => format!("(NOT {})", self.predicate(inner, Exact)?),
            Expression::Compare(Operator::Has, left, right) => self.has(left, right)?,
            Expression::Compare(operator, left, right) => {
                // Move a literal to the right, as an index needs it.
                let is_literal = |side: &Expression| matches!(side, Expression::Literal(_));
                let (operator, left, right) = match is_literal(left) && !is_literal(right) {
                    true => (operator.mirrored(), right, left),
                    false => (*operator, left, right),
                };
                let left = self.side(left, None)?;
                let indexed_prefix = left.as_ref().and_then(|left| self.indexed_prefix(operator, left, right));
                let right = self.side(right, left.as_ref())?;
                let compared = self.compare(operator, left, right, exactness)?;
                match indexed_prefix {
                    Some(indexed_prefix) => format!("({indexed_prefix} AND {compared})"),
                    None => compared,
                }
            }
            Expression::In(value, literals) => self.in_list(value, literals, exactness)?,
            Expression::IsOf(path, of) => self.type_test(path.as_ref(), of)?,
            other => {
                let operand = self.operand(other)?;
                match operand.kind {
                    Kind::Boolean => operand.whole(),
                    kind => {
                        return Err(ApiError::bad_request(format!(
                            "The value '{}' is of type {} and not a condition. Compare it with a value.",
                            operand.name,
                            kind.type_name()
                        )));
                    }
                }
            }
        })
    }

    fn terms(&mut self, terms: &[Expression], sign: &str, exactness: Exactness) -> Result<String, ApiError> {
        let terms = terms.iter().map(|term| self.predicate(term, exactness)).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("({})", terms.join(sign)))
    }

    /// Converts a side of a comparison. Reads a literal with the type of `beside`. Returns
    /// `None` for null.
    fn side(&mut self, side: &Expression, beside: Option<&Operand>) -> Result<Option<Operand>, ApiError> {
        match (side, beside) {
            (Expression::Literal(Literal::Null), _) => Ok(None),
            (Expression::Literal(literal), Some(beside)) => self.literal(literal, beside).map(Some),
            (other, beside) => {
                self.operand(other).map(Some).map_err(|refusal| match (other, beside.map(|beside| beside.kind)) {
                    (
                        Expression::Path(Path(segments)),
                        Some(Kind::Id | Kind::Text | Kind::Name(..) | Kind::Flags(..)),
                    ) => unquoted(refusal, segments),
                    _ => refusal,
                })
            }
        }
    }

    fn compare(
        &mut self,
        operator: Operator,
        left: Option<Operand>,
        right: Option<Operand>,
        exactness: Exactness,
    ) -> Result<String, ApiError> {
        let (left, right) = match (left, right) {
            (Some(left), Some(right)) => same_kind(left, right)?,
            (Some(one), None) | (None, Some(one)) => {
                return Ok(match operator {
                    Operator::Eq => format!("({} IS NULL)", one.whole()),
                    Operator::Ne => format!("({} IS NOT NULL)", one.whole()),
                    _ => "false".to_owned(),
                });
            }
            (None, None) => return Ok((operator == Operator::Eq).to_string()),
        };
        let operator = match (right.is_cut, operator) {
            (false, operator) => operator,
            // The literal lies between two times that a column can hold.
            (true, Operator::Eq | Operator::Has) => return Ok("false".to_owned()),
            (true, Operator::Ne) => return Ok("true".to_owned()),
            (true, Operator::Ge | Operator::Gt) => Operator::Gt,
            (true, Operator::Lt | Operator::Le) => Operator::Le,
        };
        let sign = match operator {
            Operator::Eq | Operator::Has => "=",
            Operator::Ne => "<>",
            Operator::Gt => ">",
            Operator::Ge => ">=",
            Operator::Lt => "<",
            Operator::Le => "<=",
        };
        let is_ordering = !matches!(operator, Operator::Eq | Operator::Ne | Operator::Has);
        if is_ordering && !is_ordered(left.kind) {
            return Err(ApiError::bad_request(format!(
                "Values of type {} have no order. Compare '{}' with eq, ne or in.",
                left.kind.type_name(),
                left.name
            )));
        }
        // Equality needs no collation: equal texts are equal in every collation, and the index
        // has its own.
        let collation = if is_ordering && left.kind.is_text() { " COLLATE \"C\"" } else { "" };
        match (left.can_be_null(), right.can_be_null()) {
            (true, true) if operator == Operator::Eq => {
                return Ok(format!("({}{collation} IS NOT DISTINCT FROM {}{collation})", left.whole(), right.whole()));
            }
            (false, false) => return Ok(format!("({}{collation} {sign} {}{collation})", left.sql, right.sql)),
            _ if operator == Operator::Ne => {
                return Ok(format!("({}{collation} IS DISTINCT FROM {}{collation})", left.whole(), right.whole()));
            }
            _ => {}
        }
        let compared = format!("{}{collation} {sign} {}{collation}", left.sql, right.sql);
        let guards = [left.guard, right.guard].into_iter().flatten();
        Ok(or_false(guards.chain([compared]).collect::<Vec<_>>().join(" AND "), exactness))
    }

    /// Returns a condition on the indexed prefix of a long text that holds whenever the
    /// comparison holds. An index can serve it.
    fn indexed_prefix(&mut self, operator: Operator, left: &Operand, right: &Expression) -> Option<String> {
        let (Some(indexed_prefix), Expression::Literal(Literal::Text(text))) = (&left.indexed_prefix, right) else {
            return None;
        };
        let sign = match operator {
            Operator::Eq => "=",
            Operator::Gt | Operator::Ge => ">=",
            Operator::Lt | Operator::Le => "<=",
            Operator::Ne | Operator::Has => return None,
        };
        // The database cuts the text, because its encoding defines the characters.
        let text = self.parameters.add(Parameter::Text(text.clone()));
        Some(format!("{indexed_prefix} COLLATE \"C\" {sign} left({text}, {INDEXED_PREFIX_CHARS})"))
    }

    fn has(&mut self, left: &Expression, right: &Expression) -> Result<String, ApiError> {
        let flags = self.operand(left)?;
        let (Kind::Flags(..), Expression::Literal(literal)) = (flags.kind, right) else {
            return Err(ApiError::bad_request(format!(
                "The operator 'has' needs a property with a flags type and a literal such as {2}'…', and '{0}' is of type {1}. Use 'eq' for other properties.",
                flags.name,
                flags.kind.type_name(),
                "microsoft.graph.type",
            )));
        };
        let flag_bits = self.literal(literal, &flags)?.sql;
        Ok(format!("({} & {flag_bits} = {flag_bits})", flags.whole()))
    }

    fn in_list(&mut self, value: &Expression, literals: &[Literal], exactness: Exactness) -> Result<String, ApiError> {
        let operand = self.operand(value)?;
        let (nulls, literals): (Vec<_>, Vec<_>) = literals.iter().partition(|literal| **literal == Literal::Null);
        let mut conditions = Vec::new();
        if !nulls.is_empty() && operand.can_be_null() {
            conditions.push(format!("{} IS NULL", operand.whole()));
        }
        let guard = operand.guard.as_ref().map_or_else(String::new, |guard| format!("{guard} AND "));
        match operand.kind {
            Kind::Id => {
                let texts = literals.iter().map(|literal| match literal {
                    Literal::Text(text) => Ok(text),
                    other => Err(mismatch(other, &operand)),
                });
                let ids = texts.map(|text| Ok(key::guid(text?))).collect::<Result<Vec<_>, ApiError>>()?;
                let ids = self.parameters.add(Parameter::Ids(ids.into_iter().flatten().collect()));
                conditions.push(format!("({guard}{} = ANY ({ids}))", operand.sql));
            }
            kind if kind.is_text() => {
                let texts = literals.iter().map(|literal| text_of(literal, &operand));
                let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
                let mut guard = guard;
                // Whether each text is shorter than the indexed prefix, in any encoding.
                let are_short = texts.iter().all(|text| text.len() <= INDEXED_PREFIX_CHARS);
                let texts = self.parameters.add(Parameter::Texts(texts));
                if let Some(indexed_prefix) = operand.indexed_prefix.as_ref().filter(|_| are_short) {
                    guard += &format!("{indexed_prefix} COLLATE \"C\" = ANY ({texts}) AND ");
                }
                conditions.push(format!("({guard}{} = ANY ({texts}))", operand.sql));
            }
            _ => {
                // The SQL of the value is written once for all literals, because it may be a
                // long expression.
                let others = literals.iter().map(|literal| self.literal(literal, &operand));
                let others = others.collect::<Result<Vec<_>, _>>()?;
                let others: Vec<_> = others.into_iter().filter(|other| !other.is_cut).map(|other| other.sql).collect();
                if !others.is_empty() {
                    conditions.push(format!("({guard}{} IN ({}))", operand.sql, others.join(", ")));
                }
            }
        }
        let condition = if conditions.is_empty() { "false".to_owned() } else { conditions.join(" OR ") };
        match operand.can_be_null() {
            true => Ok(or_false(condition, exactness)),
            false => Ok(format!("({condition})")),
        }
    }
}

fn or_false(condition: String, exactness: Exactness) -> String {
    match exactness {
        NullIsFalse => format!("({condition})"),
        Exact => format!("COALESCE({condition}, false)"),
    }
}

/// Adds the rule on quotes to the refusal of a name, which may be a text without quotes.
fn unquoted(refusal: ApiError, segments: &[Segment]) -> ApiError {
    match segments {
        [Segment::Name(word)] => {
            ApiError::bad_request(format!("{refusal} Write a text in single quotes, as in '{}'.", shorten(word)))
        }
        _ => refusal,
    }
}

fn is_ordered(kind: Kind) -> bool {
    match kind {
        Kind::Id | Kind::Text | Kind::Number | Kind::Time => true,
        Kind::TextOf(primitive) => primitive != Primitive::Binary,
        Kind::Boolean | Kind::Name(..) | Kind::Flags(..) => false,
    }
}

/// Converts two operands to one kind.
fn same_kind(left: Operand, right: Operand) -> Result<(Operand, Operand), ApiError> {
    const TIME: Kind = Kind::TextOf(Primitive::DateTimeOffset);
    let as_text = |id: Operand| Operand { kind: Kind::Text, sql: format!("{}::text", id.sql), ..id };
    let time_as_text = |time: Operand| {
        let text = format!("to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')", time.sql);
        Operand { kind: TIME, sql: format!("rtrim(rtrim({text}, '0'), '.')"), ..time }
    };
    match (left.kind, right.kind) {
        (Kind::Id, Kind::Id)
        | (Kind::Text, Kind::Text)
        | (Kind::Number, Kind::Number)
        | (Kind::Boolean, Kind::Boolean)
        | (Kind::Time, Kind::Time) => Ok((left, right)),
        (Kind::TextOf(one), Kind::TextOf(other)) if one == other => Ok((left, right)),
        (Kind::Name(one, _), Kind::Name(other, _)) | (Kind::Flags(one, _), Kind::Flags(other, _))
            if one.name == other.name =>
        {
            Ok((left, right))
        }
        (Kind::Id, Kind::Text) => Ok((as_text(left), right)),
        (Kind::Text, Kind::Id) => Ok((left, as_text(right))),
        (Kind::Time, Kind::TextOf(Primitive::DateTimeOffset)) => Ok((time_as_text(left), right)),
        (Kind::TextOf(Primitive::DateTimeOffset), Kind::Time) => Ok((left, time_as_text(right))),
        (one, other) => Err(ApiError::bad_request(format!(
            "'{}' of type {} cannot be compared with '{}' of type {}.",
            left.name,
            one.type_name(),
            right.name,
            other.type_name()
        ))),
    }
}
