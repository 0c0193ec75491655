//! Deadlines are kept while every loop sleeps: main and a renderer in one process, by the public API.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use ringbridge::{
    Config, Contract, Counters, Failure, Invocation, InvokeError, IpcMain, IpcRenderer, Method,
    Policy, WaitStrategy,
};

const NEVER: Method<(), ()> = Method::new("never");
const CONTRACT: Contract = &[&NEVER];

const TIMEOUT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

fn config() -> Config {
    Config { wait: WaitStrategy::Park, protect_memory: false, ..Config::default() }
}

fn until_parked(counters: impl Fn() -> Counters) {
    let began = Instant::now();
    while counters().parks == 0 {
        assert!(began.elapsed() < LONG, "the loop never slept");
        thread::yield_now();
    }
}

fn assert_times_out(invocation: Invocation<(), Failure>) {
    let (ended, end) = mpsc::channel();
    invocation.then(move |result| ended.send(result).unwrap());
    let result = end.recv_timeout(LONG).expect("the deadline passed unnoticed");
    assert!(matches!(result, Err(InvokeError::TimedOut { .. })), "{result:?}");
}

#[test]
fn a_callback_runs_when_a_deadline_passes_while_both_loops_sleep() {
    let name = format!("deadline-{}", std::process::id());
    let main = IpcMain::bind_with(&name, CONTRACT, config()).unwrap();
    main.on_attach(|_| Ok(Policy::deny_all().allow(NEVER)));
    let (connected, window) = mpsc::channel();
    main.on_did_connect(move |window| connected.send(window.clone()).unwrap());
    let mut kept = Vec::new();
    main.handle_deferred(NEVER, move |_, (), responder| kept.push(responder)).unwrap();
    let looping = main.clone();
    let main_loop = thread::spawn(move || looping.run());

    let renderer = IpcRenderer::attach_with(&name, CONTRACT, config()).unwrap();
    let mut kept = Vec::new();
    renderer.handle_deferred(NEVER, move |_, (), responder| kept.push(responder)).unwrap();
    renderer.drive_in_background().unwrap();
    let window = window.recv_timeout(LONG).unwrap();
    until_parked(|| renderer.counters());
    until_parked(|| window.counters());

    assert_times_out(renderer.invoke_with(NEVER, &(), Some(TIMEOUT)).unwrap());
    assert_times_out(window.invoke(NEVER, &(), TIMEOUT).unwrap());
    main.stop();
    main_loop.join().unwrap().unwrap();
}
