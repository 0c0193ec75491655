//! Memory with a name: a segment, for processes that trust each other.
//!
//! A segment is what `shared_memory` makes of the system's shared memory: `shm_open` on Unix. Any process of
//! the user may open it by its name, write it, and change its size; no wall is between them. What can be found
//! out is found out when it is opened, so that a mistake is an error and no crash:
//!
//! - it belongs to this user, and nobody else may open it (mode 0600);
//! - it has the size that was announced, before and after it was mapped, and is still the same object. (A page
//!   behind the end of a truncated object is a SIGBUS. Whoever truncates one that others have mapped
//!   ends them: that is what they trust each other for.)
//!
//! The name goes with the process's [`Segment`] that has made it. If that process is killed, the name stays, and the
//! memory with it: see [`segments`](super::segments). A forked child has no part in either.
//!
//! On Linux the memory comes out of `/dev/shm`, whose size is limited: see [`Segment::reserve`].

#![allow(unsafe_code, reason = "memory that another process writes has no other way in")]

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::process;
use std::ptr::NonNull;

use shared_memory::{Shmem, ShmemConf, ShmemError};

use crate::portable::name::SegmentName;
use crate::primitives::{Arc, AtomicBool, AtomicU32, Mutex, Ordering};
use crate::shm::mapping::Access;
use crate::shm::mapping::{Mapping, keep_to_ourselves, populate};
use crate::shm::shared::{Atomics, Shared};

/// Why a segment was not made or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentError {
    #[error("the segment has {actual} bytes where {expected} were announced")]
    Size { expected: usize, actual: u64 },
    #[error("the segment belongs to the user {user_id}")]
    Foreign { user_id: u32 },
    #[error("the segment's mode is {mode:o}, and not 600")]
    Mode { mode: u32 },
    #[error("the segment was replaced by another while it was opened")]
    Replaced,
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A segment, mapped here as a whole.
pub(crate) struct Segment {
    name: SegmentName,
    len: usize,
    start: NonNull<u8>,
    /// Unmaps it when it is dropped, and removes the name if this process has made it.
    shmem: ManuallyDrop<Shmem>,
    /// Which process mapped it.
    process: u32,
    /// Somebody else may have the name by now.
    is_nameless: AtomicBool,
    /// Where it is listed.
    record: Mutex<Option<SegmentRecord>>,
}

// SAFETY: it is a place in memory, its length and name, and what is needed to unmap it, which any thread may do.
// It hands out nothing but what lies there, as `Shared` values or under a caller's promise.
unsafe impl Send for Segment {}
// SAFETY: as above; nothing in it changes before it is dropped.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes `len` zero bytes of that name, which must not exist ([`io::ErrorKind::AlreadyExists`]).
    pub(crate) fn create(name: &SegmentName, len: usize) -> Result<Segment, SegmentError> {
        let shmem = ShmemConf::new().os_id(name.as_str()).size(len).create().map_err(system)?;
        // If it is refused below, it goes again.
        let segment = Segment::of(shmem, name, len)?;
        check(name, len)?;
        Ok(segment)
    }

    /// Maps the segment of that name, if it is this user's and has this size.
    pub(crate) fn open(name: &SegmentName, expected_len: usize) -> Result<Segment, SegmentError> {
        // A mapping that is longer than the object would be a trap.
        let found = look_at(name)?;
        found.check_len(expected_len)?;
        let shmem = ShmemConf::new().os_id(name.as_str()).open().map_err(system)?;
        let segment = Segment::of(shmem, name, expected_len)?;
        // And the one that was mapped is the one that was looked at.
        if look_at(name)? != found {
            return Err(SegmentError::Replaced);
        }
        Ok(segment)
    }

    fn of(shmem: Shmem, name: &SegmentName, len: usize) -> Result<Segment, SegmentError> {
        check_len(len, shmem.len() as u64)?;
        let start = NonNull::new(shmem.as_ptr())
            .ok_or_else(|| io::Error::other("a segment at address zero"))?;
        // SAFETY: it was mapped a moment ago, for this.
        unsafe { keep_to_ourselves(start, len)? };
        Ok(Segment {
            name: name.clone(),
            len,
            start,
            shmem: ManuallyDrop::new(shmem),
            process: process::id(),
            is_nameless: AtomicBool::new(false),
            record: Mutex::new(None),
        })
    }

    /// Takes it off the list when its name is gone.
    pub(crate) fn listed_in(self, record: SegmentRecord) -> Segment {
        let mut segment = self;
        segment.record = Mutex::new(Some(record));
        segment
    }

    pub(crate) fn name(&self) -> &SegmentName {
        &self.name
    }

    /// All of it, kept by the mapping.
    pub(crate) fn into_mapping(self) -> Mapping {
        // SAFETY: it is mapped there as long as it lives, and those who can open it are trusted to leave its size alone.
        unsafe { Mapping::new(self.start, self.len, self) }
    }

    /// Has all of its pages made, or says that there is no memory for them. A page that cannot be had when it is
    /// first written ends the process with SIGBUS.
    pub(crate) fn reserve(&self) -> io::Result<()> {
        // SAFETY: exactly this mapping.
        unsafe { populate(self.start, self.len, Access::Write) }
    }

    /// Copies the payload to its start. Nobody reads it before they are told of it.
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

    /// Removes its name already now, and takes it off the list. What is mapped stays.
    pub(crate) fn remove_name(&self) {
        // Relaxed: `drop` comes after all.
        self.is_nameless.store(true, Ordering::Relaxed);
        // What cannot be removed is swept by the next who wants the name.
        if remove(&self.name).is_ok() {
            self.clear_record();
        }
    }

    fn clear_record(&self) {
        let record = self.record.lock().take();
        if let Some(record) = record {
            record.clear();
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
            // A forked child: its parent's name is not for it to remove, nor is there anything mapped (on Linux)
            // that it could unmap, or a list that it could write.
            return;
        }
        if *self.is_nameless.get_mut() {
            self.shmem.set_owner(false);
        }
        // SAFETY: dropped here and nowhere else, and not used after this.
        unsafe { ManuallyDrop::drop(&mut self.shmem) };
        self.clear_record();
    }
}

/// Where a segment is listed.
#[derive(Debug)]
pub(crate) struct SegmentRecord {
    table: Shared<[AtomicU32]>,
    entry: usize,
}

impl SegmentRecord {
    pub(crate) fn new(table: Shared<[AtomicU32]>, entry: usize) -> Self {
        Self { table, entry }
    }

    /// Its name is gone.
    pub(crate) fn clear(self) {
        // Relaxed: it is read by others only after this process's death, which orders everything.
        self.table[self.entry].store(0, Ordering::Relaxed);
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("name", &self.name).field("len", &self.len).finish()
    }
}

impl From<SegmentError> for io::Error {
    fn from(error: SegmentError) -> Self {
        let kind = match error {
            SegmentError::System(error) => return error,
            SegmentError::Foreign { .. } | SegmentError::Mode { .. } => {
                io::ErrorKind::PermissionDenied
            }
            SegmentError::Size { .. } | SegmentError::Replaced => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// Whether there is a segment of that name which is this user's alone and has this size.
pub(crate) fn check(name: &SegmentName, len: usize) -> Result<(), SegmentError> {
    look_at(name)?.check_len(len)
}

/// Removes a segment of this user's whose owner is dead, whatever it is like; says how many bytes it had, or that
/// there is none.
pub(crate) fn remove(name: &SegmentName) -> Result<Option<u64>, SegmentError> {
    system::remove(name)
}

fn look_at(name: &SegmentName) -> Result<Found, SegmentError> {
    system::look_at(name)
}

/// A segment as the system describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// Which it is; what else may have its name.
    identity: (u64, u64),
    /// If that is known before it is mapped.
    len: Option<u64>,
}

impl Found {
    fn check_len(self, expected: usize) -> Result<(), SegmentError> {
        self.len.map_or(Ok(()), |len| check_len(expected, len))
    }
}

/// Elsewhere than on Linux sizes are rounded up, to 64 KiB at the most.
const ROUNDED_TO: u64 = if cfg!(target_os = "linux") { 1 } else { 1 << 16 };

fn check_len(expected: usize, actual: u64) -> Result<(), SegmentError> {
    let at_least = expected as u64;
    if (at_least..at_least.saturating_add(ROUNDED_TO)).contains(&actual) {
        Ok(())
    } else {
        Err(SegmentError::Size { expected, actual })
    }
}

/// What `shared_memory` says, in the system's words.
fn system(error: ShmemError) -> SegmentError {
    let source = match error {
        ShmemError::MappingIdExists => io::ErrorKind::AlreadyExists.into(),
        ShmemError::MapSizeZero => io::ErrorKind::InvalidInput.into(),
        ShmemError::MapCreateFailed(code)
        | ShmemError::MapOpenFailed(code)
        | ShmemError::UnknownOsError(code) => io::Error::from_raw_os_error(code.cast_signed()),
        other => io::Error::other(other.to_string()),
    };
    SegmentError::System(source)
}

#[cfg(unix)]
mod system {
    use rustix::fs::{Mode, fstat};
    use rustix::io::Errno;
    use rustix::shm;

    use super::*;

    pub(crate) fn look_at(name: &SegmentName) -> Result<Found, SegmentError> {
        let (found, user_id, mode) = stat(name).map_err(io::Error::from)?;
        if user_id != our_user_id() {
            return Err(SegmentError::Foreign { user_id });
        }
        if mode != 0o600 {
            return Err(SegmentError::Mode { mode });
        }
        Ok(found)
    }

    pub(crate) fn remove(name: &SegmentName) -> Result<Option<u64>, SegmentError> {
        match stat(name) {
            Ok((found, user_id, _)) if user_id == our_user_id() => {
                match shm::unlink(name.as_str()) {
                    Ok(()) => Ok(found.len),
                    Err(Errno::NOENT) => Ok(None),
                    Err(error) => Err(SegmentError::System(error.into())),
                }
            }
            Ok((_, user_id, _)) => Err(SegmentError::Foreign { user_id }),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(SegmentError::System(error.into())),
        }
    }

    /// It, its owner, and its permissions.
    fn stat(name: &SegmentName) -> rustix::io::Result<(Found, u32, u32)> {
        let segment = shm::open(name.as_str(), shm::OFlags::RDONLY, Mode::empty())?;
        let stat = fstat(&segment)?;
        #[allow(clippy::unnecessary_cast, reason = "these types differ between systems")]
        let found = Found {
            identity: (stat.st_dev as u64, stat.st_ino as u64),
            len: Some(stat.st_size as u64),
        };
        Ok((found, stat.st_uid, stat.st_mode as u32 & 0o7777))
    }

    fn our_user_id() -> u32 {
        rustix::process::geteuid().as_raw()
    }
}

/// On Windows `shared_memory` keeps a segment in a file of the user's folder for temporary files, which is that user's
/// alone, and which outlives a killed owner.
#[cfg(not(unix))]
mod system {
    use std::{env, fs};

    use super::*;

    pub(crate) fn look_at(_: &SegmentName) -> Result<Found, SegmentError> {
        Ok(Found { identity: (0, 0), len: None })
    }

    /// A file that somebody has mapped cannot be removed, but have another name.
    pub(crate) fn remove(name: &SegmentName) -> Result<Option<u64>, SegmentError> {
        let folder = env::temp_dir().join("shared_memory-rs");
        let name = name.as_str().trim_start_matches('/');
        let (path, aside) =
            (folder.join(name), folder.join(format!("{name}_deleted-{}", process::id())));
        let len = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        fs::rename(&path, &aside)?;
        // If it is mapped it stays, as a file of no name that anyone looks for.
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
    use crate::portable::name::SegmentPrefix;
    use crate::primitives::{AtomicU64, Ordering::Relaxed};

    const LEN: usize = 3 * 4096;

    #[repr(C)]
    struct Words([AtomicU64; 4]);

    // SAFETY: atomics and nothing else.
    unsafe impl Atomics for Words {}

    fn unique(test: &str) -> SegmentName {
        SegmentPrefix::new(crate::os::process::user_id(), &format!("{test}-{}", process::id()))
            .directory()
    }

    /// As somebody else would get at it.
    fn object(name: &SegmentName) -> OwnedFd {
        shm::open(name.as_str(), shm::OFlags::RDWR, Mode::empty()).unwrap()
    }

    fn exists(name: &SegmentName) -> bool {
        shm::open(name.as_str(), shm::OFlags::RDONLY, Mode::empty()).is_ok()
    }

    #[test]
    fn what_one_writes_all_see_who_have_opened_it() {
        let name = unique("shared");
        let ours = Arc::new(Segment::create(&name, LEN).unwrap());
        let theirs = Arc::new(Segment::open(&name, LEN).unwrap());
        assert_ne!(ours.start, theirs.start);
        ours.shared::<Words>().0[3].store(42, Relaxed);
        assert_eq!(theirs.shared::<Words>().0[3].load(Relaxed), 42);
        theirs.shared::<Words>().0[0].store(43, Relaxed);
        assert_eq!(ours.shared::<Words>().0[0].load(Relaxed), 43);
    }

    #[test]
    fn the_name_goes_with_who_has_made_it_and_with_nobody_else() {
        let name = unique("name");
        let ours = Segment::create(&name, LEN).unwrap();
        let theirs = Segment::open(&name, LEN).unwrap();
        drop(Segment::open(&name, LEN).unwrap());
        assert!(exists(&name));
        drop(ours);
        assert!(!exists(&name));
        theirs.write_to_start(&[1; LEN]).unwrap();
    }

    #[test]
    fn the_memory_outlives_the_segment_while_something_points_into_it() {
        let name = unique("outlives");
        let segment = Arc::new(Segment::create(&name, LEN).unwrap());
        let words = segment.shared::<Words>();
        drop(segment);
        words.0[0].store(42, Relaxed);
        assert!(exists(&name), "and so does its name");
        drop(words);
        assert!(!exists(&name));
    }

    #[test]
    fn a_name_that_exists_is_an_error_and_stays_what_it_is() {
        let name = unique("exists");
        let first = Segment::create(&name, LEN).unwrap();
        first.write_to_start(b"first").unwrap();
        let refused = io::Error::from(Segment::create(&name, 2 * LEN).unwrap_err());
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(Segment::open(&name, LEN).is_ok());
    }

    #[test]
    fn what_does_not_exist_cannot_be_opened() {
        let refused = io::Error::from(Segment::open(&unique("missing"), LEN).unwrap_err());
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_segment_that_was_truncated_or_made_longer_is_an_error_and_no_crash() {
        let name = unique("truncated");
        let _ours = Segment::create(&name, LEN).unwrap();
        for len in [0, 1, LEN - 1, LEN + 1, 2 * LEN] {
            ftruncate(object(&name), len as u64).unwrap();
            let refused = Segment::open(&name, LEN).unwrap_err();
            assert!(
                matches!(refused, SegmentError::Size { expected: LEN, actual } if actual == len as u64),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_segment_that_others_may_open_is_an_error() {
        let name = unique("mode");
        let _ours = Segment::create(&name, LEN).unwrap();
        for mode in [0o666, 0o640, 0o604, 0o602] {
            fchmod(object(&name), Mode::from_raw_mode(mode)).unwrap();
            let refused = Segment::open(&name, LEN).unwrap_err();
            assert!(
                matches!(refused, SegmentError::Mode { mode: found } if found == mode),
                "{refused}"
            );
            assert!(matches!(check(&name, LEN), Err(SegmentError::Mode { .. })));
        }
    }

    #[test]
    fn a_segment_of_another_user_is_an_error_and_is_not_removed() {
        if !rustix::process::geteuid().is_root() {
            // Nobody else can give a segment away; and what another user has made, this one cannot even open.
            return;
        }
        let name = unique("foreign");
        let ours = Segment::create(&name, LEN).unwrap();
        fchown(object(&name), Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534))).unwrap();
        for refused in [Segment::open(&name, LEN).map(drop), remove(&name).map(drop)] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, SegmentError::Foreign { user_id: 65534 }), "{refused}");
        }
        assert!(exists(&name));
        drop(ours);
    }

    #[test]
    fn a_forked_child_that_drops_it_leaves_its_parents_segment_alone() {
        let name = unique("forked");
        let ours = Arc::new(Segment::create(&name, LEN).unwrap());
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
        assert!(exists(&name));
        words.0[0].store(42, Relaxed);
        drop((ours, words));
        assert!(!exists(&name));
    }
}
