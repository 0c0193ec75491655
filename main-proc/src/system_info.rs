//! What machine this is: asked once, at the start, since only its uptime changes.

use contract::{SystemInfo, Text};
use rustix::time::{ClockId, clock_gettime};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// Asks the operating system. What it does not tell is called unknown.
pub(crate) fn collect() -> SystemInfo {
    let parts = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(parts).ok();
    let cpus = system.as_ref().map_or(&[][..], System::cpus);
    SystemInfo {
        total_memory: system.as_ref().map_or(0, System::total_memory),
        uptime_s: uptime_s(),
        cores: cpus.len() as u32,
        cpu_model: text(cpus.first().map(sysinfo::Cpu::brand)),
        os: text(System::long_os_version().ok().as_deref()),
        kernel: text(System::kernel_version().ok().as_deref()),
        host_name: text(System::host_name().ok().as_deref()),
        reserved: 0,
    }
}

/// How long the machine has been up, in seconds.
pub(crate) fn uptime_s() -> u64 {
    // Not negative for this clock.
    clock_gettime(ClockId::Boottime).tv_sec as u64
}

fn text<const N: usize>(text: Option<&str>) -> Text<N> {
    Text::new(text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory_and_cores() {
        let info = collect();
        assert!(info.total_memory > 0 && info.cores > 0 && info.uptime_s > 0);
        assert!(!info.host_name.as_str().is_empty());
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        assert_eq!(text::<127>(None).as_str(), "unknown");
        assert_eq!(text::<127>(Some("  ")).as_str(), "unknown");
        assert_eq!(text::<127>(Some(" Linux ")).as_str(), "Linux");
    }
}
