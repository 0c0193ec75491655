//! The views that print lines: for people (`--view text`), or one JSON object each for programs (`--view json`).
//!
//! Once a second, a push causes one line about the machine and one log message for main.

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use contract::{LOG_MESSAGE, now_ns};

use crate::{
    console::Console,
    context::Context,
    report::{Event, Line},
    session::{Pushed, Session, Viewer},
};

const REPORT_EVERY_NS: u64 = 1_000_000_000;

/// Runs a renderer that prints lines. The last one is its summary.
pub(crate) fn run(context: Context) -> Result<(), Box<dyn Error>> {
    let Some(ipc) = context.connect(Duration::ZERO)? else { return Ok(()) };
    let sandbox = context.enter_sandbox(&ipc)?;
    let report_at_ns = AtomicU64::new(now_ns() + REPORT_EVERY_NS);
    let lines = Lines { console: context.console.clone(), report_at_ns };
    let session = Session::new(context, ipc, sandbox, lines);
    let ended = session.run()?;
    session.print_summary(ended);
    Ok(())
}

struct Lines {
    console: Console,
    report_at_ns: AtomicU64,
}

impl Viewer for Lines {
    fn show(&self, line: &Line<'_>) {
        self.console.print(line);
    }

    fn push(&self, session: &Session<Self>, push: &Pushed<'_>) {
        // Relaxed: only the loop's thread reads and writes it.
        if push.now_ns >= self.report_at_ns.load(Ordering::Relaxed) {
            self.report_at_ns.store(push.now_ns + REPORT_EVERY_NS, Ordering::Relaxed);
            let Pushed { statistics, latency_ns, .. } = *push;
            let event = Event::Statistics { statistics, latency_ns };
            self.show(&Line::new(Some(session.id()), event));
            // A log message is not worth waiting for space.
            let _ = session.ipc().try_send(LOG_MESSAGE, "User clicked a button!");
        }
    }
}
