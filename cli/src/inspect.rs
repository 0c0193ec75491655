//! `ringbridge inspect`: the state of a main process, once.

use std::{error::Error, iter, time::Duration};

use contract::figures::{bytes, count, duration, share};
use ringbridge::{Counters, InspectedWindow, Inspection, Inspector};
use serde_json::{Map, Value, json};

use crate::print;

/// How long main's loop may take to show its state.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(endpoint: &str, json: bool) -> Result<(), Box<dyn Error>> {
    let seen = next(&mut Inspector::attach(endpoint)?)?;
    if json {
        print(as_json(&seen))?
    } else {
        print(text(&seen))?
    }
    Ok(())
}

/// Returns the next state that main shows.
pub(crate) fn next(inspector: &mut Inspector) -> Result<Inspection, Box<dyn Error>> {
    let seen = inspector.next(PATIENCE)?;
    seen.ok_or("main has admitted this inspector, but its loop does not run".into())
}

pub(crate) fn as_json(seen: &Inspection) -> Value {
    let below = |limit: Option<Duration>| limit.map(|limit| limit.as_nanos() as u64);
    let sleeps = seen.sleeps.iter().filter(|(_, count)| *count > 0);
    let sleeps = sleeps.map(|(limit, count)| json!({ "below_ns": below(limit), "count": count }));
    json!({
        "endpoint": seen.endpoint,
        "pid": seen.pid,
        "open_for_ns": nanoseconds(seen.open_for),
        "metrics": named(seen.metrics.iter()),
        "sleeps": sleeps.collect::<Vec<_>>(),
        "windows": seen.windows.iter().map(window_as_json).collect::<Vec<_>>(),
        "windows_unshown": seen.windows_unshown,
    })
}

fn window_as_json(window: &InspectedWindow) -> Value {
    json!({
        "id": window.id,
        "pid": window.pid,
        "state": window.state.name(),
        "open_for_ns": nanoseconds(window.open_for),
        "policy": window.policy,
        "unread": window.unread,
        "metrics": named(window.metrics.iter()),
        "counters": named(window.counters.iter()),
    })
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn named(numbers: impl Iterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    numbers.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn text(seen: &Inspection) -> String {
    let mut lines = vec![headline(seen), sleeps(seen), String::new()];
    let rows = iter::once(COLUMNS.map(str::to_owned)).chain(seen.windows.iter().map(row));
    let table = columns(&rows.collect::<Vec<_>>());
    lines.extend(table.first().cloned());
    for (row, window) in table.into_iter().skip(1).zip(&seen.windows) {
        lines.push(row);
        lines.push(format!("        policy    {}", window.policy));
        lines.push(format!("        counters  {}", counters(&window.counters)));
    }
    if seen.windows_unshown > 0 {
        lines.push(format!("and {} more windows, which are not shown", seen.windows_unshown));
    }
    lines.join("\n")
}

/// Returns the line about the endpoint.
pub(crate) fn headline(seen: &Inspection) -> String {
    // Sleeping has a line of its own.
    let numbers = seen.metrics.iter().filter(|(name, _)| !["sleeps", "slept_ns"].contains(name));
    let numbers: Vec<_> = numbers.map(|(name, value)| format!("{name} {}", count(value))).collect();
    let (name, pid, open_for) = (&seen.endpoint, seen.pid, duration(seen.open_for));
    format!("{name}   main {pid}, open for {open_for}   {}", numbers.join("   "))
}

/// Returns the line about main's sleeping.
pub(crate) fn sleeps(seen: &Inspection) -> String {
    let asleep = share(seen.metrics.slept_ns, nanoseconds(seen.open_for));
    let times =
        format!("main sleeps {asleep} of the time, {} times so far", count(seen.sleeps.count()));
    match [0.5, 0.99].map(|part| seen.sleeps.quantile(part).map(duration)) {
        [Some(half), Some(most)] => {
            format!("{times}: half of them less than {half}, 99 % less than {most}")
        }
        [Some(half), None] => format!("{times}: half of them less than {half}"),
        [None, _] => times,
    }
}

const COLUMNS: [&str; 10] = [
    "WINDOW",
    "PID",
    "STATE",
    "OPEN FOR",
    "TO IT",
    "FROM IT",
    "ASKED",
    "PARKS",
    "RUNG",
    "VIOLATIONS",
];

fn row(window: &InspectedWindow) -> [String; COLUMNS.len()] {
    let InspectedWindow { metrics, counters, .. } = window;
    let asleep = if metrics.asleep == 1 { ", asleep" } else { "" };
    [
        window.id.to_string(),
        window.pid.to_string(),
        format!("{}{asleep}", window.state.name()),
        duration(window.open_for),
        format!("{} of {}", bytes(metrics.outbox_used_bytes), bytes(metrics.outbox_capacity_bytes)),
        if window.unread { "unread" } else { "-" }.to_owned(),
        format!("{} / {}", metrics.pending_invokes, metrics.unanswered_invokes),
        count(counters.parks),
        count(counters.wakes),
        count(counters.violations),
    ]
}

/// Joins the cells of each row. A column is as wide as its widest cell.
fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Returns the counters that are not 0.
fn counters(counters: &Counters) -> String {
    let counted = counters.iter().filter(|(_, value)| *value > 0);
    let counted: Vec<_> = counted.map(|(name, value)| format!("{name} {}", count(value))).collect();
    if counted.is_empty() { "all 0".to_owned() } else { counted.join("   ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bcd", "e"], ["12345", "6", "7"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), ["a      bcd  e", "12345  6    7"]);
    }

    #[test]
    fn only_counters_that_are_not_0_are_printed() {
        let mut counted = Counters::default();
        assert_eq!(counters(&counted), "all 0");
        counted.frames_sent = 1234;
        counted.parks = 1;
        assert_eq!(counters(&counted), "frames_sent 1,234   parks 1");
    }
}
