//! Renderers that sleep whenever they can.

use ringbridge::{Config, IpcRenderer, RunError, WaitStrategy};
use tests::{
    contract::{ASK, NEWS, NUMBER, TICK},
    processes::keep_to_core,
};

use crate::{Scene, connect_with, number, report};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("answers-when-woken", answers_when_woken),
    ("asks-and-sleeps", asks_and_sleeps),
    ("waits-as-it-has-learned", waits_as_it_has_learned),
    ("asks-on-this-core", asks_on_this_core),
];

fn connect() -> IpcRenderer {
    connect_with(Config { wait: WaitStrategy::Park, ..Config::default() })
}

/// Sleeps in one run of its loop until main goes; sends each number back.
fn answers_when_woken(_: &[String]) {
    let ipc = connect();
    let (from_push, from_topic) = (ipc.clone(), ipc.clone());
    ipc.on(TICK, move |_, number| from_push.send(NUMBER, number).unwrap()).unwrap();
    ipc.subscribe(NEWS, move |_, number| from_topic.send(NUMBER, number).unwrap()).unwrap();
    ipc.handle(ASK, |_, number| Ok(*number)).unwrap();
    report(&ipc, "listening");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// Hears ticks in one run of its loop, with the usual strategy, until main goes.
fn waits_as_it_has_learned(_: &[String]) {
    let ipc = connect_with(Config::default());
    ipc.on(TICK, |_, _| ()).unwrap();
    report(&ipc, "listening");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// `asks-on-this-core TIMES CORE`: asks with the usual strategy, and says how often it went to sleep.
fn asks_on_this_core(arguments: &[String]) {
    keep_to_core(number(arguments, 1) as usize);
    let ipc = connect_with(Config::default());
    for number in 0..number(arguments, 0) {
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
    report(&ipc, format!("{} parks", ipc.counters().parks));
}

/// `asks-and-sleeps TIMES`: sleeps until each answer comes.
fn asks_and_sleeps(arguments: &[String]) {
    let ipc = connect();
    for number in 0..number(arguments, 0) {
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
    report(&ipc, "answered");
}
