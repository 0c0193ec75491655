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

/// A place for endpoints of its own, so that nobody else's are listed or swept.
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

    /// Runs the tool to its end, which must be a good one; each line that it prints, as JSON.
    fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, output, errors) = run(&mut self.tool(arguments));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}");
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one line that the tool prints when it cannot do it.
    fn complaint(&self, arguments: &[&str]) -> String {
        let (code, output, errors) = run(&mut self.tool(arguments));
        assert_eq!((code, output.as_str()), (Some(1), ""), "{arguments:?}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        errors.trim_end().strip_prefix("ringbridge: ").expect("it says who speaks").to_owned()
    }

    /// Starts a main process here.
    fn main(&self, demo: &Demo, arguments: &[&str]) -> Program {
        let main = Program::start(demo.main(arguments).env("XDG_RUNTIME_DIR", &*self.0));
        main.lines.next_of("listening");
        main
    }
}

// --- list, sweep -----------------------------------------------------------------------------------

#[test]
fn who_is_alive_is_listed_and_only_what_the_dead_have_left_is_swept() {
    let place = Place::new();
    assert!(place.lines(&["list", "--json"]).is_empty(), "there is not even a folder");
    let (living, dying) = (Demo::new(), Demo::new());
    let mut alive = place.main(&living, &["--renderers", "0"]);
    let mut killed = place.main(&dying, &["--renderers", "0"]);
    let listed = place.lines(&["list", "--json"]);
    for (demo, main) in [(&living, &alive), (&dying, &killed)] {
        let line = json!({ "endpoint": demo.endpoint(), "state": "alive", "pid": main.id() });
        assert!(listed.contains(&line), "{listed:?}");
    }
    assert_eq!(listed.len(), 2);
    assert!(place.lines(&["sweep", "--json"]).is_empty());

    killed.kill();
    let listed = place.lines(&["list", "--json"]);
    let stale = json!({ "endpoint": dying.endpoint(), "state": "stale", "pid": null });
    assert!(listed.len() == 2 && listed.contains(&stale), "{listed:?}");
    let swept = place.lines(&["sweep", "--json"]);
    let gone = json!({ "swept": "endpoint", "name": dying.endpoint(), "segments": 0, "bytes": 0 });
    assert_eq!(swept, [gone]);
    let listed = place.lines(&["list", "--json"]);
    assert!(listed.len() == 1 && listed[0]["endpoint"] == living.endpoint(), "{listed:?}");

    // Who was not swept is there as before.
    assert_eq!(place.lines(&["inspect", "--json", living.endpoint()])[0]["pid"], alive.id());
    alive.signal(Signal::TERM);
    assert!(alive.end().success());
    let files = fs::read_dir(place.0.join("ringbridge")).unwrap();
    assert_eq!(files.count(), 0, "a main that ends well leaves nothing to sweep");
}

#[test]
fn what_people_read_is_in_columns() {
    let place = Place::new();
    let demo = Demo::new();
    let main = place.main(&demo, &["--renderers", "0"]);
    let (code, output, _) = run(&mut place.tool(&["list"]));
    assert_eq!(code, Some(0));
    assert_eq!(output, format!("{}  alive  {}\n", demo.endpoint(), main.id()));
}

// --- inspect -------------------------------------------------------------------------------------

#[test]
fn what_is_inspected_is_what_main_reports_at_its_end() {
    let place = Place::new();
    let demo = Demo::new();
    let mut main = place.main(&demo, &[]);
    let renderer = main.lines.next_of("did_connect")["pid"].as_u64().unwrap() as u32;
    main.lines.next_of("log_message");
    let inspect = || place.lines(&["inspect", demo.endpoint(), "--json"]).remove(0);
    eventually("it has asked several times", || {
        inspect()["windows"][0]["counters"]["invokes_received"].as_u64() >= Some(5)
    });
    // From now on nothing changes any more.
    signal(renderer, Signal::STOP);
    eventually("it has stopped", || is_stopped(renderer));
    inspect();
    let seen = inspect();
    main.signal(Signal::TERM);
    let summary = main.lines.next_of("summary");
    let lines = main.lines.rest();
    let summary = lines.last().unwrap_or(&summary);
    assert!(main.end().success());

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
    let place = Place::new();
    let demo = Demo::new();
    let main = place.main(&demo, &["--renderers", "2"]);
    let renderers = [(); 2].map(|()| main.lines.next_of("did_connect")["pid"].to_string());
    // By then it is in the middle of its work.
    main.lines.next_of("statistics");
    let (code, page, _) = run(&mut place.tool(&["inspect", demo.endpoint()]));
    assert_eq!(code, Some(0));
    for text in [
        demo.endpoint(),
        "main sleeps",
        "statistics",
        "frames_received",
        &renderers[0],
        &renderers[1],
    ] {
        assert!(page.contains(text), "no {text} in:\n{page}");
    }
}

#[test]
fn whatever_cannot_be_done_is_one_line_that_says_why() {
    let place = Place::new();
    let nobody = place.complaint(&["inspect", "nobody"]);
    assert!(nobody.starts_with("there is no endpoint 'nobody'"), "{nobody}");
    let name = place.complaint(&["top", "--json", "no/name"]);
    assert_eq!(name, "'no/name' is no endpoint name");
    let demo = Demo::new();
    let mut main = place.main(&demo, &["--renderers", "0"]);
    let no_terminal = place.complaint(&["top", demo.endpoint()]);
    assert!(no_terminal.starts_with("standard output is no terminal"), "{no_terminal}");
    // One that hears nothing is not waited for without end.
    main.signal(Signal::STOP);
    eventually("it has stopped", || is_stopped(main.id()));
    let began = Instant::now();
    let stopped = place.complaint(&["inspect", demo.endpoint()]);
    assert!(stopped.contains("5s") && began.elapsed() < LIMIT, "{stopped}");
    main.kill();
    let stale = place.complaint(&["inspect", demo.endpoint()]);
    assert!(stale.contains("stale"), "{stale}");
    let (code, _, errors) = run(&mut place.tool(&["inspect"]));
    assert_eq!(code, Some(2), "{errors}");
}

// --- top -----------------------------------------------------------------------------------------

#[test]
fn top_prints_an_object_a_second_for_programs_until_main_is_gone() {
    let place = Place::new();
    let demo = Demo::new();
    let mut main = place.main(&demo, &["--push-interval", "1ms"]);
    main.lines.next_of("did_connect");
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
    let place = Place::new();
    let demo = Demo::new();
    let mut main = place.main(&demo, &["--renderers", "2"]);
    let renderers = [(); 2].map(|()| main.lines.next_of("did_connect")["pid"].to_string());
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

/// Waits for the end of a program that has the terminal, and sees that it has left that as it found it. Returns what can
/// be read then.
fn ends_tidily(mut screen: Screen) -> (ExitStatus, String) {
    let status = screen.end();
    eventually("the screen is given back", || !screen.is_taken_over() && !screen.hides_cursor());
    let untouched = Screen::start(&mut Command::new("true"), 80, 24);
    assert_eq!(screen.modes(), untouched.modes());
    (status, screen.text())
}

// --- doctor --------------------------------------------------------------------------------------

/// What a finding says of a check.
fn grade<'a>(findings: &'a [Value], check: &str) -> &'a str {
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    let has_remedy = finding["remedy"].is_string();
    assert_eq!(has_remedy, finding["grade"] != "ok", "who finds fault says what to do: {finding}");
    finding["grade"].as_str().unwrap()
}

#[test]
fn the_machine_that_runs_these_tests_is_fit_and_a_session_works_on_it() {
    let place = Place::new();
    let findings = place.lines(&["doctor", "--json"]);
    for required in
        ["shared memory", "futex_waitv", "eventfd in epoll", "sockets", "pidfd", "a session"]
    {
        assert_eq!(grade(&findings, required), "ok");
    }
    for other in ["membarrier", "Landlock", "the sandbox", "descriptors", "cores"] {
        grade(&findings, other);
    }
    assert!(place.lines(&["list", "--json"]).is_empty(), "it leaves nothing");
    assert_eq!(grade(&findings, "endpoints' folder"), "ok");
}

#[test]
fn a_folder_that_others_can_open_and_a_low_limit_are_found() {
    let place = Place::new();
    let folder = place.0.join("ringbridge");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 200 && exec \"$0\" doctor --json"]);
    limited.arg(demo_program("ringbridge")).env("XDG_RUNTIME_DIR", &*place.0);
    let (code, output, errors) = run(&mut limited);
    assert_eq!((code, errors.as_str()), (Some(3), ""));
    let findings: Vec<_> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(grade(&findings, "endpoints' folder"), "fail");
    assert_eq!(grade(&findings, "a session"), "fail");
    assert_eq!(grade(&findings, "descriptors"), "note");
}
