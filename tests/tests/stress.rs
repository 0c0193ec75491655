//! The command `stress`, for moments: that it finds nothing, says so, and leaves nothing behind.
//!
//! What it finds out is in `tests/src/stress/`; longer runs are in `.ci/run` and in the README.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tests::{
    proc::{descendants, exists},
    processes::{LIMIT, program, signal, within},
};

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
    // Without a terminal nothing is drawn, and what is not done is said.
    assert!(!errors.contains('\r') && errors.contains("--jump-clock"), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    let zero = ["lost", "duplicates", "out_of_order", "leaks", "hangs", "violations", "corrupt"];
    for field in zero {
        assert_eq!(summary[field], 0, "{field}: {text}");
    }
    let some = ["cycles", "kills", "frames", "invokes", "pushes", "publishes", "large", "censuses"];
    for field in some {
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
    let began = Instant::now();
    // Its main process and some of the renderers are there.
    while seen.len() < 3 && began.elapsed() < LIMIT {
        seen = descendants(child.id());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(seen.len() >= 3, "{seen:?}");
    signal(child.id(), Signal::INT);
    assert!(within(LIMIT, || child.try_wait().unwrap().is_some()));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["leaks"], 0, "{summary}");
    assert!(!seen.iter().any(|id| exists(*id)), "{seen:?}");
}
