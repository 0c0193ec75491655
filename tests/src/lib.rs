//! Helpers of the tests between real processes.
//!
//! A test plays the main process, on a [`Stage`](stage::Stage). Its renderers are [scenes](scene): functions beside its
//! assertions, which a second run of the test program calls. Where main must die, it is a scene too. A renderer tells what
//! it saw by [`REPORT`](contract::REPORT) or by a panic, which the stage does not accept.
//!
//! Every wait is for a condition, and has a limit far beyond what it needs, since the machine may be busy. No test sleeps
//! in the hope that something will have happened.

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
pub mod shorthands;
pub mod siege;
pub mod stage;
pub mod stress;
