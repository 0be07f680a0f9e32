//! The tree of an expression, and its text form.

use std::fmt;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// All terms must hold.
    And(Vec<Expression>),
    /// At least one term must hold.
    Or(Vec<Expression>),
    /// The negation of an expression.
    Not(Box<Expression>),
    /// A comparison of two values.
    Compare(Operator, Box<Expression>, Box<Expression>),
    /// Whether a value is in a list of literals.
    In(Box<Expression>, Vec<Literal>),
    /// A call of a function.
    Call(Function, Vec<Expression>),
    /// Whether the object of a path, or else the row itself, has a type.
    IsOf(Option<Path>, String),
    /// The value of a path.
    Path(Path),
    /// A literal.
    Literal(Literal),
}

/// An operator of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are OData's")]
pub enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    Has,
}

/// The supported functions, except `isof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are OData's")]
pub enum Function {
    StartsWith,
    EndsWith,
    Contains,
    ToLower,
    ToUpper,
    Length,
}

/// A path from a row, or from the variable of a lambda, to a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Path(pub Vec<Segment>);

/// A segment of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// A property, or the variable of a lambda.
    Name(String),
    /// A cast to a derived type. The path yields null for an object of another type.
    Cast(String),
    /// Whether a collection has an element for which the lambda holds. Without a lambda:
    /// whether it has any element.
    Any(Option<Lambda>),
    /// Whether the lambda holds for every element.
    All(Lambda),
}

/// A condition on an element, which has a variable name.
#[derive(Clone, Debug, PartialEq)]
pub struct Lambda {
    /// The name of the variable.
    pub variable: String,
    /// The condition.
    pub predicate: Box<Expression>,
}

/// A literal as it was written. Its type depends on the value that it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true` and `false`
    Boolean(bool),
    /// `'text'`
    Text(String),
    /// A literal without quotes that is no keyword: a number, a date, a GUID.
    Plain(String),
    /// `microsoft.graph.type'member'`, with the name of the type as it was written.
    Enumeration(String, String),
    /// `binary'AAEC'`
    Binary(String),
}

impl Operator {
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("eq", Self::Eq),
        ("ne", Self::Ne),
        ("gt", Self::Gt),
        ("ge", Self::Ge),
        ("lt", Self::Lt),
        ("le", Self::Le),
        ("has", Self::Has),
    ];

    /// Returns the operator for the same comparison with its sides exchanged.
    pub fn mirrored(self) -> Self {
        match self {
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            same @ (Self::Eq | Self::Ne | Self::Has) => same,
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, operator)| operator)
    }
}

impl Function {
    pub(super) const ALL: [(&'static str, Self, usize); 6] = [
        ("startswith", Self::StartsWith, 2),
        ("endswith", Self::EndsWith, 2),
        ("contains", Self::Contains, 2),
        ("tolower", Self::ToLower, 1),
        ("toupper", Self::ToUpper, 1),
        ("length", Self::Length, 1),
    ];

    pub(super) fn named(name: &str) -> Option<(Self, usize)> {
        let mut all = Self::ALL.into_iter();
        all.find(|(known, ..)| known.eq_ignore_ascii_case(name)).map(|(_, function, arguments)| (function, arguments))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, operator)| operator == self);
        formatter.write_str(name.map_or("", |(name, _)| name))
    }
}

impl fmt::Display for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(_, function, _)| function == self);
        formatter.write_str(name.map_or("", |(name, ..)| name))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(terms) => write_list(formatter, terms.iter().map(|term| Parenthesized(term, 1)), " or "),
            Self::And(terms) => write_list(formatter, terms.iter().map(|term| Parenthesized(term, 2)), " and "),
            Self::Not(inner) => write!(formatter, "not {}", Parenthesized(inner, 2)),
            Self::Compare(operator, left, right) => {
                write!(formatter, "{} {operator} {}", Parenthesized(left, 4), Parenthesized(right, 4))
            }
            Self::In(value, literals) => {
                write!(formatter, "{} in (", Parenthesized(value, 4))?;
                write_list(formatter, literals, ",")?;
                formatter.write_str(")")
            }
            Self::Call(function, arguments) => {
                write!(formatter, "{function}(")?;
                write_list(formatter, arguments, ",")?;
                formatter.write_str(")")
            }
            Self::IsOf(None, of) => write!(formatter, "isof({})", Quoted(of)),
            Self::IsOf(Some(path), of) => write!(formatter, "isof({path},{})", Quoted(of)),
            Self::Path(path) => path.fmt(formatter),
            Self::Literal(literal) => literal.fmt(formatter),
        }
    }
}

/// A part of an expression, in parentheses where its operator binds less than `least`.
struct Parenthesized<'a>(&'a Expression, u8);

impl fmt::Display for Parenthesized<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(expression, least) = self;
        let binds = match expression {
            Expression::Or(..) => 0,
            Expression::And(..) => 1,
            Expression::Not(_) => 2,
            Expression::Compare(..) | Expression::In(..) => 3,
            Expression::Call(..) | Expression::IsOf(..) | Expression::Path(_) | Expression::Literal(_) => 4,
        };
        if binds < *least { write!(formatter, "({expression})") } else { expression.fmt(formatter) }
    }
}

fn write_list(
    formatter: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = impl fmt::Display>,
    separator: &str,
) -> fmt::Result {
    items.into_iter().enumerate().try_for_each(|(index, item)| {
        let separator = if index == 0 { "" } else { separator };
        write!(formatter, "{separator}{item}")
    })
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, segment)| {
            let slash = if index == 0 { "" } else { "/" };
            match segment {
                Segment::Name(name) | Segment::Cast(name) => write!(formatter, "{slash}{name}"),
                Segment::Any(None) => write!(formatter, "{slash}any()"),
                Segment::Any(Some(lambda)) => write!(formatter, "{slash}any({lambda})"),
                Segment::All(lambda) => write!(formatter, "{slash}all({lambda})"),
            }
        })
    }
}

impl fmt::Display for Lambda {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.variable, self.predicate)
    }
}

/// A quoted text. A quote in the text is doubled.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "'{}'", self.0.replace('\'', "''"))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Boolean(value) => value.fmt(formatter),
            Self::Text(text) => Quoted(text).fmt(formatter),
            Self::Plain(text) => formatter.write_str(text),
            Self::Enumeration(of, member) => write!(formatter, "{of}{}", Quoted(member)),
            Self::Binary(text) => write!(formatter, "binary{}", Quoted(text)),
        }
    }
}
