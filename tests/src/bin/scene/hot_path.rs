//! Renderers that count what a message costs them.

use ringbridge::{Config, IpcRenderer, WaitStrategy};
use tests::{
    allocations,
    contract::{ADD, CUE, NEWS, NUMBERED, Numbered, TICK},
    processes::{page_faults, preemptions, voluntary_switches},
    stage::Notes,
};

use crate::{Scene, connect_with, number, report, run_until};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("works-without-allocating", works_without_allocating),
    ("works-awake", works_awake),
    ("laps-its-rings", laps_its_rings),
];

/// A message of each kind, there and back: a send, an invoke whose handler pushes and publishes.
fn exchange(ipc: &IpcRenderer, number: u64) {
    ipc.send(NUMBERED, &Numbered { sender: 0, number }).unwrap();
    assert_eq!(ipc.invoke(ADD, &[number, 1]).unwrap().wait(), Ok(number + 1));
}

fn listen(ipc: &IpcRenderer) -> Notes<()> {
    let begin = Notes::new();
    let notes = begin.clone();
    ipc.on(TICK, |_, _| ()).unwrap();
    ipc.subscribe(NEWS, |_, _| ()).unwrap();
    ipc.on(CUE, move |_, _| notes.add(())).unwrap();
    begin
}

/// `works-without-allocating WARM-UP COUNT`
fn works_without_allocating(arguments: &[String]) {
    let ipc = connect_with(Config::default());
    listen(&ipc);
    (0..number(arguments, 0)).for_each(|number| exchange(&ipc, number));
    let before = allocations::on_this_thread();
    (0..number(arguments, 1)).for_each(|number| exchange(&ipc, number));
    let after = allocations::on_this_thread();
    report(&ipc, format!("{} allocations", after - before));
    let counters = ipc.counters();
    assert_eq!((counters.unheard, counters.topic_lost), (0, 0));
}

/// `laps-its-rings prefault|lazy WARM-UP COUNT`: reports its page faults from the warm-up on.
fn laps_its_rings(arguments: &[String]) {
    let prefault = arguments[0] == "prefault";
    let ipc = connect_with(Config { prefault, ..Config::default() });
    listen(&ipc);
    (0..number(arguments, 1)).for_each(|number| exchange(&ipc, number));
    let before = page_faults();
    (0..number(arguments, 2)).for_each(|number| exchange(&ipc, number));
    let faults = page_faults() - before;
    report(&ipc, faults);
}

/// `works-awake WARM-UP COUNT`: neither side ever sleeps.
fn works_awake(arguments: &[String]) {
    let ipc = connect_with(Config { wait: WaitStrategy::Spin, ..Config::default() });
    let begin = listen(&ipc);
    run_until(&ipc, "main spins", || !begin.is_empty());
    (0..number(arguments, 0)).for_each(|number| exchange(&ipc, number));
    let (counters, preempted, switches) = (ipc.counters(), preemptions(), voluntary_switches());
    (0..number(arguments, 1)).for_each(|number| exchange(&ipc, number));
    let (switches, preempted) = (voluntary_switches() - switches, preemptions() - preempted);
    let now = ipc.counters();
    let (wakes, parks) = (now.wakes - counters.wakes, now.parks - counters.parks);
    let numbers =
        format!("{wakes} wakes, {parks} parks, {switches} switches, {preempted} preemptions");
    report(&ipc, numbers);
}
