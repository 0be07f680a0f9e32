//! Finds the imports between the files of `src/` in their syntax trees.
//!
//! It does not find a call of a method that a type has in another file, and it does not find paths
//! in attributes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::Path,
    slice,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, File, Item, ItemFn, ItemMod, Macro, UseTree, Visibility,
    visit::{self, Visit},
};

/// The path of a module in the crate. It is empty for `lib.rs`.
pub(crate) type Module = Vec<String>;

/// The files of a source tree.
pub(crate) struct Sources(BTreeMap<Module, Source>);

impl Sources {
    /// Reads the `.rs` files in a folder, except those of binaries and of tests.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut sources = BTreeMap::new();
        read_folder(folder, &Vec::new(), &mut sources);
        Self(sources)
    }

    /// Returns sources with these modules and texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let source = |(module, text): &(&str, &str)| {
            let module: Module = module.split("::").map(str::to_owned).collect();
            (module.clone(), Source::parse(module, text))
        };
        Self(files.iter().map(source).collect())
    }

    /// Returns the files that each file imports. A file without code, which only declares
    /// modules and passes names on, is left out: an import of such a name counts as one of the
    /// file that defines it.
    pub(crate) fn imports(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let imports_of = |source: &Source| {
            let paths = source.paths.iter().filter_map(|path| source.absolute(path));
            paths.filter_map(|path| self.file_of(&path)).filter(|module| *module != source.module).collect()
        };
        let with_code = self.0.values().filter(|source| source.has_code);
        with_code.map(|source| (source.module.clone(), imports_of(source))).collect()
    }

    /// Returns the file that a path leads to.
    fn file_of(&self, path: &[String]) -> Option<Module> {
        let (module, source) = (0..=path.len()).rev().find_map(|length| {
            let module = &path[..length];
            self.0.get(module).map(|source| (module, source))
        })?;
        let rest = &path[module.len()..];
        match rest.first().filter(|name| source.exports.contains(*name)) {
            Some(name) => self.file_of(&[source.absolute(&source.imports[name])?, rest[1..].to_vec()].concat()),
            None => source.has_code.then(|| module.to_vec()),
        }
    }

    /// Returns the glob imports of each file, except those of tests.
    pub(crate) fn globs(&self) -> impl Iterator<Item = (&Module, &String)> {
        self.0.values().flat_map(|source| source.globs.iter().map(move |glob| (&source.module, glob)))
    }

    /// Returns each file with its number of lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Module, usize)> {
        self.0.values().map(|source| (&source.module, source.lines))
    }

    /// Returns each file that declares modules, except `lib.rs`, and whether it holds code.
    pub(crate) fn mod_files(&self) -> impl Iterator<Item = (&Module, bool)> {
        let files = self.0.values().filter(|source| !source.children.is_empty() && !source.module.is_empty());
        files.map(|source| (&source.module, source.has_code))
    }
}

fn read_folder(folder: &Path, module: &Module, sources: &mut BTreeMap<Module, Source>) {
    for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let child = [module.as_slice(), slice::from_ref(&name)].concat();
        if path.is_dir() {
            read_folder(&path, &child, sources);
        } else if path.extension().is_some_and(|end| end == "rs") && !["main", "tests"].contains(&name.as_str()) {
            let module = if ["lib", "mod"].contains(&name.as_str()) { module.clone() } else { child };
            sources.insert(module.clone(), Source::parse(module, &fs::read_to_string(&path).expect("a text")));
        }
    }
}

/// A file with the paths in its code and the names that it imports.
#[derive(Default)]
struct Source {
    module: Module,
    lines: usize,
    /// Modules that the file declares.
    children: BTreeSet<String>,
    /// The path of each imported name.
    imports: BTreeMap<String, Vec<String>>,
    /// Names that `pub use` passes on.
    exports: BTreeSet<String>,
    /// Paths of glob imports. The syntax tree does not show which names they import.
    globs: Vec<String>,
    /// Whether the file holds more than documentation, `mod` and `pub use`.
    has_code: bool,
    paths: Vec<Vec<String>>,
}

impl Source {
    fn parse(module: Module, text: &str) -> Self {
        let file: File = syn::parse_file(text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
        let child = |item: &Item| match item {
            Item::Mod(ItemMod { ident, content: None, attrs, .. }) if !is_test(attrs) => Some(ident.to_string()),
            _ => None,
        };
        let children: BTreeSet<String> = file.items.iter().filter_map(child).collect();
        // Count an empty file as code.
        let has_code = children.is_empty();
        let mut source = Self { module, lines: text.lines().count(), children, has_code, ..Self::default() };
        source.visit_file(&file);
        source
    }

    fn add_use(&mut self, tree: &UseTree, path: &[String], is_exported: bool) {
        let with = |name: String| [path, &[name]].concat();
        match tree {
            UseTree::Path(part) => self.add_use(&part.tree, &with(part.ident.to_string()), is_exported),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, path, is_exported)),
            UseTree::Glob(_) => self.globs.push(path.join("::")),
            UseTree::Name(name) => self.add_name(&name.ident.to_string(), &name.ident.to_string(), path, is_exported),
            UseTree::Rename(name) => {
                self.add_name(&name.ident.to_string(), &name.rename.to_string(), path, is_exported)
            }
        }
    }

    fn add_name(&mut self, name: &str, alias: &str, path: &[String], is_exported: bool) {
        // `a::{self}` imports `a`.
        let full = if name == "self" { path.to_vec() } else { [path, &[name.to_owned()]].concat() };
        let alias = if alias == "self" { full.last().cloned().unwrap_or_default() } else { alias.to_owned() };
        if is_exported {
            self.exports.insert(alias.clone());
        }
        self.paths.push(full.clone());
        self.imports.insert(alias, full);
    }

    /// Adds the paths in the arguments of a macro, which have no syntax tree.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons): (Vec<String>, usize) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(name) if colons == 2 && !path.is_empty() => path.push(name.to_string()),
                TokenTree::Ident(name) => self.paths.push(mem::replace(&mut path, vec![name.to_string()])),
                TokenTree::Group(group) => {
                    self.paths.push(mem::take(&mut path));
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.paths.push(mem::take(&mut path)),
            }
            colons = 0;
        }
        self.paths.push(path);
    }

    /// Returns a path that starts at the root of the crate, or `None` for a path into another
    /// crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([&self.module, rest].concat()),
            "super" => {
                let levels = path.iter().take_while(|name| *name == "super").count();
                let parent = &self.module[..self.module.len().checked_sub(levels)?];
                Some([parent, &path[levels..]].concat())
            }
            name if self.imports.get(name).is_some_and(|import| import[0] != *name) => {
                Some([self.absolute(&self.imports[name])?, rest.to_vec()].concat())
            }
            name if self.children.contains(name) => Some([&self.module, path].concat()),
            _ => None,
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg_test = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "test");
        is_cfg_test || attribute.path().is_ident("test")
    })
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(part) if is_test(&part.attrs) || part.content.is_none() => {}
            Item::Use(part) if is_test(&part.attrs) => {}
            Item::Use(part) => {
                let is_exported = !matches!(part.vis, Visibility::Inherited);
                self.has_code |= !is_exported;
                self.add_use(&part.tree, &[], is_exported);
            }
            item => {
                self.has_code = true;
                visit::visit_item(self, item);
            }
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, part: &'ast Macro) {
        self.paths.push(part.path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        self.add_tokens(part.tokens.clone());
    }
}
