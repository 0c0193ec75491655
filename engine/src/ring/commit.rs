//! The commit word: the only word of a ring's data on which two sides synchronise.
//!
//! One of its bits is the parity of its lap. So a word that the last lap left where the next frame will be is
//! no frame, and usually needs no clearing.

use crate::{
    model::guarded,
    primitives::{AtomicU64, Ordering::Relaxed},
    shm::bytes,
    wire::{
        WORDS_PER_CELL,
        frame::{Header, WireHeader},
    },
};

/// Set in the commit words of every other lap. No kind of frame reaches this bit.
const ODD_LAP: u64 = 1 << 39;

/// The first cell of a frame, or the cell of the next frame, in one lap.
#[derive(Clone, Copy)]
pub(crate) struct HeadCell<'a> {
    cell: &'a [AtomicU64; WORDS_PER_CELL],
    /// [`ODD_LAP`] or 0: the bit in the commit words of this lap.
    lap: u64,
}

impl<'a> HeadCell<'a> {
    #[inline]
    pub(super) fn new(cell: &'a [AtomicU64; WORDS_PER_CELL], odd_lap: bool) -> Self {
        Self { cell, lap: if odd_lap { ODD_LAP } else { 0 } }
    }

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

    /// Prefetches the commit word.
    #[inline]
    pub(crate) fn prefetch(self) {
        bytes::prefetch(&self.cell[0]);
    }

    /// Hands over the frame that starts here.
    #[inline]
    pub(crate) fn commit(self, header: Header) {
        self.write_second(header.to_id_word());
        // Release: pairs with the Acquire in `observe`; makes the frame and the guard behind it visible.
        self.cell[0].store(
            header.to_commit_word() | self.lap,
            guarded!("HeadCell::commit: Release", Release),
        );
    }

    /// Reads both words of a frame, once each; `None` if no frame was committed here.
    #[inline]
    pub(crate) fn observe(self) -> Option<(WireHeader, u64)> {
        // Acquire: pairs with the Release in `commit`; makes the frame and the guard behind it visible.
        let word = self.cell[0].load(guarded!("HeadCell::observe: Acquire", Acquire));
        self.frame_in(word).map(|header| (header, self.cell[1].load(Relaxed)))
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
        self.write_second(second);
    }

    /// Reads a header that orders nothing. It may be torn.
    #[inline]
    pub(crate) fn read(self) -> (WireHeader, u64) {
        (WireHeader(self.cell[0].load(Relaxed)), self.cell[1].load(Relaxed))
    }

    #[inline]
    fn write_second(self, word: u64) {
        self.cell[1].store(word, Relaxed);
    }
}
