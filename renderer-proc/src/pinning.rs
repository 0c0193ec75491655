//! Pinning: one processor for main, and one for each renderer.

use std::error::Error;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Returns the numbers of the processors that this process may use.
pub fn allowed() -> Result<Vec<usize>, Box<dyn Error>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect())
}

/// Pins this thread, and the threads that it starts from now on, to a processor.
pub fn pin(number: usize) -> Result<(), Box<dyn Error>> {
    if number >= CpuSet::MAX_CPU {
        return Err(format!("there is no processor {number} (see --pin)").into());
    }
    let mut only = CpuSet::new();
    only.set(number);
    sched_setaffinity(None, &only)
        .map_err(|error| format!("cannot run on processor {number}: {error} (see --pin)").into())
}
