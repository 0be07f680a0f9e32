//! Words that hide who does something, counted in comments and pages.

use std::{fs, path::PathBuf};

/// Stand-ins for the name of an actor or of a thing. Name the client, the service, the row.
const WORDS: [&str; 6] = ["whoever", "nobody", "somebody", "anybody", "what is there", "is to be"];

/// Returns the pages of a folder.
fn markdown(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// Returns the sources and the pages, each with its path.
fn texts() -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match path.extension().and_then(|end| end.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("rs") => texts.push(path),
                _ => {}
            }
        }
    }
    let comment = |line: &str| line.split_once("//").map(|(_, comment)| comment.to_lowercase());
    let code = texts.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a text");
        (path, text.lines().filter_map(comment).collect::<Vec<_>>().join("\n"))
    });
    let pages = markdown(".").into_iter().chain(markdown("docs")).chain(markdown("docs/decisions"));
    let pages = pages.chain(["src/default.toml", "docker-compose.yml"].map(PathBuf::from));
    let pages = pages.map(|path| {
        let text = fs::read_to_string(&path).expect("a page").to_lowercase();
        (path, text)
    });
    code.chain(pages).collect()
}

#[test]
fn comments_and_pages_name_who_does_something() {
    let mut found = Vec::new();
    for (path, text) in texts() {
        // A phrase may continue on the next line.
        let words: Vec<_> =
            text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let words = format!(" {} ", words.join(" "));
        for word in WORDS {
            let count = words.matches(&format!(" {word} ")).count();
            found.extend((0..count).map(|_| format!("{}: {word}", path.display())));
        }
    }
    assert!(found.is_empty(), "name the client, the service or the row instead:\n{}", found.join("\n"));
}
