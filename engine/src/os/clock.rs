//! The one clock: `CLOCK_MONOTONIC`, which every process of the machine reads alike.
//!
//! Times in shared memory are nanoseconds of this clock. A read costs a good part of a whole message
//! (docs/performance.md), so callers read it only where they already wait.
//!
//! A sleep ends late: by its wake-up, and by the thread's *timer slack*, 50 µs unless set, within which the kernel
//! may put wake-ups together. [`Punctual`] takes the slack away while it lives.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use rustix::thread::{current_timer_slack, set_current_timer_slack};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since boot, not counting sleep.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither part is ever negative for this clock, and 584 years fit.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// `instant` on the scale of [`now_ns`]; an instant in the past gives the present.
pub(super) fn at_ns(instant: Instant) -> u64 {
    let ahead = instant.saturating_duration_since(Instant::now());
    now_ns().saturating_add(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX))
}

/// `instant` as other processes read it.
pub(crate) fn alarm_ns(instant: Instant) -> Option<u64> {
    Some(at_ns(instant))
}

/// A point in time for the kernel.
pub(super) fn timespec_at(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// A span of time for the kernel; what does not fit is longer than anyone waits.
pub(super) fn timespec_of(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

/// While it lives, sleeps of this thread end when they should.
pub(crate) struct Punctual {
    /// The slack to go back to, if it was another.
    slack: Option<NonZeroU64>,
}

impl Punctual {
    pub(crate) fn begin() -> Self {
        // Where either is refused, sleeps end a little later.
        let usual = current_timer_slack().ok().and_then(NonZeroU64::new);
        let slack = usual.filter(|usual| *usual != NonZeroU64::MIN);
        let changed = slack.is_some() && set_current_timer_slack(Some(NonZeroU64::MIN)).is_ok();
        Self { slack: slack.filter(|_| changed) }
    }
}

impl Drop for Punctual {
    fn drop(&mut self) {
        if self.slack.is_some() {
            // It was set a moment ago, so this can be.
            let _ = set_current_timer_slack(self.slack);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_and_the_clock_are_on_one_scale() {
        let before = now_ns();
        let at = at_ns(Instant::now() + Duration::from_secs(10));
        let after = now_ns();

        assert!(at >= before + 9_999_000_000);
        assert!(at <= after + 10_000_000_000);
    }

    #[test]
    fn a_punctual_thread_gets_its_slack_back() {
        let usual = current_timer_slack().unwrap();
        let punctual = Punctual::begin();
        assert_eq!(current_timer_slack().unwrap(), 1);
        drop(punctual);
        assert_eq!(current_timer_slack().unwrap(), usual);
    }

    #[test]
    fn an_instant_in_the_past_is_the_present() {
        let instant = Instant::now();
        let before = now_ns();

        assert!(at_ns(instant) >= before);
    }
}
