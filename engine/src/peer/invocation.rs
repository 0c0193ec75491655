//! Waiting for a reply: blocking, as a future, or with a callback.
//!
//! A blocking wait drives the inbox itself: the reply goes from the ring straight to its caller, and
//! no other thread is woken. If another thread drives, it stores the reply with its request and
//! unparks the waiting thread.

use std::{
    cell::Cell,
    fmt::{Debug, Display},
    future::Future,
    marker::PhantomData,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread::Thread,
    time::{Duration, Instant},
};

use crate::{
    contract::{Method, payload::Payload},
    peer::{
        error::{HandlerError, InvokeError, SendError},
        port::Port,
        requests::outcome::{Awaited, Ending, FailCode, Notify},
        sender::FramePayload,
    },
    sync::reentrancy,
    wire::{
        frame::{Label, TimeoutCode},
        id::RequestId,
        kind::Kind,
    },
};

/// A request that is under way: wait for it, await it, or leave a callback.
///
/// Dropping it gives it up, and tells the handler to stop.
#[must_use = "dropping an invocation cancels it; wait(), wait_read(), .await or then() get the reply"]
pub struct Invocation<R: Payload + ?Sized, E: Payload + ?Sized> {
    pending: PendingRequest,
    types: PhantomData<fn(&R, &E)>,
}

/// The part of an invocation that does not depend on its types.
struct PendingRequest {
    port: Arc<Port>,
    channel: &'static str,
    id: RequestId,
    timeout: Option<Duration>,
    /// The outcome was taken, and another request may have the slot.
    taken: Cell<bool>,
    /// It has been polled as a future.
    polled: Cell<bool>,
}

/// The result of an [`Invocation`].
pub type InvokeResult<R, E> = Result<<R as Payload>::Owned, InvokeError<<E as Payload>::Owned>>;

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Invocation<R, E> {
    /// Sends a request. `timeout` runs from now on, give or take the time that this process spins;
    /// `None` is no limit.
    #[inline]
    pub(crate) fn begin<A: Payload + ?Sized>(
        port: &Arc<Port>,
        method: Method<A, R, E>,
        number: u16,
        arguments: &A,
        timeout: Option<Duration>,
    ) -> Result<Self, InvokeError<E::Owned>> {
        port.sender.will_commit();
        let channel = method.name();
        let flags = timeout.map_or(TimeoutCode::NONE, TimeoutCode::from_duration).0;
        let label = Label { flags, ..Label::new(Kind::Invoke, number) };
        let commit = |bytes: &[u8]| match port.sender.commit_request(
            label,
            timeout,
            FramePayload::Bytes(bytes),
        ) {
            Ok(id) => Ok(Some(id)),
            Err(_) => port.request_patiently(channel, label, bytes, timeout),
        };
        let id = arguments
            .encode(commit)
            .map_err(|source| SendError::Encode { channel, source })??
            .ok_or_else(|| {
                let max = usize::from(port.limits.pending_max);
                InvokeError::TooManyPending { channel, max }
            })?;
        let pending = PendingRequest {
            port: port.clone(),
            channel,
            id,
            timeout,
            taken: Cell::new(false),
            polled: Cell::new(false),
        };
        Ok(Self { pending, types: PhantomData })
    }

    /// Waits for the reply, driving this process's loop meanwhile: its listeners and handlers run.
    ///
    /// # Errors
    ///
    /// How the invoke failed; [`InvokeError::InsideListener`] at once, inside a listener or handler.
    pub fn wait(self) -> InvokeResult<R, E> {
        let channel = self.pending.channel;
        let mut decoded = Decoded::<R, E>::NOTHING;
        let waited =
            self.pending.wait_outside(&mut |ending, bytes| decoded.take(channel, ending, bytes));
        if let Err(why) = waited {
            return Err(self.pending.unsettled(why));
        }
        match decoded.reply {
            Some(reply) => Ok(reply),
            None => decoded.into_result(),
        }
    }

    /// Waits for the reply as [`wait`](Self::wait), and reads it where it lies, without a copy.
    ///
    /// `read` runs inside the loop, as a listener does: there no other invoke can be waited for, and the loop stands
    /// still meanwhile.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// If `read` does. The session goes on.
    ///
    /// ```no_run
    /// use ringbridge::{IpcRenderer, Method};
    /// const PICTURE: Method<u32, [u8]> = Method::new("picture");
    ///
    /// fn brightest(ipc: &IpcRenderer) -> Result<Option<u8>, Box<dyn std::error::Error>> {
    ///     Ok(ipc.invoke(PICTURE, &7)?.wait_read(|picture| picture.iter().copied().max())?)
    /// }
    /// ```
    pub fn wait_read<T>(self, read: impl FnOnce(&R) -> T) -> Result<T, InvokeError<E::Owned>> {
        let channel = self.pending.channel;
        let (mut read, mut outcome) = (Some(read), None);
        let waited = self.pending.wait_outside(&mut |ending, bytes| {
            let read = read.take().expect("a request has one outcome");
            // The application's code: a panic goes on when the loop has been left.
            outcome = Some(panic::catch_unwind(AssertUnwindSafe(|| match ending {
                Ending::Reply => R::decode(bytes, read)
                    .map_err(|source| InvokeError::BadReply { channel, source }),
                _ => Err(*failure::<E>(channel, ending, bytes)),
            })));
        });
        if let Err(why) = waited {
            return Err(self.pending.unsettled(why));
        }
        match outcome.expect("it is settled") {
            Ok(result) => result,
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// Waits for the reply, but no longer than `timeout`: then the invocation comes back, still
    /// under way.
    ///
    /// # Errors
    ///
    /// The invocation itself, if the time-out passed first, or inside a listener or handler.
    pub fn wait_timeout(self, timeout: Duration) -> Result<InvokeResult<R, E>, Self> {
        if reentrancy::any() {
            return Err(self);
        }
        let (pending, mut decoded) = (&self.pending, Decoded::<R, E>::NOTHING);
        let mut take = |ending: &Ending, bytes: &[u8]| decoded.take(pending.channel, ending, bytes);
        if pending.wait(Some(timeout), &mut take) { Ok(decoded.into_result()) } else { Err(self) }
    }

    /// Leaves a callback that gets the result on the thread that drives the loop.
    pub fn then(self, callback: impl FnOnce(InvokeResult<R, E>) + Send + 'static) {
        let pending = self.pending;
        assert!(!pending.taken.get(), "a poll has taken its outcome");
        let (port, id) = (pending.port.clone(), pending.id);
        let call = move || callback(pending.try_take::<R, E>().expect("it is settled"));
        match port.sender.requests.notify(id, Notify::Callback(Box::new(call))) {
            Ok(()) => port.enforce_deadline(),
            Err(caller) => port.notify(caller),
        }
    }
}

/// Why a blocking wait has no outcome.
enum Unsettled {
    InsideListener,
    TimedOut,
}

impl PendingRequest {
    /// Waits until the request's own time-out. Not inside a listener or handler.
    #[inline]
    fn wait_outside(&self, take: &mut dyn FnMut(&Ending, &[u8])) -> Result<(), Unsettled> {
        if reentrancy::any() {
            return Err(Unsettled::InsideListener);
        }
        if self.wait(self.timeout, take) { Ok(()) } else { Err(Unsettled::TimedOut) }
    }

    #[cold]
    fn unsettled<E>(&self, why: Unsettled) -> InvokeError<E>
    where
        E: Debug + Display,
    {
        let (channel, timeout) = (self.channel, self.timeout.unwrap_or_default());
        match why {
            Unsettled::InsideListener => InvokeError::InsideListener { channel },
            Unsettled::TimedOut => {
                self.port.counters.timed_out.add();
                InvokeError::TimedOut { channel, timeout }
            }
        }
    }

    /// `false`: the time-out passed, and the request is still pending. Else `take` got its outcome.
    fn wait(&self, timeout: Option<Duration>, take: &mut dyn FnMut(&Ending, &[u8])) -> bool {
        assert!(!self.taken.get(), "a poll has taken its outcome");
        let requests = &self.port.sender.requests;
        let mut awaited = Awaited { requests, id: self.id, take, settled: false };
        if !self.drive_for(&mut awaited, timeout, None) {
            self.wait_beside_driver(&mut awaited, timeout);
        }
        self.taken.set(awaited.settled);
        awaited.settled
    }

    /// Drives until the request is settled. `false`: another thread drives.
    #[inline(always)]
    fn drive_for(
        &self,
        awaited: &mut Awaited<'_>,
        timeout: Option<Duration>,
        me: Option<&Thread>,
    ) -> bool {
        match self.port.event_loop.upgrade() {
            Some(event_loop) => event_loop.drive_for(awaited, timeout, me),
            None => {
                // The endpoint was dropped, which settled everything.
                awaited.take_stored();
                true
            }
        }
    }

    /// Sleeps until the driving thread has settled the request, or has stopped driving.
    #[cold]
    fn wait_beside_driver(&self, awaited: &mut Awaited<'_>, timeout: Option<Duration>) {
        let me = std::thread::current();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let left = |now: Instant| deadline.map(|deadline| deadline.saturating_duration_since(now));
        loop {
            let caller = Notify::Thread(me.clone());
            if self.port.sender.requests.notify(self.id, caller).is_err() {
                return awaited.take_stored();
            }
            let now = Instant::now();
            if self.drive_for(awaited, left(now), Some(&me)) {
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
        let mut decoded = Decoded::<R, E>::NOTHING;
        let requests = &self.port.sender.requests;
        requests.take(self.id, |ending, bytes| decoded.take(self.channel, ending, bytes))?;
        self.taken.set(true);
        Some(decoded.into_result())
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if !self.taken.get() && self.port.sender.requests.abandon(self.id) {
            self.port.sender.send_cancels();
        }
    }
}

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Future for Invocation<R, E> {
    type Output = InvokeResult<R, E>;

    /// Needs a thread that drives the loop: `run`, or `drive_in_background`.
    ///
    /// # Panics
    ///
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = &self.pending;
        assert!(!pending.taken.get(), "polled after it was ready");
        let is_first = !pending.polled.replace(true);
        // Another poll is likely to find it settled.
        if !is_first && let Some(result) = pending.try_take::<R, E>() {
            return Poll::Ready(result);
        }
        let caller = Notify::Waker(context.waker().clone());
        if pending.port.sender.requests.notify(pending.id, caller).is_err() {
            return Poll::Ready(pending.try_take::<R, E>().expect("it is settled"));
        }
        if is_first {
            pending.port.enforce_deadline();
        }
        Poll::Pending
    }
}

/// A decoded outcome.
///
/// The reply has a place of its own: it is copied there from the ring in one piece, and from there to
/// its caller. As a variant of a result it would be moved in the pieces that the error is made of, and
/// loads that span several stores wait for them.
struct Decoded<R: Payload + ?Sized, E: HandlerError + ?Sized> {
    reply: Option<R::Owned>,
    error: Option<Box<InvokeError<E::Owned>>>,
}

impl<R: Payload + ?Sized, E: HandlerError + ?Sized> Decoded<R, E> {
    const NOTHING: Self = Self { reply: None, error: None };

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

/// Returns the error of an outcome that is no reply.
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
            match FailCode::from_wire(*code) {
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
    /// Returns whether the request was never sent, so that it is safe to try it again.
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
