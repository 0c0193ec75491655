//! From values to places on one axis, and where it is labelled.

use std::fmt::Display;

/// The marks of a scale by factors, in each factor of ten.
const MARKS: [f64; 3] = [1.0, 2.0, 5.0];
/// Over how many factors of ten all of them are labelled; over more, only the first.
const ALL_MARKS_UP_TO: f64 = 2.5;
/// Up to how many nines there is room to name the median beside the least.
const MEDIAN_UP_TO: f64 = 7.2;
/// How far each mark may miss, for the sake of arithmetic.
const CLOSE: f64 = 1e-9;

/// One axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    min: f64,
    max: f64,
    scale: Scale,
    /// Where it is labelled, and how.
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) title: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Even,
    Factors,
}

impl Axis {
    /// By factors, over all of these values, from mark to mark.
    pub(crate) fn factors<D: Display>(
        values: impl Iterator<Item = f64>,
        label: impl Fn(f64) -> D,
        title: &'static str,
    ) -> Self {
        let (mut min, mut max) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            min = min.min(value);
            max = max.max(value);
        }
        if min > max {
            (min, max) = (1.0, 10.0);
        }
        let marks = |exponent: i32| MARKS.map(|mark| mark * 10_f64.powi(exponent));
        let decades = min.log10().floor() as i32..=max.log10().ceil() as i32;
        let marks: Vec<f64> = decades.flat_map(marks).collect();
        let first = marks.iter().rposition(|mark| *mark <= min * (1.0 + CLOSE)).unwrap_or(0);
        let last = marks.iter().position(|mark| *mark >= max * (1.0 - CLOSE));
        let last = last.unwrap_or(marks.len() - 1).max(first + 1);
        let (min, max) = (marks[first], marks[last]);
        let every = if (max / min).log10() <= ALL_MARKS_UP_TO { 1 } else { MARKS.len() };
        let ticks = marks
            .iter()
            .enumerate()
            .filter(|(number, _)| (first..=last).contains(number) && number.is_multiple_of(every));
        let ticks = ticks.map(|(_, &mark)| (mark, label(mark).to_string())).collect();
        Self { min, max, scale: Scale::Factors, ticks, title }
    }

    /// Percentiles, by the number of nines: the tail takes as much room as the rest. Ends at `nines`.
    pub(crate) fn percentiles(nines: f64) -> Self {
        const NAMES: [&str; 8] =
            ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %", "99.99999 %"];
        let whole = NAMES.iter().enumerate().map(|(nines, name)| (nines as f64, *name));
        let mut ticks: Vec<(f64, &str)> = whole.collect();
        let max = if nines > 0.0 { nines } else { 1.0 };
        if max <= MEDIAN_UP_TO {
            ticks.insert(1, (nines_of(0.5), "50 %"));
        }
        ticks.retain(|(nines, _)| *nines <= max);
        let ticks = ticks.into_iter().map(|(nines, name)| (nines, name.to_owned())).collect();
        Self { min: 0.0, max, scale: Scale::Even, ticks, title: "percentile" }
    }

    /// Seconds, from 0 to the end.
    pub(crate) fn seconds(end: f64, title: &'static str) -> Self {
        const PARTS: f64 = 8.0;
        let max = if end > 0.0 { end } else { 1.0 };
        let decade = 10_f64.powf((max / PARTS).log10().floor());
        let steps = MARKS.map(|mark| mark * decade);
        let step = steps.into_iter().find(|step| max / step <= PARTS).unwrap_or(10.0 * decade);
        let digits = usize::try_from(-(step.log10() + CLOSE).floor() as i64).unwrap_or(0);
        let ticks = (0..).map(|number| f64::from(number) * step).take_while(|at| *at <= max);
        let ticks = ticks.map(|at| (at, format!("{at:.digits$} s"))).collect();
        Self { min: 0.0, max, scale: Scale::Even, ticks, title }
    }

    /// From 0 to 1; what lies beyond an end is at that end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let [min, max, value] =
            [self.min, self.max, value.clamp(self.min, self.max)].map(|each| match self.scale {
                Scale::Even => each,
                Scale::Factors => each.log10(),
            });
        (value - min) / (max - min)
    }
}

/// How many nines a quantile has: 1 for 0.9, 3 for 0.999.
pub(crate) fn nines_of(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// Of these labels, each with its place and its width, every how manieth has room beside the next.
pub(super) fn every_with_room(labels: &[(f64, f64)]) -> usize {
    const BETWEEN: f64 = 5.0;
    let fits = |every: &usize| {
        let shown: Vec<_> = labels.iter().step_by(*every).collect();
        shown.windows(2).all(|pair| {
            let [(one, its_width), (other, other_width)] = pair else {
                unreachable!("windows of two")
            };
            other - one >= (its_width + other_width) / 2.0 + BETWEEN
        })
    };
    (1..=labels.len()).find(fits).unwrap_or(1)
}

/// Moves these places, each as little as it needs, until they are `distance` apart and within the limits (if
/// there is room for all), and in the same order.
pub(super) fn spread_out(places: &[f64], distance: f64, [least, most]: [f64; 2]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&one, &other| places[one].total_cmp(&places[other]));
    // Groups of neighbours that touch: each is centred on where its members want to be.
    let mut groups: Vec<Group> = Vec::new();
    for &index in &order {
        groups.push(Group { wanted: places[index], count: 1.0 });
        while let [.., one, other] = &groups[..]
            && one.last(distance, [least, most]) + distance > other.first(distance, [least, most])
        {
            let count = one.count + other.count;
            // Its first member is wanted where the others would have it, less their places in the group.
            let shifted = other.wanted - one.count * distance;
            let wanted = (one.wanted * one.count + shifted * other.count) / count;
            groups.truncate(groups.len() - 2);
            groups.push(Group { wanted, count });
        }
    }
    let mut moved = vec![0.0; places.len()];
    let mut next = order.into_iter();
    for group in groups {
        let first = group.first(distance, [least, most]);
        for member in 0..group.count as usize {
            if let Some(index) = next.next() {
                moved[index] = first + member as f64 * distance;
            }
        }
    }
    moved
}

/// Neighbours, `distance` apart. `wanted` is the mean place that they want for the first.
struct Group {
    wanted: f64,
    count: f64,
}

impl Group {
    fn first(&self, distance: f64, [least, most]: [f64; 2]) -> f64 {
        self.wanted.min(most - (self.count - 1.0) * distance).max(least)
    }

    fn last(&self, distance: f64, limits: [f64; 2]) -> f64 {
        self.first(distance, limits) + (self.count - 1.0) * distance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn an_axis_by_factors_goes_from_mark_to_mark_around_its_values() {
        let axis = Axis::factors([130.0, 90_000.0].into_iter(), |value| value, "ns");
        assert_eq!((axis.min, axis.max), (100.0, 100_000.0));
        assert_eq!(labels(&axis), ["100", "1000", "10000", "100000"]);
        assert!((axis.place(1000.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((axis.place(1.0), axis.place(1e9)), (0.0, 1.0));
    }

    #[test]
    fn a_short_axis_by_factors_is_labelled_in_between() {
        let axis = Axis::factors([1.0, 2.07, 20.1].into_iter(), |value| value, "");
        assert_eq!(labels(&axis), ["1", "2", "5", "10", "20", "50"]);
        let same = Axis::factors([200.0; 3].into_iter(), |value| value, "");
        assert_eq!(labels(&same), ["200", "500"]);
        let nothing = Axis::factors([].into_iter(), |value: f64| value, "");
        assert_eq!((nothing.min, nothing.max), (1.0, 10.0));
    }

    #[test]
    fn every_nine_takes_the_same_room() {
        let axis = Axis::percentiles(4.0);
        assert_eq!(labels(&axis), ["0", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        let places = [0.9, 0.99, 0.999].map(|quantile| axis.place(nines_of(quantile)));
        for (place, expected) in places.into_iter().zip([0.25, 0.5, 0.75]) {
            assert!((place - expected).abs() < 1e-9, "{places:?}");
        }
        assert!((axis.place(nines_of(0.5)) - 0.0752).abs() < 1e-4);
        assert_eq!(labels(&Axis::percentiles(0.0)), ["0", "50 %", "90 %"]);
    }

    #[test]
    fn seconds_are_labelled_in_round_steps() {
        assert_eq!(labels(&Axis::seconds(4.1, "")), ["0 s", "1 s", "2 s", "3 s", "4 s"]);
        assert_eq!(labels(&Axis::seconds(0.9, "")).last(), Some(&"0.8 s"));
        assert_eq!(labels(&Axis::seconds(71.0, "")).last(), Some(&"70 s"));
        assert_eq!(labels(&Axis::seconds(0.0, "")).first(), Some(&"0.0 s"));
    }

    #[test]
    fn labels_that_would_overlap_are_thinned_evenly() {
        let labels = |distance: f64| [0.0, 1.0, 2.0, 3.0, 4.0].map(|at| (at * distance, 40.0));
        let every = [50.0, 45.0, 44.0, 20.0, 0.0].map(|each| every_with_room(&labels(each)));
        assert_eq!(every, [1, 1, 2, 3, 5]);
        assert_eq!(every_with_room(&[]), 1);
    }

    #[test]
    fn places_that_are_too_close_move_apart_around_where_they_were() {
        assert_eq!(spread_out(&[50.0, 10.0, 90.0], 10.0, [0.0, 100.0]), [50.0, 10.0, 90.0]);
        assert_eq!(spread_out(&[50.0, 50.0], 10.0, [0.0, 100.0]), [45.0, 55.0]);
        assert_eq!(spread_out(&[52.0, 50.0, 48.0], 10.0, [0.0, 100.0]), [60.0, 50.0, 40.0]);
        assert_eq!(spread_out(&[99.0, 100.0], 10.0, [0.0, 100.0]), [90.0, 100.0]);
        assert_eq!(spread_out(&[1.0, 0.0, 2.0], 10.0, [0.0, 100.0]), [10.0, 0.0, 20.0]);
        assert!(spread_out(&[], 10.0, [0.0, 100.0]).is_empty());
    }
}
