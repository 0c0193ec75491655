//! The outcome of a request, and the caller that waits for it.

use std::{
    cell::Cell,
    task::Waker,
    thread::Thread,
    time::{Duration, Instant},
};

use super::{
    Requests,
    table::{Expired, Stale},
};
use crate::{
    peer::large::body::Body, session::liveness::GoneReason, shm::aligned::AlignedBuf,
    wire::id::RequestId,
};

/// How to tell a caller that its request is settled.
pub(crate) enum Notify {
    Thread(Thread),
    Waker(Waker),
    /// Runs on the driver's thread.
    Callback(Box<dyn FnOnce() + Send>),
}

/// How an invoke failed other than by its handler's own error: the flags of a `Fail` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FailCode {
    NoHandler = 1,
    Panicked = 2,
    ReplyNeverSent = 3,
    BadArguments = 4,
    ReplyFailed = 5,
    QuotaReached = 6,
    Rejected = 7,
}

impl FailCode {
    /// Reads a code. One of a newer build is read as [`FailCode::ReplyFailed`].
    pub(crate) fn from_wire(code: u8) -> Self {
        use FailCode::*;
        [NoHandler, Panicked, ReplyNeverSent, BadArguments, QuotaReached, Rejected]
            .into_iter()
            .find(|known| *known as u8 == code)
            .unwrap_or(ReplyFailed)
    }
}

/// How a request ended, without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    #[default]
    Reply,
    /// The handler's own error.
    Reject,
    /// A [`FailCode`]; the bytes are a text.
    Fail(u8),
    TimedOut(Duration),
    Gone(GoneReason),
}

/// The bytes of a reply of the peer.
pub(in crate::peer) enum ReplyBytes<'a> {
    InBand(&'a [u8]),
    Attached(Body),
}

impl ReplyBytes<'_> {
    #[inline]
    pub(in crate::peer) fn as_slice(&self) -> &[u8] {
        match self {
            Self::InBand(bytes) => bytes,
            Self::Attached(body) => body,
        }
    }
}

/// An outcome that waits to be taken.
#[derive(Default)]
pub(crate) struct Outcome {
    ending: Ending,
    bytes: AlignedBuf,
    /// The bytes, if they were attached.
    attached: Option<Body>,
}

impl Outcome {
    fn bytes(&self) -> &[u8] {
        self.attached.as_deref().unwrap_or(self.bytes.as_slice())
    }
}

thread_local! {
    /// The outcome that this thread took last. Its buffer goes to the slot of the next one that the
    /// thread takes, so a stored reply allocates nothing.
    static LAST_TAKEN: Cell<Outcome> = Cell::default();
}

/// The requests of one session.
pub(crate) type SessionRequests = Requests<Notify, Outcome>;

/// The request whose reply the driving thread itself waits for.
pub(crate) struct Awaited<'a> {
    pub(in crate::peer) requests: &'a SessionRequests,
    pub(in crate::peer) id: RequestId,
    /// Takes the outcome; called once at most.
    pub(in crate::peer) take: &'a mut dyn FnMut(&Ending, &[u8]),
    pub(crate) settled: bool,
}

impl Awaited<'_> {
    /// Takes the outcome if it was stored: by an earlier driver, at the deadline, or at the end of the
    /// session.
    #[inline]
    pub(crate) fn take_stored(&mut self) {
        if !self.settled && self.requests.has_unread() {
            let taken = self.requests.take(self.id, |ending, bytes| (self.take)(ending, bytes));
            self.settled = taken.is_some();
        }
    }
}

impl SessionRequests {
    /// Hands the outcome of a request to the driving thread, if that waits for it.
    #[inline]
    pub(in crate::peer) fn hand_over(
        &self,
        id: RequestId,
        ending: &Ending,
        bytes: &[u8],
        awaited: Option<&mut Awaited<'_>>,
    ) -> bool {
        let Some(awaited) = awaited else { return false };
        if awaited.settled || awaited.id != id || !std::ptr::eq(awaited.requests, self) {
            return false;
        }
        (awaited.take)(ending, bytes);
        awaited.settled = true;
        self.settled_in_hand(id);
        true
    }

    /// Stores the outcome of a request. Returns the caller to notify.
    pub(in crate::peer) fn store(
        &self,
        id: RequestId,
        ending: &Ending,
        reply: ReplyBytes<'_>,
    ) -> Result<Option<Notify>, Stale> {
        self.work(|table| {
            table.settle(id, |outcome| {
                outcome.ending.clone_from(ending);
                match reply {
                    ReplyBytes::InBand(bytes) => outcome.bytes.fill(bytes),
                    ReplyBytes::Attached(body) => outcome.attached = Some(body.into_kept()),
                }
            })
        })
    }

    /// Takes a settled request's outcome, which `take` reads without the lock. `None`: it is still
    /// pending.
    pub(in crate::peer) fn take<T>(
        &self,
        id: RequestId,
        take: impl FnOnce(&Ending, &[u8]) -> T,
    ) -> Option<T> {
        // There is none in a destructor at the thread's end.
        let mut outcome = LAST_TAKEN.try_with(Cell::take).unwrap_or_default();
        let is_settled = self
            .work(|table| table.take(id, &mut outcome))
            .expect("an invocation's slot is its own until it is taken");
        let taken = is_settled.then(|| take(&outcome.ending, outcome.bytes()));
        outcome.attached = None;
        let _ = LAST_TAKEN.try_with(|last| last.set(outcome));
        taken
    }

    /// Registers the caller to notify. `Err`: the request is settled already, and the caller comes back.
    pub(in crate::peer) fn notify(&self, id: RequestId, caller: Notify) -> Result<(), Notify> {
        let replaced = self.work(|table| table.notify(id, caller))?;
        // Without the lock: a waker is the application's.
        drop(replaced);
        Ok(())
    }

    /// Gives a request up, unless its outcome was taken. Returns whether cancels wait to be sent.
    pub(in crate::peer) fn abandon(&self, id: RequestId) -> bool {
        // Dropped without the lock.
        let mut outcome = Outcome::default();
        let (_caller, cancels_wait) = self.work(|table| {
            let is_taken = table.take(id, &mut outcome) == Ok(true);
            let caller = if is_taken { None } else { table.abandon(id) };
            (caller, table.next_cancel().is_some())
        });
        cancels_wait
    }

    /// Settles what is overdue at `now`.
    pub(in crate::peer) fn expire(&self, now: Instant) -> Expired<Notify> {
        self.look_at_deadlines(|table| {
            table.expire(now, |outcome, timeout| {
                outcome.ending = Ending::TimedOut(timeout);
                outcome.bytes.clear();
            })
        })
    }

    /// Settles everything that is pending, and begins nothing any more. Returns the callers to notify.
    pub(in crate::peer) fn close(&self, reason: &GoneReason) -> Vec<Notify> {
        self.work(|table| {
            table.close(|outcome| {
                outcome.ending = Ending::Gone(reason.clone());
                outcome.bytes.clear();
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A value of an application whose destructor comes back to the requests.
    struct ComesBack(Arc<SessionRequests>);

    impl Drop for ComesBack {
        fn drop(&mut self) {
            self.0.work(|_| ());
        }
    }

    fn requests() -> (Arc<SessionRequests>, RequestId) {
        let requests = Arc::new(SessionRequests::new(1));
        let id = requests.work(|table| table.begin()).unwrap();
        (requests, id)
    }

    #[test]
    fn an_outcome_is_read_without_the_lock() {
        let (requests, id) = requests();
        assert!(requests.store(id, &Ending::Reply, ReplyBytes::InBand(b"reply")).is_ok());
        let read = |_: &Ending, bytes: &[u8]| (bytes.to_vec(), requests.work(|table| table.done()));
        assert_eq!(requests.take(id, read), Some((b"reply".to_vec(), 0)));
    }

    #[test]
    fn a_caller_is_dropped_without_the_lock() {
        let (requests, first) = requests();
        let register = |id| {
            let value = ComesBack(requests.clone());
            assert!(requests.notify(id, Notify::Callback(Box::new(move || drop(value)))).is_ok());
        };
        register(first);
        // In place of the first caller.
        register(first);
        assert!(requests.abandon(first));
        let second = requests.work(|table| table.begin()).unwrap();
        register(second);
        requests.settled_in_hand(second);
        assert_eq!(requests.work(|table| table.pending()), 0, "the hand is freed");
    }
}
