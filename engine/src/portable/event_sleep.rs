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

use crate::model::guarded;
use std::time::{Duration, Instant};

use crate::{
    portable::event::NamedEvent,
    primitives::{Condvar, Mutex},
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
        Self { event, listening: Mutex::new(false), returned: Condvar::default() }
    }

    /// Sleeps if `unchanged` holds, until the event is set, the deadline passes, or for no reason: callers look and
    /// loop. `unchanged` is asked while others cannot go to sleep, and should be brief.
    pub(crate) fn sleep_while(&self, unchanged: impl Fn() -> bool, deadline: Option<Instant>) {
        let mut listening = self.listening.lock();
        if guarded!("EventSleep::sleep_while: look", !unchanged(), else false) {
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
            guarded!("EventSleep::sleep_while: one listens", *listening = true);
            drop(listening);
            let _listening = Listening(self);
            self.event.wait(left);
        }
    }

    /// Wakes who sleeps, in whatever process. Change first what they wait for.
    pub(crate) fn ring(&self) {
        self.event.set();
        if self.event.is_lost() {
            // Then nobody listens. Behind the lock nobody is between its last look and its wait.
            drop(self.listening.lock());
            self.returned.notify_all();
        }
    }

    /// See [`NamedEvent::rescue`]. Sleepers of this process sleep on, and can be rung by this process alone.
    pub(crate) fn rescue(&self) -> bool {
        self.event.rescue()
    }
}

/// Somebody listens, until this is dropped.
struct Listening<'a>(&'a EventSleep);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        guarded!("Listening::drop: listens no more", *self.0.listening.lock() = false);
        guarded!("Listening::drop: wakes", self.0.returned.notify_all());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;
    use crate::{
        portable::event_place::EventPlace,
        primitives::{Arc, AtomicU32, Ordering::Relaxed},
        shm::shared::Shared,
    };

    const MUCH_LATER: Duration = Duration::from_secs(20);

    /// Two processes' ends of one event.
    fn ends() -> (EventSleep, NamedEvent) {
        let place: Shared<EventPlace> = Shared::from_arc(Arc::default());
        let ours = NamedEvent::create(place.clone()).unwrap();
        (EventSleep::new(ours), NamedEvent::open(place).unwrap())
    }

    #[test]
    fn each_ring_reaches_all_who_sleep() {
        const THREADS: usize = 4;
        const ROUNDS: u32 = 500;
        let (sleep, theirs) = ends();
        let round = AtomicU32::new(0);
        let seen: [AtomicU32; THREADS] = Default::default();
        // A ring that is missed costs a look, which is too long for so many.
        let began = Instant::now();
        thread::scope(|scope| {
            for seen in &seen {
                scope.spawn(|| {
                    for next in 1..=ROUNDS {
                        while round.load(Relaxed) < next {
                            sleep.sleep_while(|| round.load(Relaxed) < next, None);
                        }
                        seen.store(next, Relaxed);
                    }
                });
            }
            for next in 1..=ROUNDS {
                round.store(next, Relaxed);
                theirs.set();
                while seen.iter().any(|seen| seen.load(Relaxed) < next) {
                    thread::yield_now();
                }
            }
        });
        assert!(began.elapsed() < LOOK_EVERY * ROUNDS / 4);
    }

    #[test]
    fn what_has_changed_already_is_not_slept_for() {
        let (sleep, _theirs) = ends();
        let began = Instant::now();
        sleep.sleep_while(|| false, None);
        sleep.sleep_while(|| true, Some(began));
        assert!(began.elapsed() < LOOK_EVERY);
    }

    #[test]
    fn a_sleep_ends_with_its_deadline_whoever_listens() {
        let (sleep, _theirs) = ends();
        let deadline = Instant::now() + 3 * LOOK_EVERY;
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while Instant::now() < deadline {
                        sleep.sleep_while(|| true, Some(deadline));
                    }
                });
            }
        });
        assert!(deadline.elapsed() < MUCH_LATER);
    }

    #[test]
    fn after_a_rescue_the_threads_of_this_process_sleep_and_ring_among_themselves() {
        let (sleep, _theirs) = ends();
        assert!(sleep.rescue());
        let changed = AtomicU32::new(0);
        let began = Instant::now();
        sleep.sleep_while(|| true, Some(began + LOOK_EVERY / 2));
        assert!(began.elapsed() >= LOOK_EVERY / 2, "it does not spin");
        thread::scope(|scope| {
            scope.spawn(|| {
                while changed.load(Relaxed) == 0 {
                    sleep.sleep_while(|| changed.load(Relaxed) == 0, None);
                }
            });
            changed.store(1, Relaxed);
            sleep.ring();
        });
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, check_bounded};
    use crate::primitives::{Arc, AtomicU32, Ordering::Relaxed, thread};

    /// One ring reaches both sleepers: in a model no time passes, so one that it does not reach sleeps for
    /// ever, which is reported.
    #[test]
    fn loom_a_ring_reaches_whoever_sleeps_or_is_about_to() {
        check_bounded(
            2,
            &[
                ("Listening::drop: wakes", DEADLOCK),
                ("EventSleep::sleep_while: one listens", DEADLOCK),
                ("EventSleep::sleep_while: look", DEADLOCK),
                ("Listening::drop: listens no more", DEADLOCK),
            ],
            || {
                let sleep = Arc::new(EventSleep::new(NamedEvent::default()));
                let changed = Arc::new(AtomicU32::new(0));
                let sleeper = |(sleep, changed): (Arc<EventSleep>, Arc<AtomicU32>)| {
                    while changed.load(Relaxed) == 0 {
                        sleep.sleep_while(|| changed.load(Relaxed) == 0, None);
                    }
                };
                let shared = (sleep.clone(), changed.clone());
                let other = thread::spawn(move || sleeper(shared));
                let waker = {
                    let (sleep, changed) = (sleep.clone(), changed.clone());
                    thread::spawn(move || {
                        changed.store(1, Relaxed);
                        sleep.ring();
                    })
                };
                sleeper((sleep, changed));
                other.join().unwrap();
                waker.join().unwrap();
            },
        );
    }
}
