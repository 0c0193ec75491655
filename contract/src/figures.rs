//! Numbers for people. Every program of the demo formats them here.

use std::time::Duration;

use bytesize::ByteSize;

/// Formats a size: `256.0 KiB`.
pub fn bytes(size: u64) -> String {
    ByteSize::b(size).display().iec().to_string()
}

/// Formats a part of a size: `3.0 GiB of 8.0 GiB`.
pub fn bytes_of(part: u64, whole: u64) -> String {
    format!("{} of {}", bytes(part), bytes(whole))
}

/// Formats a count: `12,345,678`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

/// Formats a latency: `950 ns`, `1.5 µs`, `2.0 ms`, `3.1 s`.
pub fn nanoseconds(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

/// Formats a duration in its two largest units: `41 s`, `2 min 5 s`, `2 h 5 min`, `1 d 3 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => nanoseconds(duration.subsec_nanos().into()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Formats a percentage: `12.3 %`, or `-` if it is not finite.
pub fn percent(value: f64) -> String {
    if value.is_finite() { format!("{value:.1} %") } else { "-".to_owned() }
}

/// Formats a part of a whole: `33.3 %`, or `-` if there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    percent(part as f64 / whole as f64 * 100.0)
}

/// Rounds to two digits after the point, for JSON. Returns `None` if the value is not finite.
pub fn two_digits(value: f32) -> Option<f64> {
    value.is_finite().then(|| (f64::from(value) * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_unit_that_fits() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let sizes = [5, 256 << 10, 3 << 29].map(bytes);
        assert_eq!(sizes, ["5 B", "256.0 KiB", "1.5 GiB"]);
        let latencies = [999, 1500, 2_000_000, 3_100_000_000].map(nanoseconds);
        assert_eq!(latencies, ["999 ns", "1.5 µs", "2.0 ms", "3.1 s"]);
        let durations = [0.041, 41.0, 125.0, 7500.0, 1e5].map(Duration::from_secs_f64);
        let expected = ["41.0 ms", "41 s", "2 min 5 s", "2 h 5 min", "1 d 3 h"];
        assert_eq!(durations.map(duration), expected);
    }

    #[test]
    fn an_unknown_number_is_a_dash_and_null_in_json() {
        assert_eq!((percent(45.04), share(1, 3)), ("45.0 %".to_owned(), "33.3 %".to_owned()));
        assert_eq!([percent(f64::NAN), share(1, 0)], ["-"; 2]);
        assert_eq!((two_digits(12.345_678), two_digits(f32::NAN)), (Some(12.35), None));
    }
}
