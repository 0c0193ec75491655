//! What the peer has yet to take, seen without the producer: by who may not wait for its lock.
//!
//! Our own ring says it: from where the peer claims to have read up to, there is a frame or there is none. So
//! nobody keeps count, and sending costs nothing more for it.

use std::iter;

use crate::ring::cells::Cells;
use crate::{
    primitives::Ordering,
    wire::{
        attached::Attached,
        frame::{Header, Kind, Place, frame_max},
    },
};

/// A view of the ring that we write.
pub(crate) struct UnreadFrames {
    cells: Cells,
}

impl UnreadFrames {
    pub(super) fn new(cells: Cells) -> Self {
        Self { cells }
    }

    /// Whether there is a frame behind `consumed` that asks something of the peer: a message or a request. A
    /// reply does not; who waits for it takes it, and need not say so.
    ///
    /// A peer that lies about `consumed` gets any answer, but only about itself. If the producer writes meanwhile,
    /// the answer may be that of a moment ago.
    pub(crate) fn asks_something(&self, consumed: u64) -> bool {
        self.frames(consumed).any(|(position, header)| match header.kind {
            Kind::Attached => {
                self.attached_kind(position).is_some_and(|kind| kind.rules().asks_something)
            }
            kind => kind.rules().asks_something,
        })
    }

    /// How many bytes of the ring the frames behind `consumed` take. It looks at each of them.
    ///
    /// As true as `consumed` is, and never more than the capacity.
    pub(crate) fn bytes(&self, consumed: u64) -> usize {
        let lens = self.frames(consumed).map(|(_, header)| header.padded_len());
        lens.sum::<usize>().min(self.cells.capacity())
    }

    pub(crate) fn capacity(&self) -> usize {
        self.cells.capacity()
    }

    /// The frames behind `consumed`, and where they are: a lap at the most.
    fn frames(&self, consumed: u64) -> impl Iterator<Item = (u64, Header)> {
        let capacity = self.cells.capacity();
        let mut position = consumed;
        iter::from_fn(move || {
            if position.wrapping_sub(consumed) >= capacity as u64 {
                return None;
            }
            let (wire, id_word) = self.cells.head(position).observe()?;
            let place =
                Place { to_end: self.cells.to_end(position), frame_max: frame_max(capacity) };
            // Where no frame of ours begins, the peer's cursor has moved on, or lies.
            let header = wire.check(id_word, place).ok()?;
            let found = (position, header);
            position = position.wrapping_add(header.padded_len() as u64);
            Some(found)
        })
    }

    /// Returns the kind of the message that is attached to a frame. (A frame is a cell at least, and this one no
    /// more.)
    fn attached_kind(&self, position: u64) -> Option<Kind> {
        let words = self.cells.payload(position, Attached::LEN);
        // Relaxed: the commit word in front of it was looked at first, and orders it.
        let word = words[Attached::KIND_AT / size_of::<u64>()].load(Ordering::Relaxed);
        Kind::from_wire(word as u8)
    }
}
