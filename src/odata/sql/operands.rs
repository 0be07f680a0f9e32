//! Paths and functions as operands; lambdas over collections.

use super::{
    literals::{is_time, text_of},
    names::ambiguous,
    operand::{Kind, Operand},
    table::{INDEXED_PREFIX_CHARS, Parameter},
    translator::{
        Exactness::{Exact, NullIsFalse},
        ExpressionTranslator, Variable,
    },
    values::{Instance, Value},
};
use crate::{
    catalogue::{NAMESPACE, Primitive, ValueType},
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
                            "The literal {} is not a condition. Compare it with a property.",
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
        let walked = self.walk(path)?;
        single(path, walked)
    }

    /// Converts a path of `$orderby` to an operand.
    ///
    /// # Errors
    /// Those of [`ExpressionTranslator::path`].
    pub fn sort_key(&mut self, path: &Path) -> Result<Operand, ApiError> {
        match self.walk(path)? {
            Walked::Collection { length, .. } => Err(ApiError::bad_request(format!(
                "The property '{}' is a collection, and rows cannot be sorted by it. Name a property with one value.",
                shorten(&Path(path.0[..length].to_vec()).to_string())
            ))),
            walked => single(path, walked),
        }
    }

    fn walk(&mut self, path: &Path) -> Result<Walked, ApiError> {
        let mut here = Value::Instance(self.root.clone());
        for (index, segment) in path.0.iter().enumerate() {
            let variable = match segment {
                Segment::Name(name) if index == 0 => self.variable(name)?,
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
                (None, Segment::Name(name) | Segment::Cast(name), Value::Scalar(_)) => {
                    return Err(ApiError::bad_request(format!(
                        "'{}' in '{}' follows a value that has no properties. Leave it out.",
                        shorten(name),
                        shorten(&path.to_string())
                    )));
                }
                (None, Segment::Name(_) | Segment::Cast(_), Value::Elements(..) | Value::Rows(..)) => {
                    return Ok(Walked::Collection { length: index, has_scalars: false });
                }
            };
        }
        Ok(match here {
            Value::Elements(_, property, _) => {
                let has_scalars = !matches!(property.value_type, ValueType::Complex(_));
                Walked::Collection { length: path.0.len(), has_scalars }
            }
            Value::Rows(..) => Walked::Collection { length: path.0.len(), has_scalars: false },
            Value::Scalar(operand) => Walked::Scalar(operand),
            Value::Instance(instance) => Walked::Instance(instance),
        })
    }

    /// Returns the value of a variable of a lambda. An exact match wins, also of a property;
    /// after that letter case does not count.
    fn variable(&self, name: &str) -> Result<Option<Variable>, ApiError> {
        if name.eq_ignore_ascii_case("$it") {
            return Ok(Some(Variable::Instance(self.root.clone())));
        }
        if let Some((_, exact)) = self.variables.iter().rev().find(|(known, _)| known == name) {
            return Ok(Some(exact.clone()));
        }
        let variables: Vec<_> = self.variables.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect();
        let Some((innermost, variable)) = variables.last() else { return Ok(None) };
        let properties = self.root.names_like(name, self.version);
        let is_one = variables.iter().all(|(known, _)| known == innermost);
        match properties.as_slice() {
            [exact] if *exact == name => Ok(None),
            [] if is_one => Ok(Some(variable.clone())),
            _ => {
                let names = variables.iter().map(|(known, _)| known.as_str());
                Err(ambiguous(name, &names.chain(properties).collect::<Vec<_>>()))
            }
        }
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
                let variable = match Instance::element(property, &format!("{alias}.value"), self.version) {
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
            Some(Walked::Instance(instance)) => instance,
            Some(Walked::Collection { length, has_scalars }) => {
                return Err(path.map_or_else(not_object, |path| collection(path, length, has_scalars)));
            }
            Some(_) => return Err(not_object()),
        };
        let (_, condition) = instance.type_condition(of, self.version, self.parameters)?;
        let conditions: Vec<_> = instance.guard().into_iter().chain(condition).collect();
        Ok(if conditions.is_empty() { "true".to_owned() } else { format!("({})", conditions.join(" AND ")) })
    }

    fn call(&mut self, function: Function, arguments: &[Expression]) -> Result<Operand, ApiError> {
        let text = self.text(function, &arguments[0])?;
        let lowered;
        let part = match arguments.get(1) {
            Some(Expression::Literal(literal @ Literal::Text(_))) if text.is_identifier => {
                lowered = Expression::Literal(Literal::Text(text_of(literal, &text)?));
                Some(&lowered)
            }
            part => part,
        };
        let (whole, name, mut is_nullable) = (text.whole(), format!("{function}({})", text.name), text.can_be_null());
        let (kind, sql) = match (function, part) {
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
                "The arguments of the function '{function}' must be texts (Edm.String), and '{}' is of type {}.",
                operand.name,
                kind.type_name()
            ))),
        }
    }
}

enum Walked {
    Scalar(Operand),
    Instance(Instance),
    Condition(String),
    /// The path leads to or through a collection, which its first segments name.
    Collection {
        /// How many segments these are.
        length: usize,
        /// Whether the elements are scalars.
        has_scalars: bool,
    },
}

/// Returns the value that a path has led to.
fn single(path: &Path, walked: Walked) -> Result<Operand, ApiError> {
    match walked {
        Walked::Condition(sql) => Ok(Operand::plain(Kind::Boolean, sql, &path.to_string())),
        Walked::Scalar(operand) => Ok(Operand { name: shorten(&path.to_string()), ..operand }),
        Walked::Instance(instance) => Err(ApiError::bad_request(format!(
            "The property '{}' is an object of type '{NAMESPACE}.{}'. Name a property of it.",
            shorten(&path.to_string()),
            instance.of.name
        ))),
        Walked::Collection { length, has_scalars } => Err(collection(path, length, has_scalars)),
    }
}

fn not_object() -> ApiError {
    ApiError::bad_request(
        "The function 'isof' needs the path of an object, and this path leads to another value. Write the path of an object.",
    )
}

/// Returns 400 for a path to or through a collection, with the path that asks for its elements.
fn collection(path: &Path, length: usize, has_scalars: bool) -> ApiError {
    let (to, rest) = path.0.split_at(length);
    let (to, rest) = (Path(to.to_vec()).to_string(), Path(rest.to_vec()).to_string());
    let name = to.rsplit('/').next().unwrap_or(&to);
    let variable = name.chars().next().unwrap_or('x').to_ascii_lowercase();
    let element = match (has_scalars, rest.is_empty()) {
        (true, _) => variable.to_string(),
        (false, true) => format!("{variable}/…"),
        (false, false) => format!("{variable}/{rest}"),
    };
    let remedy = shorten(&format!("{to}/any({variable}:{element} eq …)"));
    ApiError::bad_request(format!(
        "The property '{}' is a collection. Test its elements with any or all, as in '{remedy}'.",
        shorten(&to)
    ))
}

fn no_collection(path: &Path) -> ApiError {
    ApiError::bad_request(format!(
        "'{}' uses any or all on a value that is not a collection.",
        shorten(&path.to_string())
    ))
}
