//! The session of every view, from its connection to its summary. With `--reconnect` it is one session after another.

use std::{error::Error, fmt, sync::Arc, vec};

use contract::{
    CONTRACT, GET_SYSTEM_INFO, LOG_MESSAGE, READ_FILE, STATISTICS, Statistics, SystemInfo, now_ns,
};
use parking_lot::Mutex;
use ringbridge::{InvokeError, IpcRenderer, RegisterError, RunError, Sandbox};

use crate::{
    context::Context,
    measurements::{Sequence, Tally},
    report::{Ended, Event, Line, sandbox_state},
};

/// A view, as its session sees it. All methods run on the loop's thread, which everything else waits for.
pub(crate) trait Viewer: Send + Sync + Sized + 'static {
    const ROUND_TRIP_EVERY_NS: u64 = 100_000_000;

    fn show(&self, line: &Line<'_>);

    /// Begins a session with a main process. A view of lines or a dashboard greets main.
    fn begin(&self, session: &Arc<Session<Self>>) -> Result<(), Box<dyn Error>> {
        session.greet();
        Ok(())
    }

    fn push(&self, session: &Session<Self>, push: &Pushed<'_>);

    /// Receives the duration of a round trip, or `None` if the invoke failed.
    fn round_trip(&self, _took_ns: Option<u64>) {}

    fn end(&self) {}
}

pub(crate) struct Pushed<'a> {
    pub(crate) statistics: &'a Statistics,
    pub(crate) latency_ns: u64,
    pub(crate) now_ns: u64,
    /// The state of the sequence after this push.
    pub(crate) sequence: Sequence,
}

/// A session with main, and the sessions that follow it when main comes back.
pub(crate) struct Session<V> {
    pub(crate) context: Context,
    pub(crate) viewer: V,
    sandbox: Option<Sandbox>,
    /// The present connection. Locked only to clone or replace it.
    ipc: Mutex<IpcRenderer>,
    /// Never locked during a send or an invoke: a callback may run at once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sequence: Sequence,
    total: Tally,
    round_trip_under_way: bool,
    round_trip_at_ns: u64,
}

impl<V: Viewer> Session<V> {
    pub(crate) fn new(
        context: Context,
        ipc: IpcRenderer,
        sandbox: Option<Sandbox>,
        viewer: V,
    ) -> Arc<Self> {
        let (ipc, state) = (Mutex::new(ipc), Mutex::default());
        Arc::new(Self { context, viewer, sandbox, ipc, state })
    }

    /// Runs until the time is over, the end is requested, or main is gone for good.
    pub(crate) fn run(self: &Arc<Self>) -> Result<Ended, Box<dyn Error>> {
        let Context { ending, patience, .. } = &self.context;
        loop {
            let ipc = self.ipc();
            self.begin(&ipc)?;
            let driven = self.context.drive(&ipc);
            self.viewer.end();
            // A listener holds the session, and the session holds the listener.
            ipc.remove_all_listeners();
            match (driven, patience) {
                (Ok(()), _) if ending.is_requested() => return Ok(Ended::Asked),
                (Ok(()), _) => return Ok(Ended::Duration),
                (Err(RunError::MainGone), Some(patience)) if !ending.is_requested() => {
                    self.show(Event::MainGone);
                    let Some(next) = self.context.reconnect(&ipc, *patience)? else {
                        return Ok(Ended::MainGone);
                    };
                    *self.ipc.lock() = next;
                }
                (Err(RunError::MainGone), _) => return Ok(Ended::MainGone),
                (Err(error), _) => return Err(error.into()),
            }
        }
    }

    fn begin(self: &Arc<Self>, ipc: &IpcRenderer) -> Result<(), Box<dyn Error>> {
        let session = self.clone();
        match ipc.on(STATISTICS, move |_event, statistics| session.receive(statistics)) {
            // Without pushes there is nothing to measure.
            Ok(_) | Err(RegisterError::Forbidden { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let allowed = CONTRACT.iter().filter(|channel| ipc.allows(**channel));
        let allowed = allowed.map(|channel| channel.key().name()).collect();
        self.show(Event::Connected { pid: std::process::id(), allowed });
        self.show(Event::Sandbox(self.sandbox.as_ref()));
        let mut state = self.state.lock();
        state.sequence.restart();
        state.round_trip_under_way = false;
        state.round_trip_at_ns = if ipc.allows(&GET_SYSTEM_INFO) { 0 } else { u64::MAX };
        drop(state);
        self.viewer.begin(self)?;
        let stopped = ipc.clone();
        self.context.ending.on_request(move || stopped.stop());
        Ok(())
    }

    fn greet(self: &Arc<Self>) {
        // If main is gone already, the loop reports it.
        let _ = self.ipc().send(LOG_MESSAGE, "User clicked a button!");
        self.ask_for_system_info();
        self.ask_for_files(self.context.options.read_file.clone().into_iter());
    }

    pub(crate) fn print_summary(&self, ended: Ended) {
        let state = self.state.lock();
        let event = Event::Summary {
            role: "renderer",
            ended,
            sandbox: sandbox_state(self.sandbox.as_ref()),
            sequence: state.sequence,
            failed_invokes: state.total.failed_invokes,
            push_latency_ns: state.total.push.summary(),
            invoke_rtt_ns: state.total.round_trip.summary(),
        };
        self.context.console.print(&Line::new(Some(self.id()), event));
    }

    pub(crate) fn id(&self) -> u32 {
        self.ipc.lock().id()
    }

    pub(crate) fn ipc(&self) -> IpcRenderer {
        self.ipc.lock().clone()
    }

    fn show(&self, event: Event<'_>) {
        self.viewer.show(&Line::new(Some(self.id()), event));
    }

    fn receive(self: &Arc<Self>, statistics: &Statistics) {
        let now_ns = now_ns();
        let latency_ns = now_ns.saturating_sub(statistics.sent_ns);
        let (sequence, measures) = {
            let mut state = self.state.lock();
            state.sequence.record(statistics.sequence);
            state.total.push.record(latency_ns);
            (state.sequence, state.begin_round_trip(now_ns, V::ROUND_TRIP_EVERY_NS))
        };
        if measures {
            self.invoke_system_info(|_, _| {});
        }
        self.viewer.push(self, &Pushed { statistics, latency_ns, now_ns, sequence });
    }

    fn invoke_system_info(
        self: &Arc<Self>,
        then: impl FnOnce(&Self, Result<SystemInfo, InvokeError>) + Send + 'static,
    ) {
        let session = self.clone();
        let began_ns = now_ns();
        let settled = move |result: Result<SystemInfo, InvokeError>| {
            let took_ns = now_ns().saturating_sub(began_ns);
            let reported = session.state.lock().end_round_trip(result.as_ref().map(|_| took_ns));
            if let Some(took_ns) = reported {
                session.viewer.round_trip(took_ns);
            }
            then(&session, result);
        };
        match self.ipc().invoke(GET_SYSTEM_INFO, &()) {
            Ok(invocation) => invocation.then(settled),
            Err(error) => settled(Err(error)),
        }
    }

    /// Asks main about the machine, and shows the answer.
    pub(crate) fn ask_for_system_info(self: &Arc<Self>) {
        self.invoke_system_info(|session, result| match result {
            Ok(info) => session.show(Event::SystemInfo(&info)),
            Err(error) => session.show_failure(error),
        });
    }

    /// Asks for one file after another, so that neither a quota nor the space for pushes is used up. Shows each answer.
    pub(crate) fn ask_for_files(self: &Arc<Self>, mut paths: vec::IntoIter<String>) {
        let Some(path) = paths.next() else { return };
        let session = self.clone();
        let asked = self.ipc().invoke(READ_FILE, &path);
        let settled = move |result: Result<Vec<u8>, InvokeError<_>>| {
            let path = &path;
            match result {
                Ok(bytes) => session.show(Event::File { path, len: bytes.len(), bytes: &bytes }),
                Err(InvokeError::Handler { error, .. }) => {
                    session.show(Event::FileError { path, error, message: error.to_string() })
                }
                Err(error) => session.show_failure(error),
            }
            session.ask_for_files(paths);
        };
        match asked {
            Ok(invocation) => invocation.then(settled),
            Err(error) => settled(Err(error)),
        }
    }

    /// Shows why an invoke failed. That main is gone is reported once, at the end.
    fn show_failure<E: fmt::Debug + fmt::Display>(&self, error: InvokeError<E>) {
        if !matches!(error, InvokeError::Gone { .. }) {
            self.show(Event::InvokeError { message: error.to_string() });
        }
    }
}

impl State {
    /// Returns whether to measure a round trip now. There is one at a time, and pushes pace them.
    fn begin_round_trip(&mut self, now_ns: u64, every_ns: u64) -> bool {
        let is_due = now_ns >= self.round_trip_at_ns && !self.round_trip_under_way;
        if is_due {
            self.round_trip_at_ns = now_ns + every_ns;
            self.round_trip_under_way = true;
        }
        is_due
    }

    /// Returns the duration to report, or `Some(None)` for a failure. An invoke that ends with the session is none.
    fn end_round_trip(&mut self, took_ns: Result<u64, &InvokeError>) -> Option<Option<u64>> {
        self.round_trip_under_way = false;
        if let Err(InvokeError::Gone { .. }) = took_ns {
            return None;
        }
        self.total.record_round_trip(took_ns.ok());
        Some(took_ns.ok())
    }
}

#[cfg(test)]
mod tests {
    use ringbridge::GoneReason;

    use super::*;

    #[test]
    fn pushes_pace_the_round_trips_and_there_is_one_at_a_time() {
        let mut state = State::default();
        let begun =
            |state: &mut State, ms: u64| state.begin_round_trip(ms * 1_000_000, 100_000_000);
        let measured = (1..=3000).filter(|ms| {
            let begun = begun(&mut state, *ms);
            state.end_round_trip(Ok(1000));
            begun
        });
        assert_eq!(measured.count(), 30);
        assert!(begun(&mut state, 4000));
        assert!(!begun(&mut state, 9000));
    }

    #[test]
    fn an_invoke_that_ends_with_the_session_is_no_failure() {
        let mut state = State::default();
        let channel = GET_SYSTEM_INFO.name();
        let gone = InvokeError::Gone { channel, reason: GoneReason::MainGone };
        assert_eq!(state.end_round_trip(Err(&gone)), None);
        assert_eq!(state.end_round_trip(Err(&InvokeError::NoHandler { channel })), Some(None));
        assert_eq!(state.total.failed_invokes, 1);
        assert_eq!(state.total.round_trip.summary().count, 0);
    }
}
