//! `scale`: one main process and many renderer processes: the cost of each, and their shares.
//!
//! ```text
//!   main process                          N renderer processes (the same program, launched)
//!   Crowd ────────── order ─────────────▶ stream, send at a pace, invoke, attach, subscribe
//!     ▲  counts messages, by window            │
//!     └───────────── report ───────────────────┘
//! ```
//!
//! No process is pinned: there are more processes than processors, and the scheduler is part of the
//! measurement. Compare figures only within one run.

mod crowd;
mod fan_out;
mod held_flood;
mod measure;
mod renderer;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::{
    Error,
    cli::{exit, number_in, progress},
};

/// Measures one main process with many renderers: memory, connecting, cost and fairness.
#[derive(Debug, Parser)]
#[command(name = "scale", version)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Measure main's side of a publish to many subscribers, against a send to each.
    FanOut,
    /// Measure an invoke beside a renderer that floods and is held to its quota, against one alone.
    HeldFlood {
        /// Quotas of the flood, in frames a second; one line each.
        #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "10000,100000")]
        quotas: Vec<u64>,
    },
}

#[derive(Debug, Args)]
struct How {
    /// Numbers of renderers; one table column each.
    #[arg(
        long, global = true, value_name = "NUMBERS", value_delimiter = ',',
        default_value = "1,8,64,256", value_parser = number_in(1..=10_000_usize),
    )]
    renderers: Vec<usize>,
    /// Time of each timed part.
    #[arg(long, global = true, default_value_t = 2.0, value_parser = number_in(0.05..=3600.0))]
    seconds: f64,
    /// Print one JSON object a line instead of a table.
    #[arg(long, global = true, conflicts_with = "markdown")]
    json: bool,
    /// Print the table as Markdown.
    #[arg(long, global = true)]
    markdown: bool,
}

/// Runs the whole program, or one of its renderers.
pub fn main() -> ExitCode {
    renderer::take_part().unwrap_or_else(|| exit("scale", run(&Arguments::parse()).map(|()| true)))
}

fn run(Arguments { part, how }: &Arguments) -> Result<(), Error> {
    // Renderers of the same terminal end at once; the endpoint's files have to be removed.
    ctrlc::set_handler(crowd::interrupt)?;
    let time = Duration::from_secs_f64(how.seconds);
    match part {
        Some(Part::FanOut) => {
            let measured = for_each(&how.renderers, fan_out::measure)?;
            print(how, &fan_out::judge(measured), fan_out::table)
        }
        Some(Part::HeldFlood { quotas }) => {
            let measured = for_each(quotas, |quota, bar| held_flood::measure(quota, time, bar))?;
            print(how, &measured, held_flood::table)
        }
        None => {
            let measured =
                for_each(&how.renderers, |renderers, bar| measure::measure(renderers, time, bar))?;
            print(how, &measured, measure::table)
        }
    }
}

fn for_each<S: Copy, R>(
    sizes: &[S],
    mut measure: impl FnMut(S, &ProgressBar) -> Result<R, Error>,
) -> Result<Vec<R>, Error> {
    let bar = progress(sizes.len(), "{bar:20} {msg}")?;
    let measured = sizes.iter().map(|&size| {
        let row = measure(size, &bar)?;
        bar.inc(1);
        Ok(row)
    });
    let measured = measured.collect();
    bar.finish_and_clear();
    measured
}

fn print<R: Serialize>(
    how: &How,
    measured: &[R],
    table: fn(&[R], bool) -> String,
) -> Result<(), Error> {
    if !how.json {
        print!("{}", table(measured, how.markdown));
        return Ok(());
    }
    measured.iter().try_for_each(|row| {
        println!("{}", serde_json::to_string(row)?);
        Ok(())
    })
}
