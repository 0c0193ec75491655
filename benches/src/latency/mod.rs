//! What `latency` measures: from slices to figures, and to a page with pictures.

mod page;

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    Error,
    job::{Backend, Job, Wait},
    pair::Slice,
    report::{Colours, Outlier},
    stats::{Distribution, longest},
};

/// What is measured.
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
}

/// How many of the longest samples of a slice are kept with its time: of the subject, and of the floor.
const OUTLIERS: [usize; 2] = [2, 1];

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// What was measured.
    pub pattern: Pattern,
    /// The length of each message, in bytes.
    pub payload: usize,
    /// How both processes waited.
    pub wait: Wait,
    /// How they shared memory and woke each other.
    pub backend: Backend,
    /// How many messages there were.
    pub count: u64,
    /// Half of the samples were no longer.
    pub p50_ns: u64,
    /// 99 of 100 were no longer.
    pub p99_ns: u64,
    /// 999 of 1000 were no longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Messages a second; for pushes at their pace.
    pub per_second: u64,
    /// The round trip of a bare cache line between the same two processes, in the same seconds.
    pub floor_p50_ns: u64,
    /// The subject's p50 in floors: the median over the slices.
    pub ratio_p50: f64,
    /// Nine of ten slices lie between these.
    pub ratio_range: [f64; 2],
    /// The round trip of two bare futexes, where the subject sleeps in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub futex_floor_p50_ns: Option<u64>,
}

/// What the slices of a run have come to so far.
#[derive(Default)]
pub struct Tally {
    subject: Distribution,
    floor: Distribution,
    futex_floor: Distribution,
    ratios: Vec<f64>,
    outliers: Vec<LongSample>,
    count: u64,
    elapsed: Duration,
}

/// One of the longest samples of a slice.
struct LongSample {
    of_floor: bool,
    /// When its slice began, since the run did.
    at: Duration,
    length_ns: u64,
}

/// All that there is to say about a run.
pub struct Report {
    /// The figures.
    pub figures: Figures,
    job: Job,
    subject: Distribution,
    floor: Distribution,
    futex_floor: Distribution,
    outliers: Vec<LongSample>,
}

impl Tally {
    /// How many messages have been measured.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds one slice of the subject with the floor that was measured just before it; `at` is when, since the run
    /// began.
    pub fn add(&mut self, at: Duration, floor: Slice, subject: Slice) {
        self.floor.add_all(&floor.samples);
        self.subject.add_all(&subject.samples);
        self.count += subject.count;
        self.elapsed += subject.elapsed;
        for (samples, of_floor, most) in
            [(&subject.samples, false, OUTLIERS[0]), (&floor.samples, true, OUTLIERS[1])]
        {
            let long = longest(samples.iter().copied(), most).into_iter();
            self.outliers.extend(long.map(|length_ns| LongSample { of_floor, at, length_ns }));
        }
        if let (Some(floor), Some(subject)) = (median(floor.samples), median(subject.samples)) {
            self.ratios.push(subject as f64 / floor.max(1) as f64);
        }
    }

    /// Adds one slice of bare futexes.
    pub fn add_futex_floor(&mut self, slice: &Slice) {
        self.futex_floor.add_all(&slice.samples);
    }

    /// What the run came to.
    ///
    /// # Errors
    ///
    /// If nothing was measured.
    pub fn finish(mut self, pattern: Pattern, job: Job) -> Result<Report, Error> {
        self.ratios.sort_by(f64::total_cmp);
        let part = |quantile: f64| {
            let last = self.ratios.len().checked_sub(1)?;
            Some(round(self.ratios[(quantile * last as f64).round() as usize]))
        };
        let (Some(ratio_p50), Some(least), Some(most)) = (part(0.5), part(0.05), part(0.95)) else {
            return Err("nothing was measured: give it more time".into());
        };
        let futex_floor = &self.futex_floor;
        let figures = Figures {
            pattern,
            payload: job.payload,
            wait: job.wait,
            backend: job.backend,
            count: self.count,
            p50_ns: self.subject.at(0.5),
            p99_ns: self.subject.at(0.99),
            p999_ns: self.subject.at(0.999),
            max_ns: self.subject.max(),
            per_second: (self.count as f64 / self.elapsed.as_secs_f64()).round() as u64,
            floor_p50_ns: self.floor.at(0.5),
            ratio_p50,
            ratio_range: [least, most],
            futex_floor_p50_ns: (futex_floor.count() > 0).then(|| futex_floor.at(0.5)),
        };
        let Self { subject, floor, futex_floor, outliers, .. } = self;
        Ok(Report { figures, job, subject, floor, futex_floor, outliers })
    }
}

impl Report {
    /// What was measured, and what it is called: the subject, its floor, and that of who sleeps.
    fn samples(&self) -> Vec<(&'static str, &Distribution)> {
        let mut samples = vec![(self.figures.pattern.name(), &self.subject), (FLOOR, &self.floor)];
        if self.futex_floor.count() > 0 {
            samples.push(("futex", &self.futex_floor));
        }
        samples
    }

    fn outliers(&self, colours: &Colours) -> Vec<Outlier<'static>> {
        let outliers = self.outliers.iter().map(|&LongSample { of_floor, at, length_ns }| {
            let name = if of_floor { FLOOR } else { self.figures.pattern.name() };
            Outlier {
                name,
                class: colours.class(name),
                title: "one sample".to_owned(),
                at_s: at.as_secs_f64(),
                length_ns: length_ns as f64,
            }
        });
        outliers.collect()
    }
}

/// What the bare cache line is called.
const FLOOR: &str = "bounce";

/// To three digits.
fn round(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

fn median(mut samples: Vec<u64>) -> Option<u64> {
    let middle = samples.len() / 2;
    (!samples.is_empty()).then(|| *samples.select_nth_unstable(middle).1)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, payload, wait, backend, count, .. } = self;
        writeln!(f, "{pattern:?}, {payload} bytes, {wait:?}, {backend}: {count} messages")?;
        let mut row = |name: &str, value: String| writeln!(f, "  {name:<22}{value:>14}");
        row("p50", nanoseconds(self.p50_ns))?;
        row("p99", nanoseconds(self.p99_ns))?;
        row("p99.9", nanoseconds(self.p999_ns))?;
        row("longest", nanoseconds(self.max_ns))?;
        row("messages a second", self.per_second.to_string())?;
        row("floor, p50", nanoseconds(self.floor_p50_ns))?;
        if let Some(futex) = self.futex_floor_p50_ns {
            row("futex floor, p50", nanoseconds(futex))?;
        }
        write!(f, "  {:<22}{:>14.3}", "p50 in floors", self.ratio_p50)
    }
}

fn nanoseconds(value: u64) -> String {
    format!("{value} ns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pins::Pins,
        report::{Machine, tests::assert_well_formed},
    };

    fn slice(samples: &[u64]) -> Slice {
        Slice {
            count: samples.len() as u64,
            elapsed: Duration::from_micros(1),
            samples: samples.to_vec(),
        }
    }

    const JOB: Job = Job {
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
        let figures = tally.finish(Pattern::Invoke, JOB).unwrap().figures;
        assert_eq!((figures.ratio_p50, figures.count), (1.5, 36));
        assert_eq!((figures.ratio_range, figures.futex_floor_p50_ns), ([1.5, 900.0], None));
    }

    #[test]
    fn a_run_without_messages_is_an_error() {
        let mut tally = Tally::default();
        tally.add(Duration::ZERO, slice(&[1]), slice(&[]));
        assert!(tally.finish(Pattern::Push, JOB).is_err());
    }

    #[test]
    fn the_page_says_what_the_json_says() {
        let mut tally = Tally::default();
        for at in 1..=20 {
            tally.add_futex_floor(&slice(&[43_000; 5]));
            let subject: Vec<u64> = (0..1000).map(|number| 50_000 + 10 * number + at).collect();
            tally.add(Duration::from_millis(at), slice(&[120; 50]), slice(&subject));
        }
        let report = tally.finish(Pattern::Invoke, JOB).unwrap();
        let machine = Machine::look(JOB.pins, "latency", ["ringbridge"], &[]);
        let page = report.page(&machine).unwrap();
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
            assert!(page.contains(&format!(">{name} ")), "{name} is not named");
            assert!(page.contains(&format!("<figcaption>{name}, ")), "{name} has no histogram");
        }
    }
}
