//! `latency`: one pattern of Ringbridge between two processes, beside the machine's floor.
//!
//! The host moves the virtual processors, and every time changes with them. So floor and subject take
//! turns in short slices, and each slice of the subject is compared with its own floor.

use std::{
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use serde::Serialize;

use crate::{
    Error, Job, Limit, PAYLOAD_MAX, PAYLOAD_MIN, Pair, Slice,
    cli::{Output, exit, number_in, progress},
    pair::{
        job::{Backend, Wait, Work},
        take_part,
    },
    report::{Bar, FLOORS, Machine, OURS, Outlier, Page, Paint, Series, picture},
    stats::{Distribution, quantile},
    units,
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
    /// Exit with 1 if p50 takes more than this many floors.
    #[arg(long, value_name = "FLOORS", value_parser = number_in(0.0..=1e6))]
    ratio_max: Option<f64>,
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
    let ratio = report.figures.ratio_p50;
    let is_over = arguments.ratio_max.filter(|max| ratio > *max);
    if let Some(max) = is_over {
        eprintln!("p50 takes {ratio} floors; the limit is {max}");
    }
    Ok(is_over.is_none())
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

const FLOOR: &str = "bounce";
/// The longest samples of a slice that are kept: of the subject, and of the floor.
const OUTLIERS: [usize; 2] = [2, 1];

#[derive(Debug, Serialize)]
struct Figures {
    pattern: Pattern,
    payload: usize,
    wait: Wait,
    backend: Backend,
    count: u64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    /// Messages a second; for pushes at their pace.
    per_second: u64,
    /// The round trip of a bare cache line between the same two processes, in the same seconds.
    floor_p50_ns: u64,
    /// The subject's p50 in floors: the median over the slices.
    ratio_p50: f64,
    ratio_range: [f64; 2],
    /// The round trip of two bare futexes, for a subject that sleeps in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    futex_floor_p50_ns: Option<u64>,
}

#[derive(Default)]
struct Tally {
    subject: Distribution,
    floor: Distribution,
    futex_floor: Distribution,
    ratios: Vec<f64>,
    /// The longest samples: true for one of the floor, the time of its slice in seconds, and its length in nanoseconds.
    outliers: Vec<(bool, f64, u64)>,
    count: u64,
    elapsed: Duration,
}

struct Report {
    figures: Figures,
    job: Job,
    tally: Tally,
}

impl Tally {
    fn count(&self) -> u64 {
        self.count
    }

    /// Adds a slice of the subject and the floor that was measured just before it, `at` after the run's begin.
    fn add(&mut self, at: Duration, floor: Slice, subject: Slice) {
        self.floor.merge(&floor.all);
        self.subject.merge(&subject.all);
        self.count += subject.count;
        // Pushes follow main's pace.
        self.elapsed += subject.cost.as_ref().map_or(subject.elapsed, |_| subject.main_elapsed);
        for (longest, of_floor, most) in
            [(&subject.longest, false, OUTLIERS[0]), (&floor.longest, true, OUTLIERS[1])]
        {
            let longest = longest.iter().take(most);
            self.outliers.extend(longest.map(|&(_, ns)| (of_floor, at.as_secs_f64(), ns)));
        }
        if let (Some(floor), Some(subject)) = (floor.p50_ns, subject.p50_ns) {
            self.ratios.push(subject as f64 / floor.max(1) as f64);
        }
    }

    fn add_futex_floor(&mut self, slice: &Slice) {
        self.futex_floor.merge(&slice.all);
    }

    fn finish(
        mut self,
        pattern: Pattern,
        (wait, backend): (Wait, Backend),
        job: Job,
    ) -> Result<Report, Error> {
        if self.ratios.is_empty() {
            return Err("nothing was measured: give it more time".into());
        }
        let mut ratio = |part| (quantile(&mut self.ratios, part) * 1000.0).round() / 1000.0;
        let figures = Figures {
            pattern,
            payload: job.task.payload,
            wait,
            backend,
            count: self.count,
            p50_ns: self.subject.at(0.5),
            p99_ns: self.subject.at(0.99),
            p999_ns: self.subject.at(0.999),
            max_ns: self.subject.max(),
            per_second: (self.count as f64 / self.elapsed.as_secs_f64()).round() as u64,
            floor_p50_ns: self.floor.at(0.5),
            ratio_p50: ratio(0.5),
            ratio_range: [ratio(0.05), ratio(0.95)],
            futex_floor_p50_ns: (self.futex_floor.count() > 0).then(|| self.futex_floor.at(0.5)),
        };
        Ok(Report { figures, job, tally: self })
    }
}

impl Report {
    fn write(&self, output: &Output) -> Result<(), Error> {
        let machine = Machine::look(self.job.pins, "latency", ["ringbridge"], &[]);
        let series = self.series();
        output.write(
            || self.page(&machine, &series),
            || picture(&self.title(), &machine.summary(), &series),
        )
    }

    /// Returns the subject, its floor, and the floor of a subject that sleeps.
    fn series(&self) -> Vec<Series<'_>> {
        let Tally { subject, floor, futex_floor, .. } = &self.tally;
        let floors = [Paint::of(FLOORS, 0), Paint::of(FLOORS, 1)];
        let name = self.figures.pattern.name();
        let mut series = vec![Series { name, paint: Paint::of(OURS, 0), all: subject.clone() }];
        for ((name, all), paint) in [(FLOOR, floor), ("futex", futex_floor)].into_iter().zip(floors)
        {
            if all.count() > 0 {
                series.push(Series { name, paint, all: all.clone() });
            }
        }
        series
    }

    fn title(&self) -> String {
        let Figures { pattern, payload, wait, backend, .. } = &self.figures;
        format!("{}, {payload} bytes, {wait:?}, {backend}", pattern.name()).to_lowercase()
    }

    fn page(&self, machine: &Machine, series: &[Series<'_>]) -> Result<String, Error> {
        let figures = &self.figures;
        let mut page = Page::new(&format!("Latency: {}", self.title()));
        let [main, renderer] = machine.pins;
        page.facts(machine.facts(if self.job.pinned {
            format!("main kept to {main}, renderer to {renderer}")
        } else {
            format!("where the scheduler put them; the floor on {main} and {renderer}")
        }));
        page.text(
            "Two processes. Slices of the subject alternate with slices of the floor, a bare cache line that \
             the same two processes bounce. Each slice is compared with the floor before it. A change of \
             both is the machine's.",
        );
        page.section("Figures");
        let count = ("Messages", figures.count.to_string());
        page.facts(
            std::iter::once(count).chain(figures.rows().map(|(name, _, long)| (name, long))),
        );
        let floor = figures.floor_p50_ns.max(1) as f64;
        let bars = series.iter().map(|each| {
            let p50 = each.all.at(0.5) as f64;
            let [least, most] = figures.ratio_range;
            let (value, ends) = if each.name == figures.pattern.name() {
                (figures.ratio_p50, Some((least, most)))
            } else {
                (p50 / floor, None)
            };
            let label = format!("{value:.2} = {}", units::time(p50));
            Bar { name: each.name, paint: each.paint, value, ends, label }
        });
        let bars: Vec<_> = bars.collect();
        page.bars("p50 in floors; the line is where nine of ten slices are", &bars, |value| {
            value.to_string()
        })?;
        page.section("Percentiles and histograms");
        page.percentiles(series)?;
        page.histograms(series)?;
        page.section("Outliers");
        let outliers = self.tally.outliers.iter().map(|&(of_floor, at_s, length_ns)| {
            let &Series { name, paint, .. } = &series[usize::from(of_floor)];
            Outlier { name, paint, at_s, length_ns: length_ns as f64 }
        });
        page.outliers(&outliers.collect::<Vec<_>>())?;
        Ok(page.finish())
    }
}

impl Figures {
    /// Returns the names and values of the figures, short for a terminal and long for a page.
    fn rows(&self) -> impl Iterator<Item = (&'static str, String, String)> {
        let time = |name, ns: u64| {
            let long =
                if ns < 1000 { String::new() } else { format!("{} = ", units::time(ns as f64)) };
            (name, format!("{ns} ns"), format!("{long}{ns} ns"))
        };
        let (rate, ratio) = (self.per_second, format!("{:.3}", self.ratio_p50));
        let rate_long = format!("{} = {rate}", units::count(rate as f64));
        [
            Some(time("p50", self.p50_ns)),
            Some(time("p99", self.p99_ns)),
            Some(time("p99.9", self.p999_ns)),
            Some(time("Longest", self.max_ns)),
            Some(("Messages a second", rate.to_string(), rate_long)),
            Some(time("Floor, p50", self.floor_p50_ns)),
            self.futex_floor_p50_ns.map(|ns| time("Futex floor, p50", ns)),
            Some(("p50 in floors", ratio.clone(), ratio)),
        ]
        .into_iter()
        .flatten()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, payload, wait, backend, count, .. } = self;
        write!(f, "{pattern:?}, {payload} bytes, {wait:?}, {backend}: {count} messages")?;
        self.rows().try_for_each(|(name, value, _)| {
            write!(f, "\n  {:<22}{value:>14}", name.to_lowercase())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::median;

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

    fn slice(samples: &[u64]) -> Slice {
        Slice {
            count: samples.len() as u64,
            elapsed: Duration::from_micros(1),
            all: Distribution::of(samples),
            p50_ns: median(&mut samples.to_vec()),
            longest: samples.iter().map(|&sample| (0, sample)).collect(),
            ..Slice::default()
        }
    }

    fn finish(tally: Tally) -> Result<Report, Error> {
        let job = Job::alone(Wait::Park, Backend::Portable, true)?;
        tally.finish(Pattern::Invoke, (Wait::Park, Backend::Portable), job)
    }

    #[test]
    fn the_ratio_is_the_median_of_the_slices_and_not_that_of_the_sums() {
        let mut tally = Tally::default();
        tally.add(Duration::ZERO, slice(&[100; 3]), slice(&[150; 3]));
        tally.add(Duration::ZERO, slice(&[500; 3]), slice(&[750; 3]));
        tally.add(Duration::ZERO, slice(&[100; 3]), slice(&[90_000; 30]));
        let figures = finish(tally).unwrap().figures;
        assert_eq!((figures.ratio_p50, figures.count), (1.5, 36));
        assert_eq!((figures.ratio_range, figures.futex_floor_p50_ns), ([1.5, 900.0], None));
    }

    #[test]
    fn a_run_without_messages_is_an_error() {
        let mut tally = Tally::default();
        tally.add(Duration::ZERO, slice(&[1]), slice(&[]));
        assert!(finish(tally).is_err());
    }
}
