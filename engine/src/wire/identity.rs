//! The first line of every control page: what this is, in which version, and how large.
//!
//! ```text
//!   0               8       12      16              24
//!   +---------------+-------+-------+---------------+
//!   |     magic     |version|   0   |   capacity    |
//!   +---------------+-------+-------+---------------+
//! ```
//!
//! The owner of the page writes it once. A renderer checks main's; main, which made every region
//! itself and trusts no renderer's word, relies on the size it chose and never looks here.

use crate::primitives::{AtomicU32, AtomicU64};
use crate::wire::words::Constant;

/// The version of everything in [`layout`](super).
const VERSION: u32 = 1;

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Identity {
    magic: Constant<AtomicU64>,
    version: Constant<AtomicU32>,
    reserved: Constant<AtomicU32>,
    capacity: Constant<AtomicU64>,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Identity>() == 24);

impl Identity {
    #[cfg(any(test, loom))]
    pub(crate) fn new(magic: [u8; 8], capacity: usize) -> Self {
        let identity = Self {
            magic: Constant::<AtomicU64>::new(0),
            version: Constant::<AtomicU32>::new(0),
            reserved: Constant::<AtomicU32>::new(0),
            capacity: Constant::<AtomicU64>::new(0),
        };
        identity.initialise(magic, capacity);
        identity
    }

    pub(crate) fn initialise(&self, magic: [u8; 8], capacity: usize) {
        self.magic.set(u64::from_ne_bytes(magic));
        self.version.set(VERSION);
        self.reserved.set(0);
        self.capacity.set(capacity as u64);
    }

    pub(crate) fn check(&self, magic: [u8; 8], capacity: usize) -> Result<(), IdentityError> {
        let (found, version, found_capacity) =
            (self.magic.get(), self.version.get(), self.capacity.get());
        if found != u64::from_ne_bytes(magic) {
            return Err(IdentityError::Magic { found });
        }
        if version != VERSION {
            return Err(IdentityError::Version { found: version, expected: VERSION });
        }
        if found_capacity != capacity as u64 {
            return Err(IdentityError::Capacity {
                found: found_capacity,
                expected: capacity as u64,
            });
        }
        Ok(())
    }
}

/// A region is not what it was said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("this is not the expected region (it starts with {found:#018x})")]
    Magic { found: u64 },
    #[error("the region has version {found} of the layout, this program version {expected}")]
    Version { found: u32, expected: u32 },
    #[error("the region says it holds {found} bytes instead of {expected}")]
    Capacity { found: u64, expected: u64 },
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_difference_has_a_name() {
        let identity = Identity::new(*b"a magic.", 4096);
        assert_eq!(identity.check(*b"a magic.", 4096), Ok(()));
        assert!(matches!(identity.check(*b"another.", 4096), Err(IdentityError::Magic { .. })));
        assert!(matches!(identity.check(*b"a magic.", 8192), Err(IdentityError::Capacity { .. })));
        identity.version.set(VERSION + 1);
        assert!(matches!(identity.check(*b"a magic.", 4096), Err(IdentityError::Version { .. })));
    }
}
