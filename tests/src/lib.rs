//! Tests between real processes: what they share.
//!
//! A test plays the main process, on a [`Stage`](stage::Stage). The renderers are *scenes* of one small program,
//! `src/bin/scene`, in a file with the same name as the tests'; where main itself must die, main is a scene too.
//! A renderer tells what it saw with [`REPORT`](contract::REPORT), or by failing: a scene that panics
//! ends with a status that the stage does not accept. `tests/demo.rs` runs the two binaries as users do.
//!
//! Waits are for a condition and have a bound far beyond what is needed, since the machine may be
//! busy with other tests. Nothing sleeps in the hope that something will have happened. Loops mostly run in
//! short slices between looks at such a condition; `tests/wake.rs` is about those that sleep.

pub mod allocations;
pub mod attacker;
pub mod attacks;
pub mod backend;
pub mod contract;
pub mod demo;
pub mod doors;
pub mod kill_points;
pub mod processes;
pub mod screen;
pub mod siege;
pub mod stage;
pub mod stress;
