//! One main process and many renderer processes: the cost of each, and their shares.
//!
//! ```text
//!   main process                          N renderer processes (the same program, launched)
//!   Crowd ────────── order ─────────────▶ stream, send at a pace, invoke, attach, subscribe
//!     ▲  counts messages, by window          │
//!     └───────────── report ───────────────────┘
//! ```
//!
//! No process is pinned: there are more processes than processors, and the scheduler is part of the
//! measurement. Compare figures only within one run.

mod crowd;
pub mod fan_out;
pub mod held_flood;
mod measure;
mod messages;
mod renderer;
pub mod report;

pub use self::{crowd::Interruption, measure::measure, renderer::take_part};
