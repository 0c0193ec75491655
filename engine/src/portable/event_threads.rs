//! The threads that enter events, and how all other threads ring and sleep without entering one.
//!
//! ```text
//!   one process                                     the other process
//!   -----------                                     -----------------
//!   any thread ──ring──▶ ringer's thread            listener's thread ──wake──▶ sleepers
//!               (park)        └──set──▶  event  ──wait──▶  ┘           (condition)
//! ```
//!
//! An event belongs to one session, one process sets it and one process waits on it. A process that is killed may be
//! inside the event, which is then locked for ever.
//!
//! - **No thread of the application hangs.** It enters no event. [`Ringer::ring`] raises a flag and unparks a thread,
//!   and [`Sleepers`] are of this process.
//! - **Nothing is undefined.** An event is initialised once, and its mutex is unlocked by its owner or by nobody.
//! - **Nobody misses the event.** Its other process is dead, so the session is over. The watcher finds that out, enters
//!   no event, and wakes the sleepers. The thread that is caught inside and the event's memory are left behind until
//!   this process ends. Another session has other events and threads.
//!
//! - **A session that ends in order leaves nothing behind.** Its end waits until this side's threads have come out of
//!   their events, for [`LEAVE_WITHIN`] at most: a thread that is caught by a dead process never does.
//!
//! # No wake-up is lost
//!
//! - A ring raises a flag *after* the change that it is for. The ringer's thread takes the flag down and *then* sets the
//!   event, so each change is followed by a `set`. Rings in a row may share one.
//! - A set event stays set until a wait has taken it. The listener's thread then locks the sleepers' mutex before
//!   it wakes them.
//! - A sleeper looks for the change with that mutex locked, and unlocks it only by waiting. Either it sees the
//!   change, or it waits when it is woken.
//! - No sleep is longer than [`LOOK_EVERY`]: a process that is killed before its ringer's thread has run costs that.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    model::guarded,
    portable::event::{NamedEvent, spawn},
    primitives::{Arc, Condvar, Mutex, thread},
    sync::flag::Flag,
};

/// No sleep is longer.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The end of a session waits so long for a thread that is inside an event.
const LEAVE_WITHIN: Duration = Duration::from_millis(50);

/// Opens once, when a thread has left its event for good.
#[derive(Default)]
struct Exit {
    left: Mutex<bool>,
    opened: Condvar,
}

impl Exit {
    fn open(&self) {
        *self.left.lock() = true;
        self.opened.notify_all();
    }

    /// Waits until it is open, but not for a thread that is caught inside.
    #[cfg(not(loom))]
    fn wait(&self) {
        let deadline = Instant::now() + LEAVE_WITHIN;
        let mut left = self.left.lock();
        while !*left {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            left = self.opened.wait_timeout(left, rest);
        }
    }

    /// In a model no time passes, and no thread is caught.
    #[cfg(loom)]
    fn wait(&self) {}
}

/// The threads of this process that sleep until another process has changed something, each until something else.
#[derive(Default)]
pub(crate) struct Sleepers {
    going_to_sleep: Mutex<()>,
    woken: Condvar,
}

impl Sleepers {
    /// Sleeps if `unchanged` holds, until the deadline or [`wake`](Self::wake), or for no reason: callers look and loop.
    ///
    /// `unchanged` is called once, while others can neither go to sleep nor wake, and should be brief.
    pub(crate) fn sleep_while(&self, unchanged: impl FnOnce() -> bool, deadline: Option<Instant>) {
        let lock = self.going_to_sleep.lock();
        guarded!(
            "Sleepers::sleep_while: look",
            if !unchanged() {
                return;
            }
        );
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY));
        if !left.is_zero() {
            // Whatever ends it, the caller looks.
            drop(self.woken.wait_timeout(lock, left));
        }
    }

    /// Wakes all. Change first what they wait for.
    pub(crate) fn wake(&self) {
        // Behind the lock no thread is between its look and its wait.
        guarded!("Sleepers::wake: locks", drop(self.going_to_sleep.lock()));
        guarded!("Sleepers::wake: wakes", self.woken.notify_all());
    }
}

/// Sets an event, on a thread of its own.
pub(crate) struct Ringer {
    orders: Arc<Orders>,
    thread: thread::Thread,
}

#[derive(Default)]
struct Orders {
    ring: Flag,
    end: Flag,
    exit: Exit,
}

impl Ringer {
    pub(crate) fn start(event: NamedEvent) -> io::Result<Self> {
        Self::setting(move || event.set())
    }

    fn setting(set: impl Fn() + Send + 'static) -> io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let theirs = orders.clone();
        let work = move || {
            loop {
                if theirs.ring.take() {
                    set();
                } else if theirs.end.is_raised() {
                    return theirs.exit.open();
                } else {
                    thread::park();
                }
            }
        };
        let thread = spawn("ringbridge-ring", work)?.thread().clone();
        Ok(Self { orders, thread })
    }

    /// Wakes who sleeps on the event, soon. Never waits.
    pub(crate) fn ring(&self) {
        self.orders.ring.raise();
        guarded!("Ringer::ring: unparks", self.thread.unpark());
    }

    /// Ends its thread, after the rings that it owes. No ring has an effect after that.
    pub(crate) fn end(&self) {
        self.orders.end.raise();
        self.thread.unpark();
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        self.end();
        self.orders.exit.wait();
    }
}

/// Waits on an event, on a thread of its own, and wakes this process's sleepers whenever it is set.
pub(crate) struct Listener {
    event: Arc<NamedEvent>,
    end: Arc<Flag>,
    exit: Arc<Exit>,
}

impl Listener {
    pub(crate) fn start(event: NamedEvent, sleepers: Arc<Sleepers>) -> io::Result<Self> {
        let (event, end, exit) = (Arc::new(event), Arc::default(), Arc::new(Exit::default()));
        let listener = Self { event, end, exit };
        let (event, end, exit) =
            (listener.event.clone(), listener.end.clone(), listener.exit.clone());
        let work = move || {
            listen(&event, &sleepers, &end);
            exit.open();
        };
        spawn("ringbridge-hear", work)?;
        Ok(listener)
    }
}

fn listen(event: &NamedEvent, sleepers: &Sleepers, end: &Flag) {
    while !end.is_raised() {
        event.wait();
        sleepers.wake();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end.raise();
        // From a thread that may be left behind, as the listener's own then is.
        let (event, set) = (self.event.clone(), Arc::new(Exit::default()));
        let has_set = set.clone();
        let work = move || {
            event.set();
            has_set.open();
        };
        if spawn("ringbridge-end", work).is_ok() {
            set.wait();
            self.exit.wait();
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "event_threads/tests.rs"]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, check_bounded};
    use crate::primitives::{AtomicU32, Ordering::Relaxed};

    fn sleep_until_changed(sleepers: &Sleepers, changed: &AtomicU32) {
        while changed.load(Relaxed) == 0 {
            sleepers.sleep_while(|| changed.load(Relaxed) == 0, None);
        }
    }

    /// In a model no time passes, so a sleeper that no wake reaches sleeps for ever, which is reported.
    #[test]
    fn loom_a_wake_reaches_all_who_sleep_or_are_about_to() {
        check_bounded(
            2,
            &[
                ("Sleepers::sleep_while: look", DEADLOCK),
                ("Sleepers::wake: locks", DEADLOCK),
                ("Sleepers::wake: wakes", DEADLOCK),
            ],
            || {
                let shared = Arc::new((Sleepers::default(), AtomicU32::new(0)));
                let other = thread::spawn({
                    let shared = shared.clone();
                    move || sleep_until_changed(&shared.0, &shared.1)
                });
                let waker = thread::spawn({
                    let shared = shared.clone();
                    move || {
                        shared.1.store(1, Relaxed);
                        shared.0.wake();
                    }
                });
                sleep_until_changed(&shared.0, &shared.1);
                other.join().unwrap();
                waker.join().unwrap();
            },
        );
    }

    /// From a thread of one process to a thread of the other, by the way of the two that use the event.
    #[test]
    fn loom_a_ring_reaches_the_sleeper_of_the_other_process() {
        check_bounded(2, &[("Ringer::ring: unparks", DEADLOCK)], || {
            let event = Arc::new(NamedEvent::default());
            let shared = Arc::new((Sleepers::default(), AtomicU32::new(0), Flag::default()));
            let listener = thread::spawn({
                let (event, shared) = (event.clone(), shared.clone());
                move || listen(&event, &shared.0, &shared.2)
            });
            let ringer = Arc::new(
                Ringer::setting({
                    let event = event.clone();
                    move || event.set()
                })
                .unwrap(),
            );
            let waker = thread::spawn({
                let (ringer, shared) = (ringer.clone(), shared.clone());
                move || {
                    shared.1.store(1, Relaxed);
                    ringer.ring();
                }
            });
            sleep_until_changed(&shared.0, &shared.1);
            waker.join().unwrap();
            drop(ringer);
            shared.2.raise();
            event.set();
            listener.join().unwrap();
        });
    }
}
