//! The imports in `src/` go downward only: there is no cycle between files, and none
//! between the entries of a folder.
//!
//! `cargo test --test api architecture -- --nocapture` prints the layers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::imports::{Module, Sources};

/// What each node imports.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Splits a graph into layers, the lowest first: a node imports only nodes of lower
/// layers. Returns the layers and the nodes that are on a cycle or between two cycles.
fn layers(mut graph: Graph) -> (Vec<BTreeSet<String>>, Graph) {
    let mut layers = Vec::new();
    loop {
        let lowest = graph.iter().filter(|(_, imports)| imports.is_empty());
        let lowest: BTreeSet<String> = lowest.map(|(node, _)| node.clone()).collect();
        if lowest.is_empty() {
            break;
        }
        graph.retain(|node, _| !lowest.contains(node));
        graph.values_mut().for_each(|imports| imports.retain(|import| !lowest.contains(import)));
        layers.push(lowest);
    }
    // Nodes above the cycles import members of cycles and are on none.
    loop {
        let imported: BTreeSet<String> = graph.values().flatten().cloned().collect();
        let before = graph.len();
        graph.retain(|node, _| imported.contains(node));
        if graph.len() == before {
            return (layers, graph);
        }
    }
}

/// Returns the imports between the files.
fn between_files(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Graph {
    let name = |module: &Module| if module.is_empty() { "lib".to_owned() } else { module.join("::") };
    imports.iter().map(|(module, imports)| (name(module), imports.iter().map(name).collect())).collect()
}

/// Returns the imports between the entries of a folder. A folder counts with all files in it.
fn between_entries(imports: &BTreeMap<Module, BTreeSet<Module>>, folder: &Module) -> Graph {
    let entry = |module: &Module| module.starts_with(folder).then(|| module.get(folder.len()).cloned()).flatten();
    let mut graph = Graph::new();
    for (module, imports) in imports {
        let Some(from) = entry(module) else { continue };
        let to = imports.iter().filter_map(entry).filter(|to| *to != from);
        graph.entry(from.clone()).or_default().extend(to);
    }
    graph
}

/// Prints the layers of a graph, and returns a line for each import of a cycle.
fn cycles(of: &str, graph: Graph) -> Vec<String> {
    let (layers, cyclic) = layers(graph);
    eprintln!("{of}");
    for (height, layer) in layers.iter().enumerate() {
        eprintln!("  {height}: {}", layer.iter().cloned().collect::<Vec<_>>().join(" "));
    }
    let lines = cyclic.iter().flat_map(|(node, imports)| imports.iter().map(move |import| (node, import)));
    lines.map(|(node, import)| format!("{of}: {node} imports {import}")).collect()
}

fn all_cycles(sources: &Sources) -> Vec<String> {
    let imports = sources.imports();
    let mut found = cycles("files", between_files(&imports));
    let folders: BTreeSet<Module> =
        imports.keys().flat_map(|module| (0..module.len()).map(|length| module[..length].to_vec())).collect();
    for folder in folders {
        found.extend(cycles(&format!("src/{}", folder.join("/")), between_entries(&imports, &folder)));
    }
    found
}

#[test]
fn imports_go_downward() {
    let sources = Sources::read(Path::new("src"));
    assert!(sources.imports().len() > 50, "the files of src are read");
    let globs: Vec<_> = sources.globs().collect();
    assert!(globs.is_empty(), "name what is imported, because a glob hides it from this test: {globs:?}");
    let found = all_cycles(&sources);
    assert!(found.is_empty(), "move what both sides need to a place below both:\n{}", found.join("\n"));
}

#[test]
fn cycles_of_every_form_are_found() {
    for (files, expected) in [
        (&[("a", "use crate::b::B;"), ("b", "fn f() { crate::a::g(); }")][..], "files: a imports b"),
        (&[("a", "use super::b;"), ("b", "use super::{a::A, c};"), ("c", "")], "src/: b imports a"),
        // Between folders, although no two files import each other.
        (
            &[("x::a", "use crate::y::b::B;"), ("x::c", ""), ("y::b", ""), ("y::d", "use crate::x::c;")],
            "src/: x imports y",
        ),
        // Through a third file.
        (&[("a", "use crate::b;"), ("b", "use crate::c;"), ("c", "type A = crate::a::A;")], "files: c imports a"),
        // In the arguments of a macro, and by the name of an import.
        (
            &[("a", "fn f() { println!(\"{}\", crate::b::B); }"), ("b", "use crate::a; fn g() { a::f(); }")],
            "files: b imports a",
        ),
        // Through `pub use`, and from a file of a folder to the code in its mod.rs.
        (
            &[
                ("x", "pub mod a; pub mod b; pub use self::a::A;"),
                ("x::a", "use super::b::B;"),
                ("x::b", "use super::A;"),
            ],
            "src/x: b imports a",
        ),
        (&[("x", "pub mod a; fn f() { a::g(); }"), ("x::a", "use super::f;")], "files: x imports x::a"),
    ] {
        let found = all_cycles(&Sources::of(files));
        assert!(found.iter().any(|line| line == expected), "{files:?}: {found:?}");
    }
    for files in [
        &[("a", "use crate::b::B; use std::fmt;"), ("b", "")][..],
        // Tests may import what they like, and `pub(super)` imports nothing.
        (&[("a", "use crate::b;"), ("b", "pub(super) fn f() {} #[cfg(test)] mod tests { use crate::a; }")]),
        (&[("x", "pub mod a; pub mod b; pub use self::a::A;"), ("x::a", ""), ("x::b", "use super::A;")]),
    ] {
        assert_eq!(all_cycles(&Sources::of(files)), Vec::<String>::new(), "{files:?}");
    }
}

/// A file has at most 400 lines, `src` at most nine folders.
#[test]
fn files_and_folders_stay_small() {
    let sources = Sources::read(Path::new("src"));
    let long = sources.lines().filter(|(_, lines)| *lines > 400);
    let long: Vec<_> = long.map(|(module, lines)| format!("{} has {lines} lines", module.join("/"))).collect();
    assert!(long.is_empty(), "at most 400 lines: {long:?}");
    let entries = fs::read_dir("src").expect("a folder").map(|entry| entry.expect("an entry").path());
    let folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert!(folders.len() <= 9, "at most nine folders: {folders:?}");
}

/// A `mod.rs` has only documentation, `mod` and `pub use`.
#[test]
fn mod_files_hold_no_code() {
    let sources = Sources::read(Path::new("src"));
    let with_code: Vec<_> = sources.mod_files().filter(|(_, has_code)| *has_code).map(|(module, _)| module).collect();
    assert!(with_code.is_empty(), "move the code of mod.rs into a file beside it: {with_code:?}");
}
