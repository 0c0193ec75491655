//! The threads that enter events. All other threads ring and sleep without entering one.
//!
//! ```text
//!   one process                                     the other process
//!   -----------                                     -----------------
//!   any thread ──ring──▶ ringer's thread            listener's thread ──wake──▶ sleepers
//!               (park)        └──set──▶  event  ──wait──▶  ┘           (condition)
//! ```
//!
//! An event belongs to one session. One process sets it, and one process waits on it. A process that is killed inside
//! an event leaves it locked for ever.
//!
//! - **No thread of the application blocks.** [`EventThreads::ring`] raises a flag and unparks a thread, and
//!   [`Sleepers`] are of this process.
//! - **No session is hurt.** The event's other process is dead, so the session is over. The watcher notices that, enters
//!   no event, and wakes the sleepers. The two threads and the session's page are left behind until this process ends,
//!   and [`left_behind`] counts them.
//! - **A session that ends in order leaves nothing behind.** Before a process exits, it waits until the threads of its
//!   ended sessions are out of their events ([`settle`]). Main's loop never waits for them.
//!
//! # No wake-up is lost
//!
//! - A ring raises a flag *after* its change. The ringer's thread takes the flag down and *then* sets the event, so each
//!   change is followed by a `set`. Rings in a row may share one.
//! - A set event stays set until a wait has taken it. The listener's thread then locks the sleepers' mutex before it
//!   wakes them.
//! - A sleeper looks for the change with that mutex locked, and unlocks it only by waiting. It sees the change, or it
//!   waits when it is woken.
//! - No sleep is longer than [`LOOK_EVERY`]. So much is lost if a process is killed before its ringer's thread has run.

#[cfg(not(loom))]
use std::io;
use std::time::{Duration, Instant};

#[cfg(not(loom))]
use crate::portable::event::NamedEvent;
use crate::{
    model::guarded,
    primitives::{Arc, Condvar, Mutex, thread},
    sync::flag::Flag,
};

/// The longest sleep.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest wait of [`settle`]: a thread that a dead process has caught never comes out.
const SETTLE_WITHIN: Duration = Duration::from_millis(50);
/// The threads of a session that ended so long ago count as left behind.
#[cfg(not(loom))]
const GIVEN_UP_AFTER: Duration = Duration::from_millis(250);

/// The threads of this process that sleep until another process has changed something.
#[derive(Default)]
pub(crate) struct Sleepers {
    going_to_sleep: Mutex<()>,
    woken: Condvar,
}

impl Sleepers {
    /// Sleeps if `unchanged` holds, until the deadline or [`wake`](Self::wake). May return early: callers loop.
    ///
    /// `unchanged` is called once, while no other thread can go to sleep or wake, and should be brief.
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
            drop(self.woken.wait_timeout(lock, left));
        }
    }

    /// Wakes all. Call it after the change.
    pub(crate) fn wake(&self) {
        // Behind the lock no thread is between its look and its wait.
        guarded!("Sleepers::wake: locks", drop(self.going_to_sleep.lock()));
        guarded!("Sleepers::wake: wakes", self.woken.notify_all());
    }
}

/// The two threads of one session that enter its events.
pub(crate) struct EventThreads {
    orders: Arc<Orders>,
    ringer: thread::Thread,
}

/// What the two threads are to do.
struct Orders {
    ring: Flag,
    end: Flag,
    /// The number of threads that have not ended.
    running: Mutex<u32>,
    sleepers: Arc<Sleepers>,
}

impl EventThreads {
    /// Starts a thread that sets `rings` at each ring, and a thread that waits on `hears` and wakes the sleepers.
    #[cfg(not(loom))]
    pub(crate) fn start(
        rings: NamedEvent,
        hears: NamedEvent,
        sleepers: Arc<Sleepers>,
    ) -> io::Result<Self> {
        let orders = Arc::new(Orders::of_threads(2, sleepers));
        let hears = Arc::new(hears);
        let (theirs, heard) = (orders.clone(), hears.clone());
        let ring = move || {
            theirs.obey(|| rings.set());
            // Ends the listener.
            heard.set();
            drop((rings, heard));
            theirs.leave();
        };
        let ringer = spawn("ringbridge-ring", ring)?.thread().clone();
        let threads = Self { orders, ringer };
        let theirs = threads.orders.clone();
        let listen = move || {
            theirs.listen(|| hears.wait());
            drop(hears);
            theirs.leave();
        };
        spawn("ringbridge-hear", listen).inspect_err(|_| threads.orders.leave())?;
        Ok(threads)
    }

    /// Wakes the other process's sleepers, soon. Never waits.
    pub(crate) fn ring(&self) {
        self.orders.ring.raise();
        guarded!("EventThreads::ring: unparks", self.ringer.unpark());
    }

    /// Ends both threads, after the rings that are owed. Never waits. A later ring has no effect.
    pub(crate) fn end(&self) {
        #[cfg(not(loom))]
        {
            let mut ended = ENDED.lock();
            ended.retain(|(_, each)| each.running() > 0);
            if !ended.iter().any(|(_, each)| Arc::ptr_eq(each, &self.orders)) {
                ended.push((Instant::now(), self.orders.clone()));
            }
        }
        self.orders.end.raise();
        self.ringer.unpark();
    }
}

impl Drop for EventThreads {
    fn drop(&mut self) {
        self.end();
    }
}

impl Orders {
    fn of_threads(running: u32, sleepers: Arc<Sleepers>) -> Self {
        let (ring, end) = (Flag::default(), Flag::default());
        Self { ring, end, running: Mutex::new(running), sleepers }
    }

    /// On the ringer's thread.
    fn obey(&self, set: impl Fn()) {
        loop {
            // Read first: a ring from before the end is then visible.
            let is_over = self.end.is_raised();
            if self.ring.take() {
                set();
            } else if guarded!("Orders::obey: end first", is_over, else self.end.is_raised()) {
                return;
            } else {
                thread::park();
            }
        }
    }

    /// On the listener's thread.
    fn listen(&self, wait: impl Fn()) {
        while !self.end.is_raised() {
            wait();
            self.sleepers.wake();
        }
    }

    /// Counts a thread that is out of its events for good.
    #[cfg(not(loom))]
    fn leave(&self) {
        *self.running.lock() -= 1;
        self.sleepers.wake();
    }

    #[cfg(not(loom))]
    fn running(&self) -> u32 {
        *self.running.lock()
    }
}

/// The sessions of this process that have ended and the times of their ends, while a thread of theirs runs.
#[cfg(not(loom))]
static ENDED: Mutex<Vec<(Instant, Arc<Orders>)>> = Mutex::new(Vec::new());

/// The threads that ended sessions of the portable backend still have in this process: see [`left_behind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// The number of these threads.
    pub threads: usize,
    /// The number of their sessions. Each keeps one mapping and its descriptor.
    pub sessions: usize,
}

/// Counts the threads of this process that are left behind: their session ended over a quarter of a second ago.
///
/// A process that is killed while it signals its peer may leave the peer's two threads for that session blocked. They
/// end with the peer's process. `docs/portable.md` has the details.
#[cfg(not(loom))]
pub fn left_behind() -> LeftBehind {
    let mut left = LeftBehind::default();
    for (at, orders) in &*ENDED.lock() {
        let running = orders.running();
        if running > 0 && at.elapsed() > GIVEN_UP_AFTER {
            left.threads += running as usize;
            left.sessions += 1;
        }
    }
    left
}

/// Waits until the threads of the ended sessions of these sleepers have come out of their events, for at most
/// [`SETTLE_WITHIN`]. Call it before this process may exit: a process that exits inside an event leaves it locked.
#[cfg(not(loom))]
pub(super) fn settle(sleepers: &Arc<Sleepers>) {
    let deadline = Instant::now() + SETTLE_WITHIN;
    let are_inside = || {
        let is_inside = |(_, ended): &(Instant, Arc<Orders>)| {
            Arc::ptr_eq(&ended.sleepers, sleepers) && ended.running() > 0
        };
        ENDED.lock().iter().any(is_inside)
    };
    while are_inside() && Instant::now() < deadline {
        sleepers.sleep_while(are_inside, Some(deadline));
    }
}

/// Starts a thread that may never come out of an event. It calls the C library and little else.
#[cfg(not(loom))]
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(64 * 1024).spawn(work)
}

#[cfg(all(test, not(loom)))]
#[path = "event_threads/tests.rs"]
mod tests;

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, check_bounded};
    use crate::primitives::{AtomicU32, Ordering::Relaxed};

    /// An event that ends one wait each time it is set. In a model no process dies.
    #[derive(Default)]
    struct ModelledEvent {
        set: Mutex<bool>,
        changed: Condvar,
    }

    impl ModelledEvent {
        fn set(&self) {
            *self.set.lock() = true;
            self.changed.notify_all();
        }

        fn wait(&self) {
            let mut set = self.set.lock();
            while !*set {
                set = self.changed.wait(set);
            }
            *set = false;
        }
    }

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
    fn ring_across(ends_at_once: bool) {
        let event = Arc::new(ModelledEvent::default());
        let (changed, sleepers) = (Arc::new(AtomicU32::new(0)), Arc::new(Sleepers::default()));
        let [rings, hears] = [(); 2].map(|()| Arc::new(Orders::of_threads(1, sleepers.clone())));
        let listener = thread::spawn({
            let (event, hears) = (event.clone(), hears.clone());
            move || hears.listen(|| event.wait())
        });
        let ringer = thread::spawn({
            let (event, rings) = (event.clone(), rings.clone());
            move || rings.obey(|| event.set())
        });
        let threads = EventThreads { orders: rings, ringer: ringer.thread().clone() };
        let waker = thread::spawn({
            let changed = changed.clone();
            move || {
                changed.store(1, Relaxed);
                threads.ring();
                // Dropped, they end.
                (!ends_at_once).then_some(threads)
            }
        });
        sleep_until_changed(&sleepers, &changed);
        drop(waker.join().unwrap());
        ringer.join().unwrap();
        hears.end.raise();
        event.set();
        listener.join().unwrap();
    }

    #[test]
    fn loom_a_ring_reaches_the_sleeper_of_the_other_process() {
        check_bounded(2, &[("EventThreads::ring: unparks", DEADLOCK)], || ring_across(false));
        check_bounded(2, &[("Orders::obey: end first", DEADLOCK)], || ring_across(true));
    }
}
