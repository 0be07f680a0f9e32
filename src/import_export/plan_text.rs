//! A plan as text for a person.
//!
//! The text contains the colours of a terminal. The stream that it is written to removes them
//! where there is no terminal.

use std::{borrow::Cow, fmt, io};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::plan::{Action, AssignmentChange, Plan, PlannedChange};
use crate::{
    catalogue::{self, validation::TYPE},
    resources::configurations::difference::{self, MemberDifference},
};

impl Action {
    fn sign(self) -> char {
        match self {
            Self::Create => '+',
            Self::Change => '~',
            Self::Delete => '-',
        }
    }

    fn style(self) -> Style {
        Style::new().fg_color(Some(match self {
            Self::Create => AnsiColor::Green.into(),
            Self::Change => AnsiColor::Yellow.into(),
            Self::Delete => AnsiColor::Red.into(),
        }))
    }
}

impl Plan {
    /// Writes the plan as text: a line for each configuration, the members and assignments of
    /// those that change, and the totals.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn write_text(&self, output: &mut impl io::Write) -> io::Result<()> {
        for change in &self.changes {
            write_change(output, change)?;
        }
        writeln!(
            output,
            "{} to create, {} to change, {} to delete, {} unchanged",
            self.create, self.change, self.delete, self.unchanged
        )
    }
}

fn write_change(output: &mut impl io::Write, change: &PlannedChange) -> io::Result<()> {
    let name = Quoted(&change.display_name);
    let title = format!("{name} {} {}", Escaped(&change.odata_type), change.id);
    write_line(output, "", change.action, &title)?;
    if change.action != Action::Change {
        return Ok(());
    }
    for member in &change.members {
        write_member(output, "    ", member)?;
    }
    for assignment in &change.assignments {
        write_assignment(output, assignment)?;
    }
    Ok(())
}

fn write_line(output: &mut impl io::Write, indent: &str, action: Action, text: &str) -> io::Result<()> {
    let (style, sign) = (action.style(), action.sign());
    writeln!(output, "{indent}{style}{sign} {text}{style:#}")
}

fn write_member(output: &mut impl io::Write, indent: &str, member: &MemberDifference) -> io::Result<()> {
    let MemberDifference { path, before, after } = member;
    writeln!(output, "{indent}{}: {} -> {}", Escaped(path), Shown(before.as_ref()), Shown(after.as_ref()))
}

fn write_assignment(output: &mut impl io::Write, assignment: &AssignmentChange) -> io::Result<()> {
    let AssignmentChange { action, before, after } = assignment;
    let Some(shown) = before.as_ref().or(after.as_ref()) else { return Ok(()) };
    let id = shown["id"].as_str().unwrap_or_default();
    write_line(output, "    ", *action, &format!("assignment {id}: {}", target(shown)))?;
    if let (Some(before), Some(after)) = (before, after) {
        for member in difference::of_values(before, after) {
            write_member(output, "        ", &member)?;
        }
    }
    Ok(())
}

/// Returns the target of an assignment: its type without the namespace, and its group or
/// collection.
fn target(assignment: &Value) -> String {
    let target = &assignment["target"];
    let named = target[TYPE].as_str().unwrap_or_default();
    let named = catalogue::unqualified(named).unwrap_or(named);
    match target["groupId"].as_str().or(target["collectionId"].as_str()) {
        Some(id) => format!("{named} {}", Escaped(id)),
        None => named.to_owned(),
    }
}

/// A value, or `(not set)`.
struct Shown<'a>(Option<&'a Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Value::String(text)) => Quoted(text).fmt(formatter),
            Some(value) => value.fmt(formatter),
            None => formatter.write_str("(not set)"),
        }
    }
}

/// A text in quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.contains(['"', '\\']) {
            true => Cow::Owned(self.0.replace('\\', "\\\\").replace('"', "\\\"")),
            false => Cow::Borrowed(self.0),
        };
        write!(formatter, "\"{}\"", Escaped(&text))
    }
}

/// A text without characters that a terminal obeys or does not show, such as control characters
/// and marks of the writing direction.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\'' | '"' | '\\' => write!(formatter, "{letter}")?,
                _ => write!(formatter, "{}", letter.escape_debug())?,
            }
        }
        Ok(())
    }
}
