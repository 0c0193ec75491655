//! Two ways to copy a long payload into a ring, and learning which is the better one.
//!
//! ```text
//!   through the caches   fast while the lines that are overwritten lie in no other processor's own
//!                        cache; their reader finds them in a cache
//!   past the caches      at the speed of memory, wherever the lines and the reader are
//! ```
//!
//! In a small ring every line that is written was just read, and lies in its reader's cache, from where it has to be
//! taken away: that is 2 to 8 bytes a nanosecond, by the distance of the two processors, and nothing that the writer
//! does makes it faster. A ring larger than those caches, or a reader on the same processor, makes the first
//! way several times as fast. Neither is known beforehand, and both change when the scheduler (or a host) moves
//! things, so it is measured: now and then a copy is timed, and now and then the other way is tried.
//!
//! A trial takes two laps of the ring, of which the second is timed: in the first the lines are still where the
//! usual way has left them.

use std::time::Duration;

/// Payloads from this length on have two ways. Below it the reader's wait for memory counts for more.
pub(super) const LONG: usize = 16 * 1024;

/// One in so many copies is timed: a look at the clock costs up to a tenth of the shortest.
const TIMED_EVERY: u32 = 4;
/// Laps of a trial of the other way.
const TRIAL: u64 = 2;
/// Laps until the next trial. Doubled each time the other way turns out to be the worse one, up to a limit
/// at which even a way ten times as slow costs a few hundredths.
const TRY_AFTER: u64 = 16;
const TRY_AFTER_MAX: u64 = 512;
/// What the caches may cost more than memory, in eighths: their reader is faster with them.
const CACHES_MAY_COST: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the caches.
    Caches,
    /// Past them.
    Memory,
}

/// What is known of both ways from one writer to one reader.
#[derive(Debug)]
pub(super) struct Ways {
    lap: u64,
    usual: Way,
    /// Picoseconds a byte by the usual way, and in this trial by the other; 0 before the first measurement.
    usual_cost: u64,
    trial_cost: u64,
    /// Bytes since the last trial, or since this one began.
    bytes: u64,
    in_trial: bool,
    /// Laps until the next trial.
    try_after: u64,
    copies: u32,
}

impl Ways {
    /// For a ring of so many bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            lap: capacity as u64,
            usual: Way::Caches,
            usual_cost: 0,
            trial_cost: 0,
            bytes: 0,
            in_trial: false,
            try_after: TRY_AFTER,
            copies: 0,
        }
    }

    /// How to copy the next payload, of `len` bytes, and whether to time it.
    pub(super) fn next(&mut self, len: usize) -> (Way, bool) {
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

    /// A copy of `len` bytes was timed.
    pub(super) fn took(&mut self, way: Way, len: usize, time: Duration) {
        let cost = (time.as_nanos() as u64).saturating_mul(1000) / len as u64;
        let known = if way == self.usual { &mut self.usual_cost } else { &mut self.trial_cost };
        *known = match *known {
            0 => cost.max(1),
            // A copy that was interrupted counts as twice the usual at the most.
            known => (3 * known + cost.min(2 * known)).div_ceil(4),
        };
    }

    fn end_trial(&mut self) {
        (self.in_trial, self.bytes) = (false, 0);
        let (caches, memory) = match self.usual {
            Way::Caches => (self.usual_cost, self.trial_cost),
            Way::Memory => (self.trial_cost, self.usual_cost),
        };
        let better = if 8 * caches <= CACHES_MAY_COST * memory { Way::Caches } else { Way::Memory };
        if better == self.usual {
            self.try_after = (2 * self.try_after).min(TRY_AFTER_MAX);
        } else {
            (self.usual, self.usual_cost) = (better, self.trial_cost);
            self.try_after = TRY_AFTER;
        }
    }
}

impl Way {
    fn other(self) -> Self {
        match self {
            Self::Caches => Self::Memory,
            Self::Memory => Self::Caches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAP: usize = 4 * LONG;

    /// Copies for so many laps where the two ways cost this much, in picoseconds a byte. Returns the part
    /// that went past the caches, in hundredths.
    fn copy(ways: &mut Ways, laps: u32, caches: u64, memory: u64) -> u32 {
        let (count, mut past) = (4 * laps, 0);
        for _ in 0..count {
            let (way, timed) = ways.next(LONG);
            past += u32::from(way == Way::Memory);
            if timed {
                let cost = if way == Way::Caches { caches } else { memory };
                ways.took(way, LONG, Duration::from_nanos(cost * LONG as u64 / 1000));
            }
        }
        100 * past / count
    }

    #[test]
    fn the_way_that_is_cheaper_is_used_and_the_other_tried_ever_more_rarely() {
        let mut ways = Ways::new(LAP);
        copy(&mut ways, 1000, 125, 40);
        assert!(copy(&mut ways, 10_000, 125, 40) >= 99);
        let mut ways = Ways::new(LAP);
        copy(&mut ways, 1000, 25, 40);
        assert_eq!(copy(&mut ways, 10_000, 25, 40), 0);
    }

    #[test]
    fn caches_are_kept_while_they_cost_a_little_more_since_the_reader_gains() {
        assert!(copy(&mut Ways::new(LAP), 1000, 50, 40) < 10);
    }

    #[test]
    fn when_the_costs_change_the_way_does_too() {
        let mut ways = Ways::new(LAP);
        copy(&mut ways, 10_000, 125, 40);
        // Both processors have come near, or the ring's reader has moved to this one.
        copy(&mut ways, 2000, 20, 40);
        assert_eq!(ways.usual, Way::Caches);
        copy(&mut ways, 2000, 400, 40);
        assert_eq!(ways.usual, Way::Memory);
    }

    #[test]
    fn one_interrupted_copy_changes_nothing() {
        let mut ways = Ways::new(LAP);
        copy(&mut ways, 1000, 25, 40);
        ways.took(Way::Caches, LONG, Duration::from_millis(30));
        copy(&mut ways, 2000, 25, 40);
        assert_eq!(ways.usual, Way::Caches);
    }
}
