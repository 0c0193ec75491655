//! An honest renderer beside an attacker, and those who come to where somebody has set a trap.

use std::time::{Duration, Instant};

use ringbridge::{Invocation, IpcMain, IpcRenderer};
use tests::{
    contract::{ADD, ASK, CONTRACT, CUE, NEWS, TICK},
    processes::LIMIT,
    stage::Notes,
};

use crate::{Scene, connect, report};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("stands-by", stands_by),
    ("binds-in-a-trap", binds_in_a_trap),
    ("attaches-in-a-trap", attaches_in_a_trap),
];

/// Between two invokes.
const PAUSE: Duration = Duration::from_micros(200);

/// Invokes, one after the other, until main is gone; at each sign reports how many there were since the last,
/// and what half of them and the longest took, in nanoseconds.
fn stands_by(_: &[String]) {
    let ipc = connect();
    let signs = Notes::new();
    let notes = signs.clone();
    ipc.on(CUE, move |_, _| notes.add(())).unwrap();
    ipc.on(TICK, |_, _| ()).unwrap();
    ipc.subscribe(NEWS, |_, _| ()).unwrap();
    ipc.handle(ASK, |_, number| Ok(number + 1)).unwrap();
    report(&ipc, "stands by");
    let mut took = Vec::new();
    for number in 0.. {
        let began = Instant::now();
        let sum = ipc.invoke_with(ADD, &[number, 1], Some(LIMIT)).and_then(Invocation::wait);
        if !ipc.is_connected() {
            return;
        }
        assert_eq!(sum, Ok(number + 1), "whatever others do");
        took.push(began.elapsed());
        if !signs.take().is_empty() {
            took.sort_unstable();
            let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
            report(
                &ipc,
                format_args!("{} {} {}", took.len(), median.as_nanos(), longest.as_nanos()),
            );
            took.clear();
        }
        if ipc.run_for(PAUSE).is_err() {
            return;
        }
    }
}

/// `binds-in-a-trap NAME`: says what came of it.
fn binds_in_a_trap(arguments: &[String]) {
    println!("{:?}", IpcMain::bind(&arguments[0], CONTRACT).map(drop));
}

/// `attaches-in-a-trap NAME`: says what came of it.
fn attaches_in_a_trap(arguments: &[String]) {
    println!("{:?}", IpcRenderer::attach(&arguments[0], CONTRACT).map(drop));
}
