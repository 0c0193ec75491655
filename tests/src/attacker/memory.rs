//! Shared memory as bare atomics.

use std::{
    os::fd::AsFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use rustix::{
    fs::fstat,
    io::Errno,
    mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect},
};

pub const BOTH: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// A mapping that lasts as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    start: NonNull<u8>,
    len: u64,
}

// SAFETY: the memory is only accessed as atomics.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    pub fn new(memory: impl AsFd, protection: ProtFlags) -> Result<Self, Errno> {
        let len = fstat(&memory)?.st_size as u64;
        let (nowhere, flags) = (ptr::null_mut(), MapFlags::SHARED);
        // SAFETY: the kernel chooses the address, so no other mapping is replaced.
        let start = unsafe { mmap(nowhere, len as usize, protection, flags, memory, 0)? };
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, len })
    }

    pub fn size(self) -> u64 {
        self.len
    }

    pub fn make_writable(self) -> Result<(), Errno> {
        let protection = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: exactly this mapping, which is only seen as atomics.
        unsafe { mprotect(self.start.as_ptr().cast(), self.len as usize, protection) }
    }

    pub fn u64(self, at: u64) -> &'static AtomicU64 {
        // SAFETY: `place` checks bounds and alignment. A mapping lasts as long as the process. Other processes
        // change it, which atomics allow.
        unsafe { &*self.place::<AtomicU64>(at) }
    }

    pub fn u32(self, at: u64) -> &'static AtomicU32 {
        // SAFETY: as in `u64`.
        unsafe { &*self.place::<AtomicU32>(at) }
    }

    pub fn u8(self, at: u64) -> &'static AtomicU8 {
        // SAFETY: as in `u64`.
        unsafe { &*self.place::<AtomicU8>(at) }
    }

    pub fn write(self, at: u64, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for (place, word) in (at..).step_by(8).zip(words) {
            self.u64(place).store(u64::from_le_bytes(*word), Relaxed);
        }
        for (place, byte) in (at + words.len() as u64 * 8..).zip(rest) {
            self.u8(place).store(*byte, Relaxed);
        }
    }

    pub fn read(self, at: u64, len: u64) -> Vec<u8> {
        (at..at + len).map(|at| self.u8(at).load(Relaxed)).collect()
    }

    fn place<T>(self, at: u64) -> *const T {
        let size = size_of::<T>() as u64;
        assert!(at.is_multiple_of(size) && at + size <= self.len, "{at} of {}", self.len);
        // SAFETY: inside the mapping, as was just found.
        unsafe { self.start.as_ptr().add(at as usize).cast() }
    }
}
