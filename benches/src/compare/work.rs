//! What is measured: the kinds of work, the cells of the report, and the job of one slice.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::pins::Pins;

/// A kind of work.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// The renderer asks, main answers with a copy, the next question follows the answer.
    RoundTrip,
    /// As many messages as go through one way; the receiver reads every byte.
    Stream,
    /// Main sends at a fixed rate; the renderer times each message on its way.
    Push,
    /// Both are connected, nothing is sent.
    Idle,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundTrip => "round-trip",
            Self::Stream => "stream",
            Self::Push => "push",
            Self::Idle => "idle",
        })
    }
}

/// What is other than usual about a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Setting {
    /// Nothing: each process has a processor, and who sends at a slow rate sleeps in between, as applications do.
    #[default]
    Usual,
    /// Who sends at a rate stays awake. So nothing but the way is in the figures: no wake-up of the sender's own,
    /// and no caches that went cold in its sleep.
    SenderAwake,
    /// Both processes share one processor.
    OneCore,
}

/// The payload of pushes and of idle pairs, and the smallest of the others: it shares a cache line
/// with Ringbridge's header.
pub(crate) const SMALL: usize = 48;
/// The payloads of round trips and streams, if nothing else is asked for; and of streams only, one that
/// no ring carries.
pub(crate) const SIZES: [usize; 4] = [SMALL, 1 << 10, 64 << 10, 1 << 20];
pub(crate) const LARGE: usize = 16 << 20;
/// The rates of pushes, per second, and those at which the sender would sleep.
pub(crate) const RATES_HZ: [u64; 3] = [1_000, 10_000, 100_000];
const SLOW_RATES_HZ: [u64; 2] = [1_000, 10_000];

/// One task, for every subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The kind.
    pub(crate) work: Work,
    /// The length of each message, in bytes.
    pub(crate) payload: usize,
    /// How often a push is sent; 0 for other work.
    pub(crate) rate_hz: u64,
    pub(crate) setting: Setting,
}

impl Task {
    /// The tasks of these kinds of work, with the usual payloads.
    pub(crate) fn usual(works: &[Work]) -> Vec<Self> {
        let mut tasks = Self::all(works, &SIZES);
        if let Some(last) = tasks.iter().rposition(|task| task.work == Work::Stream) {
            tasks.insert(last + 1, Self { payload: LARGE, ..tasks[last] });
        }
        tasks
    }

    /// The tasks of these kinds of work, with these payloads where the payload varies.
    pub(crate) fn all(works: &[Work], sizes: &[usize]) -> Vec<Self> {
        let mut tasks = Vec::new();
        for &work in works {
            let usual = Self { work, payload: SMALL, rate_hz: 0, setting: Setting::Usual };
            let sized = sizes.iter().map(|&payload| Self { payload, ..usual });
            let paced = |setting| move |&rate_hz: &u64| Self { rate_hz, setting, ..usual };
            match work {
                Work::RoundTrip => {
                    tasks.extend(sized);
                    if sizes.contains(&SMALL) {
                        tasks.push(Self { setting: Setting::OneCore, ..usual });
                    }
                }
                Work::Stream => tasks.extend(sized),
                Work::Push => {
                    tasks.extend(RATES_HZ.iter().map(paced(Setting::Usual)));
                    tasks.extend(SLOW_RATES_HZ.iter().map(paced(Setting::SenderAwake)));
                }
                Work::Idle => tasks.push(usual),
            }
        }
        tasks
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.work {
            Work::RoundTrip | Work::Stream => write!(f, "{} {}", self.work, Bytes(self.payload))?,
            Work::Push if self.rate_hz.is_multiple_of(1000) => {
                write!(f, "push {} kHz", self.rate_hz / 1000)?;
            }
            Work::Push => write!(f, "push {} Hz", self.rate_hz)?,
            Work::Idle => f.write_str("idle")?,
        }
        f.write_str(match self.setting {
            Setting::Usual => "",
            Setting::SenderAwake => ", sender awake",
            Setting::OneCore => ", one core",
        })
    }
}

/// A length for people.
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        match self.0 {
            bytes if bytes >= MIB && bytes.is_multiple_of(MIB) => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes >= KIB && bytes.is_multiple_of(KIB) => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// What a pair of processes does in one slice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The name of the subject.
    pub(crate) subject: String,
    pub(crate) task: Task,
    /// How long the work takes before it counts.
    pub(crate) warm_ns: u64,
    /// How long it is measured.
    pub(crate) time_ns: u64,
    /// How long each of the two floors beside it takes.
    pub(crate) floor_ns: u64,
    pub(crate) pins: Pins,
    /// A folder of this run, for sockets and files. The run removes it.
    pub(crate) scratch: PathBuf,
    /// What the names of shared memory begin with. The run removes what is left of it.
    pub(crate) prefix: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_vary_what_their_work_varies() {
        let names = |works: &[Work]| {
            Task::all(works, &[48, 1024, 1 << 20]).iter().map(Task::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&[Work::Stream]), ["stream 48 B", "stream 1 KiB", "stream 1 MiB"]);
        let usual = Task::usual(&[Work::RoundTrip, Work::Stream, Work::Idle]);
        assert_eq!(usual.len(), SIZES.len() + 1 + SIZES.len() + 1 + 1);
        assert_eq!(usual[9].to_string(), "stream 16 MiB");
        assert_eq!(
            names(&[Work::RoundTrip])[2..],
            ["round-trip 1 MiB", "round-trip 48 B, one core"]
        );
        assert_eq!(
            names(&[Work::Push, Work::Idle]),
            [
                "push 1 kHz",
                "push 10 kHz",
                "push 100 kHz",
                "push 1 kHz, sender awake",
                "push 10 kHz, sender awake",
                "idle"
            ]
        );
    }
}
