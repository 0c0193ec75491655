//! The machine: its description, and samples of its load.
//!
//! A sample takes up to 0.1 ms, so a thread of its own takes them, and pushes do not wait. It rests while there is no
//! window.

use std::{
    error::Error,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use contract::{CORES_MAX, Statistics, SystemInfo, Text, now_ns};
use parking_lot::Mutex;
use ringbridge::zerocopy::FromZeros;
use rustix::time::{ClockId, clock_gettime};
use sysinfo::{
    CpuRefreshKind, LoadAvg, MINIMUM_CPU_UPDATE_INTERVAL, MemoryRefreshKind, Pid, Process,
    ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System,
};

use crate::schedule;

/// Describes the machine. Whatever the operating system does not tell is "unknown".
pub(crate) fn system_info() -> SystemInfo {
    let parts = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(parts).ok();
    let cpus = system.as_ref().map_or(&[][..], System::cpus);
    SystemInfo {
        total_memory: system.as_ref().map_or(0, System::total_memory),
        uptime_s: uptime_s(),
        cores: cpus.len() as u32,
        cpu_model: text(cpus.first().map(|cpu| cpu.brand().to_owned())),
        os: text(System::long_os_version().ok()),
        kernel: text(System::kernel_version().ok()),
        host_name: text(System::host_name().ok()),
        reserved: 0,
    }
}

pub(crate) fn uptime_s() -> u64 {
    // This clock is never negative.
    clock_gettime(ClockId::Boottime).tv_sec as u64
}

fn text<const N: usize>(text: Option<String>) -> Text<N> {
    Text::new(text.as_deref().map(str::trim).filter(|text| !text.is_empty()).unwrap_or("unknown"))
}

/// The sampler's thread, which ends when this is dropped.
pub(crate) struct Sampler {
    latest: Arc<Mutex<Statistics>>,
    activity: Sender<Option<bool>>,
}

impl Sampler {
    /// Starts a sampler that rests.
    pub(crate) fn start(interval: Duration) -> Result<Self, Box<dyn Error>> {
        let mut machine = Machine::new().map_err(|error| {
            format!("cannot sample the machine: {error}; '--sample-interval off' does without")
        })?;
        let latest = Arc::new(Mutex::new(Statistics::new_zeroed()));
        let (activity, changes) = mpsc::channel();
        let published = latest.clone();
        let work = move |change: Option<bool>| {
            if change.is_none() {
                *published.lock() = machine.sample();
            }
            change.unwrap_or(true)
        };
        let sample = move || {
            schedule::run(interval, &changes, work);
        };
        thread::Builder::new().name("sampler".to_owned()).spawn(sample)?;
        Ok(Self { latest, activity })
    }

    pub(crate) fn set_active(&self, is_active: bool) {
        // If the thread has panicked, the latest sample stays.
        let _ = self.activity.send(Some(is_active));
    }

    /// Returns the latest sample, without a sequence number and a time of sending; zeroes before the first.
    pub(crate) fn latest(&self) -> Statistics {
        *self.latest.lock()
    }
}

/// The machine, as `sysinfo` sees it.
struct Machine {
    system: System,
    own: Pid,
    /// Usage is a difference between two samples, a minimum interval apart.
    first_sample: Option<Instant>,
}

impl Machine {
    fn new() -> Result<Self, sysinfo::Error> {
        let own = sysinfo::get_current_pid()?;
        Ok(Self { system: System::new()?, own, first_sample: None })
    }

    fn sample(&mut self) -> Statistics {
        let first = *self.first_sample.get_or_insert_with(Instant::now);
        let usage_known = first.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL;
        let usage = |value: f32| if usage_known { value } else { f32::NAN };
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[self.own]),
            true,
            ProcessRefreshKind::nothing().with_cpu().with_memory(),
        );

        let mut core_usage = [0.0; CORES_MAX];
        let cores = self.system.cpus();
        for (usage_of_core, core) in core_usage.iter_mut().zip(cores) {
            *usage_of_core = usage(core.usage());
        }
        let process = self.system.process(self.own);
        let unknown = LoadAvg { one: f64::NAN, five: f64::NAN, fifteen: f64::NAN };
        let load = System::load_average().unwrap_or(unknown);
        Statistics {
            sequence: 0,
            sent_ns: 0,
            sampled_ns: now_ns(),
            memory_total: self.system.total_memory(),
            memory_used: self.system.used_memory(),
            memory_available: self.system.available_memory(),
            swap_total: self.system.total_swap(),
            swap_used: self.system.used_swap(),
            main_memory: process.map_or(0, Process::memory),
            main_cpu_usage: process.map_or(f32::NAN, |process| usage(process.cpu_usage())),
            cpu_usage: usage(self.system.global_cpu_usage()),
            load_1: load.one as f32,
            load_5: load.five as f32,
            load_15: load.fifteen as f32,
            core_count: cores.len().min(CORES_MAX) as u32,
            core_usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory_and_cores_and_an_unknown_name_is_called_so() {
        let info = system_info();
        assert!(info.total_memory > 0 && info.cores > 0 && info.uptime_s > 0);
        let name = |name: Option<&str>| text::<127>(name.map(str::to_owned)).as_str().to_owned();
        let names = [None, Some("  "), Some(" Linux ")].map(name);
        assert_eq!(names, ["unknown", "unknown", "Linux"]);
    }

    #[test]
    fn the_first_sample_has_no_usage_and_a_later_one_has() {
        let mut machine = Machine::new().unwrap();
        let sample = machine.sample();
        assert!(sample.memory_total > 0 && sample.main_memory > 0);
        assert!(sample.sampled_ns > 0 && sample.core_count > 0);
        assert!(sample.cpu_usage.is_nan());
        machine.first_sample = machine.first_sample.map(|at| at - MINIMUM_CPU_UPDATE_INTERVAL);
        let sample = machine.sample();
        assert!((0.0..=100.0).contains(&sample.cpu_usage));
        assert!(sample.cores().iter().all(|usage| usage.is_finite()));
    }

    #[test]
    fn a_sampler_that_rests_has_no_sample_and_an_active_one_has() {
        let sampler = Sampler::start(Duration::from_secs(3600)).unwrap();
        assert_eq!(sampler.latest().sampled_ns, 0);
        sampler.set_active(true);
        let deadline = Instant::now() + Duration::from_secs(10);
        while sampler.latest().sampled_ns == 0 {
            assert!(Instant::now() < deadline, "no sample within ten seconds");
            thread::yield_now();
        }
    }
}
