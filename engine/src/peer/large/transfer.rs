//! Sending and receiving what is too long for a frame.
//!
//! ```text
//!   main       a buffer ── payload ──▶ parcel, if it is new ──▶ frame
//!   renderer   Ask, wait for memory ── payload, seal ─────────▶ frame
//!                └─ Ask for the next, if this is not the first of its size
//! ```
//!
//! The payload is written before the outbox is locked, so that others send meanwhile. From then on
//! the message is sent as any other, by a frame that names the attachment.
//!
//! Main never waits for a renderer here. A renderer waits for main's answer to `Ask`, no longer than the
//! call may wait in all; main answers from its loop, which never waits. A call that must not wait asks,
//! fails, and finds the memory the next time.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::peer::{
    Patience, Port,
    replies::{Body, ReplyError, TOO_SLOWLY},
    sender::SendRefusal,
};
use crate::{
    error::{GoneReason, SendError},
    kill_points::{KillPoint, reach},
    peer::{
        large::{
            Attachments, FillError, Incoming, MainSide, OpenError, Outgoing,
            borrower::{BorrowStep, Borrower, Filled, Grant},
            pool::Buffer,
        },
        request_table::TooManyPending,
    },
    ring::producer::{Producer, Reservation},
    wire::{
        attached::{Attached, parse_word},
        frame::{Kind, Label, Violation},
        id::RequestId,
        parcel::NotLent,
    },
};

/// Until when a call may wait, in all its steps together.
#[derive(Clone, Copy)]
pub(in crate::peer) struct Limit {
    /// `None`: it does not wait.
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Limit {
    pub(in crate::peer) fn of(port: &Port, patience: Patience) -> Self {
        let timeout = port.room_timeout(patience);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { timeout, deadline }
    }

    /// What is left of it.
    fn left(&self) -> Patience {
        match (self.timeout, self.deadline) {
            (None, _) => Patience::None,
            (Some(_), Some(deadline)) => {
                Patience::For(deadline.saturating_duration_since(Instant::now()))
            }
            (Some(timeout), None) => Patience::For(timeout),
        }
    }

    /// An error that says how long the whole call has waited.
    pub(in crate::peer) fn told(&self, error: SendError) -> SendError {
        match (error, self.timeout) {
            (SendError::TimedOut { channel, .. }, Some(waited)) => {
                SendError::TimedOut { channel, waited }
            }
            (error, _) => error,
        }
    }
}

impl Port {
    // --- sending -----------------------------------------------------------------------------------

    #[cold]
    pub(in crate::peer) fn commit_attached(
        &self,
        channel: &'static str,
        label: Label,
        payload: &[u8],
        patience: Patience,
    ) -> Result<(), SendError> {
        self.with_attachment(channel, payload, patience, |limit, outgoing| {
            self.patiently(channel, payload.len(), limit, || {
                self.try_commit_attached(label, outgoing, payload.len()).map(Ok)
            })
        })
    }

    #[cold]
    pub(in crate::peer) fn commit_request_attached(
        &self,
        channel: &'static str,
        label: Label,
        payload: &[u8],
        timeout: Option<Duration>,
        patience: Patience,
    ) -> Result<Result<RequestId, TooManyPending>, SendError> {
        let len = payload.len();
        self.with_attachment(channel, payload, patience, |limit, outgoing| {
            self.patiently(channel, len, limit, || {
                let begun = self.try_commit_request_with(label, timeout, |producer, label| {
                    self.put_attached(producer, label, outgoing, len)
                });
                match begun {
                    Ok(id) => Ok(Ok(Ok(id))),
                    Err(SendRefusal::TooManyPending) => Ok(Ok(Err(TooManyPending))),
                    Err(refusal) => Err(refusal),
                }
            })
        })
    }

    fn try_commit_attached(
        &self,
        label: Label,
        outgoing: &mut Option<Outgoing>,
        len: usize,
    ) -> Result<(), SendRefusal> {
        self.try_commit_with(|producer| self.put_attached(producer, label, outgoing, len))
    }

    /// Repeats an attempt until there is room, or the limit is over. `Ok(Err)` is the end of it too.
    pub(in crate::peer) fn patiently<R>(
        &self,
        channel: &'static str,
        len: usize,
        limit: Limit,
        mut attempt: impl FnMut() -> Result<Result<R, SendError>, SendRefusal>,
    ) -> Result<R, SendError> {
        let left = limit.left();
        match attempt().or_else(|refusal| self.retry(refusal, left, attempt)) {
            Ok(result) => result,
            Err(refusal) => Err(limit.told(self.explain(refusal, channel, len, left))),
        }
    }

    /// Puts the payload into an attachment and has it sent; if it was not, the attachment is free again.
    fn with_attachment<R>(
        &self,
        channel: &'static str,
        payload: &[u8],
        patience: Patience,
        send: impl FnOnce(Limit, &mut Option<Outgoing>) -> Result<R, SendError>,
    ) -> Result<R, SendError> {
        let limit = Limit::of(self, patience);
        let mut outgoing = Some(self.fill(channel, payload, limit)?);
        reach(KillPoint::AttachmentReady);
        let sent = send(limit, &mut outgoing);
        if let Some(outgoing) = outgoing {
            self.discard(outgoing);
        }
        sent
    }

    /// Sends a reply, or keeps it until there is room. In a renderer this waits for main's memory.
    #[cold]
    pub(in crate::peer) fn reply_attached(
        &self,
        label: Label,
        payload: &[u8],
    ) -> Result<(), ReplyError> {
        // Main never waits to reply.
        let patience = match self.attachments {
            Attachments::Main(_) => Patience::None,
            Attachments::Renderer(_) => Patience::Usual,
        };
        let filled = self.fill("reply", payload, Limit::of(self, patience));
        let mut outgoing = Some(filled.map_err(|error| {
            ReplyError::Undeliverable(match error {
                SendError::TooLarge { len, max, .. } => {
                    format!("{len} bytes are too many: at most {max} fit")
                }
                SendError::Full { .. } => TOO_SLOWLY.to_owned(),
                error => error.to_string(),
            })
        })?);
        let len = payload.len();
        let sent = match self.try_commit_attached(label, &mut outgoing, len) {
            Ok(()) => Ok(()),
            Err(refusal) => {
                let body = Body::Attached { outgoing: &mut outgoing, len };
                self.reply_after(refusal, label, body)
            }
        };
        if let Some(outgoing) = outgoing {
            self.discard(outgoing);
        }
        sent
    }

    /// Puts the payload into an attachment.
    fn fill(
        &self,
        channel: &'static str,
        payload: &[u8],
        limit: Limit,
    ) -> Result<Outgoing, SendError> {
        let len = payload.len();
        self.check_length(channel, len)?;
        match &self.attachments {
            Attachments::Main(main) => {
                let fill = || main.fill(payload, self.consumed(), &self.counters);
                self.fill_with(channel, len, limit, fill).map(Outgoing::Pooled)
            }
            Attachments::Renderer(borrower) => {
                let grant = self.borrow(borrower, channel, len, limit)?;
                let filled = grant.blank.fill(payload);
                self.seal(borrower, grant, filled, channel, len).map(Outgoing::Lent)
            }
        }
    }

    /// Repeats until main's own memory can be had, or the limit is over.
    pub(in crate::peer) fn fill_with(
        &self,
        channel: &'static str,
        len: usize,
        limit: Limit,
        mut fill: impl FnMut() -> Result<Buffer, FillError>,
    ) -> Result<Buffer, SendError> {
        self.patiently(channel, len, limit, || {
            if self.gone().is_some() {
                return Err(SendRefusal::Gone);
            }
            match fill() {
                Ok(buffer) => Ok(Ok(buffer)),
                Err(FillError::Full) => Err(SendRefusal::Full),
                Err(FillError::System(error)) => Ok(Err(no_memory(channel, len, &error))),
            }
        })
    }

    pub(in crate::peer) fn check_length(
        &self,
        channel: &'static str,
        len: usize,
    ) -> Result<(), SendError> {
        if len <= self.message_max {
            return Ok(());
        }
        self.counters.too_large.add();
        Err(SendError::TooLarge { channel, len, max: self.message_max })
    }

    /// How far the peer says that it has read. For attachments that may be believed: a renderer that
    /// lies spoils its own, and main is trusted.
    pub(crate) fn consumed(&self) -> u64 {
        self.peer.consumed.observe()
    }

    /// A renderer's part: memory of main's to fill.
    pub(in crate::peer) fn borrow(
        &self,
        borrower: &Borrower,
        channel: &'static str,
        len: usize,
        limit: Limit,
    ) -> Result<Grant, SendError> {
        let wanting = borrower.want(len);
        self.patiently(channel, len, limit, || {
            loop {
                if self.gone().is_some() {
                    return Err(SendRefusal::Gone);
                }
                match wanting.step(self.consumed()) {
                    BorrowStep::Take(grant) => {
                        self.ask_ahead(borrower, grant.blank.size());
                        return Ok(Ok(grant));
                    }
                    BorrowStep::Ask => self.ask(borrower, wanting.size())?,
                    BorrowStep::GiveBack(id) => {
                        let given = self.commit_word(Kind::GiveBack, id);
                        given.inspect_err(|_| borrower.keep_return(id))?;
                    }
                    BorrowStep::Wait => {
                        if limit.timeout.is_none() || wanting.wait(limit.deadline) {
                            return Err(SendRefusal::Full);
                        }
                    }
                    BorrowStep::Full => return Err(SendRefusal::Full),
                    BorrowStep::Refused(why) => {
                        return Ok(Err(refused(borrower, why, channel, len)));
                    }
                    BorrowStep::Ended => {
                        let reason = self.gone().cloned().unwrap_or(GoneReason::MainGone);
                        return Ok(Err(SendError::Gone { channel, reason }));
                    }
                }
            }
        })
    }

    /// Asks for the memory of the next message, so that main gives it while this one is filled. What
    /// cannot be asked now is asked when it is needed.
    fn ask_ahead(&self, borrower: &Borrower, size: usize) {
        if borrower.ask_ahead(size, self.consumed()) {
            let _not_now = self.ask(borrower, size);
        }
    }

    /// Sends the request for memory that the borrower has noted.
    fn ask(&self, borrower: &Borrower, size: usize) -> Result<(), SendRefusal> {
        let asked = self.commit_word(Kind::Ask, size as u64);
        asked.inspect_err(|_| borrower.not_asked(size))?;
        reach(KillPoint::AttachmentAsked);
        Ok(())
    }

    fn commit_word(&self, kind: Kind, word: u64) -> Result<(), SendRefusal> {
        let label = Label { kind, flags: 0, channel: 0, id: None };
        self.try_commit(label, &word.to_le_bytes())
    }

    /// A renderer's part: ends all writing to what was filled, if it was.
    pub(in crate::peer) fn seal(
        &self,
        borrower: &Borrower,
        grant: Grant,
        filled: io::Result<()>,
        channel: &'static str,
        len: usize,
    ) -> Result<Filled, SendError> {
        let Grant { id, blank } = grant;
        let size = blank.size();
        reach(KillPoint::AttachmentFilled);
        match filled.and_then(|()| blank.seal()) {
            Ok(()) => Ok(Filled { id, size }),
            Err(error) => {
                self.give_back(borrower, id, size);
                Err(no_memory(channel, len, &error))
            }
        }
    }

    pub(in crate::peer) fn give_back(&self, borrower: &Borrower, id: u64, size: usize) {
        borrower.no_longer_used(size);
        if self.commit_word(Kind::GiveBack, id).is_err() {
            // Before anything else is asked for.
            borrower.keep_return(id);
        }
    }

    /// No frame will name it.
    pub(in crate::peer) fn discard(&self, outgoing: Outgoing) {
        match (&self.attachments, outgoing) {
            (Attachments::Main(main), Outgoing::Pooled(buffer)) => main.discard(buffer),
            (Attachments::Renderer(borrower), Outgoing::Lent(Filled { id, size })) => {
                self.give_back(borrower, id, size);
            }
            _ => unreachable!("each side has its own kind"),
        }
    }

    /// Commits a frame that names the attachment, which is taken out with that. A new one of main's is
    /// handed over first.
    pub(in crate::peer) fn put_attached(
        &self,
        producer: &mut Producer,
        label: Label,
        outgoing: &mut Option<Outgoing>,
        len: usize,
    ) -> Result<(), SendRefusal> {
        let reservation = producer.reserve(Attached::LEN).map_err(|error| self.refusal(error))?;
        if let (Attachments::Main(main), Some(Outgoing::Pooled(buffer))) =
            (&self.attachments, &mut *outgoing)
            && !main.announce(buffer)
        {
            return Err(SendRefusal::Full);
        }
        reach(KillPoint::AttachmentAnnounced);
        let Some(outgoing) = outgoing.take() else {
            unreachable!("an attachment is taken out once")
        };
        self.name_attachment(producer, reservation, label, outgoing, len);
        Ok(())
    }

    /// Commits the frame, of [`Attached::LEN`] bytes, that names an attachment.
    pub(in crate::peer) fn name_attachment(
        &self,
        producer: &mut Producer,
        reservation: Reservation,
        label: Label,
        outgoing: Outgoing,
        len: usize,
    ) {
        let id = match &outgoing {
            Outgoing::Pooled(buffer) => buffer.id,
            Outgoing::Lent(filled) => filled.id,
        };
        producer.write(&reservation, &Attached::encode(label, id, len as u64));
        let channel = label.channel;
        producer.commit(reservation, Label { kind: Kind::Attached, flags: 0, channel, id: None });
        self.counters.attachments_sent.add_alone(1);
        reach(KillPoint::AttachmentNamed);
        let until = producer.position();
        match (&self.attachments, outgoing) {
            (Attachments::Main(main), Outgoing::Pooled(buffer)) => {
                if main.sent(buffer, until) {
                    // The loop lets it go when it was read, and may be asleep then.
                    self.space_waiters.ask();
                }
            }
            (Attachments::Renderer(borrower), Outgoing::Lent(filled)) => {
                borrower.sent(&filled, until);
            }
            _ => unreachable!("each side has its own kind"),
        }
    }

    // --- receiving -----------------------------------------------------------------------------------

    /// Main's part: a renderer asks for memory.
    #[cold]
    pub(in crate::peer) fn lend_attachment(
        &self,
        kind: Kind,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let lent = self.main_side(kind)?.lend(parse_word(bytes)?, &self.counters);
        reach(KillPoint::AttachmentLent);
        lent
    }

    /// Main's part: a renderer does not need what it was lent.
    #[cold]
    pub(in crate::peer) fn take_attachment_back(
        &self,
        kind: Kind,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        self.main_side(kind)?.take_back(parse_word(bytes)?)
    }

    fn main_side(&self, kind: Kind) -> Result<&MainSide, Violation> {
        match &self.attachments {
            Attachments::Main(main) => Ok(main),
            Attachments::Renderer(_) => {
                Err(Violation::WrongDirection { kind: kind as u8, channel: 0 })
            }
        }
    }

    /// The payload that a frame names.
    pub(in crate::peer) fn open_attachment(
        &self,
        attached: &Attached,
    ) -> Result<Incoming, OpenError> {
        let (id, len) = (attached.attachment, attached.len);
        match &self.attachments {
            Attachments::Main(main) => main.open(id, len),
            Attachments::Renderer(borrower) => borrower.open(id, len),
        }
    }

    // --- the loop's part -----------------------------------------------------------------------------

    /// Lets go of what the renderer has read.
    #[inline]
    pub(crate) fn tidy_attachments(&self) {
        if let Attachments::Main(main) = &self.attachments {
            main.tidy(|| self.consumed());
        }
    }

    /// The session is over.
    pub(in crate::peer) fn end_attachments(&self) {
        match &self.attachments {
            Attachments::Main(main) => main.end(),
            Attachments::Renderer(borrower) => borrower.end(),
        }
        // What waits there has attachments too.
        if self.has_deferred()
            && let Ok(mut outbox) = self.lock_outbox()
        {
            outbox.backlog.clear();
            outbox.backlog_bytes = 0;
        }
    }
}

pub(in crate::peer) fn no_memory(
    channel: &'static str,
    len: usize,
    error: &io::Error,
) -> SendError {
    SendError::NoMemory { channel, len, why: error.to_string() }
}

fn refused(borrower: &Borrower, why: NotLent, channel: &'static str, len: usize) -> SendError {
    match why {
        NotLent::Quota { bytes, count } => SendError::AttachmentQuota {
            channel,
            len,
            count,
            bytes,
            count_max: u64::from(borrower.limits.lent_max),
            bytes_max: borrower.limits.lent_bytes_max,
        },
        NotLent::NoMemory { why } => SendError::NoMemory { channel, len, why },
    }
}
