//! The comparison as a page, and its first percentiles as a picture.

use super::{
    cell::{Cell, MAIN_CPU, P50, Placement, RATE, RENDERER_CPU},
    checks::Check,
};
use crate::{
    Error,
    pair::job::Work,
    peers::{Kind, SUBJECTS},
    report::{Bar, FLOORS, Machine, OTHERS, OURS, Outlier, Page, Paint, Series, picture as draw},
    stats::Spread,
    units,
};

pub(super) fn write(
    machine: &Machine,
    cells: &[Cell],
    checks: &[Check],
    table: &str,
) -> Result<String, Error> {
    let mut page = Page::new("Ringbridge beside its peers");
    let [main, renderer] = machine.pins;
    page.facts(machine.facts(format!("main on {main}, renderer on {renderer}")));
    page.text(
        "Two processes, pinned, launched for each slice. Slices of all subjects alternate, each between two \
         slices of the floor, a bare cache line that is bounced. Figures are medians over the rounds; spreads \
         are the least and the most.",
    );
    page.section("What must hold");
    write_checks(&mut page, checks);
    for rows in cells.chunk_by(|one, other| one.task == other.task) {
        if let Some(first) = rows.first() {
            page.section(&first.task.to_string());
            write_task(&mut page, rows, first.task.work)?;
        }
    }
    let outliers = outliers(cells);
    if !outliers.is_empty() {
        page.section("Outliers");
        page.outliers(&outliers)?;
    }
    page.section("All figures");
    page.terminal(table);
    Ok(page.finish())
}

fn write_checks(page: &mut Page, checks: &[Check]) {
    let (open, decided): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.is_open());
    page.table(
        ["claim", "required", "measured", ""],
        decided.into_iter().map(|check| {
            let (required, measured) = check.figures();
            (check.verdict(), [check.claim().to_owned(), required, measured, check.shown()])
        }),
    );
    if !open.is_empty() {
        page.text(&format!("{} more need what was not measured in this run.", open.len()));
    }
}

/// Draws the percentiles of the first task that has some.
pub(super) fn picture(machine: &Machine, cells: &[Cell]) -> Result<String, Error> {
    let mut tasks = cells.chunk_by(|one, other| one.task == other.task);
    let rows = tasks.find(|rows| rows.iter().any(|row| row.samples().is_some()));
    let rows = rows.ok_or("nothing that takes time was measured, so there is no picture")?;
    draw(&format!("Two processes: {}", rows[0].task), &machine.summary(), &series(rows))
}

/// Returns the colour of a subject, the same one in each run.
fn paint(name: &str) -> Paint {
    let colours = |kind| match kind {
        Kind::Floor(_) => FLOORS,
        Kind::Ours(_) => OURS,
        Kind::Other(_) => OTHERS,
    };
    let kind = SUBJECTS.iter().find(|each| each.name == name).map_or(OTHERS, |of| colours(of.kind));
    let mut alike = SUBJECTS.iter().filter(|each| colours(each.kind) == kind);
    Paint::of(kind, alike.position(|each| each.name == name).unwrap_or(0))
}

fn series(rows: &[Cell]) -> Vec<Series<'_>> {
    let series = rows.iter().filter_map(|row| {
        let name = row.subject.name;
        Some(Series { name, paint: paint(name), all: row.samples()? })
    });
    series.collect()
}

fn write_task(page: &mut Page, rows: &[Cell], work: Work) -> Result<(), Error> {
    if work == Work::RoundTrip {
        let ratios = bars(rows, |row| {
            let (ratio, p50) = (row.ratio()?, row.spread(P50)?.median);
            Some((ratio, format!("{:.2} = {}", ratio.median, units::time(p50))))
        });
        page.bars("p50 in floors", &ratios, |ratio| ratio.to_string())?;
    }
    match work {
        Work::RoundTrip | Work::Push => {
            let series = series(rows);
            page.percentiles(&series)?;
            page.histograms(&series)?;
        }
        Work::Stream => {
            let rates = bars(rows, |row| {
                let (rate, gib) = (row.spread(RATE)?, row.gib_per_second()?.median);
                Some((rate, format!("{}/s = {gib:.2} GiB/s", units::count(rate.median))))
            });
            page.bars("messages a second", &rates, units::count)?;
        }
        Work::Idle => {}
    }
    if matches!(work, Work::Push | Work::Idle) {
        let mut parts = bars(rows, |row| {
            let [main, renderer] = [row.spread(MAIN_CPU)?.median, row.spread(RENDERER_CPU)?.median];
            let label =
                format!("{} main + {} renderer", units::percent(main), units::percent(renderer));
            // A log axis has no zero; a hundredth of a per cent is none.
            let part = (main + renderer).max(1e-4) * 100.0;
            Some((Spread { median: part, min: part, max: part }, label))
        });
        parts.iter_mut().for_each(|bar| bar.ends = None);
        const CAPTION: &str = "CPU time of both processes, in per cent of one core";
        page.bars(CAPTION, &parts, |part| format!("{part} %"))?;
    }
    page.list(rows.iter().map(|row| (row.subject.name, remark(row))));
    Ok(())
}

fn bars(rows: &[Cell], of: impl Fn(&Cell) -> Option<(Spread, String)>) -> Vec<Bar<'_>> {
    let bars = rows.iter().filter_map(|row| {
        let (Spread { median, min, max }, label) = of(row)?;
        let (name, ends) = (row.subject.name, Some((min, max)));
        Some(Bar { name, paint: paint(name), value: median, ends, label })
    });
    bars.collect()
}

fn remark(row: &Cell) -> String {
    if let Some(instead) = row.instead() {
        return instead;
    }
    let failed = match row.rounds_failed() {
        0 => String::new(),
        rounds => format!("; {rounds} rounds failed: {}", row.reason().unwrap_or_default()),
    };
    let [near, far, moved] =
        [Placement::Near, Placement::Far, Placement::Moved].map(|place| row.placed(place));
    format!("{}; {near} slices near, {far} far, {moved} moved{failed}", row.subject.about)
}

fn outliers(cells: &[Cell]) -> Vec<Outlier<'static>> {
    let mut outliers = Vec::new();
    for cell in cells {
        let (name, paint) = (cell.subject.name, paint(cell.subject.name));
        for (_, outcome) in cell.outcomes() {
            let began_s = outcome.at.as_secs_f64();
            outliers.extend(outcome.slice.longest.iter().map(|&(after_ns, length_ns)| {
                let at_s = began_s + after_ns as f64 / 1e9;
                Outlier { name, paint, at_s, length_ns: length_ns as f64 }
            }));
        }
    }
    outliers
}
