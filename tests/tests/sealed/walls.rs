//! What only the sealed backend promises: a socket that strangers may come to, walls that hold against who goes around
//! the library, and no wake-up without a reason. (Hostile renderers at length: `attacks.rs`; the sandbox: `sandbox.rs`.)

use std::fs::File;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tests::{attacker::door::Socket, prelude::*, siege::socket_of};

// --- strangers at the socket ---------------------------------------------------------------------

/// A bare connection to a stage's socket.
fn raw_connection(stage: &Stage) -> Socket {
    Socket::try_connect(&socket_of(stage)).expect("there is room")
}

fn run_until_hung_up(stage: &Stage, socket: &Socket) {
    stage.run_until("main hangs up", || socket.is_hung_up());
}

#[test]
fn who_says_nothing_is_given_up_while_others_are_served() {
    let stage = Stage::open();
    let silent = [raw_connection(&stage), raw_connection(&stage)];
    stage.serves_others();
    let began = Instant::now();
    silent.iter().for_each(|socket| run_until_hung_up(&stage, socket));
    assert!(began.elapsed() < LIMIT);
    stage.serves_others();
}

#[test]
fn who_hangs_up_before_a_word_is_forgotten() {
    let stage = Stage::open();
    for _ in 0..200 {
        drop(raw_connection(&stage));
        stage.ipc.poll().unwrap();
    }
    stage.serves_others();
    assert!(stage.attach(CONTRACT).is_ok(), "no place among the candidates is taken for ever");
}

#[test]
fn a_crowd_of_silent_ones_does_not_keep_launched_renderers_out() {
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

// --- who goes around the library ------------------------------------------------------------------

#[test]
fn who_is_held_cannot_wake_main_however_it_rings() {
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

// --- idle processes -------------------------------------------------------------------------------

#[test]
fn a_main_whose_renderers_have_taken_everything_does_not_wake_up() {
    const AFTER: Duration = Duration::from_millis(300);
    let wait = WaitStrategy::Park;
    let stage = Stage::with(Config { wait, unresponsive_after: AFTER, ..config() });
    let changes = Notes::new();
    let (notes, noted) = (changes.clone(), changes.clone());
    stage.ipc.on_unresponsive(move |window| notes.add(window.id()));
    stage.ipc.on_responsive(move |window| noted.add(window.id()));
    stage.answer(ASK, |_, number| Ok(*number));
    let window = stage.play(takes_ticks);
    stage.run_until("it listens", || !stage.reports_of(&window).is_empty());
    let sends = window.clone();
    thread::spawn(move || sends.send(TICK, &1).unwrap()).join().unwrap();
    // It is looked after once more.
    stage.ipc.run_for(2 * AFTER).unwrap();
    let before = voluntary_switches();
    stage.ipc.run_for(4 * AFTER).unwrap();
    let sleeps = voluntary_switches() - before;
    // Its own deadline takes it two: whole milliseconds, and the rest.
    assert!(sleeps <= 4, "it went to sleep {sleeps} times");
    assert!(changes.is_empty());
    stage.close(&window);
}

// --- memory ---------------------------------------------------------------------------------------

#[test]
fn memory_has_no_name() {
    let stage = Stage::new();
    let window = stage.play(stays);
    stage.run_until_reported("connected");
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
