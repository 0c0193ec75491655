//! The sealed backend only: strangers at the socket, a renderer that goes around the library, and idle processes that
//! do not wake up. (Hostile renderers at length: `attacks.rs`; the sandbox: `sandbox.rs`.)

use std::fs::File;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tests::{attacker::door::Socket, prelude::*, siege::socket_of};

/// A bare connection to a stage's socket.
fn raw_connection(stage: &Stage) -> Socket {
    Socket::try_connect(&socket_of(stage)).expect("there is room")
}

#[test]
fn a_silent_connection_is_closed_in_time_while_others_are_served() {
    let stage = Stage::open();
    let silent = [raw_connection(&stage), raw_connection(&stage)];
    stage.serves_others();
    stage.run_until("main hangs up", || silent.iter().all(Socket::is_hung_up));
    stage.serves_others();
}

#[test]
fn a_connection_that_hangs_up_at_once_takes_no_place_for_ever() {
    let stage = Stage::open();
    for _ in 0..200 {
        drop(raw_connection(&stage));
        stage.ipc.poll().unwrap();
    }
    stage.serves_others();
    assert!(stage.attach(CONTRACT).is_ok());
}

#[test]
fn a_crowd_of_silent_connections_does_not_keep_launched_renderers_out() {
    let stage = Stage::open();
    let crowd: Vec<_> = (0..100)
        .map(|_| {
            let socket = raw_connection(&stage);
            stage.ipc.poll().unwrap();
            socket
        })
        .collect();
    let turned_away = || crowd.iter().filter(|socket| socket.is_hung_up()).count();
    stage.run_until("those beyond the limit are turned away", || turned_away() > 0);
    stage.serves_others();
    // When they have gone, there is room for others again.
    drop(crowd);
    stage.ipc.run_for(Duration::from_millis(20)).unwrap();
    assert!(stage.attach(CONTRACT).is_ok());
}

#[test]
fn a_renderer_that_is_held_cannot_wake_main_however_it_rings() {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    let arrivals = stage.notes(NUMBER);
    let policy = allow_everything().frames_quota(Quota::per_second(50).burst(0));
    let window = stage.launch(renderer(rings_without_end, &["1000"]), policy);
    stage.run_until("it is held", || window.counters().throttled > 3);
    let (before, count) = (voluntary_switches(), arrivals.len());
    stage.ipc.run_for(Duration::from_secs(1)).unwrap();
    let (switches, taken) = (voluntary_switches() - before, arrivals.len() - count);
    assert!((40..=60).contains(&taken), "{taken} frames in a second");
    // One or two for each frame: for whole milliseconds, and for the rest.
    assert!(switches <= 200, "main slept {switches} times in a second");
    stage.close(&window);
}

#[test]
fn a_main_whose_renderers_have_taken_everything_does_not_wake_up() {
    const AFTER: Duration = Duration::from_millis(300);
    let wait = WaitStrategy::Park;
    let stage = Stage::with(Config { wait, unresponsive_after: AFTER, ..config() });
    let changes = Notes::new();
    let (unresponsive, responsive) = (changes.adding(), changes.adding());
    stage.ipc.on_unresponsive(move |window| unresponsive(window.id()));
    stage.ipc.on_responsive(move |window| responsive(window.id()));
    stage.answer_all();
    let window = stage.play_ready(takes_ticks, &[]);
    let sends = window.clone();
    thread::spawn(move || sends.send(TICK, &1).unwrap()).join().unwrap();
    // Main checks it once more.
    stage.ipc.run_for(2 * AFTER).unwrap();
    let before = voluntary_switches();
    stage.ipc.run_for(4 * AFTER).unwrap();
    let sleeps = voluntary_switches() - before;
    // Its own deadline takes two: whole milliseconds, and the rest.
    assert!(sleeps <= 4, "it went to sleep {sleeps} times");
    assert!(changes.is_empty());
    stage.close(&window);
}

#[test]
fn memory_has_no_name() {
    let stage = Stage::new();
    let window = stage.play_ready(stays, &[]);
    for process in [std::process::id(), window.os_process_id()] {
        let mapped = mappings(process, is_of_the_library);
        assert!(!mapped.is_empty() && mapped.iter().all(|(_, path)| path.contains("memfd:")));
    }
}

/// Sends so much, and then rings main's bell until it is killed. Arguments: COUNT.
fn rings_without_end(ipc: &Renderer) {
    for number in 0..ipc.number(0) {
        ipc.try_send(NUMBER, &number).unwrap();
    }
    let mut bell = bell_of_main();
    loop {
        bell.write_all(&1_u64.to_ne_bytes()).unwrap();
    }
}

/// The eventfd that main gave this process, which has no other.
fn bell_of_main() -> File {
    let [number] = descriptors_of("[eventfd]")[..] else { panic!("one eventfd") };
    // By way of its number in another process: the library's own descriptor stays what it is.
    let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    pidfd_getfd(&me, number, PidfdGetfdFlags::empty()).unwrap().into()
}
