//! One connection of main's, and the session that it carries once it is admitted.

use std::{process::Child, sync::Arc, time::Instant};

use super::{restart::Recipe, wake_flood::WakeFlood};
use crate::{
    event_loop::driver::BATCH,
    peer::Port,
    policy::{Policy, quota::Allowance},
    primitives::Ordering,
    ring::consumer::Consumer,
    session::{control_channel::ControlChannel, transport::LaunchedProcess},
    shm::region::Region,
    trace,
    wake::first_look::FirstLook,
    wire::{frame::Violation, handshake::Welcome},
};

/// A session's memory, as the handshake hands it over.
pub(super) struct Handover {
    pub(super) welcome: Welcome,
    pub(super) main_region: Region,
    pub(super) renderer_region: Region,
}

/// A session with its window: everything but its socket.
pub(super) struct Session {
    pub(super) port: Arc<Port>,
    pub(super) policy: Policy,
    pub(super) consumer: Consumer,
    /// What its quotas still allow. `None`: they are unlimited.
    pub(super) allowance: Option<Allowance>,
    /// When it was opened, and its policy in a line, for inspectors.
    pub(super) opened: Instant,
    pub(super) summary: String,
    /// Until it is handed over.
    pub(super) handover: Option<Handover>,
}

/// The longest delay of the first look at a renderer's ring, in ticks: 0.2 to 0.4 µs. The next request of a renderer
/// that has its reply comes sooner, or much later.
const FIRST_LOOK_MAX: u32 = 700;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Hello,
    Ready,
    Live,
    /// The session is over; the process may not be.
    Ending,
}

pub(super) struct Connection {
    pub(super) control: Arc<ControlChannel>,
    pub(super) stage: Stage,
    /// `None`: it is not admitted yet.
    pub(super) session: Option<Session>,
    pub(super) child: Option<(Child, LaunchedProcess)>,
    /// How, and when, main launched it.
    pub(super) launched: Option<(Recipe, Instant)>,
    /// Main kills the process if it outlives its session for too long.
    pub(super) dies_with_session: bool,
    /// When the present stage must be over.
    pub(super) stage_until: Option<Instant>,
    /// When the next of main's requests to it expires.
    pub(super) request_until: Option<Instant>,
    /// Its frames are left alone until then: its quota is used up, or it floods main with wakes.
    pub(super) held_until: Option<Instant>,
    /// Its place in the list of the armed windows.
    pub(super) armed: Option<usize>,
    /// The poller does not hear its bell: it was held, and has not been armed since.
    pub(super) deaf: bool,
    pub(super) rings: WakeFlood,
    /// Looks in a row that found no frame.
    pub(super) quiet: u32,
    /// When to look for a frame after the last one.
    pub(super) first_look: FirstLook,
    pub(super) violations: u32,
    pub(super) hung_up: bool,
}

impl Connection {
    pub(super) fn new(control: Arc<ControlChannel>) -> Self {
        Self {
            control,
            stage: Stage::Hello,
            session: None,
            child: None,
            launched: None,
            dies_with_session: true,
            stage_until: None,
            request_until: None,
            held_until: None,
            armed: None,
            deaf: false,
            rings: WakeFlood::default(),
            quiet: 0,
            first_look: FirstLook::new(FIRST_LOOK_MAX),
            violations: 0,
            hung_up: false,
        }
    }

    pub(super) fn port(&self) -> Option<&Arc<Port>> {
        self.session.as_ref().map(|session| &session.port)
    }

    /// The earliest of its deadlines.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.stage_until, self.request_until, self.held_until].into_iter().flatten().min()
    }
}

impl Session {
    /// Returns how many frames may be taken in this turn. Reads the clock only when a quota is used up.
    /// `Err`: the window is to be held until then.
    #[inline]
    pub(super) fn allowed_batch(&mut self) -> Result<usize, Instant> {
        let Some(allowance) = &mut self.allowance else { return Ok(BATCH) };
        let allowed = allowance.frames(BATCH);
        if allowed > 0 { Ok(allowed) } else { self.refill() }
    }

    #[cold]
    fn refill(&mut self) -> Result<usize, Instant> {
        let Some(allowance) = &mut self.allowance else { return Ok(BATCH) };
        let now = Instant::now();
        allowance.fill(now);
        let (allowed, until) = (allowance.frames(BATCH), allowance.held_until(now));
        // A renderer that has sent nothing need not be held.
        if allowed == 0 && self.has_news() { Err(until) } else { Ok(allowed) }
    }

    #[cold]
    pub(super) fn note_violation(&self, violation: &Violation, tolerated: bool) {
        self.port.counters.violations.add();
        // Relaxed: a pid, for people.
        let pid = self.port.peer_pid.load(Ordering::Relaxed);
        trace::violation(self.port.window, pid, violation.name(), tolerated);
    }

    /// Returns whether there is a frame, or something that is none.
    pub(super) fn has_news(&mut self) -> bool {
        !matches!(self.consumer.peek(), Ok(None))
    }

    /// Tells the renderer how far main has read, if it does not know.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.consumer.publish() {
            self.port.bell.room_published(&self.port.counters.wakes);
        }
    }
}
