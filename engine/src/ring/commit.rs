//! The commit word: the only word of a ring's data on which two sides synchronise.
//!
//! One of its bits says in which lap it was written, even or odd. So a word that an earlier lap left
//! where the next frame will be is usually no frame by itself, and does not have to be zeroed.

use crate::model::guarded;
use crate::primitives::{AtomicU64, Ordering::Relaxed};
use crate::shm::bytes;
use crate::wire::WORDS_PER_CELL;
use crate::wire::frame::{Header, WireHeader};

/// Set in the commit words of every other lap. No kind of frame reaches this bit.
const ODD_LAP: u64 = 1 << 39;

/// The first cell of a frame, or the one where the next frame will be, in one lap.
#[derive(Clone, Copy)]
pub(crate) struct HeadCell<'a> {
    cell: &'a [AtomicU64; WORDS_PER_CELL],
    /// What the commit words of this lap have in the place of [`ODD_LAP`].
    lap: u64,
}

impl<'a> HeadCell<'a> {
    #[inline]
    pub(super) fn new(cell: &'a [AtomicU64; WORDS_PER_CELL], odd_lap: bool) -> Self {
        Self { cell, lap: if odd_lap { ODD_LAP } else { 0 } }
    }

    /// Sees to it that there is "nothing here yet". Visible no later than the next `commit`.
    ///
    /// Only the producer writes this memory, so it may look first. In a stream of small frames it
    /// finds the last lap's commit word, which is nothing in this lap, and does not have to take the
    /// line from the reader, who keeps it for looking.
    #[inline]
    pub(crate) fn guard(self) {
        if self.frame_in(self.cell[0].load(Relaxed)).is_some() {
            guarded!("HeadCell::guard", self.cell[0].store(self.lap, Relaxed));
        }
    }

    /// Has the processor fetch what will be looked at here soon.
    #[inline]
    pub(crate) fn prefetch(self) {
        bytes::prefetch(&self.cell[0]);
    }

    /// Hands over the frame that starts here, and everything written before. Pairs with `observe`.
    #[inline]
    pub(crate) fn commit(self, header: Header) {
        self.write_second(header.to_id_word());
        self.cell[0].store(
            header.to_commit_word() | self.lap,
            guarded!("HeadCell::commit: Release", Release),
        );
    }

    /// Sees a frame, and everything written before it was committed, or nothing yet. Pairs with
    /// `commit`. Both words are read once.
    #[inline]
    pub(crate) fn observe(self) -> Option<(WireHeader, u64)> {
        let word = self.cell[0].load(guarded!("HeadCell::observe: Acquire", Acquire));
        self.frame_in(word).map(|header| (header, self.cell[1].load(Relaxed)))
    }

    /// What a word says in this lap: zeroes, and the words of the lap before, say nothing.
    #[inline]
    fn frame_in(self, word: u64) -> Option<WireHeader> {
        let word = word ^ self.lap;
        (word != 0 && word & ODD_LAP == 0).then_some(WireHeader(word))
    }

    /// Writes a header that orders nothing: a topic hands over by its own cursor.
    #[inline]
    pub(crate) fn write(self, header: Header, second: u64) {
        self.cell[0].store(header.to_commit_word(), Relaxed);
        self.write_second(second);
    }

    /// Reads a header that orders nothing, and that may be torn.
    #[inline]
    pub(crate) fn read(self) -> (WireHeader, u64) {
        (WireHeader(self.cell[0].load(Relaxed)), self.cell[1].load(Relaxed))
    }

    #[inline]
    fn write_second(self, word: u64) {
        self.cell[1].store(word, Relaxed);
    }
}
