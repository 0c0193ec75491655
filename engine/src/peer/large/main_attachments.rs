//! Main's end: the buffers that it sends, the memory that it lends, and its parcels about both.

use std::{io, sync::Arc};

use super::{
    body::Body,
    lender::Lender,
    limits::{AttachmentLimits, OpenError},
    pool::{Buffer, Pool, Taken},
    post::Post,
};
use crate::{
    metrics::counters::SessionCounters,
    primitives::{AtomicBool, Mutex, Ordering},
    session::control_channel::ControlChannel,
    shm::{attachment::Writable, backing::Backing},
    wire::{frame::Violation, parcel::Parcel},
};

/// The content that a payload begins with.
#[derive(Clone, Copy)]
pub(in crate::peer) enum Content<'a> {
    Bytes(&'a [u8]),
    /// Zero bytes, to be written in place.
    Zeroes(usize),
}

impl Content<'_> {
    pub(in crate::peer) fn len(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Zeroes(len) => len,
        }
    }
}

/// Main's end of one session's attachments.
pub(crate) struct MainAttachments {
    backing: Backing,
    pool: Mutex<Pool>,
    lender: Mutex<Lender>,
    post: Mutex<Post>,
    /// There is something to tidy up, and the loop was told.
    untidy: AtomicBool,
    tell: Box<dyn Fn() + Send + Sync>,
}

impl MainAttachments {
    /// `kept_max` is how many bytes stay here for reuse. `tell` tells the loop that there is something to
    /// [tidy](Self::tidy) up.
    pub(crate) fn new(
        control: Arc<ControlChannel>,
        backing: Backing,
        limits: AttachmentLimits,
        kept_max: u64,
        tell: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            pool: Mutex::new(Pool::new(limits.message_max, kept_max)),
            lender: Mutex::new(Lender::new(backing.clone(), limits)),
            post: Mutex::new(Post::new(control)),
            backing,
            untidy: AtomicBool::new(false),
            tell: Box::new(tell),
        }
    }

    /// Puts the content into a buffer that the renderer does not read. The renderer has read up to
    /// `consumed`. `None`: it must read more first.
    pub(in crate::peer) fn fill(
        &self,
        content: Content<'_>,
        consumed: u64,
        counters: &SessionCounters,
    ) -> Option<io::Result<Buffer>> {
        let taken = self.pool.lock().take(content.len(), consumed)?;
        // The content is written without the lock: other threads send meanwhile.
        Some(match taken {
            Taken::Again(mut buffer) => match write(&mut buffer.memory, content) {
                Ok(()) => Ok(buffer),
                Err(error) => {
                    self.discard(buffer);
                    Err(error)
                }
            },
            Taken::New { id, size } => self
                .make(id, size, content)
                .inspect(|_| counters.attachment_buffers.add())
                .inspect_err(|_| self.pool.lock().no_longer_busy(size)),
        })
    }

    fn make(&self, id: u64, size: usize, content: Content<'_>) -> io::Result<Buffer> {
        let (memory, handle) = match content {
            Content::Bytes(payload) => Writable::create(&self.backing, size, payload)?,
            Content::Zeroes(len) => {
                let (mut memory, handle) = Writable::create(&self.backing, size, &[])?;
                memory.populate(len)?;
                (memory, handle)
            }
        };
        Ok(Buffer { id, memory, handle: Some(handle) })
    }

    /// Hands a new buffer over, before a frame names it. `false`: the control channel is full.
    pub(super) fn announce(&self, buffer: &mut Buffer) -> bool {
        let Some(handle) = &buffer.handle else { return true };
        let parcel = Parcel::Pooled { id: buffer.id, size: buffer.memory.len() as u64 };
        let sent = self.post.lock().send(parcel, handle);
        if sent {
            buffer.handle = None;
        }
        sent
    }

    /// Notes that a frame that ends at `until` has named the buffer. Returns whether its memory is
    /// freed as soon as it was read.
    pub(super) fn named(&self, buffer: Buffer, until: u64) -> bool {
        let is_freed = self.pool.lock().named(buffer, until);
        self.make_untidy();
        is_freed
    }

    /// Takes back a buffer that no frame names.
    pub(super) fn discard(&self, buffer: Buffer) {
        self.pool.lock().discard(buffer);
        self.make_untidy();
    }

    /// Answers a renderer that asks for memory.
    pub(in crate::peer) fn lend(
        &self,
        size: u64,
        counters: &SessionCounters,
    ) -> Result<(), Violation> {
        let (parcel, handle) = match self.lender.lock().lend(size)? {
            Ok((id, handle)) => {
                counters.attachment_buffers.add();
                (Parcel::Lent { id, size }, Some(handle))
            }
            Err(why) => {
                counters.attachments_refused.add();
                (Parcel::Refused { size, why }, None)
            }
        };
        if self.post.lock().send_or_keep(parcel, handle)? {
            self.make_untidy();
        }
        Ok(())
    }

    /// Takes back memory that the renderer does not need.
    pub(in crate::peer) fn take_back(&self, id: u64) -> Result<(), Violation> {
        self.lender.lock().take_back(id)
    }

    /// Opens what the renderer has filled, after checking that it is sealed.
    pub(super) fn open(&self, id: u64, len: u64) -> Result<Body, OpenError> {
        // Mapped without the lock, which is of no use for that.
        let lent = self.lender.lock().claim(id, len).map_err(OpenError::Violation)?;
        lent.open(id, len as usize).map(Body::Sealed)
    }

    /// Call after making something that is to be tidied up.
    fn make_untidy(&self) {
        // Relaxed: the notice hands it over.
        if !self.untidy.swap(true, Ordering::Relaxed) {
            (self.tell)();
        }
    }

    /// Frees what is not needed any more, and sends what waits for room in the control channel. Returns
    /// whether there is more to tidy up later.
    pub(super) fn tidy(&self, consumed: u64) -> bool {
        let mut pool = self.pool.lock();
        let busy = pool.tidy(consumed);
        let mut post = self.post.lock();
        post.flush();
        post.forget(&mut pool.forgotten);
        let untidy = busy || post.has_unsent() || !pool.forgotten.is_empty();
        // Under both locks: a thread that has something more tells the loop after that.
        self.untidy.store(untidy, Ordering::Relaxed);
        untidy
    }

    /// Frees everything: the session is over.
    pub(super) fn end(&self) {
        self.pool.lock().end();
        self.lender.lock().end();
        self.post.lock().end();
    }
}

fn write(memory: &mut Writable, content: Content<'_>) -> io::Result<()> {
    memory.populate(content.len())?;
    match content {
        Content::Bytes(payload) => memory[..payload.len()].copy_from_slice(payload),
        Content::Zeroes(len) => memory[..len].fill(0),
    }
    Ok(())
}
