//! The figures of crowds, as a table.

use std::fmt::Write;

use serde::Serialize;

/// What a crowd of one size came to.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// How many renderer processes there were.
    pub renderers: usize,
    /// From `launch` until the handshake was done: half of them took no longer.
    pub launch_p50_ns: u64,
    /// A session more by `attach`, in a process that is there, with all the others connected.
    pub attach_p50_ns: u64,
    /// What main's memory grew by for each renderer, until all were connected.
    pub main_memory_kib: f64,
    /// The same after every ring to main had been lapped; its pages count half here, half there.
    pub main_memory_lapped_kib: f64,
    /// A renderer's memory after that.
    pub renderer_memory_kib: f64,
    /// Descriptors of main, for each renderer.
    pub main_descriptors: f64,
    /// Messages that main took while all sent as fast as they could.
    pub messages_per_second: f64,
    /// Main's processor time for each of them.
    pub main_ns_per_message: f64,
    /// The messages of the one of whom the fewest were taken, in fair shares.
    pub least_share: f64,
    /// Of whom the most were taken.
    pub greatest_share: f64,
    /// All but one send at a pace, and that one rests.
    pub paced: Paced,
    /// All but one send at a pace, and that one floods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flooded: Option<Paced>,
    /// A round trip of one renderer while the others are quiet.
    pub invoke_p50_ns: u64,
    /// 99 of 100 were no longer.
    pub invoke_p99_ns: u64,
    /// While all are idle: how often any thread of any process woke up.
    pub idle_switches: u64,
    /// And the processor time of all of them.
    pub idle_processor_ns: u64,
}

/// What became of messages at a modest pace.
#[derive(Clone, Debug, Serialize)]
pub struct Paced {
    /// The renderer of whom the fewest came: which part of its pace it kept.
    pub least_kept: f64,
    /// Which part of one processor main used. It spins while messages keep coming.
    pub main_processor_share: f64,
    /// From the call of `send` until main's listener ran.
    pub p50_ns: u64,
    /// 99 of 100 were no later.
    pub p99_ns: u64,
    /// Messages of the one that floods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood_per_second: Option<f64>,
}

/// A line of the table: what it says, and how it is read from a row.
type Line = (&'static str, fn(&Row) -> String);

const LINES: &[Line] = &[
    ("renderers", |row| row.renderers.to_string()),
    ("launch to connected, p50", |row| time(row.launch_p50_ns)),
    ("`attach`, p50", |row| time(row.attach_p50_ns)),
    ("main's memory, each", |row| kib(row.main_memory_kib)),
    ("the same, every ring lapped", |row| kib(row.main_memory_lapped_kib)),
    ("a renderer's memory, ring lapped", |row| kib(row.renderer_memory_kib)),
    ("main's descriptors, each", |row| format!("{:.1}", row.main_descriptors)),
    ("all send: messages/s", |row| millions(row.messages_per_second)),
    ("all send: main's CPU, each message", |row| format!("{:.0} ns", row.main_ns_per_message)),
    ("all send: least, greatest fair share", |row| {
        format!("{:.2}, {:.2}", row.least_share, row.greatest_share)
    }),
    ("at 100/s each: least kept", |row| format!("{:.2}", row.paced.least_kept)),
    ("at 100/s each: latency p50, p99", |row| {
        format!("{}, {}", time(row.paced.p50_ns), time(row.paced.p99_ns))
    }),
    ("at 100/s each: main's CPU", |row| {
        format!("{:.0} % of one", row.paced.main_processor_share * 100.0)
    }),
    ("beside a flood: least kept", |row| flooded(row, |paced| format!("{:.2}", paced.least_kept))),
    ("beside a flood: latency p50, p99", |row| {
        flooded(row, |paced| format!("{}, {}", time(paced.p50_ns), time(paced.p99_ns)))
    }),
    ("beside a flood: the flood's messages/s", |row| {
        flooded(row, |paced| millions(paced.flood_per_second.unwrap_or(0.0)))
    }),
    ("one invokes, others quiet: p50, p99", |row| {
        format!("{}, {}", time(row.invoke_p50_ns), time(row.invoke_p99_ns))
    }),
    ("all idle: wake-ups, CPU of all", |row| {
        format!("{}, {}", row.idle_switches, time(row.idle_processor_ns))
    }),
];

fn flooded(row: &Row, say: impl Fn(&Paced) -> String) -> String {
    row.flooded.as_ref().map_or_else(|| "-".to_owned(), say)
}

fn time(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns} ns"),
        1_000..100_000 => format!("{:.1} µs", value / 1e3),
        100_000..1_000_000 => format!("{:.0} µs", value / 1e3),
        _ => format!("{:.1} ms", value / 1e6),
    }
}

fn kib(value: f64) -> String {
    format!("{value:.0} KiB")
}

fn millions(value: f64) -> String {
    format!("{:.1} million", value / 1e6)
}

/// The table, a column for each size: plain, or as Markdown.
pub fn table(rows: &[Row], markdown: bool) -> String {
    let cells = |line: &Line| -> Vec<String> { rows.iter().map(line.1).collect() };
    let lines: Vec<(&str, Vec<String>)> = LINES.iter().map(|line| (line.0, cells(line))).collect();
    let mut text = String::new();
    for (number, (name, cells)) in lines.iter().enumerate() {
        let written = if markdown {
            writeln!(text, "| {name} | {} |", cells.join(" | "))
        } else {
            let cells: String = cells.iter().map(|cell| format!("{cell:>20}")).collect();
            writeln!(text, "{:<42}{cells}", name.replace('`', ""))
        };
        written.expect("a string takes anything");
        if markdown && number == 0 {
            writeln!(text, "| --- |{}", " --- |".repeat(rows.len())).expect("as above");
        }
    }
    text
}
