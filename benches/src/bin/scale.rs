//! Measures what many renderers cost one main process.

use std::{process::ExitCode, time::Duration};

use benches::{
    Error, is_renderer,
    scale::{
        Interruption, Plan,
        fan_out::{self, fan_out},
        held_flood::{self, held_flood},
        measure, renderer_main,
        report::table,
    },
};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
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
        /// The flood's quota, in frames a second; one line each.
        #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "10000,100000")]
        quotas: Vec<u64>,
    },
}

#[derive(Debug, Args)]
struct How {
    /// With how many renderers; one table column each.
    #[arg(
        long, global = true, value_name = "NUMBERS", value_delimiter = ',',
        default_value = "1,8,64,256", value_parser = parse_renderers,
    )]
    renderers: Vec<usize>,
    /// How long each timed part takes.
    #[arg(long, global = true, default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Print one JSON object a line instead of a table.
    #[arg(long, global = true, conflicts_with = "markdown")]
    json: bool,
    /// Print the table as Markdown.
    #[arg(long, global = true)]
    markdown: bool,
}

fn parse_renderers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=10_000).contains(&number) => Ok(number),
        _ => Err("it must be a number from 1 to 10000".to_owned()),
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("it must be a number from 0.05 to 3600".to_owned()),
    }
}

fn main() -> ExitCode {
    if is_renderer() {
        return renderer_main();
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { part, how } = arguments;
    let interruption = Interruption::default();
    let requested = interruption.clone();
    // Renderers of the same terminal end at once; the endpoint's files have to be removed.
    ctrlc::set_handler(move || requested.request())?;
    let plan = Plan { time: Duration::from_secs_f64(how.seconds) };
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
                held_flood(quota, &plan, &interruption, |slice| {
                    bar.set_message(format!("{quota} frames a second: slice {slice}"));
                })
            })?;
            print(how, &measured, held_flood::table)
        }
        None => {
            let measured = for_each(&how.renderers, |renderers, bar| {
                measure(renderers, &plan, &interruption, |part| {
                    bar.set_message(format!("{renderers} renderers: {part}"));
                })
            })?;
            print(how, &measured, table)
        }
    }
}

fn for_each<S: Copy, R>(
    sizes: &[S],
    mut measure: impl FnMut(S, &ProgressBar) -> Result<R, Error>,
) -> Result<Vec<R>, Error> {
    let target = ProgressDrawTarget::stderr();
    let bar = ProgressBar::with_draw_target(Some(sizes.len() as u64), target)
        .with_style(ProgressStyle::with_template("{bar:20} {msg}")?);
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
        for row in measured {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        print!("{}", table(measured, how.markdown));
    }
    Ok(())
}
