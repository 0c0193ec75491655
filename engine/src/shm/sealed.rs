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

use crate::shm::backing::{Backing, MemorySource};
use crate::shm::handle::{Memory, MemoryHandle};
use crate::shm::mapping::{Access, Mapping, RegionError, WriterSide, keep_to_ourselves};

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
/// What a renderer has sealed before main reads it.
const FILLED_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::WRITE).union(SealFlags::SEAL);

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// Makes memory whose seals are set before any other process sees it.
#[derive(Debug)]
struct SealedSource;

impl Backing {
    pub(crate) fn sealed() -> Self {
        Self::new(SealedSource)
    }
}

/// A descriptor of sealed memory. (Whatever else a socket brings is found out when it is mapped.)
#[derive(Debug)]
pub(crate) struct SealedMemory(pub(crate) OwnedFd);

impl MemorySource for SealedSource {
    fn region(
        &self,
        name: &str,
        len: usize,
        writer: WriterSide,
    ) -> io::Result<(Mapping, MemoryHandle)> {
        let memory = sealable_memory(name)?;
        ftruncate(&memory, len as u64)?;
        let access = match writer {
            WriterSide::Creator => Access::Write,
            WriterSide::Peer => Access::Read,
        };
        // FUTURE_WRITE spares the mappings that exist: this one stays the only writable one.
        let mapping = map(&memory, len, access)?;
        fcntl_add_seals(&memory, seals_for(writer) | SealFlags::SEAL)?;
        Ok((mapping, memory.into()))
    }

    fn blank(&self, size: usize) -> io::Result<MemoryHandle> {
        let memory = sealable_memory("ringbridge-attachment")?;
        ftruncate(&memory, size as u64)?;
        fcntl_add_seals(&memory, SIZE_SEALS)?;
        Ok(memory.into())
    }

    fn written(&self, size: usize, payload: &[u8]) -> io::Result<(Mapping, MemoryHandle)> {
        let memory = sealable_memory("ringbridge-attachment")?;
        ftruncate(&memory, size as u64)?;
        // Before the seal, which ends writing by descriptor for main as well.
        write_to_start(&memory, payload)?;
        let mapping = map(&memory, size, Access::Write)?;
        fcntl_add_seals(&memory, seals_for(WriterSide::Creator) | SealFlags::SEAL)?;
        Ok((mapping, memory.into()))
    }
}

impl Memory for SealedMemory {
    fn check(&self, size: usize) -> Result<(), RegionError> {
        check_sealed(&self.0, size, SIZE_SEALS)
    }

    /// Nobody can change its size and, if it is to be read, nobody but its creator can write it.
    fn map(&self, len: usize, access: Access) -> Result<Mapping, RegionError> {
        let writer = match access {
            Access::Read => WriterSide::Creator,
            Access::Write => WriterSide::Peer,
        };
        check_sealed(&self.0, len, seals_for(writer))?;
        Ok(map(&self.0, len, access)?)
    }

    fn fill(&self, _size: usize, payload: &[u8]) -> io::Result<()> {
        write_to_start(&self.0, payload)
    }

    fn finish(&self) -> io::Result<()> {
        Ok(fcntl_add_seals(&self.0, SealFlags::WRITE | SealFlags::SEAL)?)
    }

    fn map_finished(&self, size: usize) -> Result<Mapping, RegionError> {
        check_sealed(&self.0, size, FILLED_SEALS)?;
        // After the seals, which let nobody make a hole any more. To fill them would be main's work,
        // and main's memory.
        let blocks = fstat(&self.0).map_err(io::Error::from)?.st_blocks.cast_unsigned();
        let actual = blocks.saturating_mul(BLOCK);
        if actual < size as u64 {
            return Err(RegionError::Hollow { expected: size, actual });
        }
        Ok(map(&self.0, size, Access::Read)?)
    }
}

impl From<OwnedFd> for MemoryHandle {
    fn from(descriptor: OwnedFd) -> Self {
        Self::new(SealedMemory(descriptor))
    }
}

fn map(memory: &OwnedFd, len: usize, access: Access) -> io::Result<Mapping> {
    let mapping = SealedMapping::new(memory.as_fd(), len, access)?;
    // SAFETY: what `mapping` has mapped, and unmaps when it is dropped.
    Ok(unsafe { Mapping::new(mapping.start, len, mapping) })
}

fn write_to_start(memory: &OwnedFd, payload: &[u8]) -> io::Result<()> {
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

/// A mapping of the whole of it.
#[derive(Debug)]
struct SealedMapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is a place in memory and its length, which any thread may unmap.
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
    match writer {
        WriterSide::Creator => SIZE_SEALS | SealFlags::FUTURE_WRITE,
        WriterSide::Peer => SIZE_SEALS,
    }
}

/// Whether memory has these seals and, for good, this size.
fn check_sealed(descriptor: &OwnedFd, len: usize, required: SealFlags) -> Result<(), RegionError> {
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
