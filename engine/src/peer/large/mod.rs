//! Large payloads: those longer than a frame of the ring can be.
//!
//! Such a payload lies in memory of its own, an *attachment*. A small frame goes through the ring and
//! names it, so that a large message keeps its place in the order, and its sender its back-pressure.
//!
//! ```text
//!   main to a renderer                          a renderer to main
//!   ------------------                          ------------------
//!   takes a buffer that was read, or            Ask ──── ring ────▶ makes one, within the quota
//!     makes one: Pooled ── control ──▶ maps it      ◀── control ── Lent (or Refused)
//!   writes the payload                          writes the payload, seals it
//!   Attached ─── ring ──▶ reads it in place     Attached ─ ring ──▶ checks size and seal, maps it,
//!   `consumed` passes the frame:                                      reads it in place, unmaps it
//!     the buffer is free again                  `consumed` passes the frame: room in the quota
//! ```
//!
//! - [`pool`]: main's buffers for one renderer. [`lender`]: what main lent that renderer.
//!   [`post`]: main's parcels for it. [`MainSide`] is the three of them.
//! - [`borrower`]: a renderer's end of both ways.
//!
//! Invariants: main makes all memory and never waits for a renderer here; what a renderer can make
//! main keep is bounded by its quota; a handle is let go once its memory is mapped or handed over;
//! everything is let go when the session ends.
//!
//! Nothing here knows frames or channels, nor waits for room: that is the port's.

pub(crate) mod borrower;
pub(crate) mod lender;
pub(crate) mod pool;
pub(crate) mod post;
pub(super) mod transfer;

use std::{io, ops::Deref, sync::Arc};

use crate::{
    metrics::counters::SessionCounters,
    primitives::{AtomicBool, Mutex, Ordering},
    session::control_channel::ControlChannel,
    shm::{
        attachment::{PAGE, Readable, Writable},
        backing::Backing,
    },
    wire::{
        frame::Violation,
        parcel::{NotLent, Parcel},
    },
};

use borrower::Borrower;
use lender::{Lender, SealedAttachment};
use pool::{Buffer, Pool, Taken};
use post::Post;

/// The limits of one session's attachments, the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachmentLimits {
    /// The longest payload, and how many bytes may be on their way to the renderer at once.
    pub(crate) message_max: u64,
    /// How many bytes main lends the renderer at once, and how many attachments.
    pub(crate) lent_bytes_max: u64,
    pub(crate) lent_max: u16,
}

impl AttachmentLimits {
    /// The longest payload that a renderer can send.
    pub(crate) fn lent_message_max(self) -> u64 {
        match self.lent_max {
            0 => 0,
            _ => self.message_max.min(self.lent_bytes_max / PAGE as u64 * PAGE as u64),
        }
    }
}

/// One end of a session's attachments.
pub(crate) enum Attachments {
    Main(Box<MainSide>),
    Renderer(Arc<Borrower>),
}

/// A payload in its memory, ready to be named by a frame.
pub(crate) enum Outgoing {
    Pooled(Buffer),
    Lent(borrower::Filled),
}

/// A payload that a frame has named, in place.
pub(crate) enum Incoming {
    SealedAttachment(SealedAttachment),
    /// Main's, which may use it again once `consumed` has passed the frame.
    OfMain {
        memory: Arc<Readable>,
        len: usize,
    },
}

impl Deref for Incoming {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::SealedAttachment(sealed) => sealed,
            Self::OfMain { memory, len } => &memory[..*len],
        }
    }
}

/// Why a payload that a frame names cannot be read.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The peer lied.
    Violation(Violation),
    /// The operating system refused, in its words.
    System(String),
}

/// Why there is no memory for a payload.
#[derive(Debug)]
pub(crate) enum FillError {
    /// Not now: the reader has too much of it.
    Full,
    System(io::Error),
}

/// Main's end.
pub(crate) struct MainSide {
    backing: Backing,
    pool: Mutex<Pool>,
    lender: Mutex<Lender>,
    post: Mutex<Post>,
    /// Something may be there to tidy up. A hint for the loop, which looks often.
    untidy: AtomicBool,
}

impl MainSide {
    /// `kept_max` is how many bytes stay here for reuse.
    pub(crate) fn new(
        control: Arc<ControlChannel>,
        backing: Backing,
        limits: AttachmentLimits,
        kept_max: u64,
    ) -> Self {
        Self {
            pool: Mutex::new(Pool::new(limits.message_max, kept_max)),
            lender: Mutex::new(Lender::new(backing.clone(), limits)),
            post: Mutex::new(Post::new(control)),
            backing,
            untidy: AtomicBool::new(false),
        }
    }

    // --- to the renderer ---------------------------------------------------------------------------

    /// Puts a payload into a buffer that the renderer, who has read up to `consumed`, does not read.
    pub(crate) fn fill(
        &self,
        payload: &[u8],
        consumed: u64,
        counters: &SessionCounters,
    ) -> Result<Buffer, FillError> {
        let make = |id, size| {
            let (memory, handle) = Writable::create(&self.backing, size, payload)?;
            Ok(Buffer::new(id, memory, handle))
        };
        let write = |buffer: &mut Buffer| {
            buffer.memory.populate(payload.len())?;
            buffer.memory[..payload.len()].copy_from_slice(payload);
            Ok(())
        };
        self.buffer(payload.len(), consumed, counters, make, write)
    }

    /// A buffer whose first `len` bytes are zero, to be written in place.
    pub(crate) fn blank(
        &self,
        len: usize,
        consumed: u64,
        counters: &SessionCounters,
    ) -> Result<Buffer, FillError> {
        let make = |id, size| {
            let (mut memory, handle) = Writable::create(&self.backing, size, &[])?;
            memory.populate(len)?;
            Ok(Buffer::new(id, memory, handle))
        };
        let write = |buffer: &mut Buffer| {
            buffer.memory.populate(len)?;
            buffer.memory[..len].fill(0);
            Ok(())
        };
        self.buffer(len, consumed, counters, make, write)
    }

    fn buffer(
        &self,
        len: usize,
        consumed: u64,
        counters: &SessionCounters,
        make: impl FnOnce(u64, usize) -> io::Result<Buffer>,
        write: impl FnOnce(&mut Buffer) -> io::Result<()>,
    ) -> Result<Buffer, FillError> {
        // The payload is written without the lock: other threads send meanwhile.
        let taken = self.pool.lock().take(len, consumed).ok_or(FillError::Full)?;
        match taken {
            Taken::Again(mut buffer) => match write(&mut buffer) {
                Ok(()) => Ok(buffer),
                Err(error) => {
                    self.discard(buffer);
                    Err(FillError::System(error))
                }
            },
            Taken::New { id, size } => match make(id, size) {
                Ok(buffer) => {
                    counters.attachment_buffers.add();
                    Ok(buffer)
                }
                Err(error) => {
                    self.pool.lock().not_made(size);
                    Err(FillError::System(error))
                }
            },
        }
    }

    /// Hands a new buffer over, before a frame names it. `false`: the control is full.
    pub(crate) fn announce(&self, buffer: &mut Buffer) -> bool {
        let Some(handle) = &buffer.handle else { return true };
        let parcel = Parcel::Pooled { id: buffer.id, size: buffer.memory.len() as u64 };
        let sent = self.post.lock().send(parcel, handle);
        if sent {
            buffer.handle = None;
        }
        sent
    }

    /// A frame that ends at `until` has named the buffer. Says whether its memory should be let go as
    /// soon as it was read, rather than kept.
    pub(crate) fn sent(&self, buffer: Buffer, until: u64) -> bool {
        let lets_go = self.pool.lock().sent(buffer, until);
        self.untidy.store(true, Ordering::Relaxed);
        lets_go
    }

    /// No frame will name what was put into the buffer.
    pub(crate) fn discard(&self, buffer: Buffer) {
        self.pool.lock().discard(buffer);
        self.untidy.store(true, Ordering::Relaxed);
    }

    // --- from the renderer -------------------------------------------------------------------------

    /// Answers a renderer that asks for memory.
    pub(crate) fn lend(&self, size: u64, counters: &SessionCounters) -> Result<(), Violation> {
        let lent = self.lender.lock().lend(size)?;
        let (parcel, handle) = match lent {
            Ok((id, handle)) => {
                counters.attachment_buffers.add();
                (Parcel::Lent { id, size }, Some(handle))
            }
            Err(why) => {
                counters.attachments_refused.add();
                (Parcel::Refused { size, why }, None)
            }
        };
        let is_kept = self.post.lock().send_or_keep(parcel, handle)?;
        if is_kept {
            self.untidy.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The renderer does not need what it was lent.
    pub(crate) fn take_back(&self, id: u64) -> Result<(), Violation> {
        self.lender.lock().take_back(id)
    }

    /// What the renderer has filled and sealed, once that was found true.
    pub(crate) fn open(&self, id: u64, len: u64) -> Result<Incoming, OpenError> {
        // Mapped without the lock, which is of no use for that.
        let lent = self.lender.lock().claim(id, len).map_err(OpenError::Violation)?;
        lent.open(id, len as usize).map(Incoming::SealedAttachment)
    }

    // --- the loop's part -----------------------------------------------------------------------------

    /// Lets go of what is not needed any more, and sends what waits for room in the control.
    #[inline]
    pub(crate) fn tidy(&self, consumed: impl FnOnce() -> u64) {
        // Relaxed: who sets it late is seen at the next look.
        if self.untidy.load(Ordering::Relaxed) {
            self.tidy_now(consumed());
        }
    }

    #[cold]
    fn tidy_now(&self, consumed: u64) {
        let mut pool = self.pool.lock();
        let busy = pool.tidy(consumed);
        let mut post = self.post.lock();
        post.flush();
        post.forget(&mut pool.forgotten);
        let untidy = busy || post.has_unsent() || !pool.forgotten.is_empty();
        // Under the lock of the pool, as whoever makes it busy again sets it after that.
        self.untidy.store(untidy, Ordering::Relaxed);
    }

    /// The session is over.
    pub(crate) fn end(&self) {
        self.pool.lock().end();
        self.lender.lock().end();
        self.post.lock().end();
    }
}

/// Why memory was not lent, as a limit's name and value in a text for the caller.
impl std::fmt::Display for NotLent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quota { bytes, count } => {
                write!(f, "{count} attachments of {bytes} bytes in all are on their way already")
            }
            Self::NoMemory { why } => f.write_str(why),
        }
    }
}
