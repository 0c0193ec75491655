//! The guide is whole: each error is explained, and what it points to is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The public enums of a source file, each with the names of its variants.
fn enums(source: &str) -> Vec<(String, Vec<String>)> {
    let word = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_alphanumeric()).collect()
    };
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("pub enum ") {
            found.push((word(name), Vec::new()));
            inside = true;
        } else if line.starts_with('}') {
            inside = false;
        } else if let (true, Some(rest), Some((_, variants))) =
            (inside, line.strip_prefix("    "), found.last_mut())
            && rest.starts_with(|letter: char| letter.is_ascii_uppercase())
        {
            variants.push(word(rest));
        }
    }
    found
}

#[test]
fn every_variant_of_every_error_is_explained() {
    let guide = read(&root().join("docs/errors.md"));
    let sections: Vec<&str> = guide.split("\n## ").skip(1).collect();
    let sources = [
        "context_bridge/error.rs",
        "contract/error.rs",
        "contract/payload.rs",
        "event_loop/error.rs",
        "inspection/attach.rs",
        "peer/error.rs",
        "policy/file.rs",
        "sandbox/outcome.rs",
        "session/error.rs",
        "session/liveness.rs",
        "wire/frame.rs",
    ];
    let mut count = 0;
    for source in sources {
        let source = read(&root().join("engine/src").join(source));
        // A frame's kind and a part of the sandbox are no errors.
        let enums = enums(&source).into_iter();
        let errors = enums.filter(|(name, _)| name != "Kind" && name != "SandboxPart");
        for (name, variants) in errors {
            let section = sections.iter().find(|section| {
                section.lines().next().is_some_and(|head| head.contains(&format!("`{name}`")))
            });
            let section = section.unwrap_or_else(|| panic!("there is no section of {name}"));
            for variant in variants {
                assert!(section.contains(&format!("`{variant}`")), "{name}::{variant}");
                count += 1;
            }
        }
    }
    assert!(count > 80, "{count} variants were found");
}

#[test]
fn what_the_pages_point_to_is_there() {
    let docs = fs::read_dir(root().join("docs")).expect("the guide is there");
    let docs = docs.map(|entry| entry.expect("a file").path());
    let pages = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md"];
    let pages = pages.map(|page| root().join(page)).into_iter().chain(docs);
    for page in pages.filter(|page| page.extension().is_some_and(|kind| kind == "md")) {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.parent().expect("pages are in folders").join(file)
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let headings = read(&target);
                let mut headings = headings.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|heading| anchor_of(heading) == anchor),
                    "{}: {link}",
                    page.display()
                );
            }
        }
    }
}

/// As a heading is linked to.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|&letter| letter.is_alphanumeric() || " -_".contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn headings_are_linked_to_by_their_letters() {
    assert_eq!(anchor_of("## What crashes do"), "what-crashes-do");
    assert_eq!(anchor_of("## `SendError`: not sent"), "senderror-not-sent");
}
