//! A mapping of a whole memory object, and what keeps it.

use std::{any::Any, io, ptr::NonNull};

#[cfg(target_os = "linux")]
use rustix::fs::SealFlags;
#[cfg(target_os = "linux")]
use rustix::io::retry_on_intr;
#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};

/// Who writes a region, decided once and for all when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterSide {
    /// The process that creates it; all others only read.
    Creator,
    /// The one process that it is given to; its creator only reads.
    Peer,
}

/// How a region is mapped here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Why memory that another process passed on was not mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegionError {
    #[error("the memory has {actual} bytes where {expected} were announced")]
    Size { expected: usize, actual: u64 },
    /// The seals that it lacks: its size, or its contents, could change at any time.
    #[cfg(target_os = "linux")]
    #[error("the memory is not sealed as it must be: {missing:?} missing")]
    Unsealed { missing: SealFlags },
    /// Pages that were never written: whoever reads them would have to make them.
    #[error("the memory has holes: {actual} bytes are there of {expected}")]
    Hollow { expected: usize, actual: u64 },
    #[error("the memory could not be looked at or mapped: {0}")]
    System(#[from] io::Error),
}

impl RegionError {
    /// Whether what was announced has been removed: whoever made it is dead, and was swept.
    pub(crate) fn is_removed(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<RegionError> for io::Error {
    fn from(error: RegionError) -> Self {
        match error {
            RegionError::System(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// Memory that is mapped here, and shared with whoever else maps it.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// Unmaps it when it is dropped.
    _keeper: Box<dyn Any + Send + Sync>,
}

// SAFETY: it is a place in memory and its length. It hands out nothing but what lies there, as `Shared` values, which
// are `Send` and `Sync` by what they point to, or under a caller's promise. The keeper may be dropped by any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing in it changes before it is dropped.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// They must be mapped, page-aligned and of that size, as long as `keeper` lives.
    pub(crate) unsafe fn new(
        start: NonNull<u8>,
        len: usize,
        keeper: impl Any + Send + Sync,
    ) -> Self {
        Self { start, len, _keeper: Box::new(keeper) }
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
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
