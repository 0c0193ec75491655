//! What machine this is.

use crate::text::Text;

ringbridge::payload! {
    /// The answer to [`GET_SYSTEM_INFO`](crate::GET_SYSTEM_INFO).
    pub struct SystemInfo {
        /// All memory, in bytes.
        pub total_memory: u64,
        /// How long the machine has been up, in seconds.
        pub uptime_s: u64,
        /// How many cores the operating system sees.
        pub cores: u32,
        /// The processor's name.
        pub cpu_model: Text<127>,
        /// The operating system and its version.
        pub os: Text<127>,
        /// The kernel's version.
        pub kernel: Text<127>,
        /// The machine's name.
        pub host_name: Text<127>,
        /// Always 0: fills the struct up.
        pub reserved: u32,
    }
}
