//! Memory with a name: a segment, for processes that trust each other.
//!
//! A segment is what `shared_memory` makes of the system's shared memory: `shm_open` on Unix. Any process of the user may
//! open it by its name, write it, and change its size. Opening checks what can be checked, so that a mistake is an error
//! and not a crash:
//!
//! - it belongs to this user, and no other user may open it (mode 0600);
//! - it has the announced size before and after it is mapped, and is still the same object. (A page behind the end of a
//!   truncated object is a SIGBUS. A process that truncates a mapped segment ends the others.)
//!
//! The [`Segment`] of the process that made it removes the name. If that process is killed, the name and the memory
//! stay: see [`segments`](super::segments). A forked child removes nothing.
//!
//! On Linux the memory comes from `/dev/shm`, whose size is limited: see [`Segment::reserve`].

#![allow(unsafe_code, reason = "memory that another process writes has no other way in")]

use std::{fmt, io, mem::ManuallyDrop, process, ptr::NonNull};

use shared_memory::{Shmem, ShmemConf, ShmemError};

use crate::{
    portable::name::SegmentName,
    primitives::{Arc, AtomicBool, AtomicU32, Ordering::Relaxed},
    shm::{
        mapping::{Access, Mapping, RegionError, keep_to_ourselves, populate},
        shared::{Atomics, Shared},
    },
};

/// A segment, mapped here as a whole.
pub(crate) struct Segment {
    name: SegmentName,
    len: usize,
    start: NonNull<u8>,
    /// Unmaps it when it is dropped, and removes the name if this process has made it.
    shmem: ManuallyDrop<Shmem>,
    /// The process that mapped it.
    process: u32,
    /// The name was given up, and may be another segment's by now.
    is_nameless: AtomicBool,
    /// The entry in the list of segments. Cleared once the name is gone.
    record: Option<Shared<AtomicU32>>,
}

// SAFETY: it is a place in memory, its length and name, and what is needed to unmap it, which any thread may do.
// It hands out nothing but what lies there, as `Shared` values or under a caller's promise.
unsafe impl Send for Segment {}
// SAFETY: as above; nothing in it changes before it is dropped.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes `len` zero bytes of that name, which must not exist ([`io::ErrorKind::AlreadyExists`]).
    pub(crate) fn create(name: SegmentName, len: usize) -> Result<Segment, RegionError> {
        let shmem = ShmemConf::new().os_id(name.to_string()).size(len).create().map_err(system)?;
        // If it is refused below, it is removed again.
        let segment = Segment::of(shmem, name, len)?;
        check(name, len)?;
        Ok(segment)
    }

    /// Maps the segment of that name, if it is this user's and has this size.
    pub(crate) fn open(name: SegmentName, expected_len: usize) -> Result<Segment, RegionError> {
        // A mapping must not be longer than its object.
        let found = look_at(name)?;
        found.check_len(expected_len)?;
        let shmem = ShmemConf::new().os_id(name.to_string()).open().map_err(system)?;
        let segment = Segment::of(shmem, name, expected_len)?;
        // The mapped object is the one whose size was checked. Otherwise that one is gone.
        if look_at(name)? != found {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        Ok(segment)
    }

    fn of(shmem: Shmem, name: SegmentName, len: usize) -> Result<Segment, RegionError> {
        check_len(len, shmem.len() as u64)?;
        let start = NonNull::new(shmem.as_ptr())
            .ok_or_else(|| io::Error::other("a segment at address zero"))?;
        // SAFETY: it was mapped a moment ago, for this.
        unsafe { keep_to_ourselves(start, len)? };
        Ok(Segment {
            name,
            len,
            start,
            shmem: ManuallyDrop::new(shmem),
            process: process::id(),
            is_nameless: AtomicBool::new(false),
            record: None,
        })
    }

    /// Clears the entry of the list when the name is gone.
    pub(crate) fn listed_in(self, record: Shared<AtomicU32>) -> Segment {
        let mut segment = self;
        segment.record = Some(record);
        segment
    }

    pub(crate) fn name(&self) -> SegmentName {
        self.name
    }

    /// All of it, kept by the mapping.
    pub(crate) fn into_mapping(self) -> Mapping {
        // SAFETY: it is mapped there as long as it lives, and those who can open it are trusted to leave its size alone.
        unsafe { Mapping::new(self.start, self.len, self) }
    }

    /// Allocates all pages, or returns that there is no memory for them. A page that cannot be allocated at its first
    /// use ends the process with SIGBUS.
    pub(crate) fn reserve(&self) -> io::Result<()> {
        // SAFETY: exactly this mapping.
        unsafe { populate(self.start, self.len, Access::Write) }
    }

    /// Copies the payload to the start. No other process reads it before it is told of it.
    pub(crate) fn write_to_start(&self, payload: &[u8]) -> io::Result<()> {
        if payload.len() > self.len {
            return Err(io::ErrorKind::WriteZero.into());
        }
        // SAFETY: inside this mapping.
        unsafe { populate(self.start, payload.len(), Access::Write)? };
        // SAFETY: as above, and mapped for writing; `payload` is of another allocation, as nobody has a reference
        // into a segment that is not filled.
        unsafe {
            payload.as_ptr().copy_to_nonoverlapping(self.start.as_ptr(), payload.len());
        }
        Ok(())
    }

    /// Removes the name now. The mapping stays.
    pub(crate) fn remove_name(&self) {
        // Relaxed: `drop` comes after all other uses. A name that cannot be removed stays listed, so that it is swept.
        if !self.is_nameless.swap(true, Relaxed) && remove(self.name).is_ok() {
            self.clear_record();
        }
    }

    fn clear_record(&self) {
        if let Some(record) = &self.record {
            // Relaxed: others read it only after this process's death, which orders everything.
            record.store(0, Relaxed);
        }
    }

    /// Its beginning as a structure of atomics.
    ///
    /// # Panics
    ///
    /// If it is too small.
    pub(crate) fn shared<T: Atomics + 'static>(self: &Arc<Self>) -> Shared<T> {
        assert!(size_of::<T>() <= self.len && align_of::<T>() <= 4096);
        // SAFETY: it lies in the mapping, which the `Arc` keeps, and whose size those who can open it are trusted
        // not to change; a mapping is page-aligned. Every bit pattern is a valid value of atomics, and other
        // processes write them through atomics only.
        unsafe { Shared::new(self.start.cast(), self.clone()) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.process != process::id() {
            // A forked child: the name and the list are its parent's, and (on Linux) nothing is mapped here.
            return;
        }
        let is_nameless = *self.is_nameless.get_mut();
        if is_nameless {
            self.shmem.set_owner(false);
        }
        // SAFETY: dropped here and nowhere else, and not used after this.
        unsafe { ManuallyDrop::drop(&mut self.shmem) };
        if !is_nameless {
            self.clear_record();
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("name", &self.name).field("len", &self.len).finish()
    }
}

/// Checks that there is a segment of that name which is this user's alone and has this size.
pub(crate) fn check(name: SegmentName, len: usize) -> Result<(), RegionError> {
    look_at(name)?.check_len(len)
}

/// A segment as the system describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// Tells it from another segment that has its name later.
    identity: (u64, u64),
    /// `None` if it is not known before the segment is mapped.
    len: Option<u64>,
}

impl Found {
    fn check_len(self, expected: usize) -> Result<(), RegionError> {
        self.len.map_or(Ok(()), |len| check_len(expected, len))
    }
}

/// Elsewhere than on Linux sizes are rounded up, to 64 KiB at the most.
const ROUNDED_TO: u64 = if cfg!(target_os = "linux") { 1 } else { 1 << 16 };

fn check_len(expected: usize, actual: u64) -> Result<(), RegionError> {
    let at_least = expected as u64;
    if (at_least..at_least.saturating_add(ROUNDED_TO)).contains(&actual) {
        Ok(())
    } else {
        Err(RegionError::Size { expected, actual })
    }
}

/// Converts an error of `shared_memory` to the system's.
fn system(error: ShmemError) -> RegionError {
    let source = match error {
        ShmemError::MappingIdExists => io::ErrorKind::AlreadyExists.into(),
        ShmemError::MapSizeZero => io::ErrorKind::InvalidInput.into(),
        ShmemError::MapCreateFailed(code)
        | ShmemError::MapOpenFailed(code)
        | ShmemError::UnknownOsError(code) => io::Error::from_raw_os_error(code.cast_signed()),
        other => io::Error::other(other.to_string()),
    };
    RegionError::System(source)
}

use system::look_at;
pub(crate) use system::remove;

#[cfg(unix)]
mod system {
    use rustix::fs::{Mode, fstat};
    use rustix::shm;

    use super::*;

    pub(super) fn look_at(name: SegmentName) -> Result<Found, RegionError> {
        let (found, user_id, mode) = stat(name)?;
        check_owner(user_id)?;
        if mode != 0o600 {
            return Err(refused(format!("the segment's mode is {mode:o}, and not 600")));
        }
        Ok(found)
    }

    /// Removes a segment of this user's whose owner is dead, whatever is in it. Returns its size in bytes, or `None` if
    /// there is none.
    pub(crate) fn remove(name: SegmentName) -> Result<Option<u64>, RegionError> {
        let removed = stat(name).map_err(RegionError::from).and_then(|(found, user_id, _)| {
            check_owner(user_id)?;
            shm::unlink(name.to_string()).map_err(io::Error::from)?;
            Ok(found.len)
        });
        match removed {
            Err(error) if error.is_removed() => Ok(None),
            removed => removed,
        }
    }

    fn check_owner(user_id: u32) -> Result<(), RegionError> {
        if user_id == rustix::process::geteuid().as_raw() {
            Ok(())
        } else {
            Err(refused(format!("the segment belongs to the user {user_id}")))
        }
    }

    fn refused(why: String) -> RegionError {
        io::Error::new(io::ErrorKind::PermissionDenied, why).into()
    }

    /// Returns the segment, its owner, and its permissions.
    fn stat(name: SegmentName) -> io::Result<(Found, u32, u32)> {
        let segment = shm::open(name.to_string(), shm::OFlags::RDONLY, Mode::empty())?;
        let stat = fstat(&segment)?;
        #[allow(clippy::unnecessary_cast, reason = "these types differ between systems")]
        let found = Found {
            identity: (stat.st_dev as u64, stat.st_ino as u64),
            len: Some(stat.st_size as u64),
        };
        Ok((found, stat.st_uid, stat.st_mode as u32 & 0o7777))
    }
}

/// On Windows `shared_memory` keeps a segment in a file of the user's folder for temporary files, which is that user's
/// alone, and which outlives a killed owner.
#[cfg(not(unix))]
mod system {
    use std::{env, fs};

    use super::*;

    pub(super) fn look_at(_: SegmentName) -> Result<Found, RegionError> {
        Ok(Found { identity: (0, 0), len: None })
    }

    /// Renames the file before it removes it: a file that a process has mapped cannot be removed.
    pub(crate) fn remove(name: SegmentName) -> Result<Option<u64>, RegionError> {
        let folder = env::temp_dir().join("shared_memory-rs");
        let name = name.to_string();
        let name = name.trim_start_matches('/');
        let (path, aside) =
            (folder.join(name), folder.join(format!("{name}_deleted-{}", process::id())));
        let len = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        fs::rename(&path, &aside)?;
        // A mapped file stays, under a name that nothing looks for.
        let _ = fs::remove_file(&aside);
        Ok(Some(len))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, ftruncate};
    use rustix::shm;

    use super::*;
    use crate::primitives::AtomicU64;

    const LEN: usize = 3 * 4096;

    #[repr(C)]
    struct Words([AtomicU64; 4]);

    // SAFETY: atomics and nothing else.
    unsafe impl Atomics for Words {}

    fn unique(test: &str) -> SegmentName {
        let endpoint = format!("{test}-{}", process::id());
        SegmentName::directory(crate::os::process::user_id(), &endpoint)
    }

    /// As somebody else would get at it.
    fn object(name: SegmentName) -> OwnedFd {
        shm::open(name.to_string(), shm::OFlags::RDWR, Mode::empty()).unwrap()
    }

    fn exists(name: SegmentName) -> bool {
        shm::open(name.to_string(), shm::OFlags::RDONLY, Mode::empty()).is_ok()
    }

    #[test]
    fn what_one_writes_all_see_who_have_opened_it() {
        let name = unique("shared");
        let ours = Arc::new(Segment::create(name, LEN).unwrap());
        let theirs = Arc::new(Segment::open(name, LEN).unwrap());
        assert_ne!(ours.start, theirs.start);
        ours.shared::<Words>().0[3].store(42, Relaxed);
        assert_eq!(theirs.shared::<Words>().0[3].load(Relaxed), 42);
        theirs.shared::<Words>().0[0].store(43, Relaxed);
        assert_eq!(ours.shared::<Words>().0[0].load(Relaxed), 43);
    }

    #[test]
    fn the_name_goes_with_who_has_made_it_and_with_nobody_else() {
        let name = unique("name");
        let ours = Segment::create(name, LEN).unwrap();
        let theirs = Segment::open(name, LEN).unwrap();
        drop(Segment::open(name, LEN).unwrap());
        assert!(exists(name));
        drop(ours);
        assert!(!exists(name));
        theirs.write_to_start(&[1; LEN]).unwrap();
    }

    #[test]
    fn the_memory_outlives_the_segment_while_something_points_into_it() {
        let name = unique("outlives");
        let segment = Arc::new(Segment::create(name, LEN).unwrap());
        let words = segment.shared::<Words>();
        drop(segment);
        words.0[0].store(42, Relaxed);
        assert!(exists(name), "and so does its name");
        drop(words);
        assert!(!exists(name));
    }

    #[test]
    fn a_name_that_exists_is_an_error_and_stays_what_it_is() {
        let name = unique("exists");
        let first = Segment::create(name, LEN).unwrap();
        first.write_to_start(b"first").unwrap();
        let refused = io::Error::from(Segment::create(name, 2 * LEN).unwrap_err());
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(Segment::open(name, LEN).is_ok());
    }

    #[test]
    fn what_does_not_exist_cannot_be_opened() {
        let refused = io::Error::from(Segment::open(unique("missing"), LEN).unwrap_err());
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_segment_that_was_truncated_or_made_longer_is_an_error_and_no_crash() {
        let name = unique("truncated");
        let _ours = Segment::create(name, LEN).unwrap();
        for len in [0, 1, LEN - 1, LEN + 1, 2 * LEN] {
            ftruncate(object(name), len as u64).unwrap();
            let refused = Segment::open(name, LEN).unwrap_err();
            assert!(
                matches!(refused, RegionError::Size { expected: LEN, actual } if actual == len as u64),
                "{refused}"
            );
        }
    }

    #[track_caller]
    fn assert_refused(error: RegionError, why: &str) {
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn a_segment_that_others_may_open_is_an_error() {
        let name = unique("mode");
        let _ours = Segment::create(name, LEN).unwrap();
        for mode in [0o666, 0o640, 0o604, 0o602] {
            fchmod(object(name), Mode::from_raw_mode(mode)).unwrap();
            for refused in [Segment::open(name, LEN).map(drop), check(name, LEN)] {
                assert_refused(refused.unwrap_err(), &format!("mode is {mode:o}"));
            }
        }
    }

    #[test]
    fn a_segment_of_another_user_is_an_error_and_is_not_removed() {
        if !rustix::process::geteuid().is_root() {
            // Nobody else can give a segment away; and what another user has made, this one cannot even open.
            return;
        }
        let name = unique("foreign");
        let ours = Segment::create(name, LEN).unwrap();
        fchown(object(name), Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534))).unwrap();
        for refused in [Segment::open(name, LEN).map(drop), remove(name).map(drop)] {
            assert_refused(refused.unwrap_err(), "the user 65534");
        }
        assert!(exists(name));
        drop(ours);
    }

    #[test]
    fn a_forked_child_that_drops_it_leaves_its_parents_segment_alone() {
        let name = unique("forked");
        let ours = Arc::new(Segment::create(name, LEN).unwrap());
        let words = ours.shared::<Words>();
        let theirs = ManuallyDrop::new((ours.clone(), words.clone()));
        // SAFETY: the child does nothing but to drop a segment, which locks nothing, and to end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop((ours, words));
            let (ours, words) = ManuallyDrop::into_inner(theirs);
            // The last share.
            drop((ours, words));
            // SAFETY: ends this process and runs nothing of the test program's.
            unsafe { libc::_exit(0) };
        }
        let mut status = -1;
        // SAFETY: a child of this process, and a place of its own.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        drop(ManuallyDrop::into_inner(theirs));
        assert!(exists(name));
        words.0[0].store(42, Relaxed);
        drop((ours, words));
        assert!(!exists(name));
    }
}
