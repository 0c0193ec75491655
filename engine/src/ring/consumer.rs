//! The reading end of a ring.

use crate::primitives::AtomicU64;
use crate::shm::aligned::AlignedBuf;
use crate::shm::bytes;
use crate::shm::shared::Shared;
use crate::wire::CELL;
use crate::wire::frame::{Header, Kind, Place, Violation, frame_max};
use crate::wire::outbox::OutboxControl;

use crate::ring::cells::Cells;

/// Reads the frames of our inbox, which is the peer's outbox. One a ring: not `Clone`.
pub(crate) struct Consumer {
    cells: Cells,
    /// Our own control page: `consumed` is there.
    own: Shared<OutboxControl>,
    /// Where the next frame is expected. Private; `consumed` only announces it, late.
    position: u64,
    /// What `consumed` says at present.
    published: u64,
    writer: Writer,
}

/// Who writes what we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// A renderer, which may change a frame while we look at it: copies only.
    Renderer,
    /// Main, which does not touch a frame before `consumed` has passed it.
    Main,
}

/// A checked frame that has not been read past. It is good until the next [`Consumer::advance`].
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
    /// Reads what a renderer writes: payloads can only be copied.
    ///
    /// `start` is where the producer of this ring starts too.
    ///
    /// # Panics
    ///
    /// If the data is no power of two of cells, or `start` no multiple of a cell.
    pub(crate) fn new(data: Shared<[AtomicU64]>, own: Shared<OutboxControl>, start: u64) -> Self {
        Self::reading_from(Writer::Renderer, data, own, start)
    }

    /// Reads what main writes: payloads can also be seen in place.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub(crate) fn trusting(
        data: Shared<[AtomicU64]>,
        own: Shared<OutboxControl>,
        start: u64,
    ) -> Self {
        Self::reading_from(Writer::Main, data, own, start)
    }

    fn reading_from(
        writer: Writer,
        data: Shared<[AtomicU64]>,
        own: Shared<OutboxControl>,
        start: u64,
    ) -> Self {
        assert!(start.is_multiple_of(CELL as u64));
        own.consumed.publish(start);
        Self { cells: Cells::new(data), own, position: start, published: start, writer }
    }

    /// The next frame, if one has been committed; or how the peer broke the protocol.
    ///
    /// Follows one pad. Until [`advance`](Self::advance) the same frame is found again.
    // Always inline, with its callees: a result in registers is cheaper (docs/performance.md).
    #[inline(always)]
    pub(crate) fn peek(&mut self) -> Result<Option<Frame>, Violation> {
        match self.look()? {
            Some(frame) if frame.header.kind == Kind::Pad => self.peek_past(frame),
            found => Ok(found),
        }
    }

    /// No pad is honest at the start of a lap, so `look` refuses a second one.
    #[cold]
    fn peek_past(&mut self, pad: Frame) -> Result<Option<Frame>, Violation> {
        let before = self.position;
        self.advance(pad);
        match self.look() {
            Err(Violation::BadPad { .. }) => {
                // So that whoever looks next finds the same.
                self.position = before;
                Err(Violation::SecondPad)
            }
            found => found,
        }
    }

    #[inline(always)]
    fn look(&self) -> Result<Option<Frame>, Violation> {
        let Some((wire, id_word)) = self.cells.head(self.position).observe() else {
            return Ok(None);
        };
        let place = Place {
            to_end: self.cells.to_end(self.position),
            frame_max: frame_max(self.cells.capacity()),
        };
        let header = wire.check(id_word, place)?;
        Ok(Some(Frame { header, position: self.position }))
    }

    /// The payload in place.
    ///
    /// # Panics
    ///
    /// If the writer is not [trusted](Self::trusting), or the frame was read past.
    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "only this module knows that nobody writes a frame not yet read")]
    #[inline]
    pub(crate) fn payload(&self, frame: &Frame) -> &[u8] {
        assert!(self.writer == Writer::Main, "a renderer's payload must be copied");
        assert!(frame.position == self.position, "the frame was read past");
        // SAFETY: the frame was committed and not read past (asserted), so `consumed` has not
        // passed it either, and cannot while the result borrows `self`; until then its writer,
        // which is trusted (asserted), leaves it alone.
        unsafe { bytes::bytes(self.payload_words(frame), frame.payload_len()) }
    }

    /// Copies the payload out: each word is read once, and never again.
    #[inline]
    pub(crate) fn copy_payload(&self, frame: &Frame, buffer: &mut AlignedBuf) {
        debug_assert_eq!(frame.position, self.position, "the frame was read past");
        buffer.set_len(frame.payload_len());
        bytes::copy_out(self.payload_words(frame), buffer.as_mut_slice());
    }

    #[inline]
    fn payload_words(&self, frame: &Frame) -> &[AtomicU64] {
        self.cells.payload(frame.position, frame.payload_len())
    }

    /// How far was read, whether it is published or not.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads past the frame. Its room is not given back before [`publish`](Self::publish).
    #[inline]
    pub(crate) fn advance(&mut self, frame: Frame) {
        debug_assert_eq!(frame.position, self.position, "the frame was read past");
        self.position = frame.position.wrapping_add(frame.header.padded_len() as u64);
    }

    /// Whether so much was read since the last [`publish`](Self::publish) that the producer should
    /// hear of it even while there is more to read.
    #[inline]
    pub(crate) fn publish_due(&self) -> bool {
        self.position.wrapping_sub(self.published) as usize >= self.cells.capacity() / 8
    }

    /// Gives back the room of everything read. Says whether there was any.
    ///
    /// The caller then fences and looks whether the producer sleeps for room.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        if self.position == self.published {
            return false;
        }
        self.own.consumed.publish(self.position);
        self.published = self.position;
        true
    }
}
