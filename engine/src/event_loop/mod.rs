//! The loop of each side: it takes frames, runs what they are for, and waits.

pub(crate) mod error;
pub(crate) mod main;
pub(crate) mod renderer;
