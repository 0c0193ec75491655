//! The report as text: a table for each task, and the checks.

use std::fmt::{self, Write};

use super::{
    checks::Check,
    figures::{Figures, Status},
};
use crate::{
    pair::job::Work,
    report::Machine,
    stats::Spread,
    units::{Count, Percent, Time},
};

/// A column of a table: its head, its width, and the figure of a row.
type Column = (&'static str, usize, fn(&Figures) -> Option<String>);

fn range<D: fmt::Display>(spread: Spread, show: impl Fn(f64) -> D) -> String {
    format!("({}..{})", show(spread.min), show(spread.max))
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

fn time(spread: Spread) -> String {
    Time(spread.median).to_string()
}

const P50: Column = ("p50", 9, |row| Some(time(row.latency.as_ref()?.p50_ns)));
const P50_RANGE: Column = ("(min..max)", 24, |row| Some(range(row.latency.as_ref()?.p50_ns, Time)));
const P90: Column = ("p90", 9, |row| Some(time(row.latency.as_ref()?.p90_ns)));
const P99: Column = ("p99", 9, |row| Some(time(row.latency.as_ref()?.p99_ns)));
const P999: Column = ("p99.9", 9, |row| Some(time(row.latency.as_ref()?.p999_ns)));
const MAX: Column = ("max", 9, |row| Some(Time(row.latency.as_ref()?.max_ns as f64).to_string()));
const RATIO: Column = ("in floors", 11, |row| Some(ratio(row.latency.as_ref()?.ratio.median)));
const RATIO_RANGE: Column =
    ("(min..max)", 20, |row| Some(range(row.latency.as_ref()?.ratio, ratio)));
const RATE: Column = ("messages/s", 12, |row| {
    Some(Count(row.stream.as_ref()?.messages_per_second.median).to_string())
});
const RATE_RANGE: Column =
    ("(min..max)", 24, |row| Some(range(row.stream.as_ref()?.messages_per_second, Count)));
const GIB: Column = ("GiB/s", 9, |row| Some(ratio(row.stream.as_ref()?.gib_per_second.median)));
const MAIN_CPU: Column =
    ("main CPU", 10, |row| Some(Percent(row.cpu.as_ref()?.main.median).to_string()));
const RENDERER_CPU: Column =
    ("rend. CPU", 10, |row| Some(Percent(row.cpu.as_ref()?.renderer.median).to_string()));
const NEAR_FAR: Column = ("near/far", 10, |row| Some(format!("{}/{}", row.near, row.far)));
const SEND_P50: Column = ("send p50", 10, |row| Some(time(row.push.as_ref()?.send_p50_ns)));
const LOST: Column = ("lost", 7, |row| Some(row.push.as_ref()?.lost.to_string()));
const SENT: Column = ("of", 8, |row| Some(row.push.as_ref()?.sent.to_string()));
const UNWOKEN: Column =
    ("unwoken", 9, |row| Some(Percent(row.push.as_ref()?.unwoken?.median).to_string()));
const MAIN_SWITCHES: Column = ("main switches/s", 17, |row| {
    Some(format!("{:.1}", row.switches_per_second.as_ref()?.main.median))
});
const RENDERER_SWITCHES: Column = ("rend. switches/s", 18, |row| {
    Some(format!("{:.1}", row.switches_per_second.as_ref()?.renderer.median))
});

fn columns(work: Work) -> &'static [Column] {
    match work {
        Work::RoundTrip => &[P50, P50_RANGE, P90, P99, P999, MAX, RATIO, RATIO_RANGE],
        Work::Stream => &[RATE, RATE_RANGE, GIB, MAIN_CPU, RENDERER_CPU, NEAR_FAR],
        Work::Push => &[P50, P50_RANGE, P99, SEND_P50, LOST, SENT, MAIN_CPU, RENDERER_CPU, UNWOKEN],
        Work::Idle => &[MAIN_CPU, RENDERER_CPU, MAIN_SWITCHES, RENDERER_SWITCHES],
    }
}

pub(super) fn write(
    machine: &Machine,
    cells: &[Figures],
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

fn table(text: &mut String, rows: &[Figures]) -> fmt::Result {
    let Some(first) = rows.first() else { return Ok(()) };
    let sum = |of: fn(&Figures) -> usize| rows.iter().map(of).sum::<usize>();
    let [near, far, moved] = [sum(|row| row.near), sum(|row| row.far), sum(|row| row.moved)];
    write!(text, "== {}: {near} slices near, {far} far, {moved} moved", first.task)?;
    if let Some(floor) = Spread::of(rows.iter().filter_map(|row| Some(row.floor_ns?.median))) {
        write!(text, "; floor {}", Time(floor.median))?;
    }
    if let Some(others) = Spread::of(rows.iter().filter_map(|row| row.others_cpu)) {
        write!(text, "; others used {} of a core", Percent(others.median))?;
    }
    writeln!(text, " ==")?;
    if first.task.work == Work::Idle {
        writeln!(
            text,
            "main runs Ringbridge's loop; a plain link has none: only its renderer waits"
        )?;
    }
    let columns = columns(first.task.work);
    write!(text, "{:<28}", "")?;
    columns.iter().try_for_each(|(head, width, _)| write!(text, "{head:>width$}"))?;
    writeln!(text)?;
    for row in rows {
        write!(text, "{:<28}", row.subject)?;
        let reason = row.reason.as_deref().unwrap_or_default();
        match row.status {
            Status::NotApplicable => write!(text, "  n/a: {reason}")?,
            Status::Failed => write!(text, "  FAILED: {reason}")?,
            Status::Measured => {
                for (_, width, figure) in columns {
                    let figure = figure(row).unwrap_or_else(|| "-".to_owned());
                    write!(text, "{figure:>width$}")?;
                }
                if row.rounds_failed > 0 {
                    write!(text, "  {} rounds FAILED: {reason}", row.rounds_failed)?;
                }
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn write_checks(text: &mut String, checks: &[Check]) -> fmt::Result {
    let (open, decided): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.is_open());
    writeln!(text)?;
    for check in decided {
        let ((required, measured), verdict) = (check.figures(), check.verdict());
        let claim = check.claim;
        writeln!(text, "must hold: {claim} {required}; measured {measured}: {verdict}")?;
    }
    if !open.is_empty() {
        writeln!(text, "{} more of what must hold need cells that were not measured", open.len())?;
    }
    Ok(())
}
