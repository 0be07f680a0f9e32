//! Times in the form `/Date(1609459200000)/`, which `ConvertTo-Json` of Windows PowerShell writes.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Returns such a time as OData writes it, or `None` for any other text. An offset, as in
/// `/Date(1609459200000+0100)/`, says where the time was read and does not change it.
pub fn rewritten(text: &str) -> Option<String> {
    let inner = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let end =
        inner.char_indices().skip(1).find(|(_, letter)| matches!(letter, '+' | '-')).map_or(inner.len(), |at| at.0);
    let (milliseconds, offset) = inner.split_at(end);
    let is_offset = offset.is_empty() || offset.len() == 5 && offset[1..].bytes().all(|digit| digit.is_ascii_digit());
    let milliseconds: i64 = milliseconds.parse().ok().filter(|_| is_offset)?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()?;
    (1..=9999).contains(&time.year()).then(|| time.format(&Rfc3339).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rewritten_with_an_offset_or_without() {
        for (text, expected) in [
            ("/Date(1609459200000)/", "2021-01-01T00:00:00Z"),
            ("/Date(1609459200000+0100)/", "2021-01-01T00:00:00Z"),
            ("/Date(1609459200000-0830)/", "2021-01-01T00:00:00Z"),
            ("/Date(-1500)/", "1969-12-31T23:59:58.5Z"),
            ("/Date(0)/", "1970-01-01T00:00:00Z"),
            ("/Date(-62135596800000)/", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(rewritten(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "/Date()/",
            "/Date(1)",
            "Date(1)",
            "/Date(1609459200000+01)/",
            "/Date(1609459200000+01:0)/",
            "/Date(x)/",
            "/Date(é+0100)/",
            "/Date(99999999999999999)/",
            "2021-01-01T00:00:00Z",
        ] {
            assert_eq!(rewritten(text), None, "{text}");
        }
    }
}
