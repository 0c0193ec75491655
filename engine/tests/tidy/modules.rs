//! The engine's source files, and the files that each of them imports.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, File, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// One source file of the engine.
pub(crate) struct Module {
    /// Below `src`, with `/`.
    pub(crate) file: String,
    text: String,
    parsed: File,
}

/// All source files of the engine but those that hold only tests.
pub(crate) fn modules() -> Vec<Module> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths = files(&root);
    let name =
        |path: &PathBuf| path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
    paths
        .iter()
        .map(|path| (name(path), path))
        .filter(|(name, _)| !name.contains("tests"))
        .map(|(name, path)| Module::parse(&name, &fs::read_to_string(path).unwrap()))
        .collect()
}

/// The Rust files of a folder and of those in it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    collect(folder, &mut paths);
    assert!(!paths.is_empty(), "the sources are there");
    paths.sort();
    paths
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

impl Module {
    pub(crate) fn parse(file: &str, text: &str) -> Self {
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { file: file.to_owned(), text: text.to_owned(), parsed }
    }

    /// The folder, or the file of the root, as in `ORDER`.
    pub(crate) fn folder(&self) -> &str {
        self.file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The text before the tests of the file.
    pub(crate) fn code(&self) -> &str {
        let tests = ["\n#[cfg(test)]", "\n#[cfg(all(test"];
        let end = tests.iter().filter_map(|start| self.text.find(start)).min();
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// The lines before the tests of the file, without comments.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.code().lines().map(|line| line.split("//").next().unwrap_or_default())
    }

    /// The path of the module, as `a::b`.
    fn path(&self) -> Vec<&str> {
        let path = self.file.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        path.split('/').filter(|part| *part != "lib").collect()
    }

    /// The other files that this one needs, without repetition. A re-export is no need, and who imports a name
    /// from where it is re-exported imports it from where it is defined.
    pub(crate) fn imports<'a>(&self, all: &'a [Module]) -> Vec<&'a Module> {
        let mut paths = Paths { module: self.path(), found: BTreeSet::new() };
        paths.visit_file(&self.parsed);
        let files: BTreeSet<&str> =
            paths.found.iter().map(|path| all[resolve(path, all)].file.as_str()).collect();
        all.iter()
            .filter(|module| files.contains(&*module.file) && module.file != self.file)
            .collect()
    }

    /// The path that `name` stands for here, if this module re-exports it.
    fn re_exported(&self, name: &str) -> Option<Vec<String>> {
        let uses = self.parsed.items.iter().filter_map(|item| match item {
            Item::Use(item) if is_re_export(item) => Some(item),
            _ => None,
        });
        let mut paths = Vec::new();
        uses.for_each(|item| expand(&item.tree, &mut Vec::new(), &mut paths));
        let found = paths.into_iter().find(|path| path.last().is_some_and(|last| last == name))?;
        absolute(&found, &self.path()).or_else(|| {
            let own = self.path().into_iter().map(str::to_owned);
            Some(own.chain(found).collect())
        })
    }
}

fn is_re_export(item: &ItemUse) -> bool {
    !matches!(item.vis, Visibility::Inherited)
}

/// The module that defines the last part of `path`.
fn resolve(path: &[String], all: &[Module]) -> usize {
    let longest = (0..=path.len()).rev().find_map(|length| {
        let place = all.iter().position(|module| module.path() == path[..length])?;
        Some((length, place))
    });
    let (length, place) = longest.expect("the root of the crate is there");
    match path.get(length).and_then(|name| all[place].re_exported(name)) {
        Some(origin) if origin != path => resolve(&origin, all),
        _ => place,
    }
}

/// `path` from the root of the crate, if it says that it is of this crate.
fn absolute(path: &[String], module: &[&str]) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let ups = path.iter().take_while(|part| *part == "super").count();
    let rest = match path.first()?.as_str() {
        "crate" => {
            base.clear();
            &path[1..]
        }
        "self" => &path[1..],
        "super" => {
            base.truncate(base.len().checked_sub(ups)?);
            &path[ups..]
        }
        _ => return None,
    };
    Some(base.into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect())
}

/// All paths of a tree of imports.
fn expand(tree: &UseTree, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            expand(&path.tree, prefix, found);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| expand(tree, prefix, found)),
        UseTree::Name(name) if name.ident == "self" => found.push(prefix.clone()),
        UseTree::Name(name) => found.push([prefix.as_slice(), &[name.ident.to_string()]].concat()),
        UseTree::Rename(name) => {
            found.push([prefix.as_slice(), &[name.ident.to_string()]].concat())
        }
        UseTree::Glob(_) => found.push(prefix.clone()),
    }
}

/// Collects the paths into this crate, from the root, that a file names outside its tests.
struct Paths<'a> {
    module: Vec<&'a str>,
    found: BTreeSet<Vec<String>>,
}

impl Paths<'_> {
    fn note(&mut self, path: &[String]) {
        self.found.extend(absolute(path, &self.module));
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        let is_test = attributes.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| {
                    let condition = list.tokens.to_string();
                    condition == "test"
                        || condition.starts_with("all (test")
                        || condition.contains("loom , test")
                })
        });
        if !is_test {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        // `super` means this file in a module that stands in it.
        if let Some((_, items)) = &item.content {
            let name = item.ident.to_string();
            let mut inner = Paths {
                module: self.module.iter().copied().chain([name.as_str()]).collect(),
                found: BTreeSet::new(),
            };
            items.iter().for_each(|item| inner.visit_item(item));
            self.found.append(&mut inner.found);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if is_re_export(item) {
            return;
        }
        let mut paths = Vec::new();
        expand(&item.tree, &mut Vec::new(), &mut paths);
        paths.iter().for_each(|path| self.note(path));
    }

    /// `pub(super)` is no need of the parent.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let path_names: Vec<String> =
            path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&path_names);
        visit::visit_path(self, path);
    }
}
