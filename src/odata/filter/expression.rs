//! The tree, and how it is written.

use std::fmt;

/// An expression, a common one or a Boolean one.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// All of several.
    And(Vec<Expression>),
    /// One of several.
    Or(Vec<Expression>),
    /// What it is not.
    Not(Box<Expression>),
    /// Two values side by side.
    Compare(Operator, Box<Expression>, Box<Expression>),
    /// One of some literals.
    In(Box<Expression>, Vec<Literal>),
    /// A function of values.
    Call(Function, Vec<Expression>),
    /// Whether what a path leads to, else the row itself, is of a type.
    IsOf(Option<Path>, String),
    /// What a path leads to.
    Path(Path),
    /// A value as it stands.
    Literal(Literal),
}

/// What stands between two values.
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

/// The functions that are supported, beside `isof`.
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

/// The way from a row, or from the variable of a lambda, to a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Path(pub Vec<Segment>);

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// A property, or the variable of a lambda.
    Name(String),
    /// What is of a derived type; nothing else is there beyond it.
    Cast(String),
    /// Whether a collection has an element, of which the lambda holds.
    Any(Option<Lambda>),
    /// Whether the lambda holds of every element.
    All(Lambda),
}

/// A name for an element, and what is asked of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lambda {
    /// The name.
    pub variable: String,
    /// What is asked.
    pub predicate: Box<Expression>,
}

/// A value as it was written. What it means depends on what it stands beside.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true` and `false`
    Boolean(bool),
    /// `'text'`
    Text(String),
    /// What stands without quotes and is no word: a number, a date, a GUID.
    Plain(String),
    /// `microsoft.graph.type'member'`, with the type's name as it was written.
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
