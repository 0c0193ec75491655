//! When something periodic is due: on absolute deadlines, so that being late once does not make all
//! that follows late.

use std::time::{Duration, Instant};

/// What was missed by more than this (the machine was suspended, or has too little time) is skipped;
/// what was missed by less is made up for.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// The deadlines of something periodic.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    next: Instant,
}

impl Schedule {
    /// Due for the first time at `first`.
    pub(crate) fn new(interval: Duration, first: Instant) -> Self {
        Self { interval, next: first }
    }

    /// Whether it is due; if so, the next deadline is one interval later.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        if now.duration_since(self.next) > BEHIND_MAX {
            self.next = now;
        }
        self.next += self.interval;
        true
    }

    /// How long there is nothing to do.
    pub(crate) fn time_left(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn being_late_once_does_not_make_the_next_one_late() {
        let start = Instant::now();
        let mut schedule = Schedule::new(MS, start);
        assert!(schedule.take_due(start + MS / 2));
        assert!(!schedule.take_due(start + MS / 2));
        assert_eq!(schedule.time_left(start + MS / 2), MS / 2);
        assert!(schedule.take_due(start + MS));
    }

    #[test]
    fn a_short_delay_is_made_up_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new(MS, start);
        let now = start + 10 * MS;
        assert_eq!((0..100).filter(|_| schedule.take_due(now)).count(), 11);
    }

    #[test]
    fn a_long_delay_is_skipped() {
        let start = Instant::now();
        let mut schedule = Schedule::new(MS, start);
        let now = start + 2 * BEHIND_MAX;
        assert_eq!((0..100).filter(|_| schedule.take_due(now)).count(), 1);
        assert_eq!(schedule.time_left(now), MS);
    }
}
