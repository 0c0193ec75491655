//! Distributions, medians and spreads.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A longer sample counts as this long.
const SAMPLE_MAX_NS: u64 = 60_000_000_000;
/// Columns of a histogram per factor of ten.
const COLUMNS_PER_DECADE: f64 = 20.0;

/// How often each duration occurred, in nanoseconds to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Distribution(Histogram<u64>);

impl Distribution {
    pub(crate) fn new() -> Self {
        // Fails only for bounds that make no sense.
        Self(Histogram::new_with_bounds(1, SAMPLE_MAX_NS, 3).expect("the bounds are in order"))
    }

    pub(crate) fn of(samples: &[u64]) -> Self {
        let mut all = Self::new();
        all.add_all(samples);
        all
    }

    pub(crate) fn add_all(&mut self, samples: &[u64]) {
        samples.iter().for_each(|&sample| self.0.saturating_record(sample));
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

    /// Points of the percentile curve: how many nines, and the value there. It ends where fewer than
    /// two samples are left.
    pub(crate) fn curve(&self) -> Vec<(f64, u64)> {
        const STEPS_PER_NINE: u32 = 12;
        let nines_max = (self.count().max(1) as f64).log10();
        (0..)
            .map(|step| f64::from(step) / f64::from(STEPS_PER_NINE))
            .take_while(|&nines| nines <= nines_max)
            .map(|nines| (nines, self.at(1.0 - 10_f64.powf(-nines))))
            .collect()
    }

    /// The columns of a histogram, evenly by factors: from where to where, and what share of the samples
    /// is there. Empty ones are left out.
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

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

/// The greatest of these, the greatest first.
pub(crate) fn longest<T: Ord>(samples: impl Iterator<Item = T>, most: usize) -> Vec<T> {
    let mut longest: Vec<T> = samples.collect();
    longest.sort_unstable_by(|one, other| other.cmp(one));
    longest.truncate(most);
    longest
}

/// A column of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) share: f64,
}

/// As it travels between processes.
#[derive(Serialize, Deserialize)]
struct Buckets(Vec<(u64, u64)>);

impl Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter_recorded();
        let buckets = recorded.map(|each| (each.value_iterated_to(), each.count_at_value()));
        Buckets(buckets.collect()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut all = Self::new();
        for (value, count) in Buckets::deserialize(deserializer)?.0 {
            all.0.saturating_record_n(value, count);
        }
        Ok(all)
    }
}

/// A figure over the rounds: their median, least and most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` if there is no value.
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
        assert!(Distribution::new().columns().is_empty());
    }
}
