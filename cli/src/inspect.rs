//! `ringbridge inspect`: the state of a main process, once.

use std::{error::Error, iter, time::Duration};

use contract::figures::{bytes_of, count, duration, share};
use ringbridge::{InspectedWindow, Inspection, Inspector};
use serde_json::{Map, Value, json};

use crate::print;

/// The time limit for main's loop to show its state.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(endpoint: &str, json: bool) -> Result<(), Box<dyn Error>> {
    let seen = next(&mut Inspector::attach(endpoint)?)?;
    let page = if json { as_json(&seen).to_string() } else { text(&seen) };
    Ok(print(page)?)
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
    let headings = COLUMNS.split(',').map(str::to_owned).collect();
    let rows = iter::once(headings).chain(seen.windows.iter().map(row));
    let mut table = columns(&rows.collect::<Vec<_>>()).into_iter();
    lines.extend(table.next());
    for (row, window) in table.zip(&seen.windows) {
        let counted = window.counters.iter().filter(|(_, value)| *value > 0);
        lines.push(row);
        lines.push(format!("        policy    {}", window.policy));
        lines.push(format!("        counters  {}", numbers(counted, "all 0")));
    }
    if seen.windows_unshown > 0 {
        lines.push(format!("and {} more windows, which are not shown", seen.windows_unshown));
    }
    lines.join("\n")
}

pub(crate) fn headline(seen: &Inspection) -> String {
    // Sleeping has a line of its own.
    let metrics = seen.metrics.iter().filter(|(name, _)| !["sleeps", "slept_ns"].contains(name));
    let (name, pid, open_for) = (&seen.endpoint, seen.pid, duration(seen.open_for));
    format!("{name}   main {pid}, open for {open_for}   {}", numbers(metrics, ""))
}

fn numbers(numbers: impl Iterator<Item = (&'static str, u64)>, none: &str) -> String {
    let numbers: Vec<_> = numbers.map(|(name, value)| format!("{name} {}", count(value))).collect();
    if numbers.is_empty() { none.to_owned() } else { numbers.join("   ") }
}

fn sleeps(seen: &Inspection) -> String {
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

const COLUMNS: &str = "WINDOW,PID,STATE,OPEN FOR,TO IT,FROM IT,ASKED,PARKS,RUNG,VIOLATIONS";

fn row(window: &InspectedWindow) -> Vec<String> {
    let InspectedWindow { metrics, counters, .. } = window;
    let asleep = if metrics.asleep == 1 { ", asleep" } else { "" };
    vec![
        window.id.to_string(),
        window.pid.to_string(),
        format!("{}{asleep}", window.state.name()),
        duration(window.open_for),
        bytes_of(metrics.outbox_used_bytes, metrics.outbox_capacity_bytes),
        if window.unread { "unread" } else { "-" }.to_owned(),
        format!("{} / {}", metrics.pending_invokes, metrics.unanswered_invokes),
        count(counters.parks),
        count(counters.wakes),
        count(counters.violations),
    ]
}

/// Joins the cells of each row. A column is as wide as its widest cell.
fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let cell = |(column, cell): (usize, &String)| {
        let width = width(column).unwrap_or(0);
        format!("{cell:width$}")
    };
    let line = |row: &Vec<String>| {
        let cells: Vec<_> = row.iter().enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_have_names() {
        let rows =
            [["a", "bcd", "e"], ["12345", "6", "7"]].map(|row| row.map(str::to_owned).into());
        assert_eq!(columns(&rows), ["a      bcd  e", "12345  6    7"]);
        let metrics = [("frames_sent", 1234), ("parks", 1)];
        assert_eq!(numbers(metrics.into_iter(), "all 0"), "frames_sent 1,234   parks 1");
        assert_eq!(numbers([].into_iter(), "all 0"), "all 0");
    }
}
