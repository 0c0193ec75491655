//! Charts as SVG: axes, lines, bars, dots. Their colours and fonts are in `report.css`.

use std::fmt::{self, Display, Write};

use super::axis::{Axis, every_with_room, spread_out};

/// How wide a chart is that has the page to itself.
const WIDE: f64 = 860.0;
/// How wide one of two is.
const NARROW: f64 = 430.0;
/// How much a letter takes, about.
const LETTER: f64 = 6.4;
/// A line of text.
const TEXT: f64 = 14.0;

/// How large a chart is, and what is left free around it.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

const AROUND: Frame =
    Frame { width: WIDE, height: 380.0, left: 66.0, right: 24.0, top: 12.0, bottom: 40.0 };

/// One that has the page to itself.
pub(crate) const LARGE: Frame = AROUND;
/// One whose lines are named beside it.
pub(crate) const LABELLED: Frame = Frame { height: 400.0, right: 210.0, ..AROUND };
/// One of two beside each other.
pub(crate) const SMALL: Frame =
    Frame { width: NARROW, height: 190.0, left: 82.0, bottom: 26.0, ..AROUND };

impl Frame {
    /// The same, with room for so much more above.
    pub(super) fn below(self, room: f64) -> Self {
        Self { height: self.height + room, top: self.top + room, ..self }
    }

    pub(super) fn size(self) -> [f64; 2] {
        [self.width, self.height]
    }
}

/// A chart under way.
pub(crate) struct Chart {
    svg: String,
    across: Axis,
    up: Axis,
    frame: Frame,
    names: Vec<Name>,
}

/// What is written beside a line, and at which height it would best stand.
struct Name {
    y: f64,
    class: String,
    text: String,
}

impl Chart {
    pub(crate) fn new(frame: Frame, across: Axis, up: Axis) -> Result<Self, fmt::Error> {
        let mut chart = Self { svg: String::new(), across, up, frame, names: Vec::new() };
        chart.grid()?;
        Ok(chart)
    }

    fn x(&self, value: f64) -> f64 {
        let Frame { width, left, right, .. } = self.frame;
        left + self.across.place(value) * (width - left - right)
    }

    fn y(&self, value: f64) -> f64 {
        let Frame { height, top, bottom, .. } = self.frame;
        top + (1.0 - self.up.place(value)) * (height - top - bottom)
    }

    fn grid(&mut self) -> fmt::Result {
        let Frame { width, height, left, right, top, bottom } = self.frame;
        let (right, bottom) = (width - right, height - bottom);
        for (value, label) in &self.up.ticks {
            let y = self.y(*value);
            writeln!(
                self.svg,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                Escaped(label)
            )?;
        }
        let labels = self.across.ticks.iter().map(|(value, label)| {
            let width = label.chars().count() as f64 * LETTER;
            (self.x(*value), width)
        });
        let labels: Vec<_> = labels.collect();
        let every = every_with_room(&labels);
        for (number, ((x, _), (_, label))) in labels.iter().zip(&self.across.ticks).enumerate() {
            writeln!(
                self.svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>"
            )?;
            if number.is_multiple_of(every) {
                let y = bottom + TEXT + 2.0;
                writeln!(
                    self.svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
                    Escaped(label)
                )?;
            }
        }
        if !self.across.title.is_empty() {
            let (x, y) = ((left + right) / 2.0, height - 6.0);
            writeln!(
                self.svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
                Escaped(self.across.title)
            )?;
        }
        Ok(())
    }

    /// A line through the points. Its name stands beside the chart, near the height of the value `at`.
    pub(crate) fn line(
        &mut self,
        class: &str,
        name: &str,
        at: f64,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> fmt::Result {
        let mut path = String::new();
        for (x, y) in points {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let (x, y) = (self.x(x), self.y(y));
            write!(path, "{command}{x:.1} {y:.1}")?;
        }
        let (y, class_of_name) = (self.y(at), class.to_owned());
        self.names.push(Name { y, class: class_of_name, text: name.to_owned() });
        writeln!(
            self.svg,
            "<path class=\"line {class}\" d=\"{path}\"><title>{}</title></path>",
            Escaped(name)
        )
    }

    /// A dot.
    pub(crate) fn dot(&mut self, class: &str, title: &str, x: f64, y: f64) -> fmt::Result {
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
    pub(crate) fn column(
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
            (self.frame.height - self.frame.bottom - top).max(1.0),
            Escaped(title)
        )
    }

    /// The names of the lines, below each other where they would lie on each other.
    fn names(&mut self) -> fmt::Result {
        let Frame { width, height, right, top, bottom, .. } = self.frame;
        let left = width - right + 14.0;
        let wanted: Vec<f64> = self.names.iter().map(|name| name.y).collect();
        let places = spread_out(&wanted, TEXT + 1.0, [top, height - bottom]);
        for (Name { class, text, .. }, y) in self.names.iter().zip(places) {
            writeln!(
                self.svg,
                "<path class=\"line {class}\" d=\"M{left:.1} {y:.1}h14\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                left + 20.0,
                y + 4.0,
                Escaped(text)
            )?;
        }
        Ok(())
    }

    /// What belongs into the `svg` element.
    pub(super) fn contents(mut self) -> Result<String, fmt::Error> {
        self.names()?;
        Ok(self.svg)
    }

    /// The element; `label` says what it shows to who does not see it.
    pub(crate) fn finish(self, label: &str) -> Result<String, fmt::Error> {
        let size = self.frame.size();
        Ok(element(label, size, &self.contents()?))
    }
}

fn element(label: &str, [width, height]: [f64; 2], contents: &str) -> String {
    let label = Escaped(label);
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">\n{contents}</svg>\n"
    )
}

/// A bar with its name, its value and the ends of its spread.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) class: String,
    pub(crate) value: f64,
    pub(crate) ends: Option<(f64, f64)>,
    pub(crate) label: String,
}

/// Bars below each other, by factors.
pub(crate) fn bars<D: Display>(
    label: &str,
    bars: &[Bar<'_>],
    tick: impl Fn(f64) -> D,
) -> Result<String, fmt::Error> {
    const ROW: f64 = 20.0;
    const NAMES: f64 = 150.0;
    const VALUES: f64 = 190.0;
    let ends = |bar: &Bar<'_>| bar.ends.unwrap_or((bar.value, bar.value));
    // The shortest bar is to be seen as well, so the axis begins before it.
    let values = bars.iter().flat_map(|bar| [bar.value / 2.0, ends(bar).0 / 2.0, ends(bar).1]);
    let axis = Axis::factors(values, tick, "");
    let place = |value: f64| NAMES + axis.place(value) * (WIDE - NAMES - VALUES);
    let height = ROW * bars.len() as f64 + 22.0;
    let mut svg = String::new();
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
    Ok(element(label, [WIDE, height], &svg))
}

/// Text inside markup.
pub(crate) struct Escaped<T>(pub(crate) T);

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
    fn text_cannot_become_markup() {
        assert_eq!(Escaped("a<b & \"c\">").to_string(), "a&lt;b &amp; &quot;c&quot;&gt;");
    }

    #[test]
    fn values_lie_inside_the_frame_and_greater_ones_higher() {
        let across = Axis::percentiles(3.0);
        let up = Axis::factors([100.0, 1000.0].into_iter(), |value| value, "");
        let chart = Chart::new(LARGE, across, up).unwrap();
        let Frame { width, height, left, right, top, bottom } = LARGE;
        assert_eq!((chart.x(0.0), chart.x(3.0)), (left, width - right));
        assert_eq!((chart.y(100.0), chart.y(1000.0)), (height - bottom, top));
        assert!(chart.y(300.0) < chart.y(200.0));
    }

    #[test]
    fn lines_at_one_height_are_named_below_each_other() {
        let up = Axis::factors([100.0, 1000.0].into_iter(), |value| value, "");
        let mut chart = Chart::new(LABELLED, Axis::percentiles(3.0), up).unwrap();
        for name in ["one", "other"] {
            chart.line("c", name, 200.0, [(0.0, 100.0), (3.0, 500.0)]).unwrap();
        }
        let svg = chart.finish("two lines").unwrap();
        let y_of = |name: &str| -> f64 {
            let text = svg.lines().find(|line| line.ends_with(&format!(">{name}</text>"))).unwrap();
            let (_, y) = text.rsplit_once("y=\"").unwrap();
            y.split('"').next().unwrap().parse().unwrap()
        };
        assert!((y_of("one") - y_of("other")).abs() >= TEXT - 0.1, "{svg}");
    }
}
