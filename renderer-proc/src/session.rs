//! One renderer's session, from its connection to its summary: what every view of it shares.
//!
//! A view is told what happens ([`Viewer`]), and may ask for more: the lines of [`lines`](crate::lines) say a
//! word now and then, the [`dashboard`](crate::dashboard) asks for what its user wants.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
    vec,
};

use contract::{CONTRACT, GET_SYSTEM_INFO, LOG_MESSAGE, READ_FILE, STATISTICS, Statistics, now_ns};
use ringbridge::{InvokeError, IpcRenderer, RunError, Sandbox};

use crate::{
    connection::wait_for_main,
    ending::Ending,
    measurements::{Latencies, Sequence},
    options::Options,
    report::{Ended, Line, SandboxLine, SandboxState, Summary, SystemInfoLine},
};

/// Between two measured round trips, in nanoseconds.
const ROUND_TRIP_EVERY_NS: u64 = 100_000_000;

/// Who is told what happens in a session. Told on the thread that receives, which everything else waits for.
pub(crate) trait Viewer: Send + Sync + Sized + 'static {
    /// Something has happened.
    fn show(&self, line: &Line<'_>);

    /// A push has come, as every millisecond or more often.
    fn push(&self, session: &Session<Self>, push: &Pushed<'_>);

    /// An invoke that only measures took so long, or failed.
    fn round_trip(&self, took_ns: Option<u64>);
}

/// A push, and what was measured about it.
pub(crate) struct Pushed<'a> {
    pub(crate) statistics: &'a Statistics,
    pub(crate) latency_ns: u64,
    pub(crate) now_ns: u64,
    /// Of all pushes up to this one.
    pub(crate) sequence: Sequence,
}

/// A session, or one after the other with each main that comes.
pub(crate) struct Session<V> {
    /// The present session's. Locked only to be cloned or changed.
    ipc: Mutex<IpcRenderer>,
    sandbox: Option<Sandbox>,
    viewer: V,
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
    /// When the next one is due.
    round_trip_at_ns: u64,
}

impl<V: Viewer> Session<V> {
    pub(crate) fn new(ipc: IpcRenderer, sandbox: Option<Sandbox>, viewer: V) -> Arc<Self> {
        Arc::new(Self { ipc: Mutex::new(ipc), sandbox, viewer, state: Mutex::default() })
    }

    /// Until the time is over, somebody asks for the end, or main is gone for good.
    pub(crate) fn run(
        self: &Arc<Self>,
        options: &Options,
        ending: &Ending,
    ) -> Result<Ended, Box<dyn Error>> {
        self.listen()?;
        let until = options.duration.and_then(|duration| Instant::now().checked_add(duration));
        loop {
            self.begin(options, ending);
            match self.drive(until) {
                Ok(()) if ending.is_requested() => return Ok(Ended::Asked),
                Ok(()) => return Ok(Ended::Duration),
                Err(RunError::MainGone) if ending.is_requested() => return Ok(Ended::MainGone),
                Err(RunError::MainGone) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(patience) = options.reconnect else { return Ok(Ended::MainGone) };
            self.viewer.show(&Line::MainGone { id: self.id() });
            let back = wait_for_main(&self.ipc(), patience, until, ending)?;
            let Some(ipc) = back else { return Ok(Ended::MainGone) };
            *self.ipc.lock().unwrap_or_else(PoisonError::into_inner) = ipc;
        }
    }

    /// Listens to nothing any more, and sums up.
    pub(crate) fn end(&self, ended: Ended) -> Line<'static> {
        // The listener holds the session, which holds the listener.
        self.ipc().remove_all_listeners();
        let state = self.state();
        Line::Summary(Summary::new(
            self.id(),
            ended,
            SandboxState::of(self.sandbox.as_ref()),
            state.sequence,
            state.failed_invokes,
            state.push_latency.summary(),
            state.round_trips.summary(),
        ))
    }

    /// This renderer's number, which main has given it.
    pub(crate) fn id(&self) -> u32 {
        self.ipc().id()
    }

    pub(crate) fn viewer(&self) -> &V {
        &self.viewer
    }

    pub(crate) fn ipc(&self) -> IpcRenderer {
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
        let allowed = CONTRACT.iter().filter(|channel| ipc.allows(**channel));
        self.viewer.show(&Line::Connected {
            id: ipc.id(),
            pid: std::process::id(),
            allowed: allowed.map(|channel| channel.key().name()).collect(),
        });
        self.viewer.show(&Line::Sandbox(SandboxLine::new(ipc.id(), self.sandbox.as_ref())));
        self.state().sequence.begin_again();
        // Main may be gone already; then the loop says so.
        let _ = ipc.send(LOG_MESSAGE, "User clicked a button!");
        ending.on_request(move || ipc.stop());
        self.ask_for_system_info();
        self.ask_for_files(options.read_file.clone().into_iter());
    }

    fn drive(&self, until: Option<Instant>) -> Result<(), RunError> {
        match until {
            Some(until) => self.ipc().run_for(until.saturating_duration_since(Instant::now())),
            None => self.ipc().run(),
        }
    }

    /// A push has come.
    fn take(self: &Arc<Self>, statistics: &Statistics) {
        let now_ns = now_ns();
        let latency_ns = now_ns.saturating_sub(statistics.sent_ns);
        let (sequence, measure) = {
            let mut state = self.state();
            state.record_push(statistics.sequence, latency_ns);
            (state.sequence, state.begin_round_trip(now_ns))
        };
        if measure {
            self.measure_round_trip();
        }
        self.viewer.push(self, &Pushed { statistics, latency_ns, now_ns, sequence });
    }

    fn measure_round_trip(self: &Arc<Self>) {
        let session = self.clone();
        let began_ns = now_ns();
        match self.ipc().invoke(GET_SYSTEM_INFO, &()) {
            Ok(invocation) => invocation.then(move |result| {
                let took_ns = now_ns().saturating_sub(began_ns);
                session.note_round_trip(took_ns, &result);
            }),
            Err(error) => self.note_round_trip(0, &Err::<(), _>(error)),
        }
    }

    fn note_round_trip<T>(&self, took_ns: u64, result: &Result<T, InvokeError>) {
        self.state().record_round_trip(took_ns, result);
        if !matches!(result, Err(InvokeError::Gone { .. })) {
            self.viewer.round_trip(result.is_ok().then_some(took_ns));
        }
    }

    /// Asks main what machine this is; the answer is shown.
    pub(crate) fn ask_for_system_info(self: &Arc<Self>) {
        let session = self.clone();
        let began_ns = now_ns();
        let answered = move |result: Result<_, InvokeError>| {
            session.state().record_round_trip(now_ns().saturating_sub(began_ns), &result);
            match result {
                Ok(info) => {
                    let line = SystemInfoLine::new(session.id(), &info);
                    session.viewer.show(&Line::SystemInfo(line));
                }
                Err(error) => session.show_failure(error),
            }
        };
        match self.ipc().invoke(GET_SYSTEM_INFO, &()) {
            Ok(invocation) => invocation.then(answered),
            Err(error) => answered(Err(error)),
        }
    }

    /// Asks for one file after the other: so neither a quota nor the room for pushes is used up. What comes of it is
    /// shown.
    pub(crate) fn ask_for_files(self: &Arc<Self>, mut paths: vec::IntoIter<String>) {
        let Some(path) = paths.next() else { return };
        let session = self.clone();
        let asked = self.ipc().invoke(READ_FILE, &path);
        let answered = move |result: Result<Vec<u8>, InvokeError<_>>| {
            let id = session.id();
            let path = &path;
            match result {
                Ok(bytes) => {
                    session.viewer.show(&Line::File { id, path, len: bytes.len(), bytes: &bytes });
                }
                Err(InvokeError::Handler { error, .. }) => {
                    session.viewer.show(&Line::file_error(id, path, error));
                }
                Err(error) => session.show_failure(error),
            }
            session.ask_for_files(paths);
        };
        match asked {
            Ok(invocation) => invocation.then(answered),
            Err(error) => answered(Err(error)),
        }
    }

    /// That main is gone is said once, at the end.
    fn show_failure<E: fmt::Debug + fmt::Display>(&self, error: InvokeError<E>) {
        if !matches!(error, InvokeError::Gone { .. }) {
            let message = error.to_string();
            self.viewer.show(&Line::InvokeError { id: self.id(), message });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record_push(&mut self, sequence: u64, latency_ns: u64) {
        self.sequence.record(sequence);
        self.push_latency.record(latency_ns);
    }

    /// Whether a round trip is to be measured now: one at a time, paced by the pushes.
    fn begin_round_trip(&mut self, now_ns: u64) -> bool {
        let is_due = now_ns >= self.round_trip_at_ns && !self.round_trip_under_way;
        if is_due {
            self.round_trip_at_ns = now_ns + ROUND_TRIP_EVERY_NS;
            self.round_trip_under_way = true;
        }
        is_due
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
    fn pushes_pace_the_round_trips() {
        let mut state = State::default();
        let mut round_trips = 0;
        for ms in 1..=3000 {
            if state.begin_round_trip(ms * 1_000_000) {
                state.record_round_trip::<()>(1000, &Ok(()));
                round_trips += 1;
            }
        }
        assert!((29..=30).contains(&round_trips), "{round_trips}");
    }

    #[test]
    fn there_is_one_round_trip_at_a_time() {
        let mut state = State::default();
        assert!(state.begin_round_trip(1_000_000_000));
        assert!(!state.begin_round_trip(9_000_000_000));
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
