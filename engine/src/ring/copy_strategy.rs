//! The choice between two paths for copying a long payload into a ring.
//!
//! | path | speed |
//! | --- | --- |
//! | cached | fast unless another processor's cache holds the overwritten lines; the reader finds them in a cache |
//! | streaming | the speed of memory, wherever the lines and the reader are |
//!
//! In a small ring the reader's cache holds each line that is overwritten, which makes the cached path slow. In a
//! ring larger than the caches, or with the reader on the same processor, it is several times as fast. The scheduler
//! may move either side at any time. So some copies are timed, and the other path is tried now and then.
//!
//! A trial takes two laps of the ring, of which the second is timed. In the first the lines are still where the
//! usual path has left them.

use std::time::Duration;

/// The shortest payload with a choice, in bytes. Below it the reader's wait for memory costs more.
pub(super) const LONG: usize = 16 * 1024;

/// One copy in this many is timed: the clock costs up to a tenth of the shortest copy.
const TIMED_EVERY: u32 = 4;
/// Laps of a trial of the other path.
const TRIAL: u64 = 2;
/// Laps until the next trial. Doubled each time the other path is the worse one, up to a limit at which even a
/// path ten times as slow costs a few hundredths.
const TRY_AFTER: u64 = 16;
const TRY_AFTER_MAX: u64 = 512;
/// The cost up to which the cached path is kept, in eighths of the other's: its reader is faster.
const CACHES_MAY_COST: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyPath {
    Cached,
    Streaming,
}

/// The measured costs of both paths from one writer to one reader.
#[derive(Debug)]
pub(super) struct CopyStrategy {
    lap: u64,
    usual: CopyPath,
    /// Picoseconds a byte by the usual path, and in this trial by the other; 0 before the first measurement.
    usual_cost: u64,
    trial_cost: u64,
    /// Bytes since the last trial, or since this one began.
    bytes: u64,
    in_trial: bool,
    /// Laps until the next trial.
    try_after: u64,
    copies: u32,
}

impl CopyStrategy {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            lap: capacity as u64,
            usual: CopyPath::Cached,
            usual_cost: 0,
            trial_cost: 0,
            bytes: 0,
            in_trial: false,
            try_after: TRY_AFTER,
            copies: 0,
        }
    }

    /// Returns the path of the next payload, of `len` bytes, and whether to time it.
    pub(super) fn next(&mut self, len: usize) -> (CopyPath, bool) {
        self.bytes += len as u64;
        self.copies = self.copies.wrapping_add(1);
        if !self.in_trial && self.bytes > self.try_after * self.lap {
            (self.in_trial, self.bytes, self.trial_cost) = (true, 0, 0);
        } else if self.in_trial && self.bytes > TRIAL * self.lap && self.trial_cost > 0 {
            self.end_trial();
        }
        if self.in_trial {
            (self.usual.other(), self.bytes > self.lap)
        } else {
            (self.usual, self.copies.is_multiple_of(TIMED_EVERY))
        }
    }

    /// Notes the time of a copy of `len` bytes.
    pub(super) fn took(&mut self, path: CopyPath, len: usize, time: Duration) {
        let cost = (time.as_nanos() as u64).saturating_mul(1000) / len as u64;
        let known = if path == self.usual { &mut self.usual_cost } else { &mut self.trial_cost };
        *known = match *known {
            0 => cost.max(1),
            // The limit bounds the effect of a copy during which the thread was preempted.
            known => (3 * known + cost.min(2 * known)).div_ceil(4),
        };
    }

    fn end_trial(&mut self) {
        (self.in_trial, self.bytes) = (false, 0);
        let (caches, memory) = match self.usual {
            CopyPath::Cached => (self.usual_cost, self.trial_cost),
            CopyPath::Streaming => (self.trial_cost, self.usual_cost),
        };
        let cached_is_better = 8 * caches <= CACHES_MAY_COST * memory;
        if cached_is_better == (self.usual == CopyPath::Cached) {
            self.try_after = (2 * self.try_after).min(TRY_AFTER_MAX);
        } else {
            (self.usual, self.usual_cost) = (self.usual.other(), self.trial_cost);
            self.try_after = TRY_AFTER;
        }
    }
}

impl CopyPath {
    fn other(self) -> Self {
        match self {
            Self::Cached => Self::Streaming,
            Self::Streaming => Self::Cached,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LAP: usize = 4 * LONG;

    /// Copies for `laps` at these costs in picoseconds a byte. Returns the streamed part in hundredths.
    fn copy(strategy: &mut CopyStrategy, laps: u32, caches: u64, memory: u64) -> u32 {
        let (count, mut past) = (4 * laps, 0);
        for _ in 0..count {
            let (path, timed) = strategy.next(LONG);
            past += u32::from(path == CopyPath::Streaming);
            if timed {
                let cost = if path == CopyPath::Cached { caches } else { memory };
                strategy.took(path, LONG, Duration::from_nanos(cost * LONG as u64 / 1000));
            }
        }
        100 * past / count
    }

    #[test]
    fn the_cheaper_path_is_used_and_the_other_is_tried_ever_more_rarely() {
        let mut strategy = CopyStrategy::new(LAP);
        copy(&mut strategy, 1000, 125, 40);
        assert!(copy(&mut strategy, 10_000, 125, 40) >= 99);
        let mut strategy = CopyStrategy::new(LAP);
        copy(&mut strategy, 1000, 25, 40);
        assert_eq!(copy(&mut strategy, 10_000, 25, 40), 0);
    }

    #[test]
    fn the_cached_path_is_kept_while_it_costs_a_little_more() {
        assert!(copy(&mut CopyStrategy::new(LAP), 1000, 50, 40) < 10);
    }

    #[test]
    fn when_the_costs_change_the_path_changes_too() {
        let mut strategy = CopyStrategy::new(LAP);
        copy(&mut strategy, 10_000, 125, 40);
        // Both processors have come near, or the ring's reader has moved to this one.
        copy(&mut strategy, 2000, 20, 40);
        assert_eq!(strategy.usual, CopyPath::Cached);
        copy(&mut strategy, 2000, 400, 40);
        assert_eq!(strategy.usual, CopyPath::Streaming);
    }

    #[test]
    fn one_interrupted_copy_changes_nothing() {
        let mut strategy = CopyStrategy::new(LAP);
        copy(&mut strategy, 1000, 25, 40);
        strategy.took(CopyPath::Cached, LONG, Duration::from_millis(30));
        copy(&mut strategy, 2000, 25, 40);
        assert_eq!(strategy.usual, CopyPath::Cached);
    }
}
