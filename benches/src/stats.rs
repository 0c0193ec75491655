//! Distributions, medians and spreads.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

const SAMPLE_MAX_NS: u64 = 60_000_000_000;
const COLUMNS_PER_DECADE: f64 = 20.0;

/// A histogram of durations in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Distribution(Histogram<u64>);

impl Default for Distribution {
    fn default() -> Self {
        // Fails only for bounds that make no sense.
        Self(Histogram::new_with_bounds(1, SAMPLE_MAX_NS, 3).expect("the bounds are in order"))
    }
}

impl Distribution {
    pub(crate) fn of(samples: &[u64]) -> Self {
        let mut all = Self::default();
        samples.iter().for_each(|&sample| all.add(sample));
        all
    }

    pub(crate) fn add(&mut self, sample: u64) {
        self.0.saturating_record(sample);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // All have the same bounds.
        self.0.add(&other.0).expect("the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(crate) fn max(&self) -> u64 {
        self.0.max()
    }

    /// Returns the points of the percentile curve: the number of nines, and the value there. The curve ends
    /// where fewer than two samples are left.
    pub(crate) fn curve(&self) -> Vec<(f64, u64)> {
        const STEPS_PER_NINE: u32 = 12;
        let nines_max = (self.count().max(1) as f64).log10();
        (0..)
            .map(|step| f64::from(step) / f64::from(STEPS_PER_NINE))
            .take_while(|&nines| nines <= nines_max)
            .map(|nines| (nines, self.at(1.0 - 10_f64.powf(-nines))))
            .collect()
    }

    /// Returns the columns of a histogram, evenly spaced on a log axis. Empty columns are left out.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let edge = |number: u32| 10_f64.powf(f64::from(number) / COLUMNS_PER_DECADE);
        let mut columns: Vec<Column> = Vec::new();
        for each in self.0.iter_recorded() {
            let value = each.value_iterated_to().max(1);
            let number = ((value as f64).log10() * COLUMNS_PER_DECADE) as u32;
            let share = each.count_at_value() as f64 / self.count() as f64;
            match columns.last_mut() {
                Some(last) if last.from == edge(number) => last.share += share,
                _ => columns.push(Column { from: edge(number), to: edge(number + 1), share }),
            }
        }
        columns
    }
}

pub(crate) fn longest<T: Ord>(samples: impl Iterator<Item = T>, most: usize) -> Vec<T> {
    let mut longest: Vec<T> = samples.collect();
    if longest.len() > most {
        longest.select_nth_unstable_by(most, |one, other| other.cmp(one));
        longest.truncate(most);
    }
    longest.sort_unstable_by(|one, other| other.cmp(one));
    longest
}

/// Returns the median; of an even number the greater of the two in the middle.
pub(crate) fn median(samples: &mut [u64]) -> Option<u64> {
    let middle = samples.len() / 2;
    (!samples.is_empty()).then(|| *samples.select_nth_unstable(middle).1)
}

/// Returns the value nearest to a quantile, from 0 to 1.
pub(crate) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// One column of a histogram: its ends, and the share of the samples between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) share: f64,
}

type Buckets = Vec<(u64, u64)>;

impl Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter_recorded();
        let buckets = recorded.map(|each| (each.value_iterated_to(), each.count_at_value()));
        buckets.collect::<Buckets>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Self::default();
        for (value, count) in Buckets::deserialize(deserializer)? {
            all.0.saturating_record_n(value, count);
        }
        Ok(all)
    }
}

/// The median, the least and the most of a figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            (values[middle - 1] + values[middle]) / 2.0
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }

    pub(crate) fn map(self, convert: impl Fn(f64) -> f64) -> Self {
        let Self { median, min, max } = self;
        Self { median: convert(median), min: convert(min), max: convert(max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_and_ends() {
        assert_eq!(Spread::of([]), None);
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
    }

    #[test]
    fn the_longest_come_first_and_a_quantile_is_one_of_the_values() {
        assert_eq!(longest([3, 9, 1, 7].into_iter(), 2), [9, 7]);
        assert_eq!(longest([3].into_iter(), 2), [3]);
        assert_eq!((median(&mut [3, 1, 2]), median(&mut [])), (Some(2), None));
        let mut values = [3.0, 1.0, 2.0];
        assert_eq!([0.0, 0.5, 1.0].map(|part| quantile(&mut values, part)), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_distribution_survives_its_journey() {
        let mut all = Distribution::of(&[100, 200, 200, 90_000_000_000]);
        all.merge(&Distribution::of(&[7]));
        let text = serde_json::to_string(&all).unwrap();
        let back: Distribution = serde_json::from_str(&text).unwrap();
        assert_eq!((back.count(), back.at(0.5)), (5, 200));
        assert_eq!(back.max(), all.max());
        assert!(back.max() >= SAMPLE_MAX_NS);
    }

    #[test]
    fn a_curve_goes_as_far_as_its_samples_do() {
        let samples: Vec<u64> = (1..=1000).collect();
        let curve = Distribution::of(&samples).curve();
        assert_eq!(curve.first(), Some(&(0.0, 1)));
        assert_eq!(curve.last(), Some(&(3.0, 999)));
        assert!(curve.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn the_columns_of_a_histogram_hold_their_values_and_add_up() {
        let values = [150, 150, 700, 1500];
        let columns = Distribution::of(&values).columns();
        assert_eq!(
            columns.iter().map(|column| column.share).collect::<Vec<_>>(),
            [0.5, 0.25, 0.25]
        );
        for (column, value) in columns.iter().zip([150.0, 700.0, 1500.0]) {
            assert!(column.from <= value && value < column.to, "{column:?}");
        }
        assert!(Distribution::default().columns().is_empty());
    }
}
