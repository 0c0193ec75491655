//! The boundaries inside the engine, checked over its source: who may be unsafe, who may order memory,
//! who may know the model checker, and that nothing imports what is above it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The modules from the bottom up. A module may import those of its own level and below.
const LEVELS: &[(&str, &[&str])] = &[
    ("used by all", &["sync", "counters", "metrics", "sleeps", "trace"]),
    ("what the bytes are", &["layout"]),
    ("where the bytes are, and the system", &["memory", "sys", "kill_points"]),
    (
        "moving frames, waiting",
        &[
            "ring",
            "topic",
            "wait",
            "signal",
            "seat",
            "doorbell",
            "keyed",
            "biased",
            "fences",
            "flag",
            "room",
            "snapshot",
            "timed",
            "event_sleep",
        ],
    ),
    (
        "what it means, and who is there",
        &[
            "payload",
            "contract",
            "channels",
            "config",
            "error",
            "policy",
            "policy_file",
            "quota",
            "request",
            "pending",
            "router",
            "executor",
            "owed",
            "inside",
            "session",
            "sandbox",
        ],
    ),
    ("large payloads", &["attachment"]),
    ("one conversation", &["port", "register"]),
    (
        "the endpoints",
        &["renderer_loop", "main_loop", "ipc_main", "ipc_renderer", "web_contents", "inspector"],
    ),
    ("a page's part of a renderer", &["context_bridge"]),
    // It hands private parsers to fuzzers, so it sees everything and nothing sees it.
    ("doors for fuzzers", &["fuzzing"]),
];

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30, "the sources are there");
    found
}

/// The path below `src`, with `/`.
fn name(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.to_string_lossy().replace('\\', "/")
}

/// The module of level, as in `LEVELS`.
fn module(path: &Path) -> String {
    let name = name(path);
    name.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
}

/// What comes before the tests of a file, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]") && !line.starts_with("#[cfg(all(test"))
        .map(|line| line.split("//").next().unwrap_or(""))
}

#[test]
fn unsafe_code_is_where_memory_system_calls_and_the_drivers_locks_are() {
    for (path, text) in sources() {
        let name = name(&path);
        let permitted = name.starts_with("memory/")
            || name.starts_with("sys/")
            || ["ring/producer.rs", "ring/consumer.rs", "seat.rs", "keyed.rs", "biased.rs"]
                .contains(&name.as_str());
        let unsafe_line =
            code(&text).find(|line| line.contains("unsafe ") && !line.contains("unsafe_"));
        assert!(permitted || unsafe_line.is_none(), "{name}: {unsafe_line:?}");
    }
}

#[test]
fn acquire_and_release_are_where_protocols_are() {
    const PROTOCOLS: &[&str] = &[
        "layout/words.rs",
        "layout/rendezvous.rs",
        "ring/commit.rs",
        "seat.rs",
        "biased.rs",
        "fences.rs",
        "sys/confine.rs",
        "sys/event.rs",
        "signal.rs",
        "flag.rs",
        "inside.rs",
    ];
    for (path, text) in sources() {
        let name = name(&path);
        let ordered = code(&text).find(|line| {
            ["Acquire", "Release", "AcqRel", "SeqCst"]
                .iter()
                .any(|ordering| line.contains(ordering))
        });
        let permitted = PROTOCOLS.contains(&name.as_str()) || name.contains("tests");
        assert!(permitted || ordered.is_none(), "{name}: {ordered:?}");
    }
}

#[test]
fn fences_are_in_two_files_only() {
    for (path, text) in sources() {
        let name = name(&path);
        let fence = code(&text).find(|line| line.contains("fence(SeqCst)"));
        assert!(
            ["layout/words.rs", "fences.rs"].contains(&name.as_str()) || fence.is_none(),
            "{name}: {fence:?}"
        );
    }
}

#[test]
fn nothing_imports_what_is_above_it() {
    let level = |module: &str| LEVELS.iter().position(|(_, modules)| modules.contains(&module));
    for (path, text) in sources() {
        let (name, from) = (name(&path), module(&path));
        if from == "lib" {
            continue;
        }
        let own = level(&from).unwrap_or_else(|| panic!("{name} has no level: add it to LEVELS"));
        for to in imports(&text) {
            let Some(theirs) = level(&to) else { continue };
            assert!(theirs <= own, "{name} (of '{}') imports {to}", LEVELS[own].0);
        }
    }
}

/// The top-level modules that a file names after `crate::`, also inside one `use crate::{ … }`.
fn imports(text: &str) -> Vec<String> {
    let text: String = code(text).collect::<Vec<_>>().join("\n");
    let word = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for letter in list.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.push(word(std::mem::take(&mut item).trim())),
                        _ if depth == 0 => item.push(letter),
                        _ => {}
                    }
                }
                found.push(word(item.trim()));
            }
        }
    }
    found
}

#[test]
fn imports_are_read_from_both_forms() {
    let text = "use crate::wait::Waiter;\nuse crate::{\n    error::{A, B},\n    sync::Arc,\n};\n";
    assert_eq!(imports(text), ["wait", "error", "sync", ""]);
}

#[test]
fn the_pure_parts_know_no_memory_clock_or_system() {
    for pure in ["router.rs", "policy.rs", "quota.rs", "channels.rs", "contract.rs", "payload.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(pure);
        let text = fs::read_to_string(path).unwrap();
        for impure in ["Atomic", "Instant::now", "crate::sys", "crate::memory", "Shared<"] {
            assert!(!code(&text).any(|line| line.contains(impure)), "{pure} mentions {impure}");
        }
    }
}
