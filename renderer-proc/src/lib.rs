//! A renderer of the demo. It sends a log message, invokes `get-system-info` and listens to `statistics`, and measures
//! the latencies of pushes and of its own invokes.
//!
//! `renderer-proc` runs it. So does `main-proc`, in a process that it launches from its own executable. [`console`],
//! [`ending`], [`terminal`] and the arguments in [`options`] serve both programs.
//!
//! ```text
//!   context ──▶ session ──▶ one Viewer:  lines       on standard output, for people or as JSON
//!   (connect,   (measure,                dashboard   in a terminal
//!    sandbox)    report)                 web         a page for a browser
//! ```
//!
//! Pushes pace everything that a renderer repeats: a round trip, a line of output, a log message. A renderer without
//! pushes has no timer, and sleeps until main wakes it.

pub mod console;
mod context;
mod dashboard;
pub mod ending;
mod lines;
mod measurements;
pub mod options;
pub mod pinning;
mod report;
mod session;
pub mod terminal;
mod web;

use std::error::Error;

use crate::{context::Context, options::View};
pub use crate::{options::Options, web::own_host};

/// Runs a renderer in the chosen view until its time is over, the user ends it, or main is gone.
pub fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let view = options.common.view(true);
    if options.listen.is_some() && view != View::Web {
        return Err("--listen and --listen-anywhere need --view web".into());
    }
    if let Some(number) = options.pin {
        pinning::pin(number)?;
    }
    let context = Context::new(options, view)?;
    match view {
        View::Tui => dashboard::run(context),
        View::Text | View::Json => lines::run(context),
        View::Web => web::run(context),
    }
}
