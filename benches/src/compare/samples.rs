//! Cells made up for unit tests.

use std::time::Duration;

use crate::{
    compare::{
        run::{Cell, Visit},
        slice::Outcome,
        work::{SMALL, Setting, Task, Work},
    },
    peers,
    pins::Pins,
    report::Machine,
    stats::Distribution,
};

/// A cell of 48 bytes in which these outcomes were measured, one a round; pushes at 1 kHz.
pub(super) fn cell_of(subject: &str, work: Work, outcomes: Vec<Outcome>) -> Cell {
    let rate_hz = if work == Work::Push { 1000 } else { 0 };
    let visit = |outcome| Some(Ok(Visit { at: Duration::from_millis(7), outcome }));
    Cell {
        subject: peers::find(subject).unwrap(),
        task: Task { work, payload: SMALL, rate_hz, setting: Setting::Usual },
        unable: None,
        rounds: outcomes.into_iter().map(visit).collect(),
    }
}

/// The machine of such a run.
pub(super) fn machine() -> Machine {
    Machine::look(Pins { main: 0, renderer: 1 }, "compare", ["ringbridge"], &[])
}

/// A round trip or push of so many nanoseconds beside a floor of 100.
pub(super) fn outcome(latency_ns: u64) -> Outcome {
    Outcome {
        floors_ns: [100, 100],
        latency: Some(Distribution::of(&[latency_ns; 1000])),
        outliers: vec![(500, 10 * latency_ns)],
        count: 1000,
        elapsed_ns: 1_000_000,
        ..Outcome::default()
    }
}
