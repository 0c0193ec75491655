//! One conversation: the parts of it, its messages, and its end.

use std::{
    borrow::Borrow,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    contract::{ChannelKey, payload::Payload},
    kill_points::{KillPoint, reach},
    metrics::SessionMetrics,
    peer::{
        error::{SendAllError, SendError},
        incoming::Incoming,
        large::{
            main_attachments::Content,
            outgoing::{Attachments, OutgoingPayload},
            transfer::Large,
        },
        link::{Limit, Link, Patience, Reason},
        requests::outcome::{Awaited, Ending, Notify, ReplyBytes},
        sender::{BATCH_MAX, FramePayload, SendRefusal, Sender},
    },
    primitives::{AtomicBool, Mutex, Ordering},
    ring::producer::Producer,
    session::liveness::GoneReason,
    wire::{frame::Label, id::RequestId, kind::Kind},
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
    pub(crate) restarts_in: Mutex<Option<Duration>>,
}

impl Deref for Port {
    type Target = Link;

    #[inline]
    fn deref(&self) -> &Link {
        &self.sender.link
    }
}

impl Port {
    /// `attached_max` is the longest payload that may be attached, in bytes.
    pub(crate) fn new(
        link: Link,
        producer: Producer,
        inbox_capacity: usize,
        attachments: Attachments,
        attached_max: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            incoming: Incoming::new(link.limits.owed_max),
            large: Large::new(attachments, producer.payload_max(), attached_max),
            sender: Sender::new(link, producer),
            inbox_capacity,
            connected: AtomicBool::new(false),
            close_requested: AtomicBool::new(false),
            restarts_in: Mutex::new(None),
        })
    }

    /// Sends one message.
    #[inline]
    pub(crate) fn send<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        let label = Label::new(Kind::Send, self.permitted(&key)?);
        match value.encode(|bytes| self.sender.commit(label, FramePayload::Bytes(bytes))) {
            Ok(Ok(())) => Ok(()),
            _ => self.send_patiently(key.name(), label, value, patience),
        }
    }

    #[cold]
    fn send_patiently<T: Payload + ?Sized>(
        &self,
        channel: &'static str,
        label: Label,
        value: &T,
        patience: Patience,
    ) -> Result<(), SendError> {
        value
            .encode(|bytes| self.commit_patiently(channel, label, bytes, patience))
            .map_err(|source| SendError::Encode { channel, source })?
    }

    /// Sends messages in order, each as [`send`](Self::send) would.
    pub(crate) fn send_all<T: Payload + ?Sized>(
        &self,
        key: ChannelKey,
        messages: &[impl Borrow<T>],
        patience: Patience,
    ) -> Result<(), SendAllError> {
        let mut sent = 0;
        let number = self.permitted(&key).map_err(|source| SendAllError { sent, source })?;
        let label = Label::new(Kind::Send, number);
        while sent < messages.len() {
            let batch = &messages[sent..messages.len().min(sent + BATCH_MAX)];
            let committed = self.sender.commit_batch::<T>(label, batch);
            sent += committed;
            if let Some(refused) = batch.get(committed) {
                // Waits for the first message that found no room, and goes on behind it.
                self.send_patiently(key.name(), label, refused.borrow(), patience)
                    .map_err(|source| SendAllError { sent, source })?;
                sent += 1;
            }
        }
        Ok(())
    }

    /// Commits a message. Waits for room, or attaches the payload.
    #[cold]
    pub(crate) fn commit_patiently(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        let limit = Limit::begin(self, patience);
        self.attempt(channel, Content::Bytes(bytes), limit, |attached| {
            self.sender.commit(label, FramePayload::of(bytes, attached))
        })
    }

    /// Repeats an attempt to commit a payload until there is room or the limit is over. A payload that
    /// is too long for a frame is in an attachment, which the attempt takes out.
    pub(super) fn attempt<R>(
        &self,
        channel: &'static str,
        content: Content<'_>,
        limit: Limit,
        mut attempt: impl FnMut(&mut Option<OutgoingPayload>) -> Result<R, SendRefusal>,
    ) -> Result<R, SendError> {
        let (sender, len) = (&self.sender, content.len());
        let mut attached = None;
        if self.large.attaches(len) {
            attached = Some(self.large.fill(sender, channel, content, limit)?);
            reach(KillPoint::AttachmentReady);
        }
        let result = sender.patiently(limit, || attempt(&mut attached));
        if attached.take().is_some() {
            self.large.give_back(sender);
        }
        result.map_err(|refusal| sender.explain(refusal, channel, len, limit))
    }

    /// Begins a request that was refused at first. `None`: too many are pending.
    #[cold]
    pub(super) fn request_patiently(
        &self,
        channel: &'static str,
        label: Label,
        bytes: &[u8],
        timeout: Option<Duration>,
    ) -> Result<Option<RequestId>, SendError> {
        // A caller that waits no longer for the reply need not wait longer for room.
        let patience = self.limits.send_timeout.min(timeout.unwrap_or(Duration::MAX));
        let limit = Limit::begin(self, Patience::For(patience));
        self.attempt(channel, Content::Bytes(bytes), limit, |attached| {
            match self.sender.commit_request(label, timeout, FramePayload::of(bytes, attached)) {
                Ok(id) => Ok(Some(id)),
                Err(SendRefusal::TooManyPending) => Ok(None),
                Err(refusal) => Err(refusal),
            }
        })
    }

    /// Settles a request with a reply of the peer. An unknown id is counted and dropped. For the driver.
    #[inline]
    pub(super) fn settle(
        &self,
        id: RequestId,
        ending: &Ending,
        reply: ReplyBytes<'_>,
        awaited: Option<&mut Awaited<'_>>,
    ) {
        reach(KillPoint::ReplyReceived);
        let requests = &self.sender.requests;
        if requests.hand_over(id, ending, reply.as_slice(), awaited) {
            return;
        }
        match requests.store(id, ending, reply) {
            Ok(None) => {}
            Ok(Some(caller)) => self.notify(caller),
            Err(_stale) => self.counters.stale_replies.add(),
        }
    }

    /// Returns whether requests with a deadline have begun since the last [`expire`](Self::expire).
    #[inline]
    pub(crate) fn has_new_deadlines(&self) -> bool {
        self.sender.requests.timed_have_begun()
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
        let expired = self.sender.requests.expire(now);
        if expired.count > 0 {
            self.counters.timed_out.add_alone(expired.count as u64);
            self.sender.send_cancels();
        }
        expired.notify.into_iter().for_each(|caller| self.notify(caller));
        expired.next
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

    /// Ends the session: nothing is sent any more, and everything that waits ends. Only the first
    /// reason counts.
    pub(crate) fn end(&self, reason: GoneReason) {
        let _ = self.gone.set(reason.clone());
        self.sender.requests.close(&reason).into_iter().for_each(|caller| self.notify(caller));
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
        let pending = self.sender.requests.work(|table| table.pending());
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
