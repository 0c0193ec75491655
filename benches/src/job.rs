//! What a pair of processes is to be, and how the renderer learns it.

use std::{env, fmt, process::Command};

use ringbridge::{Config, WaitStrategy};
use serde::{Deserialize, Serialize};

use crate::{Error, pins::Pins};

/// The shortest payload: it has room for a stamp.
pub const PAYLOAD_MIN: usize = 8;
/// The longest payload, in bytes.
pub const PAYLOAD_MAX: usize = 16 * 1024 * 1024;

/// The environment variable by which the renderer learns its assignment.
const ASSIGNMENT_VARIABLE: &str = "RINGBRIDGE_BENCH";

/// How both processes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// Never sleep.
    Spin,
    /// Spin while that pays.
    Adaptive,
    /// Sleep at once.
    Park,
}

/// How both processes share memory and wake each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Sealed memory, futexes and an eventfd: for renderers that nobody trusts.
    #[default]
    Sealed,
    /// Named segments and events: for processes that trust each other.
    Portable,
}

impl From<Backend> for ringbridge::Backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Sealed => Self::Sealed,
            Backend::Portable => Self::Portable,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed => "sealed",
            Self::Portable => "portable",
        })
    }
}

/// What a pair of processes is to be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The length of each message, in bytes, from [`PAYLOAD_MIN`] to [`PAYLOAD_MAX`].
    pub payload: usize,
    /// How both processes wait.
    pub wait: Wait,
    /// Main's to choose: the renderer learns it from its launch.
    pub backend: Backend,
    /// Where they run, and where in any case the floor is measured.
    pub pins: Pins,
    /// Whether the subject keeps to those processors too, or runs where the scheduler puts it.
    pub pinned: bool,
}

impl Job {
    /// The engine's settings for it. What goes through a ring must be less than half of it; room for four
    /// messages, in the ring or in attachments, lets a stream flow.
    pub(crate) fn config(&self) -> Config {
        let wait = match self.wait {
            Wait::Spin => WaitStrategy::Spin,
            Wait::Adaptive => WaitStrategy::Adaptive,
            Wait::Park => WaitStrategy::Park,
        };
        let capacity = ring_len(self.payload);
        let attachment_max = 4 * self.payload.max(RING_PAYLOAD_MAX);
        let default = Config::default();
        Config {
            backend: self.backend.into(),
            wait,
            main_capacity: capacity,
            renderer_capacity: capacity,
            attachment_max,
            ..default
        }
    }
}

/// Longer payloads go by attachment.
const RING_PAYLOAD_MAX: usize = 1 << 20;
/// From this length on a stream is better off in a ring that is larger than a processor's own caches.
const LONG: usize = 16 << 10;
const LONG_RING: usize = 4 << 20;

/// The length of a ring that such messages flow through, in bytes.
pub(crate) fn ring_len(payload: usize) -> usize {
    let default = Config::default();
    let default = default.main_capacity.max(default.renderer_capacity);
    match payload {
        LONG..=RING_PAYLOAD_MAX => LONG_RING.max((4 * payload).next_power_of_two()),
        _ if payload < LONG => default.max((4 * payload).next_power_of_two()),
        _ => default,
    }
}

/// A job, and the descriptor of the board that goes with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) job: Job,
    pub(crate) board: i32,
}

impl Assignment {
    /// Hands it to a process that is about to be launched.
    pub(crate) fn give_to(&self, command: &mut Command) -> Result<(), Error> {
        command.env(ASSIGNMENT_VARIABLE, serde_json::to_string(self)?);
        Ok(())
    }

    /// The one that this process was launched with.
    pub(crate) fn of_this_process() -> Result<Self, Error> {
        let text = env::var(ASSIGNMENT_VARIABLE)
            .map_err(|_| format!("{ASSIGNMENT_VARIABLE} is not set"))?;
        Ok(serde_json::from_str(&text)?)
    }
}
