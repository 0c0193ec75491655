//! The report as text: a table for each task.

use std::fmt::{self, Write};

use crate::{
    compare::{
        checks::Check,
        figures::{Figures, Status},
        work::Work,
    },
    report::{
        Machine,
        units::{Count, Time, percent},
    },
    stats::Spread,
};

/// All tables, and what must hold.
pub(super) fn write(
    machine: &Machine,
    cells: &[Figures],
    checks: &[Check],
) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "{}{}, {} processors (main on {}, renderer on {}), {}",
        machine.cpu,
        if machine.virtual_machine { " (virtual)" } else { "" },
        machine.processors,
        machine.pins[0],
        machine.pins[1],
        machine.kernel,
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

/// The spreads are least and most over the rounds.
fn table(text: &mut String, rows: &[Figures]) -> fmt::Result {
    let Some(first) = rows.first() else { return Ok(()) };
    let sum = |of: fn(&Figures) -> usize| rows.iter().map(of).sum::<usize>();
    let floor = Spread::of(rows.iter().filter_map(|row| Some(row.floor_ns?.median)));
    write!(
        text,
        "== {}: {} slices near, {} far, {} moved",
        first.task,
        sum(|row| row.near),
        sum(|row| row.far),
        sum(|row| row.moved)
    )?;
    if let Some(floor) = floor {
        write!(text, "; floor {}", Time(floor.median))?;
    }
    if let Some(others) = Spread::of(rows.iter().filter_map(|row| row.others_cpu)) {
        write!(text, "; others used {} of a core", percent(others.median))?;
    }
    writeln!(text, " ==")?;
    if first.task.work == Work::Idle {
        writeln!(
            text,
            "main runs Ringbridge's loop; a plain link has none: only its renderer waits"
        )?;
    }
    let heads = heads(first.task.work);
    write!(text, "{:<28}", "")?;
    for (head, width) in heads {
        write!(text, "{head:>width$}")?;
    }
    writeln!(text)?;
    for row in rows {
        write!(text, "{:<28}", row.subject)?;
        let reason = row.reason.as_deref().unwrap_or_default();
        match row.status {
            Status::NotApplicable => writeln!(text, "  n/a: {reason}")?,
            Status::Failed => writeln!(text, "  FAILED: {reason}")?,
            Status::Measured => {
                for (column, (_, width)) in columns(row).iter().zip(heads) {
                    write!(text, "{column:>width$}")?;
                }
                if row.rounds_failed > 0 {
                    write!(text, "  {} rounds FAILED: {reason}", row.rounds_failed)?;
                }
                writeln!(text)?;
            }
        }
    }
    Ok(())
}

fn heads(work: Work) -> &'static [(&'static str, usize)] {
    match work {
        Work::RoundTrip => &[
            ("p50", 9),
            ("(min..max)", 24),
            ("p90", 9),
            ("p99", 9),
            ("p99.9", 9),
            ("max", 9),
            ("in floors", 11),
            ("(min..max)", 20),
        ],
        Work::Stream => &[
            ("messages/s", 12),
            ("(min..max)", 24),
            ("GiB/s", 9),
            ("main CPU", 10),
            ("rend. CPU", 10),
            ("near/far", 10),
        ],
        Work::Push => &[
            ("p50", 9),
            ("(min..max)", 24),
            ("p99", 9),
            ("send p50", 10),
            ("lost", 7),
            ("of", 8),
            ("main CPU", 10),
            ("rend. CPU", 10),
            ("unwoken", 9),
        ],
        Work::Idle => &[
            ("main CPU", 10),
            ("rend. CPU", 10),
            ("main switches/s", 17),
            ("rend. switches/s", 18),
        ],
    }
}

/// As many as there are heads.
fn columns(row: &Figures) -> Vec<String> {
    let mut columns = Vec::new();
    let mut add = |column: Option<String>| columns.push(column.unwrap_or_else(|| "-".to_owned()));
    let latency = row.latency.as_ref();
    let time = |spread: Option<Spread>| Some(Time(spread?.median).to_string());
    let p50 = latency.map(|latency| latency.p50_ns);
    let range = p50.map(|p50| format!("({}..{})", Time(p50.min), Time(p50.max)));
    let cpu = row.cpu.as_ref();
    let main_cpu = cpu.map(|cpu| percent(cpu.main.median));
    let renderer_cpu = cpu.map(|cpu| percent(cpu.renderer.median));
    match row.task.work {
        Work::RoundTrip => {
            add(time(p50));
            add(range);
            add(time(latency.map(|latency| latency.p90_ns)));
            add(time(latency.map(|latency| latency.p99_ns)));
            add(time(latency.map(|latency| latency.p999_ns)));
            add(latency.map(|latency| Time(latency.max_ns as f64).to_string()));
            let ratio = latency.map(|latency| latency.ratio);
            add(ratio.map(|ratio| format!("{:.2}", ratio.median)));
            add(ratio.map(|ratio| format!("({:.2}..{:.2})", ratio.min, ratio.max)));
        }
        Work::Stream => {
            let rate = row.stream.as_ref().map(|stream| stream.messages_per_second);
            add(rate.map(|rate| Count(rate.median).to_string()));
            add(rate.map(|rate| format!("({}..{})", Count(rate.min), Count(rate.max))));
            add(row.stream.as_ref().map(|s| format!("{:.2}", s.gib_per_second.median)));
            add(main_cpu);
            add(renderer_cpu);
            add(Some(format!("{}/{}", row.near, row.far)));
        }
        Work::Push => {
            let push = row.push.as_ref();
            add(time(p50));
            add(range);
            add(time(latency.map(|latency| latency.p99_ns)));
            add(push.map(|push| Time(push.send_p50_ns.median).to_string()));
            add(push.map(|push| push.lost.to_string()));
            add(push.map(|push| push.sent.to_string()));
            add(main_cpu);
            add(renderer_cpu);
            add(push.and_then(|push| Some(percent(push.unwoken?.median))));
        }
        Work::Idle => {
            let switches = row.switches_per_second.as_ref();
            add(main_cpu);
            add(renderer_cpu);
            add(switches.map(|pair| format!("{:.1}", pair.main.median)));
            add(switches.map(|pair| format!("{:.1}", pair.renderer.median)));
        }
    }
    columns
}

fn write_checks(text: &mut String, checks: &[Check]) -> fmt::Result {
    let (decided, open): (Vec<_>, Vec<_>) = checks.iter().partition(|check| !check.is_open());
    writeln!(text)?;
    for check in decided {
        let (required, measured) = check.figures();
        writeln!(
            text,
            "must hold: {} {required}; measured {measured}: {}",
            check.claim,
            check.verdict()
        )?;
    }
    if !open.is_empty() {
        writeln!(text, "{} more of what must hold need cells that were not measured", open.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{
        checks::check,
        samples::{cell_of, machine, outcome},
    };

    #[test]
    fn a_table_has_a_row_for_every_subject_whatever_became_of_it() {
        let measured = cell_of("ringbridge-spin", Work::RoundTrip, vec![outcome(150)]);
        let mut failed = cell_of("pipe", Work::RoundTrip, vec![]);
        failed.rounds.push(Some(Err("no pipe".to_owned())));
        let mut unable = cell_of("memcpy", Work::RoundTrip, vec![]);
        unable.unable = Some("a copy is no conversation");
        let cells = [measured, failed, unable];
        let figures: Vec<_> = cells.iter().map(Figures::of).collect();
        let text = write(&machine(), &figures, &check(&cells)).unwrap();
        for expected in [
            "== round-trip 48 B: 1 slices near, 0 far, 0 moved; floor 100 ns; others used 0.0 % of a core ==",
            "(150 ns..150 ns)",
            "FAILED: no pipe",
            "n/a: a copy is no conversation",
            "must hold: invoke 48 B spin: p50 in floors <= 1.300; measured 1.500 (1.500 to 1.500): \
             NOT MET",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }

    #[test]
    fn every_kind_of_work_has_as_many_columns_as_heads() {
        for work in [Work::RoundTrip, Work::Stream, Work::Push, Work::Idle] {
            let figures = Figures::of(&cell_of("pipe", work, vec![outcome(150)]));
            assert_eq!(columns(&figures).len(), heads(work).len(), "{work}");
        }
    }
}
