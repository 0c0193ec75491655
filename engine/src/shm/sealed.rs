//! Sealed memory without a name, for untrusted renderers.
//!
//! It is a `memfd`, which travels as a descriptor. Main seals it before any other process has the descriptor, and the
//! receiver checks the seals.
//!
//! New pages are filled by `pwrite`, not through a mapping. Then the kernel takes no fault for each page and does not
//! zero bytes that are overwritten at once (docs/performance.md, "Large payloads").

use std::{
    io,
    os::fd::OwnedFd,
    ptr::{self, NonNull},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create},
    io::{Errno, retry_on_intr},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::shm::{
    backing::{Backing, MemorySource},
    handle::{Memory, MemoryHandle},
    mapping::{Access, Mapping, RegionError, keep_to_ourselves},
};

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
/// The seals of memory that main alone writes: FUTURE_WRITE spares the mappings that exist.
const MAINS_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::FUTURE_WRITE);
/// The seals of an attachment that a renderer has filled.
const FILLED_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::WRITE).union(SealFlags::SEAL);

/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

#[derive(Debug)]
struct SealedSource;

impl Backing {
    pub(crate) fn sealed() -> Self {
        Self::new(SealedSource)
    }
}

/// A descriptor of sealed memory. A hostile peer may send any other; the checks below find that out.
#[derive(Debug)]
pub(crate) struct SealedMemory(pub(crate) OwnedFd);

impl MemorySource for SealedSource {
    fn region(
        &self,
        name: &str,
        len: usize,
        access: Access,
    ) -> io::Result<(Mapping, MemoryHandle)> {
        let memory = sealable_memory(name, len)?;
        let mapping = map(&memory, len, access)?;
        let seals = if access == Access::Write { MAINS_SEALS } else { SIZE_SEALS };
        fcntl_add_seals(&memory, seals | SealFlags::SEAL)?;
        Ok((mapping, memory.into()))
    }

    fn blank(&self, size: usize) -> io::Result<MemoryHandle> {
        let memory = sealable_memory("ringbridge-attachment", size)?;
        fcntl_add_seals(&memory, SIZE_SEALS)?;
        Ok(memory.into())
    }

    fn written(&self, size: usize, payload: &[u8]) -> io::Result<(Mapping, MemoryHandle)> {
        let memory = sealable_memory("ringbridge-attachment", size)?;
        // Before the seal, which ends writing by descriptor for main as well.
        write_to_start(&memory, payload)?;
        let mapping = map(&memory, size, Access::Write)?;
        fcntl_add_seals(&memory, MAINS_SEALS | SealFlags::SEAL)?;
        Ok((mapping, memory.into()))
    }
}

impl Memory for SealedMemory {
    fn check(&self, size: usize) -> Result<(), RegionError> {
        check_sealed(&self.0, size, SIZE_SEALS)
    }

    fn map(&self, len: usize, access: Access) -> Result<Mapping, RegionError> {
        let seals = if access == Access::Read { MAINS_SEALS } else { SIZE_SEALS };
        check_sealed(&self.0, len, seals)?;
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
        // After the seals, so that no process can make a hole any more. Main would have to allocate its page.
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

struct Unmap {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is an address and a length, and any thread may unmap them.
unsafe impl Send for Unmap {}
// SAFETY: as above; nothing in it changes before it is dropped.
unsafe impl Sync for Unmap {}

impl Drop for Unmap {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped. Every pointer into it shares in the `Arc` around this mapping, and the
        // last share is going.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

fn map(memory: &OwnedFd, len: usize, access: Access) -> io::Result<Mapping> {
    let protection = match access {
        Access::Read => ProtFlags::READ,
        Access::Write => ProtFlags::READ | ProtFlags::WRITE,
    };
    // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
    let start = unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, memory, 0)? };
    let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)?;
    let unmap = Unmap { start, len };
    // SAFETY: exactly what was mapped.
    unsafe { keep_to_ourselves(start, len)? };
    // SAFETY: `unmap` keeps the mapping.
    Ok(unsafe { Mapping::new(start, len, unmap) })
}

/// Checks that memory has these seals and this size, which the seals keep.
fn check_sealed(descriptor: &OwnedFd, len: usize, required: SealFlags) -> Result<(), RegionError> {
    let missing = match fcntl_get_seals(descriptor) {
        Ok(present) => required.difference(present),
        // Not memory that could be sealed.
        Err(Errno::INVAL) => required,
        Err(error) => return Err(RegionError::System(error.into())),
    };
    if !missing.is_empty() {
        return Err(RegionError::Unsealed { missing });
    }
    // After the seals, so that the size cannot change any more.
    let actual = fstat(descriptor).map_err(io::Error::from)?.st_size.cast_unsigned();
    if actual == len as u64 { Ok(()) } else { Err(RegionError::Size { expected: len, actual }) }
}

pub(super) fn sealable_memory(name: &str, len: usize) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        created => created?,
    };
    ftruncate(&memory, len as u64)?;
    Ok(memory)
}
