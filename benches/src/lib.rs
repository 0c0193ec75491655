//! What the benchmarks have in common: a main process and a renderer process on two processors,
//! the real path between them, and the floor of the machine to compare it with.
//!
//! ```text
//!   main process                              renderer process (the same program, launched)
//!   Pair::invoke, push, send, bounce ──order──▶ does it, timing each call
//!        ▲                                          │
//!        └──────────── samples, over the engine ────┘
//! ```
//!
//! The *floor* is what two processes need to bounce one cache line with plain atomics, and, for those
//! that sleep, one futex each way. The same two processes measure it, between two slices of the
//! subject, so that there are never more than two busy processes, and so that both see the same
//! placement of the virtual processors.
//!
//! Every sample has one reading of the clock inside, the floor's too.
//!
//! [`compare`] measures the same work by other libraries beside it, with processes of its own. [`report`] draws
//! what either has measured.

mod arrivals;
mod board;
mod clock;
pub mod compare;
pub mod hot_path;
mod job;
pub mod latency;
mod messages;
mod pair;
mod peers;
mod pins;
mod renderer;
pub mod report;
pub mod scale;
mod stats;

pub use crate::{
    job::{Backend, Job, PAYLOAD_MAX, PAYLOAD_MIN, Wait},
    pair::{Limit, Pair, Slice},
    pins::Pins,
    renderer::{is_renderer, renderer_main},
};

/// An error of any kind; a benchmark only prints it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
