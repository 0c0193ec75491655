//! The operator's tool, as operators use it, beside real main processes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{ExitStatus, Stdio},
};

use tests::{
    demo::{Demo, demo_program, run},
    prelude::*,
    screen::Screen,
};

/// A folder of endpoints of its own, so that no other test's are listed or swept.
struct Place(Folder);

impl Place {
    fn new() -> Self {
        Self(Folder::new("operator"))
    }

    fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(demo_program("ringbridge"));
        command.env("XDG_RUNTIME_DIR", &*self.0).args(arguments);
        command
    }

    /// Runs the tool and returns its output. It must succeed.
    fn output(&self, arguments: &[&str]) -> String {
        let (code, output, errors) = run(&mut self.tool(arguments));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}");
        output
    }

    /// The same with `--json`: each line of the output.
    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        parsed(&self.output(&[arguments, &["--json"]].concat()))
    }

    /// The one line that the tool prints when it fails.
    fn complaint(&self, arguments: &[&str]) -> String {
        let (code, output, errors) = run(&mut self.tool(arguments));
        assert_eq!((code, output.as_str()), (Some(1), ""), "{arguments:?}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        errors.trim_end().strip_prefix("ringbridge: ").expect("it begins with its name").to_owned()
    }

    /// Starts a main process here.
    fn main(&self, demo: &Demo, arguments: &[&str]) -> Program {
        let main = Program::start(demo.main(arguments).env("XDG_RUNTIME_DIR", &*self.0));
        main.lines.next_of("listening");
        main
    }
}

fn parsed(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Starts a main process with renderers, and waits until they have connected. Returns their process ids too.
fn main_with_renderers(place: &Place, demo: &Demo, renderers: usize) -> (Program, Vec<String>) {
    let main = place.main(demo, &["--renderers", &renderers.to_string()]);
    let connected = (0..renderers).map(|_| main.lines.next_of("did_connect")["pid"].to_string());
    let connected = connected.collect();
    (main, connected)
}

#[test]
fn living_endpoints_are_listed_and_only_the_files_of_dead_ones_are_swept() {
    let place = Place::new();
    assert!(place.lines(&["list"]).is_empty(), "there is not even a folder");
    let (living, dying) = (Demo::new(), Demo::new());
    let mut alive = place.main(&living, &["--renderers", "0"]);
    let columns = format!("{}  alive  {}\n", living.endpoint(), alive.id());
    assert_eq!(place.output(&["list"]), columns);
    let mut killed = place.main(&dying, &["--renderers", "0"]);
    let alive_line = json!({ "endpoint": living.endpoint(), "state": "alive", "pid": alive.id() });
    let dying_line = json!({ "endpoint": dying.endpoint(), "state": "alive", "pid": killed.id() });
    let is_listed = |expected: &[&Value]| {
        let listed = place.lines(&["list"]);
        let all = expected.iter().all(|line| listed.contains(line));
        assert!(all && listed.len() == expected.len(), "{listed:?}");
    };
    is_listed(&[&alive_line, &dying_line]);
    assert!(place.lines(&["sweep"]).is_empty());

    killed.kill();
    let stale = json!({ "endpoint": dying.endpoint(), "state": "stale", "pid": null });
    is_listed(&[&alive_line, &stale]);
    let gone = json!({ "swept": "endpoint", "name": dying.endpoint(), "segments": 0, "bytes": 0 });
    assert_eq!(place.lines(&["sweep"]), [gone]);
    is_listed(&[&alive_line]);

    // The living one is there as before.
    assert_eq!(place.lines(&["inspect", living.endpoint()])[0]["pid"], alive.id());
    alive.signal(Signal::TERM);
    assert!(alive.end().success());
    let files = fs::read_dir(place.0.join("ringbridge")).unwrap();
    assert_eq!(files.count(), 0, "a main that ends well leaves nothing to sweep");
}

#[test]
fn an_inspection_shows_what_main_reports_at_its_end() {
    let (place, demo) = (Place::new(), Demo::new());
    let (mut main, renderers) = main_with_renderers(&place, &demo, 1);
    let renderer = renderers[0].parse().unwrap();
    main.lines.next_of("log_message");
    let inspect = || place.lines(&["inspect", demo.endpoint()]).remove(0);
    eventually("it has asked several times", || {
        inspect()["windows"][0]["counters"]["invokes_received"].as_u64() >= Some(5)
    });
    // From now on nothing changes any more.
    stop_process(renderer);
    inspect();
    let seen = inspect();
    main.signal(Signal::TERM);
    let lines = main.finish();
    let summary = lines.last().unwrap();

    assert_eq!(seen["endpoint"], demo.endpoint());
    assert_eq!((&seen["pid"], &seen["metrics"]["windows"]), (&json!(main.id()), &json!(1)));
    let window = &seen["windows"][0];
    assert_eq!((&window["pid"], &window["state"]), (&json!(renderer), &json!("live")));
    assert_eq!(window["policy"], "log-message, get-system-info, read-file, statistics");
    assert_eq!(window["counters"]["invokes_received"], summary["invokes"]);
    let frames = window["counters"]["frames_received"].as_u64().unwrap();
    let [invokes, logs] = ["invokes", "logs"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(frames, invokes + logs);
}

#[test]
fn a_page_for_people_names_every_window_and_its_policy() {
    let (place, demo) = (Place::new(), Demo::new());
    let (main, renderers) = main_with_renderers(&place, &demo, 2);
    // By then it is in the middle of its work.
    main.lines.next_of("statistics");
    let page = place.output(&["inspect", demo.endpoint()]);
    let texts = [demo.endpoint(), "main sleeps", "statistics", "frames_received"];
    for text in texts.into_iter().chain(renderers.iter().map(String::as_str)) {
        assert!(page.contains(text), "no {text} in:\n{page}");
    }
}

#[test]
fn each_failure_is_one_line_with_its_reason() {
    let (place, demo) = (Place::new(), Demo::new());
    let nobody = place.complaint(&["inspect", "nobody"]);
    assert!(nobody.starts_with("there is no endpoint 'nobody'"), "{nobody}");
    let name = place.complaint(&["top", "--json", "no/name"]);
    assert_eq!(name, "'no/name' is no endpoint name");
    let mut main = place.main(&demo, &["--renderers", "0"]);
    let no_terminal = place.complaint(&["top", demo.endpoint()]);
    assert!(no_terminal.starts_with("standard output is no terminal"), "{no_terminal}");
    // The wait for a main that does not answer has a limit.
    stop_process(main.id());
    let began = Instant::now();
    let stopped = place.complaint(&["inspect", demo.endpoint()]);
    assert!(stopped.contains("5s") && began.elapsed() < LIMIT, "{stopped}");
    main.kill();
    let stale = place.complaint(&["inspect", demo.endpoint()]);
    assert!(stale.contains("stale"), "{stale}");
    let (code, _, errors) = run(&mut place.tool(&["inspect"]));
    assert_eq!(code, Some(2), "{errors}");
}

#[test]
fn top_prints_an_object_a_second_for_programs_until_main_is_gone() {
    let (place, demo) = (Place::new(), Demo::new());
    let (mut main, _) = main_with_renderers(&place, &demo, 1);
    let mut top = place.tool(&["top", demo.endpoint(), "--json"]);
    let mut top = top.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = Lines::of(top.stdout.take().unwrap());
    let began = Instant::now();
    let seen = [(); 3].map(|()| lines.next().unwrap());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1500), "three of them in {took:?}");
    let sent = seen.map(|seen| seen["windows"][0]["counters"]["frames_sent"].as_u64().unwrap());
    assert!(sent.is_sorted_by(|one, next| one < next), "{sent:?}");
    main.signal(Signal::TERM);
    assert!(main.end().success());
    assert!(lines.rest().len() <= 2);
    let output = top.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "ringbridge: the main process is gone\n");
}

#[test]
fn top_gives_the_terminal_back_whichever_way_it_ends() {
    let (place, demo) = (Place::new(), Demo::new());
    let (mut main, renderers) = main_with_renderers(&place, &demo, 2);
    let start = || {
        let screen = Screen::start(&mut place.tool(&["top", demo.endpoint()]), 120, 30);
        for text in ["WINDOW", demo.endpoint(), &renderers[0], &renderers[1]] {
            screen.expect(text);
        }
        screen
    };
    for key in ["q", "\x1b", "\x03"] {
        let screen = start();
        screen.press(key);
        assert!(ends_tidily(screen).0.success(), "{key:?}");
    }
    let small = Screen::start(&mut place.tool(&["top", demo.endpoint()]), 20, 3);
    small.expect("demo");
    small.press("\x1b[B\x1b[B\x1b[Aq");
    assert!(ends_tidily(small).0.success());
    for kind in [Signal::TERM, Signal::INT] {
        let screen = start();
        signal(screen.id(), kind);
        assert!(ends_tidily(screen).0.success(), "{kind:?}");
    }
    let screen = start();
    main.kill();
    let (status, text) = ends_tidily(screen);
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("ringbridge: the main process is gone"), "{text}");
}

/// Waits for a program's end, and checks that it leaves its terminal as a new one. Returns the screen's text too.
fn ends_tidily(mut screen: Screen) -> (ExitStatus, String) {
    let status = screen.end();
    eventually("the screen is given back", || !screen.is_taken_over() && !screen.hides_cursor());
    let untouched = Screen::start(&mut Command::new("true"), 80, 24);
    assert_eq!(screen.modes(), untouched.modes());
    (status, screen.text())
}

/// The grade of a check. Only a good one has no remedy.
fn grade<'a>(findings: &'a [Value], check: &str) -> &'a str {
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    assert_eq!(finding["remedy"].is_string(), finding["grade"] != "ok", "{finding}");
    finding["grade"].as_str().unwrap()
}

#[test]
fn the_doctor_finds_this_machine_fit_and_a_session_works_on_it() {
    let place = Place::new();
    let findings = place.lines(&["doctor"]);
    for required in [
        "shared memory",
        "futex_waitv",
        "eventfd in epoll",
        "sockets",
        "pidfd",
        "a session",
        "endpoints' folder",
    ] {
        assert_eq!(grade(&findings, required), "ok");
    }
    for other in ["membarrier", "Landlock", "the sandbox", "descriptors", "cores"] {
        grade(&findings, other);
    }
    assert!(place.lines(&["list"]).is_empty(), "it leaves nothing");
}

#[test]
fn the_doctor_finds_a_folder_that_others_can_open_and_a_low_limit() {
    let place = Place::new();
    let folder = place.0.join("ringbridge");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 200 && exec \"$0\" doctor --json"]);
    limited.arg(demo_program("ringbridge")).env("XDG_RUNTIME_DIR", &*place.0);
    let (code, output, errors) = run(&mut limited);
    assert_eq!((code, errors.as_str()), (Some(3), ""));
    let findings = parsed(&output);
    let checks = ["endpoints' folder", "a session", "descriptors"];
    assert_eq!(checks.map(|check| grade(&findings, check)), ["fail", "fail", "note"]);
}
