//! Renderers in the sandbox: every door is shut, and everything still works.

#![allow(unsafe_code, reason = "a thread blocks a signal; system calls")]

mod doors;

use std::{
    collections::BTreeMap,
    env, io,
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener},
            process::CommandExt,
        },
    },
    process,
    sync::mpsc,
};

use doors::{DOORS, Door, Open, SHUT, Targets};
use rustix::{
    io::Errno,
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use tests::{
    demo::{Demo, demo_program, run},
    prelude::*,
};

const LEN: usize = 4 << 20;

/// Has a renderer try all doors, and returns its report.
fn try_doors(how: &str, command: impl FnOnce(&[&str]) -> Command) -> Value {
    let (stage, folder) = (Stage::new(), Folder::new("doors"));
    let abstract_socket = unique_name("ringbridge-doors");
    let abstract_address = SocketAddr::from_abstract_name(&abstract_socket).unwrap();
    let _sockets = [
        UnixListener::bind(folder.join("socket")).unwrap(),
        UnixListener::bind_addr(&abstract_address).unwrap(),
    ];
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let main = process::id() as i32;
    let targets = Targets { main, folder: folder.to_path_buf(), abstract_socket, port };
    let targets = serde_json::to_string(&targets).unwrap();
    stage.launch(command(&[how, &targets]), allow_everything());
    let [seen] = &stage.run_to_the_end()[..] else { panic!("{:?}", stage.reports()) };
    serde_json::from_str(seen).unwrap()
}

/// The command that starts a scene on a kernel without a system call.
fn lacking(what: &str, scene: Command) -> Command {
    let told = scene.get_envs().find(|(name, _)| *name == VARIABLE);
    let told = told.and_then(|(_, scene)| scene).unwrap_or_default();
    let words = [what.as_ref(), told, scene.get_program()].into_iter().chain(scene.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().expect("it is text")).collect();
    process(lacks, &words)
}

/// Checks the outcome of each door in each thread, if one is expected.
fn expect_outcomes(seen: &Value, expected: impl Fn(&Door) -> Option<&'static str>) {
    let mut wrong = Vec::new();
    for door in DOORS {
        let Some(expected) = expected(door) else { continue };
        for (thread, outcomes) in seen["threads"].as_object().unwrap() {
            let outcome = &outcomes[door.name];
            if !outcome.as_str().is_some_and(|outcome| outcome.starts_with(expected)) {
                wrong.push(format!("{} ({thread} thread): {outcome}", door.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// --- every door --------------------------------------------------------------------------------------

#[test]
fn in_the_sandbox_every_door_is_shut_for_every_thread() {
    let seen = try_doors("sandboxed", |arguments| renderer(tries_doors, arguments));
    assert_eq!(seen["missing"], json!([]));
    expect_outcomes(&seen, |_| Some(SHUT));
}

/// Otherwise the test above would show nothing.
#[test]
fn without_the_sandbox_the_same_doors_are_open() {
    let seen = try_doors("free", |arguments| renderer(tries_doors, arguments));
    let is_root = rustix::process::geteuid().is_root();
    expect_outcomes(&seen, |door| match door.open {
        Open::ToAll => Some("ok"),
        Open::ToRoot if is_root => Some("ok"),
        Open::ToRootInVain if is_root => Some("errno"),
        Open::ToRoot | Open::ToRootInVain | Open::NotTried => None,
    });
}

/// The second wall stands without the first, and for the threads that were there before.
#[test]
fn without_a_filter_of_system_calls_landlock_and_the_lack_of_capabilities_still_hold() {
    let seen =
        try_doors("sandboxed", |arguments| lacking("seccomp", renderer(tries_doors, arguments)));
    assert_eq!(seen["missing"], json!(["system-calls"]));
    expect_outcomes(&seen, |door| door.landlock);
}

#[test]
fn without_landlock_the_filter_of_system_calls_still_holds() {
    let seen =
        try_doors("sandboxed", |arguments| lacking("landlock", renderer(tries_doors, arguments)));
    assert_eq!(seen["missing"], json!(["file-system", "network", "other-processes"]));
    expect_outcomes(&seen, |_| Some(SHUT));
}

/// There the numbers mean other calls, so a filter of numbers must not admit any.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_by_another_table_is_the_end() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        ipc.report(ipc.sandbox().unwrap());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: getpid changes nothing but the register with its result.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("eax") 20 => _, options(nostack));
        }
    });
    let RenderProcessGone { reason, exit_code } = stage.run_until_gone(&window).details;
    assert_eq!(reason, GoneReason::Crashed);
    // By the filter; or the kernel has no such table.
    assert!([Signal::SYS, Signal::SEGV].map(|kind| Some(kind.as_raw())).contains(&exit_code));
    assert_eq!(stage.reports_of(&window).len(), 1, "it was in the sandbox");
}

#[test]
fn no_thread_of_a_renderer_has_any_rights_left() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let sandbox = ipc.sandbox().unwrap();
        ipc.report(sandbox);
        assert!(matches!(ipc.run(), Err(RunError::MainGone)));
    });
    stage.run_until("it is in the sandbox", || !stage.reports().is_empty());
    let threads = statuses_of_threads(window.os_process_id());
    assert!(threads.len() >= 2, "its own and the one that watches main");
    for status in threads {
        let sets = [status.capinh, status.capprm, status.capeff, status.capamb.unwrap()];
        assert_eq!(sets, [0; 4]);
        if rustix::process::geteuid().is_root() {
            assert_eq!(status.capbnd, Some(0));
        }
        assert_eq!((status.nonewprivs, status.seccomp), (Some(1), Some(2)));
    }
    // Main can still kill it.
    stage.kill(&window);
}

// --- everything works --------------------------------------------------------------------------------

/// Waits for as many numbers, and checks them.
fn expect_numbers(stage: &Stage, numbers: &Notes<u64>, expected: &[u64]) {
    stage.run_until("the answers", || numbers.len() >= expected.len());
    assert_eq!(numbers.take(), expected);
}

#[test]
fn in_the_sandbox_all_patterns_work_asleep_with_threads_and_with_large_payloads() {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    let numbers = stage.notes(NUMBER);
    let numbered = stage.note(NUMBERED, |_, numbered| (numbered.sender, numbered.number));
    let mut seeds = 2..;
    let large_ones = stage.note(BYTES, move |_, bytes| is_large(bytes, LEN, seeds.next().unwrap()));
    let pictures = stage.note(PICTURE, |_, picture| picture[1][1]);
    stage.answer(ASK, |_, number| Ok(*number));
    stage.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));

    let window = stage.play_process(works_in_the_sandbox, &[&LEN.to_string()]);
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
    stage.close(&window);
}

#[test]
fn in_the_sandbox_a_terminal_that_is_there_can_be_set_and_measured_and_nothing_else() {
    let stage = Stage::new();
    stage.play(uses_a_terminal_in_the_sandbox);
    assert_eq!(stage.run_to_the_end(), ["used"]);
}

// --- what is missing ---------------------------------------------------------------------------------

fn report_of(stage: &Stage, window: &WebContents) -> String {
    stage.run_until("its report", || !stage.reports_of(window).is_empty());
    stage.reports_of(window).remove(0)
}

#[test]
fn a_renderer_that_needs_the_whole_sandbox_gets_it_or_an_error_that_names_the_missing_part() {
    let stage = Stage::new();
    let window = stage.play(needs_all_of_the_sandbox);
    let report = report_of(&stage, &window);
    assert!(report.starts_with("shut: capabilities, new-privileges, file-system"), "{report}");
    let cases = [
        ("landlock", "not shut: file-system (the kernel has no Landlock); not shut: network"),
        ("seccomp", "not shut: system-calls (the kernel has no filters of system calls"),
    ];
    for (what, text) in cases {
        let command = lacking(what, renderer(needs_all_of_the_sandbox, &[]));
        let window = stage.launch(command, allow_everything());
        let report = report_of(&stage, &window);
        assert!(report.starts_with("the sandbox is not complete"), "{report}");
        assert!(report.contains(text), "{report}");
    }
}

#[test]
fn a_thread_that_cannot_be_reached_is_an_error() {
    let stage = Stage::new();
    stage.play(|ipc| {
        let (blocked, blocks) = mpsc::channel();
        let (_go, gone) = mpsc::channel::<()>();
        thread::spawn(move || {
            // SAFETY: the set is a plain struct of this frame, which the first call fills.
            unsafe {
                let mut all: libc::sigset_t = std::mem::zeroed();
                libc::sigfillset(&mut all);
                libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
            }
            blocked.send(()).unwrap();
            let _ = gone.recv();
        });
        blocks.recv().unwrap();
        let refused = ipc.sandbox().unwrap_err();
        assert!(matches!(&refused, SandboxError::Threads(_)), "{refused}");
        ipc.report(refused);
    });
    let reports = stage.run_to_the_end();
    assert!(reports[0].contains("SIGURG"), "{reports:?}");
}

// --- the demo ----------------------------------------------------------------------------------------

/// The line about the sandbox, and the summary's word.
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
        let mut main = demo.start(&[&["--duration", "700ms"], flags].concat());
        let lines = main.finish();
        let (line, summary) = sandbox_of(&lines);
        assert_eq!((line["state"].as_str(), summary), (Some(state), state));
        let enforced = line["enforced"].as_array().unwrap().len();
        assert_eq!(enforced, if state == "off" { 0 } else { 7 });
    }
}

#[test]
fn where_a_part_is_missing_the_demo_says_so_and_does_the_rest_or_refuses() {
    demo_program("renderer-proc");
    let demo = Demo::new();
    let _main = demo.serve(&[]);
    let without_landlock = |arguments: &[&str]| lacking("landlock", demo.renderer(arguments));
    let lines = Program::start(&mut without_landlock(&["--duration", "700ms"])).finish();
    let (line, summary) = sandbox_of(&lines);
    assert_eq!((line["state"].as_str(), summary), (Some("partial"), "partial"));
    assert_eq!(line["missing"][0]["part"], "file-system");
    assert!(line["missing"][0]["why"].as_str().unwrap().contains("Landlock"));
    assert!(line["enforced"].as_array().unwrap().contains(&json!("system-calls")));

    let (code, _, errors) = run(&mut without_landlock(&["--require-sandbox"]));
    assert_eq!(code, Some(1));
    assert!(errors.contains("not complete") && errors.contains("Landlock"), "{errors}");
}

#[test]
fn in_the_sandbox_ctrl_c_and_mains_death_end_a_renderer_as_before() {
    let demo = Demo::new();
    let mut main = demo.start(&[]);
    let launched = main.lines.next_of("did_connect")["pid"].as_u64().unwrap() as u32;
    let mut attached = demo.attach(&["--require-sandbox"]);
    attached.lines.next_of("statistics");
    attached.signal(Signal::INT);
    assert_eq!(attached.lines.next_of("summary")["ended"], "asked");
    assert!(attached.end().success());

    main.kill();
    assert!(within(LIMIT, || !is_alive(launched)));
}

// --- renderers and main processes ---------------------------------------------------------------

/// Reports the outcomes in a thread that was there before the sandbox, in the one that has entered it and in a new one;
/// or without a sandbox, in one. Arguments: sandboxed|free TARGETS.
fn tries_doors(ipc: &Renderer) {
    let targets: Targets = serde_json::from_str(&ipc.arguments[1]).unwrap();
    let attempts = |tried: fn(&Door) -> bool, targets: &Targets| -> BTreeMap<&str, String> {
        let doors = DOORS.iter().filter(|door| tried(door));
        doors.map(|door| (door.name, door.attempt(targets))).collect()
    };
    if ipc.arguments[0] == "free" {
        let seen = attempts(|door| door.open != Open::NotTried, &targets);
        return ipc.report(json!({ "missing": [], "threads": { "only": seen } }));
    }
    let (go, gone) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let targets = &targets;
        let earlier = scope.spawn(move || {
            gone.recv().unwrap();
            attempts(|_| true, targets)
        });
        let sandbox = ipc.sandbox().unwrap();
        go.send(()).unwrap();
        let earlier = earlier.join().unwrap();
        let entered = attempts(|_| true, targets);
        let later = scope.spawn(move || attempts(|_| true, targets)).join().unwrap();
        let missing: Vec<_> = sandbox.missing().iter().map(|missing| missing.part.name()).collect();
        let threads = json!({ "earlier": earlier, "entered": entered, "later": later });
        ipc.report(json!({ "missing": missing, "threads": threads }));
    });
}

/// Everything that a renderer does, asleep whenever it can. Arguments: LEN.
fn works_in_the_sandbox(arguments: &Arguments) {
    let len = arguments.number(0) as usize;
    let ipc = arguments.connect_with(Config { wait: WaitStrategy::Park, ..Config::default() });
    // A thread that is there before, and one of its own that drives, as an application's may be.
    let (go, gone) = mpsc::channel::<()>();
    let earlier = thread::spawn({
        let ipc = ipc.clone();
        move || {
            gone.recv().unwrap();
            sends_numbered(&ipc, 1);
        }
    });
    let sandbox = ipc.sandbox().unwrap();
    assert_eq!(ipc.sandbox().unwrap(), sandbox, "again is the same");
    assert!(sandbox.is_complete(), "{sandbox}");
    go.send(()).unwrap();

    // The renderer begins.
    let later = thread::spawn({
        let ipc = ipc.clone();
        move || sends_numbered(&ipc, 2)
    });
    assert_eq!(ipc.invoke(ECHO, b"short").unwrap().wait().unwrap(), b"short");
    let long = large(len, 1);
    assert_eq!(ipc.invoke(ECHO, &long).unwrap().wait().unwrap(), long);
    for seed in 2..5 {
        ipc.send(BYTES, &large(len, seed)).unwrap();
    }
    let mut picture = ipc.loan(PICTURE).unwrap();
    picture[1][1] = 7;
    picture.send();
    for thread in [earlier, later] {
        thread.join().unwrap();
    }
    uses_the_standard_library();

    // Main begins.
    let says = || {
        let ipc = ipc.clone();
        move |number: u64| ipc.send(NUMBER, &number).unwrap()
    };
    let (push, news, bulletin, blob) = (says(), says(), says(), says());
    ipc.hear(TICK, move |_, number| push(*number));
    ipc.follow(NEWS, move |_, number| news(*number));
    ipc.follow(BULLETIN, move |_, text| bulletin(text.len() as u64));
    ipc.hear(BLOB, move |_, bytes| {
        assert!(is_large(bytes, len, 9));
        blob(9);
    });
    ipc.answer(ASK, |_, number| Ok(*number));
    ipc.answer(ECHO, |_, bytes| Ok(bytes.to_vec()));
    ipc.report("listening");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

fn sends_numbered(ipc: &Renderer, sender: u64) {
    for number in 0..200 {
        ipc.send(NUMBERED, &Numbered { sender, number }).unwrap();
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
}

/// Does what the standard library promises to ordinary programs.
fn uses_the_standard_library() {
    // It grows, so that its memory moves.
    let mut numbers = Vec::new();
    (0..4_000_000_u64).for_each(|number| numbers.push(number));
    drop(numbers);
    let named = thread::Builder::new().name("named".to_owned()).spawn(|| {
        thread::sleep(Duration::from_millis(1));
        std::panic::catch_unwind(|| panic!("a panic in the sandbox is printed")).unwrap_err();
        let (reader, writer) = mpsc::channel::<()>();
        drop((reader, writer));
        thread::current().name().map(str::to_owned)
    });
    assert_eq!(named.unwrap().join().unwrap().as_deref(), Some("named"));
    let set: std::collections::HashSet<_> = (0..10).collect();
    assert_eq!(set.len(), 10);
    assert!(process::id() > 0);
    assert!(std::time::SystemTime::now().elapsed().is_ok());
}

fn needs_all_of_the_sandbox(ipc: &Renderer) {
    let complete = ipc.sandbox().unwrap().complete();
    ipc.report(complete.map_or_else(|error| error.to_string(), |sandbox| sandbox.to_string()));
}

/// Does what a full-screen program does with a terminal that it has, and tries what it must not.
fn uses_a_terminal_in_the_sandbox(ipc: &Renderer) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let person = openpt(flags).unwrap();
    unlockpt(&person).unwrap();
    let terminal = ioctl_tiocgptpeer(&person, flags).unwrap();
    tcsetwinsize(&person, Winsize { ws_row: 7, ws_col: 70, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    ipc.sandbox().unwrap();

    let before = tcgetattr(&terminal).unwrap();
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &raw).unwrap();
    assert_eq!(tcgetattr(&terminal).unwrap().local_modes, raw.local_modes);
    // The C library's way, which is another call in some of its versions.
    // SAFETY: the descriptor is open, and the modes are written before they are read.
    unsafe {
        let mut modes = MaybeUninit::uninit();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), modes.as_mut_ptr()), 0);
        let modes = modes.assume_init();
        assert_eq!(libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &modes), 0);
    }
    tcsetattr(&terminal, OptionalActions::Now, &before).unwrap();
    assert_eq!(tcgetattr(&terminal).unwrap().local_modes, before.local_modes);
    let size = tcgetwinsize(&terminal).unwrap();
    assert_eq!((size.ws_row, size.ws_col), (7, 70));

    // It cannot change the size, nor type into the terminal for the next process that reads there.
    assert_eq!(tcsetwinsize(&terminal, size), Err(Errno::PERM));
    // SAFETY: the call reads one byte of a string that lives for ever.
    let typed = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, c"x".as_ptr()) };
    assert_eq!((typed, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EPERM)));
    ipc.report("used");
}

/// `landlock|seccomp SCENE PROGRAM ARGUMENTS`: becomes the program, on a kernel that lacks that
/// system call, as far as the program can tell.
fn lacks(arguments: &Arguments) {
    let number = match arguments[0].as_str() {
        "landlock" => libc::SYS_landlock_create_ruleset,
        "seccomp" => libc::SYS_seccomp,
        other => panic!("'{other}' is not known"),
    };
    let rules = [(number, Vec::new())].into();
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let architecture = env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, architecture).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    apply_filter(&filter).unwrap();
    let mut command = Command::new(&arguments[2]);
    panic!("{}", command.args(&arguments[3..]).env(VARIABLE, &arguments[1]).exec());
}

tests::scenes!();
