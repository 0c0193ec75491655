//! The cells of a ring or topic, the arithmetic of positions and laps, and the commit word.
//!
//! The commit word is the only word of a ring's data on which two sides synchronise. One of its bits is the parity
//! of its lap. So a word that the last lap left in the place of the next frame is no frame, and usually needs no
//! clearing.

use crate::{
    model::guarded,
    primitives::{AtomicU64, Ordering::Relaxed},
    shm::{bytes, shared::Shared},
    wire::{
        CELL, WORDS_PER_CELL, WORDS_PER_HEADER,
        frame::{Header, Place, Violation, WireHeader, frame_max},
    },
};

/// Set in the commit words of every other lap. No kind of frame reaches this bit.
const ODD_LAP: u64 = 1 << 39;
/// The fewest cells with room for a frame and its guard behind any pad.
const CELLS_MIN: usize = 4;
/// Lengths on the wire have 32 bits.
const CELLS_MAX: usize = (1 << 32) / CELL;

/// The data of a ring. A position counts bytes since the beginning; its remainder is the place in the ring. A
/// whole number of laps fits into 64 bits, so positions may wrap.
#[derive(Clone)]
pub(crate) struct Cells {
    cells: Shared<[[AtomicU64; WORDS_PER_CELL]]>,
}

/// The first cell of a frame, or the cell of the next frame, in one lap.
#[derive(Clone, Copy)]
pub(crate) struct HeadCell<'a> {
    cell: &'a [AtomicU64; WORDS_PER_CELL],
    /// [`ODD_LAP`] or 0: the bit in the commit words of this lap.
    lap: u64,
}

impl Cells {
    /// # Panics
    ///
    /// If `data` is not a power of two of cells, from four to 4 GiB. This process chose its size.
    pub(crate) fn new(data: Shared<[AtomicU64]>) -> Self {
        let (cells, rest) = data.as_chunks::<WORDS_PER_CELL>();
        assert!(cells.len().is_power_of_two() && rest.is_empty());
        assert!((CELLS_MIN..=CELLS_MAX).contains(&cells.len()));
        Self { cells: data.map(|words| words.as_chunks().0) }
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.cells.len() * CELL
    }

    #[inline]
    fn index(&self, position: u64) -> usize {
        (position / CELL as u64) as usize & (self.cells.len() - 1)
    }

    /// The bytes from here to the end of the lap; the capacity at its start.
    #[inline]
    pub(crate) fn to_end(&self, position: u64) -> usize {
        self.capacity() - self.index(position) * CELL
    }

    /// The bytes to skip at `position` so that `len` bytes lie in one piece: the rest of the lap, or 0.
    #[inline]
    pub(crate) fn pad_before(&self, position: u64, len: usize) -> usize {
        let to_end = self.to_end(position);
        if len > to_end { to_end } else { 0 }
    }

    #[inline]
    pub(crate) fn head(&self, position: u64) -> HeadCell<'_> {
        // The capacity is a power of two, so this bit of a position changes with every lap.
        let is_odd_lap = position & self.capacity() as u64 != 0;
        HeadCell {
            cell: &self.cells[self.index(position)],
            lap: if is_odd_lap { ODD_LAP } else { 0 },
        }
    }

    /// Asks for the cell at `position` in order to write to it.
    #[inline]
    pub(crate) fn prefetch_to_write(&self, position: u64) {
        bytes::prefetch_to_write(&self.cells[self.index(position)]);
    }

    /// The words of a payload of `len` bytes whose frame starts at `position`.
    ///
    /// # Panics
    ///
    /// If the frame does not lie in one piece.
    #[inline]
    pub(crate) fn payload(&self, position: u64, len: usize) -> &[AtomicU64] {
        let words = len.div_ceil(size_of::<u64>());
        let from = self.index(position) * WORDS_PER_CELL + WORDS_PER_HEADER;
        &self.cells.as_flattened()[from..from + words]
    }

    /// Reads both words of the frame at `position`, once each, and checks them. `None` if none was committed there.
    #[inline(always)]
    pub(crate) fn frame_at(&self, position: u64) -> Option<Result<Header, Violation>> {
        let head = self.head(position);
        // Acquire: pairs with the Release in `commit`; makes the frame and the guard behind it visible.
        let word = head.cell[0].load(guarded!("Cells::frame_at: Acquire", Acquire));
        let wire = head.frame_in(word)?;
        let id_word = head.cell[1].load(Relaxed);
        let place = Place { to_end: self.to_end(position), frame_max: frame_max(self.capacity()) };
        Some(wire.check(id_word, place))
    }

    /// Returns whether a frame was committed at `position`. Orders nothing: [`frame_at`](Self::frame_at) follows.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn has_frame_at(&self, position: u64) -> bool {
        let head = self.head(position);
        // Relaxed: nothing else is read.
        head.frame_in(head.cell[0].load(Relaxed)).is_some()
    }
}

impl HeadCell<'_> {
    /// Makes sure that a reader finds no frame here. Visible no later than the next `commit`.
    ///
    /// Only the producer writes this memory, so it may look first. In a stream of small frames it finds the last
    /// lap's commit word, which is no frame in this lap. Then it stores nothing and leaves the line to the reader.
    #[inline]
    pub(crate) fn guard(self) {
        if self.frame_in(self.cell[0].load(Relaxed)).is_some() {
            guarded!("HeadCell::guard", self.cell[0].store(self.lap, Relaxed));
        }
    }

    /// Hands over the frame that starts here.
    #[inline]
    pub(crate) fn commit(self, header: Header) {
        self.cell[1].store(header.to_id_word(), Relaxed);
        let word = header.to_commit_word() | self.lap;
        // Release: pairs with the Acquire in `frame_at`; makes the frame and the guard behind it visible.
        self.cell[0].store(word, guarded!("HeadCell::commit: Release", Release));
    }

    /// The header in a word; `None` for zeroes and for commit words of the last lap.
    #[inline]
    fn frame_in(self, word: u64) -> Option<WireHeader> {
        let word = word ^ self.lap;
        (word != 0 && word & ODD_LAP == 0).then_some(WireHeader(word))
    }

    /// Writes a header that orders nothing. A topic hands over by its cursor.
    #[inline]
    pub(crate) fn write(self, header: Header, second: u64) {
        self.cell[0].store(header.to_commit_word(), Relaxed);
        self.cell[1].store(second, Relaxed);
    }

    /// Reads a header that orders nothing. It may be torn.
    #[inline]
    pub(crate) fn read(self) -> (WireHeader, u64) {
        (WireHeader(self.cell[0].load(Relaxed)), self.cell[1].load(Relaxed))
    }
}
