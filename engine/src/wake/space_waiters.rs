//! The threads and the deferred replies that wait for space in this side's outbox.
//!
//! They share one word, `space_wanted`, by which the peer sees that it should ring. A lock gives the word one
//! writer at a time.

use crate::{
    kill_points::{KillPoint, reach},
    model::guarded,
    primitives::Mutex,
    shm::shared::Shared,
    wire::outbox::OutboxControl,
};

pub(crate) struct SpaceWaiters {
    own: Shared<OutboxControl>,
    waiters: Mutex<u32>,
}

impl SpaceWaiters {
    pub(crate) fn new(own: Shared<OutboxControl>) -> Self {
        Self { own, waiters: Mutex::new(0) }
    }

    /// Asks the peer to ring when it has made space. The caller looks for space again afterwards.
    ///
    /// Each call announces a new epoch: the peer rings once an epoch, and an earlier waiter may have used up the last.
    pub(crate) fn ask(&self) {
        let _one_writer = self.waiters.lock();
        let asked = guarded!("SpaceWaiters::ask: anew", false, else self.own.space_wanted.asleep().is_some());
        if !asked {
            self.own.space_wanted.announce();
        }
        reach(KillPoint::RoomWanted);
    }

    /// Registers this thread, which calls [`ask`](Self::ask) before each sleep.
    pub(crate) fn begin_to_wait(&self) {
        *self.waiters.lock() += 1;
    }

    /// Removes this thread. `deferred` tells whether replies still wait.
    pub(crate) fn end_waiting(&self, deferred: impl FnOnce() -> bool) {
        let mut waiters = self.waiters.lock();
        *waiters -= 1;
        if guarded!("SpaceWaiters::end_waiting: last one", *waiters == 0, else true) && !deferred()
        {
            self.own.space_wanted.withdraw();
        }
    }

    /// Notes that no replies wait any more.
    pub(crate) fn none_deferred(&self) {
        let waiters = self.waiters.lock();
        if *waiters == 0 {
            self.own.space_wanted.withdraw();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, check_bounded};
    use crate::{
        metrics::counters::Counter,
        primitives::{Arc, thread},
        shm::shared::OutboxMemory,
        wake::bell::{FutexSignal, Interrupt, PeerBell},
        wire::words::Cursor,
    };

    /// Two threads wait for space. The peer makes enough for one, and then for the other.
    #[test]
    fn loom_of_two_threads_that_wait_for_room_neither_sleeps_beside_its_own() {
        check_bounded(
            2,
            &[
                ("SpaceWaiters::ask: anew", DEADLOCK),
                ("SpaceWaiters::end_waiting: last one", DEADLOCK),
            ],
            || {
                let [own, peer] = [(); 2].map(|()| OutboxMemory::heap(256).control);
                let bell = PeerBell::new(Box::new(FutexSignal), peer.clone(), own.clone());
                let room = Arc::new((Cursor::default(), Mutex::new(0)));
                let wanted = Arc::new((SpaceWaiters::new(own), Interrupt::default()));

                let making = thread::spawn({
                    let room = room.clone();
                    move || {
                        for made in 1..=2 {
                            room.0.publish(made);
                            bell.room_published(&Counter::default());
                        }
                    }
                });
                let wait = {
                    let (room, wanted, peer) = (room.clone(), wanted.clone(), peer.clone());
                    move || {
                        let (wanted, interrupt) = &*wanted;
                        let takes_room = || {
                            let mut taken = room.1.lock();
                            let is_there = room.0.observe() > *taken;
                            *taken += u64::from(is_there);
                            is_there
                        };
                        wanted.begin_to_wait();
                        loop {
                            let (bell_seen, seen) = (peer.bell.read(), interrupt.read());
                            wanted.ask();
                            if takes_room() {
                                break;
                            }
                            interrupt.sleep(&peer.bell, bell_seen, seen, None);
                        }
                        wanted.end_waiting(|| false);
                    }
                };
                let other = thread::spawn(wait.clone());
                wait();
                other.join().unwrap();
                making.join().unwrap();
            },
        );
    }
}
