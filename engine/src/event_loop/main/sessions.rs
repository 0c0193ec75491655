//! How sessions begin and end.
//!
//! ```text
//!   launched ──┐                                          ┌──▶ gone: reason, exit code
//!              ├──▶ Hello ──▶ Ready ──▶ Live ──▶ Ending ───┤
//!   accepted ──┘      └─────────┴── refused, overdue ──▶   └──▶ (never was a window)
//! ```
//!
//! Every stage but `Live` has a deadline. A session ends once, by whatever comes first: a violation,
//! a close, a hang-up, an exit. A connection whose process main launched stays until that is reaped.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    connection::{Connection, Session, Stage},
    launcher::{Arrival, Newcomer},
    restart::{PendingRestart, Recipe},
    shared::MainShared,
    token::{TokenKind, token},
    windows::Windows,
};
use crate::{
    event_loop::driver::{Source, SourceShared},
    peer::{Port, link::Reason},
    primitives::Ordering,
    session::{
        liveness::{GoneReason, reason_of},
        transport::PollSource,
    },
    sync::reentrancy,
    trace,
    wire::CELL,
};

/// How long a renderer whose session is over may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(2);

impl Windows {
    // --- beginning -------------------------------------------------------------------------------

    /// Takes in a renderer that was launched, or the news that it could not be.
    pub(super) fn arrive(&mut self, main: &MainShared, arrival: Arrival) {
        match arrival {
            Arrival::Failed { failed, old } => {
                let (mut recipe, error) = *failed;
                let again = recipe.restart_after(&GoneReason::LaunchFailed, Duration::ZERO);
                self.restart_in(again, recipe, &old);
                main.hooks.launched_again(&old, Err(error));
            }
            Arrival::Launched(newcomer) => {
                let Newcomer { session, control, child, process, recipe, launched, predecessor } =
                    *newcomer;
                let timeout = session.policy.handshake_timeout;
                let connection = Connection {
                    child: Some((child, process)),
                    dies_with_session: recipe.dies_with_session(),
                    launched: Some((recipe, launched)),
                    ..Connection::new(control)
                };
                let place = self.insert(connection, timeout);
                if let Some(old) = predecessor {
                    main.hooks.launched_again(&old, Ok(&session.port));
                }
                match self.begin_session(place, session) {
                    // The application may have closed it while it was on its way.
                    Ok(()) => self.look_after(main, place, Reason::Ended),
                    Err(_) => {
                        // Without its events the session cannot live, nor its process's end be noticed.
                        self.end_session(main, place, GoneReason::LaunchFailed);
                        self.abandon(main, place);
                    }
                }
            }
        }
    }

    /// Listens to a session that has its window now.
    pub(super) fn begin_session(&mut self, place: usize, session: Session) -> io::Result<()> {
        let Self { connections, poller, .. } = self;
        let Some(Some(connection)) = connections.get_mut(place) else { return Ok(()) };
        // What was sent and asked before told a loop that did not know it.
        connection.request_until = session.port.expire(Instant::now());
        self.untidy.push(place);
        self.places.insert(session.port.window, place);
        connection.session = Some(session);
        if let Some((_, process)) = &connection.child {
            poller.add(PollSource::Process(process), token(place, TokenKind::Process))?;
        }
        if connection.stage == Stage::Hello {
            self.listen_to_control(place)?;
        }
        self.reschedule(place);
        if !self.listen_to_bell(place, true) {
            return Err(io::Error::other("its bell cannot be heard"));
        }
        self.busy.push(place);
        Ok(())
    }

    // --- ending ----------------------------------------------------------------------------------

    /// Ends the session of a renderer that hung up: it ended, or it closed its socket. What it committed is
    /// still delivered.
    pub(super) fn hung_up(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connection(place) else { return };
        if std::mem::replace(&mut connection.hung_up, true) {
            return;
        }
        let was_launched = connection.child.is_some();
        self.stop_listening(place);
        if was_launched {
            // Its exit status is the better reason; it comes within moments, or it is not ending.
            self.set_stage_deadline(place, GRACE);
        } else {
            self.drain(main, place);
            self.end_session(main, place, GoneReason::Disconnected);
        }
    }

    /// Reaps a process that main launched and that has ended.
    pub(super) fn reap(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connection(place) else { return };
        let Some((child, _)) = connection.child.as_mut() else { return };
        let (reason, exit_code) = match child.try_wait() {
            Ok(Some(status)) => {
                let (reason, code) = reason_of(status);
                (reason, Some(code))
            }
            Ok(None) => return,
            // The application has reaped it, or ignores SIGCHLD: it is gone all the same.
            Err(_) => (GoneReason::AbnormalExit, None),
        };
        let never_connected = matches!(connection.stage, Stage::Hello | Stage::Ready);
        self.drain(main, place);
        let reason = if never_connected { GoneReason::LaunchFailed } else { reason };
        self.end_session(main, place, reason);
        if let Some(Some(connection)) = self.connections.get(place)
            && let Some((_, process)) = &connection.child
        {
            let source = PollSource::Process(process);
            let _ = self.poller.remove(source, token(place, TokenKind::Process));
        }
        self.forget(main, place, exit_code);
    }

    /// Kills a process whose end would not be noticed, and forgets it.
    fn abandon(&mut self, main: &MainShared, place: usize) {
        if let Some(connection) = self.connection(place)
            && let Some((mut child, _)) = connection.child.take()
        {
            // It fails only if it has ended; a killed process does not keep its reaper waiting.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.forget(main, place, None);
    }

    /// Delivers what a renderer committed before it went: at most what its ring can hold.
    fn drain(&mut self, main: &MainShared, place: usize) {
        let frames_max = main.config.renderer_capacity / CELL;
        let mut taken = 0;
        while taken < frames_max {
            let Some(connection) = self.connection(place) else { return };
            if connection.stage == Stage::Ending {
                return;
            }
            if let Some(session) = connection.session.as_mut() {
                // Invokes of the dead are counted, not run; and they send no more than is there.
                session.port.incoming.mark_orphaned();
                session.allowance = None;
            }
            match self.take_frames(main, place, &mut None, &mut false) {
                0 => return,
                frames => taken += frames,
            }
        }
    }

    /// Acts on a stage that has lasted too long.
    pub(super) fn overdue(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connection(place) else { return };
        match connection.stage {
            Stage::Hello | Stage::Ready => self.end_session(main, place, GoneReason::LaunchFailed),
            Stage::Live => self.end_session(main, place, GoneReason::Disconnected),
            Stage::Ending => {
                if connection.dies_with_session
                    && let Some((child, _)) = &mut connection.child
                {
                    // Its end is told by the poller. It fails only if it has ended by itself.
                    let _ = child.kill();
                }
            }
        }
    }

    /// Ends a session once, and forgets the connection if no process is left to wait for.
    pub(super) fn end_session(&mut self, main: &MainShared, place: usize, reason: GoneReason) {
        let Some(connection) = self.connection(place) else { return };
        if std::mem::replace(&mut connection.stage, Stage::Ending) == Stage::Ending {
            return;
        }
        connection.held_until = None;
        if !self.disarm(place) {
            self.busy.retain(|&busy| busy != place);
        }
        self.stop_listening(place);
        let heard = self.connection(place).is_some_and(|connection| !connection.deaf);
        if heard {
            self.listen_to_bell(place, false);
        }
        let Some(connection) = self.connection(place) else { return };
        let _ = connection.control.shutdown();
        if let Some(session) = &connection.session {
            session.port.end(reason.clone());
            trace::session_ended(session.port.window, reason.name());
            main.forget_window(&session.port);
        }
        match &mut connection.child {
            None => self.forget(main, place, None),
            Some((child, _)) => {
                if matches!(reason, GoneReason::ProtocolViolation(_)) {
                    let _ = child.kill();
                }
                self.set_stage_deadline(place, GRACE);
            }
        }
    }

    /// Drops a connection that is over, and tells the application.
    fn forget(&mut self, main: &MainShared, place: usize, exit_code: Option<i32>) {
        let Some(connection) = self.connections[place].take() else { return };
        self.reschedule(place);
        let Some(session) = connection.session else {
            self.candidates -= 1;
            return;
        };
        let port = session.port;
        self.places.remove(&port.window);
        if let Some(exit_code) = exit_code {
            trace::process_ended(port.window, exit_code);
        }
        if let (Some((mut recipe, launched)), Some(reason)) = (connection.launched, port.gone()) {
            let again = recipe.restart_after(reason, launched.elapsed());
            self.restart_in(again.filter(|_| !main.is_closed()), recipe, &port);
        }
        main.hooks.gone(&port, exit_code);
    }

    // --- restarts --------------------------------------------------------------------------------

    /// Has a renderer launched again after this time, if at all.
    fn restart_in(&mut self, span: Option<Duration>, recipe: Recipe, old: &Arc<Port>) {
        *old.restarts_in.lock() = span;
        if let Some(span) = span {
            trace::restarts(old.window, u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(at) = span.and_then(|span| Instant::now().checked_add(span)) {
            self.restarts.push(PendingRestart { at, recipe, old: old.clone() });
        }
    }

    /// Launches the renderers whose time has come. Returns when the next one's does.
    pub(super) fn restart_due(&mut self, main: &MainShared, now: Instant) -> Option<Instant> {
        // One whose window was closed meanwhile is not wanted any more.
        self.restarts.retain(|restart| !restart.old.close_requested());
        for PendingRestart { recipe, old, .. } in
            self.restarts.extract_if(.., |each| each.at <= now)
        {
            main.relaunch(recipe, old);
        }
        self.restarts.iter().map(|restart| restart.at).min()
    }

    // --- the end of all --------------------------------------------------------------------------

    /// Ends every session, and waits for the processes that main launched: first for their own end,
    /// then, after the grace, for a killed one's.
    pub(super) fn close_endpoint(&mut self, main: &MainShared) {
        let _inside = reentrancy::mark(main.current_loop());
        // Relaxed: a launch at the same time is refused, or ended below.
        main.closed.store(true, Ordering::Relaxed);
        if self.endpoint.take().is_some() {
            trace::endpoint_closed(&main.name);
        }
        main.launcher.settle();
        self.attend(main);
        self.restarts.clear();
        self.inspectors.close(main);
        for place in 0..self.connections.len() {
            self.end_session(main, place, GoneReason::Closed);
        }
        main.meeting.settle();
        // A process that main did not launch to die with it lives on, and is not waited for.
        while self.connections.iter().flatten().any(|connection| connection.dies_with_session) {
            let now = Instant::now();
            let next = self.keep_deadlines(main, now);
            let timeout = next.map_or(GRACE, |next| next.saturating_duration_since(now));
            if self.wait(main, Some(timeout)).is_err() {
                return;
            }
        }
    }
}
