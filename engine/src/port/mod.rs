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
//! - [`invocation`]: waiting for a reply. [`responder`]: giving one. [`loan`]: writing in place.
//!
//! Locks, in the order in which they may be nested: outbox, then requests, then owed. No thread
//! holds one while it waits for the peer, and none is held while application code runs, except the
//! outbox during a [`loan`].

pub(crate) mod incoming;
pub(crate) mod invocation;
pub(crate) mod loan;
pub(crate) mod responder;

use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak},
    time::{Duration, Instant},
};

use crate::{
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
    payload::Payload,
    policy::ChannelSet,
    request::{RequestTable, TooManyPending},
    ring::producer::{Producer, ReserveError},
    signal::{Interrupt, PeerBell},
    sync::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    timed::TimedRequests,
};

use invocation::{Drive, Notify, Outcome};
use responder::Owed;

/// Replies that wait for room take at most this many times the outbox's capacity.
const BACKLOG_CAPACITIES: usize = 4;
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
    timed_requests: Arc<TimedRequests>,

    outbox: Mutex<Outbox>,
    /// The thread that holds the outbox for a loan, or 0.
    loaned_to: AtomicU64,
    /// How many threads wait for room. Under the lock because the epoch has one writer at a time.
    room_waiters: Mutex<u32>,
    /// Replies or cancels wait for room; the driver sends them when it comes.
    deferred: AtomicBool,

    requests: Mutex<RequestTable<Notify, Outcome>>,
    /// How many settled requests nobody has taken: a hint, read without the lock. A driver sees what
    /// the one before it stored, because the seat's lock lies between them.
    unread: AtomicU64,
    /// A request whose reply went straight into its caller's hands, or 0. Its slot is freed by whoever
    /// next works on the table. Set by the driver alone, and only when it is 0.
    in_hand: AtomicU64,
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
    backlog: VecDeque<(Label, Box<[u8]>)>,
    backlog_bytes: usize,
    /// The id of the next request: begun while the last one was on its way, so that this one need not
    /// wait for the table.
    spare: Option<RequestId>,
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
            timed_requests,
        } = parts;
        Arc::new(Self {
            side,
            window,
            peer_pid: AtomicU32::new(peer_pid),
            channels,
            allowed,
            limits,
            counters: SessionCounters::default(),
            own,
            peer,
            bell,
            interrupt: Interrupt::default(),
            driver,
            timed_requests,
            outbox: Mutex::new(Outbox {
                producer,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
                spare: None,
            }),
            loaned_to: AtomicU64::new(0),
            room_waiters: Mutex::new(0),
            deferred: AtomicBool::new(false),
            requests: Mutex::new(RequestTable::new(
                limits.pending_max,
                RequestId::FIRST_GENERATION,
            )),
            unread: AtomicU64::new(0),
            in_hand: AtomicU64::new(0),
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
        let number = self.known(key)?;
        if self.allowed.contains(number) {
            Ok(number)
        } else {
            self.counters.forbidden.add();
            Err(SendError::Forbidden { channel: key.name() })
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

    /// How long a plain `send` waits for room: main's loop never does.
    pub(crate) fn patience(&self) -> Patience {
        self.patience_of(self.limits.send_timeout)
    }

    pub(crate) fn patience_of(&self, timeout: Duration) -> Patience {
        let in_main_loop = self.side == Side::Main && matches!(inside::now(), Inside::Main(_));
        if in_main_loop { Patience::None } else { Patience::For(timeout) }
    }

    /// Sends one message.
    #[inline]
    pub(crate) fn send<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        let label = Label { kind: Kind::Send, flags: 0, channel: self.permitted(&key)?, id: None };
        self.commit_value(key.name(), label, value, patience)
    }

    #[inline]
    pub(crate) fn commit_value<T: Payload + ?Sized>(
        &self,
        channel: &'static str,
        label: Label,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        value
            .encode(|bytes| self.commit(channel, label, bytes, patience))
            .map_err(|source| SendError::Encode { channel, source })?
    }

    /// Commits one frame and wakes the peer if it sleeps.
    #[inline]
    pub(crate) fn commit(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        self.with_room(channel, patience, || self.try_commit(channel, label, bytes))
    }

    #[inline]
    fn try_commit(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        let mut outbox = self.lock_outbox(channel)?;
        if let Some(reason) = self.gone.get() {
            return Err(SendError::Gone { channel, reason: reason.clone() });
        }
        self.send_deferred(&mut outbox)
            .and_then(|()| put(&mut outbox.producer, label, bytes))
            .map_err(|error| self.send_error(channel, error))?;
        self.counters.frames_sent.add_alone(1);
        drop(outbox);
        self.bell.frames_committed(&self.counters.wakes);
        Ok(())
    }

    /// Begins a request and commits its frame. `label` is without the id.
    #[inline]
    pub(crate) fn commit_request(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
        patience: Patience,
    ) -> Result<Result<RequestId, TooManyPending>, SendError> {
        self.with_room(channel, patience, || {
            self.try_commit_request(channel, label, bytes, timeout)
        })
    }

    #[inline]
    fn try_commit_request(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Result<RequestId, TooManyPending>, SendError> {
        let mut outbox = self.lock_outbox(channel)?;
        if let Some(reason) = self.gone.get() {
            return Err(SendError::Gone { channel, reason: reason.clone() });
        }
        let Some(id) =
            outbox.spare.take().or_else(|| self.requests(|requests| self.begin_in(requests)))
        else {
            // None begins after the end: see there.
            return match self.gone.get() {
                Some(reason) => Err(SendError::Gone { channel, reason: reason.clone() }),
                None => Ok(Err(TooManyPending)),
            };
        };
        // After the id was taken: if its slot was a cancelled request's, the cancel goes first.
        let label = Label { id: Some(id), ..label };
        let sent =
            self.send_deferred(&mut outbox).and_then(|()| put(&mut outbox.producer, label, bytes));
        if let Err(error) = sent {
            outbox.spare = Some(id);
            return Err(self.send_error(channel, error));
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
        Ok(Ok(id))
    }

    /// `None`: every slot is in use, or the session is over. The end is looked at under the table's lock:
    /// what begins before it is settled by it.
    fn begin_in(&self, requests: &mut RequestTable<Notify, Outcome>) -> Option<RequestId> {
        match self.gone.get() {
            Some(_) => None,
            None => requests.begin(None).ok(),
        }
    }

    /// Makes an attempt, and if it fails for want of room repeats it until there is some, or the
    /// patience ends.
    #[inline]
    fn with_room<R>(
        &self,
        channel: &'static str,
        patience: Patience,
        mut attempt: impl FnMut() -> Result<R, SendError>,
    ) -> Result<R, SendError> {
        match attempt() {
            Err(SendError::Full { .. }) => self.wait_for_room(channel, patience, attempt),
            result => result,
        }
    }

    #[cold]
    fn wait_for_room<R>(
        &self,
        channel: &'static str,
        patience: Patience,
        mut attempt: impl FnMut() -> Result<R, SendError>,
    ) -> Result<R, SendError> {
        self.counters.stalls.add();
        let Patience::For(timeout) = patience else {
            self.counters.full.add();
            return Err(SendError::Full { channel });
        };
        for _ in 0..LOOKS_FOR_ROOM {
            crate::sync::spin_loop();
            match attempt() {
                Err(SendError::Full { .. }) => {}
                result => return result,
            }
        }
        let began = Instant::now();
        let deadline = began.checked_add(timeout);
        *lock(&self.room_waiters) += 1;
        let result = loop {
            let (bell, interrupt) = (self.peer.bell.read(), self.interrupt.read());
            self.want_room();
            match attempt() {
                Err(SendError::Full { .. }) => {}
                result => break result,
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.counters.full.add();
                break Err(SendError::TimedOut { channel, waited: timeout });
            }
            self.interrupt.sleep(&self.peer.bell, bell, interrupt, deadline);
        };
        let mut waiters = lock(&self.room_waiters);
        *waiters -= 1;
        if *waiters == 0 && !self.has_deferred() {
            self.own.space_wanted.withdraw();
        }
        result
    }

    /// Asks the peer to ring when it has made room. Each asking is an epoch of its own: the peer
    /// rings once for each, and an earlier waiter may have used up the last. Look again afterwards.
    fn want_room(&self) {
        let _one_writer = lock(&self.room_waiters);
        self.own.space_wanted.announce();
    }

    fn send_error(&self, channel: &'static str, error: ReserveError) -> SendError {
        match error {
            ReserveError::Full => SendError::Full { channel },
            ReserveError::TooLarge { len, max } => {
                self.counters.too_large.add();
                SendError::TooLarge { channel, len, max }
            }
            ReserveError::Peer(violation) => {
                self.break_off(violation.clone());
                SendError::Gone { channel, reason: GoneReason::ProtocolViolation(violation) }
            }
        }
    }

    /// Locks the outbox, unless this very thread holds it for a loan.
    fn lock_outbox(&self, channel: &'static str) -> Result<MutexGuard<'_, Outbox>, SendError> {
        match self.outbox.try_lock() {
            Ok(outbox) => Ok(outbox),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            // Relaxed: only this thread can have stored its own number.
            Err(TryLockError::WouldBlock)
                if self.loaned_to.load(Ordering::Relaxed) == thread_number() =>
            {
                Err(SendError::LoanHeld { channel })
            }
            Err(TryLockError::WouldBlock) => Ok(lock(&self.outbox)),
        }
    }

    /// Works on the request table.
    #[inline]
    fn requests<R>(&self, work: impl FnOnce(&mut RequestTable<Notify, Outcome>) -> R) -> R {
        let mut requests = lock(&self.requests);
        // Relaxed: the id is all there is to it. Only one at a time takes it out, under the lock.
        if let Some(id) = RequestId::from_wire(self.in_hand.load(Ordering::Relaxed)) {
            requests.retract(id);
            self.in_hand.store(0, Ordering::Relaxed);
        }
        let result = work(&mut requests);
        if requests.has_cancels() {
            // Under the lock: who is given the slot of a cancelled request sees this, and sends the
            // cancel first.
            self.deferred.store(true, Ordering::Relaxed);
        }
        self.unread.store(requests.done() as u64, Ordering::Relaxed);
        result
    }

    /// The driver's part: a request's reply is in its caller's hands. The table need not be locked for
    /// that now: its next user will see to it.
    #[inline]
    fn settled_in_hand(&self, id: RequestId) {
        if self.in_hand.load(Ordering::Relaxed) == 0 {
            self.in_hand.store(id.to_wire(), Ordering::Relaxed);
        } else {
            self.requests(|requests| requests.retract(id));
        }
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
        let mut outbox = match self.lock_outbox("reply") {
            Ok(outbox) => outbox,
            // In a loan's own thread: cannot be had without waiting for ourselves.
            Err(_) => {
                return Err(ReplyError::Undeliverable(
                    "this thread holds a loan of the ring".into(),
                ));
            }
        };
        if self.gone.get().is_some() {
            return Ok(());
        }
        let sent =
            self.send_deferred(&mut outbox).and_then(|()| put(&mut outbox.producer, label, bytes));
        match sent {
            Ok(()) => {
                self.counters.frames_sent.add_alone(1);
                drop(outbox);
                self.bell.frames_committed(&self.counters.wakes);
                Ok(())
            }
            Err(ReserveError::Full) => self.keep_reply(&mut outbox, label, bytes),
            Err(ReserveError::TooLarge { len, max }) => {
                self.counters.too_large.add();
                Err(ReplyError::Undeliverable(format!(
                    "{len} bytes are too many: at most {max} fit"
                )))
            }
            Err(ReserveError::Peer(violation)) => Err(ReplyError::Violation(violation)),
        }
    }

    /// An honest peer has no more requests pending than its quota, so neither does the backlog.
    #[cold]
    fn keep_reply(
        &self,
        outbox: &mut Outbox,
        label: Label,
        bytes: &[u8],
    ) -> Result<(), ReplyError> {
        let max = self.limits.owed_max;
        if outbox.backlog.len() >= usize::from(max) {
            return Err(ReplyError::Violation(Violation::TooManyPending { max: u64::from(max) }));
        }
        // News of a failure is short, and there is none to tell of its own failure.
        let over =
            outbox.backlog_bytes + bytes.len() > BACKLOG_CAPACITIES * outbox.producer.capacity();
        if over && label.kind != Kind::Fail {
            return Err(ReplyError::Undeliverable(
                "the caller takes its replies too slowly".into(),
            ));
        }
        outbox.backlog_bytes += bytes.len();
        outbox.backlog.push_back((label, bytes.into()));
        self.counters.backlogged.add();
        self.defer();
        // Asked first, now looked again: room that came in between has rung nobody.
        match self.send_deferred(outbox) {
            Err(ReserveError::Peer(violation)) => Err(ReplyError::Violation(violation)),
            _ => Ok(()),
        }
    }

    /// Drops the reply to a request that was given up, so that the backlog holds no more of them than
    /// an honest caller has pending.
    pub(crate) fn forget_backlogged(&self, id: RequestId) {
        if !self.has_deferred() {
            return;
        }
        // A loan of this very thread keeps its replies until it is over.
        let Ok(mut outbox) = self.lock_outbox("cancel") else { return };
        let Some(place) = outbox.backlog.iter().position(|(label, _)| label.id == Some(id)) else {
            return;
        };
        if let Some((_, bytes)) = outbox.backlog.remove(place) {
            outbox.backlog_bytes -= bytes.len();
            self.counters.late_replies.add();
        }
    }

    /// Something waits for room: the driver is to send it.
    fn defer(&self) {
        // Relaxed: set under the outbox's lock or by the driver itself, and looked at under it.
        self.deferred.store(true, Ordering::Relaxed);
        self.want_room();
    }

    pub(crate) fn has_deferred(&self) -> bool {
        self.deferred.load(Ordering::Relaxed)
    }

    /// The driver's part: sends what waits, as far as there is room.
    pub(crate) fn flush(&self) {
        if !self.has_deferred() {
            return;
        }
        let Ok(mut outbox) = self.lock_outbox("deferred") else { return };
        if self.send_deferred(&mut outbox).is_err() {
            // Ask first, then look again: room that came in between has rung nobody.
            self.want_room();
            if let Err(ReserveError::Peer(violation)) = self.send_deferred(&mut outbox) {
                self.break_off(violation);
            }
        }
    }

    /// Sends waiting cancels and replies first, so that replies stay in order and neither list grows.
    #[inline]
    fn send_deferred(&self, outbox: &mut Outbox) -> Result<(), ReserveError> {
        if self.has_deferred() { self.send_deferred_now(outbox) } else { Ok(()) }
    }

    #[cold]
    fn send_deferred_now(&self, outbox: &mut Outbox) -> Result<(), ReserveError> {
        let before = self.counters.frames_sent.get();
        let result = self.commit_deferred(outbox);
        if self.counters.frames_sent.get() != before {
            // Here, because the caller may find no room for its own frame, and then rings nobody.
            self.bell.frames_committed(&self.counters.wakes);
        }
        result
    }

    fn commit_deferred(&self, outbox: &mut Outbox) -> Result<(), ReserveError> {
        while let Some((label, bytes)) = outbox.backlog.front() {
            put(&mut outbox.producer, *label, bytes)?;
            self.counters.frames_sent.add_alone(1);
            outbox.backlog_bytes -= bytes.len();
            outbox.backlog.pop_front();
        }
        let mut requests = lock(&self.requests);
        while let Some(id) = requests.next_cancel() {
            let cancel = Label { kind: Kind::Cancel, flags: 0, channel: 0, id: Some(id) };
            put(&mut outbox.producer, cancel, &[])?;
            self.counters.frames_sent.add_alone(1);
            requests.cancel_sent();
        }
        self.deferred.store(false, Ordering::Relaxed);
        drop(requests);
        let waiters = lock(&self.room_waiters);
        if *waiters == 0 {
            self.own.space_wanted.withdraw();
        }
        Ok(())
    }

    /// A payload must not be longer than this, in bytes.
    pub(crate) fn payload_max(&self) -> usize {
        lock(&self.outbox).producer.payload_max()
    }
}

/// Copies one frame into the ring and commits it.
#[inline]
fn put(producer: &mut Producer, label: Label, bytes: &[u8]) -> Result<(), ReserveError> {
    let reservation = producer.reserve(bytes.len())?;
    producer.write(&reservation, bytes);
    producer.commit(reservation, label);
    Ok(())
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

/// A number for this thread that no other has, never 0.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}
