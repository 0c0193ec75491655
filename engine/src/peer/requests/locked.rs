//! The table of requests behind its lock, and the hints that spare most calls the lock.
//!
//! An invoke and its reply read the hints each time and lock the table once. All hints are Relaxed.
//! Each is written under the lock or by the one driver. Each reader is ordered behind the writer by
//! the driver lock, the outbox's lock or this lock.

use super::table::RequestTable;
use crate::{
    model::guarded,
    primitives::{AtomicBool, AtomicU64, Mutex, Ordering::Relaxed},
    wire::id::RequestId,
};

/// `N` notifies the caller of a request, `O` is its outcome.
pub(crate) struct Requests<N, O> {
    table: Mutex<RequestTable<N, O>>,
    /// How many settled requests are not taken. A driver sees the replies that the driver before it
    /// stored, because the driver lock orders them.
    unread: AtomicU64,
    /// A request whose reply went straight to its caller, or 0. The next lock of the table frees its
    /// slot. Only the driver sets it, and only when it is 0.
    in_hand: AtomicU64,
    /// Replies or cancels wait for room in the outbox.
    deferred: AtomicBool,
    /// Requests with a deadline have begun since the loop last looked at the table. A loop with many
    /// sessions looks only into the tables that have changed.
    timed: AtomicBool,
}

impl<N, O: Default> Requests<N, O> {
    pub(crate) fn new(slots: u16) -> Self {
        Self {
            table: Mutex::new(RequestTable::new(slots, RequestId::FIRST_GENERATION)),
            unread: AtomicU64::new(0),
            in_hand: AtomicU64::new(0),
            deferred: AtomicBool::new(false),
            timed: AtomicBool::new(false),
        }
    }

    /// Works on the table.
    #[inline]
    pub(in crate::peer) fn work<R>(&self, work: impl FnOnce(&mut RequestTable<N, O>) -> R) -> R {
        // Declared before the lock, so dropped after it: a waker is the application's.
        let _freed;
        let mut table = self.table.lock();
        // The id is all that is handed over. Only one thread takes it out, under the lock.
        if let Some(id) = RequestId::from_wire(self.in_hand.load(Relaxed)) {
            _freed = guarded!("Requests::work: frees the hand", table.retract(id), else None);
            self.in_hand.store(0, Relaxed);
        }
        let result = work(&mut table);
        if table.next_cancel().is_some() {
            // Under the lock: a thread that is given the slot of a cancelled request sees this, and
            // sends the cancel first.
            guarded!("Requests::work: deferred", self.deferred.store(true, Relaxed));
        }
        guarded!("Requests::work: unread", self.unread.store(table.done() as u64, Relaxed));
        result
    }

    /// Settles a request whose reply is in its caller's hands. Only for the driver. The table need not
    /// be locked for it: the next lock frees the slot.
    #[inline]
    pub(super) fn settled_in_hand(&self, id: RequestId) {
        if guarded!("Requests::settled_in_hand: empty hand", self.in_hand.load(Relaxed) == 0, else true)
        {
            self.in_hand.store(id.to_wire(), Relaxed);
        } else {
            self.work(|table| table.retract(id));
        }
    }

    /// Returns whether there may be a reply that nobody has taken. Only for the driver.
    #[inline]
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed) != 0
    }

    /// Notes that a reply waits for room. Under the outbox's lock.
    pub(in crate::peer) fn defer(&self) {
        self.deferred.store(true, Relaxed);
    }

    /// Returns whether a reply or a cancel waits for room. Certain only under the outbox's lock.
    #[inline]
    pub(in crate::peer) fn has_deferred(&self) -> bool {
        self.deferred.load(Relaxed)
    }

    /// Sends the cancels that wait; no reply waits before them. Under the outbox's lock.
    pub(in crate::peer) fn send_cancels<E>(
        &self,
        mut send: impl FnMut(RequestId) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut table = self.table.lock();
        while let Some(id) = table.next_cancel() {
            send(id)?;
            table.cancel_sent();
        }
        // Under the lock: a cancel that comes now raises it again.
        guarded!("Requests::send_cancels: under the lock", self.deferred.store(false, Relaxed), else { drop(table); self.deferred.store(false, Relaxed); });
        Ok(())
    }

    /// Notes that a request with a deadline was put into the table. `true`: the loop is to be told.
    #[inline]
    pub(in crate::peer) fn timed_begun(&self) -> bool {
        // Its cache line stays shared while there is nothing to change.
        !self.timed.load(Relaxed) && !self.timed.swap(true, Relaxed)
    }

    /// Returns whether the loop has yet to look at the deadlines. Certain for a request of this thread.
    #[inline]
    pub(in crate::peer) fn timed_have_begun(&self) -> bool {
        self.timed.load(Relaxed)
    }

    /// Works on the table for the sake of its deadlines. One thread at a time.
    ///
    /// If the loop misses a request, the loop locked the table first. Then it also withdrew the hint
    /// first, and the hint that is given afterwards stays.
    pub(super) fn look_at_deadlines<R>(
        &self,
        look: impl FnOnce(&mut RequestTable<N, O>) -> R,
    ) -> R {
        guarded!("Requests::look_at_deadlines: hint first", self.timed.store(false, Relaxed), else {
            let found = self.work(look);
            self.timed.store(false, Relaxed);
            return found;
        });
        self.work(look)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::{WRONG, check};
    use crate::{
        primitives::{Arc, thread},
        wake::driver_lock::DriverLock,
    };

    fn requests(slots: u16) -> Arc<Requests<(), u32>> {
        Arc::new(Requests::new(slots))
    }

    /// The driver settles two requests in hand while another thread works on the table.
    #[test]
    fn loom_every_slot_is_freed_whose_reply_was_in_hand() {
        check(
            &[
                ("Requests::settled_in_hand: empty hand", "a slot was lost"),
                ("Requests::work: frees the hand", "a slot was lost"),
            ],
            || {
                let requests = requests(2);
                let ids = [(); 2].map(|()| requests.work(|table| table.begin()).unwrap());
                let other = thread::spawn({
                    let requests = requests.clone();
                    move || requests.work(|_| ())
                });
                for id in ids {
                    requests.settled_in_hand(id);
                }
                other.join().unwrap();
                assert_eq!(requests.work(|table| table.pending()), 0, "a slot was lost");
            },
        );
    }

    /// A driver stores the reply of another thread, which drives next.
    #[test]
    fn loom_the_next_driver_sees_what_the_last_one_stored() {
        check(&[("DriverGuard::drop: Release", WRONG), ("Requests::work: unread", WRONG)], || {
            let shared = Arc::new((requests(1), DriverLock::new(AtomicBool::new(false))));
            let id = shared.0.work(|table| table.begin()).unwrap();
            let last = thread::spawn({
                let shared = shared.clone();
                move || {
                    let has_stored = shared.1.take();
                    shared.0.work(|table| table.settle(id, |_| ())).unwrap();
                    has_stored.store(true, Relaxed);
                }
            });
            let (requests, driver_lock) = &*shared;
            {
                let has_stored = driver_lock.take();
                assert_eq!(has_stored.load(Relaxed), requests.has_unread());
            }
            last.join().unwrap();
        });
    }

    /// A request is given up while another thread sends one, perhaps in the same slot.
    #[test]
    fn loom_a_cancel_is_sent_before_its_slot_is_used_again_and_never_forgotten() {
        check(
            &[
                ("Requests::work: deferred", "the cancel comes first"),
                ("Requests::send_cancels: under the lock", "the cancel comes first"),
            ],
            || {
                let requests = requests(1);
                let outbox = Arc::new(Mutex::new(Vec::new()));
                // A reply waits too, so the deferred frames are sent while the request is given up.
                requests.defer();
                let first = requests.work(|table| table.begin()).unwrap();
                let giving_up = thread::spawn({
                    let requests = requests.clone();
                    move || requests.work(|table| table.abandon(first))
                });
                let send_deferred = |outbox: &mut Vec<(&str, RequestId)>| {
                    if requests.has_deferred() {
                        requests
                            .send_cancels::<()>(|id| {
                                outbox.push(("cancel", id));
                                Ok(())
                            })
                            .unwrap();
                    }
                };
                {
                    let mut outbox = outbox.lock();
                    let begun = requests.work(|table| table.begin());
                    send_deferred(&mut outbox);
                    if let Some(id) = begun {
                        outbox.push(("request", id));
                    }
                }
                giving_up.join().unwrap();
                let mut outbox = outbox.lock();
                send_deferred(&mut outbox);
                assert_eq!(outbox.first(), Some(&("cancel", first)), "the cancel comes first");
            },
        );
    }

    /// The loop looks at the deadlines while a request with one begins.
    #[test]
    fn loom_a_deadline_is_found_or_leaves_a_hint() {
        check(&[("Requests::look_at_deadlines: hint first", WRONG)], || {
            let requests = requests(1);
            let asking = thread::spawn({
                let requests = requests.clone();
                move || {
                    requests.work(|table| {
                        let id = table.begin().unwrap();
                        table.set_timeout(id, Some(Duration::from_secs(1)));
                    });
                    requests.timed_begun();
                }
            });
            let next =
                requests.look_at_deadlines(|table| table.expire(Instant::now(), |_, _| ()).next);
            asking.join().unwrap();
            assert!(next.is_some() || requests.timed_have_begun());
        });
    }
}
