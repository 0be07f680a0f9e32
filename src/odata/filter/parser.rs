//! The grammar of an expression, by recursive descent.
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
//! Keywords are met in any letter case. A name with a dot in it is a type. What
//! OData has beyond this is refused by its name.

use super::{
    Expression, Function, Lambda, Literal, Operator, Path, Segment,
    tokens::{Placed, Token, cut, refused},
};
use crate::error::{ApiError, excerpt};

/// Bytes of an expression at most.
const LONGEST: usize = 16 * 1024;
/// Expressions in each other at most.
const DEEPEST: usize = 32;
/// Literals in the parentheses of `in` at most.
const MOST_LITERALS: usize = 1000;

/// Operators of OData that are not supported.
const ARITHMETIC: [&str; 7] = ["add", "sub", "mul", "div", "divby", "mod", "cast"];

/// Reads an expression.
///
/// # Errors
/// 400 that says what cannot be read and where, or names what is not supported.
pub fn parse(text: &str) -> Result<Expression, ApiError> {
    let mut parser = Parser::new(text)?;
    let expression = parser.or()?;
    parser.end()?;
    Ok(expression)
}

/// Reads a path, as `$orderby` and `$select` have them.
///
/// # Errors
/// Those of [`parse`].
pub fn path(text: &str) -> Result<Path, ApiError> {
    let mut parser = Parser::new(text)?;
    let Token::Word(word) = parser.next() else { return Err(parser.unexpected_before("a property")) };
    let path = parser.path_from(word)?;
    parser.end()?;
    Ok(path)
}

struct Parser {
    tokens: Vec<Placed>,
    here: usize,
    taken: usize,
    depth: usize,
}

impl Parser {
    fn new(text: &str) -> Result<Self, ApiError> {
        if text.len() > LONGEST {
            return Err(ApiError::bad_request(format!(
                "It has {} bytes, and {LONGEST} are the most. Ask for less at once.",
                text.len()
            )));
        }
        Ok(Self { tokens: cut(text)?, here: 0, taken: 0, depth: 0 })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.here].token
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.taken = self.here;
        self.here = (self.here + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes a keyword, where it comes next.
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

    fn expect(&mut self, mark: char) -> Result<(), ApiError> {
        if self.mark(mark) { Ok(()) } else { Err(self.unexpected(&format!("'{mark}'"))) }
    }

    fn end(&mut self) -> Result<(), ApiError> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Word(word) if ARITHMETIC.iter().any(|name| name.eq_ignore_ascii_case(word)) => {
                let what = format!("the operator '{}' is not supported", excerpt(word));
                Err(refused(self.tokens[self.here].at, &what))
            }
            _ => Err(self.unexpected("an operator (eq, ne, gt, ge, lt, le, in, has, and, or) or the end")),
        }
    }

    /// 400 for the next token.
    fn unexpected(&self, expected: &str) -> ApiError {
        let Placed { token, at } = &self.tokens[self.here];
        let found = match token {
            Token::Word(word) => format!("'{}'", excerpt(word)),
            Token::Literal(literal) => format!("the literal {}", excerpt(&literal.to_string())),
            Token::Mark(mark) => format!("'{mark}'"),
            Token::End => "the end".to_owned(),
        };
        refused(*at, &format!("there is {found}, and {expected} is expected"))
    }

    /// The same for the token that was just taken.
    fn unexpected_before(&mut self, expected: &str) -> ApiError {
        self.here = self.taken;
        self.unexpected(expected)
    }

    fn or(&mut self) -> Result<Expression, ApiError> {
        self.deeper()?;
        let mut terms = vec![self.and()?];
        while self.keyword("or") {
            terms.push(self.and()?);
        }
        self.depth -= 1;
        Ok(one_or(terms, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, ApiError> {
        let mut terms = vec![self.not()?];
        while self.keyword("and") {
            terms.push(self.not()?);
        }
        Ok(one_or(terms, Expression::And))
    }

    fn not(&mut self) -> Result<Expression, ApiError> {
        let mut times = 0;
        while self.keyword("not") {
            times += 1;
            self.deeper()?;
        }
        let expression = self.comparison()?;
        self.depth -= times;
        Ok((0..times).fold(expression, |inner, _| Expression::Not(inner.into())))
    }

    fn deeper(&mut self) -> Result<(), ApiError> {
        self.depth += 1;
        match self.depth > DEEPEST {
            true => {
                Err(refused(self.tokens[self.here].at, &format!("more than {DEEPEST} expressions are in each other")))
            }
            false => Ok(()),
        }
    }

    fn comparison(&mut self) -> Result<Expression, ApiError> {
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

    fn literals(&mut self) -> Result<Vec<Literal>, ApiError> {
        self.expect('(')?;
        let mut literals = Vec::new();
        loop {
            let Token::Literal(literal) = self.next() else { return Err(self.unexpected_before("a literal")) };
            literals.push(literal);
            if literals.len() > MOST_LITERALS {
                let what = format!("more than {MOST_LITERALS} literals stand after 'in'");
                return Err(refused(self.tokens[self.here].at, &what));
            }
            if !self.mark(',') {
                break;
            }
        }
        self.expect(')')?;
        Ok(literals)
    }

    fn value(&mut self) -> Result<Expression, ApiError> {
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

    fn call(&mut self, name: &str) -> Result<Expression, ApiError> {
        let at = self.tokens[self.taken].at;
        if name.eq_ignore_ascii_case("isof") {
            return self.is_of();
        }
        let Some((function, count)) = Function::named(name) else {
            let what = format!(
                "the function '{}' is not supported; there are startswith, endswith, contains, tolower, toupper, length and isof",
                excerpt(name)
            );
            return Err(refused(at, &what));
        };
        self.expect('(')?;
        let mut arguments = vec![self.or()?];
        while self.mark(',') {
            arguments.push(self.or()?);
        }
        self.expect(')')?;
        match arguments.len() == count {
            true => Ok(Expression::Call(function, arguments)),
            false => Err(refused(at, &format!("the function '{function}' takes {count}, not {}", arguments.len()))),
        }
    }

    fn is_of(&mut self) -> Result<Expression, ApiError> {
        self.expect('(')?;
        let first = self.next();
        let path = match first {
            Token::Word(word) if !word.contains('.') || *self.peek() == Token::Mark('/') => {
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

    /// A path whose first word is taken.
    fn path_from(&mut self, first: String) -> Result<Path, ApiError> {
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
            } else if is_call {
                return Err(refused(at, &format!("'{}(' is not supported in a path", excerpt(&word))));
            }
            segments.push(segment(word));
        }
        Ok(Path(segments))
    }

    fn lambda(&mut self) -> Result<Lambda, ApiError> {
        let variable = match self.next() {
            Token::Word(word) if !word.contains(['.', '$']) => word,
            _ => return Err(self.unexpected_before("the name of a variable")),
        };
        self.expect(':')?;
        Ok(Lambda { variable, predicate: self.or()?.into() })
    }
}

/// A term that stands alone, or several as one. A chain of any length is no
/// deeper than one of two.
fn one_or(mut terms: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    match (terms.pop(), terms.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            terms.extend(last);
            several(terms)
        }
    }
}

fn segment(word: String) -> Segment {
    if word.contains('.') { Segment::Cast(word) } else { Segment::Name(word) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn and_binds_closer_than_or_and_not_takes_a_whole_comparison() {
        for (text, rendered) in [
            ("a eq 1 or b eq 2 and not c eq 3", "a eq 1 or b eq 2 and not c eq 3"),
            ("(a eq 1 or b eq 2) and c", "(a eq 1 or b eq 2) and c"),
            ("NOT(a) AND b IN ('x','it''s')", "not a and b in ('x','it''s')"),
            ("isof(microsoft.graph.x)", "isof('microsoft.graph.x')"),
            ("isof($it,'microsoft.graph.x')", "isof('microsoft.graph.x')"),
            ("isof(o/p, 'microsoft.graph.x')", "isof(o/p,'microsoft.graph.x')"),
            ("a/microsoft.graph.x/b ne null", "a/microsoft.graph.x/b ne null"),
            ("o/any( p : startswith( p/q , 'x' ) )", "o/any(p:startswith(p/q,'x'))"),
            ("a ge 2026-01-01T00:00:00.5+01:00", "a ge 2026-01-01T00:00:00.5+01:00"),
            ("a has microsoft.graph.e'x,y'", "a has microsoft.graph.e'x,y'"),
            (
                "tolower(a) eq 'x' and abcdef01-0000-4000-8000-000000000000 eq id",
                "tolower(a) eq 'x' and abcdef01-0000-4000-8000-000000000000 eq id",
            ),
        ] {
            assert_eq!(parse(text).expect(text).to_string(), rendered);
        }
    }

    #[test]
    fn a_refusal_says_where_and_names_what_is_not_supported() {
        for (text, expected) in [
            ("", "Cannot read at position 1: there is the end, and a property, a literal or a function is expected."),
            ("a eq", "Cannot read at position 5: there is the end, and a property,"),
            ("a eq 'x", "Cannot read at position 6: a quote that nothing ends;"),
            ("a eq 1 add 2", "Cannot read at position 8: the operator 'add' is not supported."),
            ("a eq 1 b", "Cannot read at position 8: there is 'b', and an operator"),
            ("concat(a,'b') eq 'c'", "Cannot read at position 1: the function 'concat' is not supported; there are"),
            ("startswith(a)", "Cannot read at position 1: the function 'startswith' takes 2, not 1."),
            ("a in ()", "Cannot read at position 7: there is ')', and a literal is expected."),
            ("a in (b)", "Cannot read at position 7: there is 'b', and a literal is expected."),
            ("o/any(o.p eq 1)", "Cannot read at position 7: there is 'o.p', and the name of a variable is expected."),
            ("o/all()", "Cannot read at position 7: there is ')', and the name of a variable is expected."),
            ("a eq @p", "Cannot read at position 6: '@': parameter aliases and annotations are not supported."),
            ("a = 1", "Cannot read at position 3: '='."),
            ("a eq 'x\0'", "Cannot read at position 8: the character NUL"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(expected), "{text}: {refusal}");
        }
        assert!(refusal(&"(".repeat(1000)).contains("more than 32"));
        assert!(refusal(&"not ".repeat(1000)).contains("more than 32"));
        assert!(refusal(&("not ".repeat(20) + "(").repeat(20)).contains("more than 32"));
        assert!(refusal(&"o/any(o:".repeat(1000)).contains("more than 32"));
        assert!(refusal(&"startswith(".repeat(1000)).contains("more than 32"));
        assert!(refusal(&format!("a in ({}1)", "1,".repeat(1000))).contains("more than 1000 literals"));
        assert!(refusal(&"a".repeat(20_000)).contains("20000 bytes"));
    }

    fn name() -> impl Strategy<Value = String> {
        let keyword = |name: &String| {
            ["null", "true", "false", "not", "and", "or", "in", "isof"].contains(&name.as_str())
                || Operator::named(name).is_some()
        };
        "[a-z][a-z0-9]{0,5}".prop_filter("a keyword", move |name| !keyword(name))
    }

    fn literal() -> impl Strategy<Value = Literal> {
        prop_oneof![
            Just(Literal::Null),
            any::<bool>().prop_map(Literal::Boolean),
            "[^\0]{0,6}".prop_map(Literal::Text),
            any::<i64>().prop_map(|number| Literal::Plain(number.to_string())),
            any::<f64>()
                .prop_map(|number| Literal::Plain(format!("{number:?}").replace("inf", "1e999").replace("NaN", "0"))),
            Just(Literal::Plain("2026-01-01T00:00:00.5+01:00".to_owned())),
            ("microsoft\\.graph\\.[a-z]{1,5}", "[a-z']{0,5}").prop_map(|(of, member)| Literal::Enumeration(of, member)),
            "[A-Za-z0-9_=-]{0,5}".prop_map(Literal::Binary),
        ]
    }

    fn plain_path() -> impl Strategy<Value = Path> {
        let segment =
            prop_oneof![name().prop_map(Segment::Name), "microsoft\\.graph\\.[a-z]{1,5}".prop_map(Segment::Cast)];
        (name(), prop::collection::vec(segment, 0..3))
            .prop_map(|(first, rest)| Path(std::iter::once(Segment::Name(first)).chain(rest).collect()))
    }

    fn expression() -> impl Strategy<Value = Expression> {
        let leaf = prop_oneof![
            literal().prop_map(Expression::Literal),
            plain_path().prop_map(Expression::Path),
            (prop::option::of(plain_path()), "microsoft\\.graph\\.[a-z]{1,5}")
                .prop_map(|(path, of)| Expression::IsOf(path, of)),
        ];
        leaf.prop_recursive(5, 24, 3, |inner| {
            let operator = prop::sample::select(Operator::ALL.map(|(_, operator)| operator).to_vec());
            let function = prop::sample::select(Function::ALL.map(|(_, function, count)| (function, count)).to_vec());
            let boxed = || inner.clone().prop_map(Box::new);
            let lambda = (name(), boxed()).prop_map(|(variable, predicate)| Lambda { variable, predicate }).boxed();
            let step =
                prop_oneof![prop::option::of(lambda.clone()).prop_map(Segment::Any), lambda.prop_map(Segment::All)];
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..5).prop_map(Expression::And),
                prop::collection::vec(inner.clone(), 2..5).prop_map(Expression::Or),
                boxed().prop_map(Expression::Not),
                (operator, boxed(), boxed())
                    .prop_map(|(operator, left, right)| Expression::Compare(operator, left, right)),
                (boxed(), prop::collection::vec(literal(), 1..4)).prop_map(|(value, list)| Expression::In(value, list)),
                (function, inner.clone(), inner.clone()).prop_map(|((function, count), one, other)| {
                    Expression::Call(function, [one, other].into_iter().take(count).collect())
                }),
                (plain_path(), step).prop_map(|(Path(mut segments), step)| {
                    segments.push(step);
                    Expression::Path(Path(segments))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_parsed_as_the_same_tree(tree in expression()) {
            let text = tree.to_string();
            prop_assert_eq!(parse(&text).map_err(|refusal| format!("{text}: {refusal}")), Ok(tree));
        }

        #[test]
        fn arbitrary_text_is_an_answer(text in "\\PC{0,64}", bits in prop::collection::vec(
            prop::sample::select(vec!["(", ")", "'", ",", "/", ":", " ", "a", "eq", "any(", "not ", "isof(", "in", "$it", "1", "-", "microsoft.graph.x"]), 0..24)) {
            let _ = parse(&text);
            let _ = parse(&bits.concat());
            let _ = path(&bits.concat());
        }
    }
}
