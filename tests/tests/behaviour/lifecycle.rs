//! Renderers and main processes end: each end has a reason, and nothing is left behind.

#![allow(unsafe_code, reason = "a hook runs in the child between fork and exec")]

use std::{io, os::unix::process::CommandExt};

use rustix::process::{getppid, getuid};
use tests::{backend::backend, prelude::*};

/// The time within which renderers see main's death, on any machine.
const PROMPTLY: Duration = Duration::from_secs(5);

fn gone(reason: GoneReason, exit_code: i32) -> RenderProcessGone {
    RenderProcessGone { reason, exit_code: Some(exit_code) }
}

#[test]
fn a_renderers_end_has_a_reason_and_a_code_and_leaves_no_zombie() {
    let stage = Stage::new();
    let check = |window: &WebContents, reason: GoneReason, code| {
        assert_eq!(stage.run_until_gone(window).details, gone(reason.clone(), code));
        assert_eq!(window.gone(), Some(reason));
        assert_eq!(stage.reports_of(window), ["connected"], "earlier messages are delivered");
        assert!(!exists(window.os_process_id()), "it is no zombie");
    };
    for (status, reason) in [(0, GoneReason::CleanExit), (3, GoneReason::AbnormalExit)] {
        let scene: RendererScene = |ipc| {
            ipc.report("connected");
            std::process::exit(ipc.number(0) as i32);
        };
        check(&stage.play_with(scene, &[&status.to_string()]), reason, status);
    }
    for (kind, reason) in [
        (Signal::KILL, GoneReason::Killed),
        (Signal::TERM, GoneReason::Killed),
        (Signal::ABORT, GoneReason::Crashed),
        (Signal::ILL, GoneReason::Crashed),
    ] {
        let window = stage.play_ready(stays, &[]);
        signal(window.os_process_id(), kind);
        check(&window, reason, kind.as_raw());
    }
}

#[test]
fn messages_that_were_sent_before_a_crash_are_delivered() {
    // A main that sleeps sees the messages and the death at the same moment.
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    let (numbers, asked) = (stage.notes(NUMBER), Notes::new());
    let note = asked.adding();
    stage.answer(ASK, move |_, number| {
        note(());
        Ok(*number)
    });
    let (window, mut sign) =
        stage.play_ready_with_input(crashes_after_sending, &["3000"], allow_everything());
    // No thread drives main until the renderer is dead.
    sign.write_all(b".").unwrap();
    eventually("it crashes", || !is_alive(window.os_process_id()));
    assert!(numbers.is_empty());
    let ending = stage.run_until_gone(&window);
    assert_eq!(ending.details, gone(GoneReason::Crashed, Signal::ABORT.as_raw()));
    assert!(numbers.take().into_iter().eq(0..3000));
    // The invoke runs only if main took it before it noticed the death.
    assert_eq!(asked.len() as u64 + ending.counters.orphaned, 1);
}

#[test]
fn a_program_that_does_not_exist_or_never_connects_is_a_failed_launch() {
    let stage = Stage::new();
    let refused = stage.ipc.launch(Command::new("/no/such/program"), allow_everything());
    let error = refused.unwrap_err();
    assert!(matches!(error, LaunchError::Spawn { .. }));
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    assert!(stage.ipc.windows().is_empty());

    let ended_at_once = stage.launch(Command::new("/bin/true"), allow_everything());
    let ending = stage.run_until_gone(&ended_at_once);
    assert_eq!(ending.details, gone(GoneReason::LaunchFailed, 0));

    let (command, _input) = with_input(process(never_connects, &[]));
    let policy = allow_everything().handshake_timeout(Duration::from_millis(100));
    let idle = stage.launch(command, policy);
    let ending = stage.run_until_gone(&idle);
    assert_eq!(ending.details, gone(GoneReason::LaunchFailed, Signal::KILL.as_raw()));
    assert!(!exists(idle.os_process_id()));
    assert!(stage.ipc.windows().is_empty());
}

#[test]
fn a_renderer_that_hangs_up_and_lives_on_is_disconnected_and_then_killed() {
    let stage = Stage::new();
    let scene: ProcessScene = |arguments| {
        arguments.connect_with(Config::default()).report("connected");
        wait_for_input();
    };
    let (command, _input) = with_input(process(scene, &[]));
    let window = stage.launch(command, allow_everything());
    let ending = stage.run_until_gone(&window);
    assert_eq!(ending.details, gone(GoneReason::Disconnected, Signal::KILL.as_raw()));
    assert!(!exists(window.os_process_id()));
}

#[test]
fn a_renderer_killed_in_the_middle_of_everything_ends_its_pending_calls_and_nothing_else() {
    // Longer than the test may take, so that no send ends by this time-out.
    let stage = Stage::with(Config { send_timeout: 3 * LIMIT, ..config() });
    let numbers = stage.notes(NUMBER);
    let victim = stage.play(floods);
    let survivor = stage.play_with(counts_ticks, &["5000"]);
    let asked = Notes::new();
    victim.invoke(ASK, &1, 3 * LIMIT).unwrap().then(asked.adding());
    let pushing = [victim.clone(), survivor].map(|window| {
        thread::spawn(move || {
            let result = (0..5000).try_for_each(|number| window.send(TICK, &number));
            (result, Instant::now())
        })
    });
    stage.run_until("the stream runs", || numbers.len() > 5000);

    // The victim takes nothing, so the thread that pushes to it waits for room.
    assert!(!pushing[0].is_finished());
    let killed = Instant::now();
    let reason = GoneReason::Killed;
    assert_eq!(stage.kill(&victim).details, gone(reason.clone(), 9));
    let settled = asked.take().remove(0);
    assert_eq!(settled, Err(InvokeError::Gone { channel: "ask", reason: reason.clone() }));
    let expected = SendError::Gone { channel: "tick", reason };
    let [to_victim, to_survivor] = pushing.map(|thread| {
        stage.run_until("the threads end", || thread.is_finished());
        thread.join().unwrap()
    });
    assert_eq!(to_victim.0, Err(expected.clone()));
    assert!(to_victim.1 - killed < LIMIT);
    assert_eq!(victim.send(TICK, &0), Err(expected.clone()));
    assert_eq!(victim.try_send(TICK, &0), Err(expected.clone()));
    assert_eq!(victim.loan(TICK).map(drop), Err(expected));

    let numbers = numbers.take();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "the sequence is unbroken");
    assert_eq!(to_survivor.0, Ok(()));
    stage.run_until_reported("5000 ticks");
}

#[test]
fn a_dead_renderers_invokes_are_cancelled() {
    let stage = Stage::new();
    let (kept, cancelled) = (Notes::new(), Notes::new());
    let (keep, cancel) = (kept.adding(), cancelled.adding());
    stage.answer_later(ASK, move |_, _, responder| {
        let cancel = cancel.clone();
        responder.on_cancel(move || cancel(()));
        keep(responder);
    });
    let window = stage.play_with(asks_all_at_once, &["3"]);
    stage.run_until("three calls", || kept.len() == 3);
    stage.kill(&window);
    assert_eq!(cancelled.len(), 3);
    for responder in kept.take() {
        assert!(responder.is_cancelled() && !responder.reply(&1));
    }
    assert_eq!(window.counters().late_replies, 3);
}

#[test]
fn a_window_is_announced_when_it_has_connected_and_listed_until_it_has_gone() {
    let stage = Stage::new();
    let connected = Notes::new();
    let note = connected.adding();
    stage.ipc.on_did_connect(move |window| {
        assert_eq!(window.gone(), None);
        window.send(TICK, &0).unwrap();
        note(window.id());
    });
    let launched = [(); 3].map(|()| stage.play_with(counts_ticks, &["1"]).id());
    let listed: Vec<_> = stage.ipc.windows().iter().map(WebContents::id).collect();
    assert_eq!(listed, launched);
    stage.run_to_the_end();
    let mut connected = connected.take();
    connected.sort_unstable();
    assert_eq!(connected, listed);
    assert!(stage.ipc.windows().is_empty());

    let later = stage.play_with(counts_ticks, &["1"]);
    assert!(!listed.contains(&later.id()), "a number is not used again");
    stage.run_to_the_end();
}

#[test]
fn renderers_that_come_and_go_leave_no_descriptor_and_no_memory_in_main() {
    // In a process of its own, since other tests in this one have descriptors and memory too.
    let mut main = Program::start(&mut process(is_main_of_renderers_that_come_and_go, &["6"]));
    assert!(main.end().success(), "its own asserts hold");
}

#[test]
fn a_window_that_main_closes_sees_main_go_and_is_gone_with_that_reason() {
    let stage = Stage::new();
    let windows = [(); 2].map(|()| stage.play_ready(stays, &[]));
    assert_eq!(stage.close(&windows[0]).details, gone(GoneReason::Closed, 0));
    let reason = GoneReason::Closed;
    assert_eq!(windows[0].send(TICK, &1), Err(SendError::Gone { channel: "tick", reason }));
    assert_eq!(windows[1].send(TICK, &1), Ok(()));
    assert_eq!(stage.ipc.windows(), windows[1..]);
    // A second time is no different.
    windows[0].close();
    stage.close(&windows[1]);
    assert_eq!(stage.endings().len(), 2);
}

#[test]
fn closing_main_ends_every_renderer_kills_one_that_does_not_notice_and_frees_the_name() {
    let stage = Stage::new();
    assert!(!endpoint_files(stage.name()).is_empty());
    let (stubborn, _input) =
        stage.play_ready_with_input(does_not_notice_the_end, &[], allow_everything());
    let windows = [(); 2].map(|()| stage.play_ready(stays, &[]));
    stage.ipc.close().unwrap();
    let endings = stage.endings();
    assert_eq!(endings.len(), 3, "all events are delivered before it returns");
    for ending in &endings {
        let code = if ending.window == stubborn.id() { Signal::KILL.as_raw() } else { 0 };
        assert_eq!(ending.details, gone(GoneReason::Closed, code));
    }
    assert!(windows.iter().chain([&stubborn]).all(|window| !exists(window.os_process_id())));
    let refused = stage.ipc.launch(renderer(stays, &[]), allow_everything());
    assert!(matches!(refused, Err(LaunchError::Closed)), "{refused:?}");
    assert!(endpoint_files(stage.name()).is_empty());
    let again = IpcMain::bind_with(stage.name(), CONTRACT, config()).expect("the name is free");
    drop(again);
    assert!(endpoint_files(stage.name()).is_empty());
}

#[test]
fn closing_main_neither_kills_nor_awaits_a_renderer_that_may_outlive_it() {
    let stage = Stage::new();
    let (command, mut sign) = with_input(renderer(does_not_notice_the_end, &[]));
    let options = LaunchOptions { die_with_main: false, ..LaunchOptions::default() };
    let window = stage.launch_with(command, allow_everything(), options);
    stage.run_until_reported("connected");
    stage.ipc.close().unwrap();
    assert_eq!(window.gone(), Some(GoneReason::Closed));
    assert!(is_alive(window.os_process_id()));
    sign.write_all(b".").unwrap();
    eventually("it ends by itself", || !is_alive(window.os_process_id()));
}

#[test]
fn a_stop_ends_one_run_and_not_the_next() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let stopping = ipc.clone();
        ipc.hear(CUE, move |_, _| stopping.stop());
        for round in 0..2 {
            ipc.report(format!("runs {round}"));
            ipc.run().unwrap();
            ipc.report(format!("runs for a while {round}"));
            let began = Instant::now();
            ipc.run_for(LIMIT).unwrap();
            assert!(began.elapsed() < LIMIT);
        }
        // No stop is left over from any of them.
        let began = Instant::now();
        ipc.run_for(Duration::from_millis(30)).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(30));
    });
    for run in ["runs 0", "runs for a while 0", "runs 1", "runs for a while 1"] {
        stage.run_until_reported(run);
        window.send(CUE, "stop").unwrap();
    }
    stage.run_to_the_end();

    // The same in main, from another thread.
    let ipc = stage.ipc.clone();
    let stopping = thread::spawn(move || ipc.stop());
    stage.ipc.run().unwrap();
    stopping.join().unwrap();
    let began = Instant::now();
    stage.ipc.run_for(Duration::from_millis(20)).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn an_attached_renderer_is_disconnected_when_it_ends_and_has_no_exit_code() {
    let stage = Stage::new();
    stage.ipc.on_attach(|candidate| {
        assert_eq!(candidate.user_id(), getuid().as_raw());
        Ok(allow_everything())
    });
    let connected = stage.connected();
    let mut renderer = Program::start(&mut process(outlives_main, &[stage.name()]));
    stage.run_until("it has attached", || connected.len() == 1);
    let window = connected.take().remove(0);
    assert_eq!(window.os_process_id(), renderer.id());
    renderer.kill();
    let details = RenderProcessGone { reason: GoneReason::Disconnected, exit_code: None };
    assert_eq!(stage.run_until_gone(&window).details, details);
}

/// Starts a main process. Returns it with its endpoint and the process ids of its renderers.
fn start_main(fate_of_renderers: &str, renderers: u32) -> (Program, SweptName, Vec<u32>) {
    let arguments = [fate_of_renderers, &renderers.to_string()];
    let main = Program::start(&mut process(is_main, &arguments));
    let ready = main.lines.next_of("ready");
    let endpoint = SweptName(ready["endpoint"].as_str().expect("it has one").to_owned());
    let ids = serde_json::from_value(ready["renderers"].clone()).expect("process ids");
    (main, endpoint, ids)
}

/// Whether all of these end in time. The others are killed, since they have no parent that would do it.
fn all_end_promptly(renderers: &[u32]) -> bool {
    let ended = within(PROMPTLY, || !renderers.iter().any(|id| is_alive(*id)));
    renderers.iter().filter(|id| is_alive(**id)).for_each(|id| signal(*id, Signal::KILL));
    ended
}

/// The line of a renderer that has outlived its main.
fn main_gone() -> Value {
    json!({
        "event": "main_gone",
        "connected": false,
        "run": "the main process is gone",
        "pending": "no reply to 'ask': the other process is gone (main-gone)",
        "send": "cannot send on 'number': the other process is gone (main-gone)",
        "invoke": "cannot send on 'ask': the other process is gone (main-gone)",
        "ticks": (0..100).collect::<Vec<_>>(),
    })
}

#[test]
fn renderers_die_with_a_main_that_is_killed_even_if_they_are_stuck() {
    let (mut main, _endpoint, renderers) = start_main("die", 3);
    assert!(renderers.iter().all(|id| is_alive(*id)));
    main.kill();
    assert!(all_end_promptly(&renderers));
}

#[test]
fn renderers_that_may_outlive_main_take_every_committed_message_and_see_it_go_promptly() {
    let (mut main, _endpoint, renderers) = start_main("drain", 2);
    main.kill();
    assert!(all_end_promptly(&renderers));
    // They print to the same pipe.
    assert_eq!(main.lines.rest(), [main_gone(), main_gone()]);
}

#[test]
fn an_attached_renderer_sees_main_go_promptly() {
    let (mut main, endpoint, _) = start_main("die", 0);
    let mut renderer = Program::start(&mut process(outlives_main, &[&endpoint.0]));
    main.lines.next_of("attached");
    let killed = Instant::now();
    main.kill();
    assert_eq!(renderer.lines.next(), Some(main_gone()));
    assert!(killed.elapsed() < PROMPTLY);
    assert!(renderer.end().success());
}

#[test]
fn the_name_of_a_main_that_was_killed_in_the_middle_of_a_launch_is_free() {
    let name = SweptName(unique_name("half-launched"));
    let mut main = Program::start(&mut process(is_main_that_launches_slowly, &[&name.0, "100"]));
    main.lines.next_of("forked");
    main.kill();
    // The child has a copy of the lock, and keeps it for another 100 ms.
    IpcMain::bind_with(&name.0, CONTRACT, config()).expect("the name is free");
}

/// Sends numbers after a sign and asks something, and then aborts. Arguments: COUNT.
pub(super) fn crashes_after_sending(ipc: &Renderer) {
    ipc.report("connected");
    wait_for_input();
    for number in 0..ipc.number(0) {
        ipc.send(NUMBER, &number).unwrap();
    }
    let _never_taken = ipc.invoke(ASK, &1).unwrap();
    std::process::abort();
}

/// Prints what it sees of main's end. Arguments: [ENDPOINT].
fn outlives_main(arguments: &Arguments) {
    let ipc = match arguments.first() {
        Some(endpoint) => IpcRenderer::attach_with(endpoint, CONTRACT, config()).unwrap(),
        None => IpcRenderer::connect_with(CONTRACT, Config::default()).unwrap(),
    };
    let (ticks, pending) = (Notes::new(), Notes::new());
    let note = ticks.adding();
    ipc.on(TICK, move |_, number| note(*number)).unwrap();
    ipc.invoke_with(ASK, &1, None).unwrap().then(pending.adding());
    let ended = ipc.run();
    let line = json!({
        "event": "main_gone",
        "connected": ipc.is_connected(),
        "run": ended.unwrap_err().to_string(),
        "pending": pending.take().remove(0).unwrap_err().to_string(),
        "send": ipc.send(NUMBER, &1).unwrap_err().to_string(),
        "invoke": ipc.invoke(ASK, &2).map(drop).unwrap_err().to_string(),
        "ticks": ticks.take(),
    });
    println!("{line}");
}

/// Asks something and parks for ever, so that only the kernel can end it.
fn is_stuck(ipc: &Renderer) {
    let _asked = ipc.invoke(ASK, &1).unwrap();
    loop {
        thread::park();
    }
}

/// Launches renderers that die with it or may outlive it, and waits to be killed. Arguments: die|drain RENDERERS.
fn is_main(arguments: &Arguments) {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    let kept = Notes::new();
    let never_answered = kept.adding();
    stage.answer_later(ASK, move |event, _, responder| {
        (0..100).for_each(|number| event.sender().send(TICK, &number).unwrap());
        never_answered(responder);
    });
    let die_with_main = arguments[0] == "die";
    let renderers = arguments.number(1) as usize;
    let launch = |_| {
        let command =
            if die_with_main { renderer(is_stuck, &[]) } else { process(outlives_main, &[]) };
        let options = LaunchOptions { die_with_main, ..LaunchOptions::default() };
        stage.launch_with(command, allow_everything(), options).os_process_id()
    };
    let processes: Vec<_> = (0..renderers).map(launch).collect();
    stage.run_until("all have asked", || kept.len() == renderers);
    println!("{}", json!({ "event": "ready", "endpoint": stage.name(), "renderers": processes }));
    stage.run_until("a renderer attaches", || kept.len() > renderers);
    println!("{}", json!({ "event": "attached" }));
    stage.ipc.run_for(LIMIT).unwrap();
}

/// Launches a child that stays between fork and exec until main is dead, and for some time after it.
/// Arguments: ENDPOINT MILLISECONDS.
fn is_main_that_launches_slowly(arguments: &Arguments) {
    let (endpoint, outlives_for) = (&arguments[0], Duration::from_millis(arguments.number(1)));
    let ipc = IpcMain::bind_with(endpoint, CONTRACT, config()).unwrap();
    let main = std::process::id();
    let line = format!("{}\n", json!({ "event": "forked" }));
    let output = rustix::io::dup(io::stdout()).unwrap();
    let hook = move || {
        rustix::io::write(&output, line.as_bytes())?;
        let deadline = Instant::now() + LIMIT;
        let has_parent = || getppid().is_some_and(|id| id.as_raw_pid() == main as i32);
        while has_parent() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(outlives_for);
        // Its parent is dead, so that no process waits for the result of the launch.
        // SAFETY: it ends this process and runs nothing.
        unsafe { libc::_exit(0) }
    };
    let mut command = process(never_connects, &[]);
    // SAFETY: the hook makes system calls and looks at the clock; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(hook) };
    let refused = ipc.launch(command, allow_everything());
    panic!("main was to be killed: {refused:?}");
}

/// Checks after each round that it holds as much as before. Arguments: ROUNDS.
fn is_main_of_renderers_that_come_and_go(arguments: &Arguments) {
    let stage = Stage::new();
    let scene: RendererScene = |ipc| {
        ipc.follow(NEWS, |_, _| ());
        stays(ipc);
    };
    // Its two topics, and over the portable backend the directory.
    let mappings = 2 + usize::from(backend() == Backend::Portable);
    let mut descriptors = None;
    for round in 0..arguments.number(0) {
        let windows = [(); 4].map(|()| stage.play_ready(scene, &[]));
        stage.ipc.publish(NEWS, &round).unwrap();
        windows.iter().for_each(WebContents::close);
        windows.iter().for_each(|window| _ = stage.run_until_gone(window));
        drop(windows);
        assert!(stage.ipc.windows().is_empty());
        // Over the portable backend a session's threads and the watcher free its memory a moment after its end.
        eventually("the sessions' memory is unmapped", || mappings_of_the_library() == mappings);
        assert_eq!(left_behind(), LeftBehind::default());
        let now = open_descriptors();
        assert_eq!(*descriptors.get_or_insert(now), now, "descriptors after round {round}");
    }
}
