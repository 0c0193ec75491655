//! Measures the cost to a busy main process of being watched by `ringbridge top`.
//!
//! A renderer invokes as fast as it can. A third process watches, as `top` does, in every other slice. Each slice
//! is compared with the slice before it, since a virtual machine changes within a second. The figure of a slice
//! is the median of batches, each timed as a whole: a single invoke is too short for the clock.

use std::{
    env,
    io::Read,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use ringbridge::Inspector;

use crate::{
    Error, Job, Pair,
    cli::exit,
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
    /// Endpoint that the third process watches.
    #[arg(long, hide = true, value_name = "ENDPOINT")]
    watch: Option<String>,
}

/// The time of a slice: longer than main's pause between two records.
const SLICE: Duration = Duration::from_millis(500);
const BATCH: u64 = 1000;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The most by which the median may grow.
const RATIO_MAX: f64 = 1.02;

/// Runs the whole program, its renderer, or the third process.
pub fn main() -> ExitCode {
    take_part().unwrap_or_else(|| {
        let arguments = Arguments::parse();
        let done = match &arguments.watch {
            Some(endpoint) => watch(endpoint),
            None => measure(arguments.seconds),
        };
        exit("watched", done)
    })
}

fn measure(seconds: f64) -> Result<bool, Error> {
    let mut pair = Pair::launch(Job::alone(Wait::Spin, Backend::Sealed, true)?)?;
    let pairs = (seconds / 2.0 / SLICE.as_secs_f64()).ceil().max(1.0) as usize;
    slice(&mut pair)?;
    let (mut alone, mut watched, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let before = slice(&mut pair)?;
        let watcher = Watcher::launch(&mut pair)?;
        let during = slice(&mut pair)?;
        drop(watcher);
        // Main notices that the watcher is gone.
        pair.invoke_untimed(BATCH)?;
        alone.push(before);
        watched.push(during);
        ratios.push(during / before);
    }
    pair.close()?;
    let [alone, watched] = [&mut alone, &mut watched].map(|medians| quantile(medians, 0.5));
    let [low, ratio, high] = [0.1, 0.5, 0.9].map(|part| quantile(&mut ratios, part));
    println!(
        "invoke, 48 bytes, median of batches of {BATCH}: alone {alone:.1} ns, watched {watched:.1} ns"
    );
    println!("watched / alone: {ratio:.4} ({low:.4} to {high:.4}), of {pairs} pairs of slices");
    let holds = ratio < RATIO_MAX;
    println!("{}", if holds { "holds: less than 1.02" } else { "DOES NOT HOLD: 1.02 or more" });
    Ok(holds)
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

/// The third process.
struct Watcher(Child);

impl Watcher {
    /// Launches it, and keeps main's loop running until it watches.
    fn launch(pair: &mut Pair) -> Result<Self, Error> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--watch", pair.endpoint()]).stdout(Stdio::piped());
        let mut watcher = Self(command.spawn()?);
        let output = watcher.0.stdout.as_mut().ok_or("the watcher has no output")?;
        let watches = thread::scope(|scope| {
            let reading = scope.spawn(|| output.read_exact(&mut [0]).is_ok());
            while !reading.is_finished() {
                pair.invoke_untimed(BATCH)?;
            }
            Ok::<_, Error>(reading.join().unwrap_or(false))
        });
        if watches? { Ok(watcher) } else { Err("the watcher ended".into()) }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It fails only if the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Watches until it is killed or main is gone.
fn watch(endpoint: &str) -> Result<bool, Error> {
    let mut inspector = Inspector::attach(endpoint)?;
    println!("watching");
    loop {
        thread::sleep(LOOK_EVERY);
        inspector.next(Duration::ZERO)?;
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
