//! Which processor each of the two processes keeps to.

use rustix::{
    io,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use serde::{Deserialize, Serialize};

use crate::Error;

/// One processor for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    pub(crate) main: usize,
    pub(crate) renderer: usize,
}

impl Pins {
    /// The first two processors that this process may use. Ask before it is pinned itself.
    ///
    /// # Errors
    ///
    /// If there are not two: the floor of one processor is no floor.
    pub fn choose() -> Result<Self, Error> {
        let mut allowed = allowed()?.into_iter();
        match (allowed.next(), allowed.next()) {
            (Some(main), Some(renderer)) => Ok(Self { main, renderer }),
            _ => Err("two processors are needed, and this process may use only one".into()),
        }
    }
}

/// The processors that the calling thread may use.
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect())
}

/// Keeps the calling thread, and those that it starts, to these processors.
pub(crate) fn keep_to(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    processors.iter().for_each(|&processor| set.set(processor));
    sched_setaffinity(None, &set)
}

/// Does `work` on one processor, and gives the others back: a floor that the two processes measure
/// on one processor is none.
pub(crate) fn on_one<R>(processor: usize, work: impl FnOnce() -> R) -> io::Result<R> {
    let before = allowed()?;
    keep_to(&[processor])?;
    let result = work();
    keep_to(&before)?;
    Ok(result)
}
