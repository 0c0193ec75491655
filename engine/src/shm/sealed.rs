//! Memory without a name, sealed: what untrusted renderers are given.
//!
//! It is a `memfd`, which travels as a descriptor. What may be done to it is settled by its seals before any
//! other process sees it, and checked by whoever is given it.
//!
//! New pages are filled by `pwrite`, not through a mapping: the kernel then takes no fault for each
//! page and need not zero bytes that are overwritten at once. That takes less than half the time
//! (docs/performance.md, "Large payloads").

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::shm::mapping::{Mapping, keep_to_ourselves};
use crate::shm::region::{Access, RegionError, WriterSide};

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
/// What a renderer has sealed before main reads it.
const FILLED_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::WRITE).union(SealFlags::SEAL);
/// What main has sealed before a renderer sees it.
const MAINS_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

// --- regions -----------------------------------------------------------------------------------------

/// Creates `len` zero bytes, maps them as `writer` asks, and seals them. `name` only shows in `/proc`.
pub(super) fn create_region(
    name: &str,
    len: usize,
    writer: WriterSide,
) -> io::Result<(Mapping, OwnedFd)> {
    let memory = sealable_memory(name)?;
    ftruncate(&memory, len as u64)?;
    let access = match writer {
        WriterSide::Creator => Access::Write,
        WriterSide::Peer => Access::Read,
    };
    // FUTURE_WRITE spares the mappings that exist: this one stays the only writable one.
    let mapping = map(&memory, len, access)?;
    fcntl_add_seals(&memory, seals_for(writer) | SealFlags::SEAL)?;
    Ok((mapping, memory))
}

/// Maps a region that another process created, once it is known that nobody can change its size and, if it is
/// to be read, that nobody but its creator can write it.
pub(super) fn open_region(
    memory: &OwnedFd,
    len: usize,
    access: Access,
) -> Result<Mapping, RegionError> {
    let writer = match access {
        Access::Read => WriterSide::Creator,
        Access::Write => WriterSide::Peer,
    };
    check_sealed(memory, len, seals_for(writer))?;
    Ok(map(memory, len, access)?)
}

// --- attachments -------------------------------------------------------------------------------------

/// Makes `size` zero bytes whose size nobody can change.
pub(super) fn create_blank(size: usize) -> io::Result<OwnedFd> {
    let memory = sealable_memory("ringbridge-attachment")?;
    ftruncate(&memory, size as u64)?;
    fcntl_add_seals(&memory, SIZE_SEALS)?;
    Ok(memory)
}

pub(super) fn check_blank(memory: &OwnedFd, size: usize) -> Result<(), RegionError> {
    check_sealed(memory, size, SIZE_SEALS)
}

/// Ends all writing, by anyone and for good. Fails while a writable mapping is left.
pub(super) fn finish_blank(memory: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_add_seals(memory, SealFlags::WRITE | SealFlags::SEAL)?)
}

/// Whether a blank was finished, and has every page that main would read.
pub(super) fn check_finished(memory: &OwnedFd, size: usize) -> Result<(), RegionError> {
    check_sealed(memory, size, FILLED_SEALS)?;
    // After the seals, which let nobody make a hole any more. To fill them would be main's work,
    // and main's memory.
    let blocks = fstat(memory).map_err(io::Error::from)?.st_blocks.cast_unsigned();
    let actual = blocks.saturating_mul(BLOCK);
    if actual < size as u64 {
        return Err(RegionError::Hollow { expected: size, actual });
    }
    Ok(())
}

/// Makes `size` bytes that only this mapping writes, whoever gets the descriptor. `payload` is
/// what they begin with; behind it are zeroes.
pub(super) fn create_written(size: usize, payload: &[u8]) -> io::Result<(Mapping, OwnedFd)> {
    let memory = sealable_memory("ringbridge-attachment")?;
    ftruncate(&memory, size as u64)?;
    // Before the seal, which ends writing by descriptor for main as well.
    write_to_start(&memory, payload)?;
    let mapping = map(&memory, size, Access::Write)?;
    fcntl_add_seals(&memory, MAINS_SEALS)?;
    Ok((mapping, memory))
}

/// Maps what another process made with [`create_written`].
pub(super) fn open_written(memory: &OwnedFd, size: usize) -> Result<Mapping, RegionError> {
    check_sealed(memory, size, MAINS_SEALS)?;
    Ok(map(memory, size, Access::Read)?)
}

pub(super) fn map(memory: &OwnedFd, len: usize, access: Access) -> io::Result<Mapping> {
    SealedMapping::new(memory.as_fd(), len, access).map(Mapping::Sealed)
}

pub(super) fn write_to_start(memory: &OwnedFd, payload: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < payload.len() {
        let rest = &payload[written..];
        match retry_on_intr(|| rustix::io::pwrite(memory, rest, written as u64))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => written += count,
        }
    }
    Ok(())
}

// --- what both are made of ---------------------------------------------------------------------------

/// A mapping of the whole of it.
#[derive(Debug)]
pub(crate) struct SealedMapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is a place in memory and its length, no more. It hands out nothing but what lies
// there, as `Shared` values, which are `Send` and `Sync` by what they point to.
unsafe impl Send for SealedMapping {}
// SAFETY: as above; nothing in it changes before it is dropped.
unsafe impl Sync for SealedMapping {}

impl SealedMapping {
    fn new(descriptor: BorrowedFd<'_>, len: usize, access: Access) -> io::Result<Self> {
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: the address is the kernel's choice, so nothing that is mapped already is replaced.
        let start =
            unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, descriptor, 0)? };
        let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)?;
        let mapping = Self { start, len };
        // SAFETY: exactly what was mapped.
        unsafe { keep_to_ourselves(start, len)? };
        Ok(mapping)
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for SealedMapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; every pointer into it shares in the `Arc` around this
        // mapping, and the last share is going.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

fn seals_for(writer: WriterSide) -> SealFlags {
    let size = SealFlags::SHRINK | SealFlags::GROW;
    match writer {
        WriterSide::Creator => size | SealFlags::FUTURE_WRITE,
        WriterSide::Peer => size,
    }
}

/// Whether memory has these seals and, for good, this size.
pub(super) fn check_sealed(
    descriptor: &OwnedFd,
    len: usize,
    required: SealFlags,
) -> Result<(), RegionError> {
    // In this order: after the size is sealed, what fstat says stays true.
    let missing = match fcntl_get_seals(descriptor) {
        Ok(present) => required.difference(present),
        // Not memory that could be sealed.
        Err(Errno::INVAL) => required,
        Err(error) => return Err(RegionError::System(error.into())),
    };
    if !missing.is_empty() {
        return Err(RegionError::Unsealed { missing });
    }
    let actual = fstat(descriptor).map_err(io::Error::from)?.st_size.cast_unsigned();
    if actual == len as u64 { Ok(()) } else { Err(RegionError::Size { expected: len, actual }) }
}

pub(super) fn sealable_memory(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => Ok(memfd_create(name, flags)?),
        created => Ok(created?),
    }
}
