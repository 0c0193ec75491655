//! What a renderer of the demo does: it says hello, asks what machine this is, and listens to the
//! machine's statistics, measuring how they and its own invokes travel.
//!
//! `renderer-proc` runs it, and so does `main-proc` in a process that it launches from its own
//! executable. [`console`], [`ending`], [`terminal`] and the arguments in [`options`] serve both programs.
//!
//! What it shows, and to whom, is a *view*: `lines` on standard output, or a `dashboard` in a terminal.
//!
//! Everything that a renderer repeats (a round trip, a line of output, a log message) is driven by the
//! pushes that it receives. Where none come it has no timer, and sleeps until main rings.

mod connection;
pub mod console;
mod dashboard;
pub mod ending;
mod lines;
mod measurements;
pub mod options;
mod report;
mod session;
pub mod terminal;
mod web;

use std::error::Error;

pub use crate::options::Options;
use crate::{console::Console, ending::Ending, options::View};

/// Runs a renderer in the view that was chosen, until its time is over, somebody asks it to end, or main is gone.
///
/// # Errors
///
/// If main cannot be reached or does not want this renderer.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let ending = Ending::new();
    ending.listen_to_signals()?;
    let view = options.view.view(true);
    if options.web.is_given() && view != View::Web {
        return Err("--listen and --listen-anywhere are for --view web".into());
    }
    match view {
        View::Tui => dashboard::run(options, &ending, &Console::new(false, ending.clone())),
        View::Text | View::Json => {
            lines::run(options, &ending, Console::new(view == View::Json, ending.clone()))
        }
        View::Web => web::run(options, &ending, &Console::new(false, ending.clone())),
    }
}
