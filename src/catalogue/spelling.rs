//! Names that a client may have meant when it sent one that does not exist.

use std::fmt;

use strsim::osa_distance;

/// The maximum number of names that a message suggests.
const MAX_SUGGESTIONS: usize = 3;

/// The length from which one edit is a near miss. A shorter name is one edit from many others.
const MIN_EDITED_LETTERS: usize = 4;

/// Returns whether two different names differ only by letter case and by one edit: a letter
/// that is added, missing or replaced, or two neighbours that are swapped. A name of at most
/// three letters is only near one that differs by letter case.
///
/// A body can hold a hundred thousand unknown names, and each is compared with every name of
/// its type. The cost of one comparison is therefore linear and often a single letter.
pub fn is_near_miss(name: &str, known: &str) -> bool {
    let (shorter, longer) = (name.len().min(known.len()), name.len().max(known.len()));
    // A letter outside of ASCII has up to four bytes.
    if longer - shorter > 4 || name == known {
        return false;
    }
    let is_same = |(one, other): &(char, char)| one.eq_ignore_ascii_case(other);
    let prefix = name.chars().zip(known.chars()).take_while(is_same).count();
    let (name, known) = (rest(name, prefix), rest(known, prefix));
    if name.is_empty() && known.is_empty() {
        return true;
    }
    let suffix = name.chars().rev().zip(known.chars().rev()).take_while(is_same).count();
    let differing = |text: &str| text.chars().count() - suffix;
    shorter >= MIN_EDITED_LETTERS
        && match (differing(name), differing(known)) {
            (0 | 1, 0 | 1) => true,
            (2, 2) => is_swapped(name, known),
            _ => false,
        }
}

/// Returns whether two names differ by at most two edits. Letter case does not count.
pub fn is_misspelt(name: &str, known: &str) -> bool {
    edits(&name.to_ascii_lowercase(), &known.to_ascii_lowercase(), 2).is_some()
}

/// Returns whether the first two letters of one text are those of the other, swapped.
fn is_swapped(name: &str, known: &str) -> bool {
    let letter = |text: &str, at: usize| text.chars().nth(at).map(|letter| letter.to_ascii_lowercase());
    letter(name, 0) == letter(known, 1) && letter(name, 1) == letter(known, 0)
}

/// Returns a text without its first `letters`.
fn rest(text: &str, letters: usize) -> &str {
    text.char_indices().nth(letters).map_or("", |(start, _)| &text[start..])
}

/// Returns the name of `known` that `name` is a near miss of. One that differs only by letter
/// case comes first.
pub fn near_miss<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut near = None;
    for known in known {
        if name.eq_ignore_ascii_case(known) && name != known {
            return Some(known);
        }
        if near.is_none() && is_near_miss(name, known) {
            near = Some(known);
        }
    }
    near
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
        for name in ["DescripTon", "descripti\u{f6}n", "xdescription", "Descriptionx"] {
            assert!(is_near_miss(name, "description"), "{name}");
        }
        for name in ["description", "descripts", "", "omaSettings", "decsriptoin", "descriptionxx"] {
            assert!(!is_near_miss(name, "description"), "{name}");
        }
        assert!(is_near_miss("aba", "abA") && is_near_miss("ab", "AB") && !is_near_miss("ids", "id"));
        assert!(!is_near_miss("uri", "url") && is_near_miss("uris", "urls") && is_near_miss("aaaa", "aaaaa"));
    }

    #[test]
    fn letter_case_is_the_nearest_of_all() {
        assert_eq!(near_miss("Version", ["versions", "version"]), Some("version"));
        assert_eq!(near_miss("versoin", ["id", "version"]), Some("version"));
        assert_eq!(near_miss("platform", ["id", "version"]), None);
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
