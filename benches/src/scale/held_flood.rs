//! One renderer invokes while another floods, held to its quota: what the flood costs the first.
//!
//! Slices alternate: alone, beside the flood, alone ... So whatever else happens on the machine meets both.

use std::time::{Duration, Instant};

use ringbridge::{Policy, Quota, WebContents};
use serde::Serialize;

use super::{
    crowd::{Crowd, Interruption},
    measure::{Plan, order},
    messages::{CONTRACT, Task},
};
use crate::Error;

/// Slices of each kind.
const SLICES: u32 = 8;
/// From the flood's order until it is held.
const SETTLING: Duration = Duration::from_millis(50);

/// What one quota came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HeldFlood {
    /// The flood's quota, in frames a second.
    pub quota: u64,
    /// What it got of it.
    pub taken_per_second: f64,
    /// Times that main held it.
    pub throttled: u64,
    /// A round trip alone: the median over the slices of each slice's median.
    pub alone_p50_ns: u64,
    /// The same of each slice's 99th percentile.
    pub alone_p99_ns: u64,
    /// A round trip beside the flood.
    pub beside_p50_ns: u64,
    /// The same of each slice's 99th percentile.
    pub beside_p99_ns: u64,
    /// By how much the flood makes a round trip longer: `beside_p50_ns` in `alone_p50_ns`.
    pub ratio: f64,
}

/// Measures it for a quota of so many frames a second.
///
/// # Errors
///
/// If a renderer cannot be launched, fails, or ends; or if it is interrupted.
pub fn held_flood(
    quota: u64,
    plan: &Plan,
    interruption: &Interruption,
    mut advanced: impl FnMut(u32),
) -> Result<HeldFlood, Error> {
    let mut crowd = Crowd::gather(2, interruption)?;
    let free = Policy::deny_all().allow_all(CONTRACT);
    let held = free.clone().frames_quota(Quota::per_second(quota));
    crowd.launch_under([free, held], |_| ())?;
    let (asking, flood) = (&crowd.windows[..1], &crowd.windows[1..]);
    let slice = plan.time / SLICES;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut taken, mut flooded) = (0, Duration::ZERO);
    for number in 0..SLICES {
        alone.push(invoke(&crowd, asking, slice, &[])?);
        // It floods for longer, so that it is held before the first round trip and after the last.
        let (before, began) = (crowd.counts()[1], Instant::now());
        crowd.order(flood, order(Task::Stream, slice + 2 * SETTLING))?;
        crowd.run_for(SETTLING)?;
        beside.push(invoke(&crowd, asking, slice, flood)?);
        // Until what it has left in its ring was taken too.
        (taken, flooded) = (taken + crowd.counts()[1] - before, flooded + began.elapsed());
        advanced(number + 1);
    }
    let throttled = flood[0].counters().throttled;
    if throttled == 0 {
        return Err("the flood was never held, so nothing was measured".into());
    }
    let [alone_p50_ns, alone_p99_ns] = medians(&alone);
    let [beside_p50_ns, beside_p99_ns] = medians(&beside);
    crowd.dismiss()?;
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

/// One slice: the percentiles of round trips. Waits for those who are at work beside it, too.
fn invoke(
    crowd: &Crowd,
    asking: &[WebContents],
    slice: Duration,
    beside: &[WebContents],
) -> Result<[u64; 2], Error> {
    crowd.order(asking, order(Task::Invoke, slice))?;
    let reports = crowd.reports(asking.len() + beside.len())?;
    let of = asking[0].id();
    let report = reports.iter().find(|(window, _)| *window == of);
    let (_, report) = report.ok_or("a report is missing")?;
    Ok([report.p50_ns, report.p99_ns])
}

fn medians(slices: &[[u64; 2]]) -> [u64; 2] {
    [0, 1].map(|which| {
        let mut values: Vec<u64> = slices.iter().map(|slice| slice[which]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    })
}

/// The table.
pub fn table(rows: &[HeldFlood], markdown: bool) -> String {
    let heads = ["the flood's quota", "it got", "held", "invoke alone", "beside it", "ratio"];
    let mut lines = vec![heads.map(str::to_owned)];
    for row in rows {
        lines.push([
            format!("{}/s", row.quota),
            format!("{:.0}/s", row.taken_per_second),
            format!("{} times", row.throttled),
            format!("{}, {} ns", row.alone_p50_ns, row.alone_p99_ns),
            format!("{}, {} ns", row.beside_p50_ns, row.beside_p99_ns),
            format!("{:.2}", row.ratio),
        ]);
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        if markdown {
            text += &format!("| {} |\n", line.join(" | "));
            if number == 0 {
                text += "| --- | --- | --- | --- | --- | --- |\n";
            }
        } else {
            let cells: String = line.iter().map(|cell| format!("{cell:>20}")).collect();
            text += &format!("{cells}\n");
        }
    }
    text
}
