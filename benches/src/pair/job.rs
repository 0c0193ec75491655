//! The job of a pair of processes, and how a process learns its own.

use std::{
    env, fmt,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{self, Command, Stdio},
};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    latency::Pattern,
    system::{Pins, keep_to},
    units,
};

pub(crate) const PAYLOAD_MIN: usize = 8;
pub(crate) const PAYLOAD_MAX: usize = 16 << 20;
/// The payload that shares a cache line with Ringbridge's header.
pub(crate) const SMALL: usize = 48;

const VARIABLE: &str = "RINGBRIDGE_BENCH";

/// The wait strategy of both processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wait {
    /// Never sleep.
    Spin,
    /// Spin while that pays.
    Adaptive,
    /// Sleep at once.
    Park,
}

/// The memory and wake-ups that both processes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    /// Sealed memory, futexes and an eventfd: for renderers that are not trusted.
    #[default]
    Sealed,
    /// Named segments and events: for processes that trust each other.
    Portable,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Sealed { "sealed" } else { "portable" })
    }
}

/// A kind of work.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// The renderer asks, main answers with a copy, the next question follows the answer.
    RoundTrip,
    /// Messages go one way as fast as possible; the receiver reads every byte.
    Stream,
    /// Main sends at a fixed rate; the renderer times each message on its way.
    Push,
    /// Both processes are connected, nothing is sent.
    Idle,
}

/// An unusual circumstance of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Setting {
    /// None: each process has a processor, and a sender at a slow rate sleeps in between, as applications do.
    #[default]
    Usual,
    /// The sender at a rate stays awake, so the figures contain neither its own wake-up nor caches that went
    /// cold in its sleep.
    SenderAwake,
    /// Both processes share one processor.
    OneCore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) payload: usize,
    /// The rate of pushes; 0 for other work.
    pub(crate) rate_hz: u64,
    pub(crate) setting: Setting,
}

impl Task {
    pub(crate) const fn new(work: Work, payload: usize) -> Self {
        Self { work, payload, rate_hz: 0, setting: Setting::Usual }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.work {
            Work::RoundTrip => write!(f, "round-trip {}", units::bytes(self.payload))?,
            Work::Stream => write!(f, "stream {}", units::bytes(self.payload))?,
            Work::Push => write!(f, "push {} kHz", self.rate_hz / 1000)?,
            Work::Idle => f.write_str("idle")?,
        }
        f.write_str(match self.setting {
            Setting::Usual => "",
            Setting::SenderAwake => ", sender awake",
            Setting::OneCore => ", one core",
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Chosen {
    Named(String),
    /// Ringbridge by itself, for `latency` and the benchmarks.
    Alone(Wait, Backend),
}

/// The job of a launched process and, in the main process of a slice of the comparison, its times.
pub(super) type Assignment = (Job, Option<[u64; 3]>);

/// The task of a pair, its subject, and its processors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub(crate) subject: Chosen,
    pub(crate) task: Task,
    /// The processors of the two processes; the floor is always measured there.
    pub(crate) pins: Pins,
    /// Whether the subject is pinned too, or runs where the scheduler puts it.
    pub(crate) pinned: bool,
    /// A folder for sockets and files. The run removes it.
    pub(crate) scratch: PathBuf,
    /// The endpoint's name, and the prefix of the names of shared memory.
    pub(crate) prefix: String,
}

impl Job {
    /// Returns the usual job of a benchmark: Ringbridge by itself, pinned, adaptive, over sealed memory. Call it
    /// before the first pair, which pins this process.
    pub fn pinned() -> Result<Self, Error> {
        Self::alone(Wait::Adaptive, Backend::Sealed, true)
    }

    pub(crate) fn alone(wait: Wait, backend: Backend, pinned: bool) -> Result<Self, Error> {
        Ok(Self {
            subject: Chosen::Alone(wait, backend),
            task: Task::new(Work::RoundTrip, SMALL),
            pins: Pins::choose()?,
            pinned,
            scratch: PathBuf::new(),
            prefix: format!("bench-{}", process::id()),
        })
    }

    /// Returns the same job for another pattern and payload.
    pub fn of(&self, pattern: Pattern, payload: usize) -> Self {
        Self { task: Task::new(pattern.work(), payload), ..self.clone() }
    }

    /// Pins this process to the processor where it works, if the job asks for that.
    pub(super) fn pin(&self, processor: usize) -> Result<(), Error> {
        if self.pinned {
            keep_to(&[processor])?;
        }
        Ok(())
    }

    /// Returns a command that runs this program once more with this job and standard input: as the renderer or, with
    /// the times of the warm-up, the measuring and a floor, as the main process of a slice of the comparison.
    pub(crate) fn command(
        &self,
        times_ns: Option<[u64; 3]>,
        stdin: OwnedFd,
    ) -> Result<Command, Error> {
        let assignment = (self, times_ns, process::id());
        let mut command = Command::new(env::current_exe()?);
        command.env(VARIABLE, serde_json::to_string(&assignment)?);
        command.stdin(stdin).stdout(Stdio::null());
        Ok(command)
    }

    /// Returns the job and the times that this process was launched with, if any. The process ends with its parent.
    pub(super) fn of_this_process() -> Result<Option<Assignment>, Error> {
        let Ok(text) = env::var(VARIABLE) else { return Ok(None) };
        let (job, times_ns, parent): (_, _, u32) = serde_json::from_str(&text)?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid().map(|pid| pid.as_raw_pid() as u32) != Some(parent) {
            return Err("the process that launched this one has ended".into());
        }
        Ok(Some((job, times_ns)))
    }
}
