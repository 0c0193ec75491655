//! The waking of the other process, and the sleep of this one.
//!
//! Waking costs a system call. So it happens only if the peer says that it sleeps, and once for each sleep, which has
//! an epoch of its own. A peer that says when it will wake up by itself is not rung shortly before. The peer's control
//! page decides only whether *its* bell is rung.
//!
//! | sleeper | sleeps on | rung by |
//! | --- | --- | --- |
//! | a renderer | the bell in its window's outbox (futex) | main |
//! | main's loop | one `epoll` with an eventfd per renderer | the renderer |
//! | any thread that waits for room in its outbox | the bell in the peer's outbox (futex) | the peer |
//!
//! The table is that of the sealed backend. Another backend implements [`Signal`] and [`Sleep`] for itself.

use std::time::Instant;

use crate::{
    kill_points::{KillPoint, reach},
    metrics::counters::Counter,
    model::guarded,
    os::{clock, futex, processor},
    primitives::{AtomicU32, Ordering},
    shm::{bytes, shared::Shared},
    wire::{
        outbox::OutboxControl,
        words::{Bell, fence_before_look},
    },
};

/// The time that a ring takes to wake a sleeper, about.
const RING_NS: u64 = 40_000;

/// Wakes the threads of a peer that sleeps.
pub(crate) trait Signal: Send + Sync {
    /// Wakes all of the peer's threads that sleep; each looks for its work. `bell` is the one in our outbox.
    fn wake_all(&self, bell: &Bell);

    /// Wakes the peer's driver.
    fn wake_driver(&self, bell: &Bell) {
        self.wake_all(bell);
    }
}

/// Wakes threads that sleep on the bell itself.
pub(crate) struct FutexSignal;

impl Signal for FutexSignal {
    fn wake_all(&self, bell: &Bell) {
        guarded!("FutexSignal::wake_all: bumps", bell.bump(processor::current()));
        reach(KillPoint::BellBumped);
        futex::wake_all(bell.word(), futex::Scope::Shared);
    }
}

/// Rings for one peer.
pub(crate) struct PeerBell {
    signal: Box<dyn Signal>,
    own: Shared<OutboxControl>,
    peer: Shared<OutboxControl>,
    /// The last epochs in which the peer was rung. Private; a lost race between two threads rings twice.
    rung: AtomicU32,
    room_rung: AtomicU32,
}

impl PeerBell {
    pub(crate) fn new(
        signal: Box<dyn Signal>,
        own: Shared<OutboxControl>,
        peer: Shared<OutboxControl>,
    ) -> Self {
        Self { signal, own, peer, rung: AtomicU32::new(0), room_rung: AtomicU32::new(0) }
    }

    /// Prefetches the `parked` word, which is read after the commit. A peer that sleeps between two messages has
    /// just written it.
    #[inline]
    pub(crate) fn will_look(&self) {
        bytes::prefetch(&self.peer.parked);
    }

    /// Wakes the peer if it sleeps. Call after committing frames.
    #[inline]
    pub(crate) fn frames_committed(&self, wakes: &Counter) {
        // Pairs with the fence in `Epoch::announce`: this thread sees the peer asleep, or the peer sees the frame.
        fence_before_look();
        self.ring_if_asleep(wakes);
    }

    /// The second half of [`frames_committed`](Self::frames_committed): the caller has fenced.
    #[inline]
    pub(crate) fn ring_if_asleep(&self, wakes: &Counter) {
        if let Some(epoch) = self.peer.parked.asleep() {
            self.ring_for_frames(epoch, wakes);
        }
    }

    /// Rings, unless the peer wakes up by itself before a ring could wake it.
    #[cold]
    fn ring_for_frames(&self, epoch: u32, wakes: &Counter) {
        if !self.peer.alarm.is_near(clock::now_ns(), RING_NS)
            && Self::is_new(epoch, &self.rung, wakes)
        {
            self.signal.wake_driver(&self.own.bell);
        }
    }

    /// Wakes the peer's threads that wait for room in its outbox. Call after publishing `consumed`.
    #[inline]
    pub(crate) fn room_published(&self, wakes: &Counter) {
        reach(KillPoint::RoomPublished);
        // Pairs with the fence in `Epoch::announce`: this thread sees the peer waiting, or the peer sees the room.
        fence_before_look();
        if let Some(epoch) = self.peer.space_wanted.asleep() {
            self.ring_for_room(epoch, wakes);
        }
    }

    #[cold]
    fn ring_for_room(&self, epoch: u32, wakes: &Counter) {
        if Self::is_new(epoch, &self.room_rung, wakes) {
            self.signal.wake_all(&self.own.bell);
        }
    }

    /// Returns whether no thread has rung for this sleep, and counts it as rung for.
    fn is_new(epoch: u32, rung: &AtomicU32, wakes: &Counter) -> bool {
        // Relaxed: only the last epoch matters, and each thread fenced before it looked.
        let last = rung.swap(epoch, Ordering::Relaxed);
        let is_new = guarded!("PeerBell::is_new: each sleep", last != epoch, else last == 0);
        if is_new {
            wakes.add();
            reach(KillPoint::WakeDecided);
        }
        is_new
    }
}

/// Puts this process's threads to sleep on the peer's bell and on a word of this process.
pub(crate) trait Sleep: Send + Sync {
    /// Sleeps while `bell` and `own` hold the values seen, or until the deadline. May return early.
    fn sleep(&self, bell: (&Bell, u32), own: (&Interrupt, u32), deadline: Option<Instant>);

    /// Ends the sleeps on `word`, which was changed.
    fn wake(&self, word: &AtomicU32);
}

struct FutexSleep;

impl Sleep for FutexSleep {
    fn sleep(&self, bell: (&Bell, u32), own: (&Interrupt, u32), deadline: Option<Instant>) {
        // It fails only for an unmapped address. The caller would spin then.
        let _ = futex::wait_either((bell.0.word(), bell.1), (&own.0.word, own.1), deadline);
    }

    fn wake(&self, word: &AtomicU32) {
        futex::wake_all(word, futex::Scope::Private);
    }
}

/// A word of this process that ends its sleeps from any thread.
pub(crate) struct Interrupt {
    word: AtomicU32,
    sleep: Box<dyn Sleep>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::of(FutexSleep)
    }
}

impl Interrupt {
    pub(crate) fn of(sleep: impl Sleep + 'static) -> Self {
        Self { word: AtomicU32::new(0), sleep: Box::new(sleep) }
    }

    /// Returns the value for the sleep that this should end.
    pub(crate) fn read(&self) -> u32 {
        // Acquire: pairs with the Release in `raise`; makes the raiser's writes visible.
        self.word.load(guarded!("Interrupt::read: Acquire", Acquire))
    }

    pub(crate) fn raise(&self) {
        // Release: pairs with the Acquire in `read`; makes this thread's writes visible.
        self.word.fetch_add(1, guarded!("Interrupt::raise: Release", Release));
        self.sleep.wake(&self.word);
    }

    /// Sleeps until the peer rings `bell`, this is raised, or the deadline passes. Returns at once if the bell or this
    /// has changed since it was read.
    pub(crate) fn sleep(&self, bell: &Bell, bell_seen: u32, seen: u32, deadline: Option<Instant>) {
        self.sleep.sleep((bell, bell_seen), (self, seen), deadline);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, check, check_bounded};
    use crate::primitives::{Arc, AtomicU64, Ordering::Relaxed, thread};
    use crate::shm::shared::OutboxMemory;

    /// What a thread is interrupted for is looked at after the word was read, and before the sleep.
    #[test]
    fn loom_a_sleeper_sees_what_it_is_interrupted_for() {
        check(
            &[("Interrupt::raise: Release", DEADLOCK), ("Interrupt::read: Acquire", DEADLOCK)],
            || {
                let shared = Arc::new((Interrupt::default(), AtomicU32::new(0)));
                let bell = Bell::default();
                let raising = thread::spawn({
                    let shared = shared.clone();
                    move || {
                        shared.1.store(1, Relaxed);
                        shared.0.raise();
                    }
                });
                let (interrupt, stopped) = &*shared;
                loop {
                    let (bell_seen, seen) = (bell.read(), interrupt.read());
                    if stopped.load(Relaxed) == 1 {
                        break;
                    }
                    interrupt.sleep(&bell, bell_seen, seen, None);
                }
                raising.join().unwrap();
            },
        );
    }

    /// Two threads send to a peer that sleeps, perhaps twice. That each epoch is rung for once must not leave
    /// it asleep beside what the other has sent.
    #[test]
    fn loom_a_sleeper_to_whom_two_threads_send_misses_neither() {
        check_bounded(
            2,
            &[
                ("PeerBell::is_new: each sleep", DEADLOCK),
                ("Epoch::announce: new number", DEADLOCK),
                ("FutexSignal::wake_all: bumps", DEADLOCK),
            ],
            || {
                let [own, peer] = [(); 2].map(|()| OutboxMemory::heap(256).control);
                let bell =
                    Arc::new(PeerBell::new(Box::new(FutexSignal), own.clone(), peer.clone()));
                let sent = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
                let sending = [0, 1].map(|which| {
                    let (bell, sent) = (bell.clone(), sent.clone());
                    thread::spawn(move || {
                        sent[which].store(1, Relaxed);
                        bell.frames_committed(&Counter::default());
                    })
                });
                let interrupt = Interrupt::default();
                let all_came = || sent.iter().all(|sent| sent.load(Relaxed) == 1);
                while !all_came() {
                    let (bell_seen, seen) = (own.bell.read(), interrupt.read());
                    peer.parked.announce();
                    if !all_came() {
                        interrupt.sleep(&own.bell, bell_seen, seen, None);
                    }
                    peer.parked.withdraw();
                }
                for sending in sending {
                    sending.join().unwrap();
                }
            },
        );
    }
}
