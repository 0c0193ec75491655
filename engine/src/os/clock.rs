//! The clock: `CLOCK_MONOTONIC`, which is the same in every process of the machine.
//!
//! Times in shared memory are nanoseconds of this clock. A read costs a good part of a message
//! (docs/performance.md), so callers read it only where they already wait.
//!
//! A sleep ends late by its wake-up and by the thread's *timer slack*, 50 µs by default, within which the kernel
//! joins wake-ups. [`Punctual`] removes the slack while it lives.

use std::time::Instant;

/// Returns the nanoseconds since boot, without suspended time. 0 on Windows, which has no such clock for all processes.
pub(crate) fn now_ns() -> u64 {
    #[cfg(unix)]
    {
        use rustix::time::{ClockId, clock_gettime};
        let now = clock_gettime(ClockId::Monotonic);
        // Neither part is negative for this clock, and 584 years fit.
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
    #[cfg(not(unix))]
    0
}

/// Returns `instant` on the scale of [`now_ns`]; the present for an instant in the past.
pub(super) fn at_ns(instant: Instant) -> u64 {
    let ahead = instant.saturating_duration_since(Instant::now());
    now_ns().saturating_add(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX))
}

/// Returns `instant` for other processes, if they have the same clock.
pub(crate) fn alarm_ns(instant: Instant) -> Option<u64> {
    cfg!(unix).then(|| at_ns(instant))
}

#[cfg(target_os = "linux")]
pub(super) fn timespec_of(span: std::time::Duration) -> rustix::time::Timespec {
    rustix::time::Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

/// This thread's sleeps have no timer slack while this lives. Linux only.
#[derive(Debug)]
pub(crate) struct Punctual {
    /// The slack to restore.
    #[cfg(target_os = "linux")]
    slack: Option<std::num::NonZeroU64>,
}

#[cfg(not(target_os = "linux"))]
impl Punctual {
    pub(crate) fn begin() -> Self {
        Self {}
    }
}

#[cfg(target_os = "linux")]
mod punctual {
    use std::num::NonZeroU64;

    use rustix::thread::{current_timer_slack, set_current_timer_slack};

    use super::Punctual;

    impl Punctual {
        pub(crate) fn begin() -> Self {
            // If either call is refused, sleeps end a little later.
            let usual = current_timer_slack().ok().and_then(NonZeroU64::new);
            let slack = usual.filter(|usual| *usual != NonZeroU64::MIN);
            let changed = slack.is_some() && set_current_timer_slack(Some(NonZeroU64::MIN)).is_ok();
            Self { slack: slack.filter(|_| changed) }
        }
    }

    impl Drop for Punctual {
        fn drop(&mut self) {
            if self.slack.is_some() {
                let _ = set_current_timer_slack(self.slack);
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use rustix::thread::current_timer_slack;

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
