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

use std::time::Duration;

/// Payloads from this length on have two ways. Below it the reader's wait for memory counts for more.
pub(super) const LONG: usize = 16 * 1024;

/// One in so many copies is timed: a look at the clock costs up to a tenth of the shortest.
const TIMED_EVERY: u32 = 4;
/// Copies until the other way is tried. Doubled each time it turns out to be the worse one, up to a limit.
const TRY_AFTER: u32 = 32;
const TRY_AFTER_MAX: u32 = 1024;
/// How many copies in a row a trial is: the first finds the lines where the way before left them.
const TRIAL: u32 = 2;
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
    usual: Way,
    /// Picoseconds a byte; 0 before the first measurement.
    caches: u64,
    memory: u64,
    copies: u32,
    try_after: u32,
    /// Copies that are left of a trial of the other way.
    trial: u32,
}

impl Ways {
    pub(super) fn new() -> Self {
        Self { usual: Way::Caches, caches: 0, memory: 0, copies: 0, try_after: TRY_AFTER, trial: 0 }
    }

    /// How to copy the next payload, and whether to time it.
    pub(super) fn next(&mut self) -> (Way, bool) {
        if self.trial > 0 {
            self.trial -= 1;
            return (self.other(), self.trial == 0);
        }
        self.copies += 1;
        if self.copies >= self.try_after {
            self.copies = 0;
            self.trial = TRIAL - 1;
            return (self.other(), false);
        }
        (self.usual, self.copies.is_multiple_of(TIMED_EVERY))
    }

    /// A copy of `len` bytes was timed.
    pub(super) fn took(&mut self, way: Way, len: usize, time: Duration) {
        let cost = (time.as_nanos() as u64).saturating_mul(1000) / len as u64;
        let known = match way {
            Way::Caches => &mut self.caches,
            Way::Memory => &mut self.memory,
        };
        *known = match *known {
            0 => cost.max(1),
            // A copy that was interrupted counts as twice the usual at the most.
            known => (3 * known + cost.min(2 * known)).div_ceil(4),
        };
        if self.caches == 0 || self.memory == 0 {
            return;
        }
        let better = if 8 * self.caches <= CACHES_MAY_COST * self.memory {
            Way::Caches
        } else {
            Way::Memory
        };
        if better != self.usual {
            self.usual = better;
            self.try_after = TRY_AFTER;
        } else if way != self.usual {
            self.try_after = (2 * self.try_after).min(TRY_AFTER_MAX);
        }
    }

    fn other(&self) -> Way {
        match self.usual {
            Way::Caches => Way::Memory,
            Way::Memory => Way::Caches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies so often where the two ways cost this much, in nanoseconds a kilobyte. Returns how often
    /// memory was used.
    fn copy(ways: &mut Ways, count: u32, caches: u64, memory: u64) -> u32 {
        let mut past = 0;
        for _ in 0..count {
            let (way, timed) = ways.next();
            past += u32::from(way == Way::Memory);
            if timed {
                let cost = if way == Way::Caches { caches } else { memory };
                ways.took(way, LONG, Duration::from_nanos(cost * LONG as u64 / 1000));
            }
        }
        past
    }

    #[test]
    fn the_way_that_is_cheaper_is_used_and_the_other_tried_ever_more_rarely() {
        let mut ways = Ways::new();
        copy(&mut ways, 100, 125, 40);
        assert!(copy(&mut ways, 10_000, 125, 40) > 9_900);
        let mut ways = Ways::new();
        assert!(copy(&mut ways, 10_000, 25, 40) < 100);
    }

    #[test]
    fn caches_are_kept_while_they_cost_a_little_more_since_the_reader_gains() {
        assert!(copy(&mut Ways::new(), 1000, 50, 40) < 50);
    }

    #[test]
    fn when_the_costs_change_the_way_does_too() {
        let mut ways = Ways::new();
        copy(&mut ways, 10_000, 125, 40);
        // Both processors have come near, or the ring's reader has moved to this one.
        copy(&mut ways, 2 * TRY_AFTER_MAX * 4, 20, 40);
        assert_eq!(ways.usual, Way::Caches);
        copy(&mut ways, 2 * TRY_AFTER_MAX * 4, 400, 40);
        assert_eq!(ways.usual, Way::Memory);
    }

    #[test]
    fn one_interrupted_copy_changes_nothing() {
        let mut ways = Ways::new();
        copy(&mut ways, 1000, 25, 40);
        ways.took(Way::Caches, LONG, Duration::from_millis(30));
        assert_eq!(ways.usual, Way::Caches);
    }
}
