//! One conversation: the parts of it, its messages, and its end.

use std::{
    borrow::Borrow,
    ops::Deref,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use fixedbitset::FixedBitSet;

use crate::{
    contract::{ChannelKey, channel_table::ChannelTable, payload::Payload},
    kill_points::{KillPoint, reach},
    metrics::{SessionMetrics, counters::SessionCounters},
    peer::{
        error::{SendAllError, SendError},
        incoming::Incoming,
        large::{body::Body, outgoing::Attachments, transfer::Large},
        link::{EventLoop, Limit, Link, Patience, Reason, SessionLimits, Side},
        requests::{
            Stale,
            outcome::{Awaited, Ending, Notify, SessionRequests},
        },
        sender::{BatchStop, SendRefusal, Sender},
    },
    primitives::{AtomicBool, AtomicU32, Mutex, Ordering},
    ring::producer::Producer,
    session::liveness::GoneReason,
    shm::shared::Shared,
    wake::bell::{Interrupt, PeerBell},
    wire::{frame::Label, id::RequestId, kind::Kind, outbox::OutboxControl},
};

/// One conversation with one peer. It is its [`Link`], and has four parts.
pub(crate) struct Port {
    /// One frame into the outbox. It has the link, and our requests.
    pub(crate) sender: Sender,
    /// The peer's requests.
    pub(crate) incoming: Incoming,
    /// Payloads that are too long for a frame.
    pub(crate) large: Large,
    /// The capacity of the ring that the peer writes, in bytes.
    inbox_capacity: usize,
    /// The handshake is over.
    connected: AtomicBool,
    close_requested: AtomicBool,
    /// The time after which the peer is launched again.
    restarts_in: Mutex<Option<Duration>>,
}

/// The values that a port is made of.
pub(crate) struct PortParts {
    pub(crate) side: Side,
    pub(crate) window: u32,
    pub(crate) channels: Arc<ChannelTable>,
    pub(crate) allowed: FixedBitSet,
    pub(crate) limits: SessionLimits,
    pub(crate) own: Shared<OutboxControl>,
    pub(crate) peer: Shared<OutboxControl>,
    pub(crate) bell: PeerBell,
    pub(crate) interrupt: Interrupt,
    pub(crate) producer: Producer,
    pub(crate) inbox_capacity: usize,
    pub(crate) peer_pid: u32,
    pub(crate) event_loop: Weak<dyn EventLoop>,
    pub(crate) attachments: Attachments,
    /// The longest payload that may be attached, in bytes.
    pub(crate) attached_max: u64,
}

impl Deref for Port {
    type Target = Link;

    #[inline]
    fn deref(&self) -> &Link {
        self.sender.link()
    }
}

impl Port {
    pub(crate) fn new(parts: PortParts) -> Arc<Self> {
        let limits = parts.limits;
        let link = Link {
            side: parts.side,
            window: parts.window,
            peer_pid: AtomicU32::new(parts.peer_pid),
            channels: parts.channels,
            allowed: parts.allowed,
            limits,
            counters: SessionCounters::default(),
            own: parts.own,
            peer: parts.peer,
            bell: parts.bell,
            interrupt: parts.interrupt,
            event_loop: parts.event_loop,
            gone: OnceLock::new(),
        };
        let in_band_max = parts.producer.payload_max();
        Arc::new(Self {
            sender: Sender::new(link, parts.producer),
            incoming: Incoming::new(limits.owed_max),
            large: Large::new(parts.attachments, in_band_max, parts.attached_max),
            inbox_capacity: parts.inbox_capacity,
            connected: AtomicBool::new(false),
            close_requested: AtomicBool::new(false),
            restarts_in: Mutex::new(None),
        })
    }

    /// Returns our requests.
    #[inline]
    pub(super) fn requests(&self) -> &SessionRequests {
        self.sender.requests()
    }

    // --- messages ------------------------------------------------------------------------------------

    /// Sends one message.
    #[inline]
    pub(crate) fn send<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        let label = Label::new(Kind::Send, self.sender.link().permitted(&key)?);
        match value.encode(|bytes| self.sender.commit(label, bytes)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => self.send_after(refusal, key.name(), label, value, patience),
            Err(source) => Err(SendError::Encode { channel: key.name(), source }),
        }
    }

    #[cold]
    fn send_after<T: Payload + ?Sized>(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        label: Label,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        value
            .encode(|bytes| self.commit_after(refusal, channel, label, bytes, patience))
            .map_err(|source| SendError::Encode { channel, source })?
    }

    /// Sends messages in order, each as [`send`](Self::send) would.
    pub(crate) fn send_all<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        messages: &[impl Borrow<T>],
        patience: Patience,
    ) -> Result<(), SendAllError> {
        let channel = key.name();
        let mut sent = 0;
        let failed = |sent, source| SendAllError { sent, source };
        let number = self.permitted(&key).map_err(|source| failed(0, source))?;
        let label = Label::new(Kind::Send, number);
        while let Some(rest) = messages.get(sent..).filter(|rest| !rest.is_empty()) {
            let (committed, stop) = self.sender.commit_batch::<T>(label, rest);
            sent += committed;
            match stop {
                None => {}
                Some(BatchStop::Refused(refusal)) => {
                    // Waits for the first message that found no room, and goes on behind it.
                    self.send_after(refusal, channel, label, messages[sent].borrow(), patience)
                        .map_err(|source| failed(sent, source))?;
                    sent += 1;
                }
                Some(BatchStop::Encode(source)) => {
                    return Err(failed(sent, SendError::Encode { channel, source }));
                }
            }
        }
        Ok(())
    }

    /// Tells main about a topic: sends a frame without a payload.
    pub(crate) fn send_bare(&self, channel: &'static str, label: Label) -> Result<(), SendError> {
        self.sender
            .commit(label, &[])
            .or_else(|refusal| self.commit_after(refusal, channel, label, &[], Patience::Usual))
    }

    /// Commits a message that was refused at first: waits for room, or attaches it.
    #[cold]
    fn commit_after(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        let limit = Limit::begin(self, patience);
        let sent = if self.large.attaches(bytes.len()) {
            self.large.send(&self.sender, channel, bytes, limit, |payload| {
                self.sender.commit_attached(label, payload)
            })?
        } else {
            self.sender.retry(refusal, limit, || self.sender.commit(label, bytes))
        };
        sent.map_err(|refusal| self.sender.explain(refusal, channel, bytes.len(), limit))
    }

    // --- our requests --------------------------------------------------------------------------------

    /// Begins a request and commits its frame. `label` is without the id. `None`: too many are pending.
    #[inline(always)]
    pub(super) fn request(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Option<RequestId>, SendError> {
        let begun = self.sender.commit_request(label, timeout, |sender, producer, label| {
            sender.put(producer, label, bytes)
        });
        match begun {
            Ok(id) => Ok(Some(id)),
            Err(refusal) => self.request_after(refusal, channel, label, bytes, timeout),
        }
    }

    #[cold]
    fn request_after(
        &self,
        refusal: SendRefusal,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Option<RequestId>, SendError> {
        // A caller that waits no longer for the reply need not wait longer for room.
        let patience = self.limits.send_timeout.min(timeout.unwrap_or(Duration::MAX));
        let limit = Limit::begin(self, Patience::For(patience));
        let begun = if self.large.attaches(bytes.len()) {
            self.large.send(&self.sender, channel, bytes, limit, |payload| {
                self.sender.commit_request(label, timeout, |sender, producer, label| {
                    sender.put_attached(producer, label, payload)
                })
            })?
        } else {
            self.sender.retry(refusal, limit, || {
                self.sender.commit_request(label, timeout, |sender, producer, label| {
                    sender.put(producer, label, bytes)
                })
            })
        };
        match begun {
            Ok(id) => Ok(Some(id)),
            Err(SendRefusal::TooManyPending) => Ok(None),
            Err(refusal) => Err(self.sender.explain(refusal, channel, bytes.len(), limit)),
        }
    }

    /// Settles a request with a reply of the peer. An unknown id is counted and dropped. For the driver.
    #[inline]
    pub(super) fn settle(
        &self,
        id: RequestId,
        ending: &Ending,
        bytes: &[u8],
        awaited: Option<&mut Awaited<'_>>,
    ) {
        reach(KillPoint::ReplyReceived);
        if !self.requests().hand_over(id, ending, bytes, awaited) {
            self.settled(self.requests().store(id, |outcome| outcome.set(ending, bytes)));
        }
    }

    /// As [`settle`](Self::settle), with an attached reply.
    pub(super) fn settle_attached(
        &self,
        id: RequestId,
        ending: &Ending,
        body: Body,
        awaited: Option<&mut Awaited<'_>>,
    ) {
        reach(KillPoint::ReplyReceived);
        if !self.requests().hand_over(id, ending, &body, awaited) {
            self.settled(self.requests().store(id, |outcome| outcome.set_attached(ending, body)));
        }
    }

    fn settled(&self, stored: Result<Option<Notify>, Stale>) {
        match stored {
            Ok(None) => {}
            Ok(Some(caller)) => self.notify(caller),
            Err(_stale) => self.counters.stale_replies.add(),
        }
    }

    /// Returns whether requests with a deadline have begun since the last [`expire`](Self::expire).
    #[inline]
    pub(crate) fn has_new_deadlines(&self) -> bool {
        self.requests().timed.have_begun()
    }

    /// Has the loop enforce the deadline of a request on which no thread blocks. Wakes the loop in case
    /// it sleeps without knowing the request.
    pub(super) fn enforce_deadline(&self) {
        if self.has_new_deadlines() {
            self.notice(Reason::Unattended);
        }
    }

    /// Ends the requests that are overdue at `now`, and returns the next deadline. For the driver.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let expired = self.requests().expire(now);
        if expired.count > 0 {
            self.counters.timed_out.add_alone(expired.count as u64);
            self.sender.send_cancels();
        }
        expired.notify.into_iter().for_each(|caller| self.notify(caller));
        expired.next
    }

    /// Gives a request up, unless its outcome was taken. Its handler is told as soon as there is room.
    pub(super) fn abandon(&self, id: RequestId) {
        if self.requests().abandon(id) {
            self.sender.send_cancels();
        }
    }

    /// Tells the caller that its request is settled.
    pub(super) fn notify(&self, caller: Notify) {
        match caller {
            Notify::Thread(thread) => thread.unpark(),
            Notify::Waker(waker) => waker.wake(),
            Notify::Callback(callback) => {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(callback)).is_err() {
                    self.counters.panics.add();
                }
            }
        }
    }

    // --- the end -------------------------------------------------------------------------------------

    /// Ends the session: nothing is sent any more, and everything that waits ends. Only the first
    /// reason counts.
    pub(crate) fn end(&self, reason: GoneReason) {
        let _ = self.gone.set(reason.clone());
        self.requests().close(&reason).into_iter().for_each(|caller| self.notify(caller));
        self.incoming.end();
        self.large.end();
        self.sender.end();
        self.interrupt.raise();
    }

    /// Asks the loop to end the session.
    pub(crate) fn request_close(&self) {
        // Relaxed: the notice hands it over.
        if !self.close_requested.swap(true, Ordering::Relaxed) {
            self.notice(Reason::Ended);
        }
    }

    pub(crate) fn close_requested(&self) -> bool {
        self.close_requested.load(Ordering::Relaxed)
    }

    pub(crate) fn restarts_in(&self) -> Option<Duration> {
        *self.restarts_in.lock()
    }

    pub(crate) fn set_restarts_in(&self, span: Option<Duration>) {
        *self.restarts_in.lock() = span;
    }

    // --- the driver's part ---------------------------------------------------------------------------

    /// Notes that the handshake is over.
    pub(crate) fn set_connected(&self) {
        // Relaxed: only the driver writes and reads it.
        self.connected.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Returns the state of this session. Without the outbox's lock, for which its owner would pay.
    pub(crate) fn metrics(&self) -> SessionMetrics {
        // After a first request, one slot is taken ahead for the next one, unless all are in use.
        let spare = usize::from(self.counters.invokes_sent.get() > 0);
        let pending = self.requests().work(|table| table.pending());
        let all = pending == usize::from(self.limits.pending_max);
        let (outbox_capacity_bytes, outbox_used_bytes) = self.sender.usage();
        SessionMetrics {
            outbox_capacity_bytes,
            outbox_used_bytes,
            inbox_capacity_bytes: self.inbox_capacity as u64,
            pending_invokes: if all { pending } else { pending.saturating_sub(spare) } as u64,
            unanswered_invokes: self.incoming.count(),
            asleep: u64::from(self.peer.parked.asleep().is_some()),
        }
    }
}
