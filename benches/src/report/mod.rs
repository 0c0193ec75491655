//! Reports with pictures: a page that needs nothing else (no network, no script), and one picture alone.
//!
//! `latency` and `compare` say what they have measured in the same pictures; each decides which, and in what
//! order. Colours and fonts are in `report.css`, for light and dark.

mod axis;
mod chart;
mod machine;
mod output;
pub(crate) mod units;

use std::fmt::{self, Display, Write};

pub use self::output::Output;
use self::{
    axis::Axis,
    chart::{Chart, LABELLED, LARGE, SMALL, bars},
    units::{RoundShare, RoundTime, Time},
};
pub(crate) use self::{
    chart::{Bar, Escaped},
    machine::{Machine, version_of},
    output::write_file,
};
use crate::stats::Distribution;

const STYLE: &str = include_str!("report.css");

/// What a subject is to the reader; its colour says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ringbridge, in one of its ways: warm.
    Ours,
    /// What the bare machine does: grey.
    Floor,
    /// What somebody else has made: the rest of the circle.
    Other,
}

/// A colour for each name.
pub(crate) struct Colours(Vec<(&'static str, Role, &'static str)>);

impl Colours {
    pub(crate) fn of(names: impl IntoIterator<Item = (&'static str, Role)>) -> Self {
        const OURS: [&str; 8] = [
            "0 80% .9",
            "28 90% .95",
            "330 65% 1",
            "350 45% .7",
            "20 55% .7",
            "315 40% .7",
            "46 85% .9",
            "10 50% 1.2",
        ];
        const FLOORS: [&str; 7] = [
            "220 6% 1",
            "30 22% 1",
            "160 16% .9",
            "220 6% 1.35",
            "300 12% 1",
            "60 16% 1.1",
            "200 14% .75",
        ];
        const OTHERS: [&str; 10] = [
            "215 70% 1",
            "150 60% .85",
            "275 55% 1.05",
            "190 75% .9",
            "90 50% .8",
            "245 60% 1.1",
            "170 45% 1.15",
            "300 45% .9",
            "200 45% 1.25",
            "125 40% 1.1",
        ];
        let mut counts = [0; 3];
        let colours = names.into_iter().map(|(name, role)| {
            let some: &[&str] = match role {
                Role::Ours => &OURS,
                Role::Floor => &FLOORS,
                Role::Other => &OTHERS,
            };
            let count = &mut counts[role as usize];
            let colour = some[*count % some.len()];
            *count += 1;
            (name, role, colour)
        });
        Self(colours.collect())
    }

    /// The class of a name's colour.
    pub(crate) fn class(&self, name: &str) -> String {
        let number = self.0.iter().position(|(each, ..)| *each == name);
        number.map_or(String::new(), |number| format!("s{number}"))
    }

    /// Hue, saturation, and how light it is in parts of what suits the paper. Ours are drawn a little stronger.
    fn css(&self) -> String {
        let rules = self.0.iter().enumerate().map(|(number, (_, role, colour))| {
            let parts: Vec<&str> = colour.split(' ').collect();
            let [hue, saturation, lightness] = parts[..] else { unreachable!("three parts each") };
            let width = if *role == Role::Ours { 2.6 } else { 1.6 };
            format!(
                ".s{number} {{ --c: hsl({hue} {saturation} calc({lightness} * var(--l))); --w: {width}; }}\n"
            )
        });
        rules.collect()
    }
}

/// What was measured of one subject.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) class: String,
    pub(crate) all: &'a Distribution,
}

/// One sample that took long.
pub(crate) struct Outlier<'a> {
    pub(crate) name: &'a str,
    pub(crate) class: String,
    /// What it was, for who points at it.
    pub(crate) title: String,
    /// When it began, in seconds since the run did.
    pub(crate) at_s: f64,
    pub(crate) length_ns: f64,
}

/// A page under way.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn new(title: &str, colours: &Colours) -> Self {
        let (title, colours) = (Escaped(title), colours.css());
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{title}</title>\n<style>\n{STYLE}{colours}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n"
        ))
    }

    /// A part with a heading of its own.
    pub(crate) fn section(
        &mut self,
        title: &str,
        write: impl FnOnce(&mut Self) -> fmt::Result,
    ) -> fmt::Result {
        writeln!(self.0, "<section>\n<h2>{}</h2>", Escaped(title))?;
        write(self)?;
        writeln!(self.0, "</section>")
    }

    /// A paragraph.
    pub(crate) fn text(&mut self, text: &str) -> fmt::Result {
        writeln!(self.0, "<p>{}</p>", Escaped(text))
    }

    /// Names and what is to be said of each.
    pub(crate) fn facts(
        &mut self,
        facts: impl IntoIterator<Item = (&'static str, String)>,
    ) -> fmt::Result {
        writeln!(self.0, "<table class=\"facts\">")?;
        for (name, value) in facts {
            let value = Escaped(value);
            writeln!(self.0, "<tr><th>{}</th><td>{value}</td></tr>", Escaped(name))?;
        }
        writeln!(self.0, "</table>")
    }

    /// A table. Each row has a class, which may be empty.
    pub(crate) fn table<const N: usize>(
        &mut self,
        heads: [&str; N],
        rows: impl IntoIterator<Item = (String, [String; N])>,
    ) -> fmt::Result {
        write!(self.0, "<div class=\"wide\"><table>\n<tr>")?;
        heads.iter().try_for_each(|head| write!(self.0, "<th>{}</th>", Escaped(head)))?;
        writeln!(self.0, "</tr>")?;
        for (class, cells) in rows {
            write!(self.0, "<tr class=\"{class}\">")?;
            cells.iter().try_for_each(|cell| write!(self.0, "<td>{}</td>", Escaped(cell)))?;
            writeln!(self.0, "</tr>")?;
        }
        writeln!(self.0, "</table></div>")
    }

    /// A list; each item begins with a name.
    pub(crate) fn list<'a>(
        &mut self,
        items: impl IntoIterator<Item = (&'a str, String)>,
    ) -> fmt::Result {
        writeln!(self.0, "<ul>")?;
        for (name, text) in items {
            writeln!(self.0, "<li><b>{}</b>: {}</li>", Escaped(name), Escaped(text))?;
        }
        writeln!(self.0, "</ul>")
    }

    /// Text as a terminal shows it.
    pub(crate) fn terminal(&mut self, text: &str) -> fmt::Result {
        writeln!(self.0, "<pre>{}</pre>", Escaped(text))
    }

    fn figure(&mut self, caption: &str, svg: &str) -> fmt::Result {
        let caption = Escaped(caption);
        writeln!(self.0, "<figure>\n<figcaption>{caption}</figcaption>\n{svg}</figure>")
    }

    /// Values beside each other, by factors.
    pub(crate) fn bars<D: Display>(
        &mut self,
        caption: &str,
        values: &[Bar<'_>],
        tick: impl Fn(f64) -> D,
    ) -> fmt::Result {
        self.figure(caption, &bars(caption, values, tick)?)
    }

    /// The percentiles of all series in one picture.
    pub(crate) fn percentiles(&mut self, series: &[Series<'_>]) -> fmt::Result {
        const CAPTION: &str = "Percentiles, and the p50 of each";
        self.figure(CAPTION, &percentiles(LABELLED, series)?.finish(CAPTION)?)
    }

    /// How often each time occurred, both by factors: one in a million is a column as well. All have one scale, so
    /// that they can be compared.
    pub(crate) fn histograms(&mut self, series: &[Series<'_>]) -> fmt::Result {
        let columns: Vec<_> = series.iter().map(|each| each.all.columns()).collect();
        let ends = columns.iter().flatten().flat_map(|column| [column.from, column.to]);
        let across = Axis::factors(ends, RoundTime, "");
        writeln!(self.0, "<div class=\"small\">")?;
        for (each, columns) in series.iter().zip(columns) {
            let shares = columns.iter().map(|column| column.share).chain([1.0]);
            let up = Axis::factors(shares, RoundShare, "");
            let mut chart = Chart::new(SMALL, across.clone(), up)?;
            for column in columns {
                let ends = [column.from, column.to];
                let [from, to] = ends.map(Time);
                let title = format!("{from} to {to}: {:.4} %", column.share * 100.0);
                chart.column(&each.class, &title, ends, column.share)?;
            }
            let caption = format!("{}, {} samples", each.name, each.all.count());
            self.figure(&caption, &chart.finish(&caption)?)?;
        }
        writeln!(self.0, "</div>")
    }

    /// The longest samples, when they happened: what hits all subjects at once is the machine.
    pub(crate) fn outliers(&mut self, outliers: &[Outlier<'_>]) -> fmt::Result {
        const CAPTION: &str = "The longest samples of each slice";
        let end = outliers.iter().map(|outlier| outlier.at_s).fold(0.0, f64::max);
        let across = Axis::seconds(end, "since the run began");
        let up = Axis::factors(outliers.iter().map(|each| each.length_ns), RoundTime, "");
        let mut chart = Chart::new(LARGE, across, up)?;
        for Outlier { name, class, title, at_s, length_ns } in outliers {
            let title = format!("{name}, {title}: {} at {at_s:.3} s", Time(*length_ns));
            chart.dot(class, &title, *at_s, *length_ns)?;
        }
        self.figure(CAPTION, &chart.finish(CAPTION)?)?;
        let mut legend: Vec<_> = outliers.iter().map(|each| (each.name, &each.class)).collect();
        legend.sort_unstable();
        legend.dedup();
        write!(self.0, "<p class=\"legend\">")?;
        for (name, class) in legend {
            write!(self.0, "<span class=\"{class}\"><i></i>{}</span> ", Escaped(name))?;
        }
        writeln!(self.0, "</p>")
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</body>\n</html>\n");
        self.0
    }
}

fn percentiles(frame: chart::Frame, series: &[Series<'_>]) -> Result<Chart, fmt::Error> {
    let curves: Vec<_> = series.iter().map(|each| (each, each.all.curve())).collect();
    let values = curves.iter().flat_map(|(_, curve)| curve.iter().map(|point| point.1 as f64));
    let up = Axis::factors(values, RoundTime, "");
    let nines = curves.iter().filter_map(|(_, curve)| Some(curve.last()?.0)).fold(0.0, f64::max);
    let mut chart = Chart::new(frame, Axis::percentiles(nines), up)?;
    for (each, curve) in &curves {
        let points = curve.iter().map(|&(nines, value)| (nines, value as f64));
        let p50 = each.all.at(0.5) as f64;
        chart.line(&each.class, &format!("{} {}", each.name, Time(p50)), p50, points)?;
    }
    Ok(chart)
}

/// The percentiles alone, as a file of its own: with its title, its paper and its colours in it, so that it is
/// legible on whatever page it stands.
pub(crate) fn picture(
    title: &str,
    note: &str,
    colours: &Colours,
    series: &[Series<'_>],
) -> Result<String, fmt::Error> {
    const HEAD: f64 = 48.0;
    let frame = LABELLED.below(HEAD);
    let [width, height] = frame.size();
    let chart = percentiles(frame, series)?.contents()?;
    let (title, note, colours) = (Escaped(title), Escaped(note), colours.css());
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<style>\n{STYLE}{colours}</style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"16\" y=\"24\">{title}</text>\n\
         <text class=\"note\" x=\"16\" y=\"43\">{note}</text>\n{chart}</svg>\n"
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every tag is closed in order, and there is no reference to elsewhere.
    pub(crate) fn assert_well_formed(markup: &str) {
        let mut open = Vec::new();
        let mut rest = markup.trim_start_matches("<!DOCTYPE html>");
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>').expect("a tag ends");
            let tag = &rest[start + 1..end];
            assert!(!tag.contains('<'), "{tag}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split([' ', '\n']).next().unwrap());
            }
            rest = &rest[end + 1..];
        }
        assert_eq!(open, Vec::<&str>::new());
        let here = markup.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for elsewhere in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "NaN"] {
            assert!(!here.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_picture_stands_for_itself_on_light_and_dark_paper() {
        let colours = Colours::of([("ours", Role::Ours), ("bounce", Role::Floor)]);
        let (ours, floor) = (Distribution::of(&[250; 1000]), Distribution::of(&[120; 1000]));
        let series = [("ours", &ours), ("bounce", &floor)];
        let series = series.map(|(name, all)| Series { name, class: colours.class(name), all });
        let svg = picture("48 <bytes>", "by a & b", &colours, &series).unwrap();
        assert_well_formed(&svg);
        for part in
            ["48 &lt;bytes&gt;", "by a &amp; b", "prefers-color-scheme", ".paper", ">ours 250 ns<"]
        {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn names_have_colours_of_their_own_as_long_as_there_are_some() {
        let names = ["a", "b", "c", "d", "e"];
        let colours = Colours::of(names.map(|name| (name, Role::Other)));
        let mut rules: Vec<_> = colours.css().lines().map(str::to_owned).collect();
        assert_eq!(colours.class("c"), "s2");
        assert_eq!(colours.class("nobody"), "");
        rules.iter_mut().for_each(|rule| *rule = rule.split_once(" {").unwrap().1.to_owned());
        rules.sort();
        rules.dedup();
        assert_eq!(rules.len(), names.len());
    }
}
