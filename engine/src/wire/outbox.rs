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

use crate::wire::Line;
use crate::wire::identity::{Identity, IdentityError};
use crate::wire::words::{Alarm, Bell, Cursor, Epoch};

const MAGIC: [u8; 8] = *b"ringbox\0";

/// The control page of an outbox.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct OutboxControl {
    identity: Line<Identity>,
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

impl OutboxControl {
    /// Writes the identity into a page of zeroes. Owner only, before the peer has the memory.
    pub(crate) fn initialise(&self, capacity: usize) {
        self.identity.initialise(MAGIC, capacity);
    }

    /// Checks that the owner made an outbox of `capacity` bytes.
    pub(crate) fn check_identity(&self, capacity: usize) -> Result<(), IdentityError> {
        self.identity.check(MAGIC, capacity)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_says_what_it_is() {
        let control = OutboxControl::default();
        control.initialise(4096);
        assert_eq!(control.check_identity(4096), Ok(()));
        assert_eq!(
            control.check_identity(8192),
            Err(IdentityError::Capacity { found: 4096, expected: 8192 })
        );
    }
}
