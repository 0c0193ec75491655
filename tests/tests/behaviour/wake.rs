//! Nobody sleeps through what it waits for.
//!
//! Elsewhere loops run in short slices, so that a lost wake would cost some time and not be noticed. Here each
//! side sleeps in one run of its loop, and a wake that is lost is a test that fails.

use std::{
    sync::mpsc,
    task::{Poll, Waker},
    thread::JoinHandle,
};

use tests::prelude::*;

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
    let numbers = stage.notes(NUMBER);
    let window = stage.play_process(answers_when_woken, &[]);
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
    stage.answer(ASK, |_, number| Ok(*number));
    let window = stage.play_process(asks_and_sleeps, &[&ROUNDS.to_string()]);
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
        let window = stage.play_process(answers_when_woken, &[]);
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
    stage.answer_later(ASK, move |_, number, responder| {
        sender.send((*number, responder)).unwrap();
    });
    thread::spawn(move || {
        for (number, responder) in asked {
            // Long enough for both loops to go to sleep, most of the time.
            thread::sleep(Duration::from_micros(200));
            responder.reply(&number);
        }
    });
    let running = run_in_background(&stage.ipc);
    stage.play_process(asks_and_sleeps, &[&ROUNDS.to_string()]);
    wait_for_reports(&stage, "answered", 1);
    stop(&stage.ipc, running);
}

#[test]
fn a_handlers_future_that_another_thread_wakes_wakes_the_loop() {
    let stage = sleepy_stage();
    let (sender, wakers) = mpsc::channel::<Waker>();
    stage.answer_async(ASK, move |_, number| {
        let sender = sender.clone();
        let mut polled = false;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(Ok(number));
            }
            sender.send(context.waker().clone()).unwrap();
            Poll::Pending
        })
    });
    thread::spawn(move || {
        for waker in wakers {
            thread::sleep(Duration::from_micros(200));
            waker.wake();
        }
    });
    let running = run_in_background(&stage.ipc);
    stage.ipc.launch(process(asks_and_sleeps, &["300"]), allow_everything()).unwrap();
    wait_for_reports(&stage, "answered", 1);
    stop(&stage.ipc, running);
}

// --- renderers and main processes ---------------------------------------------------------------

fn parks() -> Config {
    Config { wait: WaitStrategy::Park, ..Config::default() }
}

/// Sleeps in one run of its loop until main goes; sends each number back.
fn answers_when_woken(arguments: &Arguments) {
    let ipc = arguments.connect_with(parks());
    let (from_push, from_topic) = (ipc.clone(), ipc.clone());
    ipc.hear(TICK, move |_, number| from_push.send(NUMBER, number).unwrap());
    ipc.follow(NEWS, move |_, number| from_topic.send(NUMBER, number).unwrap());
    ipc.answer(ASK, |_, number| Ok(*number));
    ipc.report("listening");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// Sleeps until each answer comes. Arguments: TIMES.
fn asks_and_sleeps(arguments: &Arguments) {
    let ipc = arguments.connect_with(parks());
    for number in 0..arguments.number(0) {
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
    ipc.report("answered");
}
