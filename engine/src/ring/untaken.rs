//! What the peer has yet to take, seen without the producer: by who may not wait for its lock.
//!
//! Our own ring says it: from where the peer claims to have read up to, there is a frame or there is none. So
//! nobody keeps count, and sending costs nothing more for it.

use super::cells::Cells;
use crate::{
    layout::{
        attached::Attached,
        frame::{Kind, Place, frame_max},
    },
    sync::Ordering,
};

/// A view of the ring that we write.
pub(crate) struct Untaken {
    cells: Cells,
}

impl Untaken {
    pub(super) fn new(cells: Cells) -> Self {
        Self { cells }
    }

    /// Whether there is a frame behind `consumed` that asks something of the peer: a message or a request. A
    /// reply does not; who waits for it takes it, and need not say so.
    ///
    /// A peer that lies about `consumed` gets any answer, but only about itself. If the producer writes meanwhile,
    /// the answer may be that of a moment ago.
    pub(crate) fn asks_something(&self, consumed: u64) -> bool {
        let capacity = self.cells.capacity() as u64;
        let mut position = consumed;
        while position.wrapping_sub(consumed) < capacity {
            let Some((wire, id_word)) = self.cells.head(position).observe() else { return false };
            let place = Place {
                to_end: self.cells.to_end(position),
                frame_max: frame_max(self.cells.capacity()),
            };
            // Not where a frame of ours begins: the peer's cursor has moved on, or lies.
            let Ok(header) = wire.check(id_word, place) else { return false };
            let asks = match header.kind {
                Kind::Send | Kind::Invoke => true,
                Kind::Attached => !self.carries_reply(position),
                _ => false,
            };
            if asks {
                return true;
            }
            position = position.wrapping_add(header.padded_len() as u64);
        }
        false
    }

    /// Whether the frame names an attachment that is a reply. (A frame is a cell at least, and this one no more.)
    fn carries_reply(&self, position: u64) -> bool {
        let words = self.cells.payload(position, Attached::LEN);
        let kind = words[Attached::KIND_AT / size_of::<u64>()].load(Ordering::Relaxed) as u8;
        [Kind::Reply, Kind::Reject].iter().any(|reply| *reply as u8 == kind)
    }
}
