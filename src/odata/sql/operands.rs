//! Paths and functions as operands; lambdas over collections.

use super::{
    literals::is_time,
    operand::{Kind, Operand},
    table::{INDEXED_PREFIX_CHARS, Parameter},
    translator::{
        Exactness::{Exact, NullIsFalse},
        ExpressionTranslator, Variable,
    },
    values::{Instance, Value},
};
use crate::{
    catalogue::{NAMESPACE, Primitive},
    error::{ApiError, shorten},
    odata::filter::{Expression, Function, Lambda, Literal, Path, Segment},
};

/// The maximum nesting depth of lambdas. A lambda runs once for each element of the lambda
/// around it.
const MAX_LAMBDA_DEPTH: usize = 2;

impl ExpressionTranslator<'_> {
    /// Converts an expression to an operand.
    pub fn operand(&mut self, expression: &Expression) -> Result<Operand, ApiError> {
        match expression {
            Expression::Path(path) => self.path(path),
            Expression::Call(function, arguments) => self.call(*function, arguments),
            Expression::Literal(Literal::Boolean(value)) => Ok(Operand::plain(Kind::Boolean, value.to_string(), "")),
            Expression::Literal(literal) => {
                let kind = match literal {
                    Literal::Text(_) => Kind::Text,
                    Literal::Plain(text) if text.parse::<f64>().is_ok() => Kind::Number,
                    Literal::Plain(text) if is_time(text) => Kind::TextOf(Primitive::DateTimeOffset),
                    other => {
                        return Err(ApiError::bad_request(format!(
                            "The literal {} stands alone. Compare it with a property.",
                            shorten(&other.to_string())
                        )));
                    }
                };
                self.literal(literal, &Operand::plain(kind, String::new(), "a literal"))
            }
            predicate => Ok(Operand {
                is_nullable: true,
                ..Operand::plain(Kind::Boolean, self.predicate(predicate, Exact)?, "the expression")
            }),
        }
    }

    /// Converts a path to an operand.
    ///
    /// # Errors
    /// 400 for a property that does not exist, and for a path that does not lead to a single
    /// value.
    pub fn path(&mut self, path: &Path) -> Result<Operand, ApiError> {
        match self.walk(path)? {
            Walked::Condition(sql) => Ok(Operand::plain(Kind::Boolean, sql, &path.to_string())),
            Walked::Value(Value::Scalar(operand)) => Ok(Operand { name: shorten(&path.to_string()), ..operand }),
            Walked::Value(Value::Instance(instance)) => Err(ApiError::bad_request(format!(
                "The property '{}' is an object of type '{NAMESPACE}.{}'. Name a property of it.",
                shorten(&path.to_string()),
                instance.of.name
            ))),
            Walked::Value(Value::Elements(..) | Value::Rows(..)) => Err(ApiError::bad_request(format!(
                "The property '{}' is a collection. Ask for its elements with any or all.",
                shorten(&path.to_string())
            ))),
        }
    }

    fn walk(&mut self, path: &Path) -> Result<Walked, ApiError> {
        let mut here = Value::Instance(self.root.clone());
        for (index, segment) in path.0.iter().enumerate() {
            let variable = match segment {
                Segment::Name(name) if index == 0 => self.variable(name),
                _ => None,
            };
            here = match (variable, segment, here) {
                (Some(Variable::Instance(instance)), ..) => Value::Instance(instance),
                (Some(Variable::Scalar(operand)), ..) => Value::Scalar(operand),
                (None, Segment::Name(name), Value::Instance(instance)) => instance.property(name, self.version)?,
                (None, Segment::Cast(name), Value::Instance(instance)) => {
                    Value::Instance(instance.cast(name, self.version, self.parameters)?)
                }
                (None, Segment::Any(lambda), collection) => {
                    return self.quantifier(path, collection, lambda.as_ref(), false).map(Walked::Condition);
                }
                (None, Segment::All(lambda), collection) => {
                    return self.quantifier(path, collection, Some(lambda), true).map(Walked::Condition);
                }
                (None, Segment::Name(name) | Segment::Cast(name), _) => {
                    return Err(ApiError::bad_request(format!(
                        "'{}' in '{}' stands after a value that has no properties.",
                        shorten(name),
                        shorten(&path.to_string())
                    )));
                }
            };
        }
        Ok(Walked::Value(here))
    }

    fn variable(&self, name: &str) -> Option<Variable> {
        if name == "$it" {
            return Some(Variable::Instance(self.root.clone()));
        }
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, variable)| variable.clone())
    }

    /// Returns the condition that the lambda holds for an element (`any`), or for all elements
    /// (`all`).
    fn quantifier(
        &mut self,
        path: &Path,
        collection: Value,
        lambda: Option<&Lambda>,
        is_all: bool,
    ) -> Result<String, ApiError> {
        if self.variables.len() >= MAX_LAMBDA_DEPTH {
            return Err(ApiError::bad_request(format!(
                "'{}' nests any and all more than {MAX_LAMBDA_DEPTH} levels deep. Nest fewer.",
                shorten(&path.to_string())
            )));
        }
        self.elements += 1;
        let (from, join, variable) = match collection {
            Value::Rows(table, join) => {
                let alias = format!("{}{}", table.alias, self.elements);
                let instance = Instance::row(table, &alias)?;
                (format!("{} AS {alias}", table.name), join.replace('%', &alias), Variable::Instance(instance))
            }
            Value::Elements(json, property, guard) => {
                let alias = format!("e{}", self.elements);
                let guard = guard.map_or_else(String::new, |guard| format!("{guard} AND "));
                let from = format!(
                    "jsonb_array_elements(CASE WHEN {guard}jsonb_typeof({json}) = 'array' THEN {json} ELSE '[]' END) AS {alias} (value)"
                );
                let variable = match Instance::element(property, &format!("{alias}.value")) {
                    Value::Scalar(operand) => Variable::Scalar(operand),
                    Value::Instance(instance) => Variable::Instance(instance),
                    Value::Elements(..) | Value::Rows(..) => return Err(no_collection(path)),
                };
                (from, "true".to_owned(), variable)
            }
            Value::Scalar(_) | Value::Instance(_) => return Err(no_collection(path)),
        };
        let condition = match lambda {
            None => "true".to_owned(),
            Some(Lambda { variable: name, predicate }) => {
                self.variables.push((name.clone(), variable));
                let condition = self.predicate(predicate, if is_all { Exact } else { NullIsFalse });
                self.variables.pop();
                condition?
            }
        };
        Ok(match is_all {
            false => format!("(EXISTS (SELECT FROM {from} WHERE {join} AND {condition}))"),
            true => format!("(NOT EXISTS (SELECT FROM {from} WHERE {join} AND ({condition}) IS NOT TRUE))"),
        })
    }

    pub(super) fn type_test(&mut self, path: Option<&Path>, of: &str) -> Result<String, ApiError> {
        let instance = match path.map(|path| self.walk(path)).transpose()? {
            None => self.root.clone(),
            Some(Walked::Value(Value::Instance(instance))) => instance,
            Some(_) => {
                return Err(ApiError::bad_request(
                    "The function 'isof' needs an object, and this path does not lead to one.",
                ));
            }
        };
        let (_, condition) = instance.type_condition(of, self.version, self.parameters)?;
        let conditions: Vec<_> = instance.guard().into_iter().chain(condition).collect();
        Ok(if conditions.is_empty() { "true".to_owned() } else { format!("({})", conditions.join(" AND ")) })
    }

    fn call(&mut self, function: Function, arguments: &[Expression]) -> Result<Operand, ApiError> {
        let text = self.text(function, &arguments[0])?;
        let (whole, name, mut is_nullable) = (text.whole(), format!("{function}({})", text.name), text.can_be_null());
        let (kind, sql) = match (function, arguments.get(1)) {
            (Function::StartsWith, Some(Expression::Literal(Literal::Text(prefix)))) => {
                let escaped = |text: &str| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%";
                let mut sql = String::new();
                if let Some(indexed_prefix) = &text.indexed_prefix {
                    // Cut at this number of bytes: in every encoding, that is at most this
                    // number of characters.
                    let end = prefix.floor_char_boundary(INDEXED_PREFIX_CHARS);
                    let pattern = escaped(&prefix[..end]);
                    let pattern = self.parameters.add(Parameter::Text(pattern));
                    sql = format!("{indexed_prefix} COLLATE \"C\" LIKE {pattern} AND ");
                }
                let pattern = self.parameters.add(Parameter::Text(escaped(prefix)));
                (Kind::Boolean, format!("({sql}{whole} COLLATE \"C\" LIKE {pattern})"))
            }
            (Function::StartsWith | Function::EndsWith | Function::Contains, Some(part)) => {
                let part = self.text(function, part)?;
                is_nullable |= part.can_be_null();
                let part = part.whole();
                let sql = match function {
                    Function::StartsWith => format!("starts_with({whole}, {part})"),
                    Function::EndsWith => format!("(right({whole}, char_length({part})) COLLATE \"C\" = {part})"),
                    _ => format!("(strpos({whole}, {part}) > 0)"),
                };
                (Kind::Boolean, sql)
            }
            (Function::ToLower, _) => (Kind::Text, format!("(graph_tolower({whole}) COLLATE \"C\")")),
            (Function::ToUpper, _) => (Kind::Text, format!("(graph_toupper({whole}) COLLATE \"C\")")),
            (_, _) => (Kind::Number, format!("char_length({whole})::float8")),
        };
        Ok(Operand { is_nullable, ..Operand::plain(kind, sql, &name) })
    }

    /// Converts an argument that must be text.
    fn text(&mut self, function: Function, argument: &Expression) -> Result<Operand, ApiError> {
        let operand = self.operand(argument)?;
        match operand.kind {
            Kind::Text => Ok(operand),
            Kind::Id => Ok(Operand { kind: Kind::Text, sql: format!("{}::text", operand.sql), ..operand }),
            kind => Err(ApiError::bad_request(format!(
                "The function '{function}' takes texts (Edm.String), and '{}' is of type {}.",
                operand.name,
                kind.type_name()
            ))),
        }
    }
}

enum Walked {
    Value(Value),
    Condition(String),
}

fn no_collection(path: &Path) -> ApiError {
    ApiError::bad_request(format!(
        "'{}' uses any or all on a value that is not a collection.",
        shorten(&path.to_string())
    ))
}
