//! What the library tells of sessions, on standard error.

use std::{
    error::Error,
    io::{self, IsTerminal},
};

use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Writes events from now on: `info`, or levels by target as in `ringbridge=debug`.
pub(crate) fn start(filter: &Targets) -> Result<(), Box<dyn Error>> {
    // It escapes what a terminal would obey.
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter.clone()).try_init()?;
    Ok(())
}
