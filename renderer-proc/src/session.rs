//! One renderer's session, from its connection to its summary.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
    vec,
};

use contract::{GET_SYSTEM_INFO, LOG_MESSAGE, READ_FILE, STATISTICS, Statistics, now_ns};
use ringbridge::{InvokeError, IpcRenderer, RunError, Sandbox};

use crate::{
    connection::{connect, enter_sandbox, wait_for_main},
    console::Console,
    ending::Ending,
    measurements::{Latencies, Sequence},
    options::Options,
    report::{Ended, Line, SandboxLine, SandboxState, StatisticsLine, Summary, SystemInfoLine},
};

/// Between two lines of statistics, and two log messages, in nanoseconds.
const REPORT_EVERY_NS: u64 = 1_000_000_000;
/// Between two measured round trips, in nanoseconds.
const ROUND_TRIP_EVERY_NS: u64 = 100_000_000;

/// Runs a renderer until its time is over, somebody asks it to end, or main is gone. Its summary is the
/// last thing that it prints.
///
/// # Errors
///
/// If main cannot be reached or does not want this renderer.
pub(crate) fn run(
    options: &Options,
    ending: &Arc<Ending>,
    console: Console,
) -> Result<(), Box<dyn Error>> {
    let Some(ipc) = connect(options, ending)? else { return Ok(()) };
    // The signals' handler has its pipe and its thread by now.
    let sandbox = enter_sandbox(&ipc, options)?;
    let session =
        Arc::new(Session { ipc: Mutex::new(ipc), console, sandbox, state: Mutex::default() });
    session.listen()?;
    let until = options.duration.and_then(|duration| Instant::now().checked_add(duration));
    let ended = loop {
        session.begin(options, ending);
        match session.run(until) {
            Ok(()) if ending.is_requested() => break Ended::Asked,
            Ok(()) => break Ended::Duration,
            Err(RunError::MainGone) if ending.is_requested() => break Ended::MainGone,
            Err(RunError::MainGone) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(patience) = options.reconnect else { break Ended::MainGone };
        if !session.wait_for_main(patience, until, ending)? {
            break Ended::MainGone;
        }
    };
    session.end(ended);
    Ok(())
}

struct Session {
    /// The present session's. Locked only to be cloned or changed.
    ipc: Mutex<IpcRenderer>,
    console: Console,
    sandbox: Option<Sandbox>,
    /// Locked for moments only, and never while something is sent: a callback may run at once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sequence: Sequence,
    push_latency: Latencies,
    round_trips: Latencies,
    failed_invokes: u64,
    round_trip_under_way: bool,
    /// When the next one is due; set by the first push.
    report_at_ns: Option<u64>,
    round_trip_at_ns: u64,
}

/// What a push is the occasion for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    report: bool,
    round_trip: bool,
}

impl Session {
    fn ipc(&self) -> IpcRenderer {
        self.ipc.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(self: &Arc<Self>) -> Result<(), Box<dyn Error>> {
        let session = self.clone();
        self.ipc().on(STATISTICS, move |_event, statistics| session.take(statistics))?;
        Ok(())
    }

    /// With each main.
    fn begin(self: &Arc<Self>, options: &Options, ending: &Ending) {
        let ipc = self.ipc();
        self.console.print(&Line::Connected { id: ipc.id(), pid: std::process::id() });
        self.console.print(&Line::Sandbox(SandboxLine::new(ipc.id(), self.sandbox.as_ref())));
        self.state().sequence.begin_again();
        // Main may be gone already; then the loop says so.
        let _ = ipc.send(LOG_MESSAGE, "User clicked a button!");
        ending.on_request(move || ipc.stop());
        self.ask_for_system_info();
        self.ask_for_files(options.read_file.clone().into_iter());
    }

    fn run(&self, until: Option<Instant>) -> Result<(), RunError> {
        match until {
            Some(until) => self.ipc().run_for(until.saturating_duration_since(Instant::now())),
            None => self.ipc().run(),
        }
    }

    /// `false`: in vain.
    fn wait_for_main(
        &self,
        patience: Duration,
        until: Option<Instant>,
        ending: &Ending,
    ) -> Result<bool, Box<dyn Error>> {
        let ipc = self.ipc();
        self.console.print(&Line::MainGone { id: ipc.id() });
        let Some(ipc) = wait_for_main(&ipc, patience, until, ending)? else { return Ok(false) };
        *self.ipc.lock().unwrap_or_else(PoisonError::into_inner) = ipc;
        Ok(true)
    }

    /// A push has come.
    fn take(self: &Arc<Self>, statistics: &Statistics) {
        let now_ns = now_ns();
        let latency_ns = now_ns.saturating_sub(statistics.sent_ns);
        let due = self.state().record_push(statistics.sequence, latency_ns, now_ns);
        if due.round_trip {
            self.measure_round_trip();
        }
        if due.report {
            let line = StatisticsLine::new(self.ipc().id(), statistics, latency_ns);
            self.console.print(&Line::Statistics(line));
            // A log message that main has no room for is not worth waiting for.
            let _ = self.ipc().try_send(LOG_MESSAGE, "User clicked a button!");
        }
    }

    fn measure_round_trip(self: &Arc<Self>) {
        let session = self.clone();
        let began_ns = now_ns();
        match self.ipc().invoke(GET_SYSTEM_INFO, &()) {
            Ok(invocation) => invocation.then(move |result| {
                session.state().record_round_trip(now_ns().saturating_sub(began_ns), &result);
            }),
            Err(error) => self.state().record_round_trip(0, &Err::<(), _>(error)),
        }
    }

    fn ask_for_system_info(self: &Arc<Self>) {
        let session = self.clone();
        let began_ns = now_ns();
        let answered = move |result: Result<_, InvokeError>| {
            session.state().record_round_trip(now_ns().saturating_sub(began_ns), &result);
            match result {
                Ok(info) => {
                    let line = SystemInfoLine::new(session.ipc().id(), &info);
                    session.console.print(&Line::SystemInfo(line));
                }
                Err(error) => session.print_failure(error),
            }
        };
        match self.ipc().invoke(GET_SYSTEM_INFO, &()) {
            Ok(invocation) => invocation.then(answered),
            Err(error) => answered(Err(error)),
        }
    }

    /// Asks for one file after the other: so neither a quota nor the room for pushes is used up.
    fn ask_for_files(self: &Arc<Self>, mut paths: vec::IntoIter<String>) {
        let Some(path) = paths.next() else { return };
        let session = self.clone();
        let asked = self.ipc().invoke(READ_FILE, &path);
        let answered = move |result: Result<Vec<u8>, InvokeError<_>>| {
            let id = session.ipc().id();
            match result {
                Ok(bytes) => {
                    session.console.print(&Line::File { id, path: &path, len: bytes.len() });
                }
                Err(InvokeError::Handler { error, .. }) => {
                    session.console.print(&Line::file_error(id, &path, error));
                }
                Err(error) => session.print_failure(error),
            }
            session.ask_for_files(paths);
        };
        match asked {
            Ok(invocation) => invocation.then(answered),
            Err(error) => answered(Err(error)),
        }
    }

    /// That main is gone is said once, at the end.
    fn print_failure<E: fmt::Debug + fmt::Display>(&self, error: InvokeError<E>) {
        if !matches!(error, InvokeError::Gone { .. }) {
            let message = error.to_string();
            self.console.print(&Line::InvokeError { id: self.ipc().id(), message });
        }
    }

    /// Prints the summary and hangs up.
    fn end(&self, ended: Ended) {
        // The listener holds the session, which holds the listener.
        self.ipc().remove_all_listeners();
        let state = self.state();
        self.console.print(&Line::Summary(Summary::new(
            self.ipc().id(),
            ended,
            SandboxState::of(self.sandbox.as_ref()),
            state.sequence,
            state.failed_invokes,
            state.push_latency.summary(),
            state.round_trips.summary(),
        )));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record_push(&mut self, sequence: u64, latency_ns: u64, now_ns: u64) -> Due {
        self.sequence.record(sequence);
        self.push_latency.record(latency_ns);
        let report_at_ns = *self.report_at_ns.get_or_insert(now_ns + REPORT_EVERY_NS);
        let due = Due {
            report: now_ns >= report_at_ns,
            round_trip: now_ns >= self.round_trip_at_ns && !self.round_trip_under_way,
        };
        if due.report {
            self.report_at_ns = Some(now_ns + REPORT_EVERY_NS);
        }
        if due.round_trip {
            self.round_trip_at_ns = now_ns + ROUND_TRIP_EVERY_NS;
            self.round_trip_under_way = true;
        }
        due
    }

    /// An invoke that ends with the session is no failure.
    fn record_round_trip<T>(&mut self, took_ns: u64, result: &Result<T, InvokeError>) {
        self.round_trip_under_way = false;
        match result {
            Ok(_) => self.round_trips.record(took_ns),
            Err(InvokeError::Gone { .. }) => {}
            Err(_) => self.failed_invokes += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::GoneReason;

    use super::*;

    #[test]
    fn pushes_pace_the_reports_and_the_round_trips() {
        let mut state = State::default();
        let mut reports = 0;
        let mut round_trips = 0;
        for ms in 1..=3000 {
            let due = state.record_push(ms, 0, ms * 1_000_000);
            reports += u32::from(due.report);
            round_trips += u32::from(due.round_trip);
            if due.round_trip {
                state.record_round_trip::<()>(1000, &Ok(()));
            }
        }
        assert_eq!(reports, 2);
        assert!((29..=30).contains(&round_trips), "{round_trips}");
    }

    #[test]
    fn there_is_one_round_trip_at_a_time() {
        let mut state = State::default();
        assert!(state.record_push(1, 0, 1_000_000_000).round_trip);
        assert!(!state.record_push(2, 0, 9_000_000_000).round_trip);
    }

    #[test]
    fn an_invoke_that_ends_with_the_session_is_no_failure() {
        let mut state = State::default();
        let channel = GET_SYSTEM_INFO.name();
        let gone = InvokeError::Gone { channel, reason: GoneReason::MainGone };
        state.record_round_trip::<()>(0, &Err(gone));
        state.record_round_trip::<()>(0, &Err(InvokeError::NoHandler { channel }));
        assert_eq!(state.failed_invokes, 1);
        assert_eq!(state.round_trips.summary().count, 0);
    }
}
