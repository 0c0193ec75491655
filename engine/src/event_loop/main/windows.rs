//! Main's source: takes frames of its windows, fairly, and looks after each window that needs it.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use super::{
    connection::{Connection, Session},
    deadlines::Deadlines,
    inspectors::Inspectors,
    notices::Notice,
    responsiveness::Responsiveness,
    restart::PendingRestart,
    shared::MainShared,
    token::{LISTENER, TokenKind, parse, token},
};
use crate::{
    event_loop::driver::{BATCH, Progress, Source, Stop},
    kill_points::{KillPoint, reach},
    os::{processor, report::Event},
    peer::{
        dispatch::{FollowUp, Routes},
        link::Reason,
        requests::outcome::Awaited,
    },
    policy::OnViolation,
    session::{
        endpoint::Endpoint,
        liveness::GoneReason,
        transport::{INTERRUPT, PollSource, Poller},
    },
    shm::aligned::AlignedBuf,
    sync::{loop_cell::LoopKey, snapshot::Cached},
    wake::adaptive::WaitStrategy,
    wire::handshake::PACKET_MAX,
};

/// How many eighths of a window's ring a turn may have to give back: of long messages it takes fewer. (Of short
/// ones, a batch is less than an eighth of all but the smallest rings.)
const ROOM_GIVEN_MAX: u32 = 2;

/// Quick looks at a window of which one is a look in whole.
const WHOLE_LOOK_EVERY: u32 = 64;

/// The windows of a main process, and what the loop keeps about them.
pub(crate) struct Windows {
    pub(super) poller: Box<dyn Poller>,
    /// `None`: it is closed.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) connections: Vec<Option<Connection>>,
    /// The place of each window among the connections.
    pub(super) places: BTreeMap<u32, usize>,
    /// Places of the windows that are looked at in every turn.
    pub(super) busy: Vec<usize>,
    /// Places of the windows that ring, and which of them is looked at next.
    pub(super) armed: Vec<usize>,
    pub(super) next_armed: usize,
    /// What has been done since armed windows were looked at.
    pub(super) effort: usize,
    pub(super) deadlines: Deadlines,
    /// Places of the windows that have attachments to free.
    pub(super) untidy: Vec<usize>,
    /// Connections that are not admitted yet.
    pub(super) candidates: usize,
    /// When to listen for connections again. `None`: it does.
    pub(super) listening_from: Option<Instant>,
    pub(super) restarts: Vec<PendingRestart>,
    pub(super) responsiveness: Responsiveness,
    pub(super) inspectors: Inspectors,
    pub(super) packet: Vec<u8>,
    routes: Cached<Routes>,
    /// To the listeners and handlers of the application.
    key: LoopKey,
    scratch: AlignedBuf,
    events: Vec<Event>,
    notices: Vec<Notice>,
}

impl Windows {
    pub(super) fn new(
        endpoint: Endpoint,
        routes: Cached<Routes>,
        key: LoopKey,
        unresponsive_after: Duration,
    ) -> io::Result<Self> {
        let mut poller = endpoint.meeting().poller()?;
        poller.add(PollSource::Door, LISTENER)?;
        Ok(Self {
            poller,
            endpoint: Some(endpoint),
            connections: Vec::new(),
            places: BTreeMap::new(),
            busy: Vec::new(),
            armed: Vec::new(),
            next_armed: 0,
            effort: 0,
            deadlines: Deadlines::default(),
            untidy: Vec::new(),
            candidates: 0,
            listening_from: None,
            restarts: Vec::new(),
            responsiveness: Responsiveness::new(unresponsive_after),
            inspectors: Inspectors::default(),
            packet: vec![0; PACKET_MAX],
            routes,
            key,
            scratch: AlignedBuf::new(),
            events: Vec::new(),
            notices: Vec::new(),
        })
    }

    #[inline]
    pub(super) fn connection(&mut self, place: usize) -> Option<&mut Connection> {
        self.connections.get_mut(place)?.as_mut()
    }

    pub(super) fn session(&mut self, place: usize) -> Option<&mut Session> {
        self.connection(place)?.session.as_mut()
    }

    /// A quick look at a window that had nothing lately: it touches the connection and the ring. Now and then it
    /// returns `false` in any case, so that the window is looked at in whole.
    #[inline(always)]
    fn is_idle(&mut self, place: usize) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return false };
        let Some(session) = &connection.session else { return false };
        if connection.first_look.is_put_off(|| session.consumer.has_frame()) {
            return true;
        }
        if session.consumer.has_frame() || session.port.sender.has_deferred() {
            return false;
        }
        connection.quiet = connection.quiet.saturating_add(1);
        !connection.quiet.is_multiple_of(WHOLE_LOOK_EVERY)
    }

    // --- frames ----------------------------------------------------------------------------------

    /// Takes the frames of one window, up to a batch. Returns how many.
    #[inline]
    pub(super) fn take_frames(
        &mut self,
        main: &MainShared,
        place: usize,
        awaited: &mut Option<&mut Awaited<'_>>,
        took_long: &mut bool,
    ) -> usize {
        let Some(connection) = self.connections[place].as_mut() else { return 0 };
        let Some(session) = connection.session.as_mut() else { return 0 };
        let (mut taken, mut room_given) = (0, 0);
        let mut broken = None;
        let batch = match session.allowed_batch() {
            Ok(batch) => batch,
            Err(until) => {
                self.hold(place, until);
                return 0;
            }
        };
        let began = session.consumer.position();
        let mut attached = 0;
        while taken < batch {
            let frame = match session.consumer.peek() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(violation) => {
                    session.note_violation(&violation, false);
                    broken = Some(violation);
                    break;
                }
            };
            taken += 1;
            reach(KillPoint::FrameReceived);
            session.consumer.copy_payload(&frame, &mut self.scratch);
            let routes = self.routes.refresh();
            let header = frame.header;
            let bytes = self.scratch.as_slice();
            let received = main.dispatcher.receive(
                &session.port,
                header,
                bytes,
                routes,
                &mut self.key,
                awaited.as_deref_mut(),
            );
            reach(KillPoint::FrameHandled);
            session.consumer.advance(frame);
            match received {
                Ok(FollowUp::Nothing) => {}
                Ok(FollowUp::Publish { len }) => {
                    attached += len;
                    session.publish();
                    // Other windows, the clock and the sockets have their turn.
                    *took_long = true;
                    break;
                }
                Ok(FollowUp::Subscribe(topic)) => main.topics.subscribe(topic, &session.port),
                Ok(FollowUp::Unsubscribe(topic)) => main.topics.unsubscribe(topic, &session.port),
                Err(violation) => {
                    connection.violations = connection.violations.saturating_add(1);
                    let tolerated = match session.policy.on_violation {
                        OnViolation::Tolerate(max) => connection.violations <= max,
                        OnViolation::Disconnect => false,
                    };
                    session.note_violation(&violation, tolerated);
                    if !tolerated {
                        broken = Some(violation);
                        break;
                    }
                }
            }
            if session.consumer.publish_due() {
                session.publish();
                room_given += 1;
                if room_given == ROOM_GIVEN_MAX {
                    break;
                }
            }
        }
        if let Some(allowance) = &mut session.allowance {
            allowance.take(taken, session.consumer.position().wrapping_sub(began) + attached);
        }
        if taken < BATCH {
            session.publish();
            session.port.sender.flush();
        }
        if taken > 0 {
            connection.quiet = 1;
            if main.config.wait != WaitStrategy::Park {
                connection.first_look.begin(processor::ticks().unwrap_or_default());
            }
        } else {
            connection.quiet = connection.quiet.saturating_add(1);
        }
        if let Some(violation) = broken {
            self.end_session(main, place, GoneReason::ProtocolViolation(violation));
        }
        taken
    }

    // --- notices and deadlines -------------------------------------------------------------------

    /// Looks after each window that has a notice, and takes in what was launched.
    #[cold]
    pub(super) fn attend(&mut self, main: &MainShared) {
        // Before the arrivals, so that each of these windows has arrived or looks after itself when it does.
        let mut notices = std::mem::take(&mut self.notices);
        main.notices.take(&mut notices);
        for arrival in main.launcher.take_arrivals() {
            self.arrive(main, arrival);
        }
        for Notice { window, reason, from_elsewhere } in notices.drain(..) {
            if reason == Reason::Sent {
                if let Some(port) = main.windows.get(window) {
                    self.responsiveness.watch(port, from_elsewhere, Instant::now());
                }
            } else if let Some(&place) = self.places.get(&window) {
                self.look_after(main, place, reason);
            }
        }
        self.notices = notices;
    }

    /// Does for a window what happened outside its ring.
    pub(super) fn look_after(&mut self, main: &MainShared, place: usize, reason: Reason) {
        let Some(connection) = self.connection(place) else { return };
        let Some(port) = connection.port().cloned() else { return };
        if reason == Reason::Begun {
            connection.request_until = port.expire(Instant::now());
            return self.reschedule(place);
        }
        if reason == Reason::Untidy {
            return self.untidy.push(place);
        }
        port.sender.flush();
        // A port that has ended itself was broken off, by another thread that found a violation.
        let closed = || port.close_requested().then_some(GoneReason::Closed);
        if let Some(reason) = port.gone().cloned().or_else(closed) {
            self.end_session(main, place, reason);
        }
    }

    /// Does for a connection what is due at `now`.
    fn fall_due(&mut self, main: &MainShared, place: usize, now: Instant) {
        let Some(connection) = self.connection(place) else { return };
        let is_due = |deadline: &mut Instant| *deadline <= now;
        if let Some(port) = connection.port().cloned()
            && connection.request_until.take_if(is_due).is_some()
        {
            connection.request_until = port.expire(now);
        }
        if connection.held_until.take_if(is_due).is_some() {
            self.release(place);
        }
        if self.connection(place).is_some_and(|each| each.stage_until.take_if(is_due).is_some()) {
            self.overdue(main, place);
        }
        self.reschedule(place);
    }

    /// Call after changing a deadline of a connection, or removing it.
    pub(super) fn reschedule(&mut self, place: usize) {
        let deadline = self.connection(place).and_then(|connection| connection.deadline());
        self.deadlines.set(place, deadline);
    }

    pub(super) fn set_stage_deadline(&mut self, place: usize, span: Duration) {
        if let Some(connection) = self.connection(place) {
            connection.stage_until = Instant::now().checked_add(span);
            self.reschedule(place);
        }
    }

    // --- events ----------------------------------------------------------------------------------

    /// Waits for events, at most for `timeout`, and acts on them.
    pub(super) fn wait(&mut self, main: &MainShared, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let began = (timeout != Some(Duration::ZERO)).then(Instant::now);
        let waited = self.poller.wait(&mut events, timeout);
        if let Some(began) = began {
            main.sleeps.note(began.elapsed());
        }
        for event in &events {
            match event.token {
                LISTENER => self.accept(),
                // Edge-triggered, so it need not be read. The turn looks at what it was for.
                INTERRUPT => {}
                token => self.act_on(main, token, event),
            }
        }
        self.events = events;
        waited
    }

    fn act_on(&mut self, main: &MainShared, token: u64, event: &Event) {
        let (place, kind) = parse(token);
        match kind {
            TokenKind::Inspector => self.hear_inspector(main, place),
            // An earlier event of this batch may have ended it.
            _ if self.connection(place).is_none() => {}
            TokenKind::Bell => self.heed_ring(place),
            TokenKind::Process => self.reap(main, place),
            TokenKind::ControlChannel => self.hear(main, place, event),
        }
    }

    /// Adds the bell of a window to the poller, or removes it. `false`: the system refuses.
    pub(super) fn listen_to_bell(&mut self, place: usize, listens: bool) -> bool {
        let Self { connections, poller, .. } = self;
        let Some(Some(connection)) = connections.get_mut(place) else { return false };
        if connection.session.is_none() {
            return false;
        }
        let bell = PollSource::Bell(&connection.control);
        let token = token(place, TokenKind::Bell);
        let done = if listens { poller.add(bell, token) } else { poller.remove(bell, token) };
        if done.is_ok() {
            connection.deaf = !listens;
        }
        done.is_ok()
    }
}

impl Source for Windows {
    type Shared = MainShared;

    #[inline]
    fn turn(&mut self, main: &MainShared, awaited: &mut Option<&mut Awaited<'_>>) -> Progress {
        let (mut taken, mut took_long) = (0, false);
        let mut index = 0;
        while let Some(&place) = self.busy.get(index) {
            if self.is_idle(place) {
                index += 1;
                continue;
            }
            taken += self.take_frames(main, place, awaited, &mut took_long);
            if self.busy.get(index) != Some(&place) {
                // Its session has ended or is held, and it has left the list.
                continue;
            }
            if self.is_quiet(place) && (self.hold_in_flood(place) || self.arm(place)) {
                self.busy.swap_remove(index);
            } else {
                index += 1;
            }
        }
        self.look_at_armed_in_turn(taken);
        if main.notices.are_urgent() {
            self.attend(main);
        }
        taken += main.dispatcher.executor.run_ready();
        Progress { taken, took_long }
    }

    fn keep_deadlines(&mut self, main: &MainShared, now: Instant) -> Option<Instant> {
        self.attend(main);
        self.listen_again(now);
        let Self { untidy, connections, .. } = self;
        untidy.retain(|&place| {
            let port = connections[place].as_ref().and_then(Connection::port);
            port.is_some_and(|port| port.large.tidy(port))
        });
        while let Some(place) = self.deadlines.take_due(now) {
            self.fall_due(main, place, now);
        }
        let responsiveness = self.responsiveness.look(main, now);
        let restart = self.restart_due(main, now);
        let shown = self.inspectors.show(main, &mut self.connections, now);
        let deadlines = [self.deadlines.next(), self.listening_from];
        [responsiveness, restart, shown].into_iter().chain(deadlines).flatten().min()
    }

    fn keep_house(&mut self, main: &MainShared, now: Instant) -> io::Result<()> {
        self.keep_deadlines(main, now);
        self.wait(main, Some(Duration::ZERO))
    }

    /// Arms every busy window before.
    fn park(
        &mut self,
        main: &MainShared,
        until: Option<Instant>,
        _alarm: Option<Instant>,
        stop: Stop<'_>,
    ) -> io::Result<()> {
        while let Some(&place) = self.busy.last() {
            if !self.hold_in_flood(place) && !self.arm(place) {
                return Ok(());
            }
            self.busy.pop();
        }
        // What this thread itself has asked for rang no bell.
        if stop.is_asked() || main.dispatcher.executor.has_ready() || !main.notices.is_empty() {
            return Ok(());
        }
        // Again, since windows were held.
        let until = [until, self.deadlines.next()].into_iter().flatten().min();
        self.wait(main, until.map(|until| until.saturating_duration_since(Instant::now())))
    }

    fn look_everywhere(&mut self) {
        self.look_at_armed(self.armed.len());
    }

    fn close(&mut self, main: &MainShared) {
        self.close_endpoint(main);
    }
}
