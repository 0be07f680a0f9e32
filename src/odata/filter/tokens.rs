//! The tokenizer: splits an expression into words, literals and marks.

use super::{
    expression::Literal,
    hints::{sign, unquoted},
};
use crate::error::{ApiError, shorten};

/// A token of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name, with dots if it is qualified: a property, an operator, a type.
    Word(String),
    /// A literal.
    Literal(Literal),
    /// `(`, `)`, `,`, `/` or `:`
    Mark(char),
    /// The end of the text.
    End,
}

/// A token and its position.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    /// The position in characters. The first is 1.
    pub(super) at: usize,
}

/// A syntax error: its position and its reason.
#[derive(Debug)]
pub(super) struct SyntaxError {
    at: usize,
    what: String,
}

/// Splits a text into tokens. The last token is [`Token::End`].
pub(super) fn tokenize(text: &str) -> Result<Vec<Placed>, SyntaxError> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut here = 0;
    while let Some(&letter) = letters.get(here) {
        let at = here + 1;
        let token = match letter {
            ' ' | '\t' => {
                here += 1;
                continue;
            }
            '(' | ')' | ',' | '/' | ':' => {
                here += 1;
                Token::Mark(letter)
            }
            '\'' => Token::Literal(Literal::Text(quoted(&letters, &mut here)?)),
            '0'..='9' | '-' | '+' => Token::Literal(Literal::Plain(take_while(&letters, &mut here, is_of_plain))),
            '$' | '_' | 'a'..='z' | 'A'..='Z' => {
                let word = take_while(&letters, &mut here, is_of_word);
                match letters.get(here) {
                    Some('\'') => Token::Literal(prefixed(word, quoted(&letters, &mut here)?)),
                    // A GUID can begin with a letter.
                    Some('-') if word.len() == 8 && word.chars().all(|letter| letter.is_ascii_hexdigit()) => {
                        Token::Literal(Literal::Plain(word + &take_while(&letters, &mut here, is_of_plain)))
                    }
                    _ => word_or_literal(word),
                }
            }
            '@' => return Err(syntax_error(at, "'@': parameter aliases and annotations are not supported")),
            '"' | '`' | '´' | '‘' | '’' | '“' | '”' | '„' => {
                return Err(syntax_error(at, &unquoted(&letters[here..])));
            }
            '\\' if letters.get(here + 1) == Some(&'"') => return Err(syntax_error(at, &unquoted(&letters[here..]))),
            '=' | '<' | '>' | '!' | '&' | '|' => {
                return Err(syntax_error(at, &sign(&take_while(&letters, &mut here, is_of_sign))));
            }
            other => return Err(syntax_error(at, &format!("'{}' is not allowed here", shorten(&other.to_string())))),
        };
        tokens.push(Placed { token, at });
    }
    tokens.push(Placed { token: Token::End, at: letters.len() + 1 });
    Ok(tokens)
}

fn take_while(letters: &[char], here: &mut usize, is_of: fn(char) -> bool) -> String {
    let run: String = letters[*here..].iter().take_while(|letter| is_of(**letter)).collect();
    *here += run.chars().count();
    run
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '$')
}

fn is_of_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | ':' | '+' | '-')
}

fn is_of_sign(letter: char) -> bool {
    matches!(letter, '=' | '<' | '>' | '!' | '&' | '|')
}

/// Reads a quoted text up to its closing quote. A doubled quote is one quote in the text.
fn quoted(letters: &[char], here: &mut usize) -> Result<String, SyntaxError> {
    let begin = *here;
    let mut text = String::new();
    loop {
        *here += 1;
        match letters.get(*here) {
            Some('\'') if letters.get(*here + 1) == Some(&'\'') => {
                text.push('\'');
                *here += 1;
            }
            Some('\'') => {
                *here += 1;
                return Ok(text);
            }
            Some('\0') => return Err(syntax_error(*here + 1, "the character NUL is not allowed")),
            Some(letter) => text.push(*letter),
            None => {
                return Err(syntax_error(
                    begin + 1,
                    "the text has no closing quote; write a quote inside a text twice",
                ));
            }
        }
    }
}

fn prefixed(prefix: String, text: String) -> Literal {
    match prefix.eq_ignore_ascii_case("binary") {
        true => Literal::Binary(text),
        false => Literal::Enumeration(prefix, text),
    }
}

fn word_or_literal(word: String) -> Token {
    match word.as_str() {
        "INF" | "NaN" => Token::Literal(Literal::Plain(word)),
        _ if word.eq_ignore_ascii_case("null") => Token::Literal(Literal::Null),
        _ if word.eq_ignore_ascii_case("true") => Token::Literal(Literal::Boolean(true)),
        _ if word.eq_ignore_ascii_case("false") => Token::Literal(Literal::Boolean(false)),
        _ => Token::Word(word),
    }
}

/// Returns the error at a position.
pub(super) fn syntax_error(at: usize, what: &str) -> SyntaxError {
    SyntaxError { at, what: what.to_owned() }
}

impl SyntaxError {
    /// Returns 400 with the position and the part of `text` around it.
    pub(super) fn refusal(self, text: &str) -> ApiError {
        /// Characters that are shown before and after the position.
        const SHOWN: usize = 24;
        let Self { at, what } = self;
        let begin = (at - 1).saturating_sub(SHOWN);
        let before: String = text.chars().take(at - 1).skip(begin).collect();
        let after: String = text.chars().skip(at - 1).take(SHOWN).collect();
        let (more, rest) = (if begin > 0 { "…" } else { "" }, text.chars().nth(at - 1 + SHOWN).map_or("", |_| "…"));
        let around = shorten(&format!("{more}{before}▶{after}{rest}"));
        let end = if what.ends_with('?') { "" } else { "." };
        ApiError::bad_request(format!("Syntax error at position {at}: {what}{end} Near: {around}"))
    }
}
