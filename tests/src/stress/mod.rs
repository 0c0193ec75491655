//! Processes that talk in every way at full rate, while they are killed, stopped and starved of memory.
//!
//! ```text
//!   controller ── kills, stops, starves ──▶ main process, renderers
//!      │    ▲
//!      │    └──────── journal: notes of all processes before and after each step
//!      ├─ launches ──▶ main process ── launches ──▶ renderers, which die with it
//!      └─ launches ──▶ renderers that attach by name, and wait for the next main
//! ```
//!
//! The `journal` says what a killed process had committed, so the `verdict` can check what its peer received. The seed
//! determines the actions, their targets (`schedule`) and what each process sends. It does not determine how the
//! processes interleave. The other modules: `controller` is the run, `main_side` and `renderer_side` are the processes,
//! `messages` are numbered and have checksums.

mod controller;
mod journal;
mod main_side;
mod messages;
mod renderer_side;
mod schedule;
mod verdict;

use std::{
    collections::HashMap,
    env,
    error::Error,
    os::fd::RawFd,
    process::{Command, ExitCode},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{CommandFactory, Parser, error::ErrorKind};
use ringbridge::*;
use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use serde::{Deserialize, Serialize};

use crate::{
    backend::Over,
    proc,
    processes::{SegmentNames, SweptName, endpoint_files, eventually, unique_name, within},
};
use journal::{Board, Flow, MainPage, Phase, Record, SLOTS_MAX, Shortage, Slot, Stream, now_ns};
use messages::{
    ASK, BLOB, CALL, CAPACITY, CONTRACT, Composer, EVENT, HOLD, Inflow, JOIN, KEEP, LARGE, LAST,
    NEWS, Numbered, Outflow, PATIENT, PUSH, TOPIC_CAPACITY, answer, note_send, read,
};
use schedule::{Action, ROUND, Schedule, Victim};
use verdict::{Faults, Summary, Survivor, judge};

/// An error that ends one of the processes.
type Fatal = Box<dyn Error + Send + Sync>;

/// Longer than any process is stopped or starved.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Kills, stops and starves processes that talk, and counts what got lost.
#[derive(Clone, Debug, Parser)]
#[command(name = "stress", version, after_help = AFTER_HELP)]
struct Options {
    #[arg(long, hide = true, value_parser = |text: &str| serde_json::from_str::<Role>(text))]
    role: Option<Role>,
    /// How the processes share memory and wake each other; over portable they are killed and nothing else
    #[arg(long, value_enum, default_value_t)]
    backend: Over,
    /// How many renderers; one in four attaches by name, the others are launched by main and die with it
    #[arg(long, value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=SLOTS_MAX as i64))]
    renderers: u16,
    /// For how long, such as 30s or 10m
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How often a process is killed, stopped or starved
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = interval)]
    kill_every: Duration,
    /// Chooses targets, times and actions; without it a seed is drawn and printed
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Sets the system's clock forward and back, by up to a day, for moments. All processes share the clock: for
    /// a machine of your own, as root
    #[arg(long)]
    jump_clock: bool,
    /// Prints the summary as one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Three kinds of process: this one, a main process, and its renderers. They send, invoke, push, publish
and attach large payloads as fast as they can. Every message has a number and a checksum. A journal in
shared memory says what a killed process had sent and received. Every 100 actions there is a pause: all
sessions end in order, and main must hold what it held at its beginning.

These must be 0: lost, duplicates, out_of_order, corrupt, violations, leaks, hangs, crashes and unexpected
errors. A message is lost if it was committed to a process that lived on, and was neither delivered nor
counted. A wait that does not end within 1 s of the peer's death is a hang. Recovery is the time from a
death to the last error that reported it.

Over the portable backend processes trust each other and share the waits of their events: a process that is
stopped inside an event blocks all that ring it, and a clock that is set back prolongs a wait. So there they
are only killed, at any moment, and --jump-clock is refused. Segments of shared memory that are left at the
end are leaks. A process that dies inside an event leaves two threads of its peer behind (left_behind); at
most one kill in 20 may.

The same seed does the same things in the same order to the same renderers. The processes interleave
differently each time.

Examples:
  stress                                        20 seconds
  stress --renderers 8 --kill-every 100ms --duration 10m --seed 1 --json

Exit codes:
  0  everything that must be 0 is
  1  something is not, or it could not be done; the reason is on stderr
  2  bad arguments
  130  ended by Ctrl-C; what had happened by then is printed all the same";

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= Duration::from_millis(5) => Ok(interval),
        Ok(_) => Err("5ms is the least: a renderer takes as long to come up".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The role of a process other than the controller, which it gets as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Role {
    endpoint: String,
    backend: Over,
    journal: RawFd,
    seed: u64,
    renderers: usize,
    parent: u32,
    part: Part,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Part {
    Main {
        generation: u64,
    },
    Renderer {
        slot: usize,
        /// `None`: it attaches.
        session: Option<u64>,
    },
}

impl Role {
    /// The command that starts this program in another part, as a child of this process.
    fn command(&self, part: Part) -> Command {
        let role = Self { parent: std::process::id(), part, ..self.clone() };
        let role = serde_json::to_string(&role).expect("a role is a value of JSON");
        let mut command = Command::new(env::current_exe().expect("a running program has a path"));
        command.arg("--role").arg(role).envs(ALLOCATOR);
        command
    }

    /// The first slots belong to renderers that attach.
    fn attached(&self) -> usize {
        self.renderers / 4
    }
}

fn config(backend: Over) -> Config {
    Config {
        backend: backend.into(),
        // Longer than any process is stopped or starved.
        send_timeout: SILENCE_MAX,
        invoke_timeout: SILENCE_MAX,
        ..Config::default()
    }
}

/// Makes this process die when its parent does.
fn follow_to_death(parent: u32) -> Result<(), Fatal> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let still_there = getppid().is_some_and(|id| id.as_raw_nonzero().get() as u32 == parent);
    if still_there { Ok(()) } else { Err("the parent process is gone".into()) }
}

/// The memory that a process may still map while memory is short: less than a session's rings or a large message take.
const SPARE: u64 = 32 * 1024;
/// The memory that its allocator has in hand then. A program whose allocator fails is aborted, which is not tested here.
const RESERVE: usize = 1 << 20;
const RESERVE_PIECE: usize = 32 * 1024;

/// The environment in which the allocator gives nothing back, so that a reserve stays, and has one heap for all
/// threads.
const ALLOCATOR: [(&str, &str); 4] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "1000000000"),
    ("MALLOC_MMAP_THRESHOLD_", "30000000"),
    ("MALLOC_TOP_PAD_", "1000000"),
];

/// Keeps this process from getting more descriptors, or much more memory, until it is dropped.
struct Starved {
    resource: Resource,
    before: Option<u64>,
}

impl Starved {
    fn of(what: Shortage) -> Option<Self> {
        let reserve: Vec<_> =
            (0..RESERVE / RESERVE_PIECE).map(|_| vec![0_u8; RESERVE_PIECE]).collect();
        let (resource, enough) = match what {
            Shortage::Descriptors => (Resource::Nofile, proc::open_descriptors() as u64),
            Shortage::Memory => (Resource::As, proc::memory().0 + SPARE),
        };
        let before = getrlimit(resource).current;
        set_limit(resource, Some(enough)).ok()?;
        drop(reserve);
        Some(Self { resource, before })
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        // The soft limit was this high before, so it may be again.
        let _ = set_limit(self.resource, self.before);
    }
}

/// Sets the soft limit, which may be raised again up to the hard one.
fn set_limit(resource: Resource, current: Option<u64>) -> rustix::io::Result<()> {
    setrlimit(resource, Rlimit { current, maximum: getrlimit(resource).maximum })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lifts the limits that a starved parent has handed down.
fn feed() {
    for resource in [Resource::Nofile, Resource::As] {
        // Every process may raise its limit up to the hard one.
        let _ = set_limit(resource, getrlimit(resource).maximum);
    }
}

pub fn main() -> ExitCode {
    let options = Options::parse();
    if options.jump_clock && options.backend == Over::Portable {
        let error = "--jump-clock cannot be used over the portable backend";
        Options::command().error(ErrorKind::ArgumentConflict, error).exit();
    }
    let (name, result) = match options.role.as_ref().map(|role| (role, role.part)) {
        Some((role, Part::Main { generation })) => ("main", main_side::play(role, generation)),
        Some((role, Part::Renderer { slot, session })) => {
            ("renderer", renderer_side::play(role, slot, session))
        }
        None => ("", controller::run(&options)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("stress {name}: {error}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_command_line_is_understood() {
        Options::command().debug_assert();
        let line = "stress --renderers 8 --duration 10m --kill-every 100ms --seed 7 --json";
        let options = Options::try_parse_from(line.split(' ')).unwrap();
        assert!(options.role.is_none());
        assert_eq!((options.renderers, options.seed), (8, Some(7)));
        assert_eq!(options.duration, Duration::from_secs(600));
        assert_eq!(options.kill_every, Duration::from_millis(100));
    }

    #[test]
    fn impossible_values_are_refused() {
        for bad in ["--renderers 0", "--renderers 9999", "--kill-every 1ms", "--duration x", "y"] {
            let line = std::iter::once("stress").chain(bad.split(' '));
            assert!(Options::try_parse_from(line).is_err(), "{bad:?}");
        }
    }
}
