//! Connections that come in, and what they say: the handshake of renderers, inspectors, and the hang-up.

use std::{
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    connection::{Connection, Stage},
    hooks::Candidate,
    shared::MainShared,
    windows::{Input, LISTENER, Windows},
};
use crate::{
    inspection::attach::InspectorHello,
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
        let control = match endpoint.meeting().accept() {
            Ok(Some(control)) => control,
            Ok(None) => return,
            Err(_) => {
                // A limit was met, and the connection still waits: without a pause the loop would spin.
                let _ = self.poller.remove(PollSource::Door, LISTENER);
                self.listening_from = Instant::now().checked_add(ACCEPT_PAUSE);
                return;
            }
        };
        let is_candidate =
            |each: &&Connection| each.session.is_none() && each.stage == Stage::Hello;
        if self.connections.iter().flatten().filter(is_candidate).count() >= CANDIDATES_MAX {
            return;
        }
        let place = self.insert(Connection::new(Arc::new(control)), HELLO_TIMEOUT);
        if self.listen(place, Input::ControlChannel, true).is_err() {
            self.connections[place] = None;
            self.reschedule(place);
        }
    }

    /// Lets connections in again, once the pause after a limit is over.
    pub(super) fn listen_again(&mut self, now: Instant) {
        if self.listening_from.is_some_and(|from| from <= now) && self.endpoint.is_some() {
            let added = self.poller.add(PollSource::Door, LISTENER);
            self.listening_from = added.err().and_then(|_| now.checked_add(ACCEPT_PAUSE));
        }
    }

    /// Reads what came over the control: a part of the handshake, or the end.
    pub(super) fn hear(&mut self, main: &MainShared, place: usize, event: &Event) {
        let Some(Some(connection)) = self.connections.get(place) else { return };
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // It ended without reading all that main had sent.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.hung_up(main, place),
            Err(_) => self.misused(main, place),
        }
    }

    /// Ends a connection over which something came that the library does not send.
    fn misused(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connection(place) else { return };
        let reason = match (&connection.session, connection.stage) {
            (Some(session), Stage::Live) => {
                session.note_violation(&Violation::UnexpectedPacket, false);
                GoneReason::ProtocolViolation(Violation::UnexpectedPacket)
            }
            (_, stage) => {
                main.refuse(
                    &connection.control,
                    match stage {
                        Stage::Observing => "an inspector has nothing to say",
                        _ => "it speaks another protocol",
                    },
                );
                GoneReason::LaunchFailed
            }
        };
        self.end_session(main, place, reason);
    }

    fn hear_packet(&mut self, main: &MainShared, place: usize, len: usize) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let packet = &self.packet[..len];
        let inspector = InspectorHello::parse(packet).filter(|_| connection.session.is_none());
        let answered = match (connection.stage, inspector) {
            (Stage::Hello, Some(hello)) => {
                let Self { inspectors, connections, .. } = self;
                let admitted = hello.and_then(|()| inspectors.admit(main, connections, place));
                self.reschedule(place);
                admitted.map_err(|refusal| Some((refusal.why().to_owned(), encode(&refusal))))
            }
            (Stage::Hello, None) => {
                let welcomed = match Hello::parse(packet) {
                    Ok(Ok(hello)) => {
                        reach(KillPoint::HelloReceived);
                        self.welcome(main, place, &hello)
                    }
                    Ok(Err(refusal)) => Err(Some(refusal)),
                    Err(_) => Err(None),
                };
                welcomed.map_err(|refusal| {
                    let refusal = refusal?;
                    Some((refusal.why().to_owned(), encode(&Answer::Refused(refusal))))
                })
            }
            (Stage::Ready, _) if Ready::parse(packet).is_ok() => {
                reach(KillPoint::ReadyReceived);
                self.connected(main, place);
                Ok(())
            }
            // Nothing is expected any more, or something else was.
            _ => Err(None),
        };
        match answered {
            Ok(()) => {}
            Err(None) => self.misused(main, place),
            Err(Some((why, answer))) => {
                if let Some(connection) = self.connection(place) {
                    main.refuse(&connection.control, &why);
                    // A renderer that does not read its refusal misses it.
                    let _ = connection.control.try_send(&answer, &[]);
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
            main.hooks.did_connect.run(&port, &());
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
        let control = connection.control.clone();
        let newly_admitted = match connection.session {
            Some(_) => None,
            None => {
                let peer = control.peer_credentials().map_err(|_| None)?;
                let candidate = Candidate::new(peer.pid, peer.uid, peer.gid);
                let policy = main.hooks.admit(&candidate).map_err(not_admitted)?;
                let session = main.open_session(policy, peer.pid, &control);
                Some(session.map_err(|error| not_admitted(error.to_string()))?)
            }
        };
        let session = connection.session.as_ref().or(newly_admitted.as_ref());
        let Some(port) = session.map(|session| session.port.clone()) else { return Ok(()) };
        let grants = grants(&hello.offers, &main.channels, &port.allowed).inspect_err(|_| {
            if newly_admitted.is_some() {
                // It never was a window that the application saw.
                main.forget_window(&port);
            }
        })?;
        if let Some(session) = newly_admitted {
            self.begin_session(place, session).map_err(|error| not_admitted(error.to_string()))?;
        }
        let Some(session) = self.session(place) else { return Ok(()) };
        let regions = session.regions.take().ok_or(None)?;
        reach(KillPoint::SessionOpened);
        main.send_welcome(&control, session, &regions, grants)
            .map_err(|error| not_admitted(error.to_string()))?;
        reach(KillPoint::WelcomeSent);
        if let Some(connection) = self.connection(place) {
            connection.stage = Stage::Ready;
        }
        Ok(())
    }
}
