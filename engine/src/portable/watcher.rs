//! The thread that knows who lives, where no socket tells of an end.
//!
//! It looks at a word that every process counts up while it lives, its heartbeat. Only where that has stopped it asks
//! the system whether the process still runs: one that was stopped, or waits for a processor, is not dead. And it is
//! the one thread that never touches an event, so that it can free those who are caught in one whose last user died.
//! So it wakes nobody either: whoever sleeps looks about itself every tenth of a second.
//!
//! A process that cannot be seen from here by its number (in another container) is taken for dead when its heart has
//! not beaten for [`SILENCE_MAX`].

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    portable::{processes::Processes, rendezvous::Presence},
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
    /// Frees whom it has left behind. Once, and never inside a lock of the watcher's. It must not ring: another who
    /// has died, or is about to, may have the event.
    on_gone: Box<dyn Fn(End) + Send + Sync>,
}

/// How somebody went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In its own time: it holds nothing.
    Left,
    /// It may have held anything.
    Died,
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
    pub(crate) fn new(signs: Signs, on_gone: impl Fn(End) + Send + Sync + 'static) -> Arc<Self> {
        let (seen, gone) = (Mutex::default(), Flag::default());
        Arc::new(Self { signs, seen, gone, on_gone: Box::new(on_gone) })
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

    fn look(&self, processes: &mut Processes, now: Instant) -> Option<End> {
        let presence = match &self.signs {
            Signs::Child { pid } => {
                return processes.started(*pid).is_none().then_some(End::Died);
            }
            Signs::Presence(presence) => presence,
        };
        // Who is not here yet has a deadline of somebody else's.
        let who = presence.who()?;
        if presence.has_left() {
            return Some(End::Left);
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
            return None;
        }
        let is_dead = if seen.visible {
            !processes.is_running(who)
        } else {
            now.duration_since(quiet_since) >= SILENCE_MAX
        };
        is_dead.then_some(End::Died)
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
    /// Says of this process that it is here, and from now on that it lives. `at_each_look` is done whenever it looks.
    pub(crate) fn start(
        own: Shared<Presence>,
        at_each_look: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shift = Arc::new(Shift { state: Mutex::default(), changed: Condvar::default() });
        let mut processes = Processes::new()?;
        own.enter(processes.this()?);
        let theirs = shift.clone();
        let work = move || theirs.work(&mut processes, &own, at_each_look);
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
    fn work(&self, processes: &mut Processes, own: &Presence, at_each_look: impl Fn()) {
        let mut state = self.state.lock();
        while !state.is_over {
            own.beat();
            state.watched.retain(|watched| Arc::strong_count(watched) > 1);
            let watched = state.watched.clone();
            drop(state);
            at_each_look();
            let now = Instant::now();
            for each in watched {
                if let Some(end) = each.look(processes, now) {
                    each.gone.raise();
                    (each.on_gone)(end);
                }
            }
            state = self.state.lock();
            state.watched.retain(|watched| !watched.is_gone());
            if !state.is_over {
                state = self.changed.wait_timeout(state, LOOK_EVERY);
            }
        }
    }
}
