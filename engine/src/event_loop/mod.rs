//! The loop of each process: one driver, and the inputs of each side.
//!
//! ```text
//!   any thread                        the thread that drives, one at a time
//!   ──────────                        ─────────────────────────────────────
//!   run, poll, wait ──▶ SharedLoop ──▶ Driver: turn, look, yield, park
//!                            │              │ generic over its Source
//!   notice, wake ──▶ the shared part        ├──▶ main:     Windows  every renderer's frames and life
//!                    of the source          └──▶ renderer: Inbox    main's frames, and the topics
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`driver`] | the driver and the `Source` trait; both processes run the same code |
//! | [`main`] | main's source: its windows, their sessions and processes |
//! | [`renderer`] | a renderer's source: its inbox and the topics that it reads |
//! | [`error`] | errors of running a loop, and of launching a renderer |
//!
//! The executor of futures is [`wake::executor`](crate::wake::executor). A session reaches its loop
//! through [`EventLoop`](crate::peer::link::EventLoop).

pub(crate) mod driver;
pub(crate) mod error;
pub(crate) mod main;
pub(crate) mod renderer;
