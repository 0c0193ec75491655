//! The engine's examples as users run them: each prints its results and ends by itself.

use std::{fs, path::Path};

use tests::{demo::run, prelude::*};

/// Runs an example to its end, in a folder of endpoints of its own, and returns its lines in alphabetical order:
/// two processes print them.
fn lines_of(example: &str) -> Vec<String> {
    let runtime = Folder::new(example);
    let mut command = Command::new(programs().join("examples").join(example));
    let (code, output, errors) = run(command.env("XDG_RUNTIME_DIR", &*runtime));
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{output}");
    let left = fs::read_dir(runtime.join("ringbridge")).expect("main's folder").count();
    assert_eq!(left, 0, "it left its endpoint behind");
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn every_example_has_a_test_here() {
    let tests = include_str!("examples.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/examples");
    for entry in fs::read_dir(folder).expect("the examples are there") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(tests.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn the_system_info_is_this_machines() {
    let [asked, told] = &lines_of("get_system_info")[..] else { panic!("two lines") };
    assert_eq!(asked, "main: renderer 1 asks");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("proc is mounted");
    let cores = thread::available_parallelism().expect("it is known");
    let expected = format!("renderer: {} has {cores} cores: ", host.trim());
    assert!(told.starts_with(&expected), "{told}");
}

#[test]
fn statistics_come_in_order_and_to_the_end() {
    let lines = lines_of("statistics");
    assert_eq!(lines.len(), 4, "{lines:?}");
    for sequence in [100, 25, 50, 75] {
        let start = format!("renderer: {sequence}: load ");
        let line = lines.iter().find(|line| line.starts_with(&start)).expect(&start);
        assert!(line.ends_with(" kB available") && !line.contains(" 0 kB"), "{line}");
    }
}

#[test]
fn a_topic_reaches_every_renderer_by_one_write() {
    let lines = lines_of("topic");
    assert_eq!(lines[0], "main: published 500 quotes, once each for 3 renderers");
    for (number, line) in (1..).zip(&lines[1..]) {
        let start = format!("renderer {number}: 500 received, 0 lost, the last at 99.53");
        assert!(line.starts_with(&start), "{line}");
    }
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn the_other_examples_print_these_lines() {
    let [log_message, invoke_renderer, large_payload, policy, crash] =
        ["log_message", "invoke_renderer", "large_payload", "policy", "crash"].map(lines_of);
    let expected = [
        "renderer 1 is gone: clean-exit",
        "renderer 1: User clicked a button!",
        "renderer 1: User closed the window.",
    ];
    assert_eq!(log_message, expected);
    let expected = [
        "main: no reply to 'think' within 100ms",
        "main: refused: there is no text",
        "main: the text is 45 pixels wide",
    ];
    assert_eq!(invoke_renderer, expected);
    let raise = "raise the limit in Config or Policy, or split it";
    let too_large = format!(
        "renderer: a message of 8388609 bytes on 'invert' is too large: at most 8388608 fit; {raise}"
    );
    let expected = [
        "main: 1 attachment received, 1 sent",
        "main: 8 MiB from renderer 1",
        "renderer: 8 MiB came back, each byte as it should be",
        &too_large,
    ];
    assert_eq!(large_payload, expected);
    let too_large = format!(
        "renderer: a message of 65 bytes on 'log-message' is too large: at most 64 fit; {raise}"
    );
    let expected = [
        "main: 1 invoke was rejected by its validator",
        "renderer 1: that was all",
        "renderer: Error invoking remote method 'read-file': rejected: '/etc/shadow' is not among \
         the files to be read",
        &too_large,
        "renderer: allowed: Linux",
        "renderer: the policy of this renderer does not allow the channel 'delete-file'",
    ];
    assert_eq!(policy, expected);
    let expected = [
        "main: another one is launched in 50ms",
        "main: no reply to 'progress': the other process is gone (crashed)",
        "main: renderer 1 has done task 1",
        "main: renderer 1 is gone: crashed",
        "main: renderer 2 has done task 3",
        "main: renderer 2 is gone: clean-exit",
        "main: renderer 2 takes the place of renderer 1",
    ];
    assert_eq!(crash, expected);
}
