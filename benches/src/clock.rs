//! The monotonic clock as a number, so that two processes can compare their readings.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment that is the same for all processes. A reading costs some 25 ns.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither part of a monotonic time is negative.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
