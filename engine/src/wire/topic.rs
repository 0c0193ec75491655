//! The control page of a topic. **Written by main alone**, read by every subscribed renderer.
//!
//! ```text
//!     0  +----------------------------------------------------------------+
//!        | magic, version, reserved, capacity    constant                 |
//!   128  +----------------------------------------------------------------+
//!        | claim    the writer may be writing anywhere up to here         |
//!        | newest   where the newest whole record starts                  |
//!   256  +----------------------------------------------------------------+
//!        | records                               for people               |
//!   384  +----------------------------------------------------------------+
//! ```
//!
//! A record looks like a frame: a commit word (kind `Send`, or `Pad` at the end of a lap), its
//! sequence in word 1, its payload, whole cells. Sequences start at 1. The record with sequence 0
//! opens the topic and carries nothing: so a topic is never empty, and a reader that joins learns
//! both where it is and what it has not missed from one record.

use crate::wire::Line;
use crate::wire::identity::{Identity, IdentityError};
use crate::wire::words::{Claim, Cursor};
use crate::wire::{CELL, HEADER_LEN};

const MAGIC: [u8; 8] = *b"ringtop\0";

/// See the [module](self).
#[derive(Debug)]
#[repr(C)]
pub(crate) struct TopicControl {
    identity: Line<Identity>,
    /// The end of what the writer may be overwriting.
    pub(crate) claim: Claim,
    /// The start of the newest whole record.
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

impl TopicControl {
    #[cfg(any(test, loom))]
    /// A control page for private memory. In a mapping, which begins as zeroes, use
    /// [`initialise`](Self::initialise).
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            identity: Line::new(Identity::new(MAGIC, capacity)),
            claim: Claim::new(0),
            newest: Cursor::new(0),
        }
    }

    /// Writes the identity into a page of zeroes. Main only, before any reader looks.
    pub(crate) fn initialise(&self, capacity: usize) {
        self.identity.initialise(MAGIC, capacity);
    }

    /// Whether main says that this is a topic of `capacity` bytes.
    pub(crate) fn check_identity(&self, capacity: usize) -> Result<(), IdentityError> {
        self.identity.check(MAGIC, capacity)
    }
}

/// The longest record, header included: a quarter. So the newest record, the next one and the pad
/// between them always fit together, and the newest is never under the writer's pen.
pub(crate) const fn record_max(capacity: usize) -> usize {
    capacity / 4 / CELL * CELL
}

/// The longest message that a topic of this capacity carries.
pub(crate) const fn payload_max(capacity: usize) -> usize {
    record_max(capacity) - HEADER_LEN
}
