//! The engine's source, as far as the list speaks of it: files, functions, models.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

/// A file of the engine.
pub(crate) struct Source {
    /// Its path below `src`.
    pub(crate) name: String,
    pub(crate) text: String,
}

pub(crate) fn engine() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

pub(crate) fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let root = engine().join("src");
    for path in files_below(&root) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        found.push(Source { name, text: fs::read_to_string(&path).unwrap() });
    }
    assert!(found.len() > 30, "the sources are there");
    found
}

/// The files of a folder and of those in it.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files = |path: PathBuf| if path.is_dir() { files_below(&path) } else { vec![path] };
    paths.into_iter().flat_map(files).collect()
}

impl Source {
    /// What comes before the tests; nothing of a file that is all tests.
    pub(crate) fn code(&self) -> &str {
        if self.name.contains("tests") {
            return "";
        }
        let tests = ["\n#[cfg(test)]\nmod", "\n#[cfg(all(test"];
        let end = tests.iter().filter_map(|start| self.text.find(start)).min();
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// Where the one function lies whose text goes on like this after `fn `.
    pub(crate) fn function(&self, name: &str) -> Range<usize> {
        let code = self.code();
        let header = format!("fn {name}");
        let found: Vec<usize> = code
            .match_indices(&header)
            .map(|(at, _)| at)
            .filter(|at| {
                !code[at + header.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
            .collect();
        let [start] = found[..] else {
            panic!("{}: {} functions begin with `{header}`, and not one", self.name, found.len());
        };
        let line = code[..start].rfind('\n').map_or(0, |at| at + 1);
        let indent: String = code[line..].chars().take_while(|c| *c == ' ').collect();
        let end = format!("\n{indent}}}\n");
        let length = code[start..].find(&end).expect("a function ends") + end.len();
        start..start + length
    }

    /// Where the one place lies in that function that reads like this.
    pub(crate) fn place(&self, function: &str, find: &str) -> Range<usize> {
        let within = self.function(function);
        let found: Vec<usize> =
            self.text[within.clone()].match_indices(find).map(|(at, _)| at).collect();
        let [at] = found[..] else {
            let count = found.len();
            panic!("{}: `{find}` is {count} times in `{function}`, and not once", self.name);
        };
        let start = within.start + at;
        start..start + find.len()
    }

    /// The names of its loom models, as the test harness knows them.
    pub(crate) fn models(&self) -> Vec<String> {
        let module = self.name.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let in_own_file = self.name.contains("tests");
        self.text
            .match_indices("fn loom_")
            .map(|(at, _)| {
                let name: String = self.text[at + "fn ".len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                match in_own_file {
                    true => format!("{module}::{name}"),
                    false => format!("{module}::loom_tests::{name}"),
                }
            })
            .collect()
    }
}

/// The name in a text that begins like a function's after `fn `.
pub(crate) fn name_of(function: &str) -> String {
    function.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The lines without comments, each with the function around it; no imports.
fn statements(code: &str) -> impl Iterator<Item = (String, &str)> {
    let mut function = String::new();
    let mut in_use = false;
    code.lines().filter_map(move |line| {
        let line = line.split("//").next().unwrap_or("").trim();
        in_use |= line.starts_with("use ") || line.starts_with("pub(crate) use ");
        if let Some((_, rest)) = line.split_once("fn ") {
            function = name_of(rest);
        }
        let statement = (!in_use).then(|| (function.clone(), line));
        in_use &= !line.contains(';');
        statement
    })
}

/// The lines that order memory, with the functions around them. Relaxed accesses order nothing.
pub(crate) fn orderings(code: &str) -> Vec<(String, String)> {
    let orders = |line: &str| {
        ["Acquire", "Release", "AcqRel", "SeqCst"].iter().any(|word| line.contains(word))
    };
    statements(code)
        .filter(|(_, line)| orders(line))
        .map(|(function, line)| (function, line.to_owned()))
        .collect()
}

/// The lines that access an atomic, or order accesses of others.
pub(crate) fn accesses(code: &str) -> impl Iterator<Item = &str> {
    let words = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
    statements(code)
        .map(|(_, line)| line)
        .filter(move |line| words.iter().any(|word| line.contains(word)))
}
