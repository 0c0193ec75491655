//! The slots of the requests that this process has sent and that are not answered yet.
//!
//! A request's id carries its slot's *generation*, so a late, repeated or forged reply cannot settle
//! the next request in the slot:
//!
//! ```text
//!            begin              settle                        take
//!   Free ───────────▶ Pending ───────────▶ Done(outcome) ───────────▶ Free, next generation
//!                        │  ▲ expire, close settle too
//!                        └── abandon ──────────────────────▶ Free, next generation
//! ```
//!
//! A request is settled once. One that ends early, by its time-out or because its caller dropped it,
//! leaves its id in the list of cancels, which is sent when there is room. The table knows no ring,
//! thread or clock: time is an argument. [`RequestTable::new`] allocates all memory.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{model::guarded, wire::id::RequestId};

/// An error: no request with this id waits. It was settled, given up, or never existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale;

/// The requests that [`RequestTable::expire`] ended.
#[derive(Debug)]
pub(crate) struct Expired<N> {
    pub(crate) count: usize,
    pub(crate) notify: Vec<N>,
    /// The earliest deadline of the others.
    pub(crate) next: Option<Instant>,
}

enum RequestState<N> {
    Free { next: Option<u16> },
    Pending { notify: Option<N>, timeout: Option<Duration>, deadline: Option<Instant> },
    Done,
}

struct RequestSlot<N, O> {
    generation: u64,
    state: RequestState<N>,
    outcome: O,
}

/// `N` notifies the caller of a request, `O` is its outcome.
pub(crate) struct RequestTable<N, O> {
    slots: Box<[RequestSlot<N, O>]>,
    free: Option<u16>,
    pending: usize,
    /// Pending requests with a time-out.
    timed: usize,
    done: usize,
    /// Requests whose handlers must be told to stop. Cancels are sent before any further request, so
    /// there are never more than slots.
    cancels: VecDeque<RequestId>,
    closed: bool,
}

impl<N, O: Default> RequestTable<N, O> {
    pub(crate) fn new(slots: u16, generation: u64) -> Self {
        let slot = |index: u16| RequestSlot {
            generation,
            state: RequestState::Free { next: (index + 1 < slots).then_some(index + 1) },
            outcome: O::default(),
        };
        Self {
            slots: (0..slots).map(slot).collect(),
            free: (slots > 0).then_some(0),
            pending: 0,
            timed: 0,
            done: 0,
            cancels: VecDeque::with_capacity(usize::from(slots)),
            closed: false,
        }
    }

    /// The requests that are not settled.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// The requests that are settled and not taken.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Takes a slot. `None`: all slots are in use, or the table is closed.
    pub(crate) fn begin(&mut self) -> Option<RequestId> {
        if self.closed {
            return None;
        }
        let index = self.free?;
        let slot = &mut self.slots[usize::from(index)];
        let begun = RequestState::Pending { notify: None, timeout: None, deadline: None };
        if let RequestState::Free { next } = std::mem::replace(&mut slot.state, begun) {
            self.free = next;
        }
        self.pending += 1;
        Some(RequestId::new(slot.generation, index))
    }

    /// Sets the time-out of a request, unless it is settled. The next [`expire`](Self::expire) turns
    /// it into a deadline, so a request that is answered at once reads no clock.
    pub(crate) fn set_timeout(&mut self, id: RequestId, new: Option<Duration>) {
        let Ok(slot) = self.slot(id) else { return };
        if let RequestState::Pending { timeout, .. } = &mut slot.state {
            debug_assert!(timeout.is_none(), "a time-out is set once");
            *timeout = new;
            self.timed += usize::from(new.is_some());
        }
    }

    /// Settles a pending request: `fill` writes the outcome. Returns the caller to notify, if it asked
    /// for that.
    pub(crate) fn settle(
        &mut self,
        id: RequestId,
        fill: impl FnOnce(&mut O),
    ) -> Result<Option<N>, Stale> {
        let slot = self.slot(id)?;
        let RequestState::Pending { notify, timeout, .. } = &mut slot.state else {
            return Err(Stale);
        };
        let (notify, timed) = (notify.take(), timeout.is_some());
        fill(&mut slot.outcome);
        slot.state = RequestState::Done;
        self.pending -= 1;
        self.timed -= usize::from(timed);
        self.done += 1;
        Ok(notify)
    }

    /// Registers the caller to notify, and returns the one before. `Err`: the request is settled
    /// already, and `caller` comes back.
    pub(crate) fn notify(&mut self, id: RequestId, caller: N) -> Result<Option<N>, N> {
        match self.slot(id).map(|slot| &mut slot.state) {
            Ok(RequestState::Pending { notify, .. }) => Ok(notify.replace(caller)),
            _ => guarded!("RequestTable::notify: too late", Err(caller), else Ok(Some(caller))),
        }
    }

    /// Exchanges the outcome of a settled request for `outcome`, whose buffer stays with the slot, and
    /// frees the slot. `false`: it is still pending.
    pub(crate) fn take(&mut self, id: RequestId, outcome: &mut O) -> Result<bool, Stale> {
        let slot = self.slot(id)?;
        match slot.state {
            RequestState::Pending { .. } => Ok(false),
            RequestState::Free { .. } => Err(Stale),
            RequestState::Done => {
                std::mem::swap(&mut slot.outcome, outcome);
                self.retract(id);
                Ok(true)
            }
        }
    }

    /// Gives a request up, and returns the caller that is not to be notified any more. If the request
    /// was pending, its handler is to be told.
    pub(crate) fn abandon(&mut self, id: RequestId) -> Option<N> {
        let slot = self.slot(id).ok()?;
        if matches!(slot.state, RequestState::Pending { .. }) {
            self.cancels.push_back(id);
        }
        self.retract(id)
    }

    /// Frees the slot of a request without a cancel: its outcome is in its caller's hands. Returns the
    /// caller, if it was to be notified.
    pub(crate) fn retract(&mut self, id: RequestId) -> Option<N> {
        let next = self.free;
        let slot = self.slot(id).ok()?;
        if matches!(slot.state, RequestState::Free { .. }) {
            return None;
        }
        slot.generation = RequestId::next_generation(slot.generation);
        let state = std::mem::replace(&mut slot.state, RequestState::Free { next });
        self.free = Some(id.slot());
        let RequestState::Pending { notify, timeout, .. } = state else {
            self.done -= 1;
            return None;
        };
        self.pending -= 1;
        self.timed -= usize::from(timeout.is_some());
        notify
    }

    /// Settles with `fill` the requests whose deadline has passed at `now`, and sets the deadlines of
    /// the requests that began since the last call.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        mut fill: impl FnMut(&mut O, Duration),
    ) -> Expired<N> {
        let mut expired = Expired { count: 0, notify: Vec::new(), next: None };
        if self.timed == 0 {
            return expired;
        }
        for (index, slot) in (0..).zip(self.slots.iter_mut()) {
            let RequestState::Pending { notify, timeout: Some(timeout), deadline } =
                &mut slot.state
            else {
                continue;
            };
            // A deadline beyond what the clock can express is none.
            let Some(at) = deadline.or_else(|| now.checked_add(*timeout)) else { continue };
            if at > now {
                *deadline = Some(at);
                expired.next = Some(expired.next.map_or(at, |next| next.min(at)));
                continue;
            }
            expired.count += 1;
            expired.notify.extend(notify.take());
            fill(&mut slot.outcome, *timeout);
            slot.state = RequestState::Done;
            self.cancels.push_back(RequestId::new(slot.generation, index));
        }
        self.pending -= expired.count;
        self.timed -= expired.count;
        self.done += expired.count;
        expired
    }

    /// Settles every pending request with `fill`, and begins none any more: the peer is gone. Returns
    /// the callers to notify.
    pub(crate) fn close(&mut self, mut fill: impl FnMut(&mut O)) -> Vec<N> {
        let mut waiting = Vec::new();
        for slot in &mut self.slots {
            if let RequestState::Pending { notify, .. } = &mut slot.state {
                waiting.extend(notify.take());
                fill(&mut slot.outcome);
                slot.state = RequestState::Done;
            }
        }
        self.done += self.pending;
        self.pending = 0;
        self.timed = 0;
        self.cancels.clear();
        self.closed = true;
        waiting
    }

    /// Returns the next request to cancel; it stays in the list until
    /// [`cancel_sent`](Self::cancel_sent).
    pub(crate) fn next_cancel(&self) -> Option<RequestId> {
        self.cancels.front().copied()
    }

    /// Takes the cancel that [`next_cancel`](Self::next_cancel) returned off the list.
    pub(crate) fn cancel_sent(&mut self) {
        self.cancels.pop_front();
    }

    fn slot(&mut self, id: RequestId) -> Result<&mut RequestSlot<N, O>, Stale> {
        self.slots
            .get_mut(usize::from(id.slot()))
            .filter(|slot| guarded!("RequestTable::slot: generation", slot.generation == id.generation(), else true))
            .ok_or(Stale)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Table = RequestTable<&'static str, u32>;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn taken(table: &mut Table, id: RequestId) -> Result<Option<u32>, Stale> {
        let mut outcome = 0;
        Ok(table.take(id, &mut outcome)?.then_some(outcome))
    }

    #[test]
    fn a_late_reply_is_stale_even_when_its_slot_is_in_use_again() {
        let mut table = Table::new(1, 1);
        let now = Instant::now();
        let first = table.begin().unwrap();
        table.set_timeout(first, Some(TIMEOUT));
        assert_eq!(table.begin(), None);
        table.expire(now, |_, _| unreachable!("the first look sets the deadline"));
        table.expire(now + TIMEOUT, |outcome, _| *outcome = 7);
        assert_eq!(taken(&mut table, first), Ok(Some(7)));

        let second = table.begin().unwrap();
        assert_eq!(table.settle(first, |_| ()), Err(Stale));
        assert_eq!(table.settle(second, |outcome| *outcome = 9), Ok(None));
        assert_eq!(taken(&mut table, second), Ok(Some(9)));
    }

    #[test]
    fn a_second_reply_is_stale() {
        let mut table = Table::new(2, 1);
        let id = table.begin().unwrap();
        assert_eq!(table.settle(id, |_| ()), Ok(None));
        assert_eq!(table.settle(id, |_| ()), Err(Stale));
        table.retract(id);
        assert_eq!(table.settle(id, |_| ()), Err(Stale));
        assert_eq!((table.pending(), table.done()), (0, 0));
    }

    #[test]
    fn a_forged_slot_is_stale() {
        let mut table = Table::new(1, 1);
        let forged = RequestId::new(1, 9);
        assert_eq!(table.settle(forged, |_| ()), Err(Stale));
    }

    #[test]
    fn a_caller_that_asked_for_it_is_notified_once() {
        let mut table = Table::new(1, 1);
        let id = table.begin().unwrap();
        assert_eq!(table.notify(id, "first"), Ok(None));
        assert_eq!(table.notify(id, "waiter"), Ok(Some("first")));
        assert_eq!(table.settle(id, |_| ()), Ok(Some("waiter")));
        assert_eq!(table.notify(id, "too late"), Err("too late"));
    }

    #[test]
    fn an_abandoned_request_is_cancelled_only_if_it_was_pending() {
        let mut table = Table::new(2, 1);
        let pending = table.begin().unwrap();
        let settled = table.begin().unwrap();
        table.settle(settled, |_| ()).unwrap();
        table.abandon(settled);
        table.abandon(pending);
        assert_eq!(table.next_cancel(), Some(pending));
        table.cancel_sent();
        assert_eq!(table.next_cancel(), None);
        assert_eq!(table.pending(), 0);
    }

    #[test]
    fn a_time_out_is_set_after_the_beginning_and_not_after_the_end() {
        let mut table = Table::new(2, 1);
        let now = Instant::now();
        let (late, settled) = (table.begin().unwrap(), table.begin().unwrap());
        table.settle(settled, |_| ()).unwrap();
        table.set_timeout(late, Some(TIMEOUT));
        table.set_timeout(settled, Some(TIMEOUT));
        assert_eq!(table.expire(now, |_, _| ()).next, Some(now + TIMEOUT));
        let expired = table.expire(now + TIMEOUT, |outcome, _| *outcome = 7);
        assert_eq!((expired.count, expired.next), (1, None));
        assert_eq!(taken(&mut table, late), Ok(Some(7)));
    }

    #[test]
    fn the_generation_wraps_past_zero() {
        let last = (1 << 48) - 1;
        let mut table = Table::new(1, last);
        let id = table.begin().unwrap();
        assert_eq!(id.generation(), last);
        table.abandon(id);
        assert_eq!(table.begin().unwrap().generation(), 1);
    }

    #[test]
    fn every_pending_request_fails_when_the_peer_goes() {
        let mut table = Table::new(3, 1);
        let ids: Vec<_> = (0..3).map(|_| table.begin().unwrap()).collect();
        table.notify(ids[1], "waiter").unwrap();
        assert_eq!(table.close(|outcome| *outcome = 1), ["waiter"]);
        for id in ids {
            assert_eq!(taken(&mut table, id), Ok(Some(1)));
        }
        assert_eq!(table.begin(), None, "none begins after the end");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, WRONG, check};
    use crate::primitives::{Arc, Mutex, thread};

    /// A caller registers and sleeps while a driver settles its request. The model deadlocks if the
    /// caller can sleep although the request is settled.
    #[test]
    fn loom_a_caller_never_sleeps_beside_its_reply() {
        check(&[("RequestTable::notify: too late", DEADLOCK)], || {
            let table = Arc::new(Mutex::new(RequestTable::<thread::Thread, u32>::new(1, 1)));
            let id = table.lock().begin().unwrap();
            let driver = thread::spawn({
                let table = table.clone();
                move || {
                    let caller = table.lock().settle(id, |outcome| *outcome = 7);
                    if let Some(caller) = caller.unwrap() {
                        caller.unpark();
                    }
                }
            });
            let me = thread::current();
            while table.lock().notify(id, me.clone()).is_ok() {
                thread::park();
            }
            let mut outcome = 0;
            assert_eq!(table.lock().take(id, &mut outcome), Ok(true));
            assert_eq!(outcome, 7);
            driver.join().unwrap();
        });
    }

    /// A reply, its repetition and the caller's `abandon` come in any order. At most one settles the
    /// request, and none touches the next request in the slot.
    #[test]
    fn loom_a_request_is_settled_once_and_its_successor_by_neither() {
        check(&[("RequestTable::slot: generation", WRONG)], || {
            let table = Arc::new(Mutex::new(RequestTable::<(), u32>::new(1, 1)));
            let id = table.lock().begin().unwrap();
            let settlers: Vec<_> = (0..2)
                .map(|_| {
                    let table = table.clone();
                    thread::spawn(move || table.lock().settle(id, |_| ()).is_ok())
                })
                .collect();
            table.lock().abandon(id);
            let successor = table.lock().begin().unwrap();
            let settled = settlers.into_iter().map(|settler| settler.join().unwrap());
            assert!(settled.filter(|settled| *settled).count() <= 1);
            assert_eq!(table.lock().take(successor, &mut 0), Ok(false));
        });
    }
}
