//! Tests of the grammar.

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
        ("", "Syntax error at position 1: found the end, expected a property, a literal or a function."),
        ("a eq", "Syntax error at position 5: found the end, expected a property,"),
        ("a eq 'x", "Syntax error at position 6: the text has no closing quote;"),
        ("a eq 1 add 2", "Syntax error at position 8: the operator 'add' is not supported."),
        ("a eq 1 b", "Syntax error at position 8: found 'b', expected an operator"),
        ("concat(a,'b') eq 'c'", "Syntax error at position 1: the function 'concat' is not supported; supported are"),
        ("startswith(a)", "Syntax error at position 1: the number of arguments of 'startswith' is 1 and must be 2."),
        ("a in ()", "Syntax error at position 7: found ')', expected a literal."),
        ("a in (b)", "Syntax error at position 7: found 'b', expected a literal."),
        ("o/any(o.p eq 1)", "Syntax error at position 7: found 'o.p', expected the name of a variable."),
        ("o/all()", "Syntax error at position 7: found ')', expected the name of a variable."),
        ("a eq @p", "Syntax error at position 6: '@': parameter aliases and annotations are not supported."),
        ("a = 1", "Syntax error at position 3: write 'eq' instead of '='. Near: a ▶= 1"),
        ("a eq 'x\0'", "Syntax error at position 8: the character NUL"),
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

#[test]
fn a_refusal_shows_what_other_languages_write_as_odata_has_it() {
    for (text, hint) in [
        ("a == 'x'", "3: write 'eq' instead of '=='."),
        ("a != 'x'", "3: write 'ne' instead of '!='."),
        ("a <> 'x'", "3: write 'ne' instead of '<>'."),
        ("a < 1", "3: write 'lt' instead of '<'."),
        ("a<=1", "2: write 'le' instead of '<='."),
        ("a > 1", "3: write 'gt' instead of '>'."),
        ("a>=1", "2: write 'ge' instead of '>='."),
        ("a eq 1 && b eq 2", "8: write 'and' instead of '&&'."),
        ("a eq 1 || b eq 2", "8: write 'or' instead of '||'."),
        ("!(a eq 1)", "1: write 'not' instead of '!'."),
        ("a =~ 'x'", "3: write 'eq' instead of '='."),
        ("a =! 'x'", "3: '=!' is not an operator; the operators are eq, ne,"),
        (
            "a equals 'x'",
            "3: found 'equals', expected an operator (eq, ne, gt, ge, lt, le, in, has, and, or) or the end; write 'eq' instead of 'equals'.",
        ),
        (
            "(a Contains 'x')",
            "4: found 'Contains', expected ')'; write 'Contains' as a function, as in contains(displayName,'text').",
        ),
        ("a like 'x%'", "3: found 'like', expected an operator"),
        ("a eq \"it's\"", "6: write a text in single quotes, as in 'it''s', and not in \"."),
        ("a eq \\\"x\\\"", "6: write a text in single quotes, as in 'x', and not in \"."),
        ("a eq “x”", "6: write a text in single quotes, as in 'x', and not in “."),
        ("a eq `x`", "6: write a text in single quotes, as in 'x', and not in `."),
        (
            "startWith(a,'x')",
            "1: the function 'startWith' is not supported; supported are startswith, endswith, contains, tolower, toupper, length and isof. Did you mean 'startswith'?",
        ),
        (
            "substringof('x',a)",
            "1: the function 'substringof' is not supported; supported are startswith, endswith, contains, tolower, toupper, length and isof; write contains(displayName,'text').",
        ),
        ("a/contains('x')", "3: write the property inside the parentheses of the function, as in contains(a,…)."),
        ("a/where(b:b)", "3: 'where(' is not supported in a path."),
        ("a/$count gt 1", "3: '$count' is not supported in a path."),
        ("o/any(p/q eq 1)", "8: found '/', expected ':' after a variable (a:a/p…)."),
    ] {
        let refusal = refusal(text);
        assert!(refusal.contains(&format!("Syntax error at position {hint}")), "{text}: {refusal}");
    }
}

#[test]
fn a_refusal_shows_the_text_around_the_position() {
    for (text, around) in [
        ("a eq", "a eq▶"),
        ("", "▶"),
        ("displayName == 'a'", "displayName ▶== 'a'"),
        (
            "startswith(displayName,'abc') and displayName == 'abc' and version eq 1",
            "…,'abc') and displayName ▶== 'abc' and version eq …",
        ),
        ("ünknöwn == 'a'", "▶ünknöwn == 'a'"),
        ("a eq 'x\0'", "a eq 'x▶\\u{0}'"),
    ] {
        let refusal = refusal(text);
        assert!(refusal.ends_with(&format!(" Near: {around}")), "{text}: {refusal}");
    }
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
    let segment = prop_oneof![name().prop_map(Segment::Name), "microsoft\\.graph\\.[a-z]{1,5}".prop_map(Segment::Cast)];
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
        let step = prop_oneof![prop::option::of(lambda.clone()).prop_map(Segment::Any), lambda.prop_map(Segment::All)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..5).prop_map(Expression::And),
            prop::collection::vec(inner.clone(), 2..5).prop_map(Expression::Or),
            boxed().prop_map(Expression::Not),
            (operator, boxed(), boxed()).prop_map(|(operator, left, right)| Expression::Compare(operator, left, right)),
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
