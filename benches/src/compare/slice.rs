//! One slice: two processes connect, warm up, and measure a task between two floors.
//!
//! The processes exist for this slice only. So no other process of the comparison runs, a subject that crashes
//! ends one slice, and each slice has other memory.

use std::{
    io::{Write, stdout},
    process,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Limit, Pair,
    pair::job::{Job, Work},
    stats::Distribution,
    system::machine_busy_ns,
};

/// The most messages of a round trip's slice.
const MESSAGES_MAX: u64 = 4 << 20;
/// The most round trips of one floor.
const FLOOR_MAX: u64 = 1 << 17;
/// The time before an idle pair is looked at, and afterwards.
pub(super) const IDLE_MARGIN: Duration = Duration::from_millis(200);

/// A line that main prints for the run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// Both sides are idle from now on.
    Idle { main: u32, renderer: u32 },
    /// The slice is done.
    Done(Box<Outcome>),
    /// The slice failed, with the reason.
    Failed(String),
}

/// The result of one slice.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// The p50 of the floor before and after.
    pub(super) floors_ns: [u64; 2],
    /// Of round trips, or of pushes on their way.
    pub(super) latency: Option<Distribution>,
    /// The cost of each push to its sender.
    pub(super) cost: Option<Distribution>,
    /// The longest samples: when each began since the measuring did, and its length.
    pub(super) outliers: Vec<(u64, u64)>,
    /// Received messages, or round trips.
    pub(super) count: u64,
    /// The time of the measuring.
    pub(super) elapsed_ns: u64,
    /// Messages that were sent and not received.
    pub(super) lost: u64,
    /// The CPU time of main and of the renderer.
    pub(super) cpu_ns: [u64; 2],
    /// The number of sleeps of each side, for idle pairs.
    pub(super) switches: Option<[u64; 2]>,
    /// Wake-ups of the renderer by main, if the subject counts them.
    pub(super) wakes: Option<u64>,
    /// The CPU time of all other processes, in ticks of 10 ms: it may be a tick too little.
    pub(super) others_cpu_ns: i64,
}

/// Runs the main process of a slice. `times_ns` are those of the warm-up, the measuring, and a floor.
pub(crate) fn slice_main(job: Job, times_ns: [u64; 3]) -> Result<(), Error> {
    say(&match measure(job, times_ns) {
        Ok(outcome) => Said::Done(Box::new(outcome)),
        Err(error) => Said::Failed(error.to_string()),
    })
}

fn say(said: &Said) -> Result<(), Error> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn measure(job: Job, [warm_ns, time_ns, floor_ns]: [u64; 3]) -> Result<Outcome, Error> {
    let work = job.task.work;
    let limit = |time_ns| Limit { count: MESSAGES_MAX, time_ns };
    let floor = Limit { count: FLOOR_MAX, time_ns: floor_ns };
    let mut pair = Pair::connect(job)?;
    pair.work(limit(warm_ns))?;
    let before = pair.bounce(floor)?;
    if work == Work::Idle {
        say(&Said::Idle { main: process::id(), renderer: pair.renderer })?;
    }
    let busy = machine_busy_ns()?;
    let slice = pair.work(limit(time_ns))?;
    let busy = machine_busy_ns()? - busy;
    let after = pair.bounce(floor)?;
    pair.close()?;

    let [Some(before), Some(after)] = [before.p50_ns, after.p50_ns] else {
        return Err("the floor was not measured: it had no time".into());
    };
    let sent = slice.costs.as_ref().map_or(0, Vec::len) as u64;
    let timed = matches!(work, Work::RoundTrip | Work::Push);
    Ok(Outcome {
        floors_ns: [before, after],
        latency: timed.then_some(slice.all),
        cost: slice.costs.as_deref().map(Distribution::of),
        outliers: slice.longest,
        count: slice.count,
        elapsed_ns: match work {
            Work::Stream => slice.elapsed.as_nanos() as u64,
            Work::RoundTrip | Work::Push | Work::Idle => slice.main_elapsed_ns,
        },
        lost: sent.saturating_sub(slice.count),
        cpu_ns: slice.cpu_ns,
        switches: None,
        wakes: slice.wakes,
        others_cpu_ns: busy as i64 - slice.cpu_ns.iter().sum::<u64>() as i64,
    })
}
