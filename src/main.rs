//! The binary: an error is one line on standard error and exit code 1. A wrong command line has
//! this exit code, too, because 2 means that a plan has changes.

use std::process::ExitCode;

use devicegraph::cli::Cli;
use mimalloc::MiMalloc;

/// An answer consists of many small strings. The system allocator takes a fifth of the time of
/// a page.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The number of digits of a commit that `--version` shows.
const DIGITS: usize = 12;

/// The last commit of the log that `build.rs` has found. The binary contains only these digits
/// and not the log, which has names and addresses of people.
const LAST_COMMIT: Option<[u8; DIGITS]> = last_commit(include_bytes!(env!("COMMIT_LOG")));

#[actix_web::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse_arguments(commit()) {
        Ok(cli) => cli,
        Err(message) => {
            // The reader may close the pipe early.
            let _ = message.print();
            return if message.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match cli.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("devicegraph: {}", format!("{error:#}").replace('\n', "; "));
            ExitCode::FAILURE
        }
    }
}

/// Returns the commit of this build: that of the variable `DEVICEGRAPH_COMMIT` at build time,
/// otherwise that of the checkout or package. Returns `None` for a build that knows none.
fn commit() -> Option<&'static str> {
    match option_env!("DEVICEGRAPH_COMMIT") {
        Some(commit) if !commit.is_empty() => Some(commit.get(..DIGITS).unwrap_or(commit)),
        _ => LAST_COMMIT.as_ref().and_then(|digits| std::str::from_utf8(digits).ok()),
    }
}

/// Returns the first digits of the second word of the last line: in git's log, that is the
/// commit after the last change of HEAD.
const fn last_commit(log: &[u8]) -> Option<[u8; DIGITS]> {
    let mut line = log.len().saturating_sub(1);
    while line > 0 && log[line - 1] != b'\n' {
        line -= 1;
    }
    let mut word = line;
    while word < log.len() && log[word] != b' ' {
        word += 1;
    }
    match log.split_at(word).1 {
        [b' ', rest @ ..] => rest.first_chunk::<DIGITS>().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_in_the_last_line_of_the_log() {
        let find = |log: &str| last_commit(log.as_bytes()).map(|digits| String::from_utf8_lossy(&digits).into_owned());
        let (first, second) = ("a".repeat(40), "b".repeat(40));
        let log = format!("{} {first} A <a@b.c> 1 +0000\tclone\n", "0".repeat(40));
        assert_eq!(find(&log), Some("a".repeat(DIGITS)));
        let log = format!("{log}{first} {second} A <a@b.c> 2 +0000\treset: moving to {second}\n");
        assert_eq!(find(&log), Some("b".repeat(DIGITS)));
        assert_eq!(find(log.trim_end()), Some("b".repeat(DIGITS)));
        assert_eq!(find(&format!("- {first}\n")), Some("a".repeat(DIGITS)));
        for log in ["", "\n", " ", "no-commit", "- short"] {
            assert_eq!(find(log), None, "{log}");
        }
    }
}
