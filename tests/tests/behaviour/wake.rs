//! A process that sleeps is woken by everything that it waits for.
//!
//! Elsewhere loops run in short slices, so that a lost wake would cost some time and not be noticed. Here each
//! side sleeps in one run of its loop, and a lost wake fails the test.

use std::{
    sync::mpsc,
    task::{Poll, Waker},
    thread::JoinHandle,
};

use tests::prelude::*;

/// Enough for each race between a sleeper and its waker to occur now and then.
const ROUNDS: u64 = 300;
/// The sleeps in these rounds without which the test has tested nothing.
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
        assert_eq!(asked.wait(), Ok(round), "a wait beside the thread that drives");
    }
    windows[1].close();
    eventually("it has gone", || stage.endings().len() == 1);
    stop(&stage.ipc, running);
    assert_eq!(stage.endings()[0].window, windows[1].id());
}

/// A renderer sleeps until each reply comes from a main that sleeps too. Returns how often main slept.
fn sleeps_of_main(register: impl FnOnce(&Stage)) -> u64 {
    let stage = sleepy_stage();
    register(&stage);
    let scene: ProcessScene = |arguments| {
        let ipc = arguments.connect_with(parks());
        (0..ROUNDS).for_each(|number| assert_eq!(ipc.ask(ASK, &number), Ok(number)));
    };
    let window = stage.play_process(scene, &[]);
    let running = run_in_background(&stage.ipc);
    eventually("it has ended", || stage.endings().len() == 1);
    stop(&stage.ipc, running);
    assert_eq!(stage.endings()[0].details.reason, GoneReason::CleanExit);
    window.counters().parks
}

/// Calls a function for each item that comes, in another thread and late enough that both loops mostly sleep.
fn later<T: Send + 'static>(mut call: impl FnMut(T) + Send + 'static) -> mpsc::Sender<T> {
    let (sender, items) = mpsc::channel();
    thread::spawn(move || {
        for item in items {
            thread::sleep(Duration::from_micros(200));
            call(item);
        }
    });
    sender
}

#[test]
fn a_main_that_sleeps_is_woken_by_its_renderers() {
    let parks = sleeps_of_main(Stage::answer_all);
    assert!(parks >= ASLEEP_MIN, "it slept {parks} times only");
}

#[test]
fn a_reply_from_another_thread_wakes_the_caller_that_sleeps_for_it() {
    sleeps_of_main(|stage| {
        let sender = later(|(number, to): (u64, Responder<u64, Failure>)| _ = to.reply(&number));
        stage.answer_later(ASK, move |_, &number, to| sender.send((number, to)).unwrap());
    });
}

#[test]
fn a_handlers_future_that_another_thread_wakes_wakes_the_loop() {
    sleeps_of_main(|stage| {
        let sender = later(Waker::wake);
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
    });
}

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
