//! From slices to figures.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{Error, job::Wait, pair::Slice};

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

/// A longer sample counts as this long.
const SAMPLE_MAX_NS: u64 = 60_000_000_000;

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// What was measured.
    pub pattern: Pattern,
    /// The length of each message, in bytes.
    pub payload: usize,
    /// How both processes waited.
    pub wait: Wait,
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
    /// The round trip of two bare futexes, where the subject sleeps in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub futex_floor_p50_ns: Option<u64>,
}

/// What the slices of a run have come to so far.
pub struct Tally {
    subject: Histogram<u64>,
    floor: Histogram<u64>,
    futex_floor: Histogram<u64>,
    ratios: Vec<f64>,
    count: u64,
    elapsed: Duration,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// If a histogram cannot be made.
    pub fn new() -> Result<Self, Error> {
        let histogram = || Histogram::new_with_bounds(1, SAMPLE_MAX_NS, 3);
        Ok(Self {
            subject: histogram()?,
            floor: histogram()?,
            futex_floor: histogram()?,
            ratios: Vec::new(),
            count: 0,
            elapsed: Duration::ZERO,
        })
    }

    /// How many messages have been measured.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds one slice of the subject with the floor that was measured just before it.
    pub fn add(&mut self, floor: Slice, subject: Slice) {
        record(&mut self.floor, &floor.samples);
        record(&mut self.subject, &subject.samples);
        self.count += subject.count;
        self.elapsed += subject.elapsed;
        if let (Some(floor), Some(subject)) = (median(floor.samples), median(subject.samples)) {
            self.ratios.push(subject as f64 / floor.max(1) as f64);
        }
    }

    /// Adds one slice of bare futexes.
    pub fn add_futex_floor(&mut self, slice: &Slice) {
        record(&mut self.futex_floor, &slice.samples);
    }

    /// The figures.
    ///
    /// # Errors
    ///
    /// If nothing was measured.
    pub fn figures(
        mut self,
        pattern: Pattern,
        payload: usize,
        wait: Wait,
    ) -> Result<Figures, Error> {
        self.ratios.sort_by(f64::total_cmp);
        let Some(&ratio) = self.ratios.get(self.ratios.len() / 2) else {
            return Err("nothing was measured: give it more time".into());
        };
        Ok(Figures {
            pattern,
            payload,
            wait,
            count: self.count,
            p50_ns: self.subject.value_at_quantile(0.5),
            p99_ns: self.subject.value_at_quantile(0.99),
            p999_ns: self.subject.value_at_quantile(0.999),
            max_ns: self.subject.max(),
            per_second: (self.count as f64 / self.elapsed.as_secs_f64()).round() as u64,
            floor_p50_ns: self.floor.value_at_quantile(0.5),
            ratio_p50: (ratio * 1000.0).round() / 1000.0,
            futex_floor_p50_ns: (!self.futex_floor.is_empty())
                .then(|| self.futex_floor.value_at_quantile(0.5)),
        })
    }
}

fn record(histogram: &mut Histogram<u64>, samples: &[u64]) {
    for &sample in samples {
        histogram.saturating_record(sample);
    }
}

fn median(mut samples: Vec<u64>) -> Option<u64> {
    let middle = samples.len() / 2;
    (!samples.is_empty()).then(|| *samples.select_nth_unstable(middle).1)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pattern, payload, wait, count, .. } = self;
        writeln!(f, "{pattern:?}, {payload} bytes, {wait:?}: {count} messages")?;
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

    fn slice(samples: &[u64]) -> Slice {
        Slice {
            count: samples.len() as u64,
            elapsed: Duration::from_micros(1),
            samples: samples.to_vec(),
        }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_slices_and_not_that_of_the_sums() {
        let mut tally = Tally::new().unwrap();
        tally.add(slice(&[100; 3]), slice(&[150; 3]));
        tally.add(slice(&[500; 3]), slice(&[750; 3]));
        tally.add(slice(&[100; 3]), slice(&[90_000; 30]));
        let figures = tally.figures(Pattern::Invoke, 48, Wait::Spin).unwrap();
        assert_eq!((figures.ratio_p50, figures.count), (1.5, 36));
        assert_eq!(figures.futex_floor_p50_ns, None);
    }

    #[test]
    fn a_run_without_messages_is_an_error() {
        let mut tally = Tally::new().unwrap();
        tally.add(slice(&[1]), slice(&[]));
        assert!(tally.figures(Pattern::Push, 48, Wait::Spin).is_err());
    }
}
