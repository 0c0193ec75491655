//! The large part: how a payload that is too long for a frame gets its memory, and how one is received.
//!
//! ```text
//!   main       a buffer ── payload ──▶ parcel, if it is new ──▶ frame
//!   renderer   Ask, wait for memory ── payload, seal ─────────▶ frame
//!                └─ Ask for the next, if this is not the first of its size
//! ```
//!
//! The payload is written before the outbox is locked, so other threads send meanwhile.
//!
//! Main never waits for a renderer here. A renderer waits for main's answer to `Ask`, within the limit
//! of its call. A call that must not wait asks, fails, and finds the memory the next time.

use super::{
    body::Body,
    borrower::{BorrowStep, Borrower, Grant, Wanting},
    limits::OpenError,
    main_attachments::Content,
    outgoing::{Attachments, OutgoingPayload},
};
use crate::{
    kill_points::{KillPoint, reach},
    peer::{
        error::SendError,
        link::{Limit, Link},
        sender::{FramePayload, SendRefusal, Sender},
    },
    session::liveness::GoneReason,
    wire::{
        attached::{Attached, parse_word},
        frame::{Label, Violation},
        kind::Kind,
        parcel::NotLent,
    },
};

pub(crate) struct Large {
    attachments: Attachments,
    /// The longest payload of a frame. A longer one is attached.
    in_band_max: usize,
    /// The longest payload of a message.
    message_max: usize,
}

impl Large {
    pub(in crate::peer) fn new(
        attachments: Attachments,
        in_band_max: usize,
        attached_max: u64,
    ) -> Self {
        let attached_max = usize::try_from(attached_max).unwrap_or(usize::MAX);
        Self { attachments, in_band_max, message_max: in_band_max.max(attached_max) }
    }

    /// Returns whether a payload of this length must be attached.
    #[inline]
    pub(in crate::peer) fn attaches(&self, len: usize) -> bool {
        len > self.in_band_max
    }

    pub(crate) fn message_max(&self) -> usize {
        self.message_max
    }

    /// Puts content into memory of its own.
    pub(in crate::peer) fn fill(
        &self,
        sender: &Sender,
        channel: &'static str,
        content: Content<'_>,
        limit: Limit,
    ) -> Result<OutgoingPayload, SendError> {
        let (link, len, max) = (&sender.link, content.len(), self.message_max);
        if len > max {
            link.counters.too_large.add();
            return Err(SendError::TooLarge { channel, len, max });
        }
        let filled = match &self.attachments {
            Attachments::Main(main) => sender.patiently(limit, || {
                if link.gone().is_some() {
                    return Err(SendRefusal::Gone);
                }
                let filled = main.fill(content, link.consumed(), &link.counters);
                let filled = filled.ok_or(SendRefusal::Full)?;
                Ok(filled.map(|buffer| OutgoingPayload::pooled(main, buffer, len)))
            }),
            Attachments::Renderer(borrower) => {
                let wanting = borrower.want(len);
                let borrow = || self.borrow(sender, borrower, &wanting, limit);
                match sender.patiently(limit, borrow) {
                    Ok(Ok(grant)) => Ok(OutgoingPayload::lent(borrower, grant, content)
                        .inspect_err(|_| self.give_back(sender))),
                    Ok(Err(why)) => return Err(refused(link, borrower, why, channel, len)),
                    Err(refusal) => Err(refusal),
                }
            }
        };
        filled
            .map_err(|refusal| sender.explain(refusal, channel, len, limit))?
            .map_err(|error| SendError::NoMemory { channel, len, why: error.to_string() })
    }

    /// Takes memory that main has lent, and asks for it as needed. `Ok(Err(None))`: main has hung up.
    fn borrow(
        &self,
        sender: &Sender,
        borrower: &Borrower,
        wanting: &Wanting<'_>,
        limit: Limit,
    ) -> Result<Result<Grant, Option<NotLent>>, SendRefusal> {
        let (link, size) = (&sender.link, wanting.size());
        loop {
            if link.gone().is_some() {
                return Err(SendRefusal::Gone);
            }
            match wanting.step(link.consumed()) {
                BorrowStep::Take(grant) => {
                    // Memory that cannot be asked for now is asked for when it is needed.
                    if borrower.asks_ahead(size, link.consumed()) {
                        let _not_now = ask(sender, borrower, size);
                    }
                    return Ok(Ok(grant));
                }
                BorrowStep::Ask => ask(sender, borrower, size)?,
                BorrowStep::GiveBack(id) => {
                    let given = commit_word(sender, Kind::GiveBack, id);
                    given.inspect_err(|_| borrower.keep_return(id))?;
                }
                BorrowStep::Wait => {
                    if limit.timeout.is_none() || wanting.wait(limit.deadline) {
                        return Err(SendRefusal::Full);
                    }
                }
                BorrowStep::Full => return Err(SendRefusal::Full),
                BorrowStep::Refused(why) => return Ok(Err(Some(why))),
                BorrowStep::Ended => return Ok(Err(None)),
            }
        }
    }

    /// Gives back to main the memory of payloads that were dropped unsent. What finds no room goes
    /// before the next `Ask`.
    pub(in crate::peer) fn give_back(&self, sender: &Sender) {
        let Attachments::Renderer(borrower) = &self.attachments else { return };
        while let Some(id) = borrower.next_return() {
            if commit_word(sender, Kind::GiveBack, id).is_err() {
                return borrower.keep_return(id);
            }
        }
    }

    /// Answers a renderer that asks for memory, or takes back memory that it does not need: the kind of
    /// frame says which. Only a renderer sends these.
    #[cold]
    pub(in crate::peer) fn act_on_word(
        &self,
        link: &Link,
        kind: Kind,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let word = parse_word(bytes)?;
        match (&self.attachments, kind) {
            (Attachments::Main(main), Kind::Ask) => {
                let lent = main.lend(word, &link.counters);
                reach(KillPoint::AttachmentLent);
                lent
            }
            (Attachments::Main(main), _) => main.take_back(word),
            (Attachments::Renderer(_), kind) => {
                Err(Violation::WrongDirection { kind: kind as u8, channel: 0 })
            }
        }
    }

    /// Opens the payload that a frame names.
    pub(in crate::peer) fn open(
        &self,
        link: &Link,
        attached: &Attached,
    ) -> Result<Body, OpenError> {
        let (id, len) = (attached.attachment, attached.len);
        let opened = match &self.attachments {
            Attachments::Main(main) => main.open(id, len)?,
            Attachments::Renderer(borrower) => borrower.open(id, len)?,
        };
        reach(KillPoint::AttachmentOpened);
        link.counters.attachments_received.add_alone(1);
        Ok(opened)
    }

    /// Frees what the renderer has read. Returns whether there is more to free later.
    pub(crate) fn tidy(&self, link: &Link) -> bool {
        match &self.attachments {
            Attachments::Main(main) => main.tidy(link.consumed()),
            Attachments::Renderer(_) => false,
        }
    }

    /// Frees everything: the session is over.
    pub(in crate::peer) fn end(&self) {
        match &self.attachments {
            Attachments::Main(main) => main.end(),
            Attachments::Renderer(borrower) => borrower.end(),
        }
    }
}

/// Sends a request for memory that the borrower has noted.
fn ask(sender: &Sender, borrower: &Borrower, size: usize) -> Result<(), SendRefusal> {
    let asked = commit_word(sender, Kind::Ask, size as u64);
    asked.inspect_err(|_| borrower.not_asked(size))?;
    reach(KillPoint::AttachmentAsked);
    Ok(())
}

fn commit_word(sender: &Sender, kind: Kind, word: u64) -> Result<(), SendRefusal> {
    sender.commit(Label::new(kind, 0), FramePayload::Bytes(&word.to_le_bytes()))
}

fn refused(
    link: &Link,
    borrower: &Borrower,
    why: Option<NotLent>,
    channel: &'static str,
    len: usize,
) -> SendError {
    match why {
        Some(NotLent::Quota { bytes, count }) => SendError::AttachmentQuota {
            channel,
            len,
            count,
            bytes,
            count_max: u64::from(borrower.limits.lent_max),
            bytes_max: borrower.limits.lent_bytes_max,
        },
        Some(NotLent::NoMemory { why }) => SendError::NoMemory { channel, len, why },
        None => {
            let reason = link.gone().cloned().unwrap_or(GoneReason::MainGone);
            SendError::Gone { channel, reason }
        }
    }
}
