//! How sessions begin and end: connections, the handshake, hang-ups, exits.
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

use crate::event_loop::main::{
    Connection, GRACE, LISTENER, MainLoop, Restart, Session, Stage, TokenKind, token,
};
use crate::{
    error::GoneReason,
    event_loop::main::{hooks::Candidate, restart::Recipe, shared::MainShared},
    kill_points::{KillPoint, reach},
    os::report::Event,
    peer::Port,
    primitives::Ordering,
    session::{
        inspection::InspectorHello, liveness::reason_of, offers::grants, transport::PollSource,
    },
    sync::reentrancy::{self, CurrentLoop},
    trace,
    wire::{
        CELL,
        frame::Violation,
        handshake::{Answer, Hello, JoinRefusal, Ready, encode},
    },
};

/// How many connections that nobody admitted yet may be open.
const CANDIDATES_MAX: usize = 64;
/// How long a renderer that nobody launched may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nobody is let in after a limit was met.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl MainLoop {
    /// Takes a connection in, whose first stage may last so long.
    pub(super) fn insert(&mut self, connection: Connection, timeout: Duration) -> usize {
        let place = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[place] = Some(connection);
        self.set_deadline(place, timeout);
        place
    }

    /// Listens to a session that has its window now.
    pub(super) fn begin_session(&mut self, place: usize, session: Session) -> io::Result<()> {
        let Some(connection) = self.connections[place].as_mut() else { return Ok(()) };
        connection.session = Some(session);
        let control = &connection.control;
        let bell = PollSource::Bell(control);
        self.poller.add(bell, token(place, TokenKind::Bell))?;
        if let Some((_, process)) = &connection.child {
            self.poller.add(PollSource::Process(process), token(place, TokenKind::Process))?;
        }
        if connection.stage == Stage::Hello {
            self.poller.add(
                PollSource::ControlChannel(control),
                token(place, TokenKind::ControlChannel),
            )?;
        }
        self.busy.push(place);
        Ok(())
    }

    /// Takes the connections that wait, as far as there is room for them.
    pub(super) fn accept(&mut self) {
        let Some(endpoint) = &self.endpoint else { return };
        let control = match endpoint.accept() {
            Ok(Some(control)) => control,
            Ok(None) => return,
            Err(_) => {
                // A limit was met, and who knocked still waits: without a pause the loop would spin.
                let _ = self.poller.remove(PollSource::Door, LISTENER);
                self.listening_from = Instant::now().checked_add(ACCEPT_PAUSE);
                return;
            }
        };
        if self.candidates >= CANDIDATES_MAX {
            return;
        }
        let place = self.insert(Connection::new(Arc::new(control)), HELLO_TIMEOUT);
        let Some(connection) = &self.connections[place] else { return };
        let heard = PollSource::ControlChannel(&connection.control);
        match self.poller.add(heard, token(place, TokenKind::ControlChannel)) {
            Ok(()) => self.candidates += 1,
            Err(_) => self.connections[place] = None,
        }
    }

    /// Lets connections in again, once the pause after a limit is over.
    pub(super) fn listen_again(&mut self, now: Instant) {
        if self.listening_from.is_some_and(|from| from <= now) && self.endpoint.is_some() {
            let added = self.poller.add(PollSource::Door, LISTENER);
            self.listening_from = added.err().and_then(|_| now.checked_add(ACCEPT_PAUSE));
        }
    }

    /// Something came over the socket: a part of the handshake, or the end.
    pub(super) fn hear(&mut self, main: &MainShared, place: usize, event: &Event) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        if connection.stage == Stage::Ending {
            self.stop_listening(place);
            return;
        }
        if !event.readable {
            if event.hangup {
                self.hung_up(main, place);
            }
            return;
        }
        // No descriptor is expected from a renderer: one that comes is closed, and an error.
        match connection.control.try_receive(&mut self.packet, 0) {
            Ok(received) if received.len == 0 => self.hung_up(main, place),
            Ok(received) => self.hear_packet(main, place, received.len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It ended without reading all that main had sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.hung_up(main, place);
            }
            Err(_) => self.misused(main, place),
        }
    }

    /// Something came over the socket that no renderer of ours sends.
    pub(super) fn misused(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connections[place].as_ref() else { return };
        let reason = match &connection.session {
            Some(session) if connection.stage == Stage::Live => {
                session.note_violation(&Violation::UnexpectedPacket, false);
                GoneReason::ProtocolViolation(Violation::UnexpectedPacket)
            }
            _ => {
                main.refuse(&connection.control, "it speaks another protocol");
                GoneReason::LaunchFailed
            }
        };
        self.end_session(main, place, reason);
    }

    pub(super) fn hear_packet(&mut self, main: &MainShared, place: usize, len: usize) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        let packet = &self.packet[..len];
        if connection.stage == Stage::Hello
            && connection.session.is_none()
            && let Some(hello) = InspectorHello::parse(packet)
        {
            return self.let_watch(main, place, hello);
        }
        let answered = match connection.stage {
            Stage::Hello => match Hello::parse(packet) {
                Ok(Ok(hello)) => {
                    reach(KillPoint::HelloReceived);
                    self.welcome(main, place, &hello)
                }
                Ok(Err(refusal)) => Err(Some(refusal)),
                Err(_) => Err(None),
            },
            Stage::Ready if Ready::parse(packet).is_ok() => {
                reach(KillPoint::ReadyReceived);
                connection.stage = Stage::Live;
                connection.deadline = None;
                if let Some(session) = &connection.session {
                    session.port.set_connected();
                    // Relaxed: a process id, for display.
                    let pid = session.port.peer_pid.load(Ordering::Relaxed);
                    trace::session_connected(session.port.window, pid);
                    main.emit_connected(&session.port);
                }
                Ok(())
            }
            // Nothing is expected any more, or something else was.
            Stage::Ready | Stage::Live | Stage::Ending => Err(None),
        };
        match answered {
            Ok(()) => {}
            Err(None) => self.misused(main, place),
            Err(Some(refusal)) => {
                if let Some(connection) = &self.connections[place] {
                    main.refuse(&connection.control, refusal.why());
                    // Who does not read its refusal misses it.
                    let _ = connection.control.try_send(&encode(&Answer::Refused(refusal)), &[]);
                }
                self.end_session(main, place, GoneReason::LaunchFailed);
            }
        }
    }

    /// Answers a hello: admits the renderer, compares the contracts, hands over the memory.
    pub(super) fn welcome(
        &mut self,
        main: &MainShared,
        place: usize,
        hello: &Hello,
    ) -> Result<(), Option<JoinRefusal>> {
        let not_admitted = |why: String| Some(JoinRefusal::NotAdmitted { why });
        let Some(connection) = self.connections[place].as_mut() else { return Ok(()) };
        let newly_admitted = match connection.session {
            Some(_) => None,
            None => {
                let peer = connection.control.peer_credentials().map_err(|_| None)?;
                let candidate = Candidate::new(peer.pid, peer.uid, peer.gid);
                let policy = main.admit(&candidate).map_err(not_admitted)?;
                let session = main.open_session(policy, peer.pid, &connection.control);
                Some(session.map_err(|error| not_admitted(error.to_string()))?)
            }
        };
        let session = connection.session.as_ref().or(newly_admitted.as_ref());
        let Some(port) = session.map(|session| session.port.clone()) else { return Ok(()) };
        let grants = match grants(&hello.offers, &main.channels, &port.allowed) {
            Ok(grants) => grants,
            Err(refusal) => {
                if newly_admitted.is_some() {
                    // It never was a window that anyone saw.
                    main.forget_window(&port);
                }
                return Err(Some(refusal));
            }
        };
        if let Some(session) = newly_admitted {
            self.candidates -= 1;
            // Its socket is listened to already: at this stage `begin_session` leaves that out.
            connection.stage = Stage::Ready;
            self.begin_session(place, session).map_err(|error| not_admitted(error.to_string()))?;
        }
        let Some(connection) = self.connections[place].as_mut() else { return Ok(()) };
        let Some(session) = connection.session.as_mut() else { return Ok(()) };
        let Some(mut handover) = session.handover.take() else { return Err(None) };
        handover.welcome.grants = grants;
        reach(KillPoint::SessionOpened);
        main.send_welcome(&connection.control, &port, handover)
            .map_err(|error| not_admitted(error.to_string()))?;
        reach(KillPoint::WelcomeSent);
        connection.stage = Stage::Ready;
        Ok(())
    }

    /// The renderer hung up: it ended, or it closed its socket. What it committed is still delivered.
    pub(super) fn hung_up(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        if connection.hung_up {
            return;
        }
        connection.hung_up = true;
        self.stop_listening(place);
        let Some(connection) = self.connections[place].as_mut() else { return };
        if connection.child.is_some() {
            // Its exit status is the better reason; it comes within moments, or it is not ending.
            self.set_deadline(place, GRACE);
        } else {
            self.drain(main, place);
            self.end_session(main, place, GoneReason::Disconnected);
        }
    }

    pub(super) fn stop_listening(&mut self, place: usize) {
        if let Some(connection) = &self.connections[place] {
            // It fails only if it was never added.
            let heard = PollSource::ControlChannel(&connection.control);
            let _ = self.poller.remove(heard, token(place, TokenKind::ControlChannel));
        }
    }

    /// The process that main launched has ended.
    pub(super) fn reap(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        let Some((child, _)) = connection.child.as_mut() else { return };
        let (reason, exit_code) = match child.try_wait() {
            Ok(Some(status)) => {
                let (reason, code) = reason_of(status);
                (reason, Some(code))
            }
            Ok(None) => return,
            // Someone else has reaped it, or the process ignores SIGCHLD: it is gone all the same.
            Err(_) => (GoneReason::AbnormalExit, None),
        };
        let never_connected = matches!(connection.stage, Stage::Hello | Stage::Ready);
        self.drain(main, place);
        let reason = if never_connected { GoneReason::LaunchFailed } else { reason };
        self.end_session(main, place, reason);
        if let Some(Some(connection)) = self.connections.get(place)
            && let Some((_, process)) = &connection.child
        {
            let _ =
                self.poller.remove(PollSource::Process(process), token(place, TokenKind::Process));
        }
        self.forget(main, place, exit_code);
    }

    /// Kills a process whose end nothing will tell of, and forgets it.
    pub(super) fn abandon(&mut self, main: &MainShared, place: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(place)
            && let Some((mut child, _)) = connection.child.take()
        {
            // It fails only if it has ended; a killed process does not keep its reaper waiting.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.forget(main, place, None);
    }

    /// Delivers what a renderer committed before it went: at most what its ring can hold.
    pub(super) fn drain(&mut self, main: &MainShared, place: usize) {
        let capacity = main.config.renderer_capacity;
        let frames_max = capacity / CELL;
        let mut taken = 0;
        while taken < frames_max {
            let over = self.connections[place]
                .as_ref()
                .is_none_or(|connection| connection.stage == Stage::Ending);
            if over {
                return;
            }
            if let Some(session) =
                self.connections[place].as_mut().and_then(|connection| connection.session.as_mut())
            {
                // Invokes of the dead are counted, not run; and they send no more than is there.
                session.port.mark_orphaned();
                session.allowance = None;
            }
            match self.take_frames(main, place, &mut None) {
                0 => return,
                frames => taken += frames,
            }
        }
    }

    /// Ends a session once, and forgets the connection if no process is left to wait for.
    pub(super) fn end_session(&mut self, main: &MainShared, place: usize, reason: GoneReason) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        if connection.stage == Stage::Ending {
            return;
        }
        connection.stage = Stage::Ending;
        if !self.disarm(place) {
            self.busy.retain(|&busy| busy != place);
            self.held.retain(|&held| held != place);
        }
        self.stop_listening(place);
        let Some(connection) = self.connections[place].as_mut() else { return };
        connection.held_until = None;
        let _ = connection.control.shutdown();
        if let Some(session) = &connection.session {
            let bell = PollSource::Bell(&connection.control);
            let _ = self.poller.remove(bell, token(place, TokenKind::Bell));
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
                self.set_deadline(place, GRACE);
            }
        }
    }

    /// Drops a connection that is over, and tells who listens for it.
    pub(super) fn forget(&mut self, main: &MainShared, place: usize, exit_code: Option<i32>) {
        let Some(connection) = self.connections[place].take() else { return };
        let Some(session) = connection.session else {
            self.candidates -= 1;
            return;
        };
        let port = session.port;
        if let Some(exit_code) = exit_code {
            trace::process_ended(port.window, exit_code);
        }
        if let (Some((mut recipe, launched)), Some(reason)) = (connection.launched, port.gone()) {
            let again = recipe.restart_after(reason, launched.elapsed());
            self.restart_in(again.filter(|_| !main.is_closed()), recipe, &port);
        }
        main.emit_gone(&port, exit_code);
    }

    /// Has a renderer launched again in so long, if at all.
    pub(super) fn restart_in(&mut self, span: Option<Duration>, recipe: Recipe, old: &Arc<Port>) {
        old.set_restarts_in(span);
        if let Some(span) = span {
            trace::restarts(old.window, u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(at) = span.and_then(|span| Instant::now().checked_add(span)) {
            self.restarts.push(Restart { at, recipe, old: old.clone() });
        }
    }

    /// Launches again those for whom it is time, and says when it is for the next.
    pub(super) fn restart_due(&mut self, main: &MainShared, now: Instant) -> Option<Instant> {
        // Whose window was closed meanwhile is not wanted any more.
        self.restarts.retain(|restart| !restart.old.close_requested());
        for Restart { recipe, old, .. } in self.restarts.extract_if(.., |each| each.at <= now) {
            main.relaunch(recipe, old);
        }
        self.restarts.iter().map(|restart| restart.at).min()
    }

    /// Ends every session, and waits for the processes that main launched: first for their own end,
    /// then, after the grace, for a killed one's.
    pub(crate) fn close(&mut self, main: &MainShared) {
        let _inside = reentrancy::mark(CurrentLoop::main(main));
        if self.endpoint.take().is_some() {
            trace::endpoint_closed(main.name());
        }
        main.settle_launches();
        self.attend(main);
        self.restarts.clear();
        self.close_inspectors(main);
        for place in 0..self.connections.len() {
            self.end_session(main, place, GoneReason::Closed);
        }
        // What main did not launch to die with it lives on, and is not waited for.
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
