//! The reading end of a ring.

use crate::{
    primitives::AtomicU64,
    ring::{
        cells::Cells,
        copy_strategy::{CopyStrategy, CopyWay, LONG},
    },
    shm::{aligned::AlignedBuf, bytes, shared::Shared},
    wire::{
        CELL,
        frame::{Header, Kind, Violation},
        outbox::OutboxControl,
    },
};

/// The reader of this side's inbox, which is the peer's outbox. Not `Clone`: a ring has one.
pub(crate) struct Consumer {
    cells: Cells,
    /// This side's control page, which holds `consumed`.
    own: Shared<OutboxControl>,
    /// The position of the next frame. Private; `consumed` announces it late.
    position: u64,
    /// The present value of `consumed`.
    published: u64,
    writer: Writer,
    copy_strategy: CopyStrategy,
}

/// The writer of the ring that a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A renderer. It may change a frame at any time, so payloads can only be copied.
    Renderer,
    /// Main. It changes no frame before `consumed` has passed it, so payloads can also be read in place.
    Main,
}

/// A checked frame. It is valid until the next [`Consumer::advance`].
#[derive(Debug)]
#[must_use = "a frame is seen again until the consumer advances past it"]
pub(crate) struct Frame {
    pub(crate) header: Header,
    position: u64,
}

impl Frame {
    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        self.header.payload_len as usize
    }
}

impl Consumer {
    /// `start` is the producer's start, too.
    ///
    /// # Panics
    ///
    /// If the data is no power of two of cells, or `start` no multiple of a cell.
    pub(crate) fn new(
        writer: Writer,
        data: Shared<[AtomicU64]>,
        own: Shared<OutboxControl>,
        start: u64,
    ) -> Self {
        assert!(start.is_multiple_of(CELL as u64));
        own.consumed.publish(start);
        let cells = Cells::new(data);
        let copy_strategy = CopyStrategy::new(cells.capacity(), CopyWay::OUT);
        Self { cells, own, position: start, published: start, writer, copy_strategy }
    }

    /// Returns the next frame, if one was committed. Follows one pad.
    ///
    /// It returns the same frame again until [`advance`](Self::advance).
    // Always inline, with its callees: a result in registers is cheaper (docs/performance.md).
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Result<Option<Frame>, Violation> {
        let position = self.position;
        match self.cells.frame_at(position).transpose()? {
            Some(header) if header.kind == Kind::Pad => self.peek_past(header),
            found => Ok(found.map(|header| Frame { header, position })),
        }
    }

    /// A second pad would stand at the start of a lap, where a pad is refused.
    #[cold]
    fn peek_past(&mut self, pad: Header) -> Result<Option<Frame>, Violation> {
        let position = self.position.wrapping_add(pad.padded_len() as u64);
        let found =
            self.cells.frame_at(position).transpose().map_err(|violation| match violation {
                Violation::BadPad { .. } => Violation::SecondPad,
                other => other,
            })?;
        self.position = position;
        Ok(found.map(|header| Frame { header, position }))
    }

    /// The payload in place.
    ///
    /// # Panics
    ///
    /// If the writer is not [`Writer::Main`], or the consumer has advanced past the frame.
    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "only this module knows that main changes no unread frame")]
    #[inline]
    pub(crate) fn payload(&self, frame: &Frame) -> &[u8] {
        assert!(self.writer == Writer::Main, "a renderer's payload must be copied");
        assert!(frame.position == self.position, "the frame was read past");
        let words = self.cells.payload(frame.position, frame.payload_len());
        // SAFETY: the frame was committed and the consumer has not advanced past it (asserted). So
        // `consumed` has not passed it, and cannot while the result borrows `self`. Until then the
        // writer, which is main (asserted), does not change it.
        unsafe { bytes::bytes(words, frame.payload_len()) }
    }

    /// Copies the payload out. Reads each word once.
    #[inline]
    pub(crate) fn copy_payload(&mut self, frame: &Frame, buffer: &mut AlignedBuf) {
        debug_assert_eq!(frame.position, self.position, "the frame was read past");
        let target = buffer.resize(frame.payload_len());
        if target.len() < LONG {
            bytes::copy_out(self.cells.payload(frame.position, target.len()), target);
        } else {
            self.copy_long(frame, target);
        }
    }

    #[cold]
    fn copy_long(&mut self, frame: &Frame, target: &mut [u8]) {
        let words = self.cells.payload(frame.position, target.len());
        self.copy_strategy.copy(target.len(), |way| match way {
            CopyWay::Lines | CopyWay::Streaming => bytes::copy_out(words, target),
            CopyWay::String => bytes::string_out(words, target),
        });
    }

    /// The read position, published or not.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns whether there is a frame, or something that is none, without a look at what it is.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn has_frame(&self) -> bool {
        self.cells.has_frame_at(self.position)
    }

    /// Moves past the frame. [`publish`](Self::publish) gives its space back.
    #[inline]
    pub(crate) fn advance(&mut self, frame: Frame) {
        debug_assert_eq!(frame.position, self.position, "the frame was read past");
        self.position = frame.position.wrapping_add(frame.header.padded_len() as u64);
    }

    /// Returns whether enough was read since the last [`publish`](Self::publish) to publish it although more
    /// frames are there.
    #[inline]
    pub(crate) fn publish_due(&self) -> bool {
        self.position.wrapping_sub(self.published) as usize >= self.cells.capacity() / 8
    }

    /// Returns whether the producer knows of all frames read.
    #[inline]
    pub(crate) fn is_published(&self) -> bool {
        self.position == self.published
    }

    /// Gives back the space of all frames read. Returns whether there was any.
    ///
    /// The caller then fences and looks whether the producer sleeps for room.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        if self.is_published() {
            return false;
        }
        self.own.consumed.publish(self.position);
        self.published = self.position;
        true
    }
}
