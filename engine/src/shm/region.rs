//! Regions of shared memory: created, checked, mapped.
//!
//! Main creates every region, of its final size. Seals on **sealed** memory, set before any other process has it, make
//! the rest of the engine sound:
//!
//! ```text
//!   written by           seals                                  effect
//!   ------------------   ------------------------------------   -------------------------------------
//!   main (its creator)   SHRINK  GROW  FUTURE_WRITE  SEAL       no other process can ever write it, and
//!   a renderer           SHRINK  GROW                SEAL       none can change its size (SIGBUS)
//! ```
//!
//! **Named** memory has no seals: each process that opens it is trusted. Its owner, mode and size are checked when it
//! is opened.
//!
//! Invariants: a region's size never changes; a region that is mapped [`Access::Read`] is never written through that
//! mapping (a store to sealed memory would end the process); a mapping lives as long as any [`Shared`] that points
//! into it; a forked child has none of it.
//!
//! A renderer may fill, punch or unmap the region that it writes: punched pages read as zeroes. The meaning of its
//! bytes is checked in other folders.

use std::{io, ptr::NonNull};

pub(crate) use crate::shm::mapping::{Access, RegionError};
use crate::{
    primitives::{Arc, AtomicU64},
    shm::{
        backing::Backing,
        handle::MemoryHandle,
        mapping::Mapping,
        shared::{Atomics, OutboxMemory, Shared, TopicMemory},
    },
    wire::{CONTROL_LEN, outbox::OutboxControl, topic::TopicControl},
};

const CAPACITY_MIN: usize = 4096;

const _: () = assert!(align_of::<OutboxControl>() <= CONTROL_LEN);
const _: () = assert!(align_of::<TopicControl>() <= CONTROL_LEN);
const _: () = assert!(CONTROL_LEN == 4096, "a mapping is aligned to no more than a page");

/// A region whose size is no control page followed by a power of two of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a region of {len} bytes cannot hold a ring")]
pub(crate) struct LayoutError {
    pub(crate) len: usize,
}

#[derive(Debug)]
pub(crate) struct Region {
    mapping: Arc<Mapping>,
    access: Access,
    handle: MemoryHandle,
}

impl Region {
    /// Creates `len` zero bytes and maps them for `access`; the other process gets the other access.
    ///
    /// `name` only shows in `/proc`, and only for memory that has no other name.
    pub(crate) fn create(
        backing: &Backing,
        name: &str,
        len: usize,
        access: Access,
    ) -> io::Result<Region> {
        let (mapping, handle) = backing.region(name, len, access)?;
        Ok(Region { mapping: Arc::new(mapping), access, handle })
    }

    /// Checks and maps memory that another process created.
    pub(crate) fn open(
        handle: MemoryHandle,
        len: usize,
        access: Access,
    ) -> Result<Region, RegionError> {
        let mapping = handle.map(len, access)?;
        Ok(Region { mapping: Arc::new(mapping), access, handle })
    }

    /// Allocates and maps all pages, so that no later access takes a page fault.
    pub(crate) fn prefault(&self) -> io::Result<()> {
        self.mapping.populate(self.mapping.len(), self.access)
    }

    /// The length of a region with a ring of `capacity` bytes.
    pub(crate) const fn ring_len(capacity: usize) -> usize {
        CONTROL_LEN + capacity
    }

    pub(crate) fn handle(&self) -> &MemoryHandle {
        &self.handle
    }

    /// The region as an outbox. A region that is mapped [`Access::Read`] must not be stored to.
    pub(crate) fn outbox(&self) -> Result<OutboxMemory, LayoutError> {
        let (control, data) = self.ring()?;
        Ok(OutboxMemory { control, data })
    }

    /// The region as a topic. A region that is mapped [`Access::Read`] must not be stored to.
    pub(crate) fn topic(&self) -> Result<TopicMemory, LayoutError> {
        let (control, data) = self.ring()?;
        Ok(TopicMemory { control, data })
    }

    fn ring<C: Atomics>(&self) -> Result<(Shared<C>, Shared<[AtomicU64]>), LayoutError> {
        let (start, len) = (self.mapping.start(), self.mapping.len());
        let capacity = len
            .checked_sub(CONTROL_LEN)
            .filter(|capacity| *capacity >= CAPACITY_MIN && capacity.is_power_of_two())
            .ok_or(LayoutError { len })?;
        let control = start.cast::<C>();
        // SAFETY: the mapping is longer than the control page, so the sum stays inside it.
        let data = unsafe { start.add(CONTROL_LEN) }.cast::<AtomicU64>();
        let data = NonNull::slice_from_raw_parts(data, capacity / size_of::<AtomicU64>());
        debug_assert!(control.is_aligned() && data.cast::<AtomicU64>().is_aligned());
        // SAFETY: both lie in the mapping, which the `Arc` keeps, and do not overlap. A mapping is page-aligned, and
        // the asserts above and in `wire` hold both types to a page. The size cannot change (SHRINK was sealed or
        // checked, or all processes that can open the segment are trusted), so no page goes away. Every bit pattern
        // is a valid value: atomics only (`Atomics`). Other processes may write them at any time, as atomics permit;
        // through a read-only mapping they are only loaded, and loads of up to 8 bytes are plain moves.
        unsafe {
            let data = Shared::new(data, self.mapping.clone());
            Ok((Shared::new(control, self.mapping.clone()), data))
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod tests {
    use std::os::fd::OwnedFd;
    use std::ptr;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate};
    use rustix::io::Errno;
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};

    use crate::shm::sealed::{SealedMemory, sealable_memory};

    use super::*;
    use crate::os::futex::{self, Scope};
    use crate::primitives::{AtomicU32, Ordering};

    pub(crate) const LEN: usize = CONTROL_LEN + CAPACITY_MIN;

    fn created(access: Access) -> Region {
        Region::create(&Backing::sealed(), "ringbridge-test", LEN, access).unwrap()
    }

    fn descriptor(region: &Region) -> &OwnedFd {
        &region.handle().of_kind::<SealedMemory>().unwrap().0
    }

    /// What another process would hold: a descriptor of its own.
    fn passed_on(region: &Region) -> OwnedFd {
        descriptor(region).try_clone().unwrap()
    }

    fn opened(region: &Region, access: Access) -> Region {
        Region::open(passed_on(region).into(), LEN, access).unwrap()
    }

    fn sealed_with(seals: SealFlags) -> OwnedFd {
        let descriptor = sealable_memory("ringbridge-test", LEN).unwrap();
        fcntl_add_seals(&descriptor, seals).unwrap();
        descriptor
    }

    fn map(descriptor: &OwnedFd, protection: ProtFlags) -> rustix::io::Result<*mut u8> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start =
            unsafe { mmap(ptr::null_mut(), LEN, protection, MapFlags::SHARED, descriptor, 0) };
        start.map(|start| start.cast())
    }

    /// The lines of `/proc/self/smaps` that describe the mapping at `start`.
    fn described(start: NonNull<u8>) -> Vec<String> {
        let head = format!("{:x}-", start.addr());
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(&head));
        let first = lines.next().expect("the mapping is listed");
        let rest =
            lines.take_while(|line| line.split(' ').next().is_some_and(|w| w.ends_with(':')));
        std::iter::once(first).chain(rest).map(str::to_owned).collect()
    }

    /// The same region, and as another process has opened it.
    fn pair(backing: &Backing, [ours, theirs]: [Access; 2]) -> (Region, Region) {
        let ours = Region::create(backing, "ringbridge-test", LEN, ours).unwrap();
        let theirs = Region::open(ours.handle().clone(), LEN, theirs).unwrap();
        (ours, theirs)
    }

    /// For memory of any kind.
    pub(crate) fn each_side_sees_what_the_other_writes(backing: &Backing) {
        let (ours, theirs) = pair(backing, [Access::Write, Access::Read]);
        ours.outbox().unwrap().data[511].store(42, Ordering::Release);
        assert_eq!(theirs.outbox().unwrap().data[511].load(Ordering::Acquire), 42);
        let (ours, theirs) = pair(backing, [Access::Read, Access::Write]);
        theirs.outbox().unwrap().data[0].store(42, Ordering::Release);
        assert_eq!(ours.outbox().unwrap().data[0].load(Ordering::Acquire), 42);
    }

    #[test]
    fn what_one_side_writes_the_other_sees() {
        each_side_sees_what_the_other_writes(&Backing::sealed());
    }

    /// How many bytes of it are there and mapped.
    pub(crate) fn mapped(region: &Region) -> usize {
        let lines = described(region.mapping.start());
        let line = lines.iter().find(|line| line.starts_with("Rss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    #[test]
    fn what_is_prefaulted_is_mapped_whole_whoever_writes_it() {
        for (ours, theirs) in [(Access::Write, Access::Read), (Access::Read, Access::Write)] {
            let ours = created(ours);
            let theirs = opened(&ours, theirs);
            assert_eq!((mapped(&ours), mapped(&theirs)), (0, 0));
            ours.prefault().unwrap();
            assert_eq!((mapped(&ours), mapped(&theirs)), (LEN, 0));
            theirs.prefault().unwrap();
            assert_eq!(mapped(&theirs), LEN);
        }
    }

    #[test]
    fn each_page_has_one_writer() {
        for (ours, ours_may, theirs, theirs_may) in [
            (Access::Write, "rw-s", Access::Read, "r--s"),
            (Access::Read, "r--s", Access::Write, "rw-s"),
        ] {
            let ours = created(ours);
            let theirs = opened(&ours, theirs);
            assert!(described(ours.mapping.start())[0].contains(ours_may));
            assert!(described(theirs.mapping.start())[0].contains(theirs_may));
        }
    }

    #[test]
    fn the_holder_of_a_descriptor_cannot_map_the_creators_region_writable() {
        let descriptor = passed_on(&created(Access::Write));
        assert_eq!(map(&descriptor, ProtFlags::READ | ProtFlags::WRITE), Err(Errno::PERM));
        assert_eq!(map(&descriptor, ProtFlags::WRITE), Err(Errno::PERM));
        assert!(matches!(
            Region::open(descriptor.into(), LEN, Access::Write),
            Err(RegionError::System(_)),
        ));
    }

    #[test]
    fn the_holder_of_a_descriptor_cannot_make_a_read_only_mapping_writable() {
        let descriptor = passed_on(&created(Access::Write));
        let start = map(&descriptor, ProtFlags::READ).unwrap();
        // SAFETY: a mapping of this test's own, that nothing else points into.
        unsafe {
            let flags = MprotectFlags::READ | MprotectFlags::WRITE;
            assert_eq!(mprotect(start.cast(), LEN, flags), Err(Errno::ACCESS));
            munmap(start.cast(), LEN).unwrap();
        }
    }

    #[test]
    fn the_holder_of_a_descriptor_cannot_write_or_punch_the_creators_region() {
        let region = created(Access::Write);
        region.outbox().unwrap().data[0].store(42, Ordering::Relaxed);
        let descriptor = passed_on(&region);
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(&descriptor, punch, 0, LEN as u64), Err(Errno::PERM));
        assert_eq!(rustix::io::pwrite(&descriptor, &[1; 8], 4096), Err(Errno::PERM));
        assert_eq!(region.outbox().unwrap().data[0].load(Ordering::Relaxed), 42);
    }

    #[test]
    fn the_holder_of_a_descriptor_cannot_change_the_size_or_the_seals_of_any_region() {
        for access in [Access::Write, Access::Read] {
            let descriptor = passed_on(&created(access));
            assert_eq!(ftruncate(&descriptor, 0), Err(Errno::PERM));
            assert_eq!(ftruncate(&descriptor, 2 * LEN as u64), Err(Errno::PERM));
            assert_eq!(fcntl_add_seals(&descriptor, SealFlags::WRITE), Err(Errno::PERM));
        }
    }

    #[test]
    fn pages_that_the_peer_punches_out_read_as_zeroes() {
        let ours = created(Access::Read);
        let theirs = opened(&ours, Access::Write);
        theirs.outbox().unwrap().data[0].store(42, Ordering::Relaxed);
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(descriptor(&theirs), punch, 0, LEN as u64).unwrap();
        assert_eq!(ours.outbox().unwrap().data[0].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn memory_of_another_size_is_refused() {
        let region = created(Access::Write);
        for announced in [LEN - 1, LEN + 1, 2 * LEN, 0, usize::MAX] {
            let refused =
                Region::open(passed_on(&region).into(), announced, Access::Read).unwrap_err();
            assert!(
                matches!(refused, RegionError::Size { expected, actual }
                    if expected == announced && actual == LEN as u64),
                "{refused}",
            );
        }
    }

    #[test]
    fn memory_that_lacks_a_seal_is_refused() {
        let (shrink, grow) = (SealFlags::SHRINK, SealFlags::GROW);
        for (present, access, lacking) in [
            (SealFlags::empty(), Access::Write, shrink | grow),
            (shrink, Access::Write, grow),
            (grow, Access::Write, shrink),
            (shrink | grow, Access::Read, SealFlags::FUTURE_WRITE),
            (SealFlags::FUTURE_WRITE, Access::Read, shrink | grow),
        ] {
            let refused = Region::open(sealed_with(present).into(), LEN, access).unwrap_err();
            assert!(
                matches!(refused, RegionError::Unsealed { missing } if missing == lacking),
                "{refused}",
            );
        }
    }

    #[test]
    fn a_descriptor_that_is_no_sealable_memory_is_refused() {
        let (reader, _writer) = io::pipe().unwrap();
        let refused = Region::open(OwnedFd::from(reader).into(), LEN, Access::Read).unwrap_err();
        assert!(matches!(refused, RegionError::Unsealed { .. }), "{refused}");
    }

    #[test]
    fn only_a_control_page_and_a_power_of_two_is_a_ring() {
        for (len, capacity) in [
            (CONTROL_LEN + CAPACITY_MIN, Some(CAPACITY_MIN)),
            (CONTROL_LEN + (1 << 20), Some(1 << 20)),
            (CONTROL_LEN + CAPACITY_MIN / 2, None),
            (CONTROL_LEN + 3 * CAPACITY_MIN, None),
            (CONTROL_LEN, None),
            (8, None),
        ] {
            let region =
                Region::create(&Backing::sealed(), "ringbridge-test", len, Access::Write).unwrap();
            let words = region.outbox().map(|outbox| outbox.data.len());
            let expected = capacity.map(|capacity| capacity / 8).ok_or(LayoutError { len });
            assert_eq!(words, expected);
            assert_eq!(region.topic().map(|topic| topic.data.len()), expected);
        }
    }

    #[test]
    fn a_region_of_no_bytes_is_an_error() {
        Region::create(&Backing::sealed(), "ringbridge-test", 0, Access::Write).unwrap_err();
    }

    #[test]
    fn the_memory_outlives_its_region_while_something_points_into_it() {
        let region = created(Access::Write);
        let outbox = region.outbox().unwrap();
        drop(region);
        outbox.data[0].store(42, Ordering::Relaxed);
        assert_eq!(outbox.data[0].load(Ordering::Relaxed), 42);
    }

    #[test]
    fn a_mapping_is_neither_forked_nor_dumped() {
        assert_kept_to_ourselves(&created(Access::Write));
    }

    pub(crate) fn assert_kept_to_ourselves(region: &Region) {
        let described = described(region.mapping.start());
        let flags = described.iter().find(|line| line.starts_with("VmFlags:")).unwrap();
        let flags: Vec<_> = flags.split_whitespace().collect();
        assert!(flags.contains(&"dc"), "not copied by fork: {flags:?}");
        assert!(flags.contains(&"dd"), "not dumped: {flags:?}");
    }

    #[test]
    fn a_sleeper_on_a_read_only_mapping_is_woken_from_the_writers_mapping() {
        let ours = created(Access::Write);
        let theirs = opened(&ours, Access::Read);
        // The lower half of a word of the data serves as the bell here.
        let bell = |region: &Region| {
            let word = region.mapping.start().as_ptr().wrapping_add(CONTROL_LEN).cast::<u32>();
            // SAFETY: a word of the data, which `region` keeps mapped while the test runs.
            unsafe { AtomicU32::from_ptr(word) }
        };
        let start = Instant::now();
        let much_later = Duration::from_secs(20);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (word, interrupt) = (bell(&theirs), AtomicU32::new(0));
                while word.load(Ordering::Acquire) == 0 {
                    futex::wait(word, 0, Some(much_later), Scope::Shared).unwrap();
                }
                while word.load(Ordering::Acquire) == 1 {
                    futex::wait_either((word, 1), (&interrupt, 0), Some(start + much_later))
                        .unwrap();
                }
            });
            let word = bell(&ours);
            for value in [1, 2] {
                thread::sleep(Duration::from_millis(20));
                word.store(value, Ordering::Release);
                futex::wake_all(word, Scope::Shared);
            }
        });
        assert!(start.elapsed() < much_later);
    }
}
