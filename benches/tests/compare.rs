//! `compare` as people run it: whole runs of tiny slices, with real processes.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use procfs::process::{MMapPath, Process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn compare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(["--rounds", "1", "--seconds-per-slice", "0.01"]);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("compare runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
    assert!(complaint.is_empty(), "{complaint}");
    output
}

fn lines_of(kind: &str, output: &Output) -> Vec<Value> {
    let text = str::from_utf8(&output.stdout).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|line| line["kind"] == kind).collect()
}

/// Returns the names that a run of this process id has left behind.
fn left_behind(process: u32) -> Vec<String> {
    let folders = ["/dev/shm".into(), env::temp_dir()];
    let names = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let names = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let ends = [format!("ringbridge-compare-{process}"), format!("ringbridge_compare_{process}_")];
    names.filter(|name| ends.iter().any(|end| name.starts_with(end.as_str()))).collect()
}

#[test]
fn every_subject_does_the_work_that_it_claims_to_do() {
    let output = run(compare().args(["--json", "--sizes", "48,64K"]));
    let checks = lines_of("check", &output);
    for claim in [
        "invoke 48 B spin, portable: p50 against sealed",
        "invoke 48 B park, portable: p50 against sealed (event against futex)",
    ] {
        let check = checks.iter().find(|check| check["claim"] == claim).expect(claim);
        assert!(check["measured"]["median"].as_f64() > Some(0.0), "{check}");
    }
    assert_eq!(lines_of("machine", &output).len(), 1);
    let cells = lines_of("cell", &output);
    for (subject, backend) in
        [("ringbridge-park", "sealed"), ("ringbridge-portable-park", "portable")]
    {
        let mut rows = cells.iter().filter(|cell| cell["subject"] == subject);
        assert!(rows.clone().count() > 5 && rows.all(|cell| cell["backend"] == backend));
    }
    let count = |status: &str| cells.iter().filter(|cell| cell["status"] == status).count();
    let failed: Vec<_> = cells.iter().filter(|cell| cell["status"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(count("measured") > count("not-applicable"));
    for cell in cells.iter().filter(|cell| cell["status"] == "measured") {
        let figure = match cell["work"].as_str() {
            Some("round-trip") => &cell["latency"]["p50_ns"]["median"],
            Some("stream") => &cell["stream"]["messages_per_second"]["median"],
            Some("push") => &cell["push"]["send_p50_ns"]["median"],
            _ => &cell["floor_ns"]["median"],
        };
        assert!(figure.as_f64().is_some_and(|figure| figure > 0.0), "{cell}");
        // A bare word keeps the newest push only.
        if cell["work"] == "push" && cell["subject"] != "bounce" && cell["subject"] != "futex" {
            assert_eq!(cell["push"]["lost"], 0, "{cell}");
        }
    }
}

#[test]
fn a_report_has_every_cell_and_nothing_is_left_behind() {
    let file = |kind| env::temp_dir().join(format!("compare-{}.{kind}", std::process::id()));
    let [page, picture] = ["html", "svg"].map(file);
    let mut command = compare();
    command.args(["--only", "bounce,pipe,ringbridge-adaptive", "--sizes", "48"]);
    command.arg("--html").arg(&page).arg("--svg").arg(&picture);
    let child = command.stdout(Stdio::piped()).spawn().expect("compare runs");
    let process = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).expect("text");
    let html = fs::read_to_string(&page).expect("a page");
    let svg = fs::read_to_string(&picture).expect("a picture");
    [&page, &picture].into_iter().for_each(|file| fs::remove_file(file).expect("it is ours"));
    for task in ["round-trip 48 B", "stream 48 B", "push 1 kHz", "push 100 kHz", "idle"] {
        assert!(table.contains(&format!("== {task}:")), "{task} is not in\n{table}");
        assert!(html.contains(&format!("<h2>{task}</h2>")), "{task} is not in the page");
    }
    for line in table.lines().filter(|line| !line.contains(['<', '>', '&'])) {
        assert!(html.contains(line), "{line} is not in the page");
    }
    for subject in ["bounce", "pipe", "ringbridge-adaptive"] {
        assert!(svg.contains(&format!("\n{subject} ")), "{subject} is not in the picture");
    }
    assert_eq!(left_behind(process), Vec::<String>::new());
}

#[test]
fn an_unknown_subject_is_one_clear_line() {
    let output = compare().args(["--only", "carrier-pigeon"]).output().expect("compare runs");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.starts_with("compare: there is no subject 'carrier-pigeon'"), "{complaint}");
}

#[test]
fn a_page_that_cannot_be_written_is_refused_before_anything_is_measured() {
    let output = compare().args(["--html", "/no/such/folder/page"]).output().expect("compare runs");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.starts_with("compare: /no/such/folder/page: "), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[test]
fn ctrl_c_ends_everything() {
    ctrl_c_ends("ringbridge-park");
}

#[test]
fn ctrl_c_ends_everything_over_the_portable_backend_and_no_segment_is_left() {
    let segments = ctrl_c_ends("ringbridge-portable-park");
    assert!(!segments.is_empty(), "its renderer maps some");
    let left: Vec<_> = segments.iter().filter(|segment| fs::exists(segment).unwrap()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Returns the named segments that the renderer had mapped.
fn ctrl_c_ends(subject: &str) -> Vec<PathBuf> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(["--only", subject, "--work", "round-trip", "--seconds-per-slice", "60"]);
    let mut child = command.stdout(Stdio::null()).spawn().expect("compare runs");
    let process = child.id();
    let began = Instant::now();
    let main = wait_for_child(process);
    let renderer = wait_for_child(main);
    let mut segments = Vec::new();
    if subject.contains("portable") {
        wait_until("the renderer has joined", || {
            segments = segments_of(renderer);
            segments.len() > 3
        });
    }
    let pid = Pid::from_raw(process as i32).expect("a process");
    kill_process(pid, Signal::INT).expect("it is ours");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(left_behind(process), Vec::<String>::new());
    for process in [main, renderer] {
        wait_until("a process of the slice has ended", || !is_running(process));
    }
    segments
}

/// Returns the named segments that a process has mapped.
fn segments_of(process: u32) -> Vec<PathBuf> {
    let maps = Process::new(process as i32).and_then(|process| process.maps());
    let mut paths: Vec<PathBuf> = maps
        .iter()
        .flatten()
        .filter_map(|map| match &map.pathname {
            MMapPath::Path(path) if path.starts_with("/dev/shm") => Some(path.clone()),
            _ => None,
        })
        .collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// Waits for the first child of any thread of a process.
fn wait_for_child(process: u32) -> u32 {
    let mut found = None;
    wait_until("a child is there", || {
        let tasks = Process::new(process as i32).and_then(|process| process.tasks());
        let mut tasks = tasks.into_iter().flatten().flatten();
        found = tasks.find_map(|task| task.children().ok()?.first().copied());
        found.is_some()
    });
    found.expect("it was found")
}

/// Returns whether a process exists and is not a zombie.
fn is_running(process: u32) -> bool {
    let stat = Process::new(process as i32).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.state != 'Z')
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
