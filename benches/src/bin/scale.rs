//! Measures the cost of many renderers to one main process.

use std::{process::ExitCode, time::Duration};

use benches::{
    Error,
    cli::{exit, number_in, print_json, progress},
    scale::{
        Interruption,
        fan_out::{self, fan_out},
        held_flood::{self, held_flood},
        measure,
        report::table,
        take_part,
    },
};
use clap::{Args, Parser, Subcommand};
use indicatif::ProgressBar;
use serde::Serialize;

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

fn main() -> ExitCode {
    take_part().unwrap_or_else(|| exit("scale", run(&Arguments::parse()).map(|()| true)))
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { part, how } = arguments;
    let interruption = Interruption::default();
    let requested = interruption.clone();
    // Renderers of the same terminal end at once; the endpoint's files have to be removed.
    ctrlc::set_handler(move || requested.request())?;
    let time = Duration::from_secs_f64(how.seconds);
    match part {
        Some(Part::FanOut) => {
            let measured = for_each(&how.renderers, |renderers, bar| {
                fan_out(renderers, &interruption, |connected| {
                    bar.set_message(format!("{connected} of {renderers} connected"));
                })
            })?;
            print(how, &fan_out::judge(measured), fan_out::table)
        }
        Some(Part::HeldFlood { quotas }) => {
            let measured = for_each(quotas, |quota, bar| {
                held_flood(quota, time, &interruption, |slice| {
                    bar.set_message(format!("{quota} frames a second: slice {slice}"));
                })
            })?;
            print(how, &measured, held_flood::table)
        }
        None => {
            let measured = for_each(&how.renderers, |renderers, bar| {
                measure(renderers, time, &interruption, |part| {
                    bar.set_message(format!("{renderers} renderers: {part}"));
                })
            })?;
            print(how, &measured, table)
        }
    }
}

/// Measures each size, with a progress bar.
fn for_each<S: Copy, R>(
    sizes: &[S],
    mut measure: impl FnMut(S, &ProgressBar) -> Result<R, Error>,
) -> Result<Vec<R>, Error> {
    let bar = progress(sizes.len(), "{bar:20} {msg}")?;
    let mut measured = Vec::new();
    for &size in sizes {
        measured.push(measure(size, &bar)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(measured)
}

fn print<R: Serialize>(
    how: &How,
    measured: &[R],
    table: fn(&[R], bool) -> String,
) -> Result<(), Error> {
    if how.json {
        return print_json(measured);
    }
    print!("{}", table(measured, how.markdown));
    Ok(())
}
