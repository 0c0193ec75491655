//! The command line.

use std::time::Duration;

use clap::Parser;

use crate::{
    Error, PAYLOAD_MAX, PAYLOAD_MIN, Pins,
    compare::{
        run::Plan,
        work::{Bytes, Task, Work},
    },
    job::Backend,
    peers::{LEFT_OUT, SUBJECTS, find},
    report::Output,
};

/// Measures Ringbridge beside its peers and this machine's floors: the same work between two pinned
/// processes, in short slices that alternate.
///
/// Each slice launches its own two processes, and measures the subject between two slices of the floor,
/// a cache line that is bounced. Figures are medians over the rounds.
#[derive(Debug, Parser)]
#[command(
    name = "compare",
    version,
    after_help = "Examples:\n  \
    compare --list\n  \
    compare --work round-trip --sizes 48 --html report.html\n  \
    compare --only ringbridge-spin,bounce,pipe --rounds 9 --json"
)]
pub(super) struct Options {
    /// How often each subject is visited at each task.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Measure these subjects only.
    #[arg(long, value_name = "SUBJECT", value_delimiter = ',')]
    only: Vec<String>,
    /// Measure Ringbridge over this backend only. Floors and peers stay as they are. [default: over both]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Do this work only.
    #[arg(long, value_enum, value_delimiter = ',')]
    work: Vec<Work>,
    /// The payloads of round trips and streams, in bytes; 1K and 1M are KiB and MiB [default:
    /// 48,1K,64K,1M, and 16M for streams].
    #[arg(long, value_delimiter = ',', value_parser = parse_size)]
    sizes: Vec<usize>,
    /// How long a slice measures; pushes and messages of more than 1 MiB take three times as long, slow pushes
    /// and idling ten times.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.1, value_parser = parse_seconds)]
    seconds_per_slice: f64,
    /// Print one JSON object a line instead of tables: the machine, each cell, each check.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) output: Output,
    /// List the subjects and tasks, and how long they take, and measure nothing.
    #[arg(long)]
    pub(super) list: bool,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    match digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(bytes) if (PAYLOAD_MIN..=PAYLOAD_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("it must be from {PAYLOAD_MIN} to {}", Bytes(PAYLOAD_MAX))),
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.002..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("it must be a number from 0.002 to 60".to_owned()),
    }
}

impl Options {
    pub(super) fn plan(&self) -> Result<Plan, Error> {
        let mut subjects = SUBJECTS.to_vec();
        if !self.only.is_empty() {
            self.only.iter().try_for_each(|name| find(name).map(drop))?;
            subjects.retain(|subject| self.only.iter().any(|name| name == subject.name()));
        }
        if let Some(backend) = self.backend {
            subjects.retain(|subject| subject.backend().is_none_or(|of| of == backend));
        }
        let all = [Work::RoundTrip, Work::Stream, Work::Push, Work::Idle];
        let mut works = all.to_vec();
        works.retain(|work| self.work.is_empty() || self.work.contains(work));
        let mut sizes = self.sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        let tasks = if sizes.is_empty() { Task::usual(&works) } else { Task::all(&works, &sizes) };
        Ok(Plan {
            subjects,
            tasks,
            rounds: self.rounds.into(),
            slice: Duration::from_secs_f64(self.seconds_per_slice),
            pins: Pins::choose()?,
        })
    }
}

/// What there is to measure.
pub(super) fn list(plan: &Plan) -> String {
    let mut text = String::from("subjects:\n");
    for subject in &plan.subjects {
        text += &format!("  {:<28} {}\n", subject.name(), subject.about());
    }
    for name in LEFT_OUT {
        text += &format!("  {name:<28} not compiled in: build with '--features peers'\n");
    }
    text += "tasks:\n";
    for task in &plan.tasks {
        text += &format!("  {task}\n");
    }
    let minutes = plan.duration().as_secs_f64() / 60.0;
    text +=
        &format!("{} rounds, {} slices, about {minutes:.1} minutes\n", plan.rounds, plan.slices());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, Error> {
        Options::try_parse_from([&["compare"], arguments].concat())?.plan()
    }

    #[test]
    fn what_is_chosen_is_planned_once_and_in_the_order_of_the_report() {
        let arguments =
            ["--only", "pipe,bounce", "--work", "idle,stream", "--sizes", "1M,48,1024K"];
        let plan = plan(&arguments).unwrap();
        let names: Vec<_> = plan.subjects.iter().map(|subject| subject.name()).collect();
        assert_eq!(names, ["bounce", "pipe"]);
        let tasks: Vec<_> = plan.tasks.iter().map(Task::to_string).collect();
        assert_eq!(tasks, ["stream 48 B", "stream 1 MiB", "idle"]);
        let listed = list(&plan);
        assert!(listed.contains("pipe") && listed.contains("5 rounds"), "{listed}");
    }

    #[test]
    fn one_backend_leaves_out_the_other_ones_rows_alone() {
        let names = |backend: &str| -> Vec<_> {
            let plan = plan(&["--backend", backend]).unwrap();
            plan.subjects.iter().map(|subject| subject.name()).collect()
        };
        let (sealed, portable) = (names("sealed"), names("portable"));
        assert!(
            sealed.contains(&"ringbridge-spin") && !sealed.contains(&"ringbridge-portable-spin")
        );
        assert!(
            portable.contains(&"ringbridge-portable-spin")
                && !portable.contains(&"ringbridge-spin")
        );
        assert!(sealed.contains(&"futex") && portable.contains(&"futex"));
    }

    #[test]
    fn everything_is_measured_unless_it_is_said_otherwise() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.subjects.len(), plan.tasks.len()), (SUBJECTS.len(), 5 + 5 + 5 + 1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            ["--only", "nobody"],
            ["--sizes", "7"],
            ["--sizes", "17M"],
            ["--sizes", "99999999999999999999K"],
            ["--rounds", "0"],
            ["--seconds-per-slice", "0"],
            ["--work", "nothing"],
        ] {
            assert!(plan(&bad).is_err(), "{bad:?}");
        }
    }
}
