//! The one clock: `CLOCK_MONOTONIC`, which every process of the machine reads alike.
//!
//! Times that travel in shared memory are nanoseconds of this clock. A read costs some 25 ns, a good
//! part of a whole message, so callers read it only where they already wait.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since boot, not counting sleep.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither part is ever negative for this clock, and 584 years fit.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// `instant` on the scale of [`now_ns`]; an instant in the past gives the present.
pub(crate) fn at_ns(instant: Instant) -> u64 {
    let ahead = instant.saturating_duration_since(Instant::now());
    now_ns().saturating_add(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX))
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
    fn an_instant_in_the_past_is_the_present() {
        let instant = Instant::now();
        let before = now_ns();

        assert!(at_ns(instant) >= before);
    }
}
