//! What came of a run.

use std::fmt;

use serde::Serialize;

use super::*;

/// The figures of one run, in the order in which they are printed.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) seed: u64,
    pub(super) backend: Over,
    pub(super) renderers: usize,
    pub(super) seconds: f64,
    /// Sessions that began and were judged.
    pub(super) cycles: u64,
    pub(super) kills: u64,
    pub(super) stops: u64,
    pub(super) shortages: u64,
    pub(super) clock_jumps: u64,
    pub(super) main_restarts: u64,
    /// Pauses in which what main held was compared with what it had held at its beginning.
    pub(super) censuses: u64,
    /// Messages that were delivered, of all kinds but replies and published ones.
    pub(super) frames: u64,
    /// Invokes that were answered.
    pub(super) invokes: u64,
    pub(super) pushes: u64,
    pub(super) large: u64,
    pub(super) publishes: u64,
    pub(super) published_received: u64,
    /// Sends and launches that failed with an error that says what was short.
    pub(super) refused: u64,
    pub(super) violations: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) out_of_order: u64,
    pub(super) corrupt: u64,
    pub(super) leaks: u64,
    /// The most threads that dead processes left behind in events of one main process. Portable backend only.
    pub(super) left_behind: u64,
    pub(super) hangs: u64,
    /// Processes that ended in a way that nobody made them.
    pub(super) crashes: u64,
    /// Errors that nothing explains.
    pub(super) unexpected: u64,
    pub(super) recoveries: usize,
    pub(super) recovery_p50_ms: f64,
    pub(super) recovery_p99_ms: f64,
    pub(super) max_recovery_ms: f64,
}

impl Summary {
    /// Whether everything that must be 0 is.
    pub(super) fn is_good(&self) -> bool {
        self.must_be_zero().iter().all(|(_, count)| *count == 0)
    }

    fn must_be_zero(&self) -> [(&'static str, u64); 10] {
        [
            ("violations", self.violations),
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("out of order", self.out_of_order),
            ("corrupt", self.corrupt),
            ("leaks", self.leaks),
            (
                "too many threads left behind",
                self.left_behind.saturating_sub(self.left_behind_max()),
            ),
            ("hangs", self.hangs),
            ("crashes", self.crashes),
            ("unexpected errors", self.unexpected),
        ]
    }

    /// A process that dies inside an event leaves two threads of its peer behind. One kill in 20 may hit one there.
    fn left_behind_max(&self) -> u64 {
        2 * self.kills.div_ceil(20)
    }

    pub(super) fn add(&mut self, faults: Faults) {
        self.lost += faults.lost;
        self.duplicates += faults.duplicates;
        self.out_of_order += faults.out_of_order;
        self.corrupt += faults.corrupt;
    }

    /// Adds what a session's record says besides its faults.
    pub(super) fn count(&mut self, record: &Record) {
        self.cycles += 1;
        let received = |stream| record.flow(stream).received.get();
        self.frames += Stream::ALL.into_iter().map(received).sum::<u64>();
        self.invokes += [Stream::Call, Stream::Ask]
            .map(|stream| record.flow(stream).acknowledged.get())
            .iter()
            .sum::<u64>();
        self.pushes += received(Stream::Push) + received(Stream::Patient) + received(Stream::Blob);
        self.large += received(Stream::Large) + received(Stream::Blob);
        self.published_received += record.topic.received.get();
        self.refused += record.refused.get();
        self.violations += record.violations.get();
        self.unexpected += record.unexpected.get();
    }

    /// Works out the percentiles of how long it took to be told of a death.
    pub(super) fn set_recoveries(&mut self, mut nanoseconds: Vec<u64>) {
        nanoseconds.sort_unstable();
        let at = |share: f64| {
            let place = (nanoseconds.len() as f64 * share).ceil() as usize;
            let nanoseconds = nanoseconds.get(place.saturating_sub(1)).copied().unwrap_or(0);
            (nanoseconds as f64 / 1e3).round() / 1e3
        };
        self.recoveries = nanoseconds.len();
        self.recovery_p50_ms = at(0.5);
        self.recovery_p99_ms = at(0.99);
        self.max_recovery_ms = at(1.0);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, backend, renderers, seconds, .. } = self;
        writeln!(f, "{backend} backend, {renderers} renderers, {seconds:.0} s, seed {seed}")?;
        let rows = [
            ("sessions", self.cycles),
            ("kills", self.kills),
            ("stops", self.stops),
            ("shortages", self.shortages),
            ("clock jumps", self.clock_jumps),
            ("main restarts", self.main_restarts),
            ("censuses", self.censuses),
            ("frames", self.frames),
            ("invokes", self.invokes),
            ("pushes", self.pushes),
            ("large payloads", self.large),
            ("published", self.publishes),
            ("published, received", self.published_received),
            ("refused for want", self.refused),
        ];
        for (name, count) in rows.into_iter().chain(self.must_be_zero()) {
            writeln!(f, "  {name:<20} {count:>14}")?;
        }
        writeln!(
            f,
            "  {:<20} {:>14}  p50 {} ms, p99 {} ms, max {} ms",
            "recoveries",
            self.recoveries,
            self.recovery_p50_ms,
            self.recovery_p99_ms,
            self.max_recovery_ms,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_times_themselves() {
        let mut summary = Summary::default();
        summary.set_recoveries((1..=200).rev().map(|ms| ms * 1_000_000).collect());
        assert_eq!(summary.recoveries, 200);
        assert_eq!((summary.recovery_p50_ms, summary.recovery_p99_ms), (100.0, 198.0));
        assert_eq!(summary.max_recovery_ms, 200.0);
        summary.set_recoveries(Vec::new());
        assert_eq!(summary.max_recovery_ms, 0.0);
    }

    #[test]
    fn one_fault_of_any_kind_is_a_failure() {
        assert!(Summary::default().is_good());
        let faults = [
            Faults { lost: 1, ..Faults::default() },
            Faults { duplicates: 1, ..Faults::default() },
            Faults { out_of_order: 1, ..Faults::default() },
            Faults { corrupt: 1, ..Faults::default() },
        ];
        for faults in faults {
            let mut summary = Summary::default();
            summary.add(faults);
            assert!(!summary.is_good());
        }
        for summary in [
            Summary { leaks: 1, ..Summary::default() },
            Summary { left_behind: 3, kills: 20, ..Summary::default() },
            Summary { hangs: 1, ..Summary::default() },
            Summary { crashes: 1, ..Summary::default() },
        ] {
            assert!(!summary.is_good());
        }
    }
}
