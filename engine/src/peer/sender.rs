//! The sending part: one frame into the outbox, and what happens when there is no room.
//!
//! ```text
//!   any thread                                             the loop
//!   open ─▶ lock, is the peer there? deferred frames go    flush ─▶ deferred frames, as room allows
//!           first: replies in order, then cancels
//!   put  ─▶ reserve, write, commit                         retry ◀─ a full ring: spin, then sleep on
//!   close ▶ count, unlock, wake the peer if it sleeps                the peer's bell
//! ```
//!
//! A reply never waits: one that finds no room is kept in the backlog. The backlog is bounded by the
//! number of requests that the peer may have pending, and by bytes.

use std::{borrow::Borrow, collections::VecDeque, time::Duration};

use crate::{
    contract::payload::{EncodeError, Payload},
    kill_points::{KillPoint, reach},
    peer::{
        error::SendError,
        large::outgoing::OutgoingPayload,
        link::{Limit, Link, Reason},
        requests::{Requests, outcome::SessionRequests},
    },
    primitives::{AtomicBool, Ordering, spin_loop},
    ring::{
        producer::{Producer, Reservation, ReserveError},
        unread_frames::UnreadFrames,
    },
    session::liveness::GoneReason,
    sync::owner_lock::{Guard, HeldHere, OwnerLock},
    wake::space_waiters::SpaceWaiters,
    wire::{
        attached::Attached,
        frame::{Label, Violation},
        id::RequestId,
        kind::Kind,
        words::fence_before_look,
    },
};

/// Attempts of a send that found no room, before it sleeps.
const SPINS: u32 = 2_000;
/// Replies that wait for room take at most this many times the outbox's capacity.
const BACKLOG_CAPACITIES: usize = 4;
/// Frames of a batch after which other threads get the outbox, and a sleeping peer is woken.
const BATCH_MAX: usize = 64;
/// Why a reply is not kept in the backlog.
pub(super) const TOO_SLOWLY: &str = "the caller takes its replies too slowly";
/// Why a reply of the thread that holds the outbox is not sent.
pub(super) const LOAN_HELD: &str = "this thread holds a loan of the ring";

/// Why a frame was not committed. Nothing has happened.
///
/// It is small, so it comes back in registers. An error with names and reasons comes back through
/// memory, and copying it would wait until the frame's line has been handed to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendRefusal {
    /// No room now.
    Full,
    /// No room ever, for more than `max` bytes.
    TooLarge {
        max: usize,
    },
    /// This thread holds a loan of the outbox.
    LoanHeld,
    /// The session is over.
    Gone,
    TooManyPending,
}

/// Why a reply will never be sent.
pub(super) enum ReplyError {
    /// The caller is told why.
    Undeliverable(String),
    /// The peer broke the protocol.
    Violation(Violation),
}

/// The payload of a reply that waits for room.
pub(super) enum Kept {
    Bytes(Box<[u8]>),
    /// In its memory already; taken out once a frame has named it.
    Attached(Option<OutgoingPayload>),
}

impl Kept {
    /// Returns the bytes that it takes of the backlog; attached ones are counted elsewhere.
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Attached(_) => 0,
        }
    }
}

/// Why a batch stopped.
pub(super) enum BatchStop {
    Refused(SendRefusal),
    Encode(EncodeError),
}

/// The sending part of a conversation, with the link that it sends over and the requests that it sent.
pub(crate) struct Sender {
    link: Link,
    requests: SessionRequests,
    outbox: OwnerLock<Outbox>,
    space_waiters: SpaceWaiters,
    /// The frames that the peer has not consumed, seen without the lock.
    unread_frames: UnreadFrames,
    /// The loop asked to be told of the next frame.
    loop_wants_frame: AtomicBool,
}

/// The state that one thread at a time writes.
struct Outbox {
    producer: Producer,
    backlog: VecDeque<(Label, Kept)>,
    backlog_bytes: usize,
    /// The id of the next request. It was begun while the last one was on its way, so the next one
    /// does not wait for the table.
    spare: Option<RequestId>,
}

/// The locked outbox of a session that is not over, with no deferred frames left.
pub(super) struct OpenOutbox<'a> {
    sender: &'a Sender,
    outbox: Guard<'a, Outbox>,
}

impl Sender {
    pub(super) fn new(link: Link, producer: Producer) -> Self {
        Self {
            requests: Requests::new(link.limits.pending_max),
            space_waiters: SpaceWaiters::new(link.own.clone()),
            unread_frames: producer.unread_frames(),
            outbox: OwnerLock::new(Outbox {
                producer,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
                spare: None,
            }),
            loop_wants_frame: AtomicBool::new(false),
            link,
        }
    }

    #[inline]
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    #[inline]
    pub(super) fn requests(&self) -> &SessionRequests {
        &self.requests
    }

    // --- one frame -----------------------------------------------------------------------------------

    /// Commits one frame and wakes the peer if it sleeps.
    // Always inline: the label travels in registers then.
    #[inline(always)]
    pub(super) fn commit(&self, label: Label, bytes: &[u8]) -> Result<(), SendRefusal> {
        let mut outbox = self.open()?;
        outbox.put(label, bytes)?;
        outbox.close(1);
        Ok(())
    }

    /// Commits a frame that names an attachment, which is taken out with that.
    #[cold]
    pub(super) fn commit_attached(
        &self,
        label: Label,
        payload: &mut Option<OutgoingPayload>,
    ) -> Result<(), SendRefusal> {
        let mut outbox = self.open()?;
        self.put_attached(&mut outbox.outbox.producer, label, payload)?;
        outbox.close(1);
        Ok(())
    }

    /// Begins a request and commits its frame. `label` is without the id.
    // Always inline: the label travels in registers then.
    #[inline(always)]
    pub(super) fn commit_request(
        &self,
        label: Label,
        timeout: Option<Duration>,
        put: impl FnOnce(&Self, &mut Producer, Label) -> Result<(), SendRefusal>,
    ) -> Result<RequestId, SendRefusal> {
        self.link.bell.will_look();
        let mut outbox = self.lock()?;
        if self.link.gone().is_some() {
            return Err(SendRefusal::Gone);
        }
        let begun = outbox.spare.take().or_else(|| self.requests.work(|table| table.begin()));
        let Some(id) = begun else {
            // The end of the session closes the table.
            return Err(self
                .link
                .gone()
                .map_or(SendRefusal::TooManyPending, |_| SendRefusal::Gone));
        };
        let label = Label { id: Some(id), ..label };
        reach(KillPoint::RequestBegun);
        // After the id was taken: if its slot was a cancelled request's, the cancel goes first.
        let sent =
            self.send_deferred(&mut outbox).and_then(|()| put(self, &mut outbox.producer, label));
        if let Err(refusal) = sent {
            outbox.spare = Some(id);
            return Err(refusal);
        }
        // From here on the frame travels, and no thread waits for the following steps.
        reach(KillPoint::RequestCommitted);
        outbox.spare = self.requests.work(|table| {
            table.set_timeout(id, timeout);
            table.begin()
        });
        let loop_must_know = timeout.is_some() && self.requests.timed.begun();
        self.link.counters.frames_sent.add_alone(1);
        self.link.counters.invokes_sent.add_alone(1);
        drop(outbox);
        self.wake_peer();
        if loop_must_know {
            // Without the outbox's lock: the notice may drop the last share of the loop.
            self.link.notice(Reason::Begun);
        }
        Ok(id)
    }

    /// Locks the outbox, if the peer is there, and sends the deferred frames.
    #[inline(always)]
    pub(super) fn open(&self) -> Result<OpenOutbox<'_>, SendRefusal> {
        self.link.bell.will_look();
        let mut outbox = self.lock()?;
        if self.link.gone().is_some() {
            return Err(SendRefusal::Gone);
        }
        reach(KillPoint::SendBegun);
        self.send_deferred(&mut outbox)?;
        Ok(OpenOutbox { sender: self, outbox })
    }

    /// Locks the outbox, unless this thread holds it already: for a loan, or because it encodes a batch.
    #[inline]
    fn lock(&self) -> Result<Guard<'_, Outbox>, SendRefusal> {
        self.outbox.lock().map_err(|HeldHere| SendRefusal::LoanHeld)
    }

    /// Copies one frame into the ring and commits it.
    #[inline]
    pub(super) fn put(
        &self,
        producer: &mut Producer,
        label: Label,
        bytes: &[u8],
    ) -> Result<(), SendRefusal> {
        let reservation = producer.reserve(bytes.len()).map_err(|error| self.refusal(error))?;
        reach(KillPoint::FrameReserved);
        producer.write(&reservation, bytes);
        reach(KillPoint::PayloadWritten);
        producer.commit(reservation, label);
        Ok(())
    }

    /// Commits a frame that names an attachment, which is taken out with that. New memory is handed over
    /// first.
    pub(super) fn put_attached(
        &self,
        producer: &mut Producer,
        label: Label,
        payload: &mut Option<OutgoingPayload>,
    ) -> Result<(), SendRefusal> {
        let reservation = producer.reserve(Attached::LEN).map_err(|error| self.refusal(error))?;
        if !payload.as_mut().is_some_and(OutgoingPayload::announce) {
            return Err(SendRefusal::Full);
        }
        reach(KillPoint::AttachmentAnnounced);
        if let Some(payload) = payload.take() {
            self.name_attachment(producer, reservation, label, payload);
        }
        Ok(())
    }

    /// Commits the frame, of [`Attached::LEN`] bytes, that names an attachment.
    fn name_attachment(
        &self,
        producer: &mut Producer,
        reservation: Reservation,
        label: Label,
        payload: OutgoingPayload,
    ) {
        let len = payload.len() as u64;
        producer.write(&reservation, &Attached::encode(label, payload.id(), len));
        producer.commit(reservation, Label::new(Kind::Attached, label.channel));
        self.link.counters.attachments_sent.add_alone(1);
        reach(KillPoint::AttachmentNamed);
        if payload.named(producer.position()) {
            // The loop frees the memory once it was read, and may sleep then.
            self.space_waiters.ask();
        }
    }

    #[cold]
    fn refusal(&self, error: ReserveError) -> SendRefusal {
        match error {
            ReserveError::Full => SendRefusal::Full,
            ReserveError::TooLarge { max, .. } => SendRefusal::TooLarge { max },
            ReserveError::Peer(violation) => {
                self.link.break_off(violation);
                SendRefusal::Gone
            }
        }
    }

    /// Wakes the peer if it sleeps, and tells the loop if it asked for that. Call after a commit.
    #[inline]
    fn wake_peer(&self) {
        // No model: no model has a whole session. It is as between a sleeper and its waker: either this thread sees
        // the loop's wish, or the loop's next look, behind the fence, finds the frame.
        self.link.bell.frames_committed(&self.link.counters.wakes);
        if self.loop_wants_frame.load(Ordering::Relaxed) {
            self.tell_loop();
        }
    }

    #[cold]
    fn tell_loop(&self) {
        self.loop_wants_frame.store(false, Ordering::Relaxed);
        self.link.notice(Reason::Sent);
    }

    /// Has the loop told of the next frame. The loop looks once more after this, for a frame that may
    /// have been on its way.
    pub(crate) fn tell_of_next_send(&self) {
        // Relaxed: the fence orders it. Its twin is in `PeerBell::frames_committed`.
        self.loop_wants_frame.store(true, Ordering::Relaxed);
        fence_before_look();
    }

    // --- no room -------------------------------------------------------------------------------------

    /// Makes an attempt, and repeats it until there is room or the limit is over.
    pub(super) fn patiently<R>(
        &self,
        limit: Limit,
        mut attempt: impl FnMut() -> Result<R, SendRefusal>,
    ) -> Result<R, SendRefusal> {
        attempt().or_else(|refusal| self.retry(refusal, limit, attempt))
    }

    /// Repeats an attempt that found no room, until there is some or the limit is over.
    #[cold]
    pub(super) fn retry<R>(
        &self,
        refusal: SendRefusal,
        limit: Limit,
        mut attempt: impl FnMut() -> Result<R, SendRefusal>,
    ) -> Result<R, SendRefusal> {
        let link = &self.link;
        if refusal != SendRefusal::Full {
            return Err(refusal);
        }
        link.counters.stalls.add();
        if limit.timeout.is_none() {
            link.counters.full.add();
            return Err(SendRefusal::Full);
        }
        for _ in 0..SPINS {
            spin_loop();
            match attempt() {
                Err(SendRefusal::Full) => {}
                result => return result,
            }
        }
        self.space_waiters.begin_to_wait();
        let result = loop {
            let (bell, interrupt) = (link.peer.bell.read(), link.interrupt.read());
            self.space_waiters.ask();
            match attempt() {
                Err(SendRefusal::Full) => {}
                result => break result,
            }
            if limit.is_over() {
                link.counters.full.add();
                break Err(SendRefusal::Full);
            }
            link.interrupt.sleep(&link.peer.bell, bell, interrupt, limit.deadline);
        };
        self.space_waiters.end_waiting(|| self.requests.has_deferred());
        result
    }

    /// Returns the application's error, for a message of `len` bytes.
    #[cold]
    pub(super) fn explain(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        len: usize,
        limit: Limit,
    ) -> SendError {
        match refusal {
            SendRefusal::Full => match limit.timeout {
                None => SendError::Full { channel },
                Some(waited) => SendError::TimedOut { channel, waited },
            },
            SendRefusal::TooLarge { max } => {
                self.link.counters.too_large.add();
                SendError::TooLarge { channel, len, max }
            }
            SendRefusal::LoanHeld => SendError::LoanHeld { channel },
            // `TooManyPending` is another family's error.
            SendRefusal::Gone | SendRefusal::TooManyPending => {
                let reason = self.link.gone().cloned().unwrap_or(GoneReason::Closed);
                SendError::Gone { channel, reason }
            }
        }
    }

    // --- deferred frames: replies and cancels --------------------------------------------------------

    /// Keeps a reply that found no room until there is some.
    pub(super) fn keep(&self, label: Label, kept: Kept) -> Result<(), ReplyError> {
        let undeliverable = |why: &str| Err(ReplyError::Undeliverable(why.to_owned()));
        let Ok(mut outbox) = self.lock() else { return undeliverable(LOAN_HELD) };
        // An honest peer has no more requests pending than its quota.
        let max = self.link.limits.owed_max;
        if outbox.backlog.len() >= usize::from(max) {
            return Err(ReplyError::Violation(Violation::TooManyPending { max: max.into() }));
        }
        let bytes = outbox.backlog_bytes + kept.len();
        // The report of a failure is short, and has no report of its own failure.
        if label.kind != Kind::Fail && bytes > BACKLOG_CAPACITIES * outbox.producer.capacity() {
            return undeliverable(TOO_SLOWLY);
        }
        outbox.backlog_bytes = bytes;
        outbox.backlog.push_back((label, kept));
        self.link.counters.backlogged.add();
        self.requests.defer();
        self.send_deferred_when_there_is_room(&mut outbox);
        Ok(())
    }

    /// Drops the reply to a request that was given up, so that the backlog holds no more replies than
    /// an honest peer has requests pending. Returns whether there was one.
    pub(super) fn forget_reply(&self, id: RequestId) -> bool {
        if !self.requests.has_deferred() {
            return false;
        }
        // While this thread holds a loan, its replies stay.
        let Ok(mut outbox) = self.lock() else { return false };
        let place = outbox.backlog.iter().position(|(label, _)| label.id == Some(id));
        let Some((_, kept)) = place.and_then(|place| outbox.backlog.remove(place)) else {
            return false;
        };
        outbox.backlog_bytes -= kept.len();
        true
    }

    /// Sends the cancels now if that needs no waiting, else leaves them to the loop.
    pub(super) fn send_cancels(&self) {
        if self.link.gone().is_some() {
            return;
        }
        let sent = match self.outbox.try_lock() {
            Ok(mut outbox) => self.send_deferred(&mut outbox).is_ok(),
            Err(_) => false,
        };
        if !sent {
            self.space_waiters.ask();
            self.link.notice(Reason::Deferred);
        }
    }

    /// Sends the deferred frames, as far as there is room. For the driver.
    pub(crate) fn flush(&self) {
        if !self.requests.has_deferred() {
            return;
        }
        let Ok(mut outbox) = self.lock() else { return };
        if self.send_deferred(&mut outbox).is_err() {
            self.send_deferred_when_there_is_room(&mut outbox);
        }
    }

    fn send_deferred_when_there_is_room(&self, outbox: &mut Outbox) {
        self.space_waiters.ask();
        // After asking: room that came before the peer saw that has rung nobody.
        let _still_full = self.send_deferred(outbox);
    }

    /// Sends the deferred frames, before any other frame: so replies stay in order and neither list grows.
    #[inline]
    fn send_deferred(&self, outbox: &mut Outbox) -> Result<(), SendRefusal> {
        if self.requests.has_deferred() { self.send_deferred_now(outbox) } else { Ok(()) }
    }

    #[cold]
    fn send_deferred_now(&self, outbox: &mut Outbox) -> Result<(), SendRefusal> {
        let before = self.link.counters.frames_sent.get();
        let result = self.commit_deferred(outbox);
        if self.link.counters.frames_sent.get() != before {
            // Now: the caller may find no room for its own frame, and then wakes nobody.
            self.wake_peer();
        }
        result
    }

    fn commit_deferred(&self, outbox: &mut Outbox) -> Result<(), SendRefusal> {
        let sent = &self.link.counters.frames_sent;
        while let Some((label, kept)) = outbox.backlog.front_mut() {
            let len = kept.len();
            match kept {
                Kept::Bytes(bytes) => self.put(&mut outbox.producer, *label, bytes)?,
                Kept::Attached(payload) => {
                    self.put_attached(&mut outbox.producer, *label, payload)?;
                }
            }
            sent.add_alone(1);
            outbox.backlog_bytes -= len;
            outbox.backlog.pop_front();
        }
        self.requests.send_cancels(|id| {
            let cancel = Label { id: Some(id), ..Label::new(Kind::Cancel, 0) };
            self.put(&mut outbox.producer, cancel, &[])?;
            sent.add_alone(1);
            Ok::<_, SendRefusal>(())
        })?;
        self.space_waiters.none_deferred();
        Ok(())
    }

    /// Drops the backlog: the session is over.
    pub(super) fn end(&self) {
        if self.requests.has_deferred()
            && let Ok(mut outbox) = self.lock()
        {
            outbox.backlog.clear();
            outbox.backlog_bytes = 0;
        }
    }

    // --- many frames ---------------------------------------------------------------------------------

    /// Commits messages as far as there is room, up to a batch, and wakes the peer once. Returns how
    /// many, and what stopped it.
    ///
    /// A single send locks the outbox and looks for a sleeping peer each time, and both wait until the
    /// frame before has been handed to its reader. In a batch the frames flow.
    pub(super) fn commit_batch<T: Payload + ?Sized>(
        &self,
        label: Label,
        messages: &[impl Borrow<T>],
    ) -> (usize, Option<BatchStop>) {
        let mut batch = match self.open() {
            Ok(outbox) => Batch { outbox: Some(outbox), committed: 0 },
            Err(refusal) => return (0, Some(BatchStop::Refused(refusal))),
        };
        // Encoding may run the application's code. If that sends, the lock refuses it; if it panics,
        // the messages before it are sent.
        let mut messages = messages.iter().take(BATCH_MAX);
        let stop = messages.find_map(|message| batch.add(label, message.borrow()));
        (batch.committed as usize, stop)
    }

    // --- what the loop and the application look at --------------------------------------------------

    /// Returns whether the peer has not consumed a message or request. For the driver.
    pub(crate) fn has_unread_messages(&self) -> bool {
        self.unread_frames.asks_something(self.link.consumed())
    }

    /// Returns the capacity of the outbox, and how much of it the peer has not consumed.
    pub(super) fn usage(&self) -> (u64, u64) {
        let used = self.unread_frames.bytes(self.link.consumed());
        (self.unread_frames.capacity() as u64, used as u64)
    }
}

impl OpenOutbox<'_> {
    /// Copies one frame into the ring and commits it.
    // Apart from `Sender::put`, so that it is inlined into a send.
    #[inline]
    pub(super) fn put(&mut self, label: Label, bytes: &[u8]) -> Result<(), SendRefusal> {
        self.sender.put(&mut self.outbox.producer, label, bytes)
    }

    /// Reserves room for one frame, to be written in place.
    pub(super) fn reserve(&mut self, len: usize) -> Result<Reservation, SendRefusal> {
        self.outbox.producer.reserve(len).map_err(|error| self.sender.refusal(error))
    }

    pub(super) fn producer(&self) -> &Producer {
        &self.outbox.producer
    }

    pub(super) fn producer_mut(&mut self) -> &mut Producer {
        &mut self.outbox.producer
    }

    /// Commits a reserved frame that names an attachment.
    pub(super) fn commit_attached(
        &mut self,
        reservation: Reservation,
        label: Label,
        payload: OutgoingPayload,
    ) {
        self.sender.name_attachment(&mut self.outbox.producer, reservation, label, payload);
    }

    /// Counts the frames that were committed, unlocks, and wakes the peer if it sleeps.
    #[inline]
    pub(super) fn close(self, frames: u64) {
        let Self { sender, outbox } = self;
        sender.link.counters.frames_sent.add_alone(frames);
        drop(outbox);
        reach(KillPoint::SendCommitted);
        sender.wake_peer();
    }
}

/// The frames that were committed under one lock. However it ends, the peer is woken.
struct Batch<'a> {
    /// Taken at the end.
    outbox: Option<OpenOutbox<'a>>,
    committed: u64,
}

impl Batch<'_> {
    /// Commits one more message, or returns what stops it.
    #[inline(always)]
    fn add<T: Payload + ?Sized>(&mut self, label: Label, message: &T) -> Option<BatchStop> {
        let outbox = self.outbox.as_mut()?;
        match message.encode(|bytes| outbox.put(label, bytes)) {
            Ok(Ok(())) => {
                self.committed += 1;
                None
            }
            Ok(Err(refusal)) => Some(BatchStop::Refused(refusal)),
            Err(error) => Some(BatchStop::Encode(error)),
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.take()
            && self.committed > 0
        {
            outbox.close(self.committed);
        }
    }
}
