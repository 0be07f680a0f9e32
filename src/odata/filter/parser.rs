//! A recursive descent parser for expressions.
//!
//! ```text
//! or         = and *( "or" and )
//! and        = not *( "and" not )
//! not        = "not" not / comparison
//! comparison = value [ operator value / "in" "(" literal *( "," literal ) ")" ]
//! operator   = "eq" / "ne" / "gt" / "ge" / "lt" / "le" / "has"
//! value      = "(" or ")" / literal / function / isof / path
//! function   = name "(" or *( "," or ) ")"
//! isof       = "isof" "(" [ path "," ] type ")"      ; the type with quotes or without
//! path       = segment *( "/" segment )
//! segment    = property / type / ( "any" / "all" ) "(" [ variable ":" or ] ")"
//! ```
//!
//! Keywords are case-insensitive. A name that contains a dot is a type. The parser refuses
//! other syntax of OData by name.

use super::{
    expression::{Expression, Function, Lambda, Literal, Operator, Path, Segment},
    hints,
    tokens::{Placed, SyntaxError, Token, syntax_error, tokenize},
};
use crate::error::{ApiError, shorten};

/// The maximum length of an expression in bytes.
const MAX_EXPRESSION_BYTES: usize = 16 * 1024;
/// The maximum nesting depth of expressions.
const MAX_DEPTH: usize = 32;
/// The maximum number of literals after `in`.
const MAX_LITERALS: usize = 1000;

/// Operators of OData that are not supported.
const ARITHMETIC: [&str; 7] = ["add", "sub", "mul", "div", "divby", "mod", "cast"];

/// Parses an expression.
///
/// # Errors
/// 400 with the position of a syntax error and the right syntax, or with the name of an
/// unsupported feature.
pub fn parse(text: &str) -> Result<Expression, ApiError> {
    read(text, |parser| {
        let expression = parser.or()?;
        parser.end()?;
        Ok(expression)
    })
}

/// Parses a path of `$orderby` or `$select`.
///
/// # Errors
/// Those of [`parse`].
pub fn path(text: &str) -> Result<Path, ApiError> {
    read(text, |parser| {
        let Token::Word(word) = parser.next() else { return Err(parser.unexpected_before("a property")) };
        let path = parser.path_from(word)?;
        parser.end()?;
        Ok(path)
    })
}

fn read<T>(text: &str, rule: impl FnOnce(&mut Parser) -> Result<T, SyntaxError>) -> Result<T, ApiError> {
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(ApiError::bad_request(format!(
            "the expression has {} bytes. Send at most {MAX_EXPRESSION_BYTES} bytes.",
            text.len()
        )));
    }
    let parser = tokenize(text).map(|tokens| Parser { tokens, here: 0, taken: 0, depth: 0 });
    parser.and_then(|mut parser| rule(&mut parser)).map_err(|error| error.refusal(text))
}

struct Parser {
    tokens: Vec<Placed>,
    here: usize,
    taken: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.here].token
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.taken = self.here;
        self.here = (self.here + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes the next token if it is this keyword. Returns whether it was.
    fn keyword(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if is_next {
            self.next();
        }
        is_next
    }

    fn mark(&mut self, mark: char) -> bool {
        let is_next = *self.peek() == Token::Mark(mark);
        if is_next {
            self.next();
        }
        is_next
    }

    fn expect(&mut self, mark: char) -> Result<(), SyntaxError> {
        if self.mark(mark) { Ok(()) } else { Err(self.unexpected(&format!("'{mark}'"))) }
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Word(word) if ARITHMETIC.iter().any(|name| name.eq_ignore_ascii_case(word)) => {
                let what = format!("the operator '{}' is not supported", shorten(word));
                Err(syntax_error(self.tokens[self.here].at, &what))
            }
            _ => Err(self.unexpected("an operator (eq, ne, gt, ge, lt, le, in, has, and, or) or the end")),
        }
    }

    /// Returns the error for the next token, with what its author may have meant.
    fn unexpected(&self, expected: &str) -> SyntaxError {
        let Placed { token, at } = &self.tokens[self.here];
        let hint = match token {
            Token::Word(word) => hints::operator(word),
            _ => String::new(),
        };
        let found = match token {
            Token::Word(word) => format!("'{}'", shorten(word)),
            Token::Literal(literal) => format!("the literal {}", shorten(&literal.to_string())),
            Token::Mark(mark) => format!("'{mark}'"),
            Token::End => "the end".to_owned(),
        };
        syntax_error(*at, &format!("found {found}, expected {expected}{hint}"))
    }

    /// Returns the error for the token that was just taken.
    fn unexpected_before(&mut self, expected: &str) -> SyntaxError {
        self.here = self.taken;
        self.unexpected(expected)
    }

    fn or(&mut self) -> Result<Expression, SyntaxError> {
        self.enter()?;
        let mut terms = vec![self.and()?];
        while self.keyword("or") {
            terms.push(self.and()?);
        }
        self.depth -= 1;
        Ok(combine_terms(terms, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, SyntaxError> {
        let mut terms = vec![self.not()?];
        while self.keyword("and") {
            terms.push(self.not()?);
        }
        Ok(combine_terms(terms, Expression::And))
    }

    fn not(&mut self) -> Result<Expression, SyntaxError> {
        let mut times = 0;
        while self.keyword("not") {
            times += 1;
            self.enter()?;
        }
        let expression = self.comparison()?;
        self.depth -= times;
        Ok((0..times).fold(expression, |inner, _| Expression::Not(inner.into())))
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(syntax_error(
                self.tokens[self.here].at,
                &format!("expressions are nested more than {MAX_DEPTH} levels deep"),
            )),
            false => Ok(()),
        }
    }

    fn comparison(&mut self) -> Result<Expression, SyntaxError> {
        let left = self.value()?;
        let operator = match self.peek() {
            Token::Word(word) if word.eq_ignore_ascii_case("in") => None,
            Token::Word(word) => match Operator::named(word) {
                Some(operator) => Some(operator),
                None => return Ok(left),
            },
            _ => return Ok(left),
        };
        self.next();
        match operator {
            Some(operator) => Ok(Expression::Compare(operator, left.into(), self.value()?.into())),
            None => Ok(Expression::In(left.into(), self.literals()?)),
        }
    }

    fn literals(&mut self) -> Result<Vec<Literal>, SyntaxError> {
        self.expect('(')?;
        let mut literals = Vec::new();
        loop {
            let Token::Literal(literal) = self.next() else { return Err(self.unexpected_before("a literal")) };
            literals.push(literal);
            if literals.len() > MAX_LITERALS {
                let what = format!("there are more than {MAX_LITERALS} literals after 'in'");
                return Err(syntax_error(self.tokens[self.here].at, &what));
            }
            if !self.mark(',') {
                break;
            }
        }
        self.expect(')')?;
        Ok(literals)
    }

    fn value(&mut self) -> Result<Expression, SyntaxError> {
        match self.next() {
            Token::Mark('(') => {
                let inner = self.or()?;
                self.expect(')')?;
                Ok(inner)
            }
            Token::Literal(literal) => Ok(Expression::Literal(literal)),
            Token::Word(word) if *self.peek() == Token::Mark('(') => self.call(&word),
            Token::Word(word) => self.path_from(word).map(Expression::Path),
            _ => Err(self.unexpected_before("a property, a literal or a function")),
        }
    }

    fn call(&mut self, name: &str) -> Result<Expression, SyntaxError> {
        let at = self.tokens[self.taken].at;
        if name.eq_ignore_ascii_case("isof") {
            return self.is_of();
        }
        let Some((function, count)) = Function::named(name) else {
            let what = format!(
                "the function '{}' is not supported; supported are startswith, endswith, contains, tolower, toupper, length and isof{}",
                shorten(name),
                hints::function(name)
            );
            return Err(syntax_error(at, &what));
        };
        self.expect('(')?;
        let mut arguments = vec![self.or()?];
        while self.mark(',') {
            arguments.push(self.or()?);
        }
        self.expect(')')?;
        match arguments.len() == count {
            true => Ok(Expression::Call(function, arguments)),
            false => Err(syntax_error(
                at,
                &format!("the number of arguments of '{function}' is {} and must be {count}", arguments.len()),
            )),
        }
    }

    fn is_of(&mut self) -> Result<Expression, SyntaxError> {
        self.expect('(')?;
        let first = self.next();
        let path = match first {
            // A word alone is a type, also one that lacks its namespace.
            Token::Word(word)
                if !(word.contains('.') || *self.peek() == Token::Mark(')')) || *self.peek() == Token::Mark('/') =>
            {
                let path = self.path_from(word)?;
                self.expect(',')?;
                Some(path)
            }
            _ => {
                self.here = self.taken;
                None
            }
        };
        let of = match self.next() {
            Token::Word(of) | Token::Literal(Literal::Text(of)) => of,
            _ => return Err(self.unexpected_before("the name of a type")),
        };
        self.expect(')')?;
        Ok(Expression::IsOf(path.filter(|path| *path != Path(vec![Segment::Name("$it".to_owned())])), of))
    }

    /// Parses the rest of a path whose first word is taken.
    fn path_from(&mut self, first: String) -> Result<Path, SyntaxError> {
        let mut segments = vec![segment(first)];
        while self.mark('/') {
            let Token::Word(word) = self.next() else { return Err(self.unexpected_before("a property or a type")) };
            let is_call = *self.peek() == Token::Mark('(');
            let at = self.tokens[self.taken].at;
            if is_call && word.eq_ignore_ascii_case("any") {
                self.expect('(')?;
                let lambda = if *self.peek() == Token::Mark(')') { None } else { Some(self.lambda()?) };
                self.expect(')')?;
                segments.push(Segment::Any(lambda));
                break;
            } else if is_call && word.eq_ignore_ascii_case("all") {
                self.expect('(')?;
                let lambda = self.lambda()?;
                self.expect(')')?;
                segments.push(Segment::All(lambda));
                break;
            } else if is_call || word.starts_with('$') {
                return Err(syntax_error(at, &unsupported(&word, is_call, &segments)));
            }
            segments.push(segment(word));
        }
        Ok(Path(segments))
    }

    fn lambda(&mut self) -> Result<Lambda, SyntaxError> {
        let variable = match self.next() {
            Token::Word(word) if !word.contains(['.', '$']) => word,
            _ => return Err(self.unexpected_before("the name of a variable")),
        };
        if !self.mark(':') {
            let remedy = format!("':' after a variable (a:a/{}…)", shorten(&variable));
            return Err(self.unexpected(&remedy));
        }
        Ok(Lambda { variable, predicate: self.or()?.into() })
    }
}

/// Returns the only term, or an expression with several terms. A chain of any length is not
/// deeper than a chain of two.
fn combine_terms(mut terms: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    match (terms.pop(), terms.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            terms.extend(last);
            several(terms)
        }
    }
}

/// Returns why a segment of a path is not supported after the ones before it.
fn unsupported(word: &str, is_call: bool, before: &[Segment]) -> String {
    let parenthesis = if is_call { "(" } else { "" };
    match Function::named(word) {
        Some((function, _)) => {
            let path = Path(before.to_vec()).to_string();
            format!("write the property inside the parentheses of the function, as in {function}({},…)", shorten(&path))
        }
        None => format!("'{}{parenthesis}' is not supported in a path", shorten(word)),
    }
}

fn segment(word: String) -> Segment {
    if word.contains('.') { Segment::Cast(word) } else { Segment::Name(word) }
}

#[cfg(test)]
mod tests;
