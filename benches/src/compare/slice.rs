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
    Error, Limit, Pair, Slice,
    pair::job::{Job, Work},
    system::machine_busy_ns,
};

const MESSAGES_MAX: u64 = 4 << 20;
const FLOOR_MAX: u64 = 1 << 17;
/// The time before an idle pair is looked at, and afterwards.
pub(super) const IDLE_MARGIN: Duration = Duration::from_millis(200);

/// A line that main prints for the run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// Both sides are idle from now on.
    Idle {
        main: u32,
        renderer: u32,
    },
    Done(Box<Outcome>),
    Failed(String),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) floors_ns: [u64; 2],
    pub(super) slice: Slice,
    /// The time to which the other figures refer.
    pub(super) elapsed_ns: u64,
    /// The number of sleeps of each side, for idle pairs.
    pub(super) switches: Option<[u64; 2]>,
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
    let elapsed = if work == Work::Stream { slice.elapsed } else { slice.main_elapsed };
    Ok(Outcome {
        floors_ns: [before, after],
        elapsed_ns: elapsed.as_nanos() as u64,
        switches: None,
        others_cpu_ns: busy as i64 - slice.cpu_ns.iter().sum::<u64>() as i64,
        slice,
    })
}
