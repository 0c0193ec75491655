//! The sending part: one frame into the outbox, and what happens when there is no room.
//!
//! ```text
//!   any thread                                             the loop
//!   open           lock; is the peer there?                flush ─▶ deferred frames, as room allows
//!   send_deferred  replies in order, then cancels
//!   put            reserve, write, commit
//!   close          unlock; wake the peer if it sleeps
//!   patiently      a full ring: spin, then sleep on the peer's bell
//! ```
//!
//! A reply never waits: one that finds no room is kept in the backlog. The backlog is bounded by the
//! number of requests that the peer may have pending, and by bytes.

use std::{borrow::Borrow, collections::VecDeque, time::Duration};

use crate::{
    contract::payload::Payload,
    kill_points::{KillPoint, reach},
    os::processor,
    peer::{
        error::SendError,
        large::outgoing::OutgoingPayload,
        link::{Limit, Link, Reason},
        requests::{Requests, outcome::SessionRequests},
    },
    primitives::{AtomicBool, AtomicU64, Ordering, spin_loop},
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
pub(super) const BATCH_MAX: usize = 64;
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

/// The payload of a frame.
pub(super) enum FramePayload<'a> {
    Bytes(&'a [u8]),
    /// Taken out once the frame has named it.
    Attached(&'a mut Option<OutgoingPayload>),
}

impl<'a> FramePayload<'a> {
    /// The attachment if there is one, else the bytes.
    pub(super) fn of(bytes: &'a [u8], attached: &'a mut Option<OutgoingPayload>) -> Self {
        if attached.is_some() { Self::Attached(attached) } else { Self::Bytes(bytes) }
    }
}

/// The sending part of a conversation, with the link that it sends over and the requests that it sent.
pub(crate) struct Sender {
    pub(super) link: Link,
    pub(super) requests: SessionRequests,
    outbox: OwnerLock<Outbox>,
    space_waiters: SpaceWaiters,
    /// The frames that the peer has not consumed, seen without the lock.
    unread_frames: UnreadFrames,
    /// The loop asked to be told of the next frame.
    loop_wants_frame: AtomicBool,
    /// When the last request was committed.
    requested_at: AtomicU64,
    /// The position behind the last frame.
    committed: AtomicU64,
}

/// The state that one thread at a time writes.
pub(super) struct Outbox {
    pub(super) producer: Producer,
    backlog: VecDeque<DeferredReply>,
    /// Attached payloads are counted elsewhere.
    backlog_bytes: usize,
    /// The id of the next request. It was begun while the last one was on its way, so the next one
    /// does not wait for the table.
    spare: Option<RequestId>,
}

/// A reply that waits for room. `bytes` is empty if the payload is attached.
struct DeferredReply {
    label: Label,
    bytes: Box<[u8]>,
    attached: Option<OutgoingPayload>,
}

impl Sender {
    pub(super) fn new(link: Link, producer: Producer) -> Self {
        let producer_start = producer.position();
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
            requested_at: AtomicU64::new(0),
            committed: AtomicU64::new(producer_start),
            link,
        }
    }

    /// Asks for the cache line of the next frame, which will be committed soon: the reader's looks may have taken it
    /// away since the last commit.
    #[inline]
    pub(super) fn will_commit(&self) {
        // Relaxed: a hint.
        self.unread_frames.will_commit(self.committed.load(Ordering::Relaxed));
    }

    /// Returns whether replies or cancels wait for room.
    #[inline]
    pub(crate) fn has_deferred(&self) -> bool {
        self.requests.has_deferred()
    }

    /// Returns the bytes that were sent so far, by the ring.
    #[inline]
    pub(crate) fn sent(&self) -> u64 {
        // Relaxed: a hint.
        self.committed.load(Ordering::Relaxed)
    }

    /// Returns when the last request was committed, by [`processor::ticks`].
    #[inline]
    pub(crate) fn requested_at(&self) -> u64 {
        // Relaxed: a hint.
        self.requested_at.load(Ordering::Relaxed)
    }

    /// Commits one frame and wakes the peer if it sleeps.
    // Always inline: the label travels in registers then.
    #[inline(always)]
    pub(super) fn commit(
        &self,
        label: Label,
        payload: FramePayload<'_>,
    ) -> Result<(), SendRefusal> {
        let mut outbox = self.open()?;
        self.send_deferred(&mut outbox)?;
        self.put(&mut outbox, label, payload)?;
        self.close(outbox, 1);
        Ok(())
    }

    /// Begins a request and commits its frame. `label` is without the id.
    // Always inline: the label travels in registers then.
    #[inline(always)]
    pub(super) fn commit_request(
        &self,
        label: Label,
        timeout: Option<Duration>,
        payload: FramePayload<'_>,
    ) -> Result<RequestId, SendRefusal> {
        let mut outbox = self.open()?;
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
            self.send_deferred(&mut outbox).and_then(|()| self.put(&mut outbox, label, payload));
        if let Err(refusal) = sent {
            outbox.spare = Some(id);
            return Err(refusal);
        }
        // From here on the frame travels, and no thread waits for the following steps.
        if let Some(now) = processor::ticks() {
            self.requested_at.store(now, Ordering::Relaxed);
        }
        reach(KillPoint::RequestCommitted);
        outbox.spare = self.requests.work(|table| {
            table.set_timeout(id, timeout);
            table.begin()
        });
        let loop_must_know = timeout.is_some() && self.requests.timed_begun();
        self.link.counters.invokes_sent.add_alone(1);
        self.close(outbox, 1);
        if loop_must_know {
            // Without the outbox's lock: the notice may drop the last share of the loop.
            self.link.notice(Reason::Begun);
        }
        Ok(id)
    }

    /// Locks the outbox, if the peer is there. Fails if this thread holds it already: for a loan, or
    /// because it encodes a batch.
    #[inline(always)]
    pub(super) fn open(&self) -> Result<Guard<'_, Outbox>, SendRefusal> {
        self.link.bell.will_look();
        let outbox = self.outbox.lock().map_err(|HeldHere| SendRefusal::LoanHeld)?;
        if self.link.gone().is_some() {
            return Err(SendRefusal::Gone);
        }
        reach(KillPoint::SendBegun);
        Ok(outbox)
    }

    /// Commits one frame.
    // Always inline: each caller knows the kind of its payload.
    #[inline(always)]
    fn put(
        &self,
        outbox: &mut Outbox,
        label: Label,
        payload: FramePayload<'_>,
    ) -> Result<(), SendRefusal> {
        let bytes = match payload {
            FramePayload::Bytes(bytes) => bytes,
            FramePayload::Attached(payload) => return self.put_attached(outbox, label, payload),
        };
        let producer = &mut outbox.producer;
        let reservation = producer.reserve(bytes.len()).map_err(|error| self.refusal(error))?;
        reach(KillPoint::FrameReserved);
        producer.write(&reservation, bytes);
        reach(KillPoint::PayloadWritten);
        producer.commit(reservation, label);
        Ok(())
    }

    #[cold]
    fn put_attached(
        &self,
        outbox: &mut Outbox,
        label: Label,
        attached: &mut Option<OutgoingPayload>,
    ) -> Result<(), SendRefusal> {
        let reservation = self.reserve(outbox, Attached::LEN, attached)?;
        if let Some(payload) = attached.take() {
            self.commit_attached(outbox, reservation, label, payload);
        }
        Ok(())
    }

    /// Reserves room for one frame. An attachment's new memory is handed over now, since the commit
    /// cannot fail.
    pub(super) fn reserve(
        &self,
        outbox: &mut Outbox,
        len: usize,
        attached: &mut Option<OutgoingPayload>,
    ) -> Result<Reservation, SendRefusal> {
        let reserved = outbox.producer.reserve(len).map_err(|error| self.refusal(error))?;
        if let Some(payload) = attached {
            if !payload.announce() {
                return Err(SendRefusal::Full);
            }
            reach(KillPoint::AttachmentAnnounced);
        }
        Ok(reserved)
    }

    /// Commits the frame, of [`Attached::LEN`] bytes, that names an attachment.
    pub(super) fn commit_attached(
        &self,
        outbox: &mut Outbox,
        reservation: Reservation,
        label: Label,
        payload: OutgoingPayload,
    ) {
        let len = payload.len() as u64;
        outbox.producer.write(&reservation, &Attached::encode(label, payload.id(), len));
        outbox.producer.commit(reservation, Label::new(Kind::Attached, label.channel));
        self.link.counters.attachments_sent.add_alone(1);
        reach(KillPoint::AttachmentNamed);
        if payload.named(outbox.producer.position()) {
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

    /// Counts the frames that were committed, unlocks, and wakes the peer if it sleeps.
    #[inline]
    pub(super) fn close(&self, outbox: Guard<'_, Outbox>, frames: u64) {
        self.link.counters.frames_sent.add_alone(frames);
        self.committed.store(outbox.producer.position(), Ordering::Relaxed);
        drop(outbox);
        reach(KillPoint::SendCommitted);
        self.wake_peer();
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

    /// Makes an attempt, and repeats it until there is room or the limit is over.
    #[cold]
    pub(super) fn patiently<R>(
        &self,
        limit: Limit,
        mut attempt: impl FnMut() -> Result<R, SendRefusal>,
    ) -> Result<R, SendRefusal> {
        let mut is_full = || match attempt() {
            Err(SendRefusal::Full) => None,
            result => Some(result),
        };
        if let Some(result) = is_full() {
            return result;
        }
        let link = &self.link;
        link.counters.stalls.add();
        if limit.timeout.is_some() {
            for _ in 0..SPINS {
                spin_loop();
                if let Some(result) = is_full() {
                    return result;
                }
            }
            self.space_waiters.begin_to_wait();
            let result = loop {
                let (bell, interrupt) = (link.peer.bell.read(), link.interrupt.read());
                self.space_waiters.ask();
                let result = is_full();
                if result.is_some() || limit.is_over() {
                    break result;
                }
                link.interrupt.sleep(&link.peer.bell, bell, interrupt, limit.deadline);
            };
            self.space_waiters.end_waiting(|| self.requests.has_deferred());
            if let Some(result) = result {
                return result;
            }
        }
        link.counters.full.add();
        Err(SendRefusal::Full)
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

    /// Keeps a reply that found no room until there is some. `Err`: the reason for the caller why it
    /// is not kept.
    pub(super) fn keep(
        &self,
        label: Label,
        bytes: &[u8],
        attached: &mut Option<OutgoingPayload>,
    ) -> Result<(), String> {
        let mut outbox = match self.open() {
            Ok(outbox) => outbox,
            Err(SendRefusal::LoanHeld) => return Err(LOAN_HELD.to_owned()),
            // The caller is gone.
            Err(_) => return Ok(()),
        };
        // An honest peer has no more requests pending than its quota.
        let max = self.link.limits.owed_max;
        if outbox.backlog.len() >= usize::from(max) {
            // Without the outbox's lock: the notice may drop the last share of the loop.
            drop(outbox);
            self.link.break_off(Violation::TooManyPending { max: max.into() });
            return Ok(());
        }
        let total = outbox.backlog_bytes + bytes.len();
        // The report of a failure is short, and has no report of its own failure.
        if label.kind != Kind::Fail && total > BACKLOG_CAPACITIES * outbox.producer.capacity() {
            return Err(TOO_SLOWLY.to_owned());
        }
        outbox.backlog_bytes = total;
        let reply = DeferredReply { label, bytes: bytes.into(), attached: attached.take() };
        outbox.backlog.push_back(reply);
        self.link.counters.backlogged.add();
        self.requests.defer();
        self.ask_for_room(&mut outbox);
        Ok(())
    }

    /// Drops the reply to a request that was given up, so that the backlog holds no more replies than
    /// an honest peer has requests pending. Returns whether there was one.
    pub(super) fn forget_reply(&self, id: RequestId) -> bool {
        if !self.requests.has_deferred() {
            return false;
        }
        // While this thread holds a loan, its replies stay.
        let Ok(mut outbox) = self.outbox.lock() else { return false };
        let place = outbox.backlog.iter().position(|reply| reply.label.id == Some(id));
        let forgotten = place.and_then(|place| outbox.backlog.remove(place));
        outbox.backlog_bytes -= forgotten.as_ref().map_or(0, |reply| reply.bytes.len());
        forgotten.is_some()
    }

    /// Sends the cancels now if that needs no waiting, else leaves them to the loop.
    pub(super) fn send_cancels(&self) {
        if self.link.gone().is_some() {
            return;
        }
        let locked = self.outbox.try_lock();
        let sent = locked.is_ok_and(|mut outbox| self.send_deferred(&mut outbox).is_ok());
        if !sent {
            self.space_waiters.ask();
            self.link.notice(Reason::Deferred);
        }
    }

    /// Sends the deferred frames, as far as there is room. For the driver.
    pub(crate) fn flush(&self) {
        if self.requests.has_deferred()
            && let Ok(mut outbox) = self.open()
            && self.send_deferred(&mut outbox).is_err()
        {
            self.ask_for_room(&mut outbox);
        }
    }

    /// Asks the peer to ring when there is room for the deferred frames.
    fn ask_for_room(&self, outbox: &mut Outbox) {
        self.space_waiters.ask();
        // After asking: room that came before the peer saw that has rung nobody.
        let _still_full = self.send_deferred(outbox);
    }

    /// Sends the deferred frames, before any other frame: so replies stay in order and neither list grows.
    #[inline]
    pub(super) fn send_deferred(&self, outbox: &mut Outbox) -> Result<(), SendRefusal> {
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
        while let Some(mut reply) = outbox.backlog.pop_front() {
            let payload = FramePayload::of(&reply.bytes, &mut reply.attached);
            if let Err(refusal) = self.put(outbox, reply.label, payload) {
                outbox.backlog.push_front(reply);
                return Err(refusal);
            }
            sent.add_alone(1);
            outbox.backlog_bytes -= reply.bytes.len();
        }
        self.requests.send_cancels(|id| {
            let cancel = Label { id: Some(id), ..Label::new(Kind::Cancel, 0) };
            self.put(outbox, cancel, FramePayload::Bytes(&[]))?;
            sent.add_alone(1);
            Ok::<_, SendRefusal>(())
        })?;
        self.space_waiters.none_deferred();
        Ok(())
    }

    /// Drops the backlog: the session is over.
    pub(super) fn end(&self) {
        if self.requests.has_deferred()
            && let Ok(mut outbox) = self.outbox.lock()
        {
            outbox.backlog.clear();
            outbox.backlog_bytes = 0;
        }
    }

    /// Commits messages until one is refused, and wakes the peer once. Returns how many.
    ///
    /// A single send locks the outbox and looks for a sleeping peer each time, and both wait until the
    /// frame before has been handed to its reader. In a batch the frames flow.
    pub(super) fn commit_batch<T: Payload + ?Sized>(
        &self,
        label: Label,
        messages: &[impl Borrow<T>],
    ) -> usize {
        let Ok(mut outbox) = self.open() else { return 0 };
        if self.send_deferred(&mut outbox).is_err() {
            return 0;
        }
        let mut batch = Batch { sender: self, outbox: Some(outbox), committed: 0 };
        // Encoding may run the application's code. If that sends, the lock refuses it; if it panics,
        // the messages before it are sent.
        let _all = messages.iter().all(|message| batch.add(label, message.borrow()));
        batch.committed as usize
    }

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

/// The frames that were committed under one lock. However it ends, the peer is woken.
struct Batch<'a> {
    sender: &'a Sender,
    /// Taken at the end.
    outbox: Option<Guard<'a, Outbox>>,
    committed: u64,
}

impl Batch<'_> {
    /// Commits one more message. `false`: it was refused.
    #[inline(always)]
    fn add<T: Payload + ?Sized>(&mut self, label: Label, message: &T) -> bool {
        let Some(outbox) = &mut self.outbox else { return false };
        let sender = self.sender;
        let put = message.encode(|bytes| sender.put(outbox, label, FramePayload::Bytes(bytes)));
        let is_committed = matches!(put, Ok(Ok(())));
        self.committed += u64::from(is_committed);
        is_committed
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.take()
            && self.committed > 0
        {
            self.sender.close(outbox, self.committed);
        }
    }
}
