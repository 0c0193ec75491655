//! What the targets share. Each target is a few lines in `fuzz_targets/`; `fuzz/run` runs them.

#![cfg(fuzzing)]

pub mod payloads;
pub mod session;
