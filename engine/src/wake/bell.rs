//! How one process wakes the other: the `Signal` seam, and when it is used.
//!
//! Waking costs a system call, so it happens only if the peer says that it sleeps, and once for each
//! time that it goes to sleep (each has an epoch of its own). A peer that says when it will wake up by itself,
//! because it expects something then, is not rung shortly before. What the peer writes into its control
//! page decides only whether *its* bell is rung, never what happens here.
//!
//! | who sleeps | on | rung by |
//! | --- | --- | --- |
//! | a renderer | the bell in its window's outbox (futex) | main |
//! | main's loop | one `epoll` with an eventfd per renderer | the renderer |
//! | any thread that waits for room in its outbox | the bell in the peer's outbox (futex) | the peer |
//!
//! The portable backend has events in place of futexes and eventfds, which several threads cannot sleep on as they
//! can on a word; so the word stays what is waited for, and the event only ends the sleep.
//!
//! | who sleeps | on | rung by |
//! | --- | --- | --- |
//! | a renderer, and its threads that wait for room | the event of its session | main |
//! | main's loop | one event for all renderers, each of which says that it was the one | the renderer |
//! | main's threads that wait for room | another event of the session | the renderer |

use crate::model::guarded;
use crate::{
    kill_points::{KillPoint, reach},
    metrics::counters::Counter,
    os::{EventFd, clock, futex},
    primitives::{AtomicU32, Ordering},
    shm::{bytes, shared::Shared},
    wire::{outbox::OutboxControl, words::fence_before_look},
};
#[cfg(all(feature = "portable", not(loom)))]
use crate::{
    portable::{
        event_threads::{Ringer, Sleepers},
        rendezvous::SharedFlag,
    },
    primitives::Arc,
};

/// A ring takes about so long to wake a sleeper.
const RING_NS: u64 = 40_000;

/// What the peer's driver sleeps on.
pub(crate) enum Signal {
    /// The bell in our outbox.
    Futex,
    /// An eventfd in its epoll. Shared with the peer, so never read here.
    Event(EventFd),
    #[cfg(all(feature = "portable", not(loom)))]
    /// An event, and what tells main which renderer has set it.
    Ringer { rung: Option<Shared<SharedFlag>>, ringer: Arc<Ringer> },
}

/// Rings for one peer.
pub(crate) struct PeerBell {
    signal: Signal,
    own: Shared<OutboxControl>,
    peer: Shared<OutboxControl>,
    /// The last epochs in which the peer was rung. Private; a lost race between two threads rings twice.
    rung: AtomicU32,
    room_rung: AtomicU32,
}

impl PeerBell {
    pub(crate) fn new(
        signal: Signal,
        own: Shared<OutboxControl>,
        peer: Shared<OutboxControl>,
    ) -> Self {
        Self { signal, own, peer, rung: AtomicU32::new(0), room_rung: AtomicU32::new(0) }
    }

    /// Call before writing a frame: what is looked at behind it is on its way meanwhile. A peer that sleeps
    /// between any two messages has written it since the last look, as it has read where the frame goes.
    #[inline]
    pub(crate) fn will_look(&self) {
        bytes::prefetch(&self.peer.parked);
    }

    /// Call after committing frames: wakes the peer if it sleeps.
    #[inline]
    pub(crate) fn frames_committed(&self, wakes: &Counter) {
        // Twin of the fence in `Epoch::announce`: either we see it asleep, or it sees the frame.
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
        if !self.peer.alarm.is_near(clock::now_ns(), RING_NS) {
            self.ring_once(epoch, &self.rung, wakes, Self::ring);
        }
    }

    /// Call after publishing `consumed`: wakes whoever waits for room in the peer's outbox.
    #[inline]
    pub(crate) fn room_published(&self, wakes: &Counter) {
        reach(KillPoint::RoomPublished);
        // Twin of the fence in `Epoch::announce`: either we see it waiting, or it sees the room.
        fence_before_look();
        if let Some(epoch) = self.peer.space_wanted.asleep() {
            self.ring_once(epoch, &self.room_rung, wakes, Self::ring_for_room);
        }
    }

    #[cold]
    fn ring_once(&self, epoch: u32, rung: &AtomicU32, wakes: &Counter, ring: fn(&Self)) {
        // Relaxed: only which epoch was last matters, and each thread fenced before it looked.
        if guarded!("PeerBell::ring_once: each sleep", rung.swap(epoch, Ordering::Relaxed) != epoch, else rung.swap(epoch, Ordering::Relaxed) == 0)
        {
            wakes.add();
            reach(KillPoint::WakeDecided);
            ring(self);
        }
    }

    fn ring(&self) {
        match &self.signal {
            Signal::Futex => self.ring_bell(),
            // It fails only when the peer has broken its own eventfd.
            Signal::Event(event) => _ = event.ring(),
            #[cfg(all(feature = "portable", not(loom)))]
            Signal::Ringer { rung: Some(rung), ringer } => {
                rung.raise();
                ringer.ring();
            }
            #[cfg(all(feature = "portable", not(loom)))]
            Signal::Ringer { rung: None, .. } => self.ring_bell(),
        }
    }

    fn ring_for_room(&self) {
        self.ring_bell();
        // Main's loop may be who wants room, for its backlog, and it does not sleep on the bell.
        match &self.signal {
            Signal::Futex => {}
            Signal::Event(event) => _ = event.ring(),
            #[cfg(all(feature = "portable", not(loom)))]
            Signal::Ringer { .. } => {}
        }
    }

    /// All who sleep on it are the peer's threads; each looks for what it waits for.
    fn ring_bell(&self) {
        guarded!("PeerBell::ring_bell: bumps", self.own.bell.bump());
        reach(KillPoint::BellBumped);
        match &self.signal {
            // It fails only for a bad address, which a mapping of ours is not.
            Signal::Futex | Signal::Event(_) => {
                _ = futex::wake(self.own.bell.word(), u32::MAX, futex::Scope::Shared);
            }
            #[cfg(all(feature = "portable", not(loom)))]
            Signal::Ringer { rung, ringer } => {
                if let Some(rung) = rung {
                    rung.raise();
                }
                ringer.ring();
            }
        }
    }
}

/// A word of this process that ends its sleeps from any thread.
#[derive(Default)]
pub(crate) struct Interrupt {
    word: AtomicU32,
    #[cfg(all(feature = "portable", not(loom)))]
    /// What they sleep on, where that is no futex.
    sleepers: Option<Arc<Sleepers>>,
}

impl Interrupt {
    #[cfg(all(feature = "portable", not(loom)))]
    /// Of threads that sleep on an event.
    pub(crate) fn of_sleepers(sleepers: Arc<Sleepers>) -> Self {
        Self { word: AtomicU32::new(0), sleepers: Some(sleepers) }
    }

    /// What to pass to the sleep that this should end.
    pub(crate) fn read(&self) -> u32 {
        // Acquire: pairs with the Release in `raise`; what it was raised for is seen.
        self.word.load(guarded!("Interrupt::read: Acquire", Acquire))
    }

    pub(crate) fn raise(&self) {
        // Release: pairs with the Acquire in `read`.
        self.word.fetch_add(1, guarded!("Interrupt::raise: Release", Release));
        #[cfg(all(feature = "portable", not(loom)))]
        if let Some(sleepers) = &self.sleepers {
            return sleepers.wake();
        }
        let _ = futex::wake(&self.word, u32::MAX, futex::Scope::Private);
    }

    /// Sleeps until the peer rings `bell`, or this is raised, or the deadline passes; returns at once
    /// if either has happened since it was read.
    pub(crate) fn sleep(
        &self,
        bell: &crate::wire::words::Bell,
        bell_seen: u32,
        seen: u32,
        deadline: Option<std::time::Instant>,
    ) {
        #[cfg(all(feature = "portable", not(loom)))]
        if let Some(sleepers) = &self.sleepers {
            let unchanged = || bell.read() == bell_seen && self.read() == seen;
            return sleepers.sleep_while(unchanged, deadline);
        }
        // Any error but the ordinary ones means a word that is not mapped, which ours are; to spin
        // then is better than to stop.
        let _ = futex::wait_either(bell.word(), bell_seen, &self.word, seen, deadline);
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
                let bell = crate::wire::words::Bell::new();
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
                ("PeerBell::ring_once: each sleep", DEADLOCK),
                ("Epoch::announce: new number", DEADLOCK),
                ("PeerBell::ring_bell: bumps", DEADLOCK),
            ],
            || {
                let [own, peer] = [(); 2].map(|()| OutboxMemory::heap(256).control);
                let bell = Arc::new(PeerBell::new(Signal::Futex, own.clone(), peer.clone()));
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
