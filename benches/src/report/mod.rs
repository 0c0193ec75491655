//! Reports with charts: a page that needs neither network nor script, and a picture by itself.
//!
//! `latency` and `compare` show the same charts; each decides which ones, and in what order.

mod chart;

use std::{env, fs};

use procfs::{CpuInfo, Current};
use serde::Serialize;

pub(crate) use self::chart::{Bar, FLOORS, OTHERS, OURS, Outlier, Paint, Series};
use crate::{Error, system::Pins};

const STYLE: &str = include_str!("report.css");

pub(crate) struct Page {
    html: String,
    in_section: bool,
}

impl Page {
    pub(crate) fn new(title: &str) -> Self {
        let title = escaped(title);
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        Self { html, in_section: false }
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.end_section();
        self.html += &format!("<section>\n<h2>{}</h2>\n", escaped(title));
        self.in_section = true;
    }

    fn end_section(&mut self) {
        self.html += if std::mem::take(&mut self.in_section) { "</section>\n" } else { "" };
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.html += &format!("<p>{}</p>\n", escaped(text));
    }

    pub(crate) fn facts(&mut self, facts: impl IntoIterator<Item = (&'static str, String)>) {
        self.html += "<table class=\"facts\">\n";
        for (name, value) in facts {
            let value = escaped(&value);
            self.html += &format!("<tr><th>{}</th><td>{value}</td></tr>\n", escaped(name));
        }
        self.html += "</table>\n";
    }

    /// Adds a table. Each row has a class.
    pub(crate) fn table<const N: usize>(
        &mut self,
        heads: [&str; N],
        rows: impl IntoIterator<Item = (&'static str, [String; N])>,
    ) {
        let cells = |tag: &str, cells: &[String]| -> String {
            cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
        };
        let heads = cells("th", &heads.map(str::to_owned));
        self.html += &format!("<div class=\"wide\"><table>\n<tr>{heads}</tr>\n");
        for (class, row) in rows {
            self.html += &format!("<tr class=\"{class}\">{}</tr>\n", cells("td", &row));
        }
        self.html += "</table></div>\n";
    }

    /// Adds a list. Each item begins with a name.
    pub(crate) fn list<'a>(&mut self, items: impl IntoIterator<Item = (&'a str, String)>) {
        self.html += "<ul>\n";
        for (name, text) in items {
            self.html += &format!("<li><b>{}</b>: {}</li>\n", escaped(name), escaped(&text));
        }
        self.html += "</ul>\n";
    }

    pub(crate) fn terminal(&mut self, text: &str) {
        self.html += &format!("<pre>{}</pre>\n", escaped(text));
    }

    fn figure(&mut self, caption: &str, svg: &str) {
        let caption = escaped(caption);
        self.html += &format!("<figure>\n<figcaption>{caption}</figcaption>\n{svg}</figure>\n");
    }

    pub(crate) fn bars(
        &mut self,
        caption: &str,
        values: &[Bar<'_>],
        tick: impl Fn(f64) -> String,
    ) -> Result<(), Error> {
        self.figure(caption, &chart::bars(caption, values, &tick)?);
        Ok(())
    }

    pub(crate) fn percentiles(&mut self, series: &[Series<'_>]) -> Result<(), Error> {
        const CAPTION: &str = "Percentiles, and the p50 of each";
        self.figure(CAPTION, &chart::percentiles(CAPTION, None, series)?);
        Ok(())
    }

    /// Adds a histogram of each series. All have the same scale, so that they can be compared.
    pub(crate) fn histograms(&mut self, series: &[Series<'_>]) -> Result<(), Error> {
        let columns = series.iter().flat_map(|each| each.all.columns());
        let across = chart::LogAxis::around(columns.flat_map(|column| [column.from, column.to]));
        self.html += "<div class=\"small\">\n";
        for each in series {
            let caption = format!("{}, {} samples", each.name, each.all.count());
            self.figure(&caption, &chart::histogram(&caption, &across, each)?);
        }
        self.html += "</div>\n";
        Ok(())
    }

    /// Adds the longest samples over time: what delays all subjects at once is the machine.
    pub(crate) fn outliers(&mut self, outliers: &[Outlier<'_>]) -> Result<(), Error> {
        const CAPTION: &str = "The longest samples of each slice";
        self.figure(CAPTION, &chart::dots(CAPTION, outliers)?);
        let mut legend: Vec<_> = outliers.iter().map(|each| (each.name, each.paint)).collect();
        legend.sort_unstable_by_key(|(name, _)| *name);
        legend.dedup();
        self.html += "<p class=\"legend\">";
        for (name, Paint { colour, .. }) in legend {
            let (name, (r, g, b)) = (escaped(name), (colour.0, colour.1, colour.2));
            self.html +=
                &format!("<span><i style=\"background: rgb({r} {g} {b})\"></i>{name}</span> ");
        }
        self.html += "</p>\n";
        Ok(())
    }

    pub(crate) fn finish(mut self) -> String {
        self.end_section();
        self.html + "</body>\n</html>\n"
    }
}

/// Returns the percentiles as a file that contains its title and style, so that it is legible on any page.
pub(crate) fn picture(title: &str, note: &str, series: &[Series<'_>]) -> Result<String, Error> {
    let svg = chart::percentiles(title, Some(note), series)?;
    Ok(svg.replacen(">\n", &format!(">\n<style>\n{STYLE}</style>\n"), 1))
}

const LOCK: &str = include_str!("../../../Cargo.lock");

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kind: &'static str,
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) pins: [usize; 2],
    pub(crate) kernel: String,
    /// Whether the processor reports a hypervisor.
    pub(crate) virtual_machine: bool,
    pub(crate) versions: Vec<(&'static str, String)>,
    pub(crate) left_out: &'static [&'static str],
    pub(crate) command: String,
}

impl Machine {
    /// Describes this machine. `program` is the running binary, as cargo selects it.
    pub(crate) fn look(
        pins: Pins,
        program: &str,
        packages: impl IntoIterator<Item = &'static str>,
        left_out: &'static [&'static str],
    ) -> Self {
        let cpu_info = CpuInfo::current().ok();
        let info = cpu_info.as_ref();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let versions = packages.into_iter().filter_map(|name| Some((name, version_of(name)?)));
        Self {
            kind: "machine",
            cpu: info.and_then(|cpu| cpu.model_name(0)).unwrap_or(env::consts::ARCH).to_owned(),
            processors: info.map_or(0, CpuInfo::num_cores),
            pins: [pins.main, pins.renderer],
            kernel: format!("Linux {}", kernel.trim()),
            virtual_machine: info
                .and_then(|cpu| cpu.flags(0))
                .is_some_and(|flags| flags.contains(&"hypervisor")),
            versions: versions.collect(),
            left_out,
            command: command_line(program, env::args().skip(1)),
        }
    }

    pub(crate) fn processor(&self) -> String {
        format!("{}{}", self.cpu, if self.virtual_machine { ", virtual" } else { "" })
    }

    /// Returns the names and values for a page. `places` says where the two processes ran.
    pub(crate) fn facts(
        &self,
        places: String,
    ) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let left_out = (!self.left_out.is_empty()).then(|| self.left_out.join(", "));
        [
            ("Processor", Some(self.processor())),
            ("Processors", Some(format!("{}; {places}", self.processors))),
            ("Kernel", Some(self.kernel.clone())),
            ("Versions", Some(versions.join(", "))),
            ("Not compiled in", left_out),
            ("To measure it again", Some(self.command.clone())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "by percentile; {}, {} processors, {}",
            self.processor(),
            self.processors,
            self.kernel
        )
    }
}

pub(crate) fn version_of(package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

fn command_line(program: &str, arguments: impl Iterator<Item = String>) -> String {
    let mut line = format!("cargo run --release -p benches --bin {program}");
    for (number, argument) in arguments.enumerate() {
        line.push_str(if number == 0 { " -- " } else { " " });
        line.push_str(&argument);
    }
    line
}

/// Returns text as it is written in HTML and SVG.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stats::Distribution;

    /// Asserts that every tag is closed in order, and that nothing refers to another place.
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
        let (ours, floor) = (Distribution::of(&[250; 1000]), Distribution::of(&[120; 1000]));
        let series = [
            Series { name: "ours", paint: Paint::of(OURS, 0), all: ours },
            Series { name: "bounce", paint: Paint::of(FLOORS, 0), all: floor },
        ];
        let svg = picture("48 <bytes>", "by a & b", &series).unwrap();
        assert_well_formed(&svg);
        for part in ["48 &lt;bytes&gt;", "by a &amp; b", "prefers-color-scheme", "\nours 250 ns\n<"]
        {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
    }
}
