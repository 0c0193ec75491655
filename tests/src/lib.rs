//! Tests between real processes: what they share.
//!
//! A test plays the main process, on a [`Stage`](stage::Stage). Its renderers are [scenes](scene): functions beside its
//! assertions, which a second run of the test program calls. Where main itself must die, main is a scene too. A renderer
//! tells what it saw with [`REPORT`](contract::REPORT), or by failing: a scene that panics ends with a status that the
//! stage does not accept.
//!
//! Waits are for a condition and have a bound far beyond what is needed, since the machine may be busy with other tests.
//! Nothing sleeps in the hope that something will have happened. Loops mostly run in short slices between looks at such
//! a condition; the module `wake` of the behaviour tests is about those that sleep.

#![allow(
    missing_docs,
    reason = "helpers of tests: a comment stands where a name does not say enough"
)]

pub mod allocations;
pub mod attacker;
pub mod attacks;
pub mod backend;
pub mod contract;
pub mod demo;
pub mod prelude;
pub mod proc;
pub mod processes;
mod registering;
pub mod scene;
pub mod scenes;
pub mod screen;
mod shorthands;
pub mod siege;
pub mod stage;
pub mod stress;
