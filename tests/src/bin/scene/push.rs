//! Renderers that listen to main.

use ringbridge::IpcRendererEvent;
use tests::{
    contract::{
        BLOB, NUMBERED_TICK, PUSHED_READING, PUSHED_READINGS, PUSHED_SETTINGS, TICK, pattern,
        readings, settings,
    },
    stage::Notes,
};

use crate::{Cues, Scene, connect, number, report, run_until};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("counts-ticks", counts_ticks),
    ("counts-ticks-of-several-threads", counts_ticks_of_several_threads),
    ("listens-by-the-rules", listens_by_the_rules),
    ("hears-every-kind-of-payload", hears_every_kind_of_payload),
    ("is-deaf", is_deaf),
    ("panics-in-a-listener", panics_in_a_listener),
];

/// `counts-ticks COUNT`: checks that 0, 1, 2 and so on come, and nothing else.
fn counts_ticks(arguments: &[String]) {
    let ipc = connect();
    let count = number(arguments, 0);
    let ticks = Notes::new();
    let notes = ticks.clone();
    ipc.on(TICK, move |event, number| {
        assert_eq!(event.lost(), 0);
        notes.add(*number);
    })
    .unwrap();
    run_until(&ipc, "all ticks", || ticks.len() as u64 >= count);
    let ticks = ticks.take();
    assert!(ticks.iter().copied().eq(0..count), "out of order, doubled or lost: {ticks:?}");
    report(&ipc, format!("{} ticks", ticks.len()));
}

/// `counts-ticks-of-several-threads THREADS COUNT`
fn counts_ticks_of_several_threads(arguments: &[String]) {
    let ipc = connect();
    let (threads, count) = (number(arguments, 0), number(arguments, 1));
    let ticks = Notes::new();
    let notes = ticks.clone();
    ipc.on(NUMBERED_TICK, move |_, tick| notes.add(*tick)).unwrap();
    run_until(&ipc, "all ticks", || ticks.len() as u64 >= threads * count);
    let ticks = ticks.take();
    for sender in 0..threads {
        let of_sender = ticks.iter().filter(|tick| tick.sender == sender);
        assert!(of_sender.map(|tick| tick.number).eq(0..count));
    }
    report(&ipc, format!("{} ticks", ticks.len()));
}

fn listens_by_the_rules(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let heard = Notes::new();
    let noting = |name: &'static str| {
        let heard = heard.clone();
        move |_: &IpcRendererEvent<'_>, number: &u64| heard.add(format!("{name}{number}"))
    };
    let twice = noting("a");
    let first = ipc.on(TICK, twice.clone()).unwrap();
    ipc.once(TICK, noting("once")).unwrap();
    ipc.on(TICK, twice).unwrap();
    report(&ipc, "listening");
    cues.wait();
    assert!(ipc.off(first));
    assert!(!ipc.off(first));
    report(&ipc, "one removed");
    cues.wait();
    ipc.remove_all_listeners_of(TICK);
    report(&ipc, "all removed");
    cues.wait();
    report(&ipc, heard.take().join(" "));
    report(&ipc, format!("{} unheard", ipc.counters().unheard));
}

fn hears_every_kind_of_payload(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let lengths = Notes::new();
    let notes = lengths.clone();
    ipc.on(BLOB, move |_, bytes| {
        assert_eq!(bytes, pattern(bytes.len()));
        notes.add(bytes.len());
    })
    .unwrap();
    let (single, runs, maps) = (Notes::new(), Notes::new(), Notes::new());
    let (single_in, runs_in, maps_in) = (single.clone(), runs.clone(), maps.clone());
    ipc.on(PUSHED_READING, move |_, reading| single_in.add(*reading)).unwrap();
    ipc.on(PUSHED_READINGS, move |_, readings| runs_in.add(readings.to_vec())).unwrap();
    ipc.on(PUSHED_SETTINGS, move |_, settings| maps_in.add(settings.clone())).unwrap();
    cues.wait();
    report(&ipc, format!("{:?}", lengths.take()));
    assert_eq!(single.take(), [readings()[0], readings()[1]]);
    assert_eq!(runs.take(), [readings().to_vec(), vec![]]);
    assert_eq!(maps.take(), [settings()]);
    let counters = ipc.counters();
    assert_eq!((counters.panics, counters.bad_payloads), (0, 0));
}

fn is_deaf(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    cues.wait();
    report(&ipc, format!("{} unheard", ipc.counters().unheard));
}

fn panics_in_a_listener(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    // The panic is part of the test, and its text would only confuse.
    std::panic::set_hook(Box::new(|_| ()));
    let heard = Notes::new();
    let notes = heard.clone();
    ipc.on(TICK, |_, number| assert_ne!(*number, 1)).unwrap();
    ipc.on(TICK, move |_, number| notes.add(*number)).unwrap();
    cues.wait();
    let _ = std::panic::take_hook();
    report(&ipc, format!("{:?}, {} panics", heard.take(), ipc.counters().panics));
}
