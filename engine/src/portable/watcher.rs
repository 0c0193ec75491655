//! The thread that notices deaths, where no socket reports an end.
//!
//! Every process counts up a word while it lives, its heartbeat. The watcher reads the words of the others. Where a
//! heartbeat has stopped, it asks the system whether the process still runs: a process that was stopped, or that waits
//! for a processor, is not dead. A process in another container cannot be seen by its number. It counts as dead when its
//! heart has not beaten for [`SILENCE_MAX`].
//!
//! The watcher enters no event, so no death blocks it.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    portable::{event_threads::Sleepers, processes::Processes, rendezvous::Presence},
    primitives::Mutex,
    shm::shared::Shared,
    sync::flag::Flag,
};

/// The time between two looks. A death is noticed after one or two.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A process whose end is noticed.
pub(crate) struct WatchedProcess {
    signs: Signs,
    seen: Mutex<Seen>,
    /// It has left, or it is dead.
    gone: Flag,
}

/// The signs of a process's life.
pub(crate) enum Signs {
    /// Of a process that writes its presence.
    Presence(Shared<Presence>),
    /// Of a child of this process, which need not know of us.
    Child { pid: u32 },
}

#[derive(Default)]
struct Seen {
    heartbeat: u64,
    at: Option<Instant>,
    /// The process is found by its number while it runs.
    visible: bool,
}

impl WatchedProcess {
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
            // It may have died before this first look. So that it does not run says nothing about its visibility.
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

/// A handle of the watcher's thread, which ends with the last handle.
#[derive(Clone)]
pub(crate) struct Watcher(Sender<Arc<WatchedProcess>>);

impl Watcher {
    /// Announces that this process is here, and from now on that it lives.
    ///
    /// Wakes `sleepers` when a process has gone, or when `calls` holds at a look.
    pub(crate) fn start(
        own: Shared<Presence>,
        sleepers: Arc<Sleepers>,
        calls: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let mut processes = Processes::new()?;
        own.enter(processes.this()?);
        let (watcher, watches) = mpsc::channel();
        let mut watched = Vec::new();
        let work = move || {
            own.beat();
            while wait_for_next_look(&watches, &mut watched) {
                own.beat();
                let (count, now) = (watched.len(), Instant::now());
                watched.retain(|each| {
                    // A process that nothing else refers to interests nobody.
                    let is_wanted = Arc::strong_count(each) > 1;
                    if is_wanted && each.has_gone(&mut processes, now) {
                        each.gone.raise();
                    }
                    is_wanted && !each.is_gone()
                });
                if calls() || watched.len() < count {
                    sleepers.wake();
                }
            }
        };
        thread::Builder::new().name("ringbridge-life".to_owned()).spawn(work)?;
        Ok(Self(watcher))
    }

    /// Watches a process until it is gone, or nothing refers to it any more.
    pub(crate) fn watch(&self, signs: Signs) -> Arc<WatchedProcess> {
        let (seen, gone) = (Mutex::default(), Flag::default());
        let watched = Arc::new(WatchedProcess { signs, seen, gone });
        // It fails only if the thread has panicked.
        let _ = self.0.send(watched.clone());
        watched
    }
}

/// Collects what is to be watched until the next look. Returns whether there is a handle left.
fn wait_for_next_look(
    watches: &Receiver<Arc<WatchedProcess>>,
    watched: &mut Vec<Arc<WatchedProcess>>,
) -> bool {
    let next = Instant::now() + LOOK_EVERY;
    loop {
        match watches.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(process) => watched.push(process),
            Err(error) => return error == RecvTimeoutError::Timeout,
        }
    }
}
