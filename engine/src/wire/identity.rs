//! The first [`Line`] of every control page: its magic number, its version and the ring's capacity.
//!
//! ```text
//!   0               8       12      16              24
//!   +---------------+-------+-------+---------------+
//!   |     magic     |version|   0   |   capacity    |
//!   +---------------+-------+-------+---------------+
//! ```
//!
//! The owner of the page writes it once. A renderer checks main's. Main never reads a renderer's: it made
//! every region itself and knows the size.

use crate::primitives::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Fields that one side writes together, apart from all others. Two cache lines, because processors fetch
/// neighbouring lines in pairs.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Line<T>(T);

impl<T> std::ops::Deref for Line<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The version of the pages in shared memory. The packets of the handshake have their own.
const VERSION: u32 = 1;

// Relaxed: the owner writes these constants before it sends the memory to another process.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Identity<const MAGIC: u64> {
    magic: AtomicU64,
    version: AtomicU32,
    reserved: AtomicU32,
    capacity: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Identity<0>>() == 24);

impl<const MAGIC: u64> Identity<MAGIC> {
    /// Writes the identity into a page of zeroes. Owner only, before the peer has the memory.
    pub(crate) fn initialise(&self, capacity: usize) {
        self.magic.store(MAGIC, Relaxed);
        self.version.store(VERSION, Relaxed);
        self.capacity.store(capacity as u64, Relaxed);
    }

    /// Checks that the owner made such a page, for `capacity` bytes.
    pub(crate) fn check(&self, capacity: usize) -> Result<(), IdentityError> {
        let magic = self.magic.load(Relaxed);
        if magic != MAGIC {
            return Err(IdentityError::Magic { found: magic });
        }
        let found = self.version.load(Relaxed);
        if found != VERSION {
            return Err(IdentityError::Version { found, expected: VERSION });
        }
        let (found, expected) = (self.capacity.load(Relaxed), capacity as u64);
        if found == expected { Ok(()) } else { Err(IdentityError::Capacity { found, expected }) }
    }
}

/// A region is not the announced one.
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
        let identity = Identity::<7>::default();
        assert_eq!(identity.check(4096), Err(IdentityError::Magic { found: 0 }));
        identity.initialise(4096);
        assert_eq!(identity.check(4096), Ok(()));
        identity.magic.store(8, Relaxed);
        assert_eq!(identity.check(4096), Err(IdentityError::Magic { found: 8 }));
        identity.initialise(4096);
        assert!(matches!(identity.check(8192), Err(IdentityError::Capacity { .. })));
        identity.version.store(VERSION + 1, Relaxed);
        assert!(matches!(identity.check(4096), Err(IdentityError::Version { .. })));
    }
}
