//! A timer for periodic sends.

use std::{
    marker::PhantomData,
    thread,
    time::{Duration, Instant},
};

use crate::os::clock::Punctual;

/// A timer for periodic sends, such as pushes of statistics.
///
/// Its deadlines are multiples of the interval after the start, so a late tick does not delay the next one. A
/// deadline that passes while the thread is busy is skipped and counted, never caught up: the next statistics
/// replace those that were not sent.
///
/// While it lives, the sleeps of its thread end on time. Without it the kernel may end each of them 50 µs late
/// (the *timer slack*). So it stays on the thread that made it. A renderer with
/// [`WaitStrategy::Adaptive`](crate::WaitStrategy::Adaptive) learns the interval, and is awake when a push comes.
///
/// ```
/// use std::time::Duration;
/// let mut ticker = ringbridge::Ticker::new(Duration::from_millis(1));
/// for _ in 0..3 {
///     ticker.wait();
///     // window.try_send(STATISTICS, &latest)
/// }
/// println!("{} ticks were skipped", ticker.missed());
/// ```
#[derive(Debug)]
pub struct Ticker {
    interval: Duration,
    next: Instant,
    missed: u64,
    _punctual: Punctual,
    /// The timer slack is the thread's.
    _not_send: PhantomData<*const ()>,
}

impl Ticker {
    /// Starts a timer whose first tick is due now.
    ///
    /// # Panics
    ///
    /// If the interval is zero.
    pub fn new(interval: Duration) -> Self {
        assert!(!interval.is_zero(), "a ticker needs an interval");
        Self {
            interval,
            next: Instant::now(),
            missed: 0,
            _punctual: Punctual::begin(),
            _not_send: PhantomData,
        }
    }

    /// Sleeps until the next tick is due, and takes it.
    pub fn wait(&mut self) {
        while !self.take_due() {
            thread::sleep(self.time_left());
        }
    }

    /// Takes the tick that is due. Returns whether there was one. This is for a thread that waits for something
    /// else too, for up to [`time_left`](Self::time_left).
    pub fn take_due(&mut self) -> bool {
        self.take_due_at(Instant::now())
    }

    fn take_due_at(&mut self, now: Instant) -> bool {
        let Some(late) = now.checked_duration_since(self.next) else { return false };
        // A tick that is late by less than an interval is taken; those before it are missed.
        let missed = late.as_nanos() / self.interval.as_nanos();
        self.missed += missed as u64;
        let ahead = self.interval.as_nanos() * (missed + 1);
        self.next += Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX));
        true
    }

    /// Returns the time until the next tick is due; zero if it is.
    pub fn time_left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Returns the number of ticks that were skipped so far.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_late_tick_does_not_delay_the_next_and_whole_intervals_are_skipped_and_counted() {
        let mut ticker = Ticker::new(MS);
        let start = ticker.next;
        let mut taken_at = |after| {
            let now = start + after;
            let taken = (0..100).filter(|_| ticker.take_due_at(now)).count();
            (taken, ticker.next - now, ticker.missed)
        };
        assert_eq!(taken_at(MS / 2), (1, MS / 2, 0));
        assert_eq!(taken_at(MS), (1, MS, 0));
        assert_eq!(taken_at(10 * MS + MS / 4), (1, 3 * MS / 4, 8));
        assert_eq!(taken_at(10 * MS + MS / 2), (0, MS / 2, 8));
    }

    #[test]
    fn a_wait_ends_when_the_tick_is_due() {
        let mut ticker = Ticker::new(5 * MS);
        let began = Instant::now();
        (0..4).for_each(|_| ticker.wait());
        assert!(began.elapsed() >= 15 * MS);
    }
}
