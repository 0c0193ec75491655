//! Periodic work, due at absolute deadlines, so that one delay does not delay everything after it.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

/// A longer delay (the machine was suspended or is overloaded) is skipped; a shorter one is caught up.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// Calls `work` with each message, and with `None` at each interval while it is active: `work` returns whether there is
/// anything to do. Returns at the message `None`, or when all senders are gone.
pub(crate) fn run<T>(
    interval: Duration,
    messages: &Receiver<Option<T>>,
    mut work: impl FnMut(Option<T>) -> bool,
) {
    let mut active: Option<Schedule> = None;
    loop {
        let received = match &active {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(schedule) => messages.recv_timeout(schedule.time_left(Instant::now())),
        };
        let is_active = match received {
            Ok(Some(message)) => work(Some(message)),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => true,
        };
        if !is_active {
            active = None;
            continue;
        }
        let now = Instant::now();
        if active.get_or_insert(Schedule { interval, next: now }).take_due(now) {
            work(None);
        }
    }
}

#[derive(Debug)]
struct Schedule {
    interval: Duration,
    next: Instant,
}

impl Schedule {
    /// Returns whether the work is due. Then the next deadline is one interval later.
    fn take_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        if now.duration_since(self.next) > BEHIND_MAX {
            self.next = now;
        }
        self.next += self.interval;
        true
    }

    fn time_left(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_short_delay_is_caught_up_and_a_long_one_is_skipped() {
        let start = Instant::now();
        let mut schedule = Schedule { interval: MS, next: start };
        let mut due_at = |now| {
            let due = (0..1000).filter(|_| schedule.take_due(now)).count();
            (due, schedule.time_left(now))
        };
        // One delay does not delay the next deadline.
        assert_eq!(due_at(start + MS / 2), (1, MS / 2));
        assert_eq!(due_at(start + MS), (1, MS));
        assert_eq!(due_at(start + 10 * MS), (9, MS));
        assert_eq!(due_at(start + 10 * MS + 2 * BEHIND_MAX), (1, MS));
    }
}
