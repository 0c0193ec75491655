//! What this renderer measures of its session, for the page: how many pushes came, which were lost, how long they and
//! its invokes took.
//!
//! Everything is recorded on the loop's thread, pushes pace it, and it costs each of them a few
//! nanoseconds. Four times a second the figures of that quarter are put where pages look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::{GET_SYSTEM_INFO, STATISTICS, now_ns};
use ringbridge::{InvokeError, IpcRenderer, RegisterError};
use serde::Serialize;
use tokio::sync::watch;

use crate::measurements::{Latencies, LatencySummary, Sequence};

/// Between two readings, in nanoseconds.
const READ_EVERY_NS: u64 = 250_000_000;
/// Between two measured round trips, in nanoseconds.
const ROUND_TRIP_EVERY_NS: u64 = 25_000_000;

/// What was measured since the reading before, or since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reading {
    pub(super) pushes_per_second: f64,
    /// How long pushes took to get here. Nanoseconds.
    pub(super) push: Figures,
    /// How long invokes took, there and back. Nanoseconds.
    pub(super) round_trip: Figures,
    /// Of the whole session.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) out_of_order: u64,
    pub(super) failed_invokes: u64,
    /// The number of the newest push.
    pub(super) last_sequence: u64,
}

/// `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
}

impl From<LatencySummary> for Figures {
    fn from(LatencySummary { p50, p99, max, .. }: LatencySummary) -> Self {
        Self { p50, p99, max }
    }
}

/// The meters of all sessions of this process.
pub(super) struct Meters {
    state: Mutex<State>,
    readings: watch::Sender<Reading>,
}

#[derive(Default)]
struct State {
    sequence: Sequence,
    failed_invokes: u64,
    /// Of all time, for the summary.
    all: Measured,
    /// Since the last reading.
    window: Measured,
    window_began_ns: Option<u64>,
    window_pushes: u64,
    last_sequence: u64,
    round_trip_at_ns: u64,
    round_trip_under_way: bool,
}

#[derive(Default)]
struct Measured {
    push: Latencies,
    round_trip: Latencies,
}

/// What was measured in all, for the summary.
pub(super) struct Totals {
    pub(super) sequence: Sequence,
    pub(super) failed_invokes: u64,
    pub(super) push: LatencySummary,
    pub(super) round_trip: LatencySummary,
}

impl Meters {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), readings: watch::Sender::default() })
    }

    /// The newest reading, and when there is another.
    pub(super) fn readings(&self) -> watch::Receiver<Reading> {
        self.readings.subscribe()
    }

    /// Measures a session until its listeners are removed.
    pub(super) fn measure(self: &Arc<Self>, ipc: &IpcRenderer) -> Result<(), RegisterError> {
        {
            let mut state = self.state();
            state.sequence.begin_again();
            state.window_began_ns = None;
            state.round_trip_under_way = false;
        }
        let (meters, asked) = (self.clone(), ipc.clone());
        let listened = ipc.on(STATISTICS, move |_event, statistics| {
            let now_ns = now_ns();
            let latency_ns = now_ns.saturating_sub(statistics.sent_ns);
            if meters.state().record_push(statistics.sequence, latency_ns, now_ns) {
                meters.measure_round_trip(&asked);
            }
            let reading = meters.state().read(now_ns);
            if let Some(reading) = reading {
                meters.readings.send_replace(reading);
            }
        });
        match listened {
            Ok(_) => Ok(()),
            // Then there is nothing to be measured.
            Err(RegisterError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn measure_round_trip(self: &Arc<Self>, ipc: &IpcRenderer) {
        let meters = self.clone();
        let began_ns = now_ns();
        let answered = move |result: &Result<_, InvokeError>| {
            let took_ns = now_ns().saturating_sub(began_ns);
            meters.state().record_round_trip(took_ns, result);
        };
        match ipc.invoke(GET_SYSTEM_INFO, &()) {
            Ok(invocation) => invocation.then(move |result| answered(&result)),
            Err(error) => answered(&Err(error)),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let state = self.state();
        Totals {
            sequence: state.sequence,
            failed_invokes: state.failed_invokes,
            push: state.all.push.summary(),
            round_trip: state.all.round_trip.summary(),
        }
    }

    /// Locked for moments, on the loop's thread.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns whether a round trip is due.
    fn record_push(&mut self, sequence: u64, latency_ns: u64, now_ns: u64) -> bool {
        self.sequence.record(sequence);
        self.all.push.record(latency_ns);
        self.window.push.record(latency_ns);
        self.window_pushes += 1;
        self.last_sequence = sequence;
        let due = now_ns >= self.round_trip_at_ns && !self.round_trip_under_way;
        if due {
            self.round_trip_at_ns = now_ns + ROUND_TRIP_EVERY_NS;
            self.round_trip_under_way = true;
        }
        due
    }

    /// An invoke that ends with the session is no failure; nor is one that the policy does not allow.
    fn record_round_trip<T>(&mut self, took_ns: u64, result: &Result<T, InvokeError>) {
        self.round_trip_under_way = false;
        match result {
            Ok(_) => {
                self.all.round_trip.record(took_ns);
                self.window.round_trip.record(took_ns);
            }
            Err(InvokeError::Gone { .. } | InvokeError::Send(_)) => {}
            Err(_) => self.failed_invokes += 1,
        }
    }

    /// When the time has come.
    fn read(&mut self, now_ns: u64) -> Option<Reading> {
        let began_ns = *self.window_began_ns.get_or_insert(now_ns);
        let passed_ns = now_ns.saturating_sub(began_ns);
        if passed_ns < READ_EVERY_NS {
            return None;
        }
        let window = std::mem::take(&mut self.window);
        let pushes = std::mem::take(&mut self.window_pushes);
        self.window_began_ns = Some(now_ns);
        Some(Reading {
            pushes_per_second: (pushes as f64 / (passed_ns as f64 / 1e9)).round(),
            push: window.push.summary().into(),
            round_trip: window.round_trip.summary().into(),
            received: self.sequence.received,
            lost: self.sequence.lost,
            out_of_order: self.sequence.out_of_order,
            failed_invokes: self.failed_invokes,
            last_sequence: self.last_sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_of_its_quarter_of_a_second_and_pushes_pace_it() {
        let mut state = State::default();
        let mut readings = Vec::new();
        for ms in 0..=1000_u64 {
            if state.record_push(ms + 1, 1000, ms * 1_000_000) {
                state.record_round_trip::<()>(2000, &Ok(()));
            }
            readings.extend(state.read(ms * 1_000_000));
        }
        assert_eq!(readings.len(), 4);
        let last = readings[3];
        assert_eq!(last.pushes_per_second, 1000.0);
        assert_eq!((last.received, last.lost), (1001, 0));
        assert!(last.push.p50.is_some_and(|p50| p50.abs_diff(1000) <= 1));
        assert!(last.round_trip.max.is_some_and(|max| max.abs_diff(2000) <= 2));
    }

    #[test]
    fn what_the_session_lost_is_in_every_reading_and_nothing_else_of_the_past() {
        let mut state = State::default();
        state.record_push(5, 9_000, 0);
        assert_eq!(state.read(0), None);
        assert_eq!(state.read(READ_EVERY_NS).unwrap().lost, 4);
        let second = state.read(2 * READ_EVERY_NS).unwrap();
        assert_eq!(
            (second.lost, second.push, second.pushes_per_second),
            (4, Figures::default(), 0.0)
        );
    }
}
