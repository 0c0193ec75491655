//! Nobody sleeps through what it waits for.
//!
//! Elsewhere loops run in short slices, so that a lost wake would cost some time and not be noticed. Here each
//! side sleeps in one run of its loop, and a wake that is lost is a test that fails.

use std::{
    sync::mpsc,
    task::{Poll, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ringbridge::{Config, IpcMain, WaitStrategy};
use tests::{
    contract::{ASK, NEWS, NUMBER, TICK},
    processes::{LIMIT, eventually, first_core, keep_to_core, voluntary_switches_of},
    stage::{Notes, Stage, allow_everything, config, scene_command},
};

/// Enough for every way in which two processes can just miss each other to occur now and then.
const ROUNDS: u64 = 300;
/// In so many of them at least somebody must have slept, or the test has tested nothing.
const ASLEEP_MIN: u64 = ROUNDS / 20;

fn sleepy_stage() -> Stage {
    Stage::with(Config { wait: WaitStrategy::Park, ..config() })
}

/// Runs main's loop in a thread of its own: one run, until it is stopped.
fn run_in_background(ipc: &IpcMain) -> JoinHandle<()> {
    let ipc = ipc.clone();
    thread::spawn(move || ipc.run().unwrap())
}

/// Stops the loop, which may be asleep.
fn stop(ipc: &IpcMain, running: JoinHandle<()>) {
    ipc.stop();
    eventually("the loop ends", || running.is_finished());
    running.join().unwrap();
}

fn wait_for_reports(stage: &Stage, text: &str, count: usize) {
    eventually(text, || stage.reports().iter().filter(|report| *report == text).count() == count);
}

#[test]
fn a_renderer_that_sleeps_is_woken_by_a_push_by_a_topic_and_by_an_invoke() {
    let stage = sleepy_stage();
    let numbers = Notes::new();
    let notes = numbers.clone();
    stage.ipc.on(NUMBER, move |_, number| notes.add(*number)).unwrap();
    let window = stage.play("answers-when-woken");
    stage.run_until_reported("listening");
    for round in 0..ROUNDS {
        window.send(TICK, &round).unwrap();
        stage.run_until("its answer to a push", || numbers.len() == 1);
        assert_eq!(numbers.take(), [round]);
        stage.ipc.publish(NEWS, &round).unwrap();
        stage.run_until("its answer to a topic", || numbers.len() == 1);
        assert_eq!(numbers.take(), [round]);
        assert_eq!(window.invoke(ASK, &round, LIMIT).unwrap().wait(), Ok(round));
    }
    let wakes = window.counters().wakes;
    assert!(wakes >= ASLEEP_MIN, "it was asleep {wakes} times only");
}

#[test]
fn a_main_that_sleeps_is_woken_by_its_renderers() {
    let stage = sleepy_stage();
    stage.ipc.handle(ASK, |_, number| Ok(*number)).unwrap();
    let window = stage.play_with("asks-and-sleeps", &[&ROUNDS.to_string()]);
    let running = run_in_background(&stage.ipc);
    wait_for_reports(&stage, "answered", 1);
    eventually("it has ended", || stage.endings().len() == 1);
    stop(&stage.ipc, running);
    let parks = window.counters().parks;
    assert!(parks >= ASLEEP_MIN, "it slept {parks} times only");
}

#[test]
fn a_main_that_sleeps_is_woken_by_its_own_threads() {
    let stage = sleepy_stage();
    let running = run_in_background(&stage.ipc);
    let windows = [(); 3].map(|()| {
        let window = stage.play("answers-when-woken");
        eventually("it is launched and has connected", || !stage.reports_of(&window).is_empty());
        window
    });
    for round in 0..ROUNDS {
        let asked = windows[0].invoke(ASK, &round, LIMIT).unwrap();
        assert_eq!(asked.wait(), Ok(round), "waiting beside the thread that drives");
    }
    windows[1].close();
    eventually("it has gone", || stage.endings().len() == 1);
    stop(&stage.ipc, running);
    assert_eq!(stage.endings()[0].window, windows[1].id());
}

#[test]
fn a_reply_from_another_thread_wakes_the_caller_that_sleeps_for_it() {
    let stage = sleepy_stage();
    let (sender, asked) = mpsc::channel();
    stage
        .ipc
        .handle_deferred(ASK, move |_, number, responder| {
            sender.send((*number, responder)).unwrap();
        })
        .unwrap();
    thread::spawn(move || {
        for (number, responder) in asked {
            // Long enough for both loops to go to sleep, most of the time.
            thread::sleep(Duration::from_micros(200));
            responder.reply(&number);
        }
    });
    let running = run_in_background(&stage.ipc);
    stage.play_with("asks-and-sleeps", &[&ROUNDS.to_string()]);
    wait_for_reports(&stage, "answered", 1);
    stop(&stage.ipc, running);
}

#[test]
fn a_handlers_future_that_another_thread_wakes_wakes_the_loop() {
    let stage = sleepy_stage();
    let (sender, wakers) = mpsc::channel::<Waker>();
    stage
        .ipc
        .handle_async(ASK, move |_, number| {
            let sender = sender.clone();
            let mut polled = false;
            std::future::poll_fn(move |context| {
                if std::mem::replace(&mut polled, true) {
                    return Poll::Ready(Ok(number));
                }
                sender.send(context.waker().clone()).unwrap();
                Poll::Pending
            })
        })
        .unwrap();
    thread::spawn(move || {
        for waker in wakers {
            thread::sleep(Duration::from_micros(200));
            waker.wake();
        }
    });
    let running = run_in_background(&stage.ipc);
    stage.ipc.launch(scene_command("asks-and-sleeps", &["300"]), allow_everything()).unwrap();
    wait_for_reports(&stage, "answered", 1);
    stop(&stage.ipc, running);
}

/// Other processes may take the processors away at any moment, and then nothing is on time; but not always.
const ATTEMPTS: usize = 20;

#[test]
fn a_receiver_of_pushes_that_come_by_a_clock_is_awake_for_them_and_sleeps_in_between() {
    const PERIOD: Duration = Duration::from_millis(2);
    const PUSHES: u32 = 200;
    let stage = Stage::new();
    let window = stage.play("waits-as-it-has-learned");
    stage.run_until_reported("listening");
    // What came of one series of pushes: how many had to wake the renderer, and how often it slept.
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
    let attempts: Vec<_> = (0..ATTEMPTS).map(|_| series()).collect();
    let pushes = u64::from(PUSHES);
    let foreseen = |&(wakes, slept): &(u64, u64)| wakes <= pushes / 4 && slept >= pushes * 3 / 4;
    assert!(attempts.iter().any(foreseen), "wakes and sleeps of {PUSHES} pushes: {attempts:?}");

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
    let attempt = || {
        let stage = Stage::new();
        stage.ipc.handle(ASK, |_, number| Ok(*number)).unwrap();
        let core = first_core();
        let arguments = [ASKED.to_string(), core.to_string()];
        stage.play_with("asks-on-this-core", &arguments.each_ref().map(String::as_str));
        let ipc = stage.ipc.clone();
        let running = thread::spawn(move || {
            keep_to_core(core);
            ipc.run().unwrap();
        });
        eventually("it has ended", || stage.endings().len() == 1);
        stop(&stage.ipc, running);
        let reports = stage.reports();
        reports[0].split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let parks: Vec<u64> = (0..ATTEMPTS / 4).map(|_| attempt()).collect();
    assert!(parks.iter().any(|&parks| parks < ASKED / 4), "sleeps in {ASKED} invokes: {parks:?}");
}
