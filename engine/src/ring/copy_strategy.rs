//! The choice between the ways to copy a long payload into a ring, or out of it.
//!
//! | way | speed |
//! | --- | --- |
//! | lines | vector instructions, a line at a time; the reader finds the lines in a cache |
//! | string | `rep movsb`: faster on some processors, slower on others; in the caches too |
//! | streaming | the speed of memory, wherever the lines and the reader are; into a ring only |
//!
//! In a small ring the reader's cache holds each line that is overwritten, which makes the first two slow. In a ring
//! larger than the caches, or with the reader on the same processor, they are several times as fast as streaming. The
//! scheduler may move either side at any time. So some copies are timed, and another way is tried now and then.
//!
//! A trial takes two laps of the ring, of which the second is timed. In the first the lines are still where the
//! usual way has left them.

use std::time::{Duration, Instant};

/// The shortest payload with a choice, in bytes. Below it the reader's wait for memory costs more.
pub(super) const LONG: usize = 16 * 1024;

/// One copy in this many is timed: the clock costs up to a tenth of the shortest copy.
const TIMED_EVERY: u32 = 4;
/// Laps of a trial of another way.
const TRIAL: u64 = 2;
/// Laps until the next trial. Doubled each time the other way is the worse one, up to a limit at which even a
/// way ten times as slow costs a few hundredths.
const TRY_AFTER: u64 = 16;
const TRY_AFTER_MAX: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyWay {
    Lines,
    String,
    Streaming,
}

impl CopyWay {
    pub(super) const IN: &[Self] = &[Self::Lines, Self::String, Self::Streaming];
    pub(super) const OUT: &[Self] = &[Self::Lines, Self::String];

    /// What a byte counts, in eighths. The reader of a streamed payload has to wait for memory.
    fn weight(self) -> u64 {
        if self == Self::Streaming { 12 } else { 8 }
    }
}

/// The measured costs of the ways between one writer and one reader.
#[derive(Debug)]
pub(super) struct CopyStrategy {
    lap: u64,
    ways: &'static [CopyWay],
    usual: usize,
    /// The way that is tried now, or that was tried last.
    tried: usize,
    in_trial: bool,
    /// Picoseconds a byte of the usual way, and in this trial of the other one; 0 before the first measurement.
    usual_cost: u64,
    trial_cost: u64,
    /// Bytes since the last trial, or since this one began.
    bytes: u64,
    /// Laps until the next trial.
    try_after: u64,
    copies: u32,
}

impl CopyStrategy {
    pub(super) fn new(capacity: usize, ways: &'static [CopyWay]) -> Self {
        Self {
            lap: capacity as u64,
            ways,
            usual: 0,
            tried: 0,
            in_trial: false,
            usual_cost: 0,
            trial_cost: 0,
            bytes: 0,
            try_after: TRY_AFTER,
            copies: 0,
        }
    }

    /// Copies `len` bytes by `copy` in the way that is best by now.
    pub(super) fn copy(&mut self, len: usize, copy: impl FnOnce(CopyWay)) {
        let (way, timed) = self.next(len);
        let began = timed.then(Instant::now);
        copy(way);
        if let Some(began) = began {
            self.took(len, began.elapsed());
        }
    }

    /// Returns the way of the next payload, of `len` bytes, and whether to time it.
    fn next(&mut self, len: usize) -> (CopyWay, bool) {
        self.bytes += len as u64;
        self.copies = self.copies.wrapping_add(1);
        if !self.in_trial && self.bytes > self.try_after * self.lap {
            (self.in_trial, self.bytes, self.trial_cost) = (true, 0, 0);
            self.tried = (self.tried + 1) % self.ways.len();
            if self.tried == self.usual {
                self.tried = (self.tried + 1) % self.ways.len();
            }
        } else if self.in_trial && self.bytes > TRIAL * self.lap && self.trial_cost > 0 {
            self.end_trial();
        }
        if self.in_trial {
            (self.ways[self.tried], self.bytes > self.lap)
        } else {
            (self.ways[self.usual], self.copies.is_multiple_of(TIMED_EVERY))
        }
    }

    /// Notes the time of the last copy, of `len` bytes.
    fn took(&mut self, len: usize, time: Duration) {
        let cost = (time.as_nanos() as u64).saturating_mul(1000) / len as u64;
        let known = if self.in_trial { &mut self.trial_cost } else { &mut self.usual_cost };
        *known = match *known {
            0 => cost.max(1),
            // The limit bounds the effect of a copy during which the thread was preempted.
            known => (3 * known + cost.min(2 * known)).div_ceil(4),
        };
    }

    fn end_trial(&mut self) {
        (self.in_trial, self.bytes) = (false, 0);
        let usual = self.ways[self.usual].weight() * self.usual_cost;
        if self.ways[self.tried].weight() * self.trial_cost < usual {
            (self.usual, self.usual_cost) = (self.tried, self.trial_cost);
            self.try_after = TRY_AFTER;
        } else {
            self.try_after = (2 * self.try_after).min(TRY_AFTER_MAX);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LAP: usize = 4 * LONG;

    fn strategy() -> CopyStrategy {
        CopyStrategy::new(LAP, CopyWay::IN)
    }

    /// Copies for `laps` at these costs in picoseconds a byte. Returns the part of `way` in hundredths.
    fn copy(strategy: &mut CopyStrategy, laps: u32, costs: [u64; 3], way: CopyWay) -> u32 {
        let (count, mut by_way) = (4 * laps, 0);
        for _ in 0..count {
            let (next, timed) = strategy.next(LONG);
            by_way += u32::from(next == way);
            if timed {
                let cost = costs[CopyWay::IN.iter().position(|way| *way == next).unwrap()];
                strategy.took(LONG, Duration::from_nanos(cost * LONG as u64 / 1000));
            }
        }
        100 * by_way / count
    }

    #[test]
    fn the_cheapest_way_is_used_and_the_others_are_tried_ever_more_rarely() {
        for (way, costs) in [
            (CopyWay::Streaming, [125, 120, 40]),
            (CopyWay::Lines, [25, 30, 40]),
            (CopyWay::String, [40, 25, 35]),
        ] {
            let mut strategy = strategy();
            copy(&mut strategy, 2000, costs, way);
            assert!(copy(&mut strategy, 10_000, costs, way) >= 99, "{way:?}");
        }
    }

    #[test]
    fn the_caches_are_kept_while_they_cost_a_little_more() {
        assert!(copy(&mut strategy(), 1000, [50, 60, 40], CopyWay::Streaming) < 10);
    }

    #[test]
    fn when_the_costs_change_the_way_changes_too() {
        let mut strategy = strategy();
        copy(&mut strategy, 10_000, [125, 125, 40], CopyWay::Lines);
        // Both processors have come near, or the ring's reader has moved to this one.
        copy(&mut strategy, 3000, [20, 30, 40], CopyWay::Lines);
        assert_eq!(strategy.usual, 0);
        copy(&mut strategy, 3000, [400, 300, 40], CopyWay::Lines);
        assert_eq!(strategy.usual, 2);
    }

    #[test]
    fn one_interrupted_copy_changes_nothing() {
        let mut strategy = strategy();
        copy(&mut strategy, 1000, [25, 35, 40], CopyWay::Lines);
        strategy.took(LONG, Duration::from_millis(30));
        copy(&mut strategy, 2000, [25, 35, 40], CopyWay::Lines);
        assert_eq!(strategy.usual, 0);
    }
}
