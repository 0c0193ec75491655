//! The measurements of a renderer: the sequence of its pushes, and latencies.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart from longer ones, in nanoseconds: a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// The numbers of a stream of messages, which should count up from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sequence {
    #[serde(skip)]
    highest: u64,
    pub(crate) received: u64,
    /// Skipped numbers. One that comes later stays counted, and is out of order too.
    pub(crate) lost: u64,
    /// Numbers that came after a higher one, or again.
    pub(crate) out_of_order: u64,
}

impl Sequence {
    /// Expects 1 next: another main process counts from there.
    pub(crate) fn restart(&mut self) {
        self.highest = 0;
    }

    pub(crate) fn record(&mut self, number: u64) {
        self.received += 1;
        match number.checked_sub(self.highest) {
            None | Some(0) => self.out_of_order += 1,
            Some(step) => {
                self.lost += step - 1;
                self.highest = number;
            }
        }
    }
}

#[derive(Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS);
        Self(histogram.expect("the bounds are valid constants"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    // Takes as long as the histogram is large, so it skips an empty one.
    pub(crate) fn add(&mut self, other: &Self) {
        if !other.0.is_empty() {
            self.0.add(&other.0).expect("all have the same bounds");
        }
    }

    pub(crate) fn summary(&self) -> LatencySummary {
        let known = !self.0.is_empty();
        let quantile = |quantile| known.then(|| self.0.value_at_quantile(quantile));
        LatencySummary {
            count: self.0.len(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: known.then(|| self.0.max()),
        }
    }
}

/// Percentiles in nanoseconds; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) p999: Option<u64>,
    pub(crate) max: Option<u64>,
}

#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) push: Latencies,
    pub(crate) round_trip: Latencies,
    pub(crate) last_round_trip_ns: Option<u64>,
    pub(crate) failed_invokes: u64,
}

impl Tally {
    /// Records the duration of a round trip, or `None` for an invoke that failed.
    pub(crate) fn record_round_trip(&mut self, took_ns: Option<u64>) {
        match took_ns {
            Some(took_ns) => {
                self.round_trip.record(took_ns);
                self.last_round_trip_ns = Some(took_ns);
            }
            None => self.failed_invokes += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_lost_and_a_late_or_repeated_number_is_out_of_order() {
        let cases: [(&[u64], _); 5] = [
            (&[], (0, 0, 0)),
            (&[1, 2, 3], (3, 0, 0)),
            (&[4, 5, 8], (3, 5, 0)),
            (&[1, 3, 2], (3, 1, 1)),
            (&[1, 1], (2, 0, 1)),
        ];
        for (numbers, expected) in cases {
            let mut sequence = Sequence::default();
            numbers.iter().for_each(|&number| sequence.record(number));
            let Sequence { received, lost, out_of_order, .. } = sequence;
            assert_eq!((received, lost, out_of_order), expected, "{numbers:?}");
        }
    }

    #[test]
    fn percentiles_are_exact_to_three_digits_and_saturate() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), LatencySummary::default());
        (1..=1000).for_each(|us| latencies.record(us * 1000));
        let summary = latencies.summary();
        let near = |value: Option<u64>, us: u64| value.unwrap().abs_diff(us * 1000) <= us;
        assert_eq!(summary.count, 1000);
        assert!(near(summary.p50, 500) && near(summary.p99, 990));
        assert!(near(summary.p999, 999) && near(summary.max, 1000));
        latencies.record(0);
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 1002);
        assert!(latencies.summary().max.unwrap() >= LATENCY_MAX_NS);
    }
}
