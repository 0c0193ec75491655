//! Waiting for a reply: blocking, as a future, or with a callback.
//!
//! A blocking wait drives the inbox itself, so that on the fast path a reply goes from the ring
//! straight into the caller's hands: nothing is stored, and no other thread is woken. If another
//! thread drives, the reply is stored with its request and the waiting thread is unparked.

use std::{
    cell::Cell,
    fmt::{Debug, Display},
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread::Thread,
    time::{Duration, Instant},
};

use crate::peer::{Patience, Port};
use crate::{
    contract::{Method, payload::Payload},
    error::{GoneReason, HandlerError, InvokeError, SendError},
    kill_points::{KillPoint, reach},
    peer::{
        large::{Incoming, lender::SealedAttachment},
        request_table::{RequestTable, Stale, TooManyPending},
    },
    shm::aligned::AlignedBuf,
    sync::reentrancy,
    wire::{
        frame::{Kind, Label, TimeoutCode},
        id::RequestId,
    },
};

/// Whom to tell that a request is settled.
pub(crate) enum Notify {
    Thread(Thread),
    Waker(Waker),
    /// Runs on the driver's thread.
    Callback(Box<dyn FnOnce() + Send>),
}

/// How an invoke failed other than by its handler's own error; the flags of a `Fail` frame.
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
    /// `None` for a code of a newer build, which is told as [`FailCode::ReplyFailed`].
    fn from_wire(code: u8) -> Option<Self> {
        [
            Self::NoHandler,
            Self::Panicked,
            Self::ReplyNeverSent,
            Self::BadArguments,
            Self::ReplyFailed,
            Self::QuotaReached,
            Self::Rejected,
        ]
        .into_iter()
        .find(|known| *known as u8 == code)
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

/// An outcome that waits to be taken. It stays with its slot, so that the buffer is used again.
#[derive(Default)]
pub(crate) struct Outcome {
    ending: Ending,
    bytes: AlignedBuf,
    /// The bytes, if they were attached. Let go when they are taken.
    large: Option<Large>,
}

/// A large reply that waits to be taken.
enum Large {
    /// In its attachment.
    SealedAttachment(SealedAttachment),
    /// Out of main's buffer, which main uses again.
    Copied(AlignedBuf),
}

impl Outcome {
    pub(crate) fn set_gone(&mut self, reason: GoneReason) {
        self.ending = Ending::Gone(reason);
        self.bytes.clear();
    }

    fn set_large(&mut self, ending: &Ending, payload: Incoming) {
        self.ending.clone_from(ending);
        self.large = Some(match payload {
            Incoming::SealedAttachment(sealed) => Large::SealedAttachment(sealed),
            Incoming::OfMain { .. } => {
                let mut copy = AlignedBuf::new();
                copy.fill(&payload);
                Large::Copied(copy)
            }
        });
    }

    /// Gives out the bytes, for the last time.
    fn take<T>(&mut self, take: impl FnOnce(&Ending, &[u8]) -> T) -> T {
        match self.large.take() {
            None => take(&self.ending, self.bytes.as_slice()),
            Some(Large::SealedAttachment(sealed)) => take(&self.ending, &sealed),
            Some(Large::Copied(copy)) => take(&self.ending, copy.as_slice()),
        }
    }
}

/// The one request whose reply the driving thread itself waits for.
pub(crate) struct Awaited<'a> {
    pub(crate) port: &'a Port,
    pub(crate) id: RequestId,
    /// Takes the outcome; called once at the most.
    pub(crate) take: &'a mut dyn FnMut(&Ending, &[u8]),
    pub(crate) settled: bool,
}

impl Awaited<'_> {
    /// Takes the outcome if it was stored: by an earlier driver, at the deadline, or at the end of the
    /// session.
    #[inline]
    pub(crate) fn take_stored(&mut self) {
        self.port.take_stored(self);
    }

    #[inline]
    pub(crate) fn is(&self, port: &Port, id: RequestId) -> bool {
        self.id == id && std::ptr::eq(self.port, port)
    }
}

/// Why a drive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DriveEnd {
    Settled,
    Elapsed,
}

/// The loop of this process, as its sessions and their callers reach it.
pub(crate) trait EventLoop: Send + Sync {
    /// Drives until the awaited request is settled or the time-out has passed. `None`: another
    /// thread drives, and unparks `me` when it stops.
    fn drive_for(
        &self,
        awaited: &mut Awaited<'_>,
        timeout: Option<Duration>,
        me: Option<&Thread>,
    ) -> Option<DriveEnd>;

    /// Tells the loop that something happened to a window outside its rings, and ends the loop's sleep.
    fn notice(&self, window: u32, reason: Reason);
}

/// Why the loop is to look after a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The session was broken off, or is to be closed.
    Ended,
    /// Cancels wait for room in the outbox.
    Deferred,
    /// A request with a deadline has begun. The loop need not wake for it.
    Begun,
    /// No thread blocks on a request that has begun, so the loop enforces its deadline.
    Unattended,
    /// A frame was or is about to be committed, of which the loop [wanted to
    /// know](Port::tell_of_next_send).
    Sent,
}

/// A request that is under way: wait for it, await it, or leave a callback.
///
/// Dropping it gives it up, and tells the handler to stop.
#[must_use = "dropping an invocation cancels it; wait(), .await or then() get the reply"]
pub struct Invocation<R: Payload + ?Sized, E: Payload + ?Sized> {
    pending: Option<Pending>,
    types: PhantomData<fn(&R, &E)>,
}

/// The part of an invocation that does not depend on its types.
struct Pending {
    port: Arc<Port>,
    channel: &'static str,
    id: RequestId,
    timeout: Option<Duration>,
    /// The outcome is in the caller's hands, and the slot is someone else's.
    taken: Cell<bool>,
    /// It has been polled as a future.
    polled: Cell<bool>,
}

/// What an [`Invocation`] comes to.
pub type InvokeResult<R, E> = Result<<R as Payload>::Owned, InvokeError<<E as Payload>::Owned>>;

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Invocation<R, E> {
    /// Sends a request. `timeout` runs from now on, give or take the time that this process spends
    /// spinning; `None` is no limit.
    #[inline]
    pub(crate) fn begin<A: Payload + ?Sized>(
        port: &Arc<Port>,
        method: Method<A, R, E>,
        number: u16,
        arguments: &A,
        timeout: Option<Duration>,
    ) -> Result<Self, InvokeError<E::Owned>> {
        let channel = method.name();
        let flags = timeout.map_or(TimeoutCode::NONE, TimeoutCode::from_duration).0;
        // Who waits no longer for the reply need not wait longer for room.
        let room_timeout = port.limits.send_timeout.min(timeout.unwrap_or(Duration::MAX));
        let patience = Patience::For(room_timeout);
        let label = Label { kind: Kind::Invoke, flags, channel: number, id: None };
        let id = arguments
            .encode(|bytes| port.commit_request(channel, label, bytes, timeout, patience))
            .map_err(|source| SendError::Encode { channel, source })??
            .map_err(|TooManyPending| {
                let max = usize::from(port.limits.pending_max);
                InvokeError::TooManyPending { channel, max }
            })?;
        let pending = Pending {
            port: port.clone(),
            channel,
            id,
            timeout,
            taken: Cell::new(false),
            polled: Cell::new(false),
        };
        Ok(Self { pending: Some(pending), types: PhantomData })
    }
}

impl Port {
    /// The driver's part: a reply came. Unknown ids are counted and dropped.
    pub(crate) fn settle(
        &self,
        id: RequestId,
        ending: &Ending,
        bytes: &[u8],
        awaited: Option<&mut Awaited<'_>>,
    ) {
        reach(KillPoint::ReplyReceived);
        if self.settle_awaited(id, ending, bytes, awaited) {
            return;
        }
        self.settle_with(id, |outcome| {
            outcome.ending.clone_from(ending);
            outcome.bytes.fill(bytes);
        });
    }

    /// As [`settle`](Self::settle), for a reply that was attached: it is copied only where it must be.
    pub(crate) fn settle_attached(
        &self,
        id: RequestId,
        ending: &Ending,
        payload: Incoming,
        awaited: Option<&mut Awaited<'_>>,
    ) {
        if !self.settle_awaited(id, ending, &payload, awaited) {
            self.settle_with(id, |outcome| outcome.set_large(ending, payload));
        }
    }

    /// Hands a reply to the driving thread itself, if that waits for it.
    #[inline]
    fn settle_awaited(
        &self,
        id: RequestId,
        ending: &Ending,
        bytes: &[u8],
        awaited: Option<&mut Awaited<'_>>,
    ) -> bool {
        if let Some(awaited) = awaited
            && !awaited.settled
            && awaited.is(self, id)
        {
            (awaited.take)(ending, bytes);
            awaited.settled = true;
            self.pending.settled_in_hand(id);
            return true;
        }
        false
    }

    fn settle_with(&self, id: RequestId, fill: impl FnOnce(&mut Outcome)) {
        let settled = self.requests(|requests| requests.settle(id, fill));
        match settled {
            Ok(None) => {}
            Ok(Some(notify)) => self.notify(notify),
            Err(Stale(_)) => self.counters.stale_replies.add(),
        }
    }

    /// The driver's part: ends what is overdue at `now`, and says when to look again.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let expire = |requests: &mut RequestTable<Notify, Outcome>| {
            let before = requests.pending();
            let overdue = requests.expire(now, |outcome, timeout| {
                outcome.ending = Ending::TimedOut(timeout);
                outcome.bytes.clear();
            });
            (overdue, before - requests.pending(), requests.next_deadline())
        };
        let (overdue, expired, next) = self.timed_requests.look(|| self.requests(expire));
        if expired > 0 {
            self.counters.timed_out.add_alone(expired as u64);
            self.send_cancels();
        }
        for notify in overdue {
            self.notify(notify);
        }
        next
    }

    pub(crate) fn notify(&self, notify: Notify) {
        match notify {
            Notify::Thread(thread) => thread.unpark(),
            Notify::Waker(waker) => waker.wake(),
            Notify::Callback(callback) => {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback)).is_err() {
                    self.counters.panics.add();
                }
            }
        }
    }

    /// Gives a request up, unless its outcome was taken. Its handler is told as soon as there is room.
    fn abandon(&self, id: RequestId) {
        let cancels = self.requests(|requests| {
            // What nobody will take is let go.
            if !matches!(requests.take(id, |outcome| outcome.take(|_, _| ())), Ok(Some(()))) {
                requests.abandon(id);
            }
            requests.has_cancels()
        });
        if cancels {
            self.send_cancels();
        }
    }

    /// Sends cancels now if that needs no waiting, else leaves them to the driver.
    fn send_cancels(&self) {
        if self.gone().is_some() {
            return;
        }
        let sent = match self.outbox.try_lock() {
            Ok(mut outbox) => self.send_deferred(&mut outbox).is_ok(),
            Err(_) => false,
        };
        if !sent {
            self.space_waiters.ask();
            self.notice(Reason::Deferred);
        }
    }

    /// Takes a settled request's outcome. `None`: it is still pending.
    fn take_outcome<T>(
        &self,
        id: RequestId,
        mut take: impl FnMut(&Ending, &[u8]) -> T,
    ) -> Option<T> {
        let taken = self.requests(|requests| requests.take(id, |outcome| outcome.take(&mut take)));
        taken.expect("an invocation's slot is its own until it is taken")
    }

    /// For a driver: whether the reply that it waits for was stored, by an earlier driver, by the
    /// passing of its deadline, or by the end of the session.
    #[inline]
    pub(crate) fn take_stored(&self, awaited: &mut Awaited<'_>) {
        if !awaited.settled && self.pending.has_unread() {
            let taken =
                self.take_outcome(awaited.id, |ending, bytes| (awaited.take)(ending, bytes));
            awaited.settled = taken.is_some();
        }
    }

    /// Registers whom to tell; tells at once if it is settled already.
    fn notify_when_settled(&self, id: RequestId, notify: Notify) {
        let mut notify = Some(notify);
        let pending = self.requests(|requests| {
            requests.notify(id, || notify.take().expect("asked for once at the most"))
        });
        match notify {
            Some(notify) if pending != Ok(true) => self.notify(notify),
            _ => self.have_deadline_kept(),
        }
    }

    /// No thread blocks on the request, so the loop enforces its deadline. Wakes the loop in case it sleeps
    /// without knowing the request.
    fn have_deadline_kept(&self) {
        if self.timed_requests.have_begun() {
            self.notice(Reason::Unattended);
        }
    }

    /// Has the loop look after this window.
    pub(super) fn notice(&self, reason: Reason) {
        if let Some(event_loop) = self.event_loop.upgrade() {
            event_loop.notice(self.window, reason);
        }
    }

    /// As [`EventLoop::drive_for`].
    fn drive_for(
        &self,
        awaited: &mut Awaited<'_>,
        timeout: Option<Duration>,
        me: Option<&Thread>,
    ) -> Option<DriveEnd> {
        match self.event_loop.upgrade() {
            Some(event_loop) => event_loop.drive_for(awaited, timeout, me),
            None => {
                // The endpoint was dropped, which settled everything.
                self.take_stored(awaited);
                Some(DriveEnd::Elapsed)
            }
        }
    }
}

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Invocation<R, E> {
    /// Waits for the reply, driving this process's loop meanwhile: its listeners and handlers run.
    ///
    /// # Errors
    ///
    /// How the invoke failed; [`InvokeError::InsideListener`] at once, inside a listener or handler.
    pub fn wait(mut self) -> InvokeResult<R, E> {
        let pending = self.pending.take().expect("taken only by what consumes the invocation");
        let timeout = pending.timeout;
        let mut decoded = Decoded::<R, E>::default();
        let waited = pending
            .wait(timeout, &mut |ending, bytes| decoded.take(pending.channel, ending, bytes));
        match waited {
            Ok(true) => match decoded.reply {
                Some(reply) => Ok(reply),
                None => decoded.into_result(),
            },
            Ok(false) => {
                pending.port.counters.timed_out.add();
                let timeout = timeout.unwrap_or_default();
                Err(InvokeError::TimedOut { channel: pending.channel, timeout })
            }
            Err(Inside) => Err(InvokeError::InsideListener { channel: pending.channel }),
        }
    }

    /// Waits for the reply, but no longer than `timeout`: then the invocation comes back, still
    /// under way.
    ///
    /// # Errors
    ///
    /// The invocation itself, if the time-out passed first, or inside a listener or handler.
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<InvokeResult<R, E>, Self> {
        let pending = self.pending.take().expect("taken only by what consumes the invocation");
        let mut decoded = Decoded::<R, E>::default();
        let waited = pending.wait(Some(timeout), &mut |ending, bytes| {
            decoded.take(pending.channel, ending, bytes);
        });
        match waited {
            Ok(true) => Ok(decoded.into_result()),
            Ok(false) | Err(Inside) => Err(Self { pending: Some(pending), types: PhantomData }),
        }
    }

    /// Leaves a callback that gets the result on the thread that drives the loop.
    pub fn then(mut self, callback: impl FnOnce(InvokeResult<R, E>) + Send + 'static) {
        let pending = self.pending.take().expect("taken only by what consumes the invocation");
        let port = pending.port.clone();
        let id = pending.id;
        let call = move || {
            callback(pending.try_take::<R, E>().expect("called when it is settled"));
        };
        port.notify_when_settled(id, Notify::Callback(Box::new(call)));
    }
}

/// A blocking wait inside a listener or handler.
struct Inside;

impl Pending {
    /// `Ok(false)`: the time-out passed, and the request is still pending. Else `take` got its outcome.
    fn wait(
        &self,
        timeout: Option<Duration>,
        take: &mut dyn FnMut(&Ending, &[u8]),
    ) -> Result<bool, Inside> {
        if reentrancy::any() {
            return Err(Inside);
        }
        let mut awaited = Awaited { port: &self.port, id: self.id, take, settled: false };
        if self.port.drive_for(&mut awaited, timeout, None).is_none() {
            self.wait_beside_driver(&mut awaited, timeout);
        }
        self.taken.set(awaited.settled);
        Ok(awaited.settled)
    }

    /// Another thread drives: sleep until it has settled the request, or has left.
    #[cold]
    fn wait_beside_driver(&self, awaited: &mut Awaited<'_>, timeout: Option<Duration>) {
        let port = &self.port;
        let me = std::thread::current();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let left = |now: Instant| deadline.map(|deadline| deadline.saturating_duration_since(now));
        loop {
            let pending =
                port.requests(|requests| requests.notify(self.id, || Notify::Thread(me.clone())));
            if pending == Ok(false) {
                port.take_stored(awaited);
                return;
            }
            let now = Instant::now();
            if port.drive_for(awaited, left(now), Some(&me)).is_some() {
                return;
            }
            match left(now) {
                Some(Duration::ZERO) => return,
                Some(left) => std::thread::park_timeout(left),
                None => std::thread::park(),
            }
        }
    }

    fn try_take<R: Payload + ?Sized, E: HandlerError + ?Sized>(
        &self,
    ) -> Option<InvokeResult<R, E>> {
        let mut decoded = Decoded::<R, E>::default();
        self.port
            .take_outcome(self.id, |ending, bytes| decoded.take(self.channel, ending, bytes))?;
        Some(decoded.into_result())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.taken.get() {
            self.port.abandon(self.id);
        }
    }
}

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Future for Invocation<R, E> {
    type Output = InvokeResult<R, E>;

    /// Needs someone to drive the loop: `run`, or `drive_in_background`.
    ///
    /// # Panics
    ///
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = self.pending.as_ref().expect("polled after it was ready");
        let waker = || Notify::Waker(context.waker().clone());
        let port = &pending.port;
        if port.requests(|requests| requests.notify(pending.id, waker)) == Ok(true) {
            if !pending.polled.replace(true) {
                port.have_deadline_kept();
            }
            return Poll::Pending;
        }
        let result = pending.try_take::<R, E>().expect("it is settled");
        self.pending = None;
        Poll::Ready(result)
    }
}

/// What an outcome is decoded to.
///
/// The reply has a place of its own, so that it is copied there from the ring in one piece, and from there
/// to its caller. As a variant of a result it would be moved in the pieces that the error is made of, and
/// loads that span several stores wait for them.
struct Decoded<R: Payload + ?Sized, E: HandlerError + ?Sized> {
    reply: Option<R::Owned>,
    error: Option<Box<InvokeError<E::Owned>>>,
}

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Default for Decoded<R, E> {
    #[inline]
    fn default() -> Self {
        Self { reply: None, error: None }
    }
}

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Decoded<R, E> {
    /// Called once.
    #[inline]
    fn take(&mut self, channel: &'static str, ending: &Ending, bytes: &[u8]) {
        if *ending != Ending::Reply {
            self.error = Some(failure::<E>(channel, ending, bytes));
        } else if let Err(source) = R::decode_into(bytes, &mut self.reply) {
            self.error = Some(Box::new(InvokeError::BadReply { channel, source }));
        }
    }

    /// After `take`.
    #[cold]
    fn into_result(self) -> InvokeResult<R, E> {
        match (self.reply, self.error) {
            (Some(reply), _) => Ok(reply),
            (None, Some(error)) => Err(*error),
            (None, None) => unreachable!("an outcome is a reply or an error"),
        }
    }
}

/// The error of an outcome that is no reply.
#[cold]
fn failure<E: HandlerError + ?Sized>(
    channel: &'static str,
    ending: &Ending,
    bytes: &[u8],
) -> Box<InvokeError<E::Owned>> {
    Box::new(match ending {
        Ending::Reply => unreachable!("a reply is no failure"),
        Ending::Reject => match E::decode_owned(bytes) {
            Ok(error) => InvokeError::Handler { channel, error },
            Err(source) => InvokeError::BadReply { channel, source },
        },
        Ending::Fail(code) => {
            let why = || String::from_utf8_lossy(bytes).into_owned();
            match FailCode::from_wire(*code).unwrap_or(FailCode::ReplyFailed) {
                FailCode::NoHandler => InvokeError::NoHandler { channel },
                FailCode::Panicked => InvokeError::Panicked { channel },
                FailCode::ReplyNeverSent => InvokeError::ReplyNeverSent { channel },
                FailCode::BadArguments => InvokeError::BadArguments { channel, why: why() },
                FailCode::ReplyFailed => InvokeError::ReplyFailed { channel, why: why() },
                FailCode::QuotaReached => InvokeError::QuotaReached { channel },
                FailCode::Rejected => InvokeError::Rejected { channel, why: why() },
            }
        }
        Ending::TimedOut(timeout) => InvokeError::TimedOut { channel, timeout: *timeout },
        Ending::Gone(reason) => InvokeError::Gone { channel, reason: reason.clone() },
    })
}

impl<E: Debug + Display> InvokeError<E> {
    /// Whether the request was never sent, so that it is safe to try it again.
    pub fn was_not_sent(&self) -> bool {
        matches!(
            self,
            Self::TooManyPending { .. }
                | Self::Send(
                    SendError::Full { .. }
                        | SendError::TimedOut { .. }
                        | SendError::AttachmentQuota { .. }
                        | SendError::NoMemory { .. }
                )
        )
    }
}
