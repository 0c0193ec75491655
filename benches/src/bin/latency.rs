//! Measures one pattern between two processes, beside the machine's floor in the same seconds.
//!
//! A machine whose virtual processors move is another machine a second later. So floor and subject
//! take turns in short slices, and each slice of the subject is compared with its own floor.

use std::{process::ExitCode, time::Instant};

use benches::{
    Backend, Error, Job, Limit, PAYLOAD_MAX, PAYLOAD_MIN, Pair, Pins, Wait, is_renderer,
    latency::{Figures, Pattern, Report, Tally},
    renderer_main,
    report::Output,
};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Measures the latency or throughput of one pattern between a main process and a renderer process.
#[derive(Debug, Parser)]
#[command(name = "latency", version)]
struct Arguments {
    /// What to measure.
    #[arg(long, value_enum, default_value_t = Pattern::Invoke)]
    pattern: Pattern,
    /// The length of each message, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 48, value_parser = parse_payload)]
    payload: usize,
    /// How both processes wait.
    #[arg(long, value_enum, default_value_t = Wait::Adaptive)]
    wait: Wait,
    /// How they share memory and wake each other.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Keep each process to a processor of its own.
    #[arg(long)]
    pin: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    output: Output,
    /// How long to measure in all.
    #[arg(long, default_value_t = 5.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Measure so many messages instead, however long they take.
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// In how many slices.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    slices: u64,
}

/// Of a slice's time, this part goes to each floor.
const FLOOR_PART: f64 = 0.2;
/// The floors of a slice, where the number of messages is given and not the time.
const FLOOR_TIME_NS: u64 = 2_000_000;

fn parse_payload(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (PAYLOAD_MIN..=PAYLOAD_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("it must be a number from {PAYLOAD_MIN} to {PAYLOAD_MAX}")),
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("it must be a number from 0.01 to 86400".to_owned()),
    }
}

fn main() -> ExitCode {
    if is_renderer() {
        return renderer_main();
    }
    let arguments = Arguments::parse();
    match report(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latency: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments) -> Result<(), Error> {
    arguments.output.claim()?;
    let report = measure(arguments)?;
    report.write(&arguments.output)?;
    print(&report.figures, arguments.json)
}

fn measure(arguments: &Arguments) -> Result<Report, Error> {
    let &Arguments { pattern, payload, wait, backend, .. } = arguments;
    let job = Job { payload, wait, backend, pins: Pins::choose()?, pinned: arguments.pin };
    let pair = Pair::launch(job)?;
    let plan = Plan::new(arguments);

    let mut tally = Tally::default();
    let began = Instant::now();
    // Warms up caches, and whatever the engine learns.
    run_slice(&pair, pattern, wait, plan.floor, plan.first, began, &mut Tally::default())?;

    let bar = ProgressBar::with_draw_target(Some(plan.slices), ProgressDrawTarget::stderr())
        .with_style(ProgressStyle::with_template("{wide_bar} {eta}")?);
    for slice in 0..plan.slices {
        let subject = plan.subject(slice, tally.count());
        run_slice(&pair, pattern, wait, plan.floor, subject, began, &mut tally)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    pair.close()?;
    tally.finish(pattern, job)
}

fn run_slice(
    pair: &Pair,
    pattern: Pattern,
    wait: Wait,
    floor_limit: Limit,
    limit: Limit,
    began: Instant,
    tally: &mut Tally,
) -> Result<(), Error> {
    if wait == Wait::Park {
        tally.add_futex_floor(&pair.bounce_futex(floor_limit)?);
    }
    let floor = pair.bounce(floor_limit)?;
    let at = began.elapsed();
    let subject = match pattern {
        Pattern::Invoke => pair.invoke(limit),
        Pattern::Push => pair.push(limit),
        Pattern::Send => pair.send(limit),
    };
    tally.add(at, floor, subject?);
    Ok(())
}

/// How a run is divided into slices.
struct Plan {
    slices: u64,
    floor: Limit,
    first: Limit,
    count: Option<u64>,
}

impl Plan {
    fn new(arguments: &Arguments) -> Self {
        let slices = arguments.count.map_or(arguments.slices, |count| count.min(arguments.slices));
        match arguments.count {
            Some(count) => Self {
                slices,
                floor: Limit { count: u64::MAX, time_ns: FLOOR_TIME_NS },
                first: Limit::count(count.div_ceil(slices)),
                count: Some(count),
            },
            None => {
                let slice_ns = arguments.seconds * 1e9 / slices as f64;
                let floors = if arguments.wait == Wait::Park { 2.0 } else { 1.0 };
                let part =
                    |share: f64| Limit { count: u64::MAX, time_ns: (slice_ns * share) as u64 };
                Self {
                    slices,
                    floor: part(FLOOR_PART),
                    first: part(1.0 - floors * FLOOR_PART),
                    count: None,
                }
            }
        }
    }

    /// How much of the subject a slice has; `done` so far.
    fn subject(&self, slice: u64, done: u64) -> Limit {
        self.count
            .map_or(self.first, |count| Limit::count((count - done).div_ceil(self.slices - slice)))
    }
}

fn print(figures: &Figures, json: bool) -> Result<(), Error> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
    } else {
        println!("{figures}");
    }
    Ok(())
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
