//! What the tests of `shm` ask of sealed memory, asked of segments.

use std::{fs, process, ptr};

use super::super::*;
use crate::{
    portable::{
        name::SegmentName,
        other_process::{OtherProcess, role},
    },
    primitives::{AtomicU32, Ordering::Relaxed},
    shm::{
        attachment::{self, tests::SIZE},
        backing::Backing,
        region::{self, Region, tests::LEN},
        shared::Shared,
    },
};

/// Segments of a prefix of their own, which go with the last of those who share them.
fn backing() -> Backing {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let endpoint = format!("test-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
    let directory = SegmentName::directory(crate::os::process::user_id(), &endpoint);
    let table = (0..16).map(|_| AtomicU32::new(0)).collect();
    Backing::new(Arc::new(Segments::new(directory, Shared::from_box(table))))
}

#[test]
fn regions_and_attachments_are_what_they_are_in_sealed_memory() {
    region::tests::each_side_sees_what_the_other_writes(&backing());
    attachment::tests::what_one_side_fills_the_other_reads(&backing());
    attachment::tests::memory_of_another_size_is_no_attachment(&backing());
}

#[test]
fn a_region_is_there_whole_from_the_start_and_is_neither_forked_nor_dumped() {
    let ours = Region::create(&backing(), "", LEN, Access::Write).unwrap();
    let theirs = Region::open(ours.handle().clone(), LEN, Access::Read).unwrap();
    assert_eq!((region::tests::mapped(&ours), region::tests::mapped(&theirs)), (LEN, 0));
    theirs.prefault().unwrap();
    assert_eq!(region::tests::mapped(&theirs), LEN);
    for region in [&ours, &theirs] {
        region::tests::assert_kept_to_ourselves(region);
    }
}

#[test]
fn a_region_of_another_size_is_refused() {
    let ours = Region::create(&backing(), "", LEN, Access::Write).unwrap();
    let opened = |announced| Region::open(ours.handle().clone(), announced, Access::Read);
    assert!(matches!(opened(2 * LEN), Err(RegionError::Size { .. })));
    assert!(opened(LEN).is_ok());
}

#[test]
fn an_attachment_that_shrank_meanwhile_is_not_read() {
    let (ours, theirs) = attachment::tests::lent_of(&backing());
    theirs.fill(&attachment::tests::payload()).unwrap();
    let handle = theirs.handle();
    let path = format!("/dev/shm{}", handle.of_kind::<NamedMemory>().unwrap().name);
    fs::File::options().write(true).open(path).unwrap().set_len(4096).unwrap();
    let refused = ours.into_readable(SIZE).unwrap_err();
    assert!(matches!(refused, RegionError::Size { .. }), "{refused}");
}

#[test]
fn where_there_is_no_room_for_it_is_an_error_and_no_crash() {
    const NAME: &str = "where_there_is_no_room_for_it_is_an_error_and_no_crash";
    if role().is_none() {
        // In a process of its own, which has another, small, place for its segments.
        return OtherProcess::start(module_path!(), NAME, "small").succeeds();
    }
    if !has_a_small_place_for_segments() {
        // That takes a privilege.
        return;
    }
    let backing = backing();
    let fits = Region::create(&backing, "", LEN, Access::Write).unwrap();
    Region::create(&backing, "", Region::ring_len(1 << 20), Access::Write).unwrap_err();
    fits.outbox().unwrap().data[0].store(42, Relaxed);
}

/// From now on, and for this thread alone.
#[allow(unsafe_code, reason = "system calls of the test's own")]
fn has_a_small_place_for_segments() -> bool {
    let (target, kind, size) = (c"/dev/shm", c"tmpfs", c"size=512k");
    // SAFETY: system calls that change no memory of this process, with strings that live.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                ptr::null(),
            ) == 0
            && libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, size.as_ptr().cast())
                == 0
    }
}
