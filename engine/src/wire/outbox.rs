//! The control page of an outbox. **Written by the owner of the outbox alone**, read by its peer.
//!
//! ```text
//!     0  +----------------------------------------------------------------+
//!        | magic, version, reserved, capacity    constant                 |
//!   128  +----------------------------------------------------------------+
//!        | consumed      the owner's read position in its inbox           |
//!   256  +----------------------------------------------------------------+
//!        | parked        the owner sleeps for frames (odd)                |
//!        | space_wanted  the owner sleeps for room in this outbox (odd)   |
//!        | alarm         the time at which the owner wakes up by itself   |
//!   384  +----------------------------------------------------------------+
//!        | bell          the peer sleeps on its first word; the second    |
//!        |               tells on which processor the owner rang          |
//!   512  +----------------------------------------------------------------+
//!        | zeroes up to the end of the page                               |
//! ```
//!
//! Lines are 128 bytes apart, so that writes to one do not slow a peer that watches the next. The owner may be
//! hostile to its peer. The peer's producer checks `consumed`; `parked`, `space_wanted` and `alarm` only
//! decide whether the peer rings the owner.

use crate::wire::{
    identity::{Identity, Line},
    words::{Alarm, Bell, Cursor, Epoch},
};

const MAGIC: u64 = u64::from_ne_bytes(*b"ringbox\0");

#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct OutboxControl {
    pub(crate) identity: Line<Identity<MAGIC>>,
    /// The owner's read position in its inbox. Its consumer publishes it late, on purpose.
    pub(crate) consumed: Line<Cursor>,
    /// Odd while the owner sleeps for frames. Written by the thread that drives its inbox.
    pub(crate) parked: Epoch,
    /// Odd while the owner sleeps for room in this outbox. Written under the lock of `SpaceWaiters`.
    pub(crate) space_wanted: Epoch,
    /// Written before `parked`, by the same thread.
    pub(crate) alarm: Alarm,
    /// The peer sleeps on it. Written by any thread of the owner.
    pub(crate) bell: Line<Bell>,
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(OutboxControl, identity) == 0);
    assert!(offset_of!(OutboxControl, consumed) == 128);
    assert!(offset_of!(OutboxControl, parked) == 256);
    assert!(offset_of!(OutboxControl, space_wanted) == 260);
    assert!(offset_of!(OutboxControl, alarm) == 264);
    assert!(offset_of!(OutboxControl, bell) == 384);
    assert!(size_of::<OutboxControl>() == 512);
    assert!(size_of::<OutboxControl>() <= super::CONTROL_LEN);
};
