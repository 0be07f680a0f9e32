//! Names that a client may have meant when it sent one that does not exist.

use std::fmt;

use strsim::osa_distance;

/// Names that a message suggests at most.
const MAX_SUGGESTIONS: usize = 3;

/// Returns whether two different names differ only by letter case or by one edit: a letter
/// that is added, missing or replaced, or two neighbours that are swapped.
pub fn is_near_miss(name: &str, known: &str) -> bool {
    name != known && (name.eq_ignore_ascii_case(known) || edits(name, known, 1).is_some())
}

/// Returns those of `known` that are like `name`, the nearest first. Letter case does not
/// count. A name of twelve letters may have three other ones.
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let folded = name.to_ascii_lowercase();
    let most = (folded.len() / 4).clamp(1, 4);
    let edits = |known: &'a str| Some((edits(&folded, &known.to_ascii_lowercase(), most)?, known));
    let mut near: Vec<_> = known.into_iter().filter_map(edits).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MAX_SUGGESTIONS).map(|(_, known)| known).collect()
}

/// Returns a sentence that suggests the names like `name`, with a space before it, or an
/// empty text when there are none.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    question(near(name, known))
}

/// Returns the sentence of [`suggestion`] for names that are known to be like the one that a
/// client sent.
pub fn question<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("'{name}'")).collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => format!(" Did you mean {only}?"),
        Some((last, others)) => format!(" Did you mean {} or {last}?", others.join(", ")),
    }
}

/// Returns the number of edits between two names when it is not above `most`.
fn edits(name: &str, known: &str, most: usize) -> Option<usize> {
    // Each edit changes the length by one at most: a long text is not compared at all.
    (name.len().abs_diff(known.len()) <= most).then(|| osa_distance(name, known)).filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_differs_by_case_or_one_edit() {
        for name in ["Description", "DESCRIPTION", "descripton", "descriptions", "descriptoin", "descriptiom"] {
            assert!(is_near_miss(name, "description"), "{name}");
        }
        for name in ["description", "descripts", "", "omaSettings"] {
            assert!(!is_near_miss(name, "description"), "{name}");
        }
    }

    #[test]
    fn the_nearest_names_are_suggested_first() {
        let known = ["displayName", "description", "version", "id"];
        assert_eq!(suggestion("DisplayNames", known), " Did you mean 'displayName'?");
        assert_eq!(suggestion("groupId", known), "");
        assert_eq!(near("abcdx", ["abcdy", "abcd", "abcd", "Abcdx", "zzzzz"]), ["Abcdx", "abcd", "abcdy"]);
        assert_eq!(suggestion("abcd", ["abcx", "abcy"]), " Did you mean 'abcx' or 'abcy'?");
    }
}
