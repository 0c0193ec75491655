//! A mapping of a whole memory object, and its owner.

use std::{any::Any, io, ptr::NonNull};

#[cfg(target_os = "linux")]
use rustix::{
    fs::SealFlags,
    io::retry_on_intr,
    mm::{Advice, madvise},
};

/// The access of this process to a region. The other process has the other one, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// The reason why memory from another process was not mapped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegionError {
    #[error("the memory has {actual} bytes where {expected} were announced")]
    Size { expected: usize, actual: u64 },
    /// Without these seals its size or its contents could change at any time.
    #[cfg(target_os = "linux")]
    #[error("the memory is not sealed as it must be: {missing:?} missing")]
    Unsealed { missing: SealFlags },
    /// Its reader would have to allocate the pages that were never written.
    #[error("the memory has holes: {actual} bytes are there of {expected}")]
    Hollow { expected: usize, actual: u64 },
    #[error("the memory could not be looked at or mapped: {0}")]
    System(#[from] io::Error),
}

impl RegionError {
    /// Returns whether the memory was removed, since its maker is dead.
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

/// Memory that is mapped here, and perhaps in other processes.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// Unmaps it when it is dropped.
    _keeper: Box<dyn Any + Send + Sync>,
}

// SAFETY: it is an address and a length. It gives access only to the memory there, as `Shared` values, which
// are `Send` and `Sync` by their targets, or under a caller's promise. Any thread may drop the keeper.
unsafe impl Send for Mapping {}
// SAFETY: as above; nothing in it changes before it is dropped.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// # Safety
    ///
    /// The `len` bytes from `start` on must be mapped, page-aligned and of that size, as long as `keeper` lives.
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

    /// Allocates and maps the pages of the first `len` bytes.
    pub(crate) fn populate(&self, len: usize, access: Access) -> io::Result<()> {
        assert!(len <= self.len);
        // SAFETY: inside this mapping.
        unsafe { populate(self.start, len, access) }
    }

    /// Returns all bytes, in place.
    ///
    /// # Safety
    ///
    /// While the slice lives, no code may write this memory, here or in another process.
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for reading as long as `self` lives, of a constant size; the caller promises that the
        // contents do not change either.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Returns all bytes, in place and writable.
    ///
    /// # Safety
    ///
    /// It must be mapped [`Access::Write`], and no other code may write it while the slice lives.
    pub(crate) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; this mapping is borrowed mutably, and the caller promises that no other way to
        // write the memory is used.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// As [`Mapping::populate`]. Systems without such advice allocate pages at their first use.
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
        // SAFETY: the caller's own mapping, and neither piece of advice changes its contents.
        retry_on_intr(|| unsafe { madvise(start.as_ptr().cast(), len, advice) })?;
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
    // A forked child would be a second writer of the same outbox. Core dumps would disclose messages.
    for advice in [Advice::LinuxDontFork, Advice::LinuxDontDump] {
        // SAFETY: the caller's own mapping, and neither piece of advice changes its contents.
        unsafe { madvise(start.as_ptr().cast(), len, advice)? };
    }
    Ok(())
}
