//! The request table behind its lock, and what is known of it without the lock: an invoke and its reply
//! look at that each time, and lock the table once.
//!
//! ```text
//!   any thread, under the lock             without it
//!   what is in hand is freed first         the driver leaves what is in hand
//!   does its work                          a driver looks for unread replies
//!   says what is unread and deferred       whoever holds the outbox looks for what is deferred
//! ```
//!
//! Every access here is Relaxed. Each value is written under the lock, or by the one driver, and those
//! who look have something between themselves and the writer that orders it: the driver lock, the outbox's lock,
//! or this one.

use crate::model::guarded;

use crate::{
    peer::request_table::RequestTable,
    primitives::{AtomicBool, AtomicU64, Mutex, Ordering::Relaxed},
    wire::id::RequestId,
};

/// `N` and `O` as in [`RequestTable`].
pub(crate) struct OutgoingRequests<N, O> {
    table: Mutex<RequestTable<N, O>>,
    /// How many settled requests nobody has taken. A driver sees what the one before it stored, because
    /// the driver lock lies between them.
    unread: AtomicU64,
    /// A request whose reply went straight into its caller's hands, or 0. Its slot is freed by whoever
    /// next works on the table. Set by the driver alone, and only when it is 0.
    in_hand: AtomicU64,
    /// Replies or cancels wait for room; the driver sends them when it comes.
    deferred: AtomicBool,
}

impl<N, O: Default> OutgoingRequests<N, O> {
    pub(crate) fn new(slots: u16) -> Self {
        Self {
            table: Mutex::new(RequestTable::new(slots, RequestId::FIRST_GENERATION)),
            unread: AtomicU64::new(0),
            in_hand: AtomicU64::new(0),
            deferred: AtomicBool::new(false),
        }
    }

    /// Works on the table.
    #[inline]
    pub(crate) fn work<R>(&self, work: impl FnOnce(&mut RequestTable<N, O>) -> R) -> R {
        let mut table = self.table.lock();
        // The id is all there is to it. Only one at a time takes it out, under the lock.
        if let Some(id) = RequestId::from_wire(self.in_hand.load(Relaxed)) {
            guarded!("OutgoingRequests::work: frees the hand", table.retract(id));
            self.in_hand.store(0, Relaxed);
        }
        let result = work(&mut table);
        if table.has_cancels() {
            // Under the lock: who is given the slot of a cancelled request sees this, and sends the
            // cancel first.
            guarded!("OutgoingRequests::work: deferred", self.deferred.store(true, Relaxed));
        }
        guarded!("OutgoingRequests::work: unread", self.unread.store(table.done() as u64, Relaxed));
        result
    }

    /// The driver's part: a request's reply is in its caller's hands. The table need not be locked for
    /// that now: its next user will see to it.
    #[inline]
    pub(crate) fn settled_in_hand(&self, id: RequestId) {
        if guarded!("OutgoingRequests::settled_in_hand: empty hand", self.in_hand.load(Relaxed) == 0, else true)
        {
            self.in_hand.store(id.to_wire(), Relaxed);
        } else {
            self.work(|table| table.retract(id));
        }
    }

    /// The driver's part: whether there may be a reply that nobody has taken.
    #[inline]
    pub(crate) fn has_unread(&self) -> bool {
        self.unread.load(Relaxed) != 0
    }

    /// A reply waits for room. Under the outbox's lock.
    pub(crate) fn defer(&self) {
        self.deferred.store(true, Relaxed);
    }

    /// Whether a reply or a cancel waits for room. Certain under the outbox's lock only.
    #[inline]
    pub(crate) fn has_deferred(&self) -> bool {
        self.deferred.load(Relaxed)
    }

    /// Sends the cancels that wait, behind the replies: then nothing is deferred any more. Under the
    /// outbox's lock.
    pub(crate) fn send_cancels<E>(
        &self,
        mut send: impl FnMut(RequestId) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut table = self.table.lock();
        while let Some(id) = table.next_cancel() {
            send(id)?;
            table.cancel_sent();
        }
        // Under the lock: a cancel that comes now raises it again.
        guarded!("OutgoingRequests::send_cancels: under the lock", self.deferred.store(false, Relaxed), else { drop(table); self.deferred.store(false, Relaxed); });
        Ok(())
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{WRONG, check};
    use crate::{
        primitives::{Arc, thread},
        wake::driver_lock::DriverLock,
    };

    fn pending(slots: u16) -> Arc<OutgoingRequests<(), u32>> {
        Arc::new(OutgoingRequests::new(slots))
    }

    /// The driver gets two replies straight into its hands, while another thread works on the table.
    #[test]
    fn loom_every_slot_is_freed_whose_reply_was_in_hand() {
        check(
            &[
                ("OutgoingRequests::settled_in_hand: empty hand", "a slot was lost"),
                ("OutgoingRequests::work: frees the hand", "a slot was lost"),
            ],
            || {
                let pending = pending(2);
                let ids = [(); 2].map(|()| pending.work(|table| table.begin(None)).unwrap());
                let other = thread::spawn({
                    let pending = pending.clone();
                    move || pending.work(|_| ())
                });
                for id in ids {
                    pending.settled_in_hand(id);
                }
                other.join().unwrap();
                assert_eq!(pending.work(|table| table.pending()), 0, "a slot was lost");
            },
        );
    }

    /// A driver stores another's reply and leaves the driver lock; who waits for that reply drives next.
    #[test]
    fn loom_the_next_driver_sees_what_the_last_one_stored() {
        check(
            &[("DriverGuard::drop: Release", WRONG), ("OutgoingRequests::work: unread", WRONG)],
            || {
                let shared = Arc::new((pending(1), DriverLock::new(AtomicBool::new(false))));
                let id = shared.0.work(|table| table.begin(None)).unwrap();
                let last = thread::spawn({
                    let shared = shared.clone();
                    move || {
                        let has_stored = shared.1.take();
                        shared.0.work(|table| table.settle(id, |_| ())).unwrap();
                        has_stored.store(true, Relaxed);
                    }
                });
                let (pending, driver_lock) = &*shared;
                {
                    let has_stored = driver_lock.take();
                    assert_eq!(has_stored.load(Relaxed), pending.has_unread());
                }
                last.join().unwrap();
            },
        );
    }

    /// A request is given up while another thread sends one, perhaps in the same slot.
    #[test]
    fn loom_a_cancel_is_sent_before_its_slot_is_used_again_and_never_forgotten() {
        check(
            &[
                ("OutgoingRequests::work: deferred", "the cancel comes first"),
                ("OutgoingRequests::send_cancels: under the lock", "the cancel comes first"),
            ],
            || {
                let pending = pending(1);
                let outbox = Arc::new(Mutex::new(Vec::new()));
                // A reply waits too, so that what is deferred is sent while the request is given up.
                pending.defer();
                let first = pending.work(|table| table.begin(None)).unwrap();
                let giving_up = thread::spawn({
                    let pending = pending.clone();
                    move || pending.work(|table| table.abandon(first))
                });
                let send_deferred = |outbox: &mut Vec<(&str, RequestId)>| {
                    if pending.has_deferred() {
                        pending
                            .send_cancels::<()>(|id| {
                                outbox.push(("cancel", id));
                                Ok(())
                            })
                            .unwrap();
                    }
                };
                {
                    let mut outbox = outbox.lock();
                    let begun = pending.work(|table| table.begin(None));
                    send_deferred(&mut outbox);
                    if let Ok(id) = begun {
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
}
