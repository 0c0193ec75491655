//! Numbers for people.

use std::fmt;

/// A part of a core, or of all.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A time in a unit that suits it.
pub(crate) struct Time(pub(crate) f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns < 999.5 => write!(f, "{ns:.0} ns"),
            ns if ns < 99_950.0 => write!(f, "{:.2} µs", ns / 1e3),
            ns if ns < 999_500.0 => write!(f, "{:.0} µs", ns / 1e3),
            ns if ns < 999.5e6 => write!(f, "{:.2} ms", ns / 1e6),
            ns => write!(f, "{:.2} s", ns / 1e9),
        }
    }
}

/// A time on an axis, where it is one, two or five times a power of ten.
pub(crate) struct RoundTime(pub(crate) f64);

impl fmt::Display for RoundTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns < 1e3 => write!(f, "{ns:.0} ns"),
            ns if ns < 1e6 => write!(f, "{:.0} µs", ns / 1e3),
            ns if ns < 1e9 => write!(f, "{:.0} ms", ns / 1e6),
            ns => write!(f, "{:.0} s", ns / 1e9),
        }
    }
}

/// A share on an axis, however small.
pub(crate) struct RoundShare(pub(crate) f64);

impl fmt::Display for RoundShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", (self.0 * 1e10).round() / 1e8)
    }
}

/// A number of things in a unit that suits it.
pub(crate) struct Count(pub(crate) f64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n < 1e3 => write!(f, "{n:.0}"),
            n if n < 1e6 => write!(f, "{:.1} k", n / 1e3),
            n => write!(f, "{:.2} M", n / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_have_units_that_suit_them() {
        let times = [150.0, 1500.0, 150_000.0, 1.5e6, 2e9].map(|time| Time(time).to_string());
        assert_eq!(times, ["150 ns", "1.50 µs", "150 µs", "1.50 ms", "2.00 s"]);
        let counts = [15.0, 1500.0, 15e6].map(|count| Count(count).to_string());
        assert_eq!(counts, ["15", "1.5 k", "15.00 M"]);
    }

    #[test]
    fn what_labels_an_axis_is_short() {
        let times = [5.0, 200.0, 1e3, 5e5, 1e6, 2e9].map(|time| RoundTime(time).to_string());
        assert_eq!(times, ["5 ns", "200 ns", "1 µs", "500 µs", "1 ms", "2 s"]);
        let shares = [1.0, 0.1, 1e-7].map(|share| RoundShare(share).to_string());
        assert_eq!(shares, ["100 %", "10 %", "0.00001 %"]);
    }
}
