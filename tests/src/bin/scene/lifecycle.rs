//! Renderers that end in every way, and main processes that do.

#![allow(unsafe_code, reason = "a hook runs in the child between fork and exec")]

use std::{
    fs, io,
    os::unix::process::CommandExt,
    process, thread,
    time::{Duration, Instant},
};

use ringbridge::{Config, IpcMain, IpcRenderer, LaunchOptions, RunError, WaitStrategy};
use serde_json::json;
use tests::{
    contract::{ASK, CONTRACT, CUE, NEWS, NUMBER, TICK},
    processes::{LIMIT, open_descriptors},
    stage::{Notes, Stage, allow_everything, config, scene_command},
};

use crate::{Scene, connect, number, report, wait_for_input};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("exits", exits),
    ("crashes-after-sending", crashes_after_sending),
    ("stays", stays),
    ("subscribes-and-stays", subscribes_and_stays),
    ("never-connects", never_connects),
    ("does-not-notice-the-end", does_not_notice_the_end),
    ("disconnects-and-lives-on", disconnects_and_lives_on),
    ("floods", floods),
    ("outlives-main", outlives_main),
    ("is-stuck", is_stuck),
    ("stops-itself", stops_itself),
    ("is-main", is_main),
    ("is-main-that-launches-slowly", is_main_that_launches_slowly),
    ("is-main-of-renderers-that-come-and-go", is_main_of_renderers_that_come_and_go),
];

/// `exits STATUS`
fn exits(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "connected");
    process::exit(number(arguments, 0) as i32);
}

/// `crashes-after-sending COUNT`: and after asking something, without any goodbye.
fn crashes_after_sending(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "connected");
    wait_for_input();
    for number in 0..number(arguments, 0) {
        ipc.send(NUMBER, &number).unwrap();
    }
    let _never_taken = ipc.invoke(ASK, &1).unwrap();
    process::abort();
}

/// Listens until main goes.
fn stays(_: &[String]) {
    let ipc = connect();
    report(&ipc, "connected");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

fn subscribes_and_stays(_: &[String]) {
    let ipc = connect();
    ipc.subscribe(NEWS, |_, _| ()).unwrap();
    report(&ipc, "connected");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

fn never_connects(_: &[String]) {
    wait_for_input();
}

fn does_not_notice_the_end(_: &[String]) {
    let ipc = connect();
    report(&ipc, "connected");
    wait_for_input();
}

fn disconnects_and_lives_on(_: &[String]) {
    let ipc = connect();
    report(&ipc, "connected");
    drop(ipc);
    wait_for_input();
}

/// Sends without end, and takes nothing that main sends.
fn floods(_: &[String]) {
    let ipc = connect();
    for number in 0.. {
        ipc.send(NUMBER, &number).unwrap();
    }
}

/// `outlives-main [ENDPOINT]`: prints what it sees of main's end.
fn outlives_main(arguments: &[String]) {
    let ipc = match arguments.first() {
        Some(endpoint) => IpcRenderer::attach_with(endpoint, CONTRACT, config()).unwrap(),
        None => connect(),
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
fn is_stuck(_: &[String]) {
    let ipc = connect();
    let _asked = ipc.invoke(ASK, &1).unwrap();
    loop {
        thread::park();
    }
}

/// Ends runs of its loop from inside and from another thread.
fn stops_itself(_: &[String]) {
    let ipc = connect();
    let stopping = ipc.clone();
    ipc.on(CUE, move |_, _| stopping.stop()).unwrap();
    let long = || {
        let began = Instant::now();
        ipc.run_for(LIMIT).unwrap();
        assert!(began.elapsed() < LIMIT);
    };
    report(&ipc, "runs");
    ipc.run().unwrap();
    report(&ipc, "runs for a while");
    long();
    report(&ipc, "runs again");
    ipc.run().unwrap();
    report(&ipc, "runs for a while again");
    long();
    // No stop is left over from any of them.
    let began = Instant::now();
    ipc.run_for(Duration::from_millis(30)).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(30));
    report(&ipc, "done");
}

/// `is-main die|drain RENDERERS`: launches renderers that die with it or may outlive it, and waits to be
/// killed.
fn is_main(arguments: &[String]) {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    // Whoever asks is never answered.
    let kept = Notes::new();
    stage
        .ipc
        .handle_deferred(ASK, {
            let kept = kept.clone();
            move |event, _, responder| {
                for number in 0..100 {
                    event.sender().send(TICK, &number).unwrap();
                }
                kept.add(responder);
            }
        })
        .unwrap();
    let die_with_main = arguments[0] == "die";
    let scene = if die_with_main { "is-stuck" } else { "outlives-main" };
    let renderers = number(arguments, 1) as usize;
    let windows: Vec<_> = (0..renderers)
        .map(|_| {
            let options = LaunchOptions { die_with_main, ..LaunchOptions::default() };
            stage.launch_with(scene_command(scene, &[]), allow_everything(), options)
        })
        .collect();
    stage.run_until("all have asked", || kept.len() == renderers);
    let processes: Vec<_> = windows.iter().map(|window| window.os_process_id()).collect();
    println!("{}", json!({ "event": "ready", "endpoint": stage.name(), "renderers": processes }));
    stage.run_until("somebody attaches", || kept.len() > renderers);
    println!("{}", json!({ "event": "attached" }));
    stage.ipc.run_for(LIMIT).unwrap();
}

/// `is-main-that-launches-slowly ENDPOINT MILLISECONDS`: launches a child that stays between fork and exec until
/// main is dead, and for so long after it.
fn is_main_that_launches_slowly(arguments: &[String]) {
    let (endpoint, outlives_for) = (&arguments[0], Duration::from_millis(number(arguments, 1)));
    let ipc = IpcMain::bind_with(endpoint, CONTRACT, config()).unwrap();
    let main = process::id();
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
    let mut command = scene_command("never-connects", &[]);
    // SAFETY: the hook makes system calls and looks at the clock; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(hook) };
    let refused = ipc.launch(command, allow_everything());
    panic!("main was to be killed: {refused:?}");
}

/// `is-main-of-renderers-that-come-and-go ROUNDS`: prints what it holds after each round.
fn is_main_of_renderers_that_come_and_go(arguments: &[String]) {
    let stage = Stage::new();
    for round in 0..number(arguments, 0) {
        let windows: Vec<_> = (0..4).map(|_| stage.play("subscribes-and-stays")).collect();
        stage.run_until("all have connected", || {
            windows.iter().all(|window| !stage.reports_of(window).is_empty())
        });
        // The last message that they will hear, and that main will publish to them.
        stage.ipc.publish(NEWS, &round).unwrap();
        windows.iter().for_each(|window| window.close());
        windows.iter().for_each(|window| _ = stage.run_until_gone(window));
        drop(windows);
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        println!(
            "{}",
            json!({
                "event": "round",
                "round": round,
                "windows": stage.ipc.windows().len(),
                "descriptors": open_descriptors(),
                "mappings": maps.lines().filter(|line| line.contains("ringbridge")).count(),
            })
        );
    }
}
