//! Room for an event that several processes use: what is in it is the event's own affair.
//!
//! ```text
//!     0  +----------------------------------------------------------------+
//!        | a mutex, a condition and a flag, or what else the system needs |
//!   256  +----------------------------------------------------------------+
//! ```
//!
//! Written by **every process that uses the event**, which therefore trust each other.

use crate::primitives::AtomicU64;

const WORDS: usize = 32;

/// See the [module](self).
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct EventPlace {
    words: [AtomicU64; WORDS],
}

const _: () = {
    assert!(size_of::<EventPlace>() == 256);
    assert!(align_of::<EventPlace>() == 64);
};

impl EventPlace {
    pub(crate) fn words(&self) -> &[AtomicU64] {
        &self.words
    }
}
