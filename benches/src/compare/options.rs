//! The command line.

use std::time::Duration;

use clap::Parser;

use super::run::Plan;
use crate::{
    Error, PAYLOAD_MAX, PAYLOAD_MIN, Pins,
    cli::{Output, number_in},
    pair::job::{Backend, SMALL, Setting, Task, Work},
    peers::{Kind, LEFT_OUT, SUBJECTS, Subject, find},
    units,
};

/// The payloads of round trips and streams by default; and of streams only, one that no ring carries.
const SIZES: [usize; 4] = [SMALL, 1 << 10, 64 << 10, 1 << 20];
const LARGE: usize = 16 << 20;
/// The rates of pushes, and those at which a sender sleeps.
const RATES_HZ: [u64; 3] = [1_000, 10_000, 100_000];
const SLOW_RATES_HZ: [u64; 2] = [1_000, 10_000];

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
    /// Number of slices of each subject at each task.
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
    /// Payloads of round trips and streams, in bytes; 1K and 1M are KiB and MiB [default:
    /// 48,1K,64K,1M, and 16M for streams].
    #[arg(long, value_delimiter = ',', value_parser = parse_size)]
    sizes: Vec<usize>,
    /// Time that a slice measures. Pushes and messages of more than 1 MiB take three times as long, slow
    /// pushes and idling ten times.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.1, value_parser = number_in(0.002..=60.0))]
    seconds_per_slice: f64,
    /// Print one JSON object a line instead of tables: the machine, each cell, each check.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) output: Output,
    /// List the subjects, the tasks and the duration, and measure nothing.
    #[arg(long)]
    pub(super) list: bool,
}

fn parse_size(text: &str) -> Result<usize, String> {
    let end = text.trim_end_matches(|last: char| last.is_ascii_alphabetic()).len();
    let (digits, unit) = text.split_at(end);
    let unit = match unit {
        "" => Some(1),
        "K" | "k" => Some(1 << 10),
        "M" | "m" => Some(1 << 20),
        _ => None,
    };
    match digits.parse::<usize>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit))
    {
        Some(bytes) if (PAYLOAD_MIN..=PAYLOAD_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("it must be from {PAYLOAD_MIN} to {}", units::bytes(PAYLOAD_MAX))),
    }
}

impl Options {
    pub(super) fn plan(&self) -> Result<Plan, Error> {
        let mut subjects: Vec<&'static Subject> = SUBJECTS.iter().collect();
        if !self.only.is_empty() {
            self.only.iter().try_for_each(|name| find(name).map(drop))?;
            subjects.retain(|subject| self.only.iter().any(|name| name == subject.name));
        }
        if let Some(backend) = self.backend {
            subjects.retain(|subject| match subject.kind {
                Kind::Ours(ring) => ring.backend == backend,
                Kind::Floor(_) | Kind::Other(_) => true,
            });
        }
        let mut works = vec![Work::RoundTrip, Work::Stream, Work::Push, Work::Idle];
        works.retain(|work| self.work.is_empty() || self.work.contains(work));
        let mut sizes = self.sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        Ok(Plan {
            subjects,
            tasks: works.into_iter().flat_map(|work| tasks(work, &sizes)).collect(),
            rounds: self.rounds.into(),
            slice: Duration::from_secs_f64(self.seconds_per_slice),
            pins: Pins::choose()?,
        })
    }
}

fn tasks(work: Work, sizes: &[usize]) -> Vec<Task> {
    let chosen = if sizes.is_empty() { &SIZES } else { sizes };
    let usual = Task::new(work, SMALL);
    let mut tasks: Vec<Task> = match work {
        Work::RoundTrip | Work::Stream => {
            chosen.iter().map(|&payload| Task::new(work, payload)).collect()
        }
        Work::Push => RATES_HZ.map(|rate_hz| Task { rate_hz, ..usual }).into(),
        Work::Idle => vec![usual],
    };
    match work {
        Work::RoundTrip if chosen.contains(&SMALL) => {
            tasks.push(Task { setting: Setting::OneCore, ..usual });
        }
        Work::Stream if sizes.is_empty() => tasks.push(Task::new(work, LARGE)),
        Work::Push => tasks.extend(SLOW_RATES_HZ.map(|rate_hz| Task {
            rate_hz,
            setting: Setting::SenderAwake,
            ..usual
        })),
        _ => {}
    }
    tasks
}

pub(super) fn list(plan: &Plan) -> String {
    let mut text = String::from("subjects:\n");
    for subject in &plan.subjects {
        text += &format!("  {:<28} {}\n", subject.name, subject.about);
    }
    for name in LEFT_OUT {
        text += &format!("  {name:<28} not compiled in: build with '--features peers'\n");
    }
    text += "tasks:\n";
    for task in &plan.tasks {
        text += &format!("  {task}\n");
    }
    let minutes = plan.duration().as_secs_f64() / 60.0;
    let (rounds, slices) = (plan.rounds, plan.slices());
    text + &format!("{rounds} rounds, {slices} slices, about {minutes:.1} minutes\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, Error> {
        Options::try_parse_from([&["compare"], arguments].concat())?.plan()
    }

    fn names(arguments: &[&str]) -> Vec<String> {
        plan(arguments).unwrap().tasks.iter().map(Task::to_string).collect()
    }

    #[test]
    fn chosen_subjects_and_tasks_are_planned_once_and_in_the_order_of_the_report() {
        let arguments =
            ["--only", "pipe,bounce", "--work", "idle,stream", "--sizes", "1M,48,1024K"];
        let plan = plan(&arguments).unwrap();
        let subjects: Vec<_> = plan.subjects.iter().map(|subject| subject.name).collect();
        assert_eq!(subjects, ["bounce", "pipe"]);
        assert_eq!(names(&arguments), ["stream 48 B", "stream 1 MiB", "idle"]);
        let listed = list(&plan);
        assert!(listed.contains("pipe") && listed.contains("5 rounds"), "{listed}");
        assert_eq!(
            names(&["--work", "round-trip", "--sizes", "48,1K"]),
            ["round-trip 48 B", "round-trip 1 KiB", "round-trip 48 B, one core"]
        );
        assert_eq!(
            names(&["--work", "push"]),
            [
                "push 1 kHz",
                "push 10 kHz",
                "push 100 kHz",
                "push 1 kHz, sender awake",
                "push 10 kHz, sender awake"
            ]
        );
    }

    #[test]
    fn one_backend_leaves_out_only_the_rows_of_the_other_one() {
        let has = |backend: &str, name: &str| {
            let plan = plan(&["--backend", backend]).unwrap();
            plan.subjects.iter().any(|subject| subject.name == name)
        };
        for (backend, other) in [("sealed", "portable"), ("portable", "sealed")] {
            assert_eq!(has(backend, "ringbridge-spin"), backend == "sealed");
            assert_eq!(has(other, "ringbridge-portable-spin"), other == "portable");
            assert!(has(backend, "futex"));
        }
    }

    #[test]
    fn without_options_everything_is_measured() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.subjects.len(), plan.tasks.len()), (SUBJECTS.len(), 5 + 5 + 5 + 1));
        assert_eq!(names(&["--work", "stream"]).last().unwrap(), "stream 16 MiB");
    }

    #[test]
    fn bad_options_are_refused() {
        for bad in [
            ["--only", "nobody"],
            ["--sizes", "7"],
            ["--sizes", "17M"],
            ["--sizes", "1MK"],
            ["--sizes", "99999999999999999999K"],
            ["--rounds", "0"],
            ["--seconds-per-slice", "0"],
            ["--work", "nothing"],
        ] {
            assert!(plan(&bad).is_err(), "{bad:?}");
        }
    }
}
