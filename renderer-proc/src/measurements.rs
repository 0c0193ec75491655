//! What a renderer measures: which pushes came, and how long everything took.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart from longer ones, in nanoseconds: a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// Figures are right to so many digits.
const DIGITS: u8 = 3;

/// Checks that the numbers of a stream come one after the other, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    next: u64,
    pub(crate) received: u64,
    /// Numbers that were skipped. One that comes after all stays counted, and is out of order too.
    pub(crate) lost: u64,
    /// Numbers that came after a higher one, or again.
    pub(crate) out_of_order: u64,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { next: 1, received: 0, lost: 0, out_of_order: 0 }
    }
}

impl Sequence {
    /// Another main counts from 1.
    pub(crate) fn begin_again(&mut self) {
        self.next = 1;
    }

    pub(crate) fn record(&mut self, number: u64) {
        self.received += 1;
        if number < self.next {
            self.out_of_order += 1;
        } else {
            self.lost += number - self.next;
            self.next = number.saturating_add(1);
        }
    }
}

/// How long something took, many times.
#[derive(Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS);
        Self(histogram.expect("the bounds are constants that a histogram can have"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// What `other` has counted too.
    pub(crate) fn add(&mut self, other: &Self) {
        if !other.0.is_empty() {
            self.0.add(&other.0).expect("all have the same bounds");
        }
    }

    /// Nothing has been measured.
    pub(crate) fn clear(&mut self) {
        // Which takes as long as the histogram is large.
        if !self.0.is_empty() {
            self.0.reset();
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) p999: Option<u64>,
    pub(crate) max: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(numbers: &[u64]) -> (u64, u64, u64) {
        let mut sequence = Sequence::default();
        numbers.iter().for_each(|&number| sequence.record(number));
        (sequence.received, sequence.lost, sequence.out_of_order)
    }

    #[test]
    fn numbers_one_after_the_other_lose_nothing() {
        assert_eq!(sequence(&[]), (0, 0, 0));
        assert_eq!(sequence(&[1, 2, 3]), (3, 0, 0));
    }

    #[test]
    fn a_gap_is_lost_also_before_the_first() {
        assert_eq!(sequence(&[4, 5, 8]), (3, 5, 0));
    }

    #[test]
    fn a_late_and_a_repeated_number_are_out_of_order() {
        assert_eq!(sequence(&[1, 3, 2]), (3, 1, 1));
        assert_eq!(sequence(&[1, 1]), (2, 0, 1));
    }

    #[test]
    fn nothing_measured_has_no_percentiles() {
        let summary = Latencies::default().summary();
        let expected = LatencySummary { count: 0, p50: None, p99: None, p999: None, max: None };
        assert_eq!(summary, expected);
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|us| latencies.record(us * 1000));
        let summary = latencies.summary();
        let near = |value: Option<u64>, us: u64| value.unwrap().abs_diff(us * 1000) <= us;
        assert_eq!(summary.count, 1000);
        assert!(near(summary.p50, 500) && near(summary.p99, 990));
        assert!(near(summary.p999, 999) && near(summary.max, 1000));
    }

    #[test]
    fn what_two_have_counted_can_be_added_and_forgotten() {
        let [mut all, mut one] = [Latencies::default(), Latencies::default()];
        all.record(10);
        one.record(30);
        all.add(&one);
        assert_eq!((all.summary().count, all.summary().max), (2, Some(30)));
        all.clear();
        assert_eq!(all.summary(), Latencies::default().summary());
    }

    #[test]
    fn what_is_off_the_scale_counts_as_its_end() {
        let mut latencies = Latencies::default();
        latencies.record(0);
        latencies.record(u64::MAX);
        assert_eq!(latencies.summary().count, 2);
        assert!(latencies.summary().max.unwrap() >= LATENCY_MAX_NS);
    }
}
