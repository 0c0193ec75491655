//! Answering an invoke: at once, later, or from another thread.
//!
//! A request is answered once, by construction: answering consumes the [`Responder`], and dropping
//! it unanswered tells the caller "reply was never sent". A cancel, a time-out or the end of the caller
//! reaches it. A reply never waits: one that finds no room is kept until there is some.

use std::{
    marker::PhantomData,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    contract::payload::Payload,
    kill_points::{KillPoint, reach},
    peer::{
        error::SendError,
        incoming::IncomingRequest,
        large::main_attachments::Content,
        link::{Limit, Patience, Side},
        port::Port,
        requests::outcome::FailCode,
        sender::{FramePayload, LOAN_HELD, SendRefusal, TOO_SLOWLY},
    },
    wire::{
        frame::{Label, TimeoutCode},
        id::RequestId,
        kind::Kind,
    },
};

/// The longest text of a failure, in bytes.
const FAILURE_TEXT_MAX: usize = 1024;

/// One invoke as it arrives, before it is known when it will be answered.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) port: &'a Arc<Port>,
    pub(crate) id: RequestId,
    pub(crate) number: u16,
    pub(crate) timeout: TimeoutCode,
}

impl Call<'_> {
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
        match value.encode(|bytes| self.reply(kind, 0, bytes)) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => self.fail(FailCode::ReplyFailed, &why),
            Err(error) => self.fail(FailCode::ReplyFailed, &error.to_string()),
        }
    }

    #[cold]
    pub(crate) fn fail(&self, code: FailCode, why: &str) {
        // Some of it may quote what the caller sent.
        let max = FAILURE_TEXT_MAX.min(self.port.large.message_max());
        let why = &why[..why.floor_char_boundary(max)];
        // If even the report of a failure does not fit, the caller's deadline remains.
        let _unreported = self.reply(Kind::Fail, code as u8, why.as_bytes());
    }

    /// Sends a reply, or keeps it until there is room. Never waits, but in a renderer for main's memory.
    /// `Err`: the reason for the caller why it gets none.
    #[inline(always)]
    fn reply(&self, kind: Kind, flags: u8, bytes: &[u8]) -> Result<(), String> {
        let label = Label { kind, flags, channel: self.number, id: Some(self.id) };
        match self.port.sender.commit(label, FramePayload::Bytes(bytes)) {
            Ok(()) => Ok(()),
            Err(_) => self.attach_or_keep(label, bytes),
        }
    }

    #[cold]
    fn attach_or_keep(&self, label: Label, mut bytes: &[u8]) -> Result<(), String> {
        let Port { sender, large, .. } = &**self.port;
        let mut attached = None;
        if large.attaches(bytes.len()) {
            let patience = match self.port.side {
                Side::Main => Patience::None,
                Side::Renderer => Patience::Usual,
            };
            let limit = Limit::begin(self.port, patience);
            let filled = large.fill(sender, "reply", Content::Bytes(bytes), limit);
            attached = Some(filled.map_err(|error| match error {
                SendError::TooLarge { len, max, .. } => {
                    format!("{len} bytes are too many: at most {max} fit")
                }
                SendError::Full { .. } => TOO_SLOWLY.to_owned(),
                error => error.to_string(),
            })?);
            bytes = &[];
        }
        let sent = match sender.commit(label, FramePayload::of(bytes, &mut attached)) {
            Ok(()) => Ok(()),
            Err(SendRefusal::Full) => sender.keep(label, bytes, &mut attached),
            Err(SendRefusal::TooLarge { max }) => {
                Err(format!("at most {max} bytes fit into a frame"))
            }
            Err(SendRefusal::LoanHeld) => Err(LOAN_HELD.to_owned()),
            // The caller is gone.
            Err(SendRefusal::Gone | SendRefusal::TooManyPending) => Ok(()),
        };
        if attached.take().is_some() {
            large.give_back(sender);
        }
        sent
    }

    /// Makes a responder for an answer that comes later.
    pub(crate) fn defer<R: Payload + ?Sized, E: Payload + ?Sized>(&self) -> Responder<R, E> {
        let timeout = self.timeout.duration();
        Responder {
            port: self.port.clone(),
            id: self.id,
            number: self.number,
            timeout,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            request: self.port.incoming.add(self.id),
            answered: false,
            types: PhantomData,
        }
    }
}

/// The duty to answer one invoke before its handler returns, by a value that need not be owned.
///
/// Dropping it unanswered rejects the invoke: "reply was never sent".
#[must_use = "dropping a reply rejects the invoke"]
pub struct Reply<'a, R: Payload + ?Sized, E: Payload + ?Sized> {
    call: Call<'a>,
    types: PhantomData<fn(&R, &E)>,
}

impl<'a, R: Payload + ?Sized, E: Payload + ?Sized> Reply<'a, R, E> {
    #[inline]
    pub(crate) fn new(call: Call<'a>) -> Self {
        Self { call, types: PhantomData }
    }

    /// Resolves the invoke. The value is copied once, to where the caller reads it. Waits for nothing; a reply that
    /// finds the ring full is sent when there is room.
    #[inline]
    pub fn send(self, value: &R) {
        self.answer(Ok(value));
    }

    /// Rejects the invoke with the method's own error.
    #[inline]
    pub fn reject(self, error: &E) {
        self.answer(Err(error));
    }

    #[inline]
    fn answer(self, result: Result<&R, &E>) {
        // An encoder that panics has answered nothing, and this is dropped.
        self.call.answer(result);
        mem::forget(self);
    }
}

impl<R: Payload + ?Sized, E: Payload + ?Sized> Drop for Reply<'_, R, E> {
    #[cold]
    fn drop(&mut self) {
        self.call.fail(unanswered(), "");
    }
}

/// Returns why a caller gets no answer from a duty that is dropped.
#[cold]
fn unanswered() -> FailCode {
    if std::thread::panicking() { FailCode::Panicked } else { FailCode::ReplyNeverSent }
}

/// The duty to answer one invoke. It may go to any thread.
///
/// Dropping it unanswered rejects the invoke: "reply was never sent".
#[must_use = "dropping a responder rejects the invoke"]
pub struct Responder<R: Payload + ?Sized, E: Payload + ?Sized> {
    port: Arc<Port>,
    id: RequestId,
    number: u16,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    request: Arc<IncomingRequest>,
    answered: bool,
    types: PhantomData<fn(&R, &E)>,
}

impl<R: Payload + ?Sized, E: Payload + ?Sized> Responder<R, E> {
    /// Resolves the invoke. Never waits; a reply that finds the ring full is sent when there is room.
    /// (But in a renderer, one that is longer than the ring carries waits for memory from main, up to
    /// [`Config::send_timeout`](crate::Config::send_timeout).)
    ///
    /// Returns whether the caller still waited for it: `false` after a cancel, and counted.
    pub fn reply(self, value: &R) -> bool {
        self.answer(Ok(value))
    }

    /// Rejects the invoke with the method's own error.
    ///
    /// Returns whether the caller still waited for it: `false` after a cancel, and counted.
    pub fn reject(self, error: &E) -> bool {
        self.answer(Err(error))
    }

    /// Returns whether the caller has cancelled, timed out or gone.
    pub fn is_cancelled(&self) -> bool {
        self.request.is_cancelled()
    }

    /// Calls `callback` when the caller cancels, times out or goes; at once if it has. It runs on the
    /// thread that drives the loop. A second callback takes the place of the first.
    pub fn on_cancel(&self, callback: impl FnOnce() + Send + 'static) {
        self.request.call_on_cancel(callback);
    }

    /// Returns the time at which the caller stops waiting, seen from here, up to an eighth of the
    /// time-out late. `None`: it waits for ever.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns how long the caller waits in all.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn request(&self) -> &Arc<IncomingRequest> {
        &self.request
    }

    fn call(&self) -> Call<'_> {
        Call { port: &self.port, id: self.id, number: self.number, timeout: TimeoutCode::NONE }
    }

    fn answer(mut self, result: Result<&R, &E>) -> bool {
        let waited_for = self.take_request();
        if waited_for {
            self.call().answer(result);
        }
        waited_for
    }

    /// Takes the request out to answer it. `false`: its caller does not wait any more.
    fn take_request(&mut self) -> bool {
        self.answered = true;
        let waited_for = self.port.incoming.take(self.id, &self.request);
        if !waited_for {
            self.port.counters.late_replies.add();
        }
        waited_for
    }
}

impl<R: Payload + ?Sized, E: Payload + ?Sized> Drop for Responder<R, E> {
    fn drop(&mut self) {
        if !self.answered && self.take_request() {
            self.call().fail(unanswered(), "");
        }
    }
}
