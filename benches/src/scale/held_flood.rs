//! The cost of a flood that is held to its quota: one renderer invokes, alone and beside the flood.
//!
//! Slices with and without the flood alternate, so other load on the machine affects both.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use ringbridge::{Quota, WebContents};
use serde::Serialize;

use super::{
    crowd::{Crowd, policy},
    renderer::{Order, Task},
};
use crate::{Error, stats::median, units};

const SLICES: u32 = 8;
/// The time from the flood's order until it is held.
const SETTLING: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct HeldFlood {
    quota: u64,
    taken_per_second: f64,
    throttled: u64,
    /// A round trip alone: the median over the slices of each slice's median.
    alone_p50_ns: u64,
    alone_p99_ns: u64,
    beside_p50_ns: u64,
    beside_p99_ns: u64,
    ratio: f64,
}

pub(super) fn measure(quota: u64, time: Duration, bar: &ProgressBar) -> Result<HeldFlood, Error> {
    let mut crowd = Crowd::gather(2)?;
    let held = policy().frames_quota(Quota::per_second(quota));
    crowd.launch([policy(), held].into_iter(), |_| ())?;
    let (asking, flood) = (&crowd.windows[..1], &crowd.windows[1..]);
    let slice = time / SLICES;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut taken, mut flooded) = (0, Duration::ZERO);
    for number in 0..SLICES {
        alone.push(invoke(&crowd, asking, slice, &[])?);
        // The flood takes longer, so that it is held before the first round trip and after the last.
        let (before, began) = (crowd.counts()[1], Instant::now());
        crowd.order(flood, Order::timed(Task::Stream, slice + 2 * SETTLING))?;
        crowd.run_for(SETTLING)?;
        beside.push(invoke(&crowd, asking, slice, flood)?);
        // The time includes the frames that the flood has left in its ring.
        (taken, flooded) = (taken + crowd.counts()[1] - before, flooded + began.elapsed());
        bar.set_message(format!("{quota} frames a second: slice {}", number + 1));
    }
    let throttled = flood[0].counters().throttled;
    if throttled == 0 {
        return Err("the flood was never held, so nothing was measured".into());
    }
    let [alone_p50_ns, alone_p99_ns] = medians(&alone);
    let [beside_p50_ns, beside_p99_ns] = medians(&beside);
    Ok(HeldFlood {
        quota,
        taken_per_second: taken as f64 / flooded.as_secs_f64(),
        throttled,
        alone_p50_ns,
        alone_p99_ns,
        beside_p50_ns,
        beside_p99_ns,
        ratio: beside_p50_ns as f64 / alone_p50_ns as f64,
    })
}

/// Returns the percentiles of the round trips of one slice, when the renderers beside it are done too.
fn invoke(
    crowd: &Crowd,
    asking: &[WebContents],
    slice: Duration,
    beside: &[WebContents],
) -> Result<[u64; 2], Error> {
    crowd.order(asking, Order::timed(Task::Invoke, slice))?;
    let reports = crowd.reports(asking.len() + beside.len())?;
    let of = asking[0].id();
    let report = reports.iter().find(|(window, _)| *window == of);
    let (_, report) = report.ok_or("a report is missing")?;
    Ok([report.p50_ns, report.p99_ns])
}

fn medians(slices: &[[u64; 2]]) -> [u64; 2] {
    [0, 1].map(|which| {
        let mut values: Vec<u64> = slices.iter().map(|slice| slice[which]).collect();
        median(&mut values).unwrap_or(0)
    })
}

pub(super) fn table(rows: &[HeldFlood], markdown: bool) -> String {
    let heads = ["the flood's quota", "it got", "held", "invoke alone", "beside it", "ratio"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        vec![
            format!("{}/s", row.quota),
            format!("{:.0}/s", row.taken_per_second),
            format!("{} times", row.throttled),
            format!("{}, {} ns", row.alone_p50_ns, row.alone_p99_ns),
            format!("{}, {} ns", row.beside_p50_ns, row.beside_p99_ns),
            format!("{:.2}", row.ratio),
        ]
    }));
    units::table(&lines, markdown, 0, 20)
}
