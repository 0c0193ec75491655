//! One pattern beside its floor, as a page or a picture.

use std::fmt;

use super::Report;
use crate::{
    Error,
    report::{
        Bar, Colours, Machine, Output, Page, Role, Series, picture,
        units::{Count, Time},
        write_file,
    },
};

impl Report {
    /// Writes the files that were asked for. `program` is the one that runs.
    ///
    /// # Errors
    ///
    /// If one cannot be written.
    pub fn write(&self, output: &Output) -> Result<(), Error> {
        let machine = Machine::look(self.job.pins, "latency", ["ringbridge"], &[]);
        if let Some(file) = &output.html {
            write_file(file, &self.page(&machine)?)?;
        }
        if let Some(file) = &output.svg {
            let colours = self.colours();
            let series = self.series(&colours);
            write_file(file, &picture(&self.title(), &machine.summary(), &colours, &series)?)?;
        }
        Ok(())
    }

    fn title(&self) -> String {
        let super::Figures { pattern, payload, wait, backend, .. } = &self.figures;
        format!("{}, {payload} bytes, {wait:?}, {backend}", pattern.name()).to_lowercase()
    }

    fn colours(&self) -> Colours {
        let names = self.samples().into_iter().map(|(name, _)| name);
        Colours::of(names.zip([Role::Ours, Role::Floor, Role::Floor]))
    }

    fn series(&self, colours: &Colours) -> Vec<Series<'_>> {
        let samples = self.samples().into_iter();
        samples.map(|(name, all)| Series { name, class: colours.class(name), all }).collect()
    }

    pub(super) fn page(&self, machine: &Machine) -> Result<String, fmt::Error> {
        let (figures, colours) = (&self.figures, self.colours());
        let mut page = Page::new(&format!("Latency: {}", self.title()), &colours);
        let [main, renderer] = machine.pins;
        page.facts(machine.facts(if self.job.pinned {
            format!("main kept to {main}, renderer to {renderer}")
        } else {
            format!("where the scheduler put them; the floor on {main} and {renderer}")
        }))?;
        page.text(
            "Two processes. Slices of the subject alternate with slices of the floor, a bare cache line that \
             the same two processes bounce: each slice is compared with the floor before it. What moves both \
             is the machine.",
        )?;
        page.section("Figures", |page| {
            page.facts(figures.rows())?;
            self.ratios(page, &colours)
        })?;
        page.section("Percentiles and histograms", |page| {
            page.percentiles(&self.series(&colours))?;
            page.histograms(&self.series(&colours))
        })?;
        page.section("Outliers", |page| page.outliers(&self.outliers(&colours)))?;
        Ok(page.finish())
    }

    fn ratios(&self, page: &mut Page, colours: &Colours) -> fmt::Result {
        let figures = &self.figures;
        let floor = figures.floor_p50_ns.max(1) as f64;
        let name = figures.pattern.name();
        let [least, most] = figures.ratio_range;
        let bars = self.samples().into_iter().map(|(each, all)| {
            let p50 = all.at(0.5) as f64;
            let (value, ends) = if each == name {
                (figures.ratio_p50, Some((least, most)))
            } else {
                (p50 / floor, None)
            };
            let label = format!("{value:.2} = {}", Time(p50));
            Bar { name: each, class: colours.class(each), value, ends, label }
        });
        let bars: Vec<_> = bars.collect();
        page.bars("p50 in floors; the line is where nine of ten slices are", &bars, |ratio| ratio)
    }
}

impl super::Figures {
    /// What a page says of them, in the words of the table.
    fn rows(&self) -> impl Iterator<Item = (&'static str, String)> {
        let time = |ns: u64| match ns {
            0..1000 => format!("{ns} ns"),
            _ => format!("{} = {ns} ns", Time(ns as f64)),
        };
        [
            ("Messages", Some(self.count.to_string())),
            ("p50", Some(time(self.p50_ns))),
            ("p99", Some(time(self.p99_ns))),
            ("p99.9", Some(time(self.p999_ns))),
            ("Longest", Some(time(self.max_ns))),
            (
                "Messages a second",
                Some(format!("{} = {}", Count(self.per_second as f64), self.per_second)),
            ),
            ("Floor, p50", Some(time(self.floor_p50_ns))),
            ("Futex floor, p50", self.futex_floor_p50_ns.map(time)),
            ("p50 in floors", Some(format!("{:.3}", self.ratio_p50))),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}
