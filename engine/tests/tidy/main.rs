//! The boundaries inside the engine, checked over its source: the order of the folders, no circle between files,
//! and the places where unsafe code, memory orderings and the portable backend may stand.

use std::path::Path;

mod memory_order;
mod modules;

use modules::{Module, modules};

/// The folders and files of the root from the bottom up. Each may import what stands before it.
const ORDER: &[&str] = &[
    // Used by all.
    "primitives",
    "model",
    "trace",
    "metrics",
    // The heart: bytes, the system, memory, rings, locks, waiting.
    "wire",
    "os",
    "kill_points",
    "shm",
    "ring",
    "sync",
    "wake",
    // Types of channels, and their rules.
    "contract",
    "policy",
    "config",
    // Sessions and conversations.
    "session",
    "inspection",
    "peer",
    "web_contents",
    "event_loop",
    "ticker",
    // The public face.
    "ipc_main",
    "sandbox",
    "ipc_renderer",
    "inspector",
    "context_bridge",
    "error",
    "portable",
    "fuzzing",
];

/// Files that may contain unsafe code.
const UNSAFE: &[&str] = &[
    "os/",
    "shm/",
    "ring/producer.rs",
    "ring/consumer.rs",
    "sync/owner_lock.rs",
    "sync/loop_cell.rs",
    "wake/driver_lock.rs",
    "portable/event.rs",
    "portable/named.rs",
    "portable/rendezvous.rs",
];

/// Files that may order memory: each holds a protocol with a model, or a reason in `docs/memory-order.md`.
const ORDERINGS: &[&str] = &[
    "model.rs",
    "wire/words.rs",
    "ring/cells.rs",
    "sync/owner_lock.rs",
    "sync/fences.rs",
    "sync/flag.rs",
    "wake/driver_lock.rs",
    "wake/bell.rs",
    "os/confine.rs",
    "portable/rendezvous.rs",
];

const FENCES: &[&str] = &["wire/words.rs", "sync/fences.rs"];

fn stands_in(list: &[&str], file: &str) -> bool {
    list.iter().any(|entry| file == *entry || entry.ends_with('/') && file.starts_with(entry))
}

#[test]
fn unsafe_code_is_where_memory_system_calls_and_locks_are() {
    for module in modules() {
        let unsafe_line =
            module.lines().find(|line| line.contains("unsafe ") && !line.contains("unsafe_"));
        assert!(
            stands_in(UNSAFE, &module.file) || unsafe_line.is_none(),
            "{}: {unsafe_line:?}",
            module.file
        );
    }
}

#[test]
fn acquire_and_release_are_where_protocols_are() {
    for module in modules() {
        let ordered = module.lines().find(|line| {
            ["Acquire", "Release", "AcqRel", "SeqCst"]
                .iter()
                .any(|ordering| line.contains(ordering))
        });
        assert!(
            stands_in(ORDERINGS, &module.file) || ordered.is_none(),
            "{}: {ordered:?}",
            module.file
        );
    }
}

#[test]
fn fences_are_in_two_files() {
    for module in modules() {
        let fence = module.lines().find(|line| line.contains("fence(SeqCst)"));
        assert!(stands_in(FENCES, &module.file) || fence.is_none(), "{}: {fence:?}", module.file);
    }
}

#[test]
fn a_folder_imports_only_folders_below_it() {
    let place = |folder: &str| {
        let place = ORDER.iter().position(|entry| *entry == folder);
        place.unwrap_or_else(|| panic!("{folder} has no place: add it to ORDER"))
    };
    let modules = modules();
    let mut upward = Vec::new();
    for module in modules.iter().filter(|module| module.file != "lib.rs") {
        for imported in
            module.imports(&modules).into_iter().filter(|import| import.file != "lib.rs")
        {
            if place(imported.folder()) > place(module.folder()) {
                upward.push(format!("{} imports {}", module.file, imported.file));
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn files_import_each_other_in_no_circle() {
    let modules = modules();
    let imports: Vec<Vec<usize>> = modules
        .iter()
        .map(|module| {
            let imported = module.imports(&modules);
            imported
                .iter()
                .filter_map(|import| modules.iter().position(|other| other.file == import.file))
                .collect()
        })
        .collect();
    // A file is in a circle if it reaches itself.
    let reaches_itself = |start: usize| {
        let mut open = imports[start].clone();
        let mut seen = vec![false; modules.len()];
        while let Some(next) = open.pop() {
            if next == start {
                return true;
            }
            if !std::mem::replace(&mut seen[next], true) {
                open.extend(&imports[next]);
            }
        }
        false
    };
    let circles: Vec<&str> = (0..modules.len())
        .filter(|start| reaches_itself(*start))
        .map(|start| modules[start].file.as_str())
        .collect();
    assert!(circles.is_empty(), "these files are parts of circles:\n{}", circles.join("\n"));
}

#[test]
fn only_its_own_folder_and_the_root_know_the_portable_backend() {
    for module in modules() {
        let known = module.lines().find(|line| line.contains("feature = \"portable\""));
        let permitted = module.folder() == "portable"
            || ["lib.rs", "config.rs"].contains(&module.file.as_str());
        assert!(permitted || known.is_none(), "{}: {known:?}", module.file);
    }
}

#[test]
fn the_pure_parts_know_no_memory_clock_or_system() {
    for module in modules() {
        let pure = ["peer/router.rs", "peer/requests/table.rs"].contains(&module.file.as_str())
            || ["contract", "policy"].contains(&module.folder());
        if !pure {
            continue;
        }
        for impure in ["Atomic", "Instant::now", "crate::os", "crate::shm", "Shared<"] {
            assert!(
                !module.lines().any(|line| line.contains(impure)),
                "{} mentions {impure}",
                module.file
            );
        }
    }
}

#[test]
fn an_import_is_found_in_a_tree_a_path_and_behind_a_re_export() {
    let modules = [
        Module::parse("a/mod.rs", "mod deep;\npub(crate) use deep::Item;"),
        Module::parse("a/deep.rs", "pub(crate) struct Item;"),
        Module::parse("b.rs", "use crate::{a::{Item, deep::Other}};"),
        Module::parse("c.rs", "fn call() { crate::a::deep::work() }"),
        Module::parse("d.rs", "#[cfg(test)]\nmod tests { use crate::b; }"),
    ];
    let imported = |from: usize| -> Vec<String> {
        modules[from].imports(&modules).iter().map(|import| import.file.clone()).collect()
    };
    assert_eq!(imported(2), ["a/deep.rs"]);
    assert_eq!(imported(3), ["a/deep.rs"]);
    assert!(imported(4).is_empty());
    assert_eq!(imported(0), [""; 0], "a re-export is no use");
}

#[test]
fn the_files_that_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let documents = [root.to_owned(), root.join("docs")].into_iter().flat_map(|folder| {
        let entries = std::fs::read_dir(folder).expect("a folder of documents");
        entries.map(|entry| entry.expect("an entry").path())
    });
    let mut missing = Vec::new();
    for document in documents.filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let text = std::fs::read_to_string(&document).expect("a document");
        let names = text.split(|c: char| !c.is_alphanumeric() && !"/._-".contains(c));
        let names = names.map(|name| name.trim_start_matches("../"));
        let sources = names.filter(|name| name.ends_with(".rs"));
        // The others are short for a file of the engine, as `wire/kind.rs`.
        let in_workspace = sources.filter(|name| {
            name.split_once('/').is_some_and(|(folder, _)| root.join(folder).is_dir())
        });
        for name in in_workspace.filter(|name| !root.join(name).is_file()) {
            missing.push(format!("{} names {name}", document.display()));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
