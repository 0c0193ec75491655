//! One producer, one consumer, frames in between: each direction of a link.
//!
//! ```text
//!                 consumed                          position (the producer's, private)
//!                    v                                 v
//!   |  free . . . .  |  frame   | frame |    frame     | guard | . . . free  | pad |
//!   0                ^ commit word of each: this lap's ^ no such word           capacity
//!
//!   the producer writes the cells; the consumer only reads them, and says in its own control page
//!   how far it has come
//! ```
//!
//! # Why a reader can never take stale bytes for a frame
//!
//! The reader polls the commit word of the frame that it expects next. It finds none until that frame
//! is whole, because of one rule: **before a frame is committed, the word behind it (its guard) is
//! no commit word of the lap that it lies in.** So the order of every commit is
//!
//! 1. see to the guard, which may lie at the start of the next lap: a word that could be taken for
//!    a frame there is cleared;
//! 2. write the payload and the id;
//! 3. store the commit word, with Release;
//! 4. if the frame did not fit into the lap and stands at the start of the next, store the commit
//!    word of the pad in front of it, with Release, *last*: until then the reader stands there.
//!
//! Pad, frame and guard are found room for together, before anything is written. A reservation that
//! is dropped leaves bytes behind that nobody will look at.
//!
//! # Why a small frame costs one cache line
//!
//! The signal is in the frame: up to 48 bytes of payload share the line of their commit word. No tail
//! cursor is shared, and `consumed` is looked at only when the producer's copy of it says "full".
//!
//! # What the peer can do
//!
//! Either side may be hostile. A consumer checks each header by value ([`WireHeader::check`]), a
//! producer checks `consumed`; both keep their positions in private memory. Every loop ends by itself:
//! a consumer follows one pad and calls the next one a violation.
//!
//! This module does not sleep, wake, count or know what a frame means. Positions are bytes since the
//! beginning, compared by wrapping subtraction only.
//!
//! [`WireHeader::check`]: crate::wire::frame::WireHeader::check

pub(crate) mod broadcast;
pub(crate) mod cells;
pub(crate) mod commit;
pub(crate) mod consumer;
#[cfg(not(loom))]
mod copy_strategy;
pub(crate) mod producer;
#[cfg(not(loom))]
pub(crate) mod unread_frames;

#[cfg(test)]
mod tests;
