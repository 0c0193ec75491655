//! The requests that this process has sent and not yet got an answer to.
//!
//! A fixed number of slots, each used again and again; a request's id carries the slot's
//! *generation*, so that a late, repeated or forged reply cannot settle the next request in the slot:
//!
//! ```text
//!            begin              settle                        take
//!   Free ───────────▶ Pending ───────────▶ Done(outcome) ───────────▶ Free, next generation
//!                        │  ▲ expire, fail_all settle too
//!                        └── abandon ──────────────────────▶ Free, next generation
//! ```
//!
//! A request is settled once. Whoever gives one up before that (time-out, dropped) leaves its id
//! in the list of cancels, which is sent to the other side when there is room.
//!
//! The table knows nothing of rings, threads or clocks: time is an argument. What a slot keeps of an
//! outcome (`O`) stays with the slot, so that its buffer is used again. Memory is fixed by
//! [`RequestTable::new`].

use crate::model::guarded;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::wire::id::RequestId;

/// All slots are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPending;

/// No request by that id is waiting: it was settled, given up, or never existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale(pub(crate) RequestId);

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

/// `N` is whom to notify when a request is settled, `O` what is kept of its outcome.
pub(crate) struct RequestTable<N, O> {
    slots: Box<[RequestSlot<N, O>]>,
    free: Option<u16>,
    pending: usize,
    /// How many of the pending ones have a time-out.
    timed: usize,
    done: usize,
    /// Ids whose handlers are to be told to stop. Bounded by the slots: see [`Self::has_cancels`].
    cancels: VecDeque<RequestId>,
}

impl<N, O: Default> RequestTable<N, O> {
    /// A table of `slots` slots whose generations begin at `generation`.
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
        }
    }

    /// How many are pending: sent and not settled.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// How many are settled and not taken.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Takes a slot. The deadline is set at the first [`expire`](Self::expire) from now on, so that
    /// no clock is read for a request that is answered at once.
    pub(crate) fn begin(&mut self, timeout: Option<Duration>) -> Result<RequestId, TooManyPending> {
        let index = self.free.ok_or(TooManyPending)?;
        let slot = &mut self.slots[usize::from(index)];
        if let RequestState::Free { next } = slot.state {
            self.free = next;
        }
        slot.state = RequestState::Pending { notify: None, timeout, deadline: None };
        self.pending += 1;
        self.timed += usize::from(timeout.is_some());
        Ok(RequestId::new(slot.generation, index))
    }

    /// Gives a request that began without one its time-out. One that was settled meanwhile is left
    /// alone.
    pub(crate) fn set_timeout(&mut self, id: RequestId, new: Option<Duration>) {
        let Ok(slot) = self.slot(id) else { return };
        if let RequestState::Pending { timeout, .. } = &mut slot.state {
            debug_assert!(timeout.is_none(), "a time-out is set once");
            *timeout = new;
            self.timed += usize::from(new.is_some());
        }
    }

    /// Settles a pending request: `fill` writes the outcome. Returns whom to notify, if anyone has
    /// asked to be.
    pub(crate) fn settle(
        &mut self,
        id: RequestId,
        fill: impl FnOnce(&mut O),
    ) -> Result<Option<N>, Stale> {
        let slot = self.slot(id)?;
        let RequestState::Pending { notify, timeout, .. } = &mut slot.state else {
            return Err(Stale(id));
        };
        let (notify, timed) = (notify.take(), timeout.is_some());
        fill(&mut slot.outcome);
        slot.state = RequestState::Done;
        self.no_longer_pending(timed);
        self.done += 1;
        Ok(notify)
    }

    /// Registers whom to notify, in place of who was registered before. `false`: it is settled already,
    /// and `who` was not asked.
    pub(crate) fn notify(&mut self, id: RequestId, who: impl FnOnce() -> N) -> Result<bool, Stale> {
        match &mut self.slot(id)?.state {
            RequestState::Pending { notify, .. } => {
                *notify = Some(who());
                Ok(true)
            }
            RequestState::Done => {
                guarded!("RequestTable::notify: too late", Ok(false), else Ok(true))
            }
            RequestState::Free { .. } => Err(Stale(id)),
        }
    }

    /// Takes the outcome of a settled request and frees its slot. `None`: it is still pending.
    pub(crate) fn take<R>(
        &mut self,
        id: RequestId,
        read: impl FnOnce(&mut O) -> R,
    ) -> Result<Option<R>, Stale> {
        let slot = self.slot(id)?;
        match slot.state {
            RequestState::Pending { .. } => Ok(None),
            RequestState::Free { .. } => Err(Stale(id)),
            RequestState::Done => {
                let result = read(&mut slot.outcome);
                self.done -= 1;
                self.release(id);
                Ok(Some(result))
            }
        }
    }

    /// Gives a request up, settled or not; one that was taken is left alone. One that was still pending is to be cancelled.
    pub(crate) fn abandon(&mut self, id: RequestId) {
        let Ok(slot) = self.slot(id) else { return };
        match slot.state {
            RequestState::Free { .. } => return,
            RequestState::Pending { timeout, .. } => {
                self.no_longer_pending(timeout.is_some());
                self.cancels.push_back(id);
            }
            RequestState::Done => self.done -= 1,
        }
        self.release(id);
    }

    /// Frees the slot of a request that nobody has to hear of any more: it was never sent, or its
    /// outcome is in its caller's hands. Nothing is to be cancelled.
    pub(crate) fn retract(&mut self, id: RequestId) {
        let Ok(slot) = self.slot(id) else { return };
        match slot.state {
            RequestState::Free { .. } => return,
            RequestState::Pending { timeout, .. } => self.no_longer_pending(timeout.is_some()),
            // The session ended, or the deadline passed, just before.
            RequestState::Done => self.done -= 1,
        }
        self.release(id);
    }

    /// Settles what is overdue at `now` with `fill`, and sets the deadlines of what began since the
    /// last call. Returns whom to notify.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        mut fill: impl FnMut(&mut O, Duration),
    ) -> Vec<N> {
        let mut overdue = Vec::new();
        if self.timed == 0 {
            return overdue;
        }
        for (index, slot) in (0..).zip(self.slots.iter_mut()) {
            let RequestState::Pending { notify, timeout: Some(timeout), deadline } =
                &mut slot.state
            else {
                continue;
            };
            // A deadline beyond what the clock can express is none.
            let Some(deadline) = deadline.or_else(|| now.checked_add(*timeout)) else { continue };
            if deadline > now {
                if let RequestState::Pending { deadline: kept, .. } = &mut slot.state {
                    *kept = Some(deadline);
                }
                continue;
            }
            overdue.extend(notify.take());
            fill(&mut slot.outcome, *timeout);
            slot.state = RequestState::Done;
            self.pending -= 1;
            self.timed -= 1;
            self.done += 1;
            self.cancels.push_back(RequestId::new(slot.generation, index));
        }
        overdue
    }

    /// The earliest deadline, as far as [`expire`](Self::expire) has set them.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.timed == 0 {
            return None;
        }
        let deadline = |slot: &RequestSlot<N, O>| match slot.state {
            RequestState::Pending { deadline, .. } => deadline,
            _ => None,
        };
        self.slots.iter().filter_map(deadline).min()
    }

    /// Settles everything that is pending: the peer is gone. Returns whom to notify.
    pub(crate) fn fail_all(&mut self, mut fill: impl FnMut(&mut O)) -> Vec<N> {
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
        waiting
    }

    /// Whether ids wait to be cancelled. They are sent before any further request, so that there are
    /// never more of them than there are slots.
    pub(crate) fn has_cancels(&self) -> bool {
        !self.cancels.is_empty()
    }

    /// The next id to cancel; it stays in the list until [`cancel_sent`](Self::cancel_sent).
    pub(crate) fn next_cancel(&self) -> Option<RequestId> {
        self.cancels.front().copied()
    }

    /// The id from [`next_cancel`](Self::next_cancel) is on its way.
    pub(crate) fn cancel_sent(&mut self) {
        self.cancels.pop_front();
    }

    fn no_longer_pending(&mut self, timed: bool) {
        self.pending -= 1;
        self.timed -= usize::from(timed);
    }

    fn slot(&mut self, id: RequestId) -> Result<&mut RequestSlot<N, O>, Stale> {
        self.slots
            .get_mut(usize::from(id.slot()))
            .filter(|slot| guarded!("RequestTable::slot: generation", slot.generation == id.generation(), else true))
            .ok_or(Stale(id))
    }

    fn release(&mut self, id: RequestId) {
        let slot = &mut self.slots[usize::from(id.slot())];
        slot.generation = RequestId::next_generation(slot.generation);
        slot.state = RequestState::Free { next: self.free };
        self.free = Some(id.slot());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Table = RequestTable<&'static str, u32>;

    const TIMEOUT: Duration = Duration::from_secs(1);

    #[test]
    fn a_late_reply_is_stale_even_when_its_slot_is_in_use_again() {
        let mut table = Table::new(1, 1);
        let now = Instant::now();
        let first = table.begin(Some(TIMEOUT)).unwrap();
        assert_eq!(table.begin(None), Err(TooManyPending));
        table.expire(now, |_, _| unreachable!("the first look sets the deadline"));
        table.expire(now + TIMEOUT, |outcome, _| *outcome = 7);
        assert_eq!(table.take(first, |outcome| *outcome), Ok(Some(7)));

        let second = table.begin(None).unwrap();
        assert_eq!(table.settle(first, |_| ()), Err(Stale(first)));
        assert_eq!(table.settle(second, |outcome| *outcome = 9), Ok(None));
        assert_eq!(table.take(second, |outcome| *outcome), Ok(Some(9)));
    }

    #[test]
    fn a_second_reply_is_stale() {
        let mut table = Table::new(2, 1);
        let id = table.begin(None).unwrap();
        assert_eq!(table.settle(id, |_| ()), Ok(None));
        assert_eq!(table.settle(id, |_| ()), Err(Stale(id)));
        table.retract(id);
        assert_eq!(table.settle(id, |_| ()), Err(Stale(id)));
        assert_eq!((table.pending(), table.done()), (0, 0));
    }

    #[test]
    fn a_forged_slot_is_stale() {
        let mut table = Table::new(1, 1);
        let forged = RequestId::new(1, 9);
        assert_eq!(table.settle(forged, |_| ()), Err(Stale(forged)));
    }

    #[test]
    fn who_asked_to_be_notified_is_returned_once() {
        let mut table = Table::new(1, 1);
        let id = table.begin(None).unwrap();
        assert_eq!(table.notify(id, || "waiter"), Ok(true));
        assert_eq!(table.settle(id, |_| ()), Ok(Some("waiter")));
        assert_eq!(table.notify(id, || "too late"), Ok(false));
    }

    #[test]
    fn giving_up_a_pending_request_cancels_it_and_a_settled_one_not() {
        let mut table = Table::new(2, 1);
        let pending = table.begin(None).unwrap();
        let settled = table.begin(None).unwrap();
        table.settle(settled, |_| ()).unwrap();
        table.abandon(settled);
        table.abandon(pending);
        assert_eq!(table.next_cancel(), Some(pending));
        table.cancel_sent();
        assert!(!table.has_cancels());
        assert_eq!(table.pending(), 0);
    }

    #[test]
    fn a_time_out_may_come_after_the_beginning_and_not_after_the_end() {
        let mut table = Table::new(2, 1);
        let now = Instant::now();
        let (late, settled) = (table.begin(None).unwrap(), table.begin(None).unwrap());
        table.settle(settled, |_| ()).unwrap();
        table.set_timeout(late, Some(TIMEOUT));
        table.set_timeout(settled, Some(TIMEOUT));
        table.expire(now, |_, _| ());
        assert_eq!(table.next_deadline(), Some(now + TIMEOUT));
        table.expire(now + TIMEOUT, |outcome, _| *outcome = 7);
        assert_eq!(table.take(late, |outcome| *outcome), Ok(Some(7)));
        assert_eq!(table.next_deadline(), None);
    }

    #[test]
    fn the_generation_wraps_past_zero() {
        let last = (1 << 48) - 1;
        let mut table = Table::new(1, last);
        let id = table.begin(None).unwrap();
        assert_eq!(id.generation(), last);
        table.abandon(id);
        assert_eq!(table.begin(None).unwrap().generation(), 1);
    }

    #[test]
    fn every_pending_request_fails_when_the_peer_goes() {
        let mut table = Table::new(3, 1);
        let ids: Vec<_> = (0..3).map(|_| table.begin(None).unwrap()).collect();
        table.notify(ids[1], || "waiter").unwrap();
        assert_eq!(table.fail_all(|outcome| *outcome = 1), ["waiter"]);
        for id in ids {
            assert_eq!(table.take(id, |outcome| *outcome), Ok(Some(1)));
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, WRONG, check};
    use crate::primitives::{Arc, Mutex, thread};

    /// A caller that asks to be told and sleeps, against a driver that settles: the model deadlocks
    /// if the caller can sleep beside a settled request.
    #[test]
    fn loom_a_caller_never_sleeps_beside_its_reply() {
        check(&[("RequestTable::notify: too late", DEADLOCK)], || {
            let table = Arc::new(Mutex::new(RequestTable::<thread::Thread, u32>::new(1, 1)));
            let id = table.lock().begin(None).unwrap();
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
            while table.lock().notify(id, || me.clone()) == Ok(true) {
                thread::park();
            }
            let outcome = table.lock().take(id, |outcome| *outcome);
            assert_eq!(outcome, Ok(Some(7)));
            driver.join().unwrap();
        });
    }

    /// A reply, its repetition and the caller's giving up, in any order: at most one settles the
    /// request, and none touches the one that uses the slot next.
    #[test]
    fn loom_a_request_is_settled_once_and_its_successor_by_neither() {
        check(&[("RequestTable::slot: generation", WRONG)], || {
            let table = Arc::new(Mutex::new(RequestTable::<(), u32>::new(1, 1)));
            let id = table.lock().begin(None).unwrap();
            let settlers: Vec<_> = (0..2)
                .map(|_| {
                    let table = table.clone();
                    thread::spawn(move || table.lock().settle(id, |_| ()).is_ok())
                })
                .collect();
            table.lock().abandon(id);
            let successor = table.lock().begin(None).unwrap();
            let settled = settlers.into_iter().map(|settler| settler.join().unwrap());
            assert!(settled.filter(|settled| *settled).count() <= 1);
            assert_eq!(table.lock().take(successor, |_| ()), Ok(None));
        });
    }
}
