//! What a renderer of the demo does: it says hello, asks what machine this is, and listens to the
//! machine's statistics, measuring how they and its own invokes travel.
//!
//! `renderer-proc` runs it, and so does `main-proc` in a process that it launches from its own
//! executable. [`console`], [`ending`] and the arguments in [`options`] serve both programs.
//!
//! Everything that a renderer repeats (a round trip, a line of output, a log message) is driven by the
//! pushes that it receives. Where none come it has no timer, and sleeps until main rings.

pub mod console;
pub mod ending;
mod measurements;
pub mod options;
mod report;
mod session;

pub use crate::{options::Options, session::run};
