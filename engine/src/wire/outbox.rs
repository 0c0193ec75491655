//! The control page of an outbox. **Written by the owner of the outbox alone**, read by its peer.
//!
//! ```text
//!     0  +----------------------------------------------------------------+
//!        | magic, version, reserved, capacity    constant                 |
//!   128  +----------------------------------------------------------------+
//!        | consumed      how far the owner has read its inbox             |
//!   256  +----------------------------------------------------------------+
//!        | parked        the owner sleeps for frames (odd)                |
//!        | space_wanted  the owner sleeps for room in this outbox (odd)   |
//!        | alarm         when the owner wakes up for frames by itself     |
//!   384  +----------------------------------------------------------------+
//!        | bell          the peer sleeps on this word                     |
//!   512  +----------------------------------------------------------------+
//!        | zeroes up to the end of the page                               |
//! ```
//!
//! Lines are 128 bytes apart, so that a peer that watches one is not disturbed by writes to the next.
//! The peer may be hostile, and so may every value that it wrote here: `consumed` is checked by the
//! producer; `parked`, `space_wanted` and `alarm` only decide whether *its* bell is rung.

use crate::wire::Line;
use crate::wire::identity::{Identity, IdentityError};
use crate::wire::words::{Alarm, Bell, Cursor, Epoch};

const MAGIC: [u8; 8] = *b"ringbox\0";

/// See the [module](self).
#[derive(Debug)]
#[repr(C)]
pub(crate) struct OutboxControl {
    identity: Line<Identity>,
    /// How far the owner has read its inbox. Written by the owner's consumer, late on purpose.
    pub(crate) consumed: Line<Cursor>,
    /// Whether the owner sleeps for frames. Written by the thread that drives its inbox.
    pub(crate) parked: Epoch,
    /// Whether the owner sleeps for room in this outbox. Written by a thread that waits to send.
    pub(crate) space_wanted: Epoch,
    /// When the owner will wake up for frames by itself. Written before `parked`, by the same thread.
    pub(crate) alarm: Alarm,
    /// On which the peer sleeps. Written by whichever thread of the owner has work for it.
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
    #[cfg(any(test, loom))]
    /// A control page for private memory. In a mapping, which begins as zeroes, use
    /// [`initialise`](Self::initialise).
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            identity: Line::new(Identity::new(MAGIC, capacity)),
            consumed: Line::new(Cursor::new(0)),
            parked: Epoch::new(),
            space_wanted: Epoch::new(),
            alarm: Alarm::new(),
            bell: Line::new(Bell::new()),
        }
    }

    /// Writes the identity into a page of zeroes. Owner only, before the peer looks.
    pub(crate) fn initialise(&self, capacity: usize) {
        self.identity.initialise(MAGIC, capacity);
    }

    /// Whether the owner says that this is an outbox of `capacity` bytes.
    pub(crate) fn check_identity(&self, capacity: usize) -> Result<(), IdentityError> {
        self.identity.check(MAGIC, capacity)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_says_what_it_is() {
        let control = OutboxControl::new(0);
        control.initialise(4096);
        assert_eq!(control.check_identity(4096), Ok(()));
        assert_eq!(
            control.check_identity(8192),
            Err(IdentityError::Capacity { found: 4096, expected: 8192 })
        );
    }
}
