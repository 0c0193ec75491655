//! The commit word: the only word of a ring's data on which two sides synchronise.

use crate::layout::WORDS_PER_CELL;
use crate::layout::frame::{Header, WireHeader};
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The first cell of a frame, or the one where the next frame will be.
#[derive(Clone, Copy)]
pub(crate) struct HeadCell<'a>(&'a [AtomicU64; WORDS_PER_CELL]);

impl<'a> HeadCell<'a> {
    #[inline]
    pub(super) fn new(cell: &'a [AtomicU64; WORDS_PER_CELL]) -> Self {
        Self(cell)
    }

    /// Says "nothing here yet". Becomes visible no later than the next `commit` does.
    #[inline]
    pub(crate) fn clear(self) {
        self.0[0].store(0, Relaxed);
    }

    /// Hands over the frame that starts here, and everything written before. Pairs with `observe`.
    #[inline]
    pub(crate) fn commit(self, header: Header) {
        self.write_second(header.to_id_word());
        self.0[0].store(header.to_commit_word(), Release);
    }

    /// Sees a frame, and everything written before it was committed, or nothing yet. Pairs with
    /// `commit`. Both words are read once.
    #[inline]
    pub(crate) fn observe(self) -> Option<(WireHeader, u64)> {
        let word = self.0[0].load(Acquire);
        (word != 0).then(|| (WireHeader(word), self.0[1].load(Relaxed)))
    }

    /// Writes a header that orders nothing: a topic hands over by its own cursor.
    #[inline]
    pub(crate) fn write(self, header: Header, second: u64) {
        self.0[0].store(header.to_commit_word(), Relaxed);
        self.write_second(second);
    }

    /// Reads a header that orders nothing, and that may be torn.
    #[inline]
    pub(crate) fn read(self) -> (WireHeader, u64) {
        (WireHeader(self.0[0].load(Relaxed)), self.0[1].load(Relaxed))
    }

    #[inline]
    fn write_second(self, word: u64) {
        self.0[1].store(word, Relaxed);
    }
}
