//! Renderers come and go, and so does main; every end has a reason, and nothing stays behind.

#![allow(unsafe_code, reason = "a hook runs in the child between fork and exec")]

use std::{io, os::unix::process::CommandExt};

use tests::{backend::backend, prelude::*};

/// What main's renderers see at once when it dies, on any machine.
const PROMPTLY: Duration = Duration::from_secs(5);

fn gone(reason: GoneReason, exit_code: i32) -> RenderProcessGone {
    RenderProcessGone { reason, exit_code: Some(exit_code) }
}

// --- a renderer's end ----------------------------------------------------------------------------

#[test]
fn a_renderer_that_ends_by_itself_is_gone_with_its_exit_code() {
    let stage = Stage::new();
    for (status, reason) in [(0, GoneReason::CleanExit), (3, GoneReason::AbnormalExit)] {
        let window = stage.play_with(exits, &[&status.to_string()]);
        let ending = stage.run_until_gone(&window);
        assert_eq!(ending.details, gone(reason.clone(), status));
        assert_eq!(window.gone(), Some(reason));
        assert_eq!(stage.reports_of(&window), ["connected"], "what it sent before is delivered");
        assert!(!exists(window.os_process_id()), "it is no zombie");
    }
}

#[test]
fn a_renderer_that_a_signal_ends_is_gone_with_the_signals_number() {
    let stage = Stage::new();
    let cases = [
        (Signal::KILL, GoneReason::Killed),
        (Signal::TERM, GoneReason::Killed),
        (Signal::ABORT, GoneReason::Crashed),
        (Signal::ILL, GoneReason::Crashed),
    ];
    for (kind, reason) in cases {
        let window = stage.play(stays);
        stage.run_until("it has connected", || !stage.reports_of(&window).is_empty());
        signal(window.os_process_id(), kind);
        let ending = stage.run_until_gone(&window);
        assert_eq!(ending.details, gone(reason, kind.as_raw()));
        assert!(!exists(window.os_process_id()), "it is no zombie");
    }
}

#[test]
fn what_a_renderer_sent_before_it_crashed_is_delivered() {
    // A main that sleeps hears of the messages and of the death in one moment.
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    let (numbers, asked) = (Notes::new(), Notes::new());
    let (notes, calls) = (numbers.clone(), asked.clone());
    stage.hear(NUMBER, move |_, number| notes.add(*number));
    stage.answer(ASK, move |_, number| {
        calls.add(());
        Ok(*number)
    });
    let (window, mut sign) =
        stage.play_with_input(crashes_after_sending, &["3000"], allow_everything());
    stage.run_until_reported("connected");
    // Nobody drives main until it is dead.
    sign.write_all(b".").unwrap();
    eventually("it crashes", || !is_alive(window.os_process_id()));
    assert!(numbers.is_empty());
    let ending = stage.run_until_gone(&window);
    assert_eq!(ending.details, gone(GoneReason::Crashed, Signal::ABORT.as_raw()));
    assert!(numbers.take().into_iter().eq(0..3000));
    // What it asked is run only if that was taken before its death was noticed.
    assert_eq!(asked.len() as u64 + ending.counters.orphaned, 1);
}

#[test]
fn a_program_that_never_connects_is_a_failed_launch() {
    let stage = Stage::new();
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
fn a_program_that_does_not_exist_is_an_error_and_leaves_no_window() {
    let stage = Stage::new();
    let refused = stage.ipc.launch(Command::new("/no/such/program"), allow_everything());
    let text = refused.as_ref().unwrap_err().to_string();
    assert!(matches!(refused, Err(LaunchError::Spawn { .. })));
    assert!(text.contains("/no/such/program"), "{text}");
    assert!(stage.ipc.windows().is_empty());
    // Main is none the worse for it.
    stage.play_with(sends_numbers, &["1"]);
    stage.run_to_the_end();
}

#[test]
fn a_renderer_that_hangs_up_and_lives_on_is_disconnected_and_then_killed() {
    let stage = Stage::new();
    let (command, _input) = with_input(process(disconnects_and_lives_on, &[]));
    let window = stage.launch(command, allow_everything());
    let ending = stage.run_until_gone(&window);
    assert_eq!(ending.details, gone(GoneReason::Disconnected, Signal::KILL.as_raw()));
    assert!(!exists(window.os_process_id()));
}

#[test]
fn a_renderer_killed_in_the_middle_of_everything_ends_what_was_pending_and_nothing_else() {
    // Longer than the test may take: nobody gets away by this time-out.
    let stage = Stage::with(Config { send_timeout: 3 * LIMIT, ..config() });
    let numbers = stage.notes(NUMBER);

    let victim = stage.play(floods);
    let survivor = stage.play_with(counts_ticks, &["5000"]);
    let asked = Notes::new();
    let results = asked.clone();
    victim.invoke(ASK, &1, 3 * LIMIT).unwrap().then(move |result| results.add(result));
    let pushing = [victim.clone(), survivor].map(|window| {
        thread::spawn(move || {
            let result = (0..5000).try_for_each(|number| window.send(TICK, &number));
            (result, Instant::now())
        })
    });
    stage.run_until("the stream runs", || numbers.len() > 5000);

    // The thread that pushes to the victim is stuck: it takes nothing.
    assert!(!pushing[0].is_finished());
    let killed = Instant::now();
    let ending = stage.kill(&victim);
    assert_eq!(ending.details, gone(GoneReason::Killed, 9));
    let reason = GoneReason::Killed;
    let result = asked.take().pop().expect("it was settled").unwrap_err();
    assert_eq!(result, InvokeError::Gone { channel: "ask", reason: reason.clone() });
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

    // Every message that came is one of an unbroken sequence.
    let numbers = numbers.take();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
    assert_eq!(to_survivor.0, Ok(()));
    stage.run_until_reported("5000 ticks");
}

#[test]
fn what_a_dead_renderer_had_asked_is_cancelled() {
    let stage = Stage::new();
    let kept = Notes::new();
    let (keep, cancelled) = (kept.clone(), Notes::new());
    let cancels = cancelled.clone();
    stage.answer_later(ASK, move |_, _, responder| {
        let cancels = cancels.clone();
        responder.on_cancel(move || cancels.add(()));
        keep.add(responder);
    });
    let window = stage.play_with(asks_all_at_once, &["3"]);
    stage.run_until("three calls", || kept.len() == 3);
    stage.kill(&window);
    assert_eq!(cancelled.len(), 3);
    for responder in kept.take() {
        assert!(responder.is_cancelled());
        assert!(!responder.reply(&1));
    }
    assert_eq!(window.counters().late_replies, 3);
}

// --- windows -------------------------------------------------------------------------------------

#[test]
fn a_window_is_announced_when_it_has_connected_and_listed_until_it_has_gone() {
    let stage = Stage::new();
    let connected = Notes::new();
    let notes = connected.clone();
    stage.ipc.on_did_connect(move |window| {
        assert_eq!(window.gone(), None);
        window.send(TICK, &0).unwrap();
        notes.add(window.id());
    });
    let windows: Vec<_> = (0..3).map(|_| stage.play_with(counts_ticks, &["1"])).collect();
    let listed: Vec<_> = stage.ipc.windows().iter().map(|window| window.id()).collect();
    assert_eq!(listed, windows.iter().map(|window| window.id()).collect::<Vec<_>>());
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
    let command = &mut process(is_main_of_renderers_that_come_and_go, &["6"]);
    let mut main = Program::start(command);
    let rounds = main.lines.rest();
    assert!(main.end().success());
    let held = |round: &Value| (round["descriptors"].clone(), round["mappings"].clone());
    assert_eq!(rounds.len(), 6);
    for round in &rounds {
        assert_eq!(held(round), held(&rounds[0]), "{rounds:?}");
        assert_eq!(round["windows"], 0);
    }
    // Its two topics are what it holds itself, and the directory, where there is one.
    let directory = u64::from(backend() == Backend::Portable);
    assert_eq!(rounds[0]["mappings"], 2 + directory);
}

#[test]
fn a_window_that_main_closes_sees_main_go_and_is_gone_with_that_reason() {
    let stage = Stage::new();
    let windows = [stage.play(stays), stage.play(stays)];
    stage.run_until("both have connected", || stage.reports().len() == 2);
    let ending = stage.close(&windows[0]);
    assert_eq!(ending.details, gone(GoneReason::Closed, 0));
    let reason = GoneReason::Closed;
    assert_eq!(windows[0].send(TICK, &1), Err(SendError::Gone { channel: "tick", reason }));
    assert_eq!(windows[1].send(TICK, &1), Ok(()));
    assert_eq!(stage.ipc.windows(), [windows[1].clone()]);
    // A second time is no different.
    windows[0].close();
    stage.close(&windows[1]);
    assert_eq!(stage.endings().len(), 2);
}

#[test]
fn closing_main_ends_every_renderer_and_kills_the_one_that_does_not_notice() {
    let stage = Stage::new();
    let (stubborn, _input) =
        stage.play_with_input(does_not_notice_the_end, &[], allow_everything());
    let windows = [stage.play(stays), stage.play(stays)];
    stage.run_until("all have connected", || stage.reports().len() == 3);
    stage.ipc.close().unwrap();
    let endings = stage.endings();
    assert_eq!(endings.len(), 3, "all events are delivered before it returns");
    for ending in &endings {
        let code = if ending.window == stubborn.id() { Signal::KILL.as_raw() } else { 0 };
        assert_eq!(ending.details, gone(GoneReason::Closed, code));
    }
    for window in windows.iter().chain([&stubborn]) {
        assert!(!exists(window.os_process_id()));
    }
    // And nothing goes on after it.
    let refused = stage.ipc.launch(renderer(stays, &[]), allow_everything());
    assert!(matches!(refused, Err(LaunchError::Closed)), "{refused:?}");
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
fn an_endpoint_leaves_no_file_and_gives_its_name_free() {
    let stage = Stage::new();
    let name = stage.name().to_owned();
    assert!(!endpoint_files(&name).is_empty());
    stage.play(stays);
    stage.run_until_reported("connected");
    stage.ipc.close().unwrap();
    assert!(endpoint_files(&name).is_empty());
    let again = IpcMain::bind_with(&name, CONTRACT, config()).expect("the name is free");
    drop(again);
    assert!(endpoint_files(&name).is_empty());
}

#[test]
fn a_stop_ends_one_run_and_not_the_next() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let stopping = ipc.clone();
        ipc.hear(CUE, move |_, _| stopping.stop());
        let long = || {
            let began = Instant::now();
            ipc.run_for(LIMIT).unwrap();
            assert!(began.elapsed() < LIMIT);
        };
        ipc.report("runs");
        ipc.run().unwrap();
        ipc.report("runs for a while");
        long();
        ipc.report("runs again");
        ipc.run().unwrap();
        ipc.report("runs for a while again");
        long();
        // No stop is left over from any of them.
        let began = Instant::now();
        ipc.run_for(Duration::from_millis(30)).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(30));
        ipc.report("done");
    });
    let runs = ["runs", "runs for a while", "runs again", "runs for a while again"];
    for run in runs {
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

// --- attached renderers --------------------------------------------------------------------------

#[test]
fn a_renderer_that_attached_is_disconnected_when_it_ends_and_has_no_exit_code() {
    let stage = Stage::new();
    stage.ipc.on_attach(|candidate| {
        assert_eq!(candidate.user_id(), rustix::process::getuid().as_raw());
        Ok(allow_everything())
    });
    let connected = stage.connected();
    let mut renderer = Program::start(&mut process(outlives_main, &[stage.name()]));
    stage.run_until("it has attached", || connected.len() == 1);
    let window = connected.take().pop().expect("it has attached");
    assert_eq!(window.os_process_id(), renderer.id());
    renderer.kill();
    let ending = stage.run_until_gone(&window);
    let details = RenderProcessGone { reason: GoneReason::Disconnected, exit_code: None };
    assert_eq!(ending.details, details);
}

// --- main's end ----------------------------------------------------------------------------------

/// A main process with renderers that has told who they are.
fn start_main(fate_of_renderers: &str, renderers: u32) -> (Program, SweptName, Vec<u32>) {
    let arguments = [fate_of_renderers, &renderers.to_string()];
    let main = Program::start(&mut process(is_main, &arguments));
    let ready = main.lines.next_of("ready");
    let endpoint = SweptName(ready["endpoint"].as_str().expect("it has one").to_owned());
    let ids = ready["renderers"].as_array().expect("a list").iter();
    let ids = ids.map(|id| id.as_u64().expect("a process id") as u32).collect();
    (main, endpoint, ids)
}

/// Whether all of them end. Who does not is killed: it has no parent that would do it.
fn all_end_promptly(renderers: &[u32]) -> bool {
    let ended = within(PROMPTLY, || !renderers.iter().any(|id| is_alive(*id)));
    let left = renderers.iter().filter(|id| is_alive(**id));
    left.for_each(|id| signal(*id, Signal::KILL));
    ended
}

/// What a renderer should have seen of main's death.
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
fn renderers_that_may_outlive_main_take_what_was_committed_and_see_it_go_promptly() {
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
    eventually("no process is left", || !is_alive(renderer.id()));
}

#[test]
fn the_name_of_a_main_that_was_killed_in_the_middle_of_a_launch_is_free() {
    let name = SweptName(unique_name("half-launched"));
    let command = &mut process(is_main_that_launches_slowly, &[&name.0, "100"]);
    let mut main = Program::start(command);
    main.lines.next_of("forked");
    main.kill();
    // The child has a copy of the lock now, and keeps it for another 100 ms.
    IpcMain::bind_with(&name.0, CONTRACT, config()).expect("the name is free");
}

// --- renderers and main processes ---------------------------------------------------------------

/// Arguments: STATUS.
fn exits(ipc: &Renderer) {
    ipc.report("connected");
    std::process::exit(ipc.number(0) as i32);
}

/// And after asking something, without any goodbye. Arguments: COUNT.
fn crashes_after_sending(ipc: &Renderer) {
    ipc.report("connected");
    wait_for_input();
    for number in 0..ipc.number(0) {
        ipc.send(NUMBER, &number).unwrap();
    }
    let _never_taken = ipc.invoke(ASK, &1).unwrap();
    std::process::abort();
}

fn disconnects_and_lives_on(arguments: &Arguments) {
    let ipc = arguments.connect_with(Config::default());
    ipc.report("connected");
    drop(ipc);
    wait_for_input();
}

/// Prints what it sees of main's end. Arguments: [ENDPOINT].
fn outlives_main(arguments: &Arguments) {
    let ipc = match arguments.first() {
        Some(endpoint) => IpcRenderer::attach_with(endpoint, CONTRACT, config()).unwrap(),
        None => IpcRenderer::connect_with(CONTRACT, Config::default()).unwrap(),
    };
    let (ticks, pending) = (Notes::new(), Notes::new());
    let (notes, results) = (ticks.clone(), pending.clone());
    ipc.on(TICK, move |_, number| notes.add(*number)).unwrap();
    ipc.invoke_with(ASK, &1, None).unwrap().then(move |result| results.add(result));
    let ended = ipc.run();
    let waited = ipc.invoke(ASK, &2).map(drop);
    println!(
        "{}",
        json!({
            "event": "main_gone",
            "connected": ipc.is_connected(),
            "run": ended.unwrap_err().to_string(),
            "pending": pending.take().pop().expect("it was settled").unwrap_err().to_string(),
            "send": ipc.send(NUMBER, &1).unwrap_err().to_string(),
            "invoke": waited.unwrap_err().to_string(),
            "ticks": ticks.take(),
        })
    );
}

/// Asks something, and notices nothing any more: only the kernel can end it.
fn is_stuck(ipc: &Renderer) {
    let _asked = ipc.invoke(ASK, &1).unwrap();
    loop {
        thread::park();
    }
}

/// Launches renderers that die with it or may outlive it, and waits to be killed. Arguments:
/// die|drain RENDERERS.
fn is_main(arguments: &Arguments) {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    // Whoever asks is never answered.
    let kept = Notes::new();
    stage.answer_later(ASK, {
        let kept = kept.clone();
        move |event, _, responder| {
            for number in 0..100 {
                event.sender().send(TICK, &number).unwrap();
            }
            kept.add(responder);
        }
    });
    let die_with_main = arguments[0] == "die";
    let renderers = arguments.number(1) as usize;
    let windows: Vec<_> = (0..renderers)
        .map(|_| {
            let command =
                if die_with_main { renderer(is_stuck, &[]) } else { process(outlives_main, &[]) };
            let options = LaunchOptions { die_with_main, ..LaunchOptions::default() };
            stage.launch_with(command, allow_everything(), options)
        })
        .collect();
    stage.run_until("all have asked", || kept.len() == renderers);
    let processes: Vec<_> = windows.iter().map(|window| window.os_process_id()).collect();
    println!("{}", json!({ "event": "ready", "endpoint": stage.name(), "renderers": processes }));
    stage.run_until("somebody attaches", || kept.len() > renderers);
    println!("{}", json!({ "event": "attached" }));
    stage.ipc.run_for(LIMIT).unwrap();
}

/// Launches a child that stays between fork and exec until main is dead, and for so long after it.
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
        let has_parent =
            || rustix::process::getppid().is_some_and(|id| id.as_raw_pid() == main as i32);
        while has_parent() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(outlives_for);
        // Nobody is left to be told that it could not be executed.
        // SAFETY: it ends this process and runs nothing.
        unsafe { libc::_exit(0) }
    };
    let mut command = process(never_connects, &[]);
    // SAFETY: the hook makes system calls and looks at the clock; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(hook) };
    let refused = ipc.launch(command, allow_everything());
    panic!("main was to be killed: {refused:?}");
}

/// Prints what it holds after each round. Arguments: ROUNDS.
fn is_main_of_renderers_that_come_and_go(arguments: &Arguments) {
    let stage = Stage::new();
    // Its two topics, and the directory, where there is one.
    let its_own = 2 + usize::from(backend() == Backend::Portable);
    for round in 0..arguments.number(0) {
        let windows: Vec<_> = (0..4)
            .map(|_| {
                stage.play(|ipc| {
                    ipc.follow(NEWS, |_, _| ());
                    ipc.report("connected");
                    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
                })
            })
            .collect();
        stage.run_until("all have connected", || {
            windows.iter().all(|window| !stage.reports_of(window).is_empty())
        });
        // The last message that they will hear, and that main will publish to them.
        stage.ipc.publish(NEWS, &round).unwrap();
        windows.iter().for_each(|window| window.close());
        windows.iter().for_each(|window| _ = stage.run_until_gone(window));
        drop(windows);
        // Over the portable backend a session's threads and the watcher let go of its memory a moment after its end.
        within(Duration::from_secs(5), || mappings_of_the_library() == its_own);
        assert_eq!(left_behind(), LeftBehind::default());
        println!(
            "{}",
            json!({
                "event": "round",
                "round": round,
                "windows": stage.ipc.windows().len(),
                "descriptors": open_descriptors(),
                "mappings": mappings_of_the_library(),
            })
        );
    }
}
