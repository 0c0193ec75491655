//! Main's loop: every renderer's frames, and everything else that happens to a session.
//!
//! ```text
//!   busy windows    looked at in every turn, up to 64 frames each
//!   armed windows   quiet lately: their renderer rings its eventfd with the next frame
//!   held windows    over their quota, or ringing in a storm: neither looked at nor heard, until it is time
//!   epoll           eventfds of armed windows, sockets (hang-ups, handshakes, inspectors), pidfds, the
//!                   listener, the interrupt; slept on when all windows are armed and nothing is left to do
//! ```
//!
//! A window is armed once and stays so until it rings. While the loop is awake for others, armed windows
//! are looked at in memory, a few at a time, in turn: a ring that is seen there costs no system call, and one
//! that is not is heard with the next housekeeping. So what a turn costs depends on the windows that are
//! busy, and not on how many there are.
//!
//! Main never waits for a renderer here, and never reads an eventfd, since a renderer shares it. Every
//! wait for someone (a handshake, a goodbye) has a deadline.

pub(crate) mod hooks;
mod inspectors;
mod launcher;
mod responsiveness;
pub(crate) mod restart;
mod sessions;
pub(crate) mod shared;
mod topics;
mod wake_flood;

use std::{
    io,
    process::Child,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::GoneReason,
    event_loop::main::{
        restart::Recipe,
        shared::{FailedRelaunch, MainShared},
    },
    kill_points::{KillPoint, reach},
    os::report::Event,
    peer::{
        Port,
        dispatch::{Request, Routes},
        invocation::{Awaited, DriveEnd},
    },
    policy::{OnViolation, Policy, quota::Allowance},
    primitives::Ordering,
    ring::consumer::Consumer,
    session::{
        control_channel::ControlChannel,
        endpoint::Endpoint,
        transport::{INTERRUPT, LaunchedProcess, PollSource, Poller},
    },
    shm::{aligned::AlignedBuf, region::Region},
    sync::{
        loop_cell::LoopKey,
        reentrancy::{self, CurrentLoop},
        snapshot::Cached,
    },
    trace,
    wake::adaptive::{WaitStep, Waiter},
    wire::{
        frame::Violation,
        handshake::{PACKET_MAX, Welcome},
    },
};
use inspectors::Inspectors;
use responsiveness::Responsiveness;
use wake_flood::WakeFlood;

/// Frames taken from one window, at the most, before the next has its turn.
const BATCH: usize = 64;
/// How many eighths of a window's ring a turn may have to give back: of long messages it takes fewer. (Of short
/// ones, a batch is less than an eighth of all but the smallest rings.)
const ROOM_GIVEN_MAX: u32 = 2;
/// So few windows are looked at for as long as the loop is awake, however quiet they are: a look costs
/// less than the ring that arming asks for.
const BUSY_KEPT: usize = 4;
/// Looks in which a window had nothing, before it is armed while others keep the loop awake.
const QUIET_LOOKS: u32 = 4096;
/// The same for all busy windows together, some 10 ms: of very many, each gets fewer, but what its ring would
/// cost.
const QUIET_LOOKS_OF_ALL: u32 = 1 << 20;
const QUIET_LOOKS_MIN: u32 = 256;
/// While the loop is awake, it looks at so many armed windows ...
const ARMED_LOOKS: usize = 8;
/// ... for so much effort: an eighth of its time, whatever their number.
const ARMED_EVERY: usize = 64;
/// The effort of a frame, in looks. A turn that finds nothing is one.
const FRAME_EFFORT: usize = 8;
/// Frames between two looks at the clock while there is always something to do.
const BUSY_FRAMES: usize = 2048;
/// Time between two looks at sockets, and at the deadlines of requests, while the loop is awake.
const HOUSEKEEPING_EVERY: Duration = Duration::from_millis(1);
/// How long a renderer whose session is over may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(2);

const LISTENER: u64 = u64::MAX;

/// What an epoll token stands for, beside a place in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    ControlChannel = 0,
    Bell = 1,
    Process = 2,
    /// The place is in the inspectors's table.
    Inspector = 3,
}

fn token(place: usize, source: TokenKind) -> u64 {
    (place as u64) << 2 | source as u64
}

/// A session's memory, as it is handed over in the handshake.
pub(crate) struct Handover {
    pub(crate) welcome: Welcome,
    pub(crate) main_region: Region,
    pub(crate) renderer_region: Region,
}

/// A session with its window: everything but its socket.
pub(crate) struct Session {
    pub(crate) port: Arc<Port>,
    pub(crate) policy: Policy,
    pub(crate) consumer: Consumer,
    /// What its quotas still allow; `None`: anything.
    pub(crate) allowance: Option<Allowance>,
    /// When it was opened, and its policy in a line: for inspectors.
    pub(crate) opened: Instant,
    pub(crate) summary: String,
    /// Until it is handed over.
    pub(crate) handover: Option<Handover>,
}

/// A renderer that was just launched, on its way into the loop.
pub(crate) struct Newcomer {
    pub(crate) session: Session,
    pub(crate) control: Arc<ControlChannel>,
    pub(crate) child: Child,
    pub(crate) process: LaunchedProcess,
    /// How it was launched, and is again if it crashes.
    pub(crate) recipe: Recipe,
    pub(crate) launched: Instant,
    /// Whose place it takes.
    pub(crate) predecessor: Option<Arc<Port>>,
}

/// A renderer that is to be launched again.
struct Restart {
    at: Instant,
    recipe: Recipe,
    old: Arc<Port>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Hello,
    Ready,
    Live,
    /// The session is over; the process may not be.
    Ending,
}

struct Connection {
    control: Arc<ControlChannel>,
    stage: Stage,
    /// `None`: nobody admitted it yet.
    session: Option<Session>,
    child: Option<(Child, LaunchedProcess)>,
    /// How, and when, main launched it.
    launched: Option<(Recipe, Instant)>,
    /// Whether main kills it if it outlives its session for too long.
    dies_with_session: bool,
    /// When the present stage must be over.
    deadline: Option<Instant>,
    /// Its place in the list of the armed.
    armed: Option<usize>,
    /// Until when its frames are left alone, since its quota is used up or it rings in a storm.
    held_until: Option<Instant>,
    /// Its rings are not heard: it was held, or they are a storm, and it has not been armed since.
    deaf: bool,
    rings: WakeFlood,
    quiet: u32,
    violations: u32,
    hung_up: bool,
}

/// What only main's driver touches.
pub(crate) struct MainLoop {
    poller: Box<dyn Poller>,
    endpoint: Option<Endpoint>,
    connections: Vec<Option<Connection>>,
    /// Places of the windows that are looked at in every turn.
    busy: Vec<usize>,
    /// Places of the windows that ring, and which of them is looked at next.
    armed: Vec<usize>,
    next_armed: usize,
    /// Places of the windows that have used up their quota, and of those that ring in a storm.
    held: Vec<usize>,
    routes: Cached<Routes>,
    /// To what the application has registered.
    key: LoopKey,
    waiter: Waiter,
    scratch: AlignedBuf,
    packet: Vec<u8>,
    events: Vec<Event>,
    /// What has been done since armed windows were looked at.
    effort: usize,
    busy_frames: usize,
    kept_house: Option<Instant>,
    candidates: usize,
    /// When to listen for connections again; `None` while it does.
    listening_from: Option<Instant>,
    /// Places of the connections that have a deadline, and of some that had one.
    timed: Vec<usize>,
    watch: Responsiveness,
    restarts: Vec<Restart>,
    inspectors: Inspectors,
}

impl MainLoop {
    pub(crate) fn new(
        endpoint: Endpoint,
        routes: Cached<Routes>,
        key: LoopKey,
        waiter: Waiter,
        unresponsive_after: Duration,
    ) -> io::Result<Self> {
        let mut poller = endpoint.meeting().poller()?;
        poller.add(PollSource::Door, LISTENER)?;
        Ok(Self {
            poller,
            endpoint: Some(endpoint),
            connections: Vec::new(),
            busy: Vec::new(),
            armed: Vec::new(),
            next_armed: 0,
            held: Vec::new(),
            routes,
            key,
            waiter,
            scratch: AlignedBuf::new(),
            packet: vec![0; PACKET_MAX],
            events: Vec::new(),
            effort: 0,
            busy_frames: 0,
            kept_house: None,
            candidates: 0,
            listening_from: None,
            timed: Vec::new(),
            watch: Responsiveness::new(unresponsive_after),
            restarts: Vec::new(),
            inspectors: Inspectors::default(),
        })
    }

    /// Drives until the awaited request is settled, the time is over, or the loop is stopped.
    pub(crate) fn drive(
        &mut self,
        main: &MainShared,
        mut awaited: Option<&mut Awaited<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<DriveEnd> {
        let _inside = reentrancy::mark(CurrentLoop::main(main));
        let waits = awaited.is_some();
        let mut deadline = None;
        loop {
            if let Some(awaited) = &mut awaited {
                awaited.port.take_stored(awaited);
                if awaited.settled {
                    return Ok(DriveEnd::Settled);
                }
            }
            let taken = self.turn(main, &mut awaited);
            if taken > 0 {
                self.waiter.found();
            }
            if awaited.as_ref().is_some_and(|awaited| awaited.settled) {
                return Ok(DriveEnd::Settled);
            }
            // Relaxed: the loop is interrupted after the request to stop is stored.
            if !waits && main.stopped.load(Ordering::Relaxed) {
                return Ok(DriveEnd::Elapsed);
            }
            let step = if taken == 0 {
                self.waiter.step()
            } else {
                self.busy_frames += taken;
                if self.busy_frames < BUSY_FRAMES {
                    continue;
                }
                self.busy_frames = 0;
                WaitStep::LookAt(Instant::now())
            };
            let now = match step {
                WaitStep::Look => continue,
                WaitStep::LookAt(now)
                | WaitStep::Yield(now)
                | WaitStep::Park(now)
                | WaitStep::Doze { now, .. } => now,
            };
            let deadline = *deadline
                .get_or_insert_with(|| timeout.and_then(|timeout| now.checked_add(timeout)));
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(DriveEnd::Elapsed);
            }
            if matches!(step, WaitStep::Park(_) | WaitStep::Doze { .. }) {
                let next = self.keep_deadlines(main, now);
                self.park(main, [deadline, next].into_iter().flatten().min(), waits)?;
            } else if matches!(step, WaitStep::Yield(_)) {
                thread::yield_now();
                self.waiter.yielded();
            } else if self
                .kept_house
                .is_none_or(|last| now.duration_since(last) >= HOUSEKEEPING_EVERY)
            {
                self.keep_house(main, now)?;
            }
        }
    }

    /// One turn without waiting; returns how much there was.
    pub(crate) fn poll(&mut self, main: &MainShared) -> io::Result<usize> {
        let _inside = reentrancy::mark(CurrentLoop::main(main));
        self.look_at_armed(self.armed.len());
        let taken = self.turn(main, &mut None);
        self.keep_house(main, Instant::now())?;
        Ok(taken)
    }

    // --- frames ----------------------------------------------------------------------------------

    /// Takes what there is from each busy window, up to a batch. Returns how much.
    #[inline]
    fn turn(&mut self, main: &MainShared, awaited: &mut Option<&mut Awaited<'_>>) -> usize {
        let mut taken = 0;
        let mut index = 0;
        while let Some(&place) = self.busy.get(index) {
            taken += self.take_frames(main, place, awaited);
            if self.busy.get(index) != Some(&place) {
                // Its session has ended, and it has left the list.
                continue;
            }
            if self.is_quiet(place) && (self.hold_in_storm(place).is_some() || self.arm(place)) {
                self.busy.swap_remove(index);
            } else {
                index += 1;
            }
        }
        self.effort += 1 + taken * FRAME_EFFORT;
        if self.effort >= ARMED_EVERY {
            let looks = self.effort / ARMED_EVERY * ARMED_LOOKS;
            self.effort = 0;
            self.look_at_armed(looks);
        }
        if main.attention.is_raised() {
            self.attend(main);
        }
        taken + main.dispatcher.executor.run_ready()
    }

    #[inline]
    fn take_frames(
        &mut self,
        main: &MainShared,
        place: usize,
        awaited: &mut Option<&mut Awaited<'_>>,
    ) -> usize {
        let Some(connection) = self.connections[place].as_mut() else { return 0 };
        let Some(session) = connection.session.as_mut() else { return 0 };
        let (mut taken, mut room_given) = (0, 0);
        let mut broken = None;
        let mut batch = BATCH;
        if session.allowance.is_some() {
            match session.allowed_batch() {
                Ok(allowed) => batch = allowed,
                Err(until) => {
                    self.hold(place, until);
                    return 0;
                }
            }
        }
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
                Ok(Request::Nothing) => {}
                Ok(Request::Publish { len }) => {
                    attached += len;
                    session.publish();
                    // It took as long as very many small frames: others, the clock and the sockets have
                    // their turn.
                    self.busy_frames = BUSY_FRAMES;
                    break;
                }
                Ok(Request::Subscribe(topic)) => main.subscribe(topic, &session.port),
                Ok(Request::Unsubscribe(topic)) => main.unsubscribe(topic, &session.port),
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
            session.port.flush();
        }
        if taken > 0 {
            connection.quiet = 0;
        } else {
            connection.quiet = connection.quiet.saturating_add(1);
        }
        if let Some(violation) = broken {
            self.end_session(main, place, GoneReason::ProtocolViolation(violation));
        }
        taken
    }

    // --- quiet windows ---------------------------------------------------------------------------

    /// Whether it is time to arm a busy window, while others keep the loop awake.
    #[inline]
    fn is_quiet(&self, place: usize) -> bool {
        let busy = self.busy.len();
        busy > BUSY_KEPT
            && self.connections[place].as_ref().is_some_and(|connection| {
                let of_each = QUIET_LOOKS_OF_ALL / busy as u32;
                connection.quiet > of_each.clamp(QUIET_LOOKS_MIN, QUIET_LOOKS)
            })
    }

    /// Asks the renderer to ring with its next frame; the caller takes it out of the busy ones. `false`: it
    /// has sent one meanwhile.
    fn arm(&mut self, place: usize) -> bool {
        let Some(connection) = self.connections[place].as_mut() else { return true };
        let Some(session) = connection.session.as_mut() else { return true };
        if connection.deaf {
            // It fails only for want of memory, and then the window is looked at as before.
            let bell = PollSource::Bell(&connection.control);
            if self.poller.add(bell, token(place, TokenKind::Bell)).is_err() {
                return false;
            }
            connection.deaf = false;
        }
        session.port.own.parked.announce();
        reach(KillPoint::ParkAnnounced);
        if session.has_news() {
            session.port.own.parked.withdraw();
            connection.quiet = 0;
            return false;
        }
        session.port.counters.parks.add_alone(1);
        connection.armed = Some(self.armed.len());
        self.armed.push(place);
        true
    }

    /// Takes a window out of the armed ones, if it is one.
    fn disarm(&mut self, place: usize) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return false };
        let Some(at) = connection.armed.take() else { return false };
        connection.quiet = 0;
        if let Some(session) = &connection.session {
            reach(KillPoint::ParkEnded);
            session.port.own.parked.withdraw();
        }
        self.armed.swap_remove(at);
        // The last one has moved there, unless it was this one.
        if let Some(&moved) = self.armed.get(at)
            && let Some(connection) = &mut self.connections[moved]
        {
            connection.armed = Some(at);
        }
        true
    }

    // --- windows over their quota, or in a storm -------------------------------------------------

    /// Leaves a busy window alone, so that it gets what its quota says and no more of main's time. What it
    /// commits stays in its ring, and what it rings is not heard.
    #[cold]
    fn hold(&mut self, place: usize, until: Instant) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        let Some(session) = connection.session.as_mut() else { return };
        session.port.counters.throttled.add_alone(1);
        trace::held(session.port.window);
        session.publish();
        session.port.flush();
        if !connection.deaf {
            let bell = PollSource::Bell(&connection.control);
            connection.deaf = self.poller.remove(bell, token(place, TokenKind::Bell)).is_ok();
        }
        connection.held_until = Some(until);
        self.busy.retain(|&busy| busy != place);
        self.held.push(place);
    }

    /// It rang. If that was for nothing, and too often, its rings are not heard for a while.
    fn heed_ring(&mut self, place: usize) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        let Some(session) = connection.session.as_mut() else { return };
        let (position, has_news) = (session.consumer.position(), session.has_news());
        if !connection.deaf && connection.rings.note(position, has_news) {
            let bell = PollSource::Bell(&connection.control);
            connection.deaf = self.poller.remove(bell, token(place, TokenKind::Bell)).is_ok();
            session.port.counters.storms.add_alone(1);
            trace::storm(session.port.window);
        }
        self.make_busy(place);
    }

    /// Has a busy window that rings in a storm looked at again a little later, if it is one, and says when. The
    /// caller takes it out of the busy ones.
    #[inline]
    fn hold_in_storm(&mut self, place: usize) -> Option<Instant> {
        let connection = self.connections[place].as_mut()?;
        let until = connection.rings.next_look()?;
        connection.held_until = Some(until);
        self.held.push(place);
        Some(until)
    }

    /// Looks again at windows whose time has come, and says when the next one's will.
    fn release_held(&mut self, now: Instant) -> Option<Instant> {
        let mut next = None;
        let mut index = 0;
        while let Some(&place) = self.held.get(index) {
            let connection = self.connections.get_mut(place).and_then(Option::as_mut);
            let until = connection.and_then(|connection| {
                connection.held_until.take_if(|until| *until <= now);
                connection.held_until
            });
            match until {
                Some(until) => {
                    next = next.into_iter().chain([until]).min();
                    index += 1;
                }
                None => {
                    if let Some(port) = self.connections[place].as_ref().and_then(Connection::port)
                    {
                        trace::released(port.window);
                    }
                    self.held.swap_remove(index);
                    self.busy.push(place);
                }
            }
        }
        next
    }

    // --- quiet windows that are not any more -----------------------------------------------------

    /// It rang, or it is seen to have something, and is looked at in every turn from now on.
    fn make_busy(&mut self, place: usize) {
        if self.disarm(place) {
            self.busy.push(place);
        }
    }

    /// Looks at so many of the armed windows in memory, where a renderer that has just rung shows first.
    fn look_at_armed(&mut self, looks: usize) {
        for _ in 0..looks.min(self.armed.len()) {
            if self.next_armed >= self.armed.len() {
                self.next_armed = 0;
            }
            let Some(&place) = self.armed.get(self.next_armed) else { return };
            let session =
                self.connections[place].as_mut().and_then(|connection| connection.session.as_mut());
            if session.is_some_and(Session::has_news) {
                // Another one takes its place in the list.
                self.make_busy(place);
            } else {
                self.next_armed += 1;
            }
        }
    }

    /// Arms every window and sleeps, unless one of them has something.
    fn park(
        &mut self,
        main: &MainShared,
        deadline: Option<Instant>,
        waits: bool,
    ) -> io::Result<()> {
        let mut deadline = deadline;
        while let Some(&place) = self.busy.last() {
            if let Some(next_look) = self.hold_in_storm(place) {
                deadline = deadline.into_iter().chain([next_look]).min();
            } else if !self.arm(place) {
                return Ok(());
            }
            self.busy.pop();
        }
        // What this thread itself has asked for rang nobody.
        if main.has_work(waits) {
            return Ok(());
        }
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.wait(main, timeout)
    }

    /// Waits for events, at most for `timeout`, and acts on them.
    fn wait(&mut self, main: &MainShared, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let began = (timeout != Some(Duration::ZERO)).then(Instant::now);
        let waited = self.poller.wait(&mut events, timeout);
        if let Some(began) = began {
            main.sleeps.note(began.elapsed());
        }
        for event in &events {
            match event.token {
                LISTENER => self.accept(),
                // Edge-triggered, so it need not be read; `turn` looks at what it was for.
                INTERRUPT => {}
                token => self.act_on(main, token, event),
            }
        }
        self.events = events;
        waited
    }

    fn act_on(&mut self, main: &MainShared, token: u64, event: &Event) {
        let place = (token >> 2) as usize;
        if token & 3 == TokenKind::Inspector as u64 {
            return self.hear_inspector(main, place);
        }
        // An earlier event of this batch may have ended it.
        if !self.connections.get(place).is_some_and(Option::is_some) {
            return;
        }
        match token & 3 {
            source if source == TokenKind::Bell as u64 => self.heed_ring(place),
            source if source == TokenKind::Process as u64 => self.reap(main, place),
            _ => self.hear(main, place, event),
        }
    }

    // --- time ------------------------------------------------------------------------------------

    /// What needs doing now and then while the loop is awake.
    fn keep_house(&mut self, main: &MainShared, now: Instant) -> io::Result<()> {
        self.kept_house = Some(now);
        self.keep_deadlines(main, now);
        self.wait(main, Some(Duration::ZERO))
    }

    /// Ends what is overdue, and says when to look again. Costs nothing for windows that have no deadline.
    fn keep_deadlines(&mut self, main: &MainShared, now: Instant) -> Option<Instant> {
        self.listen_again(now);
        let held = self.release_held(now);
        let mut next = [self.listening_from, held].into_iter().flatten().min();
        for session in self.connections.iter().flatten().filter_map(|each| each.session.as_ref()) {
            session.port.tidy_attachments();
        }
        let mut index = 0;
        while let Some(&place) = self.timed.get(index) {
            if self.deadline(place).is_some_and(|deadline| deadline <= now) {
                self.overdue(main, place);
            }
            match self.deadline(place) {
                Some(deadline) => {
                    next = next.into_iter().chain([deadline]).min();
                    index += 1;
                }
                None => _ = self.timed.swap_remove(index),
            }
        }
        let requests = main.timed_requests.look(|| {
            let ports = self.connections.iter().flatten().filter_map(Connection::port);
            ports.filter_map(|port| port.expire(now)).min()
        });
        let watch = self.watch.look(main, now);
        let restart = self.restart_due(main, now);
        let show = self.show(main, now);
        [next, requests, watch, restart, show].into_iter().flatten().min()
    }

    fn deadline(&self, place: usize) -> Option<Instant> {
        self.connections.get(place)?.as_ref()?.deadline
    }

    fn set_deadline(&mut self, place: usize, span: Duration) {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return };
        connection.deadline = Instant::now().checked_add(span);
        if !self.timed.contains(&place) {
            self.timed.push(place);
        }
    }

    fn overdue(&mut self, main: &MainShared, place: usize) {
        let Some(connection) = self.connections[place].as_mut() else { return };
        connection.deadline = None;
        match connection.stage {
            Stage::Hello | Stage::Ready => self.end_session(main, place, GoneReason::LaunchFailed),
            Stage::Live => self.end_session(main, place, GoneReason::Disconnected),
            Stage::Ending => {
                if connection.dies_with_session
                    && let Some((child, _)) = &mut connection.child
                {
                    // Its end is seen by the pidfd. It fails only if it has ended by itself.
                    let _ = child.kill();
                }
            }
        }
    }

    // --- requests from other threads -------------------------------------------------------------

    #[cold]
    fn attend(&mut self, main: &MainShared) {
        main.attended();
        for newcomer in main.take_newcomers() {
            let Newcomer { session, control, child, process, recipe, launched, predecessor } =
                newcomer;
            let timeout = session.policy.handshake_timeout;
            let connection = Connection {
                child: Some((child, process)),
                dies_with_session: recipe.dies_with_session(),
                launched: Some((recipe, launched)),
                ..Connection::new(control)
            };
            let place = self.insert(connection, timeout);
            if let Some(old) = predecessor {
                main.emit_restarted(&old, Ok(&session.port));
            }
            if self.begin_session(place, session).is_err() {
                // Without its events the session cannot live, nor its process's end be seen.
                self.end_session(main, place, GoneReason::LaunchFailed);
                self.abandon(main, place);
            }
        }
        for FailedRelaunch { mut recipe, old, error } in main.take_failed_relaunches() {
            let again = recipe.restart_after(&GoneReason::LaunchFailed, Duration::ZERO);
            self.restart_in(again, recipe, &old);
            main.emit_restarted(&old, Err(error));
        }
        for place in 0..self.connections.len() {
            let session =
                self.connections[place].as_ref().and_then(|connection| connection.session.as_ref());
            let Some(port) = session.map(|session| session.port.clone()) else { continue };
            port.flush();
            // A port that ended itself was broken off, by another thread that found a violation.
            let reason = port
                .gone()
                .cloned()
                .or_else(|| port.close_requested().then_some(GoneReason::Closed));
            if let Some(reason) = reason {
                self.end_session(main, place, reason);
            }
        }
    }
}

impl Connection {
    fn new(control: Arc<ControlChannel>) -> Self {
        Self {
            control,
            stage: Stage::Hello,
            session: None,
            child: None,
            launched: None,
            dies_with_session: true,
            deadline: None,
            armed: None,
            held_until: None,
            deaf: false,
            rings: WakeFlood::default(),
            quiet: 0,
            violations: 0,
            hung_up: false,
        }
    }

    fn port(&self) -> Option<&Arc<Port>> {
        self.session.as_ref().map(|session| &session.port)
    }
}

impl Session {
    /// How many frames may be taken in this turn, if any quota is set. Reads the clock only when it is used up.
    /// `Err`: the window is to be held until then.
    fn allowed_batch(&mut self) -> Result<usize, Instant> {
        let Some(allowance) = &mut self.allowance else { return Ok(BATCH) };
        let allowed = allowance.frames(BATCH);
        if allowed > 0 {
            return Ok(allowed);
        }
        let now = Instant::now();
        allowance.fill(now);
        let (allowed, until) = (allowance.frames(BATCH), allowance.held_until(now));
        // Who has nothing to say need not be kept from it.
        if allowed == 0 && self.has_news() { Err(until) } else { Ok(allowed) }
    }

    #[cold]
    fn note_violation(&self, violation: &Violation, tolerated: bool) {
        self.port.counters.violations.add();
        let pid = self.port.peer_pid.load(Ordering::Relaxed);
        trace::violation(self.port.window, pid, violation.name(), tolerated);
    }

    fn has_news(&mut self) -> bool {
        !matches!(self.consumer.peek(), Ok(None))
    }

    /// Tells the renderer how far main has read, if that is news to it.
    #[inline]
    fn publish(&mut self) {
        if self.consumer.publish() {
            self.port.bell.room_published(&self.port.counters.wakes);
        }
    }
}
