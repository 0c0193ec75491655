//! The figures of a run, computed from its slices, and a page with their charts.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::Pattern;
use crate::{
    Error, Job, Slice,
    cli::Output,
    pair::job::{Backend, Wait},
    report::{Bar, FLOORS, Machine, OURS, Outlier, Page, Paint, Series, picture},
    stats::{Distribution, quantile},
    units,
};

const FLOOR: &str = "bounce";
/// The longest samples of a slice that are kept: of the subject, and of the floor.
const OUTLIERS: [usize; 2] = [2, 1];

#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) pattern: Pattern,
    pub(super) payload: usize,
    pub(super) wait: Wait,
    pub(super) backend: Backend,
    pub(super) count: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) p999_ns: u64,
    pub(super) max_ns: u64,
    /// Messages a second; for pushes at their pace.
    pub(super) per_second: u64,
    /// The round trip of a bare cache line between the same two processes, in the same seconds.
    pub(super) floor_p50_ns: u64,
    /// The subject's p50 in floors: the median over the slices.
    pub(super) ratio_p50: f64,
    /// The range of the ratio in nine of ten slices.
    pub(super) ratio_range: [f64; 2],
    /// The round trip of two bare futexes, for a subject that sleeps in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) futex_floor_p50_ns: Option<u64>,
}

#[derive(Default)]
pub(super) struct Tally {
    subject: Distribution,
    floor: Distribution,
    futex_floor: Distribution,
    ratios: Vec<f64>,
    /// Whether a long sample is of the floor, when it began, and its length.
    outliers: Vec<(bool, f64, u64)>,
    count: u64,
    elapsed: Duration,
}

pub(super) struct Report {
    pub(super) figures: Figures,
    job: Job,
    tally: Tally,
}

impl Tally {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds a slice of the subject and the floor that was measured just before it, `at` after the run's begin.
    pub(super) fn add(&mut self, at: Duration, floor: Slice, subject: Slice) {
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

    pub(super) fn add_futex_floor(&mut self, slice: &Slice) {
        self.futex_floor.merge(&slice.all);
    }

    pub(super) fn finish(
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
    pub(super) fn write(&self, output: &Output) -> Result<(), Error> {
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
