//! Replies, which never wait: one that finds no room is kept in the backlog until there is some. And
//! what goes the same way: the cancels of our own requests.

use std::{collections::HashMap, sync::Arc};

use crate::peer::{Port, invocation::Reason, port::Outbox, sender::SendRefusal};
use crate::{
    peer::{incoming_request::IncomingRequest, large::Outgoing},
    primitives::Ordering,
    wire::{
        frame::{Kind, Label, Violation},
        id::RequestId,
        words::fence_before_look,
    },
};

/// Replies that wait for room take at most this many times the outbox's capacity.
const BACKLOG_CAPACITIES: usize = 4;
/// Why a reply that found no room is not kept either.
pub(super) const TOO_SLOWLY: &str = "the caller takes its replies too slowly";
/// Why a reply of the thread that holds the outbox is not sent.
const LOAN_HELD: &str = "this thread holds a loan of the ring";

/// The payload of a reply that waits for room.
pub(super) enum Kept {
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
pub(super) enum Body<'a> {
    Bytes(&'a [u8]),
    /// Taken out if it is kept.
    Attached {
        outgoing: &'a mut Option<Outgoing>,
        len: usize,
    },
}

/// Why a reply will never be sent.
pub(crate) enum ReplyError {
    /// The caller should be told why.
    Undeliverable(String),
    /// The peer broke the protocol.
    Violation(Violation),
}

impl Port {
    /// Sends a reply, or keeps it until there is room. Never waits.
    #[inline(always)]
    pub(crate) fn reply(&self, label: Label, bytes: &[u8]) -> Result<(), ReplyError> {
        match self.try_commit(label, bytes) {
            Ok(()) => Ok(()),
            Err(refusal) => self.reply_refused(refusal, label, bytes),
        }
    }

    #[cold]
    fn reply_refused(
        &self,
        refusal: SendRefusal,
        label: Label,
        bytes: &[u8],
    ) -> Result<(), ReplyError> {
        if bytes.len() > self.in_band_max {
            self.reply_attached(label, bytes)
        } else {
            self.reply_after(refusal, label, Body::Bytes(bytes))
        }
    }

    #[cold]
    pub(super) fn reply_after(
        &self,
        refusal: SendRefusal,
        label: Label,
        body: Body<'_>,
    ) -> Result<(), ReplyError> {
        match refusal {
            SendRefusal::Full => self.keep_reply(label, body),
            SendRefusal::TooLarge { max } => {
                Err(ReplyError::Undeliverable(format!("at most {max} bytes fit into a frame")))
            }
            // In a loan's own thread: cannot be had without waiting for ourselves.
            SendRefusal::LoanHeld => Err(ReplyError::Undeliverable(LOAN_HELD.to_owned())),
            // Nobody waits for it any more.
            SendRefusal::Gone | SendRefusal::TooManyPending => Ok(()),
        }
    }

    /// An honest peer has no more requests pending than its quota, so neither does the backlog.
    pub(super) fn keep_reply(&self, label: Label, body: Body<'_>) -> Result<(), ReplyError> {
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
    pub(super) fn defer(&self) {
        self.pending.defer();
        self.space_waiters.ask();
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
            self.space_waiters.ask();
            let _still_full = self.send_deferred(&mut outbox);
        }
    }

    /// Sends waiting cancels and replies first, so that replies stay in order and neither list grows.
    #[inline]
    pub(super) fn send_deferred(&self, outbox: &mut Outbox) -> Result<(), SendRefusal> {
        if self.has_deferred() { self.send_deferred_now(outbox) } else { Ok(()) }
    }

    /// Call after committing frames: wakes the peer if it sleeps, and tells the loop if it wants to know.
    #[inline]
    pub(super) fn frames_committed(&self) {
        // It fences: either we see here that the loop wants to know, or its next look finds the frame.
        self.bell.frames_committed(&self.counters.wakes);
        // Relaxed: the number is stored under the lock of the list.
        if self.tell.load(Ordering::Relaxed) {
            self.tell();
        }
    }

    #[cold]
    fn tell(&self) {
        self.tell.store(false, Ordering::Relaxed);
        self.notice(Reason::Sent);
    }

    /// The driver's part: it wants to know of the next frame. It looks once more after this, for one that may have
    /// been on its way.
    pub(crate) fn tell_of_next_send(&self) {
        self.tell.store(true, Ordering::Relaxed);
        // Twin of the fence in `frames_committed`.
        fence_before_look();
    }

    #[cold]
    fn send_deferred_now(&self, outbox: &mut Outbox) -> Result<(), SendRefusal> {
        let before = self.counters.frames_sent.get();
        let result = self.commit_deferred(outbox);
        if self.counters.frames_sent.get() != before {
            // Here, because the caller may find no room for its own frame, and then rings nobody.
            self.frames_committed();
        }
        result
    }

    fn commit_deferred(&self, outbox: &mut Outbox) -> Result<(), SendRefusal> {
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
        self.space_waiters.none_deferred();
        Ok(())
    }

    /// Works on the list of the peer's unanswered requests.
    pub(super) fn owed<R>(
        &self,
        work: impl FnOnce(&mut HashMap<RequestId, Arc<IncomingRequest>>) -> R,
    ) -> R {
        let mut owed = self.owed.lock();
        let result = work(&mut owed);
        self.owed_count.store(owed.len() as u64, Ordering::Relaxed);
        result
    }
}
