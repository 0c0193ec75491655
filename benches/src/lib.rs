//! The benchmarks of the real path between two processes, and the floor of the machine beside it.
//!
//! `pair` runs a main process and a renderer process with a subject between them. [`latency`] measures
//! Ringbridge alone that way, [`compare`] all the subjects in `peers`. [`scale`] measures one main process
//! with many renderers, [`watched`] the cost of an inspector, and [`instructions`] counts instead of timing.
//! `report` draws the charts.

mod board;
mod cli;
pub mod compare;
pub mod instructions;
pub mod latency;
mod pair;
mod peers;
mod report;
pub mod scale;
mod stats;
mod system;
mod units;
pub mod watched;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pair::job::{PAYLOAD_MAX, PAYLOAD_MIN};
pub use crate::pair::{Limit, Pair, Slice, job::Job, take_part};
use crate::system::Pins;

/// Locks a value that is consistent at every moment, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of any kind. A benchmark only prints it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
