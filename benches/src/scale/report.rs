//! The figures of a crowd, and their table.

use serde::Serialize;

use crate::figures::{self, Count, Time};

/// The figures of a crowd of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The number of renderer processes.
    pub renderers: usize,
    /// The time from `launch` to the end of the handshake.
    pub launch_p50_ns: u64,
    /// The time of one more `attach` in a running process, with all others connected.
    pub attach_p50_ns: u64,
    /// The growth of main's memory for each renderer until all were connected.
    pub main_memory_kib: f64,
    /// The same after every ring to main was lapped. Each process counts half of a ring's pages.
    pub main_memory_lapped_kib: f64,
    /// The memory of a renderer after that.
    pub renderer_memory_kib: f64,
    /// Main's descriptors for each renderer.
    pub main_descriptors: f64,
    /// Main's messages a second while all renderers sent as fast as possible.
    pub messages_per_second: f64,
    /// Main's CPU time for each of them.
    pub main_ns_per_message: f64,
    /// The messages of the renderer with the fewest, in fair shares.
    pub least_share: f64,
    /// The messages of the renderer with the most.
    pub greatest_share: f64,
    /// All renderers but one send at a pace, and that one rests.
    pub paced: Paced,
    /// All renderers but one send at a pace, and that one floods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flooded: Option<Paced>,
    /// A round trip of one renderer while the others are quiet.
    pub invoke_p50_ns: u64,
    /// Its 99th percentile.
    pub invoke_p99_ns: u64,
    /// The sleeps of all threads of all processes while all are idle.
    pub idle_switches: u64,
    /// The CPU time of all processes meanwhile.
    pub idle_processor_ns: u64,
}

/// The figures of messages at a modest pace.
#[derive(Clone, Debug, Serialize)]
pub struct Paced {
    /// The part of its pace that the renderer with the fewest messages kept.
    pub least_kept: f64,
    /// The part of one processor that main used. It spins while messages keep coming.
    pub main_processor_share: f64,
    /// The median time from the call of `send` until main's listener ran.
    pub p50_ns: u64,
    /// The 99th percentile of that time.
    pub p99_ns: u64,
    /// The flood's messages a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood_per_second: Option<f64>,
}

/// A line of the table: its name, and its cell for a row.
type Line = (&'static str, fn(&Row) -> String);

const LINES: &[Line] = &[
    ("renderers", |row| row.renderers.to_string()),
    ("launch to connected, p50", |row| Time(row.launch_p50_ns as f64).to_string()),
    ("`attach`, p50", |row| Time(row.attach_p50_ns as f64).to_string()),
    ("main's memory, each", |row| format!("{:.0} KiB", row.main_memory_kib)),
    ("the same, every ring lapped", |row| format!("{:.0} KiB", row.main_memory_lapped_kib)),
    ("a renderer's memory, ring lapped", |row| format!("{:.0} KiB", row.renderer_memory_kib)),
    ("main's descriptors, each", |row| format!("{:.1}", row.main_descriptors)),
    ("all send: messages/s", |row| Count(row.messages_per_second).to_string()),
    ("all send: main's CPU, each message", |row| format!("{:.0} ns", row.main_ns_per_message)),
    ("all send: least, greatest fair share", |row| {
        format!("{:.2}, {:.2}", row.least_share, row.greatest_share)
    }),
    ("at 100/s each: least kept", |row| format!("{:.2}", row.paced.least_kept)),
    ("at 100/s each: latency p50, p99", |row| pair(row.paced.p50_ns, row.paced.p99_ns)),
    ("at 100/s each: main's CPU", |row| {
        format!("{:.0} % of one", row.paced.main_processor_share * 100.0)
    }),
    ("beside a flood: least kept", |row| flooded(row, |paced| format!("{:.2}", paced.least_kept))),
    ("beside a flood: latency p50, p99", |row| {
        flooded(row, |paced| pair(paced.p50_ns, paced.p99_ns))
    }),
    ("beside a flood: the flood's messages/s", |row| {
        flooded(row, |paced| Count(paced.flood_per_second.unwrap_or(0.0)).to_string())
    }),
    ("one invokes, others quiet: p50, p99", |row| pair(row.invoke_p50_ns, row.invoke_p99_ns)),
    ("all idle: wake-ups, CPU of all", |row| {
        format!("{}, {}", row.idle_switches, Time(row.idle_processor_ns as f64))
    }),
];

fn flooded(row: &Row, say: impl Fn(&Paced) -> String) -> String {
    row.flooded.as_ref().map_or_else(|| "-".to_owned(), say)
}

fn pair(one: u64, other: u64) -> String {
    format!("{}, {}", Time(one as f64), Time(other as f64))
}

/// Returns the table, with a column for each size, as text or as Markdown.
pub fn table(rows: &[Row], markdown: bool) -> String {
    let lines = LINES.iter().map(|(name, of)| {
        let cells = rows.iter().map(of);
        std::iter::once((*name).to_owned()).chain(cells).collect()
    });
    figures::table(&lines.collect::<Vec<_>>(), markdown, 42, 20)
}
