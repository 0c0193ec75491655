//! Numbers for people: the one place where a quantity gets its unit and its digits.

pub(crate) fn time(ns: f64) -> String {
    match ns {
        ns if ns < 999.5 => format!("{ns:.0} ns"),
        ns if ns < 99_950.0 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 999_500.0 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 999.5e6 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

/// Shows a time on an axis: one, two or five times a power of ten.
pub(crate) fn round_time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.0} ms", ns / 1e6),
        ns => format!("{:.0} s", ns / 1e9),
    }
}

/// Shows a share on an axis, however small.
pub(crate) fn round_share(share: f64) -> String {
    format!("{} %", (share * 1e10).round() / 1e8)
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

pub(crate) fn count(count: f64) -> String {
    match count {
        n if n < 1e3 => format!("{n:.0}"),
        n if n < 1e6 => format!("{:.1} k", n / 1e3),
        n => format!("{:.2} M", n / 1e6),
    }
}

/// Shows a length, in whole KiB or MiB where it is a multiple.
pub(crate) fn bytes(bytes: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match bytes {
        bytes if bytes >= MIB && bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        bytes if bytes >= KIB && bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        bytes => format!("{bytes} B"),
    }
}

/// Shows a ratio or figure with at most four significant digits.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value == value.round() || value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

/// Lays out rows of cells below their heads: Markdown, or columns of `width`, the first one aligned left
/// in `first_width` if that is not 0.
pub(crate) fn table(
    rows: &[Vec<String>],
    markdown: bool,
    first_width: usize,
    width: usize,
) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        if markdown {
            text += &format!("| {} |\n", row.join(" | "));
            if number == 0 {
                text += &format!("|{}\n", " --- |".repeat(row.len()));
            }
        } else {
            let (left, right) = row.split_at(usize::from(first_width > 0));
            left.iter()
                .for_each(|cell| text += &format!("{:<first_width$}", cell.replace('`', "")));
            right.iter().for_each(|cell| text += &format!("{cell:>width$}"));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units_that_suit_them() {
        let times = [150.0, 1500.0, 150_000.0, 1.5e6, 2e9].map(time);
        assert_eq!(times, ["150 ns", "1.50 µs", "150 µs", "1.50 ms", "2.00 s"]);
        let counts = [15.0, 1500.0, 15e6].map(count);
        assert_eq!(counts, ["15", "1.5 k", "15.00 M"]);
        let bytes = [48, 1 << 10, 1500, 3 << 20].map(bytes);
        assert_eq!(bytes, ["48 B", "1 KiB", "1500 B", "3 MiB"]);
        let short = [0.0, 0.2, 1.3, 2.0, 12.34, 1234.5].map(short);
        assert_eq!(short, ["0", "0.200", "1.300", "2", "12.3", "1234"]);
    }

    #[test]
    fn labels_of_an_axis_are_short() {
        let times = [5.0, 200.0, 1e3, 5e5, 1e6, 2e9].map(round_time);
        assert_eq!(times, ["5 ns", "200 ns", "1 µs", "500 µs", "1 ms", "2 s"]);
        let shares = [1.0, 0.1, 1e-7].map(round_share);
        assert_eq!(shares, ["100 %", "10 %", "0.00001 %"]);
    }

    #[test]
    fn a_table_is_aligned_or_markdown() {
        let rows = [["`a`", "1"], ["b", "22"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, false, 3, 4), "a     1\nb    22\n");
        assert_eq!(table(&rows, true, 3, 4), "| `a` | 1 |\n| --- | --- |\n| b | 22 |\n");
    }
}
