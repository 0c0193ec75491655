//! The comparison as a page, and its first percentiles as a picture.

use std::fmt;

use crate::{
    Error,
    compare::{
        checks::Check,
        figures::{Figures, Status},
        run::{Cell, Visit},
        work::Work,
    },
    peers::SUBJECTS,
    report::{
        Bar, Colours, Machine, Outlier, Page, Role, Series, picture as draw,
        units::{Count, Time, percent},
    },
};

/// The whole page. `figures` are those of `cells`, in the same order; `table` is the report as text.
pub(super) fn write(
    machine: &Machine,
    cells: &[Cell],
    figures: &[Figures],
    checks: &[Check],
    table: &str,
) -> Result<String, fmt::Error> {
    let colours = colours();
    let mut page = Page::new("Ringbridge beside its peers", &colours);
    let [main, renderer] = machine.pins;
    page.facts(machine.facts(format!("main on {main}, renderer on {renderer}")))?;
    page.text(
        "Two processes, pinned, launched for each slice; slices of all subjects alternate, each between two \
         slices of the floor, a bare cache line that is bounced. Figures are medians over the rounds; spreads \
         are the least and the most.",
    )?;
    page.section("What must hold", |page| write_checks(page, checks))?;
    for rows in figures.chunk_by(|one, other| one.task == other.task) {
        let Some(first) = rows.first() else { continue };
        let part = Part { rows, colours: &colours };
        page.section(&first.task.to_string(), |page| part.write(page, first.task.work))?;
    }
    let outliers = outliers(cells, &colours);
    if !outliers.is_empty() {
        page.section("Outliers", |page| page.outliers(&outliers))?;
    }
    page.section("All figures", |page| page.terminal(table))?;
    Ok(page.finish())
}

fn write_checks(page: &mut Page, checks: &[Check]) -> fmt::Result {
    let (decided, open): (Vec<_>, Vec<_>) = checks.iter().partition(|check| !check.is_open());
    page.table(
        ["claim", "required", "measured", ""],
        decided.into_iter().map(|check| {
            let (required, measured) = check.figures();
            let class = check.verdict().to_lowercase().replace(' ', "-");
            (class, [check.claim.to_owned(), required, measured, check.verdict().to_owned()])
        }),
    )?;
    match open.len() {
        0 => Ok(()),
        count => page.text(&format!("{count} more need what was not measured in this run.")),
    }
}

/// The percentiles of the first task that has some.
pub(super) fn picture(machine: &Machine, figures: &[Figures]) -> Result<String, Error> {
    let mut tasks = figures.chunk_by(|one, other| one.task == other.task);
    let rows = tasks.find(|rows| rows.iter().any(|row| row.latency.is_some()));
    let rows = rows.ok_or("nothing that takes time was measured, so there is no picture")?;
    let colours = colours();
    let series = Part { rows, colours: &colours }.series();
    let title = format!("Two processes: {}", rows[0].task);
    Ok(draw(&title, &machine.summary(), &colours, &series)?)
}

fn colours() -> Colours {
    Colours::of(SUBJECTS.iter().map(|subject| {
        let role = match subject.name() {
            "bounce" | "bounce-two-lines" | "bare-ring" | "futex" => Role::Floor,
            name if name.starts_with("memcpy") => Role::Floor,
            name if name.starts_with("ringbridge") => Role::Ours,
            _ => Role::Other,
        };
        (subject.name(), role)
    }))
}

/// What came of all subjects at one task.
struct Part<'a> {
    rows: &'a [Figures],
    colours: &'a Colours,
}

impl<'a> Part<'a> {
    fn write(&self, page: &mut Page, work: Work) -> fmt::Result {
        match work {
            Work::RoundTrip => {
                self.ratios(page)?;
                page.percentiles(&self.series())?;
                page.histograms(&self.series())?;
            }
            Work::Push => {
                page.percentiles(&self.series())?;
                page.histograms(&self.series())?;
                self.cpu(page)?;
            }
            Work::Stream => self.rates(page)?,
            Work::Idle => self.cpu(page)?,
        }
        page.list(self.rows.iter().map(|row| (row.subject, remark(row))))
    }

    fn series(&self) -> Vec<Series<'a>> {
        let series = self.rows.iter().filter_map(|row| {
            let all = &row.latency.as_ref()?.all;
            Some(Series { name: row.subject, class: self.colours.class(row.subject), all })
        });
        series.collect()
    }

    /// A bar for each subject of which there is this: a value, the ends of its spread, and what is written beside it.
    fn bars(
        &self,
        of: impl Fn(&Figures) -> Option<(f64, Option<(f64, f64)>, String)>,
    ) -> Vec<Bar<'a>> {
        let bars = self.rows.iter().filter_map(|row| {
            let (value, ends, label) = of(row)?;
            let name = row.subject;
            Some(Bar { name, class: self.colours.class(name), value, ends, label })
        });
        bars.collect()
    }

    fn ratios(&self, page: &mut Page) -> fmt::Result {
        let ratios = self.bars(|row| {
            let latency = row.latency.as_ref()?;
            let ratio = latency.ratio;
            let label = format!("{:.2} = {}", ratio.median, Time(latency.p50_ns.median));
            Some((ratio.median, Some((ratio.min, ratio.max)), label))
        });
        page.bars("p50 in floors", &ratios, |ratio| ratio)
    }

    fn rates(&self, page: &mut Page) -> fmt::Result {
        let rates = self.bars(|row| {
            let stream = row.stream.as_ref()?;
            let rate = stream.messages_per_second;
            let gib = stream.gib_per_second.median;
            let label = format!("{}/s = {gib:.2} GiB/s", Count(rate.median));
            Some((rate.median, Some((rate.min, rate.max)), label))
        });
        page.bars("messages a second", &rates, Count)
    }

    fn cpu(&self, page: &mut Page) -> fmt::Result {
        let parts = self.bars(|row| {
            let cpu = row.cpu.as_ref()?;
            let (main, renderer) = (cpu.main.median, cpu.renderer.median);
            let label = format!("{} main + {} renderer", percent(main), percent(renderer));
            // An axis by factors has no zero; a hundredth of a per cent is none.
            Some(((main + renderer).max(1e-4) * 100.0, None, label))
        });
        const CAPTION: &str = "CPU time of both processes, in per cent of one core";
        page.bars(CAPTION, &parts, |part| format!("{part} %"))
    }
}

/// What is not in the pictures, and why.
fn remark(row: &Figures) -> String {
    let reason = row.reason.as_deref().unwrap_or_default();
    let Figures { near, far, moved, rounds_failed, .. } = row;
    match row.status {
        Status::NotApplicable => format!("n/a: {reason}"),
        Status::Failed => format!("FAILED: {reason}"),
        Status::Measured => {
            let failed = match rounds_failed {
                0 => String::new(),
                rounds => format!("; {rounds} rounds failed: {reason}"),
            };
            format!("{}; {near} slices near, {far} far, {moved} moved{failed}", row.about)
        }
    }
}

fn outliers(cells: &[Cell], colours: &Colours) -> Vec<Outlier<'static>> {
    let of_cell = |cell: &Cell| {
        let name = cell.subject.name();
        let (class, title) = (colours.class(name), cell.task.to_string());
        let of_visit = |(_, visit): (usize, &Visit)| {
            let began_s = visit.at.as_secs_f64();
            let longest = visit.outcome.outliers.iter().map(|&(after_ns, length_ns)| Outlier {
                name,
                class: class.clone(),
                title: title.clone(),
                at_s: began_s + after_ns as f64 / 1e9,
                length_ns: length_ns as f64,
            });
            longest.collect::<Vec<_>>()
        };
        cell.visits().flat_map(of_visit).collect::<Vec<_>>()
    };
    cells.iter().flat_map(of_cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{
            checks::check,
            samples::{cell_of, machine, outcome},
            slice::Outcome,
        },
        report::tests::assert_well_formed,
        stats::Distribution,
    };

    #[test]
    fn a_page_is_well_formed_and_has_every_cell() {
        let mut cells: Vec<Cell> = Vec::new();
        for work in [Work::RoundTrip, Work::Stream, Work::Push, Work::Idle] {
            cells.push(cell_of("ringbridge-spin", work, vec![outcome(150), outcome(170)]));
            let mut failed = cell_of("pipe", work, vec![]);
            failed.rounds.push(Some(Err("it broke <badly> & \"loudly\"".to_owned())));
            cells.push(failed);
            let mut unable = cell_of("memcpy", work, vec![]);
            unable.unable = Some("a copy is no conversation");
            cells.push(unable);
        }
        for cell in &mut cells {
            for round in &mut cell.rounds {
                if let (Some(Ok(visit)), Work::Push) = (round, cell.task.work) {
                    visit.outcome.cost = Some(Distribution::of(&[50; 10]));
                }
            }
        }
        let figures: Vec<_> = cells.iter().map(Figures::of).collect();
        let page = write(&machine(), &cells, &figures, &check(&cells), "text < & >").unwrap();
        assert_well_formed(&page);
        for work in ["round-trip 48 B", "stream 48 B", "push 1 kHz", "idle"] {
            let section = page
                .split("<section>")
                .find(|each| each.trim_start().starts_with(&format!("<h2>{work}</h2>")));
            let section = section.expect(work);
            assert!(section.contains("<b>ringbridge-spin</b>: invoke"), "{work}");
            assert!(section.contains("<b>pipe</b>: FAILED: it broke &lt;badly&gt;"), "{work}");
            assert!(section.contains("<b>memcpy</b>: n/a: a copy"), "{work}");
            assert!(section.contains("<svg"), "{work}");
        }
        assert!(page.contains("<h2>Outliers</h2>") && page.contains("prefers-color-scheme"));
    }

    #[test]
    fn the_picture_is_of_the_first_task_that_takes_time() {
        let cells = [Work::Stream, Work::RoundTrip, Work::Push].map(|work| {
            let timed = Outcome { latency: None, ..outcome(150) };
            let outcome = if work == Work::Stream { timed } else { outcome(150) };
            cell_of("ringbridge-spin", work, vec![outcome])
        });
        let figures: Vec<_> = cells.iter().map(Figures::of).collect();
        let svg = picture(&machine(), &figures).unwrap();
        assert_well_formed(&svg);
        assert!(svg.contains(">Two processes: round-trip 48 B<"), "{svg}");
        assert!(svg.contains(">ringbridge-spin 150 ns</text>"), "{svg}");
        assert!(picture(&machine(), &figures[..1]).is_err());
    }
}
