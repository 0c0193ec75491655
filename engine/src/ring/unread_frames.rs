//! A view of the frames that the peer has not consumed. It needs no outbox lock, and writes nothing.
//!
//! It reads this process's own ring from the peer's read position on, so that sending keeps no count. It also prefetches
//! the cell of the next frame.

use std::iter;

use crate::{
    primitives::Ordering,
    ring::cells::Cells,
    wire::{
        attached::Attached,
        frame::{Header, Kind},
    },
};

pub(crate) struct UnreadFrames {
    cells: Cells,
}

impl UnreadFrames {
    pub(super) fn new(cells: Cells) -> Self {
        Self { cells }
    }

    /// Returns whether a message or a request lies behind `consumed`. A reply does not count: its caller takes it.
    ///
    /// A peer that lies about `consumed` gets a wrong answer about itself only. While the producer writes, the
    /// answer may be out of date.
    pub(crate) fn asks_something(&self, consumed: u64) -> bool {
        self.frames(consumed).any(|(position, header)| match header.kind {
            Kind::Attached => {
                self.attached_kind(position).is_some_and(|kind| kind.rules().asks_something)
            }
            kind => kind.rules().asks_something,
        })
    }

    /// Returns the bytes of the frames behind `consumed`, at most the capacity. It reads the head of each frame.
    pub(crate) fn bytes(&self, consumed: u64) -> usize {
        let lens = self.frames(consumed).map(|(_, header)| header.padded_len());
        lens.sum::<usize>().min(self.cells.capacity())
    }

    /// Asks for the cell of the frame that will be committed at `position`.
    #[inline]
    pub(crate) fn will_commit(&self, position: u64) {
        self.cells.prefetch_to_write(position);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.cells.capacity()
    }

    /// The frames behind `consumed` and their positions, for at most one lap.
    fn frames(&self, consumed: u64) -> impl Iterator<Item = (u64, Header)> {
        let mut next = consumed;
        iter::from_fn(move || {
            let position = next;
            if position.wrapping_sub(consumed) >= self.cells.capacity() as u64 {
                return None;
            }
            // Where no frame begins, the ring has wrapped meanwhile, or the peer's position is a lie.
            let header = self.cells.frame_at(position)?.ok()?;
            next = position.wrapping_add(header.padded_len() as u64);
            Some((position, header))
        })
    }

    /// Returns the kind of the message that a frame about an attachment names. Such a frame is one cell.
    fn attached_kind(&self, position: u64) -> Option<Kind> {
        let words = self.cells.payload(position, Attached::LEN);
        // Relaxed: the load of the commit word in front of this word orders it.
        let word = words[Attached::KIND_AT / size_of::<u64>()].load(Ordering::Relaxed);
        Kind::from_wire(word as u8)
    }
}
