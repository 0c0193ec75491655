//! One slice: two processes connect, warm up, and measure a task between two floors.
//!
//! The processes exist for this slice only. So no other process of the comparison runs, a subject that crashes
//! ends one slice, and each slice has other memory.

use std::{process, time::Duration};

use serde::{Deserialize, Serialize};

use super::cell::Outcome;
use crate::{
    Error, Limit, Pair,
    pair::{
        job::{Job, Work},
        stage::Control,
    },
    system::machine_busy_ns,
};

const MESSAGES_MAX: u64 = 4 << 20;
const FLOOR_MAX: u64 = 1 << 17;
/// The time before an idle pair is looked at, and afterwards.
pub(super) const IDLE_MARGIN: Duration = Duration::from_millis(200);

/// A message from main to the run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The processes of both sides, which are idle from now on.
    Idle([u32; 2]),
    Ended(Result<Box<Outcome>, String>),
}

/// Runs the main process of a slice. `times_ns` are those of the warm-up, the measuring, and a floor.
pub(crate) fn slice_main(run: &Control, job: Job, times_ns: [u64; 3]) -> Result<(), Error> {
    let outcome = measure(run, job, times_ns);
    run.say(&Said::Ended(outcome.map(Box::new).map_err(|error| error.to_string())))
}

fn measure(
    run: &Control,
    job: Job,
    [warm_ns, time_ns, floor_ns]: [u64; 3],
) -> Result<Outcome, Error> {
    let work = job.task.work;
    let limit = |time_ns| Limit { count: MESSAGES_MAX, time_ns };
    let floor = Limit { count: FLOOR_MAX, time_ns: floor_ns };
    let mut pair = Pair::launch(job)?;
    pair.work(limit(warm_ns))?;
    let before = pair.bounce(floor)?;
    if work == Work::Idle {
        run.say(&Said::Idle([process::id(), pair.renderer]))?;
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
        others_cpu_ns: busy as i64 - slice.cpu_ns.iter().sum::<u64>() as i64,
        slice,
        ..Outcome::default()
    })
}
