//! What the receiving thread tells the painter: figures that add up, and the few things that happen.
//!
//! It is bounded, however long the painter is away.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, PoisonError},
};

use contract::Statistics;

use crate::{
    dashboard::model::{Answer, Happening},
    measurements::{Latencies, Sequence},
    report::Line,
    session::{Pushed, Session, Viewer},
};

/// How much may have happened since the last frame; of more the oldest is dropped. None of it comes by itself in
/// numbers: it is answers to keys, and main coming and going.
const HAPPENINGS_MAX: usize = 64;

/// What came since the last frame.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) pushes: u64,
    pub(super) push_latency: Latencies,
    pub(super) round_trips: Latencies,
    pub(super) last_round_trip_ns: Option<u64>,
    pub(super) failed_invokes: u64,
    /// The last push.
    pub(super) latest: Option<(Statistics, Sequence)>,
    pub(super) happenings: VecDeque<Happening>,
}

impl Tally {
    /// Empty again, with the memory that it has.
    fn clear(&mut self) {
        self.pushes = 0;
        self.push_latency.clear();
        self.round_trips.clear();
        self.last_round_trip_ns = None;
        self.failed_invokes = 0;
        self.latest = None;
        self.happenings.clear();
    }
}

/// Where the two threads meet.
#[derive(Default)]
pub(super) struct Board(Mutex<Box<Tally>>);

impl Board {
    /// Exchanges what came for `tally`, which is emptied before.
    pub(super) fn take(&self, tally: &mut Box<Tally>) {
        tally.clear();
        mem::swap(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), tally);
    }

    /// Something has happened.
    pub(super) fn tell(&self, happening: Happening) {
        self.add(|tally| {
            if tally.happenings.len() == HAPPENINGS_MAX {
                tally.happenings.pop_front();
            }
            tally.happenings.push_back(happening);
        });
    }

    fn add(&self, add: impl FnOnce(&mut Tally)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Viewer for Board {
    fn show(&self, line: &Line<'_>) {
        if let Some(happening) = happening(line) {
            self.tell(happening);
        }
    }

    fn push(&self, _session: &Session<Self>, push: &Pushed<'_>) {
        self.add(|tally| {
            tally.pushes += 1;
            tally.push_latency.record(push.latency_ns);
            tally.latest = Some((*push.statistics, push.sequence));
        });
    }

    fn round_trip(&self, took_ns: Option<u64>) {
        self.add(|tally| match took_ns {
            Some(ns) => {
                tally.round_trips.record(ns);
                tally.last_round_trip_ns = Some(ns);
            }
            None => tally.failed_invokes += 1,
        });
    }
}

/// What a line means here. The figures are shown from the pushes themselves, and the summary is printed later.
fn happening(line: &Line<'_>) -> Option<Happening> {
    Some(match line {
        Line::Connected { id, pid, allowed } => Happening::Connected {
            id: *id,
            pid: *pid,
            allowed: allowed.iter().map(|name| (*name).to_owned()).collect(),
        },
        Line::Sandbox(line) => Happening::Sandbox(line.state.name()),
        Line::MainGone { .. } => Happening::MainGone,
        Line::SystemInfo(info) => Happening::Answer(Answer::system_info(info)),
        Line::File { path, len, bytes, .. } => Happening::Answer(Answer::file(path, *len, bytes)),
        Line::FileError { path, message, .. } => {
            Happening::Answer(Answer::error(format!("read-file {path:?}"), message))
        }
        Line::InvokeError { message, .. } => {
            Happening::Answer(Answer::error("an invoke failed".to_owned(), message))
        }
        Line::Statistics(_) | Line::Summary(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_bounded_and_the_newest_is_kept() {
        let board = Board::default();
        for id in 0..1000 {
            board.tell(Happening::Connected { id, pid: 0, allowed: Vec::new() });
        }
        let mut tally = Box::default();
        board.take(&mut tally);
        assert_eq!(tally.happenings.len(), HAPPENINGS_MAX);
        let Some(Happening::Connected { id, .. }) = tally.happenings.back() else { panic!() };
        assert_eq!(*id, 999);
    }

    #[test]
    fn what_was_taken_once_is_not_there_again() {
        let board = Board::default();
        board.round_trip(Some(1000));
        let mut tally = Box::default();
        board.take(&mut tally);
        assert_eq!((tally.round_trips.summary().count, tally.last_round_trip_ns), (1, Some(1000)));
        board.take(&mut tally);
        assert_eq!((tally.round_trips.summary().count, tally.last_round_trip_ns), (0, None));
    }
}
