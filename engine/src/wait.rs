//! How to wait: spin, park, or learn which of the two pays.
//!
//! Spinning sees a message after a cache-line transfer, some 50 to 100 ns, and burns a core. Parking costs
//! nothing while it lasts and a wake-up by the kernel, 5 to 50 µs, when it ends. Which is right depends
//! on how long the wait will be, and recent waits say that best:
//!
//! ```text
//!  waits have been short   spin up to the ceiling, then park
//!  waits have been long    spin for a moment, then park
//! ```
//!
//! What a parked wait took is not what a spinning one would have: most of a short one is the wake-up
//! itself. So that is taken off before it is learned from. Otherwise two processes that talk quickly, and
//! were both parked by one pause, would go on measuring each other's wake-ups and never spin again. A
//! spin up to the ceiling that was for nothing counts twice.
//!
//! A process that waits for nothing parks for good and makes no wake-ups.
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
/// The longest that `Adaptive` spins in one wait: about what a wake-up costs the two sides together, so
/// that it never loses more than it could have won.
const CEILING: Duration = Duration::from_micros(50);
/// How much of a parked wait was the wake-up: measured are 17 to 45 µs, and more under load.
const WAKE_UP: Duration = Duration::from_micros(60);
/// What `Adaptive` spins where waits have been long.
const MOMENT: Duration = Duration::from_micros(3);
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
    /// The usual length of a wait in nanoseconds, as a moving average.
    expected: u64,
    looks: u32,
    /// When this wait began; unknown until the clock is first read.
    began: Option<Instant>,
    /// For how long it spun before it parked, if it has.
    spun: Option<Duration>,
}

impl Waiter {
    pub(crate) fn new(strategy: WaitStrategy) -> Self {
        Self { strategy, expected: 0, looks: 0, began: None, spun: None }
    }

    /// Something came: the wait is over, and the next one begins.
    #[inline]
    pub(crate) fn found(&mut self) {
        self.looks = 0;
        match self.began.take() {
            // It ended before the clock was first read: as short as none.
            None => self.expected -= self.expected / 8,
            Some(began) => self.learn(began.elapsed()),
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
        let waited = now.duration_since(began);
        let park = match self.strategy {
            WaitStrategy::Spin => false,
            WaitStrategy::Adaptive => self.spun.is_some() || waited >= self.budget(),
            WaitStrategy::Park => true,
        };
        if park {
            self.spun.get_or_insert(waited);
            Step::Park(now)
        } else {
            Step::LookAt(now)
        }
    }

    #[cold]
    fn learn(&mut self, waited: Duration) {
        let sample = match self.spun.take() {
            None => waited,
            Some(spun) if spun >= CEILING => waited.max(2 * CEILING),
            Some(spun) => waited.saturating_sub(WAKE_UP).max(spun),
        };
        let sample = sample.min(SAMPLE_MAX).as_nanos() as u64;
        self.expected = (self.expected * 7 + sample) / 8;
    }

    /// For how long the present wait may spin.
    fn budget(&self) -> Duration {
        if self.expected < CEILING.as_nanos() as u64 { CEILING } else { MOMENT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one wait that something ends after `length`, and says when it parked. Time passes in the
    /// wait as it does for a sleeper: by the clock alone.
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
    fn adaptive_parks_soon_where_waits_are_long_and_spins_again_where_they_are_short() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive);
        for _ in 0..64 {
            wait(&mut waiter, Duration::from_micros(1000));
        }
        assert_eq!(waiter.budget(), MOMENT);
        for _ in 0..64 {
            waiter.step();
            waiter.found();
        }
        assert_eq!(waiter.budget(), CEILING);
    }

    #[test]
    fn a_wait_that_was_mostly_its_own_wake_up_lets_the_next_one_spin() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive);
        waiter.expected = SAMPLE_MAX.as_nanos() as u64;
        let spins_again = (0..64).any(|_| {
            wait(&mut waiter, Duration::from_micros(70));
            waiter.budget() == CEILING
        });
        assert!(spins_again, "expected {} ns", waiter.expected);
    }

    #[test]
    fn a_spin_for_nothing_counts_twice() {
        let mut waiter = Waiter::new(WaitStrategy::Adaptive);
        wait(&mut waiter, CEILING + Duration::from_micros(10));
        assert!(
            waiter.expected >= 2 * CEILING.as_nanos() as u64 / 8,
            "expected {}",
            waiter.expected
        );
    }
}
