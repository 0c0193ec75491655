//! The reply to `get-system-info`.

use crate::text::Text;

ringbridge::payload! {
    /// The machine: the reply to [`GET_SYSTEM_INFO`](crate::GET_SYSTEM_INFO).
    #[derive(serde::Serialize)]
    pub struct SystemInfo {
        /// All memory, in bytes.
        pub total_memory: u64,
        /// The time since the machine was started, in seconds.
        pub uptime_s: u64,
        /// The number of cores that the operating system sees.
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
        #[serde(skip)]
        pub reserved: u32,
    }
}
