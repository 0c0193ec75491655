//! Memory of one large payload: an object of its own, which travels beside the ring.
//!
//! Main makes all of it. The process that fills it decides which seals keep it from changing under its reader:
//!
//! ```text
//!   filled by    seals when it is read                      effect
//!   ----------   ----------------------------------------   ----------------------------------------
//!   main         SHRINK  GROW  FUTURE_WRITE  SEAL           only main's own mapping can write it
//!   a renderer   SHRINK  GROW  WRITE         SEAL           no process can write it any more
//! ```
//!
//! The kernel refuses `WRITE` while a writable mapping is left, and it cannot be removed. So main reads a [`Readable`]
//! of a hostile renderer in place. Named memory cannot be sealed: there, the process that filled it is trusted.
//!
//! A page that the kernel cannot allocate when it is first used would end the process with SIGBUS. So pages are
//! populated beforehand, which fails with an error.

use std::{
    io,
    ops::{Deref, DerefMut},
};

use crate::shm::{
    backing::Backing,
    handle::MemoryHandle,
    mapping::{Access, Mapping, RegionError},
};

/// The unit of allocation.
pub(crate) const PAGE: usize = 4096;

/// Memory of a constant size, made by main for a renderer to fill and seal.
#[derive(Debug)]
pub(crate) struct Blank {
    memory: MemoryHandle,
    size: usize,
}

impl Blank {
    pub(crate) fn create(backing: &Backing, size: usize) -> io::Result<Self> {
        Ok(Self { memory: backing.blank(size)?, size })
    }

    /// Takes memory from another process, if it has this size.
    pub(crate) fn open(memory: MemoryHandle, size: usize) -> Result<Self, RegionError> {
        memory.check(size)?;
        Ok(Self { memory, size })
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The handle for the process that fills it.
    pub(crate) fn handle(&self) -> MemoryHandle {
        self.memory.clone()
    }

    pub(crate) fn fill(&self, payload: &[u8]) -> io::Result<()> {
        self.memory.fill(self.size, payload)
    }

    /// Maps it, and populates the first `len` bytes. Unmap it before [`seal`](Self::seal).
    pub(crate) fn map(&self, len: usize) -> io::Result<Writable> {
        let mapping = self.memory.map(self.size, Access::Write)?;
        let mut writable = Writable { mapping, populated: 0 };
        writable.populate(len)?;
        Ok(writable)
    }

    /// Ends all writing to sealed memory, by any process. Fails while a writable mapping is left. On named memory it
    /// has no effect.
    pub(crate) fn seal(self) -> io::Result<()> {
        self.memory.finish()
    }

    /// Maps the first `len` bytes for reading, if the renderer has written every page and sealed it, as far as this
    /// kind of memory can tell. `self` is main's, so its size is known.
    pub(crate) fn into_readable(self, len: usize) -> Result<Readable, RegionError> {
        let mapping = self.memory.map_finished(self.size)?;
        mapping.populate(len, Access::Read)?;
        Ok(Readable { mapping, len })
    }
}

/// Memory that only this process can write.
#[derive(Debug)]
pub(crate) struct Writable {
    mapping: Mapping,
    /// The bytes from the start whose pages are mapped.
    populated: usize,
}

impl Writable {
    /// Makes `size` bytes: `payload`, and zeroes behind it. A process that gets the handle may read them.
    pub(crate) fn create(
        backing: &Backing,
        size: usize,
        payload: &[u8],
    ) -> io::Result<(Self, MemoryHandle)> {
        let (mapping, handle) = backing.written(size, payload)?;
        Ok((Self { mapping, populated: 0 }, handle))
    }

    /// Allocates the pages of the first `len` bytes, so that a write takes no fault.
    pub(crate) fn populate(&mut self, len: usize) -> io::Result<()> {
        if len > self.populated {
            self.mapping.populate(len, Access::Write)?;
            self.populated = len;
        }
        Ok(())
    }
}

impl Deref for Writable {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the whole mapping, which `self` keeps and whose size is constant. Only this mapping can write it
        // (FUTURE_WRITE was sealed before the descriptor was passed on; of a segment, by trust), or it is a
        // renderer's `Blank`, which main does not write: main is trusted.
        unsafe { self.mapping.bytes() }
    }
}

impl DerefMut for Writable {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably. A renderer that reads it before a frame names it
        // sees its own payload change.
        unsafe { self.mapping.bytes_mut() }
    }
}

/// A payload in memory that does not change while this lives.
#[derive(Debug)]
pub(crate) struct Readable {
    mapping: Mapping,
    len: usize,
}

impl Readable {
    /// Maps all `size` bytes of memory that main has made and may write again. Main changes no payload before
    /// `consumed` has passed the frame that names it.
    pub(crate) fn of_main(handle: &MemoryHandle, size: usize) -> Result<Self, RegionError> {
        let mapping = handle.map(size, Access::Read)?;
        Ok(Self { mapping, len: size })
    }
}

impl Deref for Readable {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: part of the mapping, which `self` keeps and whose size is constant. No process writes it: either
        // none can (`into_readable` has checked the WRITE seal), or its writer is trusted not to write what is being
        // read: main (`of_main`), or the process that has filled a segment.
        unsafe { &self.mapping.bytes()[..self.len] }
    }
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod tests {
    use rustix::{
        fs::{FallocateFlags, fallocate, ftruncate},
        io::Errno,
        mm::{MapFlags, ProtFlags, mmap},
    };

    use std::os::fd::OwnedFd;

    use super::*;
    use crate::shm::sealed::SealedMemory;

    pub(crate) const SIZE: usize = 4 * PAGE;

    pub(crate) fn payload() -> Vec<u8> {
        (0..SIZE - 100).map(|index| (index % 251) as u8).collect()
    }

    /// A blank, and what the process that is to fill it holds.
    fn lent() -> (Blank, Blank) {
        lent_of(&Backing::sealed())
    }

    pub(crate) fn lent_of(backing: &Backing) -> (Blank, Blank) {
        let ours = Blank::create(backing, SIZE).unwrap();
        let theirs = Blank::open(ours.handle(), SIZE).unwrap();
        (ours, theirs)
    }

    fn descriptor(memory: &MemoryHandle) -> OwnedFd {
        memory.of_kind::<SealedMemory>().unwrap().0.try_clone().unwrap()
    }

    /// For memory of any kind.
    pub(crate) fn what_one_side_fills_the_other_reads(backing: &Backing) {
        let (ours, theirs) = lent_of(backing);
        theirs.fill(&payload()).unwrap();
        theirs.seal().unwrap();
        assert_eq!(*ours.into_readable(SIZE - 100).unwrap(), payload());

        let (ours, theirs) = lent_of(backing);
        let mut mapped = theirs.map(SIZE).unwrap();
        mapped[..SIZE - 100].copy_from_slice(&payload());
        drop(mapped);
        theirs.seal().unwrap();
        assert_eq!(ours.into_readable(SIZE).unwrap()[..SIZE - 100], payload());

        let (mut ours, handle) = Writable::create(backing, SIZE, &payload()).unwrap();
        let theirs = Readable::of_main(&handle, SIZE).unwrap();
        assert_eq!(theirs[..SIZE - 100], payload());
        assert!(theirs[SIZE - 100..].iter().all(|byte| *byte == 0));
        ours.populate(SIZE).unwrap();
        ours[0] = 77;
        assert_eq!(theirs[0], 77);
    }

    /// For memory of any kind.
    pub(crate) fn memory_of_another_size_is_no_attachment(backing: &Backing) {
        let other = Blank::create(backing, 2 * SIZE).unwrap();
        Blank::open(other.handle(), SIZE).unwrap_err();
        let (_kept, handle) = Writable::create(backing, 2 * SIZE, &[]).unwrap();
        Readable::of_main(&handle, SIZE).unwrap_err();
    }

    #[test]
    fn sealed_memory_is_filled_and_read_in_place() {
        what_one_side_fills_the_other_reads(&Backing::sealed());
        memory_of_another_size_is_no_attachment(&Backing::sealed());
    }

    #[test]
    fn what_is_still_mapped_for_writing_cannot_be_sealed_and_is_not_read() {
        let (ours, theirs) = lent();
        let _mapped = theirs.map(SIZE).unwrap();
        assert_eq!(theirs.seal().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        let refused = ours.into_readable(SIZE).unwrap_err();
        assert!(matches!(refused, RegionError::Unsealed { .. }), "{refused}");
    }

    #[test]
    fn what_has_holes_is_not_read() {
        for written in [0..0, 0..3 * PAGE, PAGE..SIZE] {
            let (ours, theirs) = lent();
            let bytes = vec![1; written.len()];
            rustix::io::pwrite(descriptor(&theirs.handle()), &bytes, written.start as u64).unwrap();
            theirs.seal().unwrap();
            let refused = ours.into_readable(PAGE).unwrap_err();
            assert!(
                matches!(refused, RegionError::Hollow { expected: SIZE, actual }
                    if actual == written.len() as u64),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_sealed_attachment_can_be_changed_by_nobody() {
        let (ours, theirs) = lent();
        theirs.fill(&payload()).unwrap();
        let kept = descriptor(&theirs.handle());
        theirs.seal().unwrap();
        let readable = ours.into_readable(SIZE).unwrap();
        assert_eq!(rustix::io::pwrite(&kept, &[0; 8], 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&kept, 0), Err(Errno::PERM));
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(&kept, punch, 0, SIZE as u64), Err(Errno::PERM));
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let mapped =
            unsafe { mmap(std::ptr::null_mut(), SIZE, protection, MapFlags::SHARED, &kept, 0) };
        assert_eq!(mapped.err(), Some(Errno::PERM));
        assert_eq!(readable[..SIZE - 100], payload());
    }

    #[test]
    fn what_main_fills_only_main_can_change() {
        let (_ours, handle) = Writable::create(&Backing::sealed(), SIZE, &payload()).unwrap();
        assert_eq!(rustix::io::pwrite(descriptor(&handle), &[0; 8], 0), Err(Errno::PERM));
        let blank = Blank::open(handle, SIZE).unwrap();
        assert_eq!(blank.map(SIZE).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn memory_of_another_size_or_with_no_seals_is_no_attachment() {
        let other = Blank::create(&Backing::sealed(), 2 * SIZE).unwrap();
        let passed_on = || other.handle();
        assert!(matches!(Blank::open(passed_on(), SIZE), Err(RegionError::Size { .. })));
        assert!(matches!(
            Readable::of_main(&passed_on(), 2 * SIZE),
            Err(RegionError::Unsealed { .. })
        ));
        let (reader, _writer) = io::pipe().unwrap();
        assert!(matches!(
            Blank::open(OwnedFd::from(reader).into(), SIZE),
            Err(RegionError::Unsealed { .. })
        ));
    }
}
