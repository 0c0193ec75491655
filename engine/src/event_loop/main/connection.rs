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
    wire::frame::Violation,
};

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
    /// Main's outbox and the renderer's, until the handshake hands them over.
    pub(super) regions: Option<[Region; 2]>,
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
    /// An inspector's, which has no session.
    Observing,
    /// The session is over; the process may not be.
    Ending,
}

/// A process that main launched.
pub(super) struct Launched {
    pub(super) child: Child,
    pub(super) process: LaunchedProcess,
    pub(super) recipe: Recipe,
    pub(super) at: Instant,
}

pub(super) struct Connection {
    pub(super) control: Arc<ControlChannel>,
    pub(super) stage: Stage,
    /// `None`: it is not admitted yet, or an inspector's.
    pub(super) session: Option<Session>,
    /// `None`: main did not launch its process.
    pub(super) launched: Option<Box<Launched>>,
    /// When the present stage must be over.
    pub(super) stage_until: Option<Instant>,
    /// When the next of main's requests to it expires.
    pub(super) request_until: Option<Instant>,
    /// Its frames are left alone until then: its quota is used up, or it floods main with wakes.
    pub(super) held_until: Option<Instant>,
    /// Its place in the list of the armed windows.
    pub(super) armed: Option<usize>,
    /// The poller does not hear its bell: it has no session yet, or was held and has not been armed since.
    pub(super) deaf: bool,
    pub(super) rings: WakeFlood,
    /// Looks since the last frame, the one that took it included.
    pub(super) quiet: u32,
    /// When to look for a frame after the last one.
    pub(super) first_look: FirstLook,
    pub(super) violations: u32,
}

impl Connection {
    pub(super) fn new(control: Arc<ControlChannel>) -> Self {
        Self {
            control,
            stage: Stage::Hello,
            session: None,
            launched: None,
            stage_until: None,
            request_until: None,
            held_until: None,
            armed: None,
            deaf: true,
            rings: WakeFlood::default(),
            quiet: 0,
            first_look: FirstLook::new(FIRST_LOOK_MAX),
            violations: 0,
        }
    }

    pub(super) fn port(&self) -> Option<&Arc<Port>> {
        self.session.as_ref().map(|session| &session.port)
    }

    /// Returns the process, if main kills it when it outlives its session for too long.
    pub(super) fn dies_with_session(&mut self) -> Option<&mut Child> {
        let launched = self.launched.as_mut()?;
        launched.recipe.options.die_with_main.then_some(&mut launched.child)
    }

    /// The earliest of its deadlines.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.stage_until, self.request_until, self.held_until].into_iter().flatten().min()
    }
}

impl Session {
    /// Refills the quotas, and returns how many frames they allow. `Err`: the window is to be held until then.
    #[cold]
    pub(super) fn refill(&mut self) -> Result<usize, Instant> {
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
