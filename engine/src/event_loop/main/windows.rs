//! Main's source: takes frames of its windows, fairly, and looks after each window that needs it.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
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
/// The poller's token of renderers that connect.
pub(super) const LISTENER: u64 = u64::MAX;
/// An input of a connection. With the connection's place it makes a token of the poller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    ControlChannel,
    Bell,
    Process,
}

const INPUTS: [Input; 3] = [Input::ControlChannel, Input::Bell, Input::Process];

/// Quick looks at a window of which one is a look in whole.
const WHOLE_LOOK_EVERY: u32 = 256;

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
    /// The bytes that were received and answered since the loop began to wait.
    moved: u64,
    deadlines: Deadlines,
    /// Places of the windows that have attachments to free.
    pub(super) untidy: Vec<usize>,
    /// When to listen for connections again. `None`: it does.
    pub(super) listening_from: Option<Instant>,
    pub(super) restarts: Vec<PendingRestart>,
    responsiveness: Responsiveness,
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
            moved: 0,
            deadlines: Deadlines::default(),
            untidy: Vec::new(),
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

    /// A quick look at a window that had nothing lately: at its connection, its ring and its deferred frames. Now and
    /// then it returns `false` in any case, so that the window is looked at in whole.
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

    /// Takes the frames of one window, up to a batch.
    #[inline]
    pub(super) fn take_frames(
        &mut self,
        main: &MainShared,
        place: usize,
        awaited: &mut Option<&mut Awaited<'_>>,
    ) -> Progress {
        let mut progress = Progress { taken: 0, took_long: false };
        let Some(connection) = self.connections[place].as_mut() else { return progress };
        let Some(session) = connection.session.as_mut() else { return progress };
        let mut batch = session.allowance.as_ref().map_or(BATCH, |each| each.frames(BATCH));
        if batch == 0 {
            batch = match session.refill() {
                Ok(batch) => batch,
                Err(until) => {
                    self.hold(place, until);
                    return progress;
                }
            };
        }
        let (began, sent) = (session.consumer.position(), session.port.sender.sent());
        let (mut room_given, mut attached) = (0, 0);
        let mut broken = None;
        while progress.taken < batch {
            let frame = match session.consumer.peek() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(violation) => {
                    session.note_violation(&violation, false);
                    broken = Some(violation);
                    break;
                }
            };
            progress.taken += 1;
            reach(KillPoint::FrameReceived);
            session.consumer.copy_payload(&frame, &mut self.scratch);
            let received = main.dispatcher.receive(
                &session.port,
                frame.header,
                self.scratch.as_slice(),
                self.routes.refresh(),
                &mut self.key,
                awaited.as_deref_mut(),
            );
            reach(KillPoint::FrameHandled);
            session.consumer.advance(frame);
            match received {
                Ok(FollowUp::Nothing) => {}
                Ok(FollowUp::GiveRoomBack { len }) => {
                    attached += len;
                    session.publish();
                    // Other windows, the clock and the sockets have their turn.
                    progress.took_long = true;
                    break;
                }
                Ok(FollowUp::Subscribe(topic)) => {
                    main.topics.get(topic).inspect(|topic| topic.subscribe(&session.port));
                }
                Ok(FollowUp::Unsubscribe(topic)) => {
                    main.topics.get(topic).inspect(|topic| topic.unsubscribe(&session.port));
                }
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
        let received = session.consumer.position().wrapping_sub(began);
        self.moved += received + session.port.sender.sent().wrapping_sub(sent);
        if let Some(allowance) = &mut session.allowance {
            allowance.take(progress.taken, received + attached);
        }
        if progress.taken < BATCH {
            session.publish();
            session.port.sender.flush();
        }
        if progress.taken > 0 {
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
        progress
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
                if let Some(port) = main.window(window) {
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
        match reason {
            Reason::Begun => {
                connection.request_until = port.expire(Instant::now());
                self.reschedule(place);
            }
            Reason::Untidy => self.untidy.push(place),
            _ => {
                port.sender.flush();
                // A port that has ended itself was broken off, by another thread that found a violation.
                let closed = || port.close_requested().then_some(GoneReason::Closed);
                if let Some(reason) = port.gone().cloned().or_else(closed) {
                    self.end_session(main, place, reason);
                }
            }
        }
    }

    /// Does for a connection what is due at `now`.
    fn fall_due(&mut self, main: &MainShared, place: usize, now: Instant) {
        let Some(connection) = self.connection(place) else { return };
        let is_due = |deadline: &mut Instant| *deadline <= now;
        if connection.request_until.take_if(is_due).is_some() {
            connection.request_until = connection.port().and_then(|port| port.expire(now));
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
        let mut accepts = false;
        for event in &events {
            let token = event.token as usize;
            let (place, input) = (token / INPUTS.len(), INPUTS[token % INPUTS.len()]);
            match event.token {
                LISTENER => accepts = true,
                // Edge-triggered, so it need not be read. The turn looks at what it was for.
                INTERRUPT => {}
                // An earlier event of this batch may have ended it.
                _ if self.connection(place).is_none() => {}
                _ => match input {
                    Input::ControlChannel => self.hear(main, place, event),
                    Input::Bell => self.heed_ring(place),
                    Input::Process => self.reap(main, place),
                },
            }
        }
        if accepts {
            // Last: a newcomer in the place of a connection that this batch has ended would get that one's events.
            self.accept();
        }
        self.events = events;
        waited
    }

    /// Adds an input of a connection to the poller, or removes it. A bell may be so already.
    pub(super) fn listen(&mut self, place: usize, input: Input, listens: bool) -> io::Result<()> {
        let Self { connections, poller, .. } = self;
        let connection = connections.get_mut(place).and_then(Option::as_mut);
        let connection = connection.ok_or(ErrorKind::NotFound)?;
        if input == Input::Bell && connection.deaf != listens {
            return Ok(());
        }
        let source = match (input, &connection.launched) {
            (Input::ControlChannel, _) => PollSource::ControlChannel(&connection.control),
            (Input::Bell, _) => PollSource::Bell(&connection.control),
            (Input::Process, Some(launched)) => PollSource::Process(&launched.process),
            (Input::Process, None) => return Err(ErrorKind::NotFound.into()),
        };
        let token = (place * INPUTS.len() + input as usize) as u64;
        if listens { poller.add(source, token) } else { poller.remove(source, token) }?;
        if input == Input::Bell {
            connection.deaf = !listens;
        }
        Ok(())
    }
}

impl Source for Windows {
    type Shared = MainShared;

    #[inline]
    fn turn(&mut self, main: &MainShared, awaited: &mut Option<&mut Awaited<'_>>) -> Progress {
        let mut progress = Progress { taken: 0, took_long: false };
        let mut index = 0;
        while let Some(&place) = self.busy.get(index) {
            if self.is_idle(place) {
                index += 1;
                continue;
            }
            let Progress { taken, took_long } = self.take_frames(main, place, awaited);
            progress.taken += taken;
            progress.took_long |= took_long;
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
        self.look_at_armed_in_turn(progress.taken);
        if main.notices.urgent.is_raised() {
            self.attend(main);
        }
        progress.taken += main.dispatcher.executor.run_ready();
        progress
    }

    #[inline]
    fn moved(&mut self, _main: &MainShared) -> u64 {
        std::mem::take(&mut self.moved)
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
