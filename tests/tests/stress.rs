//! Short runs of the command `stress`: it finds nothing, says so, and leaves nothing behind.
//!
//! Longer runs are in `.ci/run` and in the README.

use std::process::Stdio;

use tests::prelude::*;

fn stress(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("stress"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_short_run_loses_nothing_and_says_so_in_one_line() {
    let arguments = ["--renderers=4", "--duration=3s", "--kill-every=50ms", "--seed=5", "--json"];
    let output = stress(&arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    // Without a terminal nothing is drawn.
    assert!(!errors.contains('\r') && errors.contains("--jump-clock"), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    for field in ["lost", "duplicates", "out_of_order", "leaks", "hangs", "violations", "corrupt"] {
        assert_eq!(summary[field], 0, "{field}: {text}");
    }
    for field in
        ["cycles", "kills", "frames", "invokes", "pushes", "publishes", "large", "censuses"]
    {
        assert!(summary[field].as_u64().unwrap() > 0, "{field}: {text}");
    }
    assert_eq!(summary["seed"], 5);
    assert!(summary["recovery_p99_ms"].as_f64() <= summary["max_recovery_ms"].as_f64());
}

#[test]
fn ctrl_c_ends_a_run_and_leaves_no_process() {
    let arguments = ["--renderers=4", "--duration=10m", "--kill-every=20ms", "--json"];
    let mut child = stress(&arguments).spawn().unwrap();
    let mut seen = Vec::new();
    eventually("main and some of the renderers are there", || {
        seen = descendants(child.id());
        seen.len() >= 3
    });
    signal(child.id(), Signal::INT);
    eventually("it ends", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["leaks"], 0, "{summary}");
    assert!(!seen.iter().any(|id| exists(*id)), "{seen:?}");
}
