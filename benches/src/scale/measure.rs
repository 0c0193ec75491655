//! The measurements of one crowd, in turn, and their table.

use std::{
    process::id,
    thread,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use procfs::{ProcError, ProcResult};
use serde::Serialize;

use super::{
    crowd::{Crowd, policy},
    renderer::{Order, Task},
};
use crate::{
    Error,
    system::{Usage, memory_kib, open_descriptors, thread_cpu_ns},
    units,
};

/// The time from an order until all renderers obey it.
const SETTLING: Duration = Duration::from_millis(500);
const ATTACHES: u32 = 20;
const PACE: Duration = Duration::from_millis(10);

#[derive(Debug, Default, Serialize)]
pub(super) struct Row {
    renderers: usize,
    launch_p50_ns: u64,
    attach_p50_ns: u64,
    /// Main's growth for each renderer until all were connected.
    main_memory_kib: f64,
    /// The same after every ring to main was lapped. Each process counts half of a ring's pages.
    main_memory_lapped_kib: f64,
    renderer_memory_kib: f64,
    main_descriptors: f64,
    messages_per_second: f64,
    main_ns_per_message: f64,
    /// The messages of the renderer with the fewest, and with the most, in fair shares.
    least_share: f64,
    greatest_share: f64,
    /// All renderers but one send at a pace. That one rests, or floods.
    paced: Paced,
    #[serde(skip_serializing_if = "Option::is_none")]
    flooded: Option<Paced>,
    invoke_p50_ns: u64,
    invoke_p99_ns: u64,
    /// The sleeps of all threads of all processes while all are idle.
    idle_switches: u64,
    idle_processor_ns: u64,
}

#[derive(Debug, Default, Serialize)]
struct Paced {
    least_kept: f64,
    /// The part of one processor that main used. It spins while messages keep coming.
    main_processor_share: f64,
    /// The median time from the call of `send` until main's listener ran.
    p50_ns: u64,
    p99_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flood_per_second: Option<f64>,
}

/// Launches renderers, measures their cost, and ends them. Each timed part takes `time`.
pub(super) fn measure(renderers: usize, time: Duration, bar: &ProgressBar) -> Result<Row, Error> {
    let next = |part: &str| bar.set_message(format!("{renderers} renderers: {part}"));
    let mut row = Row { renderers, ..Row::default() };
    let mut crowd = Crowd::gather(renderers)?;
    let each = |figure: u64, before: u64| figure.saturating_sub(before) as f64 / renderers as f64;
    let (memory, descriptors) = (memory_kib(id())?, open_descriptors()?);
    let launched = |number| next(&format!("{number} of {renderers} connected"));
    let mut connecting = crowd.launch(std::iter::repeat_with(policy), launched)?;
    row.main_memory_kib = each(memory_kib(id())?, memory);
    row.main_descriptors = each(open_descriptors()?, descriptors);
    connecting.sort();
    row.launch_p50_ns = connecting[renderers / 2].as_nanos() as u64;
    next("attaching");
    let attach = Order { count: ATTACHES, ..Order::timed(Task::Attach, Duration::ZERO) };
    crowd.order(&crowd.windows[..1], attach)?;
    row.attach_p50_ns = crowd.reports(1)?[0].1.p50_ns;
    next("all send");
    load(&crowd, time, &mut row)?;
    row.main_memory_lapped_kib = each(memory_kib(id())?, memory);
    let memories = crowd.windows.iter().map(|window| memory_kib(window.os_process_id()));
    row.renderer_memory_kib = each(memories.sum::<ProcResult<u64>>()?, 0);
    next("all keep a pace");
    row.paced = pace(&crowd, time, false)?;
    if renderers > 1 {
        next("one floods, the others keep a pace");
        row.flooded = Some(pace(&crowd, time, true)?);
    }
    next("one invokes, the others are quiet");
    crowd.order(&crowd.windows[..1], Order::timed(Task::Invoke, time))?;
    let report = crowd.reports(1)?[0].1;
    (row.invoke_p50_ns, row.invoke_p99_ns) = (report.p50_ns, report.p99_ns);
    next("all are idle");
    let idle = idle(&crowd, time)?;
    (row.idle_switches, row.idle_processor_ns) = (idle.switches, idle.cpu_ns);
    Ok(row)
}

fn load(crowd: &Crowd, time: Duration, row: &mut Row) -> Result<(), Error> {
    crowd.order(&crowd.windows, Order::timed(Task::Stream, time + 2 * SETTLING))?;
    crowd.run_for(SETTLING)?;
    let (counts, processor, began) = (crowd.counts(), thread_cpu_ns(), Instant::now());
    crowd.run_for(time)?;
    let elapsed = began.elapsed().as_secs_f64();
    let processor = (thread_cpu_ns() - processor) as f64;
    let taken = crowd.taken_since(&counts);
    crowd.reports(crowd.windows.len())?;

    let all = taken.iter().sum::<u64>().max(1) as f64;
    let fair = all / taken.len() as f64;
    let share = |count: Option<&u64>| count.map_or(0.0, |count| *count as f64 / fair);
    row.messages_per_second = all / elapsed;
    row.main_ns_per_message = processor / all;
    (row.least_share, row.greatest_share) = (share(taken.iter().min()), share(taken.iter().max()));
    Ok(())
}

/// Lets all renderers but the first send at a modest pace. The first one floods or rests.
fn pace(crowd: &Crowd, time: Duration, floods: bool) -> Result<Paced, Error> {
    // A single renderer keeps the pace itself.
    let first_paced = usize::from(crowd.windows.len() > 1);
    let paced = &crowd.windows[first_paced..];
    let before = crowd.counts();
    let mut expected = paced.len();
    if floods {
        crowd.order(&crowd.windows[..1], Order::timed(Task::Stream, time))?;
        expected += 1;
    }
    let interval_ns = PACE.as_nanos() as u64;
    crowd.order(paced, Order { interval_ns, ..Order::timed(Task::Pace, time) })?;
    crowd.take_latencies();
    let (processor, began) = (thread_cpu_ns(), Instant::now());
    crowd.reports(expected)?;
    let processor = (thread_cpu_ns() - processor) as f64;
    let elapsed = began.elapsed().as_nanos() as f64;
    let latencies = crowd.take_latencies();

    let taken = crowd.taken_since(&before);
    let due = (time.as_nanos() / PACE.as_nanos()) as f64;
    Ok(Paced {
        main_processor_share: processor / elapsed,
        least_kept: taken[first_paced..].iter().min().map_or(0.0, |least| *least as f64 / due),
        p50_ns: latencies.at(0.5),
        p99_ns: latencies.at(0.99),
        flood_per_second: floods.then(|| taken[0] as f64 / time.as_secs_f64()),
    })
}

/// Measures all processes while none sends anything. Another thread reads the figures, except its own.
fn idle(crowd: &Crowd, time: Duration) -> Result<Usage, Error> {
    let mut processes: Vec<u32> =
        crowd.windows.iter().map(|window| window.os_process_id()).collect();
    processes.push(id());
    let running = crowd.ipc.clone();
    let looking = thread::spawn(move || {
        let me = rustix::thread::gettid().as_raw_nonzero().get();
        thread::sleep(SETTLING);
        let before = Usage::of(&processes, Some(me));
        thread::sleep(time);
        let after = Usage::of(&processes, Some(me));
        running.stop();
        Ok::<_, ProcError>(after?.since(before?))
    });
    // Without a deadline, for which the loop would wake up.
    crowd.ipc.run()?;
    Ok(looking.join().map_err(|_| "looking at the processes panicked")??)
}

type Line = (&'static str, fn(&Row) -> String);

const LINES: &[Line] = &[
    ("renderers", |row| row.renderers.to_string()),
    ("launch to connected, p50", |row| units::time(row.launch_p50_ns as f64)),
    ("`attach`, p50", |row| units::time(row.attach_p50_ns as f64)),
    ("main's memory, each", |row| format!("{:.0} KiB", row.main_memory_kib)),
    ("the same, every ring lapped", |row| format!("{:.0} KiB", row.main_memory_lapped_kib)),
    ("a renderer's memory, ring lapped", |row| format!("{:.0} KiB", row.renderer_memory_kib)),
    ("main's descriptors, each", |row| format!("{:.1}", row.main_descriptors)),
    ("all send: messages/s", |row| units::count(row.messages_per_second)),
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
        flooded(row, |paced| units::count(paced.flood_per_second.unwrap_or(0.0)))
    }),
    ("one invokes, others quiet: p50, p99", |row| pair(row.invoke_p50_ns, row.invoke_p99_ns)),
    ("all idle: wake-ups, CPU of all", |row| {
        format!("{}, {}", row.idle_switches, units::time(row.idle_processor_ns as f64))
    }),
];

fn flooded(row: &Row, say: impl Fn(&Paced) -> String) -> String {
    row.flooded.as_ref().map_or_else(|| "-".to_owned(), say)
}

fn pair(one: u64, other: u64) -> String {
    format!("{}, {}", units::time(one as f64), units::time(other as f64))
}

pub(super) fn table(rows: &[Row], markdown: bool) -> String {
    let lines = LINES.iter().map(|(name, of)| {
        let cells = rows.iter().map(of);
        std::iter::once((*name).to_owned()).chain(cells).collect()
    });
    units::table(&lines.collect::<Vec<_>>(), markdown, 42, 20)
}
