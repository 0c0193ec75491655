//! One main process and many renderer processes: what each of them costs, and whether they get their share.
//!
//! ```text
//!   main process                          N renderer processes (the same program, launched)
//!   Crowd ────────── order ─────────────▶ stream, send at a pace, invoke, attach, subscribe
//!     ▲  counts what comes, by window          │
//!     └───────────── report ───────────────────┘
//! ```
//!
//! Nothing is pinned: there are more processes than processors, and the scheduler is part of what is
//! measured. What is compared is within one row, or between rows of one run.

mod crowd;
pub mod fan_out;
pub mod held_flood;
mod measure;
mod messages;
mod proc;
mod renderer;
pub mod report;

pub use self::{
    crowd::Interruption,
    measure::{Plan, measure},
    renderer::renderer_main,
};
