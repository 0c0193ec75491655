//! The outcome of a request, and the caller that waits for it.

use std::{
    task::Waker,
    thread::Thread,
    time::{Duration, Instant},
};

use super::{Expired, Requests, Stale};
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
        match code {
            1 => Self::NoHandler,
            2 => Self::Panicked,
            3 => Self::ReplyNeverSent,
            4 => Self::BadArguments,
            6 => Self::QuotaReached,
            7 => Self::Rejected,
            _ => Self::ReplyFailed,
        }
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

/// An outcome that waits to be taken. It stays with its slot, so its buffer is used again.
#[derive(Default)]
pub(crate) struct Outcome {
    ending: Ending,
    bytes: AlignedBuf,
    /// The bytes, if they were attached. Dropped when they are taken.
    attached: Option<Body>,
}

impl Outcome {
    pub(in crate::peer) fn set(&mut self, ending: &Ending, bytes: &[u8]) {
        self.ending.clone_from(ending);
        self.bytes.fill(bytes);
        self.attached = None;
    }

    pub(in crate::peer) fn set_attached(&mut self, ending: &Ending, body: Body) {
        self.ending.clone_from(ending);
        self.attached = Some(body.into_kept());
    }

    /// Hands the bytes out, for the last time.
    fn take<T>(&mut self, take: impl FnOnce(&Ending, &[u8]) -> T) -> T {
        match self.attached.take() {
            None => take(&self.ending, self.bytes.as_slice()),
            Some(attached) => take(&self.ending, &attached),
        }
    }
}

/// The requests of one session.
pub(crate) type SessionRequests = Requests<Notify, Outcome>;

/// The request whose reply the driving thread itself waits for.
pub(crate) struct Awaited<'a> {
    requests: &'a SessionRequests,
    id: RequestId,
    /// Takes the outcome; called once at most.
    take: &'a mut dyn FnMut(&Ending, &[u8]),
    pub(crate) settled: bool,
}

impl<'a> Awaited<'a> {
    pub(in crate::peer) fn new(
        requests: &'a SessionRequests,
        id: RequestId,
        take: &'a mut dyn FnMut(&Ending, &[u8]),
    ) -> Self {
        Self { requests, id, take, settled: false }
    }

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

    /// Stores the outcome of a request, which `set` writes. Returns the caller to notify.
    pub(in crate::peer) fn store(
        &self,
        id: RequestId,
        set: impl FnOnce(&mut Outcome),
    ) -> Result<Option<Notify>, Stale> {
        self.work(|table| table.settle(id, set))
    }

    /// Takes a settled request's outcome. `None`: it is still pending.
    pub(in crate::peer) fn take<T>(
        &self,
        id: RequestId,
        take: impl FnOnce(&Ending, &[u8]) -> T,
    ) -> Option<T> {
        let taken = self.work(|table| table.take(id, |outcome| outcome.take(take)));
        taken.expect("an invocation's slot is its own until it is taken")
    }

    /// Registers the caller to notify. `false`: the request is settled already.
    pub(in crate::peer) fn notify(&self, id: RequestId, caller: impl FnOnce() -> Notify) -> bool {
        self.work(|table| table.notify(id, caller)) == Ok(true)
    }

    /// Gives a request up, unless its outcome was taken. Returns whether cancels wait to be sent.
    pub(in crate::peer) fn abandon(&self, id: RequestId) -> bool {
        self.work(|table| {
            // An outcome that nobody will take is dropped.
            if !matches!(table.take(id, |outcome| outcome.take(|_, _| ())), Ok(Some(()))) {
                table.abandon(id);
            }
            table.next_cancel().is_some()
        })
    }

    /// Settles what is overdue at `now`.
    pub(in crate::peer) fn expire(&self, now: Instant) -> Expired<Notify> {
        let expire = |outcome: &mut Outcome, timeout| {
            outcome.ending = Ending::TimedOut(timeout);
            outcome.bytes.clear();
        };
        self.timed.look(|| self.work(|table| table.expire(now, expire)))
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
