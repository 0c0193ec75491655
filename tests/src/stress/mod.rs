//! Processes that talk in every way at full rate, while they are killed, stopped and starved.
//!
//! ```text
//!   controller ── kills, stops, starves ──▶ main process, renderers
//!      │    ▲
//!      │    └──────── journal: what each was about to do, and has done ◀── written by all
//!      ├─ launches ──▶ main process ── launches ──▶ renderers, which die with it
//!      └─ launches ──▶ renderers that attach by name, and wait for the next main
//! ```
//!
//! Everything that a killed process had committed is known from the `journal`; so whoever lived on can be
//! held to it (`verdict`). What is done to whom is a function of the seed (`schedule`), and so is what
//! the processes choose to send; how they interleave is not.
//!
//! - `controller`: the run. `main_side`, `renderer_side`: who is run.
//! - `messages`: numbered and sealed. `holdings`: what a process holds. `summary`: what is printed.

mod controller;
mod holdings;
mod journal;
mod main_side;
mod messages;
mod renderer_side;
mod schedule;
mod summary;
mod verdict;

use std::{
    env,
    error::Error,
    io::{self, IsTerminal},
    os::fd::RawFd,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, error::ErrorKind};
use ringbridge::Config;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::{
    backend::Over,
    proc,
    processes::{SegmentNames, SweptName, endpoint_files, eventually, unique_name, within},
};
use holdings::{Holdings, Starved, feed};
use journal::{
    Board, Census, Flow, MainPage, Phase, Record, SLOTS_MAX, Shortage, Slot, Stream, Tally, now_ns,
};
use messages::{
    ASK, BLOB, CALL, CAPACITY, CONTRACT, Composer, EVENT, HOLD, Inflow, JOIN, KEEP, LARGE, LAST,
    NEWS, Numbered, Outflow, PATIENT, PUSH, TOPIC_CAPACITY, answer, note_outcome, note_reply,
    note_send, read,
};
use schedule::{Action, ROUND, Schedule};
use summary::Summary;
use verdict::{Counts, Faults, Survivor, judge};

/// Whatever ends one of the processes.
type Failure = Box<dyn Error + Send + Sync>;

/// Longer than any process is ever stopped or starved.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Kills, stops and starves processes that talk, and counts what got lost.
#[derive(Debug, Parser)]
#[command(name = "stress", version, after_help = AFTER_HELP)]
struct Arguments {
    #[arg(long, hide = true, value_parser = |text: &str| serde_json::from_str::<Role>(text))]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

/// What is to be done.
#[derive(Clone, Debug, Args)]
struct Options {
    /// How the processes share memory and wake each other; over portable they are killed and nothing else
    #[arg(long, value_enum, default_value_t)]
    backend: Over,
    /// How many renderers; one in four attaches by name, the others are launched by main and die with it
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = renderers)]
    renderers: usize,
    /// For how long, such as 30s or 10m
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How often somebody is killed, stopped or starved
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = interval)]
    kill_every: Duration,
    /// What chooses who, when and what; without it one is drawn and printed
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Sets the system's clock forward and back, by up to a day, for moments. It is everybody's clock: for
    /// a machine of your own, as root
    #[arg(long)]
    jump_clock: bool,
    /// Prints the summary as one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Three kinds of process: this one, a main process, and its renderers. They send, invoke, push, publish
and attach large payloads as fast as they can. Every message has a number and a checksum; a journal in
shared memory says what a killed process had sent and got. Every 100 actions there is a pause: all
sessions end in order, and main must hold what it held at its beginning.

It must come out with: lost, duplicates, out_of_order, corrupt, violations, leaks, hangs, crashes and
unexpected errors 0. A message is lost if it was committed to a process that lived on, and neither
delivered nor counted. A wait that does not end within 1 s of the other side's death is a hang. Recovery is
the time from a death to the last error that told of it.

Over the portable backend processes trust each other, and the waits of the library that has its events
depend on what any of them does: who is stopped inside an event holds up all who ring it, and a clock that
is set back prolongs a wait. So there they are killed, at any moment, but neither stopped nor starved, and
--jump-clock is refused. Segments of shared memory that are left at the end are leaks. A process that dies
inside an event leaves two threads of its peer behind (left_behind); at most one kill in 20 may.

The same seed does the same things in the same order to the same renderers. How the processes
interleave is never the same.

Examples:
  stress                                        20 seconds
  stress --renderers 8 --kill-every 100ms --duration 10m --seed 1 --json

Exit codes:
  0  everything that must be 0 is
  1  something is not, or it could not be done; the reason is on stderr
  2  bad arguments
  130  ended by Ctrl-C; what had happened by then is printed all the same";

fn renderers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=SLOTS_MAX).contains(&number) => Ok(number),
        _ => Err(format!("it must be a number from 1 to {}", SLOTS_MAX)),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= Duration::from_millis(5) => Ok(interval),
        Ok(_) => Err("5ms is the least: a renderer takes as long to come up".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The part of a process other than the controller, which it gets as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Role {
    Main(MainRole),
    Renderer(RendererRole),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MainRole {
    endpoint: String,
    backend: Over,
    journal: RawFd,
    parent: u32,
    generation: u64,
    renderers: usize,
    /// So many of them attach.
    attached: usize,
    seed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RendererRole {
    endpoint: String,
    backend: Over,
    journal: RawFd,
    parent: u32,
    slot: usize,
    /// `None`: it attaches.
    session: Option<u64>,
    seed: u64,
}

impl Role {
    /// The command that starts this program in the role.
    fn command(&self) -> Command {
        let mut command = Command::new(env::current_exe().expect("a running program has a path"));
        let role = serde_json::to_string(self).expect("a role is a value of JSON");
        command.arg("--role").arg(role).envs(holdings::ALLOCATOR);
        command
    }
}

/// The settings that both sides share.
fn config(backend: Over) -> Config {
    Config {
        backend: backend.into(),
        // A stop of the other side is not the end of it.
        send_timeout: SILENCE_MAX,
        invoke_timeout: SILENCE_MAX,
        ..Config::default()
    }
}

/// Dies when the parent does, however that does.
fn follow_to_death(parent: u32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let still_there = getppid().is_some_and(|id| id.as_raw_nonzero().get() as u32 == parent);
    if still_there { Ok(()) } else { Err("the parent process is gone".into()) }
}

/// The command `stress`.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = arguments.options;
    if options.jump_clock && options.backend == Over::Portable {
        let error = "--jump-clock cannot be used over the portable backend";
        Arguments::command().error(ErrorKind::ArgumentConflict, error).exit();
    }
    let (who, result) = match arguments.role {
        Some(Role::Main(role)) => ("main", main_side::play(role)),
        Some(Role::Renderer(role)) => ("renderer", renderer_side::play(&role)),
        None => ("", run(&options)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("stress {who}: {error}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let show = io::stderr().is_terminal();
    let (summary, interrupted) = controller::run(options, seed, show)?;
    if options.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        print!("{summary}");
    }
    Ok(match (summary.is_good(), interrupted) {
        (_, true) => ExitCode::from(130),
        (true, false) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_command_line_of_the_issue_is_understood() {
        let line = "stress --renderers 8 --duration 10m --kill-every 100ms --seed 7 --json";
        let Arguments { role, options } = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert!(role.is_none());
        assert_eq!((options.renderers, options.seed), (8, Some(7)));
        assert_eq!(options.duration, Duration::from_secs(600));
        assert_eq!(options.kill_every, Duration::from_millis(100));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in ["--renderers 0", "--renderers 9999", "--kill-every 1ms", "--duration x", "y"] {
            let line = std::iter::once("stress").chain(bad.split(' '));
            assert!(Arguments::try_parse_from(line).is_err(), "{bad:?}");
        }
    }
}
