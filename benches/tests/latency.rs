//! `latency` as people run it, for moments.

use std::{
    env, fs,
    process::{self, Command},
};

use serde_json::Value;

#[test]
fn the_page_and_the_picture_are_of_the_run_that_is_printed() {
    let file = |kind| env::temp_dir().join(format!("latency-{}.{kind}", process::id()));
    let [page, picture] = ["html", "svg"].map(file);
    let output = Command::new(env!("CARGO_BIN_EXE_latency"))
        .args(["--pattern", "push", "--wait", "park", "--count", "200", "--slices", "4", "--json"])
        .arg("--html")
        .arg(&page)
        .arg("--svg")
        .arg(&picture)
        .output()
        .expect("latency runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(figures["count"], 200);

    let html = fs::read_to_string(&page).expect("a page");
    let svg = fs::read_to_string(&picture).expect("a picture");
    [&page, &picture].into_iter().for_each(|file| fs::remove_file(file).expect("it is ours"));
    for key in ["p50_ns", "p99_ns", "p999_ns", "max_ns", "floor_p50_ns", "futex_floor_p50_ns"] {
        let figure = format!("{} ns</td></tr>", figures[key]);
        assert!(html.contains(&figure), "{key}: {figure} is not in the page");
    }
    assert!(html.contains("--pattern push --wait park --count 200"), "how to repeat it");
    for name in ["push", "bounce", "futex"] {
        assert!(svg.contains(&format!("\n{name} ")), "{name} is not in the picture");
    }
}

#[test]
fn either_backend_is_measured_and_named() {
    for backend in ["sealed", "portable"] {
        let run = |kind: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_latency"))
                .args(["--backend", backend, "--count", "200", "--slices", "4"])
                .args(kind)
                .output()
                .expect("latency runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let figures: Value = serde_json::from_slice(&run(&["--json"])).expect("one object");
        assert_eq!(figures["backend"], backend);
        let table = String::from_utf8(run(&[])).expect("text");
        assert!(table.starts_with(&format!("Invoke, 48 bytes, Adaptive, {backend}: ")), "{table}");
    }
}

#[test]
fn a_run_above_its_limit_says_so_and_fails() {
    let output = Command::new(env!("CARGO_BIN_EXE_latency"))
        .args(["--count", "200", "--slices", "4", "--ratio-max", "0.001"])
        .output()
        .expect("latency runs");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("floors; the limit is 0.001"), "{error}");
}
