//! The arithmetic of positions and laps, for rings and topics.

use crate::{
    primitives::AtomicU64,
    ring::commit::HeadCell,
    shm::shared::Shared,
    wire::{CELL, WORDS_PER_CELL, WORDS_PER_HEADER},
};

/// The data of a ring. A position counts bytes since the beginning; its remainder is the place in the ring. A
/// whole number of laps fits into 64 bits, so positions may wrap.
#[derive(Clone)]
pub(crate) struct Cells {
    cells: Shared<[[AtomicU64; WORDS_PER_CELL]]>,
}

/// The fewest cells with room for a frame and its guard behind any pad.
const CELLS_MIN: usize = 4;

/// Lengths on the wire have 32 bits.
const CELLS_MAX: usize = (1 << 32) / CELL;

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
        let odd_lap = position & self.capacity() as u64 != 0;
        HeadCell::new(&self.cells[self.index(position)], odd_lap)
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
}
