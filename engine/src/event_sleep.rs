//! How the threads of one process sleep on an event that other processes set.
//!
//! An event ends one wait, and several threads may want to sleep until something has changed, each until
//! something else. So one of them *listens*: it waits on the event for all. The others wait here, in this process.
//! Whoever has listened wakes all of them, and each looks after what it waits for; if there is reason to sleep on,
//! one of them listens.
//!
//! # The lost wake-up, and why it cannot happen
//!
//! ```text
//!   sleeper                                     waker
//!   -------                                     -----
//!   locks                                       changes something
//!   looks for the change                        sets the event
//!   nobody listens: listens, unlocks, waits
//!   someone does:   unlocks, waits (one step)
//! ```
//!
//! A set event stays set until a wait has taken it. So if a thread listens, now or later, it returns, locks, and
//! wakes all that wait. A sleeper that has locked before that and saw no change waits by then, for it unlocks
//! only by waiting; one that locks after it sees the change, as the waker made it before the event was set.
//! If no thread listens, then none waits here either, and the next to come looks first.
//!
//! Every wait ends after [`LOOK_EVERY`] at the latest, so a mistake of another process costs that long.

use std::time::{Duration, Instant};

use crate::{
    sync::{Condvar, Mutex, MutexGuard},
    sys::event::NamedEvent,
};

/// No wait is longer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct EventSleep {
    event: NamedEvent,
    /// Whether somebody waits on the event.
    listening: Mutex<bool>,
    returned: Condvar,
}

impl EventSleep {
    pub(crate) fn new(event: NamedEvent) -> Self {
        Self { event, listening: Mutex::new(false), returned: Condvar::new() }
    }

    /// Sleeps if `unchanged` holds, until the event is set, the deadline passes, or for no reason: callers look and
    /// loop. `unchanged` is asked while others cannot go to sleep, and should be brief.
    pub(crate) fn sleep_while(&self, unchanged: impl Fn() -> bool, deadline: Option<Instant>) {
        let mut listening = self.lock();
        if !unchanged() {
            return;
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY));
        if left.is_zero() {
            return;
        }
        if *listening || self.event.is_lost() {
            // Whatever ends it, the caller looks.
            drop(self.returned.wait_timeout(listening, left));
        } else {
            *listening = true;
            drop(listening);
            let _listening = Listening(self);
            self.event.wait(left);
        }
    }

    /// Wakes who sleeps, in whatever process. Change first what they wait for.
    pub(crate) fn ring(&self) {
        self.event.set();
        if self.event.is_lost() {
            // Then nobody listens, in this process or another.
            self.returned.notify_all();
        }
    }

    /// See [`NamedEvent::rescue`]. Sleepers of this process sleep on, and can be rung by this process alone.
    pub(crate) fn rescue(&self) -> bool {
        self.event.rescue()
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // A panic in `unchanged` has changed nothing.
        self.listening.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Somebody listens, until this is dropped.
struct Listening<'a>(&'a EventSleep);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.returned.notify_all();
    }
}
