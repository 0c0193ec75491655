//! The views of lines: for people (`--view text`), or one JSON object each for programs (`--view json`).
//!
//! Every second there is one about the machine, and a log message for main. There is no timer for that: the pushes
//! that come are the occasion.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use contract::LOG_MESSAGE;

use crate::{
    connection::{connect, enter_sandbox},
    console::Console,
    ending::Ending,
    options::Options,
    report::{Line, StatisticsLine},
    session::{Pushed, Session, Viewer},
};

/// Between two lines of statistics, and two log messages, in nanoseconds.
const REPORT_EVERY_NS: u64 = 1_000_000_000;

/// Runs a renderer that prints what happens. Its summary is the last thing that it prints.
pub(crate) fn run(
    options: &Options,
    ending: &Arc<Ending>,
    console: Console,
) -> Result<(), Box<dyn Error>> {
    let Some(ipc) = connect(options, ending)? else { return Ok(()) };
    // The signals' handler has its pipe and its thread by now.
    let sandbox = enter_sandbox(&ipc, options)?;
    let lines = Lines { console: console.clone(), reports: Pace::default() };
    let session = Session::new(ipc, sandbox, lines);
    let ended = session.run(options, ending)?;
    console.print(&session.end(ended));
    Ok(())
}

struct Lines {
    console: Console,
    reports: Pace,
}

impl Viewer for Lines {
    fn show(&self, line: &Line<'_>) {
        self.console.print(line);
    }

    fn push(&self, session: &Session<Self>, push: &Pushed<'_>) {
        if self.reports.is_due(push.now_ns) {
            let ipc = session.ipc();
            let line = StatisticsLine::new(ipc.id(), push.statistics, push.latency_ns);
            self.console.print(&Line::Statistics(line));
            // A log message that main has no room for is not worth waiting for.
            let _ = ipc.try_send(LOG_MESSAGE, "User clicked a button!");
        }
    }

    /// The summary has them.
    fn round_trip(&self, _took_ns: Option<u64>) {}
}

/// When the next report is due; 0 before the first push. Only the thread that receives looks at it.
#[derive(Default)]
struct Pace(AtomicU64);

impl Pace {
    fn is_due(&self, now_ns: u64) -> bool {
        // Relaxed: nothing else hangs on it, and one thread at a time receives.
        let due_ns = self.0.load(Ordering::Relaxed);
        let is_due = due_ns != 0 && now_ns >= due_ns;
        if is_due || due_ns == 0 {
            self.0.store(now_ns + REPORT_EVERY_NS, Ordering::Relaxed);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_pace_the_reports() {
        let pace = Pace::default();
        let reports = (1..=3000).filter(|ms| pace.is_due(ms * 1_000_000)).count();
        assert_eq!(reports, 2);
    }
}
