//! The pages, as the session sees them: it leaves a bridge to main and the newest measurements for them.

use std::{error::Error, mem, sync::Arc};

use parking_lot::Mutex;
use ringbridge::ContextBridge;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::{conversions, protocol::About};
use crate::{
    console::Console,
    measurements::{LatencySummary, Sequence, Tally},
    report::Line,
    session::{Pushed, Session, Viewer},
};

const READ_EVERY_NS: u64 = 250_000_000;

/// A session with main, for pages.
pub(super) struct Link {
    pub(super) bridge: ContextBridge<Value>,
    pub(super) about: About,
}

/// The newest session with main, or `None` while there is none.
pub(super) type Links = watch::Receiver<Option<Arc<Link>>>;
pub(super) type Readings = watch::Receiver<Reading>;

/// The measurements since the last reading, or since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reading {
    pushes_per_second: f64,
    /// The latency of pushes, in nanoseconds.
    push: LatencySummary,
    /// The latency of invokes, there and back, in nanoseconds.
    round_trip: LatencySummary,
    // The rest is of all sessions.
    received: u64,
    lost: u64,
    out_of_order: u64,
    failed_invokes: u64,
    last_sequence: u64,
}

pub(super) struct Pages {
    console: Console,
    /// `None` once this renderer ends. Pages see that their channel is closed.
    links: Mutex<Option<watch::Sender<Option<Arc<Link>>>>>,
    readings: watch::Sender<Reading>,
    window: Mutex<Window>,
}

/// The time since the last reading.
#[derive(Default)]
struct Window {
    began_ns: Option<u64>,
    tally: Tally,
    failed_invokes: u64,
}

impl Pages {
    pub(super) fn new(console: Console) -> Self {
        Self {
            console,
            links: Mutex::new(Some(watch::Sender::new(None))),
            readings: watch::Sender::default(),
            window: Mutex::default(),
        }
    }

    pub(super) fn subscribe(&self) -> (Links, Readings) {
        let links = self.links.lock();
        let links = links.as_ref().expect("pages subscribe before the end").subscribe();
        (links, self.readings.subscribe())
    }

    pub(super) fn close(&self) {
        self.links.lock().take();
    }

    fn link(&self, link: Option<Arc<Link>>) {
        if let Some(links) = &*self.links.lock() {
            links.send_replace(link);
        }
    }
}

impl Viewer for Pages {
    const ROUND_TRIP_EVERY_NS: u64 = 25_000_000;

    fn show(&self, line: &Line<'_>) {
        self.console.print(line);
    }

    fn begin(&self, session: &Arc<Session<Self>>) -> Result<(), Box<dyn Error>> {
        self.window.lock().began_ns = None;
        let (bridge, channels) = conversions::expose(&session.ipc())?;
        let endpoint = session.context.options.common.endpoint.clone();
        let about = About { renderer: session.id(), pid: std::process::id(), endpoint, channels };
        self.link(Some(Arc::new(Link { bridge, about })));
        Ok(())
    }

    fn push(&self, _session: &Session<Self>, push: &Pushed<'_>) {
        let mut window = self.window.lock();
        window.tally.push.record(push.latency_ns);
        if let Some(reading) = window.read(push.now_ns, push.sequence, push.statistics.sequence) {
            self.readings.send_replace(reading);
        }
    }

    fn round_trip(&self, took_ns: Option<u64>) {
        self.window.lock().tally.record_round_trip(took_ns);
    }

    fn end(&self) {
        self.link(None);
    }
}

impl Window {
    /// Ends the window if its time is over. Pushes pace the readings.
    fn read(&mut self, now_ns: u64, sequence: Sequence, last_sequence: u64) -> Option<Reading> {
        let passed_ns = now_ns.saturating_sub(*self.began_ns.get_or_insert(now_ns));
        if passed_ns < READ_EVERY_NS {
            return None;
        }
        self.began_ns = Some(now_ns);
        let tally = mem::take(&mut self.tally);
        self.failed_invokes += tally.failed_invokes;
        Some(Reading {
            pushes_per_second: (tally.push.count() as f64 / (passed_ns as f64 / 1e9)).round(),
            push: tally.push.summary(),
            round_trip: tally.round_trip.summary(),
            received: sequence.received,
            lost: sequence.lost,
            out_of_order: sequence.out_of_order,
            failed_invokes: self.failed_invokes,
            last_sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_covers_a_quarter_of_a_second_and_the_losses_of_all_time() {
        let (mut window, mut sequence) = (Window::default(), Sequence::default());
        sequence.record(5);
        window.tally.push.record(9_000_000);
        window.tally.record_round_trip(None);
        let mut readings = Vec::new();
        for ms in 0..=1000 {
            window.tally.push.record(1000);
            window.tally.record_round_trip(Some(2000));
            readings.extend(window.read(ms * 1_000_000, sequence, 5 + ms));
        }
        let [first, .., last] = readings[..] else { panic!("{readings:?}") };
        assert_eq!((readings.len(), last.pushes_per_second, last.last_sequence), (4, 1000.0, 1005));
        assert_eq!(
            [first, last].map(|reading| (reading.lost, reading.failed_invokes)),
            [(4, 1); 2]
        );
        assert!(first.push.max > Some(8_000_000), "{first:?}");
        assert!(last.push.max.is_some_and(|max| max.abs_diff(1000) <= 1), "{last:?}");
        assert!(last.round_trip.p50.is_some_and(|p50| p50.abs_diff(2000) <= 2), "{last:?}");
    }
}
