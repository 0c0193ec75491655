//! `latency`: one pattern of Ringbridge between two processes, beside the machine's floor.
//!
//! A virtual machine whose processors move is another machine a second later. So floor and subject take
//! turns in short slices, and each slice of the subject is compared with its own floor.

mod figures;

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use serde::Serialize;

use self::figures::{Report, Tally};
use crate::{
    Error, Job, Limit, PAYLOAD_MAX, PAYLOAD_MIN, Pair,
    cli::{Output, exit, number_in, progress},
    pair::{
        job::{Backend, Wait, Work},
        take_part,
    },
};

/// The pattern to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// A round trip: the renderer's call, main's handler, the reply in the caller's hands.
    Invoke,
    /// One way, from before main's call until the renderer's listener runs.
    Push,
    /// A stream from the renderer, as fast as main takes it; the latencies are those of the calls.
    Send,
}

impl Pattern {
    fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Push => "push",
            Self::Send => "send",
        }
    }

    pub(crate) fn work(self) -> Work {
        match self {
            Self::Invoke => Work::RoundTrip,
            Self::Push => Work::Push,
            Self::Send => Work::Stream,
        }
    }
}

/// Measures the latency or throughput of one pattern between a main process and a renderer process.
#[derive(Debug, Parser)]
#[command(name = "latency", version)]
struct Arguments {
    /// Pattern to measure.
    #[arg(long, value_enum, default_value_t = Pattern::Invoke)]
    pattern: Pattern,
    /// Length of each message, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 48, value_parser = number_in(PAYLOAD_MIN..=PAYLOAD_MAX))]
    payload: usize,
    /// Wait strategy of both processes.
    #[arg(long, value_enum, default_value_t = Wait::Adaptive)]
    wait: Wait,
    /// Shared memory and wake-ups of both processes.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Pin each process to a processor of its own.
    #[arg(long)]
    pin: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    output: Output,
    /// Time to measure in all.
    #[arg(long, default_value_t = 5.0, value_parser = number_in(0.01..=86_400.0))]
    seconds: f64,
    /// Measure this many messages instead, however long they take.
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Number of slices.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    slices: u64,
}

/// The part of a slice's time that each floor takes.
const FLOOR_PART: f64 = 0.2;
/// The time of a floor if the number of messages is given and not the time.
const FLOOR_TIME_NS: u64 = 2_000_000;

/// Runs the whole program, or its renderer.
pub fn main() -> ExitCode {
    take_part().unwrap_or_else(|| exit("latency", report(&Arguments::parse())))
}

fn report(arguments: &Arguments) -> Result<bool, Error> {
    arguments.output.claim()?;
    let report = measure(arguments)?;
    report.write(&arguments.output)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report.figures)?);
    } else {
        println!("{}", report.figures);
    }
    Ok(true)
}

fn measure(arguments: &Arguments) -> Result<Report, Error> {
    let &Arguments { pattern, payload, wait, backend, pin: pinned, .. } = arguments;
    let job = Job::alone(wait, backend, pinned)?.of(pattern, payload);
    let mut pair = Pair::launch(job.clone())?;
    let plan = Plan::new(arguments);
    let began = Instant::now();
    let mut slice = |limit, tally: &mut Tally| -> Result<(), Error> {
        if wait == Wait::Park {
            tally.add_futex_floor(&pair.bounce_futex(plan.floor)?);
        }
        let floor = pair.bounce(plan.floor)?;
        let at = began.elapsed();
        tally.add(at, floor, pair.work(limit)?);
        Ok(())
    };
    // Warms up the caches and the engine's wait strategy.
    slice(plan.first, &mut Tally::default())?;
    let mut tally = Tally::default();
    let bar = progress(plan.slices as usize, "{wide_bar} {eta}")?;
    for number in 0..plan.slices {
        slice(plan.subject(number, tally.count()), &mut tally)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    pair.close()?;
    tally.finish(pattern, (wait, backend), job)
}

struct Plan {
    slices: u64,
    floor: Limit,
    first: Limit,
    count: Option<u64>,
}

impl Plan {
    fn new(arguments: &Arguments) -> Self {
        let slices = arguments.count.map_or(arguments.slices, |count| count.min(arguments.slices));
        let (floor, first) = if let Some(count) = arguments.count {
            (Limit::time(FLOOR_TIME_NS), Limit::count(count.div_ceil(slices)))
        } else {
            let slice_ns = arguments.seconds * 1e9 / slices as f64;
            let floors = if arguments.wait == Wait::Park { 2.0 } else { 1.0 };
            let part = |share: f64| Limit::time((slice_ns * share) as u64);
            (part(FLOOR_PART), part(1.0 - floors * FLOOR_PART))
        };
        Self { slices, floor, first, count: arguments.count }
    }

    /// Returns the subject's limit in a slice, after `done` messages.
    fn subject(&self, slice: u64, done: u64) -> Limit {
        self.count
            .map_or(self.first, |count| Limit::count((count - done).div_ceil(self.slices - slice)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        Plan::new(&Arguments::parse_from([&["latency"], arguments].concat()))
    }

    #[test]
    fn a_given_count_is_kept_whatever_the_slices() {
        for (count, slices) in [("1", "500"), ("1000", "7"), ("12345", "500")] {
            let plan = plan(&["--count", count, "--slices", slices]);
            let done =
                (0..plan.slices).fold(0, |done, slice| done + plan.subject(slice, done).count);
            assert_eq!(done.to_string(), count);
        }
    }

    #[test]
    fn the_time_is_shared_between_floor_and_subject() {
        let plan = plan(&["--seconds", "1", "--slices", "100"]);
        assert_eq!(plan.floor.time_ns, 2_000_000);
        assert_eq!(plan.subject(5, 1000).time_ns, 8_000_000);
    }
}
