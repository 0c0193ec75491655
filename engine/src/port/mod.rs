//! One live conversation with one peer, the same for both sides.
//!
//! ```text
//!          any thread                                  the driver's thread
//!  send, invoke, reply, loan                     frames from the peer's outbox
//!             │                                              │
//!   requests ◀┤ begin                                settle ├▶ requests
//!             ▼                                              ├▶ owed (cancel)
//!        Mutex<Outbox> ──▶ ring ──▶ peer, bell               └▶ listeners, handlers
//! ```
//!
//! - [`Port`]: sending, and everything that both directions share.
//! - [`incoming`]: what a frame from the peer means, and whether it may say it.
//! - [`batch`]: sending many messages at once.
//! - [`invocation`]: waiting for a reply. [`responder`]: giving one. [`loan`]: writing in place.
//! - [`attached`]: what is too long for a frame.
//!
//! Locks, in the order in which they may be nested: outbox, then requests, then owed. No thread
//! holds one while it waits for the peer, and none is held while application code runs, except the
//! outbox during a [`loan`].

mod attached;
mod batch;
pub(crate) mod incoming;
pub(crate) mod invocation;
pub(crate) mod loan;
pub(crate) mod responder;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use crate::{
    attachment::{Attachments, Outgoing},
    biased::{Biased, Guard, HeldHere},
    channels::ChannelTable,
    contract::ChannelKey,
    counters::SessionCounters,
    error::{GoneReason, SendError},
    inside::{self, Inside},
    layout::{
        frame::{Kind, Label, Violation},
        id::RequestId,
        outbox::OutboxControl,
    },
    memory::shared::Shared,
    owed::Owed,
    payload::Payload,
    pending::Pending,
    policy::ChannelSet,
    request::{RequestTable, TooManyPending},
    ring::producer::{Producer, ReserveError},
    room::RoomWanted,
    signal::{Interrupt, PeerBell},
    sync::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    timed::TimedRequests,
};

use invocation::{Drive, Notify, Outcome};

/// Replies that wait for room take at most this many times the outbox's capacity.
const BACKLOG_CAPACITIES: usize = 4;
/// Why a reply that found no room is not kept either.
const TOO_SLOWLY: &str = "the caller takes its replies too slowly";
/// Why a reply of the thread that holds the outbox is not sent.
const LOAN_HELD: &str = "this thread holds a loan of the ring";
/// Looks for room before a waiting send goes to sleep.
const LOOKS_FOR_ROOM: u32 = 2_000;

/// Which end of a session this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Main,
    Renderer,
}

/// What a send does when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Fails at once.
    None,
    /// Waits as long as plain sends do.
    Usual,
    /// Waits for so long at the most.
    For(Duration),
}

/// The settings that both ends of a session share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How many requests of the peer may be unanswered here.
    pub(crate) owed_max: u16,
    /// How many requests of ours may be unanswered there.
    pub(crate) pending_max: u16,
    /// How long a plain send waits for room.
    pub(crate) send_timeout: Duration,
}

pub(crate) struct Port {
    pub(crate) side: Side,
    /// The window's number, the same on both sides.
    pub(crate) window: u32,
    /// 0 until it is known.
    pub(crate) peer_pid: AtomicU32,
    pub(crate) channels: Arc<ChannelTable>,
    /// What the renderer of this session may say and hear.
    pub(crate) allowed: ChannelSet,
    pub(crate) limits: Limits,
    pub(crate) counters: SessionCounters,
    pub(crate) own: Shared<OutboxControl>,
    pub(crate) peer: Shared<OutboxControl>,
    pub(crate) bell: PeerBell,
    /// Ends the sleeps of this process's threads on the peer's bell.
    pub(crate) interrupt: Interrupt,
    pub(crate) driver: Weak<dyn Drive>,
    pub(crate) attachments: Attachments,
    /// The longest payload of a frame, and of a message: what is longer than the first is attached.
    in_band_max: usize,
    message_max: usize,
    timed_requests: Arc<TimedRequests>,

    outbox: Biased<Outbox>,
    room_wanted: RoomWanted,

    /// Our requests, and whether replies or cancels wait for room.
    pending: Pending<Notify, Outcome>,
    owed: Mutex<HashMap<RequestId, Arc<Owed>>>,
    /// How many there are at the most: only the driver adds any, and it reads this without the lock.
    owed_count: AtomicU64,
    gone: OnceLock<GoneReason>,
    /// The peer is dead, and what it committed is being taken: its invokes are counted, not run.
    orphaned: AtomicBool,
    close_requested: AtomicBool,
}

/// What writes into our outbox, one thread at a time.
struct Outbox {
    producer: Producer,
    backlog: VecDeque<(Label, Kept)>,
    backlog_bytes: usize,
    /// The id of the next request: begun while the last one was on its way, so that this one need not
    /// wait for the table.
    spare: Option<RequestId>,
}

/// The payload of a reply that waits for room.
enum Kept {
    Bytes(Box<[u8]>),
    /// In its memory already; taken out once a frame has named it.
    Attached {
        outgoing: Option<Outgoing>,
        len: usize,
    },
}

impl Kept {
    /// What it takes of the backlog's bytes; an attachment is counted elsewhere.
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Attached { .. } => 0,
        }
    }
}

/// The payload of a reply that was not sent at once.
enum Body<'a> {
    Bytes(&'a [u8]),
    /// Taken out if it is kept.
    Attached {
        outgoing: &'a mut Option<Outgoing>,
        len: usize,
    },
}

/// What a port is made of.
pub(crate) struct PortParts {
    pub(crate) side: Side,
    pub(crate) window: u32,
    pub(crate) channels: Arc<ChannelTable>,
    pub(crate) allowed: ChannelSet,
    pub(crate) limits: Limits,
    pub(crate) own: Shared<OutboxControl>,
    pub(crate) peer: Shared<OutboxControl>,
    pub(crate) bell: PeerBell,
    pub(crate) producer: Producer,
    pub(crate) peer_pid: u32,
    pub(crate) driver: Weak<dyn Drive>,
    pub(crate) attachments: Attachments,
    /// The longest payload that may be attached, in bytes.
    pub(crate) attached_max: u64,
    /// Of the endpoint, whose ports share it.
    pub(crate) timed_requests: Arc<TimedRequests>,
}

impl Port {
    pub(crate) fn new(parts: PortParts) -> Arc<Self> {
        let PortParts {
            side,
            window,
            channels,
            allowed,
            limits,
            own,
            peer,
            bell,
            producer,
            peer_pid,
            driver,
            attachments,
            attached_max,
            timed_requests,
        } = parts;
        let in_band_max = producer.payload_max();
        Arc::new(Self {
            side,
            window,
            peer_pid: AtomicU32::new(peer_pid),
            channels,
            allowed,
            limits,
            counters: SessionCounters::default(),
            room_wanted: RoomWanted::new(own.clone()),
            own,
            peer,
            bell,
            interrupt: Interrupt::default(),
            driver,
            attachments,
            in_band_max,
            message_max: in_band_max.max(usize::try_from(attached_max).unwrap_or(usize::MAX)),
            timed_requests,
            outbox: Biased::new(Outbox {
                producer,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
                spare: None,
            }),
            pending: Pending::new(limits.pending_max),
            owed: Mutex::new(HashMap::new()),
            owed_count: AtomicU64::new(0),
            gone: OnceLock::new(),
            orphaned: AtomicBool::new(false),
            close_requested: AtomicBool::new(false),
        })
    }

    // --- the end ---------------------------------------------------------------------------------

    /// How the peer went, if it did.
    pub(crate) fn gone(&self) -> Option<&GoneReason> {
        self.gone.get()
    }

    /// The session is over: nothing is sent any more, and everything that waits ends. Only the first
    /// reason counts.
    pub(crate) fn end(&self, reason: GoneReason) {
        let _ = self.gone.set(reason.clone());
        let waiting =
            self.requests(|requests| requests.fail_all(|outcome| outcome.set_gone(reason.clone())));
        for notify in waiting {
            self.notify(notify);
        }
        let owed: Vec<_> = self.owed(|owed| owed.drain().collect());
        for (_, owed) in owed {
            owed.cancel();
        }
        self.end_attachments();
        self.interrupt.raise();
    }

    pub(crate) fn mark_orphaned(&self) {
        self.orphaned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
    }

    /// Asks the loop to end the session.
    pub(crate) fn request_close(&self) {
        self.close_requested.store(true, Ordering::Relaxed);
        if let Some(driver) = self.driver.upgrade() {
            driver.interrupt();
        }
    }

    pub(crate) fn close_requested(&self) -> bool {
        self.close_requested.load(Ordering::Relaxed)
    }

    // --- sending ---------------------------------------------------------------------------------

    /// The channel's number, if the policy lets this session use it.
    #[inline]
    pub(crate) fn permitted(&self, key: &ChannelKey) -> Result<u16, SendError> {
        self.allowed_number(key).ok_or_else(|| self.not_allowed(key))
    }

    #[inline]
    fn allowed_number(&self, key: &ChannelKey) -> Option<u16> {
        self.channels.number(key).filter(|number| self.allowed.contains(*number))
    }

    #[cold]
    fn not_allowed(&self, key: &ChannelKey) -> SendError {
        match self.known(key) {
            Ok(_) => {
                self.counters.forbidden.add();
                SendError::Forbidden { channel: key.name() }
            }
            Err(unknown) => unknown,
        }
    }

    /// The channel's number, if both contracts have it.
    #[inline]
    pub(crate) fn known(&self, key: &ChannelKey) -> Result<u16, SendError> {
        self.channels.number(key).ok_or_else(|| {
            self.counters.unknown_channels.add();
            SendError::UnknownChannel { channel: key.name() }
        })
    }

    /// For how long to wait for room; `None` in main's loop, which never does.
    fn room_timeout(&self, patience: Patience) -> Option<Duration> {
        let in_main_loop = self.side == Side::Main && matches!(inside::now(), Inside::Main(_));
        match patience {
            _ if in_main_loop => None,
            Patience::None => None,
            Patience::Usual => Some(self.limits.send_timeout),
            Patience::For(timeout) => Some(timeout),
        }
    }

    /// Sends one message.
    #[inline]
    pub(crate) fn send<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        let Some(channel) = self.allowed_number(&key) else { return Err(self.not_allowed(&key)) };
        let label = Label { kind: Kind::Send, flags: 0, channel, id: None };
        match value.encode(|bytes| self.try_commit(label, bytes)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => self.send_after(refusal, &key, label, value, patience),
            Err(source) => Err(SendError::Encode { channel: key.name(), source }),
        }
    }

    #[cold]
    fn send_after<T: Payload + ?Sized>(
        &self,
        refusal: Refusal,
        key: &ChannelKey,
        label: Label,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        let channel = key.name();
        value
            .encode(|bytes| self.commit_after(refusal, channel, label, bytes, patience))
            .map_err(|source| SendError::Encode { channel, source })?
    }

    /// Commits one frame and wakes the peer if it sleeps.
    #[inline(always)]
    pub(crate) fn commit(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        match self.try_commit(label, bytes) {
            Ok(()) => Ok(()),
            Err(refusal) => self.commit_after(refusal, channel, label, bytes, patience),
        }
    }

    #[cold]
    fn commit_after(
        &self,
        refusal: Refusal,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        if bytes.len() > self.in_band_max {
            return self.commit_attached(channel, label, bytes, patience);
        }
        self.retry(refusal, patience, || self.try_commit(label, bytes))
            .map_err(|refusal| self.explain(refusal, channel, bytes.len(), patience))
    }

    #[inline]
    fn try_commit(&self, label: Label, bytes: &[u8]) -> Result<(), Refusal> {
        self.try_commit_with(|producer| self.put(producer, label, bytes))
    }

    // Always inline: what it is given travels in registers then.
    #[inline(always)]
    fn try_commit_with(
        &self,
        put: impl FnOnce(&mut Producer) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut outbox = self.lock_outbox()?;
        if self.gone.get().is_some() {
            return Err(Refusal::Gone);
        }
        self.send_deferred(&mut outbox)?;
        put(&mut outbox.producer)?;
        self.counters.frames_sent.add_alone(1);
        drop(outbox);
        self.bell.frames_committed(&self.counters.wakes);
        Ok(())
    }

    /// Begins a request and commits its frame. `label` is without the id.
    #[inline(always)]
    pub(crate) fn commit_request(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
        patience: Patience,
    ) -> Result<Result<RequestId, TooManyPending>, SendError> {
        match self.try_commit_request(label, bytes, timeout) {
            Ok(id) => Ok(Ok(id)),
            Err(refusal) => {
                self.commit_request_after(refusal, channel, label, bytes, timeout, patience)
            }
        }
    }

    #[cold]
    fn commit_request_after(
        &self,
        refusal: Refusal,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
        patience: Patience,
    ) -> Result<Result<RequestId, TooManyPending>, SendError> {
        if bytes.len() > self.in_band_max {
            return self.commit_request_attached(channel, label, bytes, timeout, patience);
        }
        match self.retry(refusal, patience, || self.try_commit_request(label, bytes, timeout)) {
            Ok(id) => Ok(Ok(id)),
            Err(Refusal::TooManyPending) => Ok(Err(TooManyPending)),
            Err(refusal) => Err(self.explain(refusal, channel, bytes.len(), patience)),
        }
    }

    #[inline]
    fn try_commit_request(
        &self,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
    ) -> Result<RequestId, Refusal> {
        self.try_commit_request_with(label, timeout, |producer, label| {
            self.put(producer, label, bytes)
        })
    }

    // Always inline: what it is given travels in registers then.
    #[inline(always)]
    fn try_commit_request_with(
        &self,
        label: Label,
        timeout: Option<Duration>,
        put: impl FnOnce(&mut Producer, Label) -> Result<(), Refusal>,
    ) -> Result<RequestId, Refusal> {
        let mut outbox = self.lock_outbox()?;
        if self.gone.get().is_some() {
            return Err(Refusal::Gone);
        }
        let Some(id) =
            outbox.spare.take().or_else(|| self.requests(|requests| self.begin_in(requests)))
        else {
            // None begins after the end: see there.
            return Err(self.gone.get().map_or(Refusal::TooManyPending, |_| Refusal::Gone));
        };
        // After the id was taken: if its slot was a cancelled request's, the cancel goes first.
        let label = Label { id: Some(id), ..label };
        let sent = self.send_deferred(&mut outbox).and_then(|()| put(&mut outbox.producer, label));
        if let Err(refusal) = sent {
            outbox.spare = Some(id);
            return Err(refusal);
        }
        // From here on the frame travels, and nobody waits for what is done here.
        outbox.spare = self.requests(|requests| {
            requests.set_timeout(id, timeout);
            self.begin_in(requests)
        });
        if timeout.is_some() {
            self.timed_requests.begun();
        }
        self.counters.frames_sent.add_alone(1);
        self.counters.invokes_sent.add_alone(1);
        drop(outbox);
        self.bell.frames_committed(&self.counters.wakes);
        Ok(id)
    }

    /// `None`: every slot is in use, or the session is over. The end is looked at under the table's lock:
    /// what begins before it is settled by it.
    fn begin_in(&self, requests: &mut RequestTable<Notify, Outcome>) -> Option<RequestId> {
        match self.gone.get() {
            Some(_) => None,
            None => requests.begin(None).ok(),
        }
    }

    /// If there was no room, repeats the attempt until there is some, or the patience ends.
    #[cold]
    fn retry<R>(
        &self,
        refusal: Refusal,
        patience: Patience,
        mut attempt: impl FnMut() -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        if refusal != Refusal::Full {
            return Err(refusal);
        }
        self.counters.stalls.add();
        let Some(timeout) = self.room_timeout(patience) else {
            self.counters.full.add();
            return Err(Refusal::Full);
        };
        for _ in 0..LOOKS_FOR_ROOM {
            crate::sync::spin_loop();
            match attempt() {
                Err(Refusal::Full) => {}
                result => return result,
            }
        }
        let began = Instant::now();
        let deadline = began.checked_add(timeout);
        self.room_wanted.begin_to_wait();
        let result = loop {
            let (bell, interrupt) = (self.peer.bell.read(), self.interrupt.read());
            self.room_wanted.ask();
            match attempt() {
                Err(Refusal::Full) => {}
                result => break result,
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.counters.full.add();
                break Err(Refusal::Full);
            }
            self.interrupt.sleep(&self.peer.bell, bell, interrupt, deadline);
        };
        self.room_wanted.end_waiting(|| self.has_deferred());
        result
    }

    /// The error that an application sees, for a message of `len` bytes.
    #[cold]
    fn explain(
        &self,
        refusal: Refusal,
        channel: &'static str,
        len: usize,
        patience: Patience,
    ) -> SendError {
        match refusal {
            Refusal::Full => match self.room_timeout(patience) {
                None => SendError::Full { channel },
                Some(waited) => SendError::TimedOut { channel, waited },
            },
            Refusal::TooLarge { max } => {
                self.counters.too_large.add();
                SendError::TooLarge { channel, len, max }
            }
            Refusal::LoanHeld => SendError::LoanHeld { channel },
            Refusal::Gone | Refusal::TooManyPending => {
                // A request that cannot begin has an error of its own.
                let reason = self.gone.get().cloned().unwrap_or(GoneReason::Closed);
                SendError::Gone { channel, reason }
            }
        }
    }

    /// Locks the outbox, unless this very thread holds it: for a loan, or because it encodes a batch.
    #[inline]
    fn lock_outbox(&self) -> Result<Guard<'_, Outbox>, Refusal> {
        self.outbox.lock().map_err(|HeldHere| Refusal::LoanHeld)
    }

    /// Works on the request table.
    #[inline]
    fn requests<R>(&self, work: impl FnOnce(&mut RequestTable<Notify, Outcome>) -> R) -> R {
        self.pending.work(work)
    }

    /// Works on the list of the peer's unanswered requests.
    fn owed<R>(&self, work: impl FnOnce(&mut HashMap<RequestId, Arc<Owed>>) -> R) -> R {
        let mut owed = lock(&self.owed);
        let result = work(&mut owed);
        self.owed_count.store(owed.len() as u64, Ordering::Relaxed);
        result
    }

    // --- replies, which never wait -----------------------------------------------------------------

    /// Sends a reply, or keeps it until there is room. Never waits.
    pub(crate) fn reply(&self, label: Label, bytes: &[u8]) -> Result<(), ReplyError> {
        match self.try_commit(label, bytes) {
            Ok(()) => Ok(()),
            Err(_) if bytes.len() > self.in_band_max => self.reply_attached(label, bytes),
            Err(refusal) => self.reply_after(refusal, label, Body::Bytes(bytes)),
        }
    }

    #[cold]
    fn reply_after(
        &self,
        refusal: Refusal,
        label: Label,
        body: Body<'_>,
    ) -> Result<(), ReplyError> {
        match refusal {
            Refusal::Full => self.keep_reply(label, body),
            Refusal::TooLarge { max } => {
                Err(ReplyError::Undeliverable(format!("at most {max} bytes fit into a frame")))
            }
            // In a loan's own thread: cannot be had without waiting for ourselves.
            Refusal::LoanHeld => Err(ReplyError::Undeliverable(LOAN_HELD.to_owned())),
            // Nobody waits for it any more.
            Refusal::Gone | Refusal::TooManyPending => Ok(()),
        }
    }

    /// An honest peer has no more requests pending than its quota, so neither does the backlog.
    fn keep_reply(&self, label: Label, body: Body<'_>) -> Result<(), ReplyError> {
        let Ok(mut outbox) = self.lock_outbox() else {
            return Err(ReplyError::Undeliverable(LOAN_HELD.to_owned()));
        };
        let max = self.limits.owed_max;
        if outbox.backlog.len() >= usize::from(max) {
            return Err(ReplyError::Violation(Violation::TooManyPending { max: u64::from(max) }));
        }
        // News of a failure is short, and there is none to tell of its own failure.
        let len = match &body {
            Body::Bytes(bytes) => bytes.len(),
            Body::Attached { .. } => 0,
        };
        let over = outbox.backlog_bytes + len > BACKLOG_CAPACITIES * outbox.producer.capacity();
        if over && label.kind != Kind::Fail {
            return Err(ReplyError::Undeliverable(TOO_SLOWLY.into()));
        }
        outbox.backlog_bytes += len;
        let kept = match body {
            Body::Bytes(bytes) => Kept::Bytes(bytes.into()),
            Body::Attached { outgoing, len } => Kept::Attached { outgoing: outgoing.take(), len },
        };
        outbox.backlog.push_back((label, kept));
        self.counters.backlogged.add();
        self.defer();
        // Asked first, now looked again: room that came in between has rung nobody.
        let _still_full = self.send_deferred(&mut outbox);
        Ok(())
    }

    /// Drops the reply to a request that was given up, so that the backlog holds no more of them than
    /// an honest caller has pending.
    pub(crate) fn forget_backlogged(&self, id: RequestId) {
        if !self.has_deferred() {
            return;
        }
        // A loan of this very thread keeps its replies until it is over.
        let Ok(mut outbox) = self.lock_outbox() else { return };
        let Some(place) = outbox.backlog.iter().position(|(label, _)| label.id == Some(id)) else {
            return;
        };
        if let Some((_, kept)) = outbox.backlog.remove(place) {
            outbox.backlog_bytes -= kept.len();
            self.counters.late_replies.add();
            drop(outbox);
            if let Kept::Attached { outgoing: Some(outgoing), .. } = kept {
                self.discard(outgoing);
            }
        }
    }

    /// Something waits for room: the driver is to send it.
    fn defer(&self) {
        self.pending.defer();
        self.room_wanted.ask();
    }

    pub(crate) fn has_deferred(&self) -> bool {
        self.pending.has_deferred()
    }

    /// The driver's part: sends what waits, as far as there is room.
    pub(crate) fn flush(&self) {
        if !self.has_deferred() {
            return;
        }
        let Ok(mut outbox) = self.lock_outbox() else { return };
        if self.send_deferred(&mut outbox).is_err() {
            // Ask first, then look again: room that came in between has rung nobody.
            self.room_wanted.ask();
            let _still_full = self.send_deferred(&mut outbox);
        }
    }

    /// Sends waiting cancels and replies first, so that replies stay in order and neither list grows.
    #[inline]
    fn send_deferred(&self, outbox: &mut Outbox) -> Result<(), Refusal> {
        if self.has_deferred() { self.send_deferred_now(outbox) } else { Ok(()) }
    }

    #[cold]
    fn send_deferred_now(&self, outbox: &mut Outbox) -> Result<(), Refusal> {
        let before = self.counters.frames_sent.get();
        let result = self.commit_deferred(outbox);
        if self.counters.frames_sent.get() != before {
            // Here, because the caller may find no room for its own frame, and then rings nobody.
            self.bell.frames_committed(&self.counters.wakes);
        }
        result
    }

    fn commit_deferred(&self, outbox: &mut Outbox) -> Result<(), Refusal> {
        while let Some((label, kept)) = outbox.backlog.front_mut() {
            let len = kept.len();
            match kept {
                Kept::Bytes(bytes) => self.put(&mut outbox.producer, *label, bytes)?,
                Kept::Attached { outgoing, len } => {
                    self.put_attached(&mut outbox.producer, *label, outgoing, *len)?;
                }
            }
            self.counters.frames_sent.add_alone(1);
            outbox.backlog_bytes -= len;
            outbox.backlog.pop_front();
        }
        self.pending.send_cancels(|id| {
            let cancel = Label { kind: Kind::Cancel, flags: 0, channel: 0, id: Some(id) };
            self.put(&mut outbox.producer, cancel, &[])?;
            self.counters.frames_sent.add_alone(1);
            Ok(())
        })?;
        self.room_wanted.none_deferred();
        Ok(())
    }

    /// Copies one frame into the ring and commits it.
    #[inline]
    fn put(&self, producer: &mut Producer, label: Label, bytes: &[u8]) -> Result<(), Refusal> {
        let reservation = producer.reserve(bytes.len()).map_err(|error| self.refusal(error))?;
        producer.write(&reservation, bytes);
        producer.commit(reservation, label);
        Ok(())
    }

    #[cold]
    fn refusal(&self, error: ReserveError) -> Refusal {
        match error {
            ReserveError::Full => Refusal::Full,
            ReserveError::TooLarge { max, .. } => Refusal::TooLarge { max },
            ReserveError::Peer(violation) => {
                self.break_off(violation);
                Refusal::Gone
            }
        }
    }

    /// A payload must not be longer than this, in bytes.
    pub(crate) fn payload_max(&self) -> usize {
        self.message_max
    }
}

/// Why a frame was not committed. Nothing has happened.
///
/// It is small on purpose: it comes back in registers. An error with names and reasons in it comes back
/// through memory, and copying that would wait until the frame's line has been handed to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// No room now.
    Full,
    /// No room ever, for more than so many bytes.
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
pub(crate) enum ReplyError {
    /// The caller should be told why.
    Undeliverable(String),
    /// The peer broke the protocol.
    Violation(Violation),
}

/// Locks a mutex whose data is consistent at every step, so that a panic elsewhere does not matter.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
