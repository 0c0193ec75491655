//! The control page of a topic. **Written by main alone**, read by every subscribed renderer.
//!
//! ```text
//!     0  +----------------------------------------------------------------+
//!        | magic, version, reserved, capacity    constant                 |
//!   128  +----------------------------------------------------------------+
//!        | claim    the end of the bytes that the writer may overwrite    |
//!        | newest   the start of the newest whole record                  |
//!   256  +----------------------------------------------------------------+
//!        | zeroes up to the end of the page                               |
//! ```
//!
//! A record has the shape of a frame: a commit word (kind `Send`, or `Pad` at the end of a lap), its sequence
//! in word 1, its payload, whole cells. Sequences start at 1. The record with sequence 0 opens the topic and
//! has no payload. So a topic is never empty, and one record tells a new reader its position and sequence.

use crate::wire::{
    CELL, HEADER_LEN,
    identity::{Identity, Line},
    words::{Claim, Cursor},
};

const MAGIC: u64 = u64::from_ne_bytes(*b"ringtop\0");

#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct TopicControl {
    pub(crate) identity: Line<Identity<MAGIC>>,
    pub(crate) claim: Claim,
    pub(crate) newest: Cursor,
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(TopicControl, identity) == 0);
    assert!(offset_of!(TopicControl, claim) == 128);
    assert!(offset_of!(TopicControl, newest) == 136);
    assert!(size_of::<TopicControl>() == 256);
    assert!(size_of::<TopicControl>() <= super::CONTROL_LEN);
};

/// The longest record, header included: a quarter of the ring. So the newest record, the next one and a pad
/// between them always fit together, and the writer never overwrites the newest.
pub(crate) const fn record_max(capacity: usize) -> usize {
    capacity / 4 / CELL * CELL
}

pub(crate) const fn payload_max(capacity: usize) -> usize {
    record_max(capacity) - HEADER_LEN
}
