//! How to wait: spin, park, or learn which of the two pays.
//!
//! Spinning sees a message after a cache-line transfer, some 50 to 100 ns, and burns a core. Parking costs
//! nothing while it lasts and a wake-up by the kernel, 5 to 50 µs, when it ends. Which is right depends
//! on how long the wait will be, and recent waits say that best:
//!
//! ```text
//!  waits have been short   spin up to the ceiling, then park
//!  waits have been long    spin for a moment, then park; every 16th time spin up to the ceiling again
//! ```
//!
//! The moment of spinning before each park, and the occasional long one, let two parked processes find
//! out that they could be talking faster: one that spins answers at once, which the other, still in
//! its moment, sees. A process that waits for nothing parks for good and makes no wake-ups.
//!
//! This module decides; it does not sleep, and looks at no shared memory.

use std::time::{Duration, Instant};

use crate::sync::spin_loop;

/// How a process waits for its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WaitStrategy {
    /// Never sleep: the lowest latency, a whole core.
    Spin,
    /// Spin while that pays, sleep otherwise.
    #[default]
    Adaptive,
    /// Sleep at once: the least CPU time, a wake-up's latency.
    Park,
}

/// Looks between two looks at the clock, which costs as much as several of them.
const LOOKS_PER_CLOCK: u32 = 64;
/// Looks before the processor is told that this is a spin loop: the hint takes up to 50 ns itself.
const EAGER_LOOKS: u32 = 512;
/// The longest that `Adaptive` spins in one wait.
const CEILING: Duration = Duration::from_micros(50);
/// What `Adaptive` spins where waits have been long.
const MOMENT: Duration = Duration::from_micros(3);
/// One wait in so many spins up to the ceiling, whatever has been learned.
const PROBE_EVERY: u32 = 16;
/// A wait counts as no longer than this, so that one pause does not outweigh many short waits.
const SAMPLE_MAX: Duration = Duration::from_micros(200);

/// What to do after a look that found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look again.
    Look,
    /// Look again; the clock has been read, so deadlines can be checked.
    LookAt(Instant),
    /// Stop looking and sleep. The time is now.
    Park(Instant),
}

/// What one thread of waiting has learned, and the wait that is under way.
pub(crate) struct Waiter {
    strategy: WaitStrategy,
    /// The usual length of a wait, as a moving average.
    expected: Duration,
    waits: u32,
    looks: u32,
    /// When this wait began; unknown until the clock is first read.
    began: Option<Instant>,
    budget: Duration,
}

impl Waiter {
    pub(crate) fn new(strategy: WaitStrategy) -> Self {
        let mut waiter = Self {
            strategy,
            expected: Duration::ZERO,
            waits: 0,
            looks: 0,
            began: None,
            budget: Duration::ZERO,
        };
        waiter.budget = waiter.next_budget();
        waiter
    }

    /// Something came: the wait is over, and the next one begins.
    #[inline]
    pub(crate) fn found(&mut self) {
        if self.looks != 0 {
            self.end_wait();
        }
    }

    /// A look found nothing.
    #[inline]
    pub(crate) fn step(&mut self) -> Step {
        self.looks = self.looks.wrapping_add(1);
        if self.looks > EAGER_LOOKS {
            spin_loop();
        }
        if self.strategy != WaitStrategy::Park && !self.looks.is_multiple_of(LOOKS_PER_CLOCK) {
            return Step::Look;
        }
        self.step_by_clock()
    }

    #[cold]
    fn step_by_clock(&mut self) -> Step {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let park = match self.strategy {
            WaitStrategy::Spin => false,
            WaitStrategy::Adaptive => now.duration_since(began) >= self.budget,
            WaitStrategy::Park => true,
        };
        if park { Step::Park(now) } else { Step::LookAt(now) }
    }

    fn end_wait(&mut self) {
        self.looks = 0;
        if self.strategy != WaitStrategy::Adaptive {
            return;
        }
        // A wait that ended before the clock was first read was as short as none.
        let waited = self.began.take().map_or(Duration::ZERO, |began| began.elapsed());
        self.expected = (self.expected * 7 + waited.min(SAMPLE_MAX)) / 8;
        self.waits = self.waits.wrapping_add(1);
        self.budget = self.next_budget();
    }

    fn next_budget(&self) -> Duration {
        let spinning_pays = self.expected < CEILING / 2;
        if spinning_pays || self.waits.is_multiple_of(PROBE_EVERY) { CEILING } else { MOMENT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one wait of `length`, and says for how long it spun.
    fn wait(waiter: &mut Waiter, length: Duration) -> Option<Duration> {
        let began = Instant::now();
        let mut parked = None;
        while began.elapsed() < length {
            if parked.is_none() && matches!(waiter.step(), Step::Park(_)) {
                parked = Some(began.elapsed());
            }
        }
        waiter.found();
        parked
    }

    #[test]
    fn park_parks_at_once_and_spin_never() {
        assert!(matches!(Waiter::new(WaitStrategy::Park).step(), Step::Park(_)));
        assert_eq!(wait(&mut Waiter::new(WaitStrategy::Spin), Duration::from_micros(300)), None);
    }

    #[test]
    fn adaptive_learns_to_park_soon_where_waits_are_long_and_to_spin_again_where_they_are_short() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive);
        for _ in 0..64 {
            wait(&mut waiter, Duration::from_micros(300));
        }
        assert!(waiter.expected > CEILING);
        for _ in 0..64 {
            waiter.step();
            waiter.found();
        }
        assert!(waiter.expected < CEILING / 2);
        assert_eq!(waiter.budget, CEILING);
    }

    #[test]
    fn adaptive_probes_now_and_then_where_waits_are_long() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive);
        waiter.expected = SAMPLE_MAX;
        let budgets = (0..PROBE_EVERY).map(|waits| {
            waiter.waits = waits;
            waiter.next_budget()
        });
        assert_eq!(budgets.filter(|&budget| budget == CEILING).count(), 1);
    }
}
