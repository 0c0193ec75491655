//! The exchange between the receiving thread and the painter. Its size is bounded, however slow the painter is.

use std::mem;

use contract::Statistics;
use parking_lot::Mutex;

use crate::{
    dashboard::model::{Answer, Identity},
    measurements::{Sequence, Tally},
    report::{Event, Line, sandbox_state},
    session::{Pushed, Session, Viewer},
};

/// Everything that came since the last frame.
#[derive(Default)]
pub(super) struct Received {
    pub(super) tally: Tally,
    pub(super) latest: Option<(Statistics, Sequence)>,
    /// The renderer's identity, if it has changed.
    pub(super) identity: Option<Identity>,
    pub(super) answer: Option<Answer>,
}

/// The meeting place of the two threads.
#[derive(Default)]
pub(super) struct Board {
    received: Mutex<Box<Received>>,
    identity: Mutex<Identity>,
}

impl Board {
    /// Returns everything that came since the last call. The lock is held for a swap of two pointers.
    pub(super) fn take(&self) -> Box<Received> {
        let empty = Box::default();
        mem::replace(&mut *self.received.lock(), empty)
    }

    fn identify(&self, change: impl FnOnce(&mut Identity)) {
        let mut identity = self.identity.lock();
        change(&mut identity);
        self.received.lock().identity = Some(identity.clone());
    }

    fn answer(&self, answer: Answer) {
        self.received.lock().answer = Some(answer);
    }
}

impl Viewer for Board {
    fn show(&self, line: &Line<'_>) {
        match &line.event {
            Event::Connected { pid, allowed } => self.identify(|identity| {
                (identity.id, identity.pid) = (line.id.unwrap_or_default(), *pid);
                identity.allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
                identity.is_connected = true;
            }),
            Event::Sandbox(sandbox) => {
                self.identify(|identity| identity.sandbox = sandbox_state(*sandbox));
            }
            Event::MainGone => self.identify(|identity| identity.is_connected = false),
            Event::SystemInfo(info) => self.answer(Answer::system_info(info)),
            Event::File { path, len, bytes } => self.answer(Answer::file(path, *len, bytes)),
            Event::FileError { path, message, .. } => {
                self.answer(Answer::error(&format!("read-file {path:?}"), message));
            }
            Event::InvokeError { message } => {
                self.answer(Answer::error("an invoke failed", message));
            }
            // The dashboard shows pushes itself, and the summary comes after it.
            _ => {}
        }
    }

    fn push(&self, _session: &Session<Self>, push: &Pushed<'_>) {
        let mut received = self.received.lock();
        received.tally.push.record(push.latency_ns);
        received.latest = Some((*push.statistics, push.sequence));
    }

    fn round_trip(&self, took_ns: Option<u64>) {
        self.received.lock().tally.record_round_trip(took_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_gets_what_came_since_the_last_one() {
        let board = Board::default();
        board.round_trip(Some(1000));
        assert_eq!([(); 2].map(|()| board.take().tally.last_round_trip_ns), [Some(1000), None]);
    }

    #[test]
    fn main_goes_and_comes_and_the_new_session_has_a_number_of_its_own() {
        let board = Board::default();
        let shown = |id, event| {
            board.show(&Line::new(Some(id), event));
            board.take().identity.unwrap()
        };
        let connected = || Event::Connected { pid: 9, allowed: vec!["x"] };
        assert!(shown(1, connected()).is_connected);
        assert_eq!(shown(1, Event::Sandbox(None)).sandbox, "off");
        assert!(!shown(1, Event::MainGone).is_connected);
        let identity = shown(2, connected());
        assert!(identity.is_connected);
        assert_eq!((identity.id, identity.sandbox), (2, "off"));
    }
}
