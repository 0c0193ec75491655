//! One direction of a connection: a producer, a consumer, and frames between them.
//!
//! ```text
//!                 consumed                          position (the producer's, private)
//!                    v                                 v
//!   |  free . . . .  |  frame   | frame |    frame     | guard | . . . free  | pad |
//!   0                ^ commit word of each: this lap's ^ no such word           capacity
//!
//!   the producer writes the cells; the consumer only reads them, and writes its read position
//!   (consumed) into its own control page
//! ```
//!
//! | file | holds |
//! | --- | --- |
//! | [`producer`] | the writing end: reserve, write, commit |
//! | [`consumer`] | the reading end: peek, copy, advance, publish |
//! | [`cells`] | positions, laps and the commit word |
//! | [`copy_strategy`] | the choice of a way to copy long payloads |
//! | [`unread_frames`] | a view of the frames that the peer has not consumed |
//! | [`broadcast`] | a topic: one writer, many readers |
//!
//! **Why a reader never takes stale bytes for a frame.** It polls the commit word of the next frame, and finds none
//! until that frame is whole, by one rule: before a frame is committed, the word behind it (its guard) is no commit
//! word of the lap that it lies in. So every commit has this order:
//!
//! 1. clear the guard if it could be taken for a frame; it may lie at the start of the next lap;
//! 2. write the payload and the id;
//! 3. store the commit word, with Release;
//! 4. if the frame did not fit into the lap, it stands at the start of the next. Then store the commit word of the
//!    pad in front of it, with Release, *last*: until then the reader waits at the pad.
//!
//! The producer reserves room for pad, frame and guard together, before it writes anything.
//!
//! **Why a small frame costs one cache line.** Up to 48 bytes of payload share the line of their commit word. There is
//! no shared tail cursor, and the producer reads `consumed` only when its copy of it says "full".
//!
//! **A hostile peer.** A consumer checks each header by value, a producer checks `consumed`, and both keep their
//! positions in private memory. A consumer follows one pad, and a second one is a violation.
//!
//! This folder does not sleep, wake or count, and does not know the meaning of a frame. Positions are bytes since the
//! beginning, compared by wrapping subtraction only.

pub(crate) mod broadcast;
pub(crate) mod cells;
pub(crate) mod consumer;
mod copy_strategy;
pub(crate) mod producer;
pub(crate) mod unread_frames;

#[cfg(test)]
mod tests;
