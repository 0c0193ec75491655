//! What main pushes: one sample of the machine, with what the receiver needs to measure the way.

/// How many cores are told one by one; all of them are in the total.
pub const CORES_MAX: usize = 64;

ringbridge::payload! {
    /// One push. A percentage of 100 is one core's whole time, and NaN what is not known yet; what
    /// the sampler has not looked at, because it is off, is 0.
    pub struct Statistics {
        /// Counts the pushes to this renderer, from 1. A push for which there was no room has its
        /// number too, so that a gap is a loss.
        pub sequence: u64,
        /// When it was pushed: [`now_ns`](crate::now_ns).
        pub sent_ns: u64,
        /// When the machine was sampled; 0 if it was not.
        pub sampled_ns: u64,
        /// All memory, in bytes.
        pub memory_total: u64,
        /// Memory in use, in bytes.
        pub memory_used: u64,
        /// Memory that programs could still have, in bytes.
        pub memory_available: u64,
        /// All swap space, in bytes.
        pub swap_total: u64,
        /// Swap space in use, in bytes.
        pub swap_used: u64,
        /// The main process's own memory, in bytes.
        pub main_memory: u64,
        /// The main process's own use of cores, in percent of one.
        pub main_cpu_usage: f32,
        /// How busy all cores are on average, in percent.
        pub cpu_usage: f32,
        /// The load average of the last minute.
        pub load_1: f32,
        /// The load average of the last five minutes.
        pub load_5: f32,
        /// The load average of the last quarter of an hour.
        pub load_15: f32,
        /// How many elements of `core_usage` mean something: see [`Statistics::cores`].
        pub core_count: u32,
        /// How busy each core is, in percent.
        pub core_usage: [f32; CORES_MAX],
    }
}

impl Statistics {
    /// How busy each core is, in percent; of the first [`CORES_MAX`] cores.
    pub fn cores(&self) -> &[f32] {
        &self.core_usage[..(self.core_count as usize).min(CORES_MAX)]
    }
}
