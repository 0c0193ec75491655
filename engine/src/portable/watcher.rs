//! The thread that knows who lives, where no socket tells of an end.
//!
//! Every process counts up a word while it lives, its heartbeat. The watcher looks at the words of the others. Where one
//! has stopped, it asks the system whether the process still runs: a process that was stopped, or that waits for a
//! processor, is not dead. A process that cannot be seen from here by its number (in another container) is taken for
//! dead when its heart has not beaten for [`SILENCE_MAX`].
//!
//! The watcher enters no event, so no death holds it up.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    portable::{event_threads::Sleepers, processes::Processes, rendezvous::Presence},
    primitives::{Condvar, Mutex},
    shm::shared::Shared,
    sync::flag::Flag,
};

/// Between two looks: a death is noticed after one or two.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Somebody who is looked after.
pub(crate) struct WatchedProcess {
    signs: Signs,
    seen: Mutex<Seen>,
    /// It has left, or it is dead.
    gone: Flag,
}

/// By what somebody is known to live.
pub(crate) enum Signs {
    /// Of a process that says of itself that it is there.
    Presence(Shared<Presence>),
    /// Of a child of this process, which need not know of us.
    Child { pid: u32 },
}

#[derive(Default)]
struct Seen {
    heartbeat: u64,
    at: Option<Instant>,
    /// Whether it is found by its number while it runs.
    visible: bool,
}

impl WatchedProcess {
    pub(crate) fn new(signs: Signs) -> Arc<Self> {
        Arc::new(Self { signs, seen: Mutex::default(), gone: Flag::default() })
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.is_raised()
    }

    /// 0 if it is not here yet.
    pub(crate) fn pid(&self) -> u32 {
        match &self.signs {
            Signs::Child { pid } => *pid,
            Signs::Presence(presence) => presence.who().map_or(0, |who| who.pid),
        }
    }

    fn has_gone(&self, processes: &mut Processes, now: Instant) -> bool {
        let presence = match &self.signs {
            Signs::Child { pid } => return processes.started(*pid).is_none(),
            Signs::Presence(presence) => presence,
        };
        // A process that is not here yet has a deadline elsewhere.
        let Some(who) = presence.who() else { return false };
        if presence.has_left() {
            return true;
        }
        let mut seen = self.seen.lock();
        let heartbeat = presence.heartbeat();
        if seen.at.is_none() {
            // It may have died before this first look: that it does not run says nothing of what can be seen.
            seen.visible = Processes::can_see(who) || processes.is_running(who);
        }
        let quiet_since = *seen.at.get_or_insert(now);
        if heartbeat != seen.heartbeat {
            (seen.heartbeat, seen.at) = (heartbeat, Some(now));
            return false;
        }
        if seen.visible {
            !processes.is_running(who)
        } else {
            now.duration_since(quiet_since) >= SILENCE_MAX
        }
    }
}

/// Ends its thread when it is dropped.
pub(crate) struct Watcher(Arc<Shift>);

struct Shift {
    state: Mutex<WatcherState>,
    changed: Condvar,
}

#[derive(Default)]
struct WatcherState {
    watched: Vec<Arc<WatchedProcess>>,
    is_over: bool,
}

impl Watcher {
    /// Says of this process that it is here, and from now on that it lives.
    ///
    /// Wakes `sleepers` when somebody has gone, or when a look finds that `calls`.
    pub(crate) fn start(
        own: Shared<Presence>,
        sleepers: Arc<Sleepers>,
        calls: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let shift = Arc::new(Shift { state: Mutex::default(), changed: Condvar::default() });
        let mut processes = Processes::new()?;
        own.enter(processes.this()?);
        let theirs = shift.clone();
        let work = move || theirs.work(&mut processes, &own, &sleepers, calls);
        thread::Builder::new().name("ringbridge-life".to_owned()).spawn(work)?;
        Ok(Self(shift))
    }

    /// Looks after somebody, until it is gone or nobody else wants to know.
    pub(crate) fn watch(&self, watched: Arc<WatchedProcess>) {
        self.0.state.lock().watched.push(watched);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.state.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Shift {
    fn work(
        &self,
        processes: &mut Processes,
        own: &Presence,
        sleepers: &Sleepers,
        calls: impl Fn() -> bool,
    ) {
        let mut state = self.state.lock();
        while !state.is_over {
            own.beat();
            state.watched.retain(|watched| Arc::strong_count(watched) > 1);
            let watched = state.watched.clone();
            drop(state);
            let now = Instant::now();
            let mut wakes = calls();
            for gone in watched.iter().filter(|each| each.has_gone(processes, now)) {
                gone.gone.raise();
                wakes = true;
            }
            if wakes {
                sleepers.wake();
            }
            drop(watched);
            state = self.state.lock();
            state.watched.retain(|watched| !watched.is_gone());
            if !state.is_over {
                state = self.changed.wait_timeout(state, LOOK_EVERY);
            }
        }
    }
}
