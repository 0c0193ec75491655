//! Memory order: every place that orders memory is guarded by a model or says why not, and every model notices the
//! places that it names. What happens without a place is checked by the models themselves: see `src/model.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::modules::{files, modules};

/// Begins a comment in a function that orders memory and that no model can fail without.
const NO_MODEL: &str = "// No model: ";
/// Begins a comment beside accesses that order nothing.
const RELAXED: &str = "// Relaxed";

/// The literals that follow `prefix` in a text, white space left out.
fn literals<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let after = text.match_indices(prefix).map(|(at, _)| text[at + prefix.len()..].trim_start());
    after.filter_map(|rest| rest.strip_prefix('"')?.split_once('"')).map(|(name, _)| name).collect()
}

/// The text of each function of a file, by the line that begins it.
fn functions(code: &str) -> Vec<String> {
    let mut functions = vec![String::new()];
    for line in code.lines() {
        if line.trim_start().starts_with("fn ") || line.contains(") fn ") {
            functions.push(String::new());
        }
        if let Some(function) = functions.last_mut() {
            *function += line;
            *function += "\n";
        }
    }
    functions
}

fn orders(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let is_import = code.trim_start().starts_with("Ordering::{") || code.contains("use ");
    !is_import && ["Acquire", "Release", "AcqRel", "SeqCst"].iter().any(|word| code.contains(word))
}

#[test]
fn whatever_orders_memory_is_guarded_or_says_why_not() {
    let mut unguarded = Vec::new();
    for module in modules().iter().filter(|module| module.file != "model.rs") {
        for function in
            functions(module.code()).iter().filter(|function| !function.contains(NO_MODEL))
        {
            let lines: Vec<&str> = function.lines().collect();
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| orders(line)) {
                // A long mark is broken into lines.
                let statement = lines[at.saturating_sub(2)..=at].concat();
                if !statement.contains("guarded!(") {
                    unguarded.push(format!("{}: {}", module.file, line.trim()));
                }
            }
        }
    }
    assert!(unguarded.is_empty(), "guard these, or write `{NO_MODEL}…`:\n{}", unguarded.join("\n"));
}

#[test]
fn relaxed_accesses_outside_of_every_pairing_say_what_they_are_for() {
    let mut unexplained = Vec::new();
    for module in modules().into_iter().filter(|module| module.file != "model.rs") {
        let code = module.code();
        let accesses = module.lines().any(|line| {
            line.contains("Relaxed")
                && !line.contains("use ")
                && !line.trim().starts_with("Ordering::")
        });
        let explained = [RELAXED, NO_MODEL, "guarded!("].iter().any(|reason| code.contains(reason));
        if accesses && !explained {
            unexplained.push(module.file);
        }
    }
    assert!(unexplained.is_empty(), "these say nowhere why Relaxed is enough: {unexplained:?}");
}

#[test]
fn every_guarded_place_is_noticed_by_a_model_and_every_model_notices_a_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut noticed = BTreeSet::new();
    for file in files(&root).iter().filter(|file| !file.ends_with("model.rs")) {
        let text = fs::read_to_string(file).unwrap();
        literals(&text, "guarded!(")
            .iter()
            .for_each(|place| *places.entry((*place).to_owned()).or_default() += 1);
        for model in text.split("fn loom_").skip(1) {
            let name: String = model.chars().take_while(|letter| *letter != '(').collect();
            let model = model.split("\n    }\n").next().unwrap_or_default();
            assert!(
                model.contains("check(") || model.contains("check_bounded("),
                "loom_{name} is no checked model"
            );
            let lists = model.split("&[").skip(1).filter_map(|list| list.split_once("],"));
            noticed.extend(lists.flat_map(|(list, _)| {
                literals(list, "(").into_iter().map(str::to_owned).collect::<Vec<_>>()
            }));
        }
    }
    let repeated: Vec<_> = places.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "these places have one name: {repeated:?}");
    let places: BTreeSet<String> = places.into_keys().collect();
    assert_eq!(noticed, places, "left: what models notice, right: what is guarded");
}

#[test]
fn orderings_are_found_and_not_in_imports_or_comments() {
    assert!(orders("    word.store(1, Release);"));
    assert!(!orders("    word.store(1, Relaxed); // Release"));
    assert!(!orders("    Ordering::{Acquire, Relaxed},"));
    assert_eq!(functions("use a;\nfn one() {}\n    pub(crate) fn two() {\n    }\n").len(), 3);
    assert_eq!(
        literals("guarded!(\n    \"one\", x) guarded!(\"two\")", "guarded!("),
        ["one", "two"]
    );
}
