//! The writing end of a ring.

use crate::{
    kill_points::{KillPoint, reach},
    model::guarded,
    primitives::AtomicU64,
    ring::{
        cells::Cells,
        copy_strategy::{CopyStrategy, CopyWay, LONG},
        unread_frames::UnreadFrames,
    },
    shm::{bytes, shared::Shared},
    wire::{
        CELL, HEADER_LEN, WORDS_PER_CELL, WORDS_PER_HEADER,
        frame::{Header, Label, Violation, payload_max},
        outbox::OutboxControl,
        padded,
    },
};

/// The bytes of a payload that share a line with the commit word.
const FIRST_LINE: usize = CELL - HEADER_LEN;

/// The distance of the cell that a commit asks for: in a stream of small frames, the time of a transfer.
const CELLS_AHEAD: u64 = 4;

/// The most lines that a commit asks for: more than a processor fetches at once.
const LINES_AHEAD_MAX: usize = 32;

/// The writer of this side's outbox. Not `Clone`: a ring has one.
pub(crate) struct Producer {
    cells: Cells,
    /// The reader's control page, which holds `consumed`.
    peer: Shared<OutboxControl>,
    /// The position of the next frame. Private; the peer finds frames by their commit words.
    position: u64,
    /// The last checked value of `consumed`.
    consumed_seen: u64,
    payload_max: usize,
    copy_strategy: CopyStrategy,
}

/// Space reserved for one frame. Dropping it without `commit` leaves the ring unchanged.
///
/// It holds no borrow, so it can be kept beside the guard of a lock. It is valid until the producer's next
/// commit; a use after that panics.
#[derive(Debug)]
#[must_use = "a reservation that is not committed sends nothing"]
pub(crate) struct Reservation {
    position: u64,
    pad: u32,
    payload_len: u32,
}

impl Reservation {
    #[inline]
    pub(crate) fn payload_len(&self) -> usize {
        self.payload_len as usize
    }
}

/// The reason why a frame was not reserved. The ring is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReserveError {
    /// Not now: the peer has not read enough.
    #[error("the outbox is full")]
    Full,
    /// Never, in this ring.
    #[error("a payload of {len} bytes does not fit into a frame, which carries up to {max}")]
    TooLarge { len: usize, max: usize },
    /// The peer's read position is a lie.
    #[error(transparent)]
    Peer(#[from] Violation),
}

impl Producer {
    /// `start` is the consumer's start, too.
    ///
    /// # Panics
    ///
    /// If the data is no power of two of cells, or `start` no multiple of a cell.
    pub(crate) fn new(data: Shared<[AtomicU64]>, peer: Shared<OutboxControl>, start: u64) -> Self {
        assert!(start.is_multiple_of(CELL as u64));
        let cells = Cells::new(data);
        let capacity = cells.capacity();
        Self {
            cells,
            peer,
            position: start,
            consumed_seen: start,
            payload_max: payload_max(capacity),
            copy_strategy: CopyStrategy::new(capacity, CopyWay::IN),
        }
    }

    /// Limits payloads to `max` bytes.
    pub(crate) fn limited_to(mut self, max: usize) -> Self {
        self.payload_max = self.payload_max.min(max);
        self
    }

    pub(crate) fn unread_frames(&self) -> UnreadFrames {
        UnreadFrames::new(self.cells.clone())
    }

    #[inline]
    pub(crate) fn payload_max(&self) -> usize {
        self.payload_max
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.cells.capacity()
    }

    /// The position of the next frame, or of the pad in front of it.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The bytes that the peer has not read, by the last look at `consumed`: an upper bound.
    #[inline]
    pub(crate) fn in_flight_bytes(&self) -> usize {
        self.position.wrapping_sub(self.consumed_seen) as usize
    }

    /// Reserves space for a frame. Reads the peer's `consumed` only if the last value of it leaves too little.
    #[inline]
    pub(crate) fn reserve(&mut self, payload_len: usize) -> Result<Reservation, ReserveError> {
        if payload_len > self.payload_max {
            return Err(ReserveError::TooLarge { len: payload_len, max: self.payload_max });
        }
        let frame = padded(HEADER_LEN + payload_len);
        let pad = self.cells.pad_before(self.position, frame);
        let wanted = pad + frame + CELL;
        let fits = |ring: &Self| wanted <= ring.cells.capacity() - ring.in_flight_bytes();
        if !fits(self) {
            self.refresh()?;
            if guarded!("Producer::reserve: space", !fits(self), else false) {
                return Err(ReserveError::Full);
            }
        }
        let (pad, payload_len) = (pad as u32, payload_len as u32);
        Ok(Reservation { position: self.position, pad, payload_len })
    }

    /// Copies the payload in. May be repeated until the commit.
    ///
    /// # Panics
    ///
    /// If `payload` has another length than the reservation.
    #[inline]
    pub(crate) fn write(&mut self, reservation: &Reservation, payload: &[u8]) {
        assert!(payload.len() == reservation.payload_len as usize);
        if payload.len() <= FIRST_LINE {
            bytes::copy_in(self.payload_words(reservation), payload);
        } else {
            self.write_lines(reservation, payload);
        }
    }

    /// Writes the first line last: the reader polls it, and would fetch it between its first word and the commit word.
    fn write_lines(&mut self, reservation: &Reservation, payload: &[u8]) {
        let (first, rest) = payload.split_at(FIRST_LINE);
        let words = self.cells.payload(self.start(reservation), payload.len());
        let (first_words, words) = words.split_at(WORDS_PER_CELL - WORDS_PER_HEADER);
        if payload.len() < LONG {
            bytes::copy_in(words, rest);
        } else {
            self.copy_strategy.copy(payload.len(), |way| match way {
                CopyWay::Lines => bytes::copy_in(words, rest),
                CopyWay::String => bytes::string_in(words, rest),
                // No reader looks at these words before the commit.
                CopyWay::Streaming => bytes::stream_in(words, rest),
            });
        }
        bytes::copy_in(first_words, first);
    }

    /// The payload in place, to be written without a copy. It holds unspecified bytes at first.
    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "only this module knows that these words have no other writer")]
    #[inline]
    pub(crate) fn payload_mut(&mut self, reservation: &Reservation) -> &mut [u8] {
        let len = reservation.payload_len();
        // SAFETY: these words lie in free space: `reserve` found it, and nothing was committed since,
        // which `payload_words` asserts. This producer is their only writer and borrowed as long as
        // the slice lives. A consumer reads no further than the commit word at `position`, which is
        // none of them, and another process can only read.
        unsafe { bytes::bytes_mut(self.payload_words(reservation), len) }
    }

    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "only this module knows that these words have no other writer")]
    #[inline]
    pub(crate) fn payload(&self, reservation: &Reservation) -> &[u8] {
        // SAFETY: as in `payload_mut`.
        unsafe { bytes::bytes(self.payload_words(reservation), reservation.payload_len()) }
    }

    /// Hands the frame over.
    // Always inline: the reservation and the label stay in registers (a tenth of a send).
    #[inline(always)]
    pub(crate) fn commit(&mut self, reservation: Reservation, label: Label) {
        let start = self.start(&reservation);
        let header = label.with_payload(reservation.payload_len);
        let end = start.wrapping_add(header.padded_len() as u64);
        guarded!("Producer::commit: guard first", self.cells.head(end).guard(), else {
            self.cells.head(start).commit(header);
            self.cells.head(end).guard();
        });
        reach(KillPoint::FrameGuarded);
        self.cells.head(start).commit(header);
        reach(KillPoint::FrameCommitted);
        if reservation.pad != 0 {
            self.cells.head(reservation.position).commit(Header::pad(reservation.pad as usize));
            reach(KillPoint::PadCommitted);
        }
        self.position = end;
        // The next frame's cell, and the guards of those after it. A store to a line that the reader shares waits until
        // the reader's processor has given it up; a line that was asked for before is there.
        self.cells.prefetch_to_write(end);
        self.cells.prefetch_to_write(end.wrapping_add(CELLS_AHEAD * CELL as u64));
        if header.padded_len() > CELL {
            self.prefetch_frame(end, header.padded_len());
        }
    }

    /// Asks for the lines of a frame of `len` bytes at `start`, in order to write to them: the next frame is probably as
    /// long as this one.
    #[inline(never)]
    fn prefetch_frame(&self, start: u64, len: usize) {
        for cell in 1..(len / CELL).min(LINES_AHEAD_MAX) {
            self.cells.prefetch_to_write(start.wrapping_add((cell * CELL) as u64));
        }
    }

    #[inline]
    fn payload_words(&self, reservation: &Reservation) -> &[AtomicU64] {
        self.cells.payload(self.start(reservation), reservation.payload_len as usize)
    }

    /// The start of the reserved frame.
    ///
    /// # Panics
    ///
    /// If another frame was committed meanwhile.
    #[inline]
    fn start(&self, reservation: &Reservation) -> u64 {
        let valid = reservation.position == self.position;
        assert!(valid, "another frame was committed meanwhile");
        reservation.position.wrapping_add(u64::from(reservation.pad))
    }

    /// Reads the peer's `consumed`. It must lie between its last value and this producer's position.
    #[cold]
    fn refresh(&mut self) -> Result<(), Violation> {
        let (position, seen) = (self.position, self.consumed_seen);
        let consumed = self.peer.consumed.observe();
        if consumed.wrapping_sub(seen) > position.wrapping_sub(seen) {
            return Err(Violation::CursorOutOfRange { consumed, seen, position });
        }
        self.consumed_seen = consumed;
        Ok(())
    }
}
