//! What waiting has learned: to be awake when something is due, and to let go of a core that the peer needs.
//!
//! Other processes may take the processors away at any moment, and then nothing is on time; but not always. So
//! each test takes several attempts, of which one must show what would never happen by chance.

use tests::prelude::*;

/// How long attempts are made. The first one does it on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Attempts until one shows what it should; all of them, if none does.
fn attempt<T: std::fmt::Debug>(mut once: impl FnMut() -> T, shows: impl Fn(&T) -> bool) {
    let began = Instant::now();
    let mut attempts = Vec::new();
    while !attempts.last().is_some_and(&shows) {
        assert!(began.elapsed() < PATIENCE, "{attempts:?}");
        attempts.push(once());
    }
}

#[test]
fn a_receiver_of_pushes_that_come_by_a_clock_is_awake_for_them_and_sleeps_in_between() {
    const PERIOD: Duration = Duration::from_millis(2);
    const PUSHES: u32 = 200;
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        // Hears ticks in one run of its loop, with the usual strategy, until main goes.
        ipc.hear(TICK, |_, _| ());
        ipc.report("listening");
        assert!(matches!(ipc.run(), Err(RunError::MainGone)));
    });
    stage.run_until_reported("listening");
    // How many pushes of a series had to wake the renderer, and how often it slept.
    let series = || {
        let (wakes, sleeps) =
            (window.counters().wakes, voluntary_switches_of(window.os_process_id()));
        let began = Instant::now();
        for number in 0..PUSHES {
            while began.elapsed() < PERIOD * number {
                std::hint::spin_loop();
            }
            window.send(TICK, &u64::from(number)).unwrap();
        }
        let slept = voluntary_switches_of(window.os_process_id()) - sleeps;
        (window.counters().wakes - wakes, slept)
    };
    let pushes = u64::from(PUSHES);
    attempt(series, |&(wakes, slept)| wakes <= pushes / 4 && slept >= pushes * 3 / 4);

    let mut sleeps = voluntary_switches_of(window.os_process_id());
    eventually("it has given up waiting for more, and sleeps for good", || {
        // Long enough for a hundred beats.
        thread::sleep(100 * PERIOD);
        let before = std::mem::replace(&mut sleeps, voluntary_switches_of(window.os_process_id()));
        before == sleeps
    });
}

#[test]
fn two_processes_on_one_core_let_each_other_run_and_do_not_sleep_for_each_message() {
    const ASKED: u64 = 2000;
    let core = first_core();
    let parks = || {
        let stage = Stage::new();
        stage.answer(ASK, |_, number| Ok(*number));
        let arguments = [ASKED.to_string(), core.to_string()];
        stage.play_process(asks_on_this_core, &arguments.each_ref().map(String::as_str));
        let ipc = stage.ipc.clone();
        let running = thread::spawn(move || {
            keep_to_core(core);
            ipc.run().unwrap();
        });
        eventually("it has ended", || stage.endings().len() == 1);
        stage.ipc.stop();
        running.join().unwrap();
        let reports = stage.reports();
        reports[0].split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    attempt(parks, |&parks| parks < ASKED / 4);
}

/// Asks with the usual strategy, and says how often it went to sleep. Arguments: TIMES CORE.
fn asks_on_this_core(arguments: &Arguments) {
    keep_to_core(arguments.number(1) as usize);
    let ipc = arguments.connect_with(Config::default());
    for number in 0..arguments.number(0) {
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
    ipc.report(format!("{} parks", ipc.counters().parks));
}
