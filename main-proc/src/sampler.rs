//! Looks at the machine now and then, on a thread of its own: a look takes up to a tenth of a
//! millisecond, and pushes must not wait for it.
//!
//! It rests while there is nobody to push to.

use std::{
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use contract::{CORES_MAX, Statistics, now_ns};
use ringbridge::zerocopy::FromZeros;
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::schedule::Schedule;

/// The handle of the sampler's thread, which ends when this is dropped.
pub(crate) struct Sampler {
    latest: Arc<Mutex<Statistics>>,
    control: Sender<Control>,
}

enum Control {
    Look,
    Rest,
}

impl Sampler {
    /// Starts a sampler that rests.
    pub(crate) fn start(interval: Duration) -> Result<Self, Box<dyn Error>> {
        let cannot = |why: &dyn Error| {
            format!("cannot sample the machine: {why}; '--sample-interval off' goes without")
        };
        let machine = Machine::new().map_err(|error| cannot(&error))?;
        let latest = Arc::new(Mutex::new(Statistics::new_zeroed()));
        let (control, controlled) = mpsc::channel();
        let published = latest.clone();
        thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || sample(machine, interval, &controlled, &published))?;
        Ok(Self { latest, control })
    }

    /// Somebody is interested.
    pub(crate) fn look(&self) {
        self.tell(Control::Look);
    }

    /// Nobody is interested any more.
    pub(crate) fn rest(&self) {
        self.tell(Control::Rest);
    }

    /// The latest sample, without a sequence number or a time of sending; zeroes before the first.
    pub(crate) fn latest(&self) -> Statistics {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, control: Control) {
        // Should the thread be gone, what is there is the latest for good.
        let _ = self.control.send(control);
    }
}

fn sample(
    mut machine: Machine,
    interval: Duration,
    control: &Receiver<Control>,
    latest: &Mutex<Statistics>,
) {
    let mut schedule: Option<Schedule> = None;
    loop {
        let told = match &schedule {
            None => control.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(schedule) => control.recv_timeout(schedule.time_left(Instant::now())),
        };
        match told {
            Ok(Control::Look) => {
                schedule.get_or_insert_with(|| Schedule::new(interval, Instant::now()));
            }
            Ok(Control::Rest) => schedule = None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if schedule.as_mut().is_some_and(|schedule| schedule.take_due(Instant::now())) {
            let sample = machine.sample();
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = sample;
        }
    }
}

/// The machine, as `sysinfo` sees it.
struct Machine {
    system: System,
    own: Pid,
    /// Usage is known from the second look on, and looks closer together than a minimum show nothing new.
    first_look: Option<Instant>,
}

impl Machine {
    fn new() -> Result<Self, sysinfo::Error> {
        let own = sysinfo::get_current_pid()?;
        Ok(Self { system: System::new()?, own, first_look: None })
    }

    fn sample(&mut self) -> Statistics {
        let usage_known = match self.first_look {
            Some(first) => first.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL,
            None => {
                self.first_look = Some(Instant::now());
                false
            }
        };
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
        let load = System::load_average().ok();
        let load = |pick: fn(&sysinfo::LoadAvg) -> f64| {
            load.as_ref().map_or(f32::NAN, |load| pick(load) as f32)
        };
        Statistics {
            sequence: 0,
            sent_ns: 0,
            sampled_ns: now_ns(),
            memory_total: self.system.total_memory(),
            memory_used: self.system.used_memory(),
            memory_available: self.system.available_memory(),
            swap_total: self.system.total_swap(),
            swap_used: self.system.used_swap(),
            main_memory: process.map_or(0, sysinfo::Process::memory),
            main_cpu_usage: process.map_or(f32::NAN, |process| usage(process.cpu_usage())),
            cpu_usage: usage(self.system.global_cpu_usage()),
            load_1: load(|load| load.one),
            load_5: load(|load| load.five),
            load_15: load(|load| load.fifteen),
            core_count: cores.len().min(CORES_MAX) as u32,
            core_usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_knows_the_memory_and_not_yet_the_usage() {
        let sample = Machine::new().unwrap().sample();
        assert!(sample.memory_total > 0 && sample.main_memory > 0);
        assert!(sample.sampled_ns > 0 && sample.core_count > 0);
        assert!(sample.cpu_usage.is_nan());
    }

    #[test]
    fn usage_is_known_when_enough_time_has_passed() {
        let mut machine = Machine::new().unwrap();
        machine.sample();
        machine.first_look = machine.first_look.map(|first| first - MINIMUM_CPU_UPDATE_INTERVAL);
        let sample = machine.sample();
        assert!((0.0..=100.0).contains(&sample.cpu_usage));
        assert!(sample.cores().iter().all(|usage| usage.is_finite()));
    }

    #[test]
    fn a_sampler_that_rests_has_no_sample_and_one_that_looks_has() {
        let sampler = Sampler::start(Duration::from_secs(3600)).unwrap();
        assert_eq!(sampler.latest().sampled_ns, 0);
        sampler.look();
        let deadline = Instant::now() + Duration::from_secs(10);
        while sampler.latest().sampled_ns == 0 {
            assert!(Instant::now() < deadline, "no sample within ten seconds");
            thread::yield_now();
        }
    }
}
