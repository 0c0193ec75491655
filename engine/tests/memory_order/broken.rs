//! The engine with every break of the list in it, each behind a switch: one build for all of them.
//!
//! What the list wants replaced becomes `if crate::broken::is(17) { replacement } else { original }` in a
//! copy of the engine below `target`. Which break a run has is in its environment. The engine itself
//! knows nothing of this.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{pairings::Break, source};

const PACKAGE: &str = "ringbridge-with-breaks";
/// Names the break of a run, by its place in the list.
const VARIABLE: &str = "RINGBRIDGE_BROKEN";
/// A broken model may go on for long without finding anything; an intact one gets all the time it needs.
const SECONDS_MAX: &str = "60";

/// The models, built over the broken copy.
pub(crate) struct Models {
    binary: PathBuf,
}

impl Models {
    pub(crate) fn build(breaks: &[&Break]) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("loom");
        let copy = target.join("broken");
        write_copy(&copy, breaks);
        let built = Command::new(env!("CARGO"))
            .args([
                "test",
                "--release",
                "--lib",
                "--no-run",
                "--message-format=json-render-diagnostics",
            ])
            .args(["-p", PACKAGE, "--target-dir"])
            .arg(&target)
            .current_dir(&copy)
            .env("RUSTFLAGS", "--cfg loom")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .output()
            .unwrap();
        let messages = String::from_utf8_lossy(&built.stdout);
        let binary =
            messages.rsplit_once("\"executable\":\"").and_then(|(_, rest)| rest.split_once('"'));
        match binary {
            Some((binary, _)) if built.status.success() => Self { binary: binary.into() },
            _ => panic!(
                "the broken copy does not build:\n{}",
                String::from_utf8_lossy(&built.stderr)
            ),
        }
    }

    /// Runs a model with a break or without. Says whether it passed, and what was printed.
    pub(crate) fn run(&self, model: &str, broken: Option<usize>) -> (bool, String) {
        let mut command = Command::new(&self.binary);
        command.args(["--exact", model, "--nocapture", "--test-threads=1"]);
        command.env("RUST_BACKTRACE", "0");
        if let Some(broken) = broken {
            command.env(VARIABLE, broken.to_string()).env("LOOM_MAX_DURATION", SECONDS_MAX);
        }
        let Output { status, stdout, stderr } = command.output().unwrap();
        let printed =
            [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(printed.contains("running 1 test"), "there is no model {model}:\n{printed}");
        (status.success(), printed)
    }
}

/// A workspace with nothing but the engine in it.
fn write_copy(copy: &Path, breaks: &[&Break]) {
    let engine = source::engine();
    let workspace = engine.parent().unwrap();
    let manifest: String = fs::read_to_string(workspace.join("Cargo.toml"))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("default-members"))
        .map(|line| if line.starts_with("members") { "members = [\"engine\"]" } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    write(&copy.join("Cargo.toml"), &manifest);
    // Only at first: cargo leaves out of it what the copy does not need.
    if !copy.join("Cargo.lock").exists() {
        fs::copy(workspace.join("Cargo.lock"), copy.join("Cargo.lock")).unwrap();
    }
    // Under a name of its own, or cargo would take what it builds for the engine's.
    let engine_manifest = fs::read_to_string(engine.join("Cargo.toml")).unwrap();
    let renamed =
        engine_manifest.replace("name = \"ringbridge\"", &format!("name = \"{PACKAGE}\""));
    write(&copy.join("engine/Cargo.toml"), &format!("{renamed}\n[lib]\nname = \"ringbridge\"\n"));
    let mut wanted = BTreeSet::new();
    for mut source in source::sources() {
        source.text = with_switches(&source, breaks);
        if source.name == "lib.rs" {
            let _ = write!(
                source.text,
                "\nmod broken {{\n    pub(crate) fn is(which: usize) -> bool {{\n        \
                 static WHICH: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();\n        \
                 *WHICH.get_or_init(|| std::env::var(\"{VARIABLE}\").ok()?.parse().ok()) == Some(which)\n    \
                 }}\n}}\n"
            );
        }
        let path = copy.join("engine/src").join(&source.name);
        write(&path, &source.text);
        wanted.insert(path);
    }
    for left_over in source::files_below(&copy.join("engine/src")) {
        if !wanted.contains(&left_over) {
            fs::remove_file(left_over).unwrap();
        }
    }
}

/// The file with each of its breaks behind its switch.
fn with_switches(source: &source::Source, breaks: &[&Break]) -> String {
    let mut places: Vec<_> = breaks
        .iter()
        .enumerate()
        .filter(|(_, broken)| broken.file == source.name)
        .map(|(number, broken)| (source.place(broken.function, broken.find), number, broken))
        .collect();
    places.sort_by_key(|(place, number, _)| (place.start, *number));
    let mut text = String::new();
    let mut copied = 0;
    for group in places.chunk_by(|(one, ..), (other, ..)| one == other) {
        let (place, _, Break { find, .. }) = &group[0];
        assert!(copied <= place.start, "{}: two breaks overlap at `{find}`", source.name);
        text += &source.text[copied..place.start];
        let is_statement = find.ends_with([';', '}']);
        text += if is_statement { "" } else { "(" };
        for (_, number, broken) in group {
            let _ = write!(text, "if crate::broken::is({number}) {{ {} }} else ", broken.replace);
        }
        let _ = write!(text, "{{ {find} }}");
        text += if is_statement { "" } else { ")" };
        copied = place.end;
    }
    text + &source.text[copied..]
}

/// Leaves a file alone that is as it should be, so that it is not built again.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
