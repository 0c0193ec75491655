//! The benchmarks of the real path between two processes, and the floor of the machine beside it.
//!
//! `pair` runs a main process and a renderer process with a subject between them. [`latency`] measures
//! Ringbridge alone that way, [`compare`] all the subjects in `peers`. [`scale`] measures one main process
//! with many renderers, [`hot_path`] counts instructions. `report` draws what was measured.

mod board;
pub mod cli;
pub mod compare;
mod figures;
pub mod hot_path;
pub mod latency;
mod pair;
mod peers;
mod report;
pub mod scale;
mod stats;
mod system;

pub use crate::{
    pair::{
        Limit, Pair, Setup, Slice,
        job::{Backend, PAYLOAD_MAX, PAYLOAD_MIN, Wait},
        take_part,
    },
    stats::quantile,
    system::Pins,
};

/// An error of any kind. A benchmark only prints it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
