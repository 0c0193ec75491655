//! Renderers that sleep whenever they can.

use ringbridge::{Config, IpcRenderer, RunError, WaitStrategy};
use tests::contract::{ASK, NEWS, NUMBER, TICK};

use crate::{Scene, connect_with, number, report};

pub(crate) const SCENES: &[(&str, Scene)] =
    &[("answers-when-woken", answers_when_woken), ("asks-and-sleeps", asks_and_sleeps)];

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

/// `asks-and-sleeps TIMES`: sleeps until each answer comes.
fn asks_and_sleeps(arguments: &[String]) {
    let ipc = connect();
    for number in 0..number(arguments, 0) {
        assert_eq!(ipc.invoke(ASK, &number).unwrap().wait(), Ok(number));
    }
    report(&ipc, "answered");
}
