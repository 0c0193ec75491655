//! The views that print lines: for people (`--view text`), or one JSON object each for programs (`--view json`).
//!
//! Once a second, a push causes one line about the machine and one log message for main.

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use contract::LOG_MESSAGE;

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
    let lines = Lines { console: context.console.clone(), report_at_ns: AtomicU64::new(0) };
    let session = Session::new(context, ipc, sandbox, lines);
    let ended = session.run()?;
    session.print_summary(ended);
    Ok(())
}

struct Lines {
    console: Console,
    /// When the next report is due; 0 before the first push.
    report_at_ns: AtomicU64,
}

impl Viewer for Lines {
    fn show(&self, line: &Line<'_>) {
        self.console.print(line);
    }

    fn push(&self, session: &Session<Self>, push: &Pushed<'_>) {
        if is_due(&self.report_at_ns, push.now_ns) {
            let Pushed { statistics, latency_ns, .. } = *push;
            let event = Event::Statistics { statistics, latency_ns };
            self.show(&Line::new(Some(session.id()), event));
            // A log message is not worth waiting for space.
            let _ = session.ipc().try_send(LOG_MESSAGE, "User clicked a button!");
        }
    }
}

/// Returns whether a report is due. The first push only starts the clock.
fn is_due(report_at_ns: &AtomicU64, now_ns: u64) -> bool {
    // Relaxed: only the loop's thread reads and writes it.
    let at_ns = report_at_ns.load(Ordering::Relaxed);
    if at_ns == 0 || now_ns >= at_ns {
        report_at_ns.store(now_ns + REPORT_EVERY_NS, Ordering::Relaxed);
    }
    at_ns != 0 && now_ns >= at_ns
}
