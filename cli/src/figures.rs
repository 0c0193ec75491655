//! Numbers for people.

use std::time::Duration;

use bytesize::ByteSize;

/// `256 KiB`
pub(crate) fn bytes(count: u64) -> String {
    ByteSize::b(count).display().iec().to_string()
}

/// `12,345,678`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// As long as is of interest: `3.2 µs`, `41 s`, `2 h 5 min`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{span:.1?}").replace(".0", ""),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How much of the whole that is: `3 %`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{:.0} %", part as f64 / whole as f64 * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(bytes(256 << 10), "256.0 KiB");
        assert_eq!(share(1, 3), "33 %");
        assert_eq!(share(1, 0), "-");
    }

    #[test]
    fn a_span_is_as_exact_as_is_of_interest() {
        let spans = [
            Duration::from_nanos(3200),
            Duration::from_millis(41),
            Duration::from_secs(41),
            Duration::from_secs(125),
            Duration::from_secs(7500),
            Duration::from_secs(100_000),
        ];
        let texts = ["3.2µs", "41ms", "41 s", "2 min 5 s", "2 h 5 min", "1 d 3 h"];
        assert_eq!(spans.map(span), texts);
    }
}
