//! The figures of a run, computed from its slices, and a page with their charts.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::Pattern;
use crate::{
    Error, Setup, Slice,
    cli::Output,
    pair::job::{Backend, Wait},
    report::{Bar, FLOORS, Machine, OURS, Outlier, Page, Paint, Series, picture},
    stats::{Distribution, quantile},
    units::{Count, Time},
};

/// The name of the bare cache line.
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
    setup: Setup,
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

    pub(super) fn finish(mut self, setup: Setup) -> Result<Report, Error> {
        if self.ratios.is_empty() {
            return Err("nothing was measured: give it more time".into());
        }
        let Setup { pattern, payload, wait, backend, .. } = setup;
        let mut ratio = |part| (quantile(&mut self.ratios, part) * 1000.0).round() / 1000.0;
        let figures = Figures {
            pattern,
            payload,
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
        Ok(Report { figures, setup, tally: self })
    }
}

impl Report {
    pub(super) fn write(&self, output: &Output) -> Result<(), Error> {
        let machine = Machine::look(self.setup.pins, "latency", ["ringbridge"], &[]);
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
        let mut series = vec![Series { name, paint: Paint::of(OURS, 0), all: subject }];
        for ((name, all), paint) in [(FLOOR, floor), ("futex", futex_floor)].into_iter().zip(floors)
        {
            if all.count() > 0 {
                series.push(Series { name, paint, all });
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
        page.facts(machine.facts(if self.setup.pinned {
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
        page.facts(figures.rows());
        let floor = figures.floor_p50_ns.max(1) as f64;
        let bars = series.iter().map(|each| {
            let p50 = each.all.at(0.5) as f64;
            let [least, most] = figures.ratio_range;
            let (value, ends) = if each.name == figures.pattern.name() {
                (figures.ratio_p50, Some((least, most)))
            } else {
                (p50 / floor, None)
            };
            let label = format!("{value:.2} = {}", Time(p50));
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
            let Series { name, paint, .. } = series[usize::from(of_floor)];
            Outlier { name, paint, at_s, length_ns: length_ns as f64 }
        });
        page.outliers(&outliers.collect::<Vec<_>>())?;
        Ok(page.finish())
    }
}

impl Figures {
    fn rows(&self) -> impl Iterator<Item = (&'static str, String)> {
        let time = |ns: u64| match ns {
            0..1000 => format!("{ns} ns"),
            _ => format!("{} = {ns} ns", Time(ns as f64)),
        };
        let per_second = format!("{} = {}", Count(self.per_second as f64), self.per_second);
        [
            ("Messages", Some(self.count.to_string())),
            ("p50", Some(time(self.p50_ns))),
            ("p99", Some(time(self.p99_ns))),
            ("p99.9", Some(time(self.p999_ns))),
            ("Longest", Some(time(self.max_ns))),
            ("Messages a second", Some(per_second)),
            ("Floor, p50", Some(time(self.floor_p50_ns))),
            ("Futex floor, p50", self.futex_floor_p50_ns.map(time)),
            ("p50 in floors", Some(format!("{:.3}", self.ratio_p50))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, payload, wait, backend, count, .. } = self;
        writeln!(f, "{pattern:?}, {payload} bytes, {wait:?}, {backend}: {count} messages")?;
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<22}{value:>14}");
        row("p50", format!("{} ns", self.p50_ns))?;
        row("p99", format!("{} ns", self.p99_ns))?;
        row("p99.9", format!("{} ns", self.p999_ns))?;
        row("longest", format!("{} ns", self.max_ns))?;
        row("messages a second", self.per_second.to_string())?;
        row("floor, p50", format!("{} ns", self.floor_p50_ns))?;
        if let Some(futex) = self.futex_floor_p50_ns {
            row("futex floor, p50", format!("{futex} ns"))?;
        }
        write!(f, "  {:<22}{:>14.3}", "p50 in floors", self.ratio_p50)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pins, report::tests::assert_well_formed, stats::median};

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

    const SETUP: Setup = Setup {
        pattern: Pattern::Invoke,
        payload: 48,
        wait: Wait::Park,
        backend: Backend::Portable,
        pins: Pins { main: 0, renderer: 1 },
        pinned: true,
    };

    #[test]
    fn the_ratio_is_the_median_of_the_slices_and_not_that_of_the_sums() {
        let mut tally = Tally::default();
        tally.add(Duration::ZERO, slice(&[100; 3]), slice(&[150; 3]));
        tally.add(Duration::ZERO, slice(&[500; 3]), slice(&[750; 3]));
        tally.add(Duration::ZERO, slice(&[100; 3]), slice(&[90_000; 30]));
        let figures = tally.finish(SETUP).unwrap().figures;
        assert_eq!((figures.ratio_p50, figures.count), (1.5, 36));
        assert_eq!((figures.ratio_range, figures.futex_floor_p50_ns), ([1.5, 900.0], None));
    }

    #[test]
    fn a_run_without_messages_is_an_error() {
        let mut tally = Tally::default();
        tally.add(Duration::ZERO, slice(&[1]), slice(&[]));
        assert!(tally.finish(SETUP).is_err());
    }

    #[test]
    fn the_page_shows_the_figures_of_the_json() {
        let mut tally = Tally::default();
        for at in 1..=20 {
            tally.add_futex_floor(&slice(&[43_000; 5]));
            let subject: Vec<u64> = (0..1000).map(|number| 50_000 + 10 * number + at).collect();
            tally.add(Duration::from_millis(at), slice(&[120; 50]), slice(&subject));
        }
        let report = tally.finish(SETUP).unwrap();
        let machine = Machine::look(SETUP.pins, "latency", ["ringbridge"], &[]);
        let page = report.page(&machine, &report.series()).unwrap();
        assert_well_formed(&page);

        let json = serde_json::to_value(&report.figures).unwrap();
        for (name, key) in [
            ("p50", "p50_ns"),
            ("p99", "p99_ns"),
            ("p99.9", "p999_ns"),
            ("Longest", "max_ns"),
            ("Floor, p50", "floor_p50_ns"),
            ("Futex floor, p50", "futex_floor_p50_ns"),
        ] {
            let row = page.lines().find(|line| line.starts_with(&format!("<tr><th>{name}</th>")));
            let said = format!(" {} ns</td></tr>", json[key]);
            let row = row.expect(name).replace("<td>", " ");
            assert!(row.ends_with(&said), "{row:?} does not end with {said:?}");
        }
        assert!(page.contains(&format!("<td>{:.3}</td>", json["ratio_p50"].as_f64().unwrap())));
        assert!(page.contains(&format!("<th>Messages</th><td>{}</td>", json["count"])));
        assert_eq!(json["backend"], "portable");
        assert!(page.contains("48 bytes, park, portable"));
        assert!(page.contains(&machine.command) && page.contains(&machine.kernel));
        for name in ["invoke", "bounce", "futex"] {
            assert!(page.contains(&format!("\n{name} ")), "{name} is not named");
            assert!(page.contains(&format!("<figcaption>{name}, ")), "{name} has no histogram");
        }
    }
}
