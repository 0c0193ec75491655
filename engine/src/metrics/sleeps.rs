//! A histogram of the sleeps of main's loop, in powers of two.

use std::time::Duration;

use crate::metrics::counters::Counter;

/// The number of buckets. The last holds all longer sleeps.
pub(crate) const BUCKETS: usize = 24;

/// The sleeps of main's loop by their length: see [`IpcMain::sleeps`](crate::IpcMain::sleeps).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sleeps {
    pub(crate) buckets: [u64; BUCKETS],
}

impl Sleeps {
    /// The number of sleeps.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The length that this part of the sleeps stayed below, rounded up to a power of two of microseconds. `part` is
    /// from 0 to 1. `None` if there was no sleep, or if the length is above 4 s.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        self.iter()
            .scan(0, |seen, (limit, count)| {
                *seen += count;
                Some((limit, *seen))
            })
            .find_map(|(limit, seen)| (seen >= wanted).then_some(limit))
            .flatten()
    }

    /// Returns each bucket's upper bound (`None` for the last) and its number of sleeps.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        (0..).zip(self.buckets).map(|(bucket, count)| {
            let limit = (bucket + 1 < BUCKETS).then(|| Duration::from_micros(1 << bucket));
            (limit, count)
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct SleepCounters {
    buckets: [Counter; BUCKETS],
    total_ns: Counter,
}

impl SleepCounters {
    /// Notes a sleep. Only the thread that drives the loop calls it.
    pub(crate) fn note(&self, length: Duration) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].add_alone(1);
        self.total_ns.add_alone(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn read(&self) -> Sleeps {
        Sleeps { buckets: std::array::from_fn(|bucket| self.buckets[bucket].get()) }
    }

    pub(crate) fn total_ns(&self) -> u64 {
        self.total_ns.get()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_counted_below_the_next_power_of_two_of_microseconds() {
        let counters = SleepCounters::default();
        for micros in [0, 1, 3, 4, 1000] {
            counters.note(Duration::from_micros(micros));
        }
        counters.note(Duration::from_secs(1000));
        let sleeps = counters.read();
        let filled = sleeps.iter().filter(|(_, count)| *count > 0);
        let limits: Vec<_> =
            filled.map(|(limit, _)| limit.map(|limit| limit.as_micros())).collect();
        assert_eq!(limits, [Some(1), Some(2), Some(4), Some(8), Some(1024), None]);
        assert_eq!(sleeps.count(), 6);
        assert_eq!(counters.total_ns(), 1_000_001_008_000);
    }

    #[test]
    fn a_quantile_is_the_bound_that_so_many_stay_below() {
        let counters = SleepCounters::default();
        assert_eq!(counters.read().quantile(0.5), None);
        (0..99).for_each(|_| counters.note(Duration::from_micros(10)));
        counters.note(Duration::from_millis(10));
        let sleeps = counters.read();
        assert_eq!(sleeps.quantile(0.5), Some(Duration::from_micros(16)));
        assert_eq!(sleeps.quantile(1.0), Some(Duration::from_micros(16_384)));
    }
}
