//! Small charts as SVG: axes, lines, bars, dots. Colours and fonts are the page's.

use std::fmt::{self, Display, Write};

/// How wide a chart is that has the page to itself.
pub(super) const WIDE: f64 = 860.0;
/// How wide one of two is.
pub(super) const NARROW: f64 = 430.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 34.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;

/// From values to places on one axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    min: f64,
    max: f64,
    logarithmic: bool,
    /// Where the axis is labelled, and how.
    ticks: Vec<(f64, String)>,
    title: String,
}

impl Axis {
    /// Evenly from `min` to `max`.
    pub(super) fn even(min: f64, max: f64, ticks: Vec<(f64, String)>, title: &str) -> Self {
        let max = if max > min { max } else { min + 1.0 };
        Self { min, max, logarithmic: false, ticks, title: title.to_owned() }
    }

    /// By factors, over all of these values, labelled at powers of ten.
    pub(super) fn factors<D: Display>(
        values: impl Iterator<Item = f64>,
        label: impl Fn(f64) -> D,
        title: &str,
    ) -> Self {
        let (mut min, mut max) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            min = min.min(value);
            max = max.max(value);
        }
        if min > max {
            (min, max) = (1.0, 10.0);
        }
        let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
        let last = last.max(first + 1);
        let power = |exponent: i32| 10_f64.powi(exponent);
        let ticks =
            (first..=last).map(|exponent| (power(exponent), label(power(exponent)).to_string()));
        Self {
            min: power(first),
            max: power(last),
            logarithmic: true,
            ticks: ticks.collect(),
            title: title.to_owned(),
        }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let [min, max, value] = [self.min, self.max, value.clamp(self.min, self.max)]
            .map(|each| if self.logarithmic { each.log10() } else { each });
        (value - min) / (max - min)
    }
}

/// A chart under way.
pub(super) struct Chart {
    svg: String,
    across: Axis,
    up: Axis,
    width: f64,
    height: f64,
}

impl Chart {
    pub(super) fn new(
        label: &str,
        [width, height]: [f64; 2],
        across: Axis,
        up: Axis,
    ) -> Result<Self, fmt::Error> {
        let mut chart = Self { svg: String::new(), across, up, width, height };
        writeln!(
            chart.svg,
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            Escaped(label)
        )?;
        chart.grid()?;
        Ok(chart)
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.across.place(value) * (self.width - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (1.0 - self.up.place(value)) * (self.height - TOP - BOTTOM)
    }

    fn grid(&mut self) -> fmt::Result {
        let (left, right) = (LEFT, self.width - RIGHT);
        let (top, bottom) = (TOP, self.height - BOTTOM);
        for (value, label) in self.up.ticks.clone() {
            let y = self.y(value);
            writeln!(
                self.svg,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                Escaped(label)
            )?;
        }
        for (value, label) in self.across.ticks.clone() {
            let x = self.x(value);
            writeln!(
                self.svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                Escaped(label)
            )?;
        }
        writeln!(
            self.svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            self.height - 8.0,
            Escaped(&self.across.title)
        )?;
        writeln!(
            self.svg,
            "<text x=\"{left}\" y=\"{top}\" class=\"unit\">{}</text>",
            Escaped(&self.up.title)
        )
    }

    /// A line through the points.
    pub(super) fn line(
        &mut self,
        class: &str,
        title: &str,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> fmt::Result {
        let mut path = String::new();
        for (x, y) in points {
            let command = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{command}{:.1} {:.1}", self.x(x), self.y(y))?;
        }
        writeln!(
            self.svg,
            "<path class=\"line {class}\" d=\"{path}\"><title>{}</title></path>",
            Escaped(title)
        )
    }

    /// A dot.
    pub(super) fn dot(&mut self, class: &str, title: &str, x: f64, y: f64) -> fmt::Result {
        writeln!(
            self.svg,
            "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}</title>\
             </circle>",
            self.x(x),
            self.y(y),
            Escaped(title)
        )
    }

    /// A column from the bottom.
    pub(super) fn column(
        &mut self,
        class: &str,
        title: &str,
        [from, to]: [f64; 2],
        value: f64,
    ) -> fmt::Result {
        let (left, right, top) = (self.x(from), self.x(to), self.y(value));
        writeln!(
            self.svg,
            "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"><title>{}</title></rect>",
            (right - left - 0.5).max(0.5),
            (self.height - BOTTOM - top).max(1.0),
            Escaped(title)
        )
    }

    pub(super) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// A bar with its name, its value and the ends of its spread.
pub(super) struct Bar<'a> {
    pub(super) name: &'a str,
    pub(super) class: String,
    pub(super) value: f64,
    pub(super) ends: Option<(f64, f64)>,
    pub(super) label: String,
}

/// Bars beside each other, lying, by factors.
pub(super) fn bars<D: Display>(
    label: &str,
    bars: &[Bar<'_>],
    tick: impl Fn(f64) -> D,
) -> Result<String, fmt::Error> {
    const ROW: f64 = 20.0;
    const NAMES: f64 = 150.0;
    const VALUES: f64 = 190.0;
    let ends = |bar: &Bar<'_>| bar.ends.unwrap_or((bar.value, bar.value));
    let values = bars.iter().flat_map(|bar| [ends(bar).0, ends(bar).1]);
    let axis = Axis::factors(values, tick, "");
    let place = |value: f64| NAMES + axis.place(value) * (WIDE - NAMES - VALUES);
    let height = ROW * bars.len() as f64 + 22.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDE} {height}\" role=\"img\" aria-label=\"{}\">\n",
        Escaped(label)
    );
    for (value, label) in &axis.ticks {
        let x = place(*value);
        let bottom = height - 18.0;
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            height - 4.0,
            Escaped(label)
        )?;
    }
    for (number, bar) in bars.iter().enumerate() {
        let y = ROW * number as f64;
        let (x, middle) = (place(bar.value), y + ROW / 2.0);
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"bar {}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\"/>",
            NAMES - 6.0,
            middle + 4.0,
            Escaped(bar.name),
            bar.class,
            middle - 6.0,
            (x - NAMES).max(1.0),
        )?;
        let mut end = x;
        if let Some((least, most)) = bar.ends {
            end = place(most);
            writeln!(
                svg,
                "<line class=\"spread\" x1=\"{:.1}\" x2=\"{end:.1}\" y1=\"{middle:.1}\" \
                 y2=\"{middle:.1}\"/>",
                place(least)
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            end + 6.0,
            middle + 4.0,
            Escaped(&bar.label)
        )?;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// Text inside markup.
pub(super) struct Escaped<T>(pub(super) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_by_factors_covers_its_values_in_whole_powers_of_ten() {
        let axis = Axis::factors([130.0, 90_000.0].into_iter(), |value| value, "ns");
        assert_eq!((axis.min, axis.max, axis.ticks.len()), (100.0, 100_000.0, 4));
        assert!((axis.place(1000.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((axis.place(1.0), axis.place(1e9)), (0.0, 1.0));
        assert_eq!(Axis::factors([].into_iter(), |value: f64| value, "").ticks.len(), 2);
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(Escaped("a<b & \"c\">").to_string(), "a&lt;b &amp; &quot;c&quot;&gt;");
    }
}
