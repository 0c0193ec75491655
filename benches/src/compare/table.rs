//! The report as text: a table for each task, and the checks.

use std::fmt::{self, Write};

use super::{
    cell::{
        Cell, FLOOR, LOST, MAIN_CPU, MAIN_SWITCHES, P50, P90, P99, P999, Placement, RATE,
        RENDERER_CPU, RENDERER_SWITCHES, SEND_P50, SENT, UNWOKEN,
    },
    checks::Check,
};
use crate::{pair::job::Work, report::Machine, stats::Spread, units};

/// A column of a table: its head, its width, and the figure of a row.
type Column = (&'static str, usize, fn(&Cell) -> Option<String>);

const TENTHS: fn(f64) -> String = |value| format!("{value:.1}");
const HUNDREDTHS: fn(f64) -> String = |value| format!("{value:.2}");

fn median(spread: Option<Spread>, show: fn(f64) -> String) -> Option<String> {
    Some(show(spread?.median))
}

fn range(spread: Option<Spread>, show: fn(f64) -> String) -> Option<String> {
    let Spread { min, max, .. } = spread?;
    Some(format!("({}..{})", show(min), show(max)))
}

const MAIN: Column = ("main CPU", 10, |cell| median(cell.spread(MAIN_CPU), units::percent));
const RENDERER: Column =
    ("rend. CPU", 10, |cell| median(cell.spread(RENDERER_CPU), units::percent));
const MIDDLE: Column = ("p50", 9, |cell| median(cell.spread(P50), units::time));
const MIDDLE_RANGE: Column = ("(min..max)", 24, |cell| range(cell.spread(P50), units::time));
const TAIL: Column = ("p99", 9, |cell| median(cell.spread(P99), units::time));

const ROUND_TRIP: &[Column] = &[
    MIDDLE,
    MIDDLE_RANGE,
    ("p90", 9, |cell| median(cell.spread(P90), units::time)),
    TAIL,
    ("p99.9", 9, |cell| median(cell.spread(P999), units::time)),
    ("max", 9, |cell| Some(units::time(cell.samples()?.max() as f64))),
    ("in floors", 11, |cell| median(cell.ratio(), HUNDREDTHS)),
    ("(min..max)", 20, |cell| range(cell.ratio(), HUNDREDTHS)),
];
const STREAM: &[Column] = &[
    ("messages/s", 12, |cell| median(cell.spread(RATE), units::count)),
    ("(min..max)", 24, |cell| range(cell.spread(RATE), units::count)),
    ("GiB/s", 9, |cell| median(cell.gib_per_second(), HUNDREDTHS)),
    MAIN,
    RENDERER,
    ("near/far", 10, |cell| {
        Some(format!("{}/{}", cell.placed(Placement::Near), cell.placed(Placement::Far)))
    }),
];
const PUSH: &[Column] = &[
    MIDDLE,
    MIDDLE_RANGE,
    TAIL,
    ("send p50", 10, |cell| median(cell.spread(SEND_P50), units::time)),
    ("lost", 7, |cell| Some(cell.sum(LOST).to_string())),
    ("of", 8, |cell| Some(cell.sum(SENT).to_string())),
    MAIN,
    RENDERER,
    ("unwoken", 9, |cell| median(cell.spread(UNWOKEN), units::percent)),
];
const IDLE: &[Column] = &[
    MAIN,
    RENDERER,
    ("main switches/s", 17, |cell| median(cell.spread(MAIN_SWITCHES), TENTHS)),
    ("rend. switches/s", 18, |cell| median(cell.spread(RENDERER_SWITCHES), TENTHS)),
];

pub(super) fn write(
    machine: &Machine,
    cells: &[Cell],
    checks: &[Check],
) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let Machine { cpu, processors, pins: [main, renderer], kernel, .. } = machine;
    writeln!(
        text,
        "{cpu}{}, {processors} processors (main on {main}, renderer on {renderer}), {kernel}",
        if machine.virtual_machine { " (virtual)" } else { "" },
    )?;
    for (name, version) in &machine.versions {
        write!(text, "{name} {version}  ")?;
    }
    writeln!(text)?;
    if !machine.left_out.is_empty() {
        writeln!(
            text,
            "not compiled in: {}. To have them: cargo run --release -p benches --bin compare \
             --features peers",
            machine.left_out.join(", ")
        )?;
    }
    for rows in cells.chunk_by(|one, other| one.task == other.task) {
        writeln!(text)?;
        table(&mut text, rows)?;
    }
    write_checks(&mut text, checks)?;
    Ok(text)
}

fn table(text: &mut String, rows: &[Cell]) -> fmt::Result {
    let Some(first) = rows.first() else { return Ok(()) };
    let placed = |place| rows.iter().map(|row| row.placed(place)).sum::<usize>();
    let [near, far, moved] = [Placement::Near, Placement::Far, Placement::Moved].map(placed);
    write!(text, "== {}: {near} slices near, {far} far, {moved} moved", first.task)?;
    if let Some(floor) = Spread::of(rows.iter().filter_map(|row| Some(row.spread(FLOOR)?.median))) {
        write!(text, "; floor {}", units::time(floor.median))?;
    }
    if let Some(others) = Spread::of(rows.iter().filter_map(Cell::others_cpu)) {
        write!(text, "; others used {} of a core", units::percent(others.median))?;
    }
    writeln!(text, " ==")?;
    let columns = match first.task.work {
        Work::RoundTrip => ROUND_TRIP,
        Work::Stream => STREAM,
        Work::Push => PUSH,
        Work::Idle => {
            *text +=
                "main runs Ringbridge's loop; a plain link has none: only its renderer waits\n";
            IDLE
        }
    };
    write!(text, "{:<28}", "")?;
    columns.iter().try_for_each(|(head, width, _)| write!(text, "{head:>width$}"))?;
    writeln!(text)?;
    for row in rows {
        write!(text, "{:<28}", row.subject.name)?;
        if let Some(instead) = row.instead() {
            writeln!(text, "  {instead}")?;
            continue;
        }
        for (_, width, figure) in columns {
            let figure = figure(row).unwrap_or_else(|| "-".to_owned());
            write!(text, "{figure:>width$}")?;
        }
        if row.rounds_failed() > 0 {
            let reason = row.reason().unwrap_or_default();
            write!(text, "  {} rounds FAILED: {reason}", row.rounds_failed())?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn write_checks(text: &mut String, checks: &[Check]) -> fmt::Result {
    let (open, decided): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.is_open());
    writeln!(text)?;
    for check in decided {
        let ((required, measured), verdict) = (check.figures(), check.shown());
        let claim = check.claim();
        writeln!(text, "must hold: {claim} {required}; measured {measured}: {verdict}")?;
    }
    if !open.is_empty() {
        writeln!(text, "{} more of what must hold need cells that were not measured", open.len())?;
    }
    Ok(())
}
