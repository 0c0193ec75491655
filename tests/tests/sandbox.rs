//! Renderers that give up what they do not need: every door is shut, and everything still works.

use std::{
    fs,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    process::{self, Command},
};

use ringbridge::{Config, GoneReason, WaitStrategy, WebContents};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{
    contract::{
        ASK, BLOB, BULLETIN, BYTES, ECHO, NEWS, NUMBER, NUMBERED, PICTURE, TICK, is_large, large,
    },
    demo::{Demo, demo_program, run},
    doors::{DOORS, Door, Open},
    processes::{LIMIT, Program, is_alive, program, signal, unique_name, within},
    stage::{Notes, Stage, config, scene_command},
};

const LEN: usize = 4 << 20;

/// What hostile code would like to reach.
struct Prey {
    folder: PathBuf,
    abstract_socket: String,
    tcp: TcpListener,
    _sockets: [UnixListener; 2],
}

impl Prey {
    fn new() -> Self {
        let abstract_socket = unique_name("ringbridge-prey");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&abstract_socket);
        fs::create_dir_all(&folder).unwrap();
        let abstract_address = SocketAddr::from_abstract_name(&abstract_socket).unwrap();
        let sockets = [
            UnixListener::bind(folder.join("socket")).unwrap(),
            UnixListener::bind_addr(&abstract_address).unwrap(),
        ];
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { folder, abstract_socket, tcp, _sockets: sockets }
    }

    fn arguments(&self, how: &str) -> [String; 5] {
        [
            how.to_owned(),
            process::id().to_string(),
            self.folder.to_str().unwrap().to_owned(),
            self.abstract_socket.clone(),
            self.tcp.local_addr().unwrap().port().to_string(),
        ]
    }
}

impl Drop for Prey {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Has a renderer try all doors, and returns what it saw.
fn try_doors(how: &str, command: impl FnOnce(&[&str]) -> Command) -> Value {
    let (stage, prey) = (Stage::new(), Prey::new());
    let arguments = prey.arguments(how);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    stage.launch(command(&arguments), tests::stage::allow_everything());
    let [seen] = &stage.run_to_the_end()[..] else { panic!("{:?}", stage.reports()) };
    serde_json::from_str(seen).unwrap()
}

/// The command that starts a scene on a kernel without something.
fn lacking(what: &str, scene: &str, arguments: &[&str]) -> Command {
    scene_command("lacking", &[&[what, "scene", scene], arguments].concat())
}

/// The threads that did not see what was expected.
fn wrong(seen: &Value, door: &Door, expected: impl Fn(&str) -> bool) -> Vec<String> {
    let threads = seen["threads"].as_object().unwrap();
    let seen = threads.iter().map(|(thread, outcomes)| (thread, &outcomes[door.name]));
    let wrong = seen.filter(|(_, outcome)| !outcome.as_str().is_some_and(&expected));
    wrong.map(|(thread, outcome)| format!("{} ({thread} thread): {outcome}", door.name)).collect()
}

// --- every door --------------------------------------------------------------------------------------

#[test]
fn in_the_sandbox_every_door_is_shut_for_every_thread() {
    let seen = try_doors("sandboxed", |arguments| scene_command("tries-doors", arguments));
    assert_eq!(seen["missing"], json!([]));
    let failed = DOORS.iter().flat_map(|door| wrong(&seen, door, |outcome| outcome == door.shut));
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Else the test above would show nothing.
#[test]
fn without_the_sandbox_the_same_doors_are_open() {
    let seen = try_doors("free", |arguments| scene_command("tries-doors", arguments));
    let is_root = rustix::process::geteuid().is_root();
    let failed = DOORS.iter().flat_map(|door| match door.open {
        Open::ToAll => wrong(&seen, door, |outcome| outcome == "ok"),
        Open::ToRoot if is_root => wrong(&seen, door, |outcome| outcome == "ok"),
        Open::ToRootInVain if is_root => wrong(&seen, door, |outcome| outcome.starts_with("errno")),
        Open::ToRoot | Open::ToRootInVain | Open::NotTried => Vec::new(),
    });
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<String>::new());
}

/// The second wall stands without the first, and for the threads that were there before.
#[test]
fn without_a_filter_of_system_calls_landlock_and_the_lack_of_capabilities_still_hold() {
    let seen = try_doors("sandboxed", |arguments| lacking("seccomp", "tries-doors", arguments));
    assert_eq!(seen["missing"], json!(["system-calls"]));
    let failed = DOORS.iter().flat_map(|door| match door.landlock {
        Some(expected) => wrong(&seen, door, |outcome| outcome == expected),
        None => Vec::new(),
    });
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn without_landlock_the_filter_of_system_calls_still_holds() {
    let seen = try_doors("sandboxed", |arguments| lacking("landlock", "tries-doors", arguments));
    assert_eq!(seen["missing"], json!(["file-system", "network", "other-processes"]));
    let failed = DOORS.iter().flat_map(|door| wrong(&seen, door, |outcome| outcome == door.shut));
    assert_eq!(failed.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Numbers mean other calls there, so that a filter of numbers must not see them.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_by_another_table_is_the_end() {
    let stage = Stage::new();
    let window = stage.play("calls-by-another-table");
    let ending = stage.run_until_gone(&window);
    assert_eq!(ending.details.reason, GoneReason::Crashed);
    // By the filter; or the kernel has no such table.
    assert!(
        [Signal::SYS, Signal::SEGV]
            .map(|kind| Some(kind.as_raw()))
            .contains(&ending.details.exit_code)
    );
    assert_eq!(stage.reports_of(&window).len(), 1, "it was in the sandbox");
}

#[test]
fn no_thread_of_a_renderer_has_any_rights_left() {
    let stage = Stage::new();
    let window = stage.play("waits-in-the-sandbox");
    stage.run_until("it is in the sandbox", || !stage.reports().is_empty());
    let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", window.os_process_id()))
        .unwrap()
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap())
        .collect();
    assert!(threads.len() >= 2, "its own and the one that watches main");
    for status in threads {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{status}")).trim().to_owned()
        };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        if rustix::process::geteuid().is_root() {
            assert_eq!(field("CapBnd:"), "0000000000000000");
        }
        assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    }
    // It still dies with its main, and can be ended by it.
    signal(window.os_process_id(), Signal::KILL);
    stage.run_until_gone(&window);
}

// --- everything works --------------------------------------------------------------------------------

/// Waits until the numbers that came are these.
fn expect_numbers(stage: &Stage, numbers: &Notes<u64>, expected: &[u64]) {
    stage.run_until("the answers", || numbers.len() >= expected.len());
    assert_eq!(numbers.take(), expected);
}

#[test]
fn in_the_sandbox_all_patterns_work_asleep_with_threads_and_with_large_payloads() {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    let (numbers, numbered, large_ones, pictures) =
        (Notes::new(), Notes::new(), Notes::new(), Notes::new());
    let notes = numbers.clone();
    stage.ipc.on(NUMBER, move |_, number| notes.add(*number)).unwrap();
    let notes = numbered.clone();
    stage
        .ipc
        .on(NUMBERED, move |_, numbered| notes.add((numbered.sender, numbered.number)))
        .unwrap();
    let notes = large_ones.clone();
    stage
        .ipc
        .on(BYTES, move |_, bytes| notes.add(is_large(bytes, LEN, notes.len() as u64 + 2)))
        .unwrap();
    let notes = pictures.clone();
    stage.ipc.on(PICTURE, move |_, picture| notes.add(picture[1][1])).unwrap();
    stage.ipc.handle(ASK, |_, number| Ok(*number)).unwrap();
    stage.ipc.handle(ECHO, |_, bytes| Ok(bytes.to_vec())).unwrap();

    let window = stage.play_with("works-in-the-sandbox", &[&LEN.to_string()]);
    stage.run_until_reported("listening");
    assert_eq!(large_ones.take(), [true; 3]);
    assert_eq!(pictures.take(), [7]);
    let numbered = numbered.take();
    for sender in [1, 2] {
        let of_one = numbered.iter().filter(|(who, _)| *who == sender).map(|(_, number)| *number);
        assert!(of_one.eq(0..200), "thread {sender}");
    }

    for round in 0..50 {
        window.send(TICK, &round).unwrap();
        expect_numbers(&stage, &numbers, &[round]);
        stage.ipc.publish(NEWS, &round).unwrap();
        expect_numbers(&stage, &numbers, &[round]);
        assert_eq!(window.invoke(ASK, &round, LIMIT).unwrap().wait(), Ok(round));
    }
    stage.ipc.publish(BULLETIN, &[0; 300]).unwrap();
    expect_numbers(&stage, &numbers, &[300]);
    window.send(BLOB, &large(LEN, 9)).unwrap();
    expect_numbers(&stage, &numbers, &[9]);
    let echoed = window.invoke(ECHO, &large(LEN, 11), LIMIT).unwrap().wait().unwrap();
    assert!(is_large(&echoed, LEN, 11));

    let counters = window.counters();
    assert!(counters.wakes >= 5, "it was asleep {} times only", counters.wakes);
    assert_eq!((counters.violations, counters.attachments_received), (0, 6));
    window.close();
    stage.run_until_gone(&window);
}

#[test]
fn in_the_sandbox_a_terminal_that_is_there_can_be_set_and_measured_and_nothing_else() {
    let stage = Stage::new();
    stage.play("uses-a-terminal-in-the-sandbox");
    assert_eq!(stage.run_to_the_end(), ["used"]);
}

// --- what is missing ---------------------------------------------------------------------------------

fn report_of(stage: &Stage, window: &WebContents) -> String {
    stage.run_until("its report", || !stage.reports_of(window).is_empty());
    stage.reports_of(window).remove(0)
}

#[test]
fn who_needs_all_of_it_gets_all_or_an_error_that_says_what_is_missing() {
    let stage = Stage::new();
    let window = stage.play("needs-all-of-the-sandbox");
    assert!(
        report_of(&stage, &window).starts_with("shut: capabilities, new-privileges, file-system")
    );
    let cases = [
        ("landlock", "not shut: file-system (the kernel has no Landlock); not shut: network"),
        ("seccomp", "not shut: system-calls (the kernel has no filters of system calls"),
    ];
    for (what, text) in cases {
        let command = lacking(what, "needs-all-of-the-sandbox", &[]);
        let window = stage.launch(command, tests::stage::allow_everything());
        let report = report_of(&stage, &window);
        assert!(
            report.starts_with("the sandbox is not complete") && report.contains(text),
            "{report}"
        );
    }
}

#[test]
fn a_thread_that_cannot_be_reached_is_an_error() {
    let stage = Stage::new();
    stage.play("has-a-thread-that-cannot-be-reached");
    let reports = stage.run_to_the_end();
    assert!(reports[0].contains("SIGURG"), "{reports:?}");
}

// --- the demo ----------------------------------------------------------------------------------------

/// The line about the sandbox, and what the summary says.
fn sandbox_of(lines: &[Value]) -> (&Value, &str) {
    let find = |event: &str, role: Value| {
        lines.iter().find(|line| line["event"] == event && line["role"] == role).unwrap()
    };
    let summary = find("summary", json!("renderer"));
    assert_eq!((&summary["lost"], &summary["out_of_order"]), (&json!(0), &json!(0)));
    assert!(summary["received"].as_u64() >= Some(100), "{summary}");
    (find("sandbox", Value::Null), summary["sandbox"].as_str().unwrap())
}

#[test]
fn the_demos_renderers_are_in_the_sandbox_unless_told_otherwise() {
    let cases =
        [(&[][..], "complete"), (&["--require-sandbox"], "complete"), (&["--no-sandbox"], "off")];
    for (flags, state) in cases {
        let demo = Demo::new();
        let mut main = Program::start(&mut demo.main(&[&["--duration", "700ms"], flags].concat()));
        let lines = main.lines.rest();
        assert!(main.end().success());
        let (line, summary) = sandbox_of(&lines);
        assert_eq!((line["state"].as_str(), summary), (Some(state), state));
        let enforced = line["enforced"].as_array().unwrap().len();
        assert_eq!(enforced, if state == "off" { 0 } else { 7 });
    }
}

/// `renderer-proc` on a kernel without Landlock.
fn renderer_without_landlock(demo: &Demo, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("scene"));
    command.args(["lacking", "landlock", "renderer-proc", "--endpoint", demo.endpoint(), "--json"]);
    command.args(arguments);
    command
}

#[test]
fn where_a_part_is_missing_the_demo_says_so_and_does_the_rest_or_refuses() {
    demo_program("renderer-proc");
    let demo = Demo::new();
    let main = Program::start(&mut demo.main(&["--renderers", "0"]));
    main.lines.next_of("listening");
    let mut renderer =
        Program::start(&mut renderer_without_landlock(&demo, &["--duration", "700ms"]));
    let lines = renderer.lines.rest();
    assert!(renderer.end().success());
    let (line, summary) = sandbox_of(&lines);
    assert_eq!((line["state"].as_str(), summary), (Some("partial"), "partial"));
    assert_eq!(line["missing"][0]["part"], "file-system");
    assert!(line["missing"][0]["why"].as_str().unwrap().contains("Landlock"));
    assert!(line["enforced"].as_array().unwrap().contains(&json!("system-calls")));

    let (code, _, errors) = run(&mut renderer_without_landlock(&demo, &["--require-sandbox"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("not complete") && errors.contains("Landlock"), "{errors}");
}

#[test]
fn in_the_sandbox_ctrl_c_and_mains_death_end_a_renderer_as_before() {
    let demo = Demo::new();
    let mut main = Program::start(&mut demo.main(&[]));
    let launched = main.lines.next_of("did_connect")["pid"].as_u64().unwrap() as u32;
    let mut attached = Program::start(&mut demo.renderer(&["--require-sandbox"]));
    attached.lines.next_of("statistics");
    attached.signal(Signal::INT);
    assert_eq!(attached.lines.next_of("summary")["ended"], "asked");
    assert!(attached.end().success());

    main.signal(Signal::KILL);
    main.end();
    assert!(within(LIMIT, || !is_alive(launched)));
}
