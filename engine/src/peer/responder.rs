//! Answering an invoke: at once, later, or from another thread.
//!
//! A request is answered once, by construction: answering consumes the [`Responder`], and dropping
//! it unanswered tells the caller "reply was never sent". What the caller does meanwhile (cancel,
//! time out, die) reaches it.

use std::{
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::peer::{
    Port,
    invocation::{FailCode, Reason},
    replies::ReplyError,
};
use crate::{
    contract::payload::Payload,
    error::GoneReason,
    kill_points::{KillPoint, reach},
    peer::incoming_request::IncomingRequest,
    wire::{
        frame::{Kind, Label, TimeoutCode, Violation},
        id::RequestId,
    },
};

/// The longest text of a failure, in bytes.
const FAILURE_TEXT_MAX: usize = 1024;

/// One invoke as it arrives, before anyone has said when it will be answered.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) port: &'a Arc<Port>,
    pub(crate) id: RequestId,
    pub(crate) number: u16,
    pub(crate) timeout: TimeoutCode,
}

impl Call<'_> {
    #[inline]
    fn label(&self, kind: Kind, flags: u8) -> Label {
        Label { kind, flags, channel: self.number, id: Some(self.id) }
    }

    /// Answers with the handler's result. A result that cannot be sent becomes the caller's error.
    #[inline]
    pub(crate) fn answer<R: Payload + ?Sized, E: Payload + ?Sized>(&self, result: Result<&R, &E>) {
        reach(KillPoint::ReplyBegun);
        match result {
            Ok(value) => self.answer_with(Kind::Reply, value),
            Err(error) => self.answer_with(Kind::Reject, error),
        }
    }

    #[inline(always)]
    fn answer_with<T: Payload + ?Sized>(&self, kind: Kind, value: &T) {
        let label = self.label(kind, 0);
        match value.encode(|bytes| self.port.reply(label, bytes)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.not_answered(error),
            Err(error) => self.fail(FailCode::ReplyFailed, &error.to_string()),
        }
    }

    #[cold]
    fn not_answered(&self, error: ReplyError) {
        match error {
            ReplyError::Violation(violation) => self.port.break_off(violation),
            ReplyError::Undeliverable(why) => self.fail(FailCode::ReplyFailed, &why),
        }
    }

    pub(crate) fn fail(&self, code: FailCode, why: &str) {
        // Some of it may quote what the caller sent.
        let max = FAILURE_TEXT_MAX.min(self.port.payload_max());
        let why = &why[..why.floor_char_boundary(max)];
        match self.port.reply(self.label(Kind::Fail, code as u8), why.as_bytes()) {
            Err(ReplyError::Violation(violation)) => self.port.break_off(violation),
            // Even the news of a failure does not fit: the caller's deadline remains.
            Ok(()) | Err(ReplyError::Undeliverable(_)) => {}
        }
    }

    /// Puts the call on the list of what is owed, for an answer that comes later.
    pub(crate) fn defer<R: Payload + ?Sized, E: Payload + ?Sized>(&self) -> Responder<R, E> {
        let owed = Arc::new(IncomingRequest::default());
        self.port.owed(|list| list.insert(self.id, owed.clone()));
        let timeout = self.timeout.duration();
        Responder {
            port: self.port.clone(),
            id: self.id,
            number: self.number,
            timeout,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            owed,
            answered: false,
            types: PhantomData,
        }
    }
}

impl Port {
    /// The peer broke the protocol where no driver sees it: the session ends here, and the driver
    /// cleans up at its next turn.
    pub(crate) fn break_off(&self, violation: Violation) {
        self.counters.violations.add();
        let _ = self.gone.set(GoneReason::ProtocolViolation(violation));
        self.notice(Reason::Ended);
    }
}

/// Owes one reply to one invoke. It may go to any thread.
///
/// Dropping it unanswered rejects the invoke: "reply was never sent".
#[must_use = "dropping a responder rejects the invoke"]
pub struct Responder<R: Payload + ?Sized, E: Payload + ?Sized> {
    port: Arc<Port>,
    id: RequestId,
    number: u16,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    owed: Arc<IncomingRequest>,
    answered: bool,
    types: PhantomData<fn(&R, &E)>,
}

impl<R: Payload + ?Sized, E: Payload + ?Sized> Responder<R, E> {
    /// Resolves the invoke. Never waits; a reply that finds the ring full is sent when there is room.
    /// (But in a renderer, one that is longer than the ring carries waits for memory from main, up to
    /// [`Config::send_timeout`](crate::Config::send_timeout).)
    ///
    /// Returns whether anyone still waited for it: `false` after a cancel, and counted.
    pub fn reply(self, value: &R) -> bool {
        self.answer(Ok(value))
    }

    /// Rejects the invoke with the method's own error.
    ///
    /// Returns whether anyone still waited for it: `false` after a cancel, and counted.
    pub fn reject(self, error: &E) -> bool {
        self.answer(Err(error))
    }

    /// Whether the caller has cancelled, timed out or gone.
    pub fn is_cancelled(&self) -> bool {
        self.owed.is_cancelled()
    }

    /// Calls `callback` when the caller cancels, times out or goes; at once if it has. It runs on the
    /// thread that drives the loop. A second callback takes the place of the first.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        self.owed.call_on_cancel(callback);
    }

    /// When the caller stops waiting: at its time-out, seen from here, up to an eighth late.
    /// `None`: it waits for ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the caller waits in all.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn owed(&self) -> &Arc<IncomingRequest> {
        &self.owed
    }

    fn call(&self) -> Call<'_> {
        Call { port: &self.port, id: self.id, number: self.number, timeout: TimeoutCode::NONE }
    }

    fn answer(mut self, result: Result<&R, &E>) -> bool {
        let waited_for = self.settle();
        if waited_for {
            self.call().answer(result);
        }
        waited_for
    }

    /// Takes the call off the list; `false` if the caller has gone from it.
    fn settle(&mut self) -> bool {
        self.answered = true;
        let waited_for = self.port.owed(|owed| {
            // By identity: a hostile caller may use an id again once it has cancelled it.
            let ours = owed.get(&self.id).is_some_and(|entry| Arc::ptr_eq(entry, &self.owed));
            ours && owed.remove(&self.id).is_some()
        });
        if !waited_for {
            self.port.counters.late_replies.add();
        }
        waited_for
    }
}

impl<R: Payload + ?Sized, E: Payload + ?Sized> Drop for Responder<R, E> {
    fn drop(&mut self) {
        if !self.answered && self.settle() {
            let code = if std::thread::panicking() {
                FailCode::Panicked
            } else {
                FailCode::ReplyNeverSent
            };
            self.call().fail(code, "");
        }
    }
}
