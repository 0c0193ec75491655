//! The payload of `statistics`: one sample of the machine, and the time and number of the push.

use rustix::time::{ClockId, clock_gettime};

/// The maximum number of cores with a figure of their own. The total includes all cores.
pub const CORES_MAX: usize = 64;

ringbridge::payload! {
    /// One push. 100 percent is the whole time of one core. An unknown percentage is NaN. While the sampler is off, all
    /// its figures are 0.
    pub struct Statistics {
        /// Counts the pushes to this renderer, from 1. A push that was dropped for lack of space has a number too, so
        /// that a gap is a loss.
        pub sequence: u64,
        /// When the push was sent: [`now_ns`](crate::now_ns).
        pub sent_ns: u64,
        /// When the machine was sampled; 0 if it was not.
        pub sampled_ns: u64,
        /// All memory, in bytes.
        pub memory_total: u64,
        /// Memory in use, in bytes.
        pub memory_used: u64,
        /// Memory that programs can still allocate, in bytes.
        pub memory_available: u64,
        /// All swap space, in bytes.
        pub swap_total: u64,
        /// Swap space in use, in bytes.
        pub swap_used: u64,
        /// The main process's own memory, in bytes.
        pub main_memory: u64,
        /// The main process's own CPU usage, in percent of one core.
        pub main_cpu_usage: f32,
        /// The average usage of all cores, in percent.
        pub cpu_usage: f32,
        /// The load average of the last minute.
        pub load_1: f32,
        /// The load average of the last five minutes.
        pub load_5: f32,
        /// The load average of the last quarter of an hour.
        pub load_15: f32,
        /// The number of valid elements of `core_usage`: see [`Statistics::cores`].
        pub core_count: u32,
        /// The usage of each core, in percent.
        pub core_usage: [f32; CORES_MAX],
    }
}

impl Statistics {
    /// The usage of each of the first [`CORES_MAX`] cores, in percent.
    pub fn cores(&self) -> &[f32] {
        &self.core_usage[..(self.core_count as usize).min(CORES_MAX)]
    }

    /// Returns whether main had sampled the machine.
    pub fn is_sampled(&self) -> bool {
        self.sampled_ns != 0
    }
}

/// Returns `CLOCK_MONOTONIC` in nanoseconds. All processes of one machine read the same value.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither part of this clock is ever negative, and 584 years fit.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
