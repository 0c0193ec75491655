//! Connections that come in, and what they say: the handshake of renderers, inspectors, and the hang-up.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    connection::{Connection, Stage},
    hooks::Candidate,
    shared::MainShared,
    token::{LISTENER, TokenKind, token},
    windows::Windows,
};
use crate::{
    inspection::attach::{InspectorAnswer, InspectorHello},
    kill_points::{KillPoint, reach},
    os::report::Event,
    primitives::Ordering,
    session::{liveness::GoneReason, offers::grants, transport::PollSource},
    trace,
    wire::{
        frame::Violation,
        handshake::{Answer, Hello, JoinRefusal, Ready, encode},
    },
};

/// The most connections that may be open and not admitted.
const CANDIDATES_MAX: usize = 64;
/// How long a renderer that main did not launch may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long no connection is let in after a limit was met.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Windows {
    /// Takes a connection in, whose first stage may last for this time.
    pub(super) fn insert(&mut self, connection: Connection, timeout: Duration) -> usize {
        let place = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[place] = Some(connection);
        self.set_stage_deadline(place, timeout);
        place
    }

    /// Takes in a connection that waits, if there is room for it.
    pub(super) fn accept(&mut self) {
        let Some(endpoint) = &self.endpoint else { return };
        let control = match endpoint.accept() {
            Ok(Some(control)) => control,
            Ok(None) => return,
            Err(_) => {
                // A limit was met, and the connection still waits: without a pause the loop would spin.
                let _ = self.poller.remove(PollSource::Door, LISTENER);
                self.listening_from = Instant::now().checked_add(ACCEPT_PAUSE);
                return;
            }
        };
        if self.candidates >= CANDIDATES_MAX {
            return;
        }
        let place = self.insert(Connection::new(Arc::new(control)), HELLO_TIMEOUT);
        match self.listen_to_control(place) {
            Ok(()) => self.candidates += 1,
            Err(_) => {
                self.connections[place] = None;
                self.reschedule(place);
            }
        }
    }

    /// Lets connections in again, once the pause after a limit is over.
    pub(super) fn listen_again(&mut self, now: Instant) {
        if self.listening_from.is_some_and(|from| from <= now) && self.endpoint.is_some() {
            let added = self.poller.add(PollSource::Door, LISTENER);
            self.listening_from = added.err().and_then(|_| now.checked_add(ACCEPT_PAUSE));
        }
    }

    pub(super) fn listen_to_control(&mut self, place: usize) -> io::Result<()> {
        let Self { connections, poller, .. } = self;
        let Some(Some(connection)) = connections.get(place) else { return Ok(()) };
        let source = PollSource::ControlChannel(&connection.control);
        poller.add(source, token(place, TokenKind::ControlChannel))
    }

    pub(super) fn stop_listening(&mut self, place: usize) {
        if let Some(Some(connection)) = self.connections.get(place) {
            // It fails only if it was never added.
            let source = PollSource::ControlChannel(&connection.control);
            let _ = self.poller.remove(source, token(place, TokenKind::ControlChannel));
        }
    }

    /// Reads what came over the control: a part of the handshake, or the end.
    pub(super) fn hear(&mut self, main: &MainShared, place: usize, event: &Event) {
        let Some(Some(connection)) = self.connections.get(place) else { return };
        if connection.stage == Stage::Ending {
            return self.stop_listening(place);
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

    /// Ends a session over whose control something came that the library does not send.
    fn misused(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connection(place) else { return };
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

    fn hear_packet(&mut self, main: &MainShared, place: usize, len: usize) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let packet = &self.packet[..len];
        if connection.stage == Stage::Hello
            && connection.session.is_none()
            && let Some(hello) = InspectorHello::parse(packet)
        {
            return self.let_observe(main, place, hello);
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
                self.connected(main, place);
                Ok(())
            }
            // Nothing is expected any more, or something else was.
            Stage::Ready | Stage::Live | Stage::Ending => Err(None),
        };
        match answered {
            Ok(()) => {}
            Err(None) => self.misused(main, place),
            Err(Some(refusal)) => {
                if let Some(connection) = self.connection(place) {
                    main.refuse(&connection.control, refusal.why());
                    // A renderer that does not read its refusal misses it.
                    let _ = connection.control.try_send(&encode(&Answer::Refused(refusal)), &[]);
                }
                self.end_session(main, place, GoneReason::LaunchFailed);
            }
        }
    }

    fn connected(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connection(place) else { return };
        connection.stage = Stage::Live;
        connection.stage_until = None;
        let port = connection.port().cloned();
        self.reschedule(place);
        if let Some(port) = port {
            port.set_connected();
            // Relaxed: a pid, for people.
            trace::session_connected(port.window, port.peer_pid.load(Ordering::Relaxed));
            main.hooks.connected(&port);
        }
    }

    /// Answers a hello: admits the renderer, compares the contracts, hands over the memory.
    fn welcome(
        &mut self,
        main: &MainShared,
        place: usize,
        hello: &Hello,
    ) -> Result<(), Option<JoinRefusal>> {
        let not_admitted = |why: String| Some(JoinRefusal::NotAdmitted { why });
        let Some(connection) = self.connection(place) else { return Ok(()) };
        let newly_admitted = match connection.session {
            Some(_) => None,
            None => {
                let peer = connection.control.peer_credentials().map_err(|_| None)?;
                let candidate = Candidate::new(peer.pid, peer.uid, peer.gid);
                let policy = main.hooks.admit(&candidate).map_err(not_admitted)?;
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
                    // It never was a window that the application saw.
                    main.forget_window(&port);
                }
                return Err(Some(refusal));
            }
        };
        if let Some(session) = newly_admitted {
            // Its control is listened to already: at this stage `begin_session` leaves that out.
            connection.stage = Stage::Ready;
            self.candidates -= 1;
            self.begin_session(place, session).map_err(|error| not_admitted(error.to_string()))?;
        }
        let Some(connection) = self.connection(place) else { return Ok(()) };
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

    // --- inspectors ------------------------------------------------------------------------------

    /// Lets an inspector observe, or tells it why not.
    fn let_observe(&mut self, main: &MainShared, place: usize, hello: Result<(), InspectorAnswer>) {
        self.stop_listening(place);
        let Some(connection) = self.connections[place].take() else { return };
        self.reschedule(place);
        // An inspector has no place among the renderers.
        self.candidates -= 1;
        let admitted = hello
            .and_then(|()| self.inspectors.admit(main, &mut *self.poller, &connection.control));
        if let Err(answer) = admitted {
            let why = match &answer {
                InspectorAnswer::Refused { why } => why,
                _ => "it inspects in another version",
            };
            main.refuse(&connection.control, why);
            // An inspector that does not read its refusal misses it.
            let _ = connection.control.try_send(&encode(&answer), &[]);
        }
    }

    /// Ends the visit of an inspector that has gone, or says something, which ours does not.
    pub(super) fn hear_inspector(&mut self, main: &MainShared, place: usize) {
        let Some(control) = self.inspectors.remove(main, &mut *self.poller, place) else { return };
        let went = match control.try_receive(&mut self.packet, 0) {
            Ok(received) => received.len == 0,
            // It has not even read what main answered.
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        if !went {
            main.refuse(&control, "an inspector has nothing to say");
        }
    }
}
