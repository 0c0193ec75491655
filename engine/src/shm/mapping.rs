//! A mapping of a whole memory object, and what keeps it.

use std::io;
use std::ptr::NonNull;

#[cfg(target_os = "linux")]
use rustix::io::retry_on_intr;
#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};

#[cfg(feature = "portable")]
use crate::portable::named::Segment;
use crate::shm::region::Access;
#[cfg(target_os = "linux")]
use crate::shm::sealed::SealedMapping;

/// Shared with whoever else maps it.
#[derive(Debug)]
pub(crate) enum Mapping {
    #[cfg(target_os = "linux")]
    Sealed(SealedMapping),
    #[cfg(feature = "portable")]
    // Most mappings are of the other kind, and small.
    Named(Box<Segment>),
}

impl Mapping {
    pub(crate) fn start(&self) -> NonNull<u8> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Sealed(mapping) => mapping.start(),
            #[cfg(feature = "portable")]
            Self::Named(segment) => segment.start(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            #[cfg(target_os = "linux")]
            Self::Sealed(mapping) => mapping.len(),
            #[cfg(feature = "portable")]
            Self::Named(segment) => segment.len(),
        }
    }

    /// Has the pages of the first `len` bytes mapped, for this access, and made where there are none; or says
    /// why that cannot be.
    pub(crate) fn populate(&self, len: usize, access: Access) -> io::Result<()> {
        assert!(len <= self.len());
        // SAFETY: inside this mapping.
        unsafe { populate(self.start(), len, access) }
    }

    /// All of it, in place.
    ///
    /// # Safety
    ///
    /// While the slice lives nobody may write this memory, neither here nor in another process.
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for reading as long as `self` lives, of a size that nobody changes; the caller
        // promises that the contents do not change either.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len()) }
    }

    /// All of it, in place and writable.
    ///
    /// # Safety
    ///
    /// It must be mapped [`Access::Write`], and nobody else may write it while the slice lives.
    pub(crate) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; this mapping is borrowed for writing, and the caller promises that
        // it is the only way to the memory that is written.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len()) }
    }
}

/// As [`Mapping::populate`]. Where the system has no such advice, pages come with their first use.
///
/// # Safety
///
/// A mapping of the caller's own must begin there, of at least this length.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "nothing is advised"))]
pub(crate) unsafe fn populate(start: NonNull<u8>, len: usize, access: Access) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let advice = match access {
            Access::Read => Advice::LinuxPopulateRead,
            Access::Write => Advice::LinuxPopulateWrite,
        };
        // SAFETY: the caller's own mapping, and neither piece of advice changes what it holds.
        let populate = || unsafe { madvise(start.as_ptr().cast(), len, advice) };
        retry_on_intr(populate)?;
    }
    Ok(())
}

/// Keeps a mapping from forked children and out of core dumps, where the system can.
///
/// # Safety
///
/// It must be a mapping of the caller's own, of this length.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "nothing is advised"))]
pub(crate) unsafe fn keep_to_ourselves(start: NonNull<u8>, len: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // A forked child would be a second writer of the same outbox; and messages are nobody's business after a
    // crash.
    for advice in [Advice::LinuxDontFork, Advice::LinuxDontDump] {
        // SAFETY: the caller's own mapping, and neither piece of advice changes what it holds.
        unsafe { madvise(start.as_ptr().cast(), len, advice)? };
    }
    Ok(())
}
