//! What it costs a busy main process to be watched by `ringbridge top`.
//!
//! A renderer invokes as fast as it can; a third process watches, as `top` does, in every other slice. Each slice is
//! compared with the one before it, since a virtual machine is another one a second later. What is compared
//! is the median of batches, each timed as a whole: a single invoke is too short for this clock.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, ExitCode, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use benches::{Backend, Error, Job, Pair, Pins, Wait, is_renderer, renderer_main};
use clap::Parser;
use ringbridge::Inspector;
use serde_json::json;

/// Measures the invokes of a main process while it is watched, beside those while it is not.
#[derive(Debug, Parser)]
#[command(name = "watched", version)]
struct Arguments {
    /// How long to measure in all.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// How both processes wait.
    #[arg(long, value_enum, default_value_t = Wait::Spin)]
    wait: Wait,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// What the third process is told.
    #[arg(long, hide = true, value_name = "ENDPOINT")]
    watch: Option<String>,
}

/// One slice: longer than main's pause between two records.
const SLICE: Duration = Duration::from_millis(500);
/// Invokes that are timed together.
const BATCH: u64 = 1000;
/// As often as `top` looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How much slower the median may be.
const RATIO_MAX: f64 = 1.02;

fn main() -> ExitCode {
    if is_renderer() {
        return renderer_main();
    }
    let arguments = Arguments::parse();
    let done = match &arguments.watch {
        Some(endpoint) => watch(endpoint).map(|()| true),
        None => measure(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("watched: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<bool, Error> {
    let pins = Pins::choose()?;
    let pair = Pair::launch(Job {
        payload: 48,
        wait: arguments.wait,
        backend: Backend::Sealed,
        pins,
        pinned: true,
    })?;
    let mut watcher = Watcher::launch(pair.endpoint())?;
    let pairs = (arguments.seconds / 2.0 / SLICE.as_secs_f64()).ceil().max(1.0) as usize;
    slice(&pair)?;
    let (mut alone, mut watched, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let before = slice(&pair)?;
        watcher.tell(&pair, "watch")?;
        let during = slice(&pair)?;
        watcher.tell(&pair, "leave")?;
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

/// The median of what an invoke takes in each batch, in nanoseconds.
fn slice(pair: &Pair) -> Result<f64, Error> {
    let began = Instant::now();
    let mut batches = Vec::new();
    while began.elapsed() < SLICE {
        let batch = pair.invoke_untimed(BATCH)?;
        batches.push(batch.elapsed.as_nanos() as f64 / batch.count as f64);
    }
    Ok(quantile(&mut batches, 0.5))
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
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

    /// Gives an order, and keeps main's loop running until it is carried out.
    fn tell(&mut self, pair: &Pair, order: &str) -> Result<(), Error> {
        writeln!(self.orders, "{order}")?;
        loop {
            pair.invoke_untimed(BATCH)?;
            match self.answers.try_recv() {
                Ok(answer) if answer == order => return Ok(()),
                Ok(answer) => return Err(answer.into()),
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => return Err("the watcher ended".into()),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Watches and leaves as it is told, and says so.
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

/// Lines, read in a thread of their own.
fn lines(input: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(input).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut values = [3.0, 1.0, 2.0];
        assert_eq!([0.0, 0.5, 1.0].map(|part| quantile(&mut values, part)), [1.0, 2.0, 3.0]);
    }
}
