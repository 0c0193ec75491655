//! Measures the cost to a busy main process of being watched by `ringbridge top`.
//!
//! A renderer invokes as fast as it can. A third process watches, as `top` does, in every other slice. Each slice
//! is compared with the slice before it, since a virtual machine changes within a second. The figure of a slice
//! is the median of batches, each timed as a whole: a single invoke is too short for the clock.

use std::{
    env,
    io::{self, Write},
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    time::{Duration, Instant},
};

use clap::Parser;
use ringbridge::Inspector;
use serde_json::json;

use crate::{
    Error, Job, Pair,
    cli::{exit, lines},
    pair::job::{Backend, Wait},
    stats::quantile,
    take_part,
};

/// Measures the invokes of a main process while it is watched, beside those while it is not.
#[derive(Debug, Parser)]
#[command(name = "watched", version)]
struct Arguments {
    /// Time to measure in all.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Wait strategy of both processes.
    #[arg(long, value_enum, default_value_t = Wait::Spin)]
    wait: Wait,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Endpoint that the third process watches.
    #[arg(long, hide = true, value_name = "ENDPOINT")]
    watch: Option<String>,
}

/// The time of a slice: longer than main's pause between two records.
const SLICE: Duration = Duration::from_millis(500);
const BATCH: u64 = 1000;
/// The period in which `top` reads.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The most by which the median may grow.
const RATIO_MAX: f64 = 1.02;

/// Runs the whole program.
pub fn main() -> ExitCode {
    take_part().unwrap_or_else(|| {
        let arguments = Arguments::parse();
        exit(
            "watched",
            match &arguments.watch {
                Some(endpoint) => watch(endpoint).map(|()| true),
                None => measure(&arguments),
            },
        )
    })
}

fn measure(arguments: &Arguments) -> Result<bool, Error> {
    let mut pair = Pair::launch(Job::alone(arguments.wait, Backend::Sealed, true)?)?;
    let mut watcher = Watcher::launch(pair.endpoint())?;
    let pairs = (arguments.seconds / 2.0 / SLICE.as_secs_f64()).ceil().max(1.0) as usize;
    slice(&mut pair)?;
    let (mut alone, mut watched, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let before = slice(&mut pair)?;
        watcher.tell(&mut pair, "watch")?;
        let during = slice(&mut pair)?;
        watcher.tell(&mut pair, "leave")?;
        alone.push(before);
        watched.push(during);
        ratios.push(during / before);
    }
    drop(watcher);
    pair.close()?;
    let [alone, watched] = [&mut alone, &mut watched].map(|medians| quantile(medians, 0.5));
    let [low, ratio, high] = [0.1, 0.5, 0.9].map(|part| quantile(&mut ratios, part));
    if arguments.json {
        let ratios = json!({ "p10": low, "p50": ratio, "p90": high });
        println!(
            "{}",
            json!({ "alone_ns": alone, "watched_ns": watched, "ratio": ratios, "slices": 2 * pairs })
        );
    } else {
        println!(
            "invoke, 48 bytes, median of batches of {BATCH}: alone {alone:.1} ns, watched {watched:.1} ns"
        );
        println!("watched / alone: {ratio:.4} ({low:.4} to {high:.4}), of {pairs} pairs of slices");
        println!(
            "{}",
            if ratio < RATIO_MAX { "holds: less than 1.02" } else { "DOES NOT HOLD: 1.02 or more" }
        );
    }
    Ok(ratio < RATIO_MAX)
}

/// Returns the median of the batches, in nanoseconds for each invoke.
fn slice(pair: &mut Pair) -> Result<f64, Error> {
    let began = Instant::now();
    let mut batches = Vec::new();
    while began.elapsed() < SLICE {
        let batch = pair.invoke_untimed(BATCH)?;
        batches.push(batch.elapsed.as_nanos() as f64 / batch.count as f64);
    }
    Ok(quantile(&mut batches, 0.5))
}

// --- the third process -----------------------------------------------------------------------------

struct Watcher {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Watcher {
    fn launch(endpoint: &str) -> Result<Self, Error> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--watch", endpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("it was asked for")?;
        let answers = lines(child.stdout.take().ok_or("it was asked for")?);
        Ok(Self { child, orders, answers })
    }

    /// Gives an order, and keeps main's loop running until it is obeyed.
    fn tell(&mut self, pair: &mut Pair, order: &str) -> Result<(), Error> {
        writeln!(self.orders, "{order}")?;
        loop {
            pair.invoke_untimed(BATCH)?;
            match self.answers.try_recv() {
                Ok(answer) if answer == order => return Ok(()),
                Ok(answer) => return Err(answer.into()),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err("the watcher ended".into()),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It fails only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Watches and leaves as ordered, and acknowledges each order.
fn watch(endpoint: &str) -> Result<(), Error> {
    let orders = lines(io::stdin());
    let mut inspector = None;
    loop {
        match orders.recv_timeout(LOOK_EVERY) {
            Ok(order) => {
                inspector = (order == "watch").then(|| Inspector::attach(endpoint)).transpose()?;
                println!("{order}");
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(inspector) = &mut inspector {
                    inspector.next(Duration::ZERO)?;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
