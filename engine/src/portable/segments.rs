//! The segments of one main process as memory, and the list by which others find what the dead left.
//!
//! ```text
//!   the directory (segment 0)              /dev/shm
//!     table   [ 7 | 0 | 12 | 0 | ... ]      ringbridge-0123456789.7
//!               └─────────────────────────▶ ringbridge-0123456789.c
//! ```
//!
//! A segment outlives a killed owner. So main lists a segment's number **before** it makes the segment, and removes it
//! from the list **after** the name is gone: everything that exists is listed, and a process that knows that main is
//! dead can [`sweep`] it without reading a folder. A listed segment need not exist.
//!
//! Segments have no seals: a process that writes one, or is to read it, is trusted to leave it alone.
//!
//! The table lies in the directory. Only main writes it while it lives. A number is used again after 2^32 others.

use std::{
    hash::{BuildHasher, RandomState},
    io, process,
};

use crate::{
    portable::{
        name::SegmentName,
        named::{self, Segment},
    },
    primitives::{Arc, AtomicBool, AtomicU32, Ordering::Relaxed},
    session::transport::Leftovers,
    shm::{
        backing::MemorySource,
        handle::{Memory, MemoryHandle},
        mapping::Mapping,
        region::{Access, RegionError},
        shared::Shared,
    },
};

/// The most names in a row that may be taken.
const TRIES: usize = 64;

/// Makes segments, and lists them.
#[derive(Debug)]
pub(crate) struct Segments {
    directory: SegmentName,
    table: Shared<[AtomicU32]>,
    /// The next number. 0 is the directory's.
    next: AtomicU32,
    /// No name is made any more.
    closed: AtomicBool,
}

impl Segments {
    /// `table` is empty: all zeroes.
    pub(crate) fn new(directory: SegmentName, table: Shared<[AtomicU32]>) -> Self {
        // Not the numbers of an earlier main process, which may be about to remove its segments.
        let first = RandomState::new().hash_one(process::id()) as u32;
        Self::numbered_from(first, directory, table)
    }

    fn numbered_from(first: u32, directory: SegmentName, table: Shared<[AtomicU32]>) -> Self {
        Self { directory, table, next: AtomicU32::new(first), closed: AtomicBool::new(false) }
    }

    /// Removes all names. Mappings stay, and no further segment can be made.
    pub(crate) fn close(&self) {
        // Relaxed: a segment that is being made now is removed by its owner.
        self.closed.store(true, Relaxed);
        for number in self.table.iter().map(|entry| entry.load(Relaxed)).filter(|it| *it != 0) {
            // One that cannot be removed stays listed.
            let _ = named::remove(self.directory.sibling(number));
        }
    }

    /// Makes a segment of zeroes. Dropping it removes it.
    pub(crate) fn create(&self, len: usize) -> io::Result<Segment> {
        for _ in 0..TRIES {
            if self.closed.load(Relaxed) {
                return Err(io::Error::other("the endpoint is closed"));
            }
            let (record, name) = self.list()?;
            match Segment::create(name, len).map_err(io::Error::from) {
                Ok(segment) => return Ok(segment.listed_in(record)),
                Err(error) => {
                    record.store(0, Relaxed);
                    // A name may belong to a dead main process that was not swept.
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error);
                    }
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Lists the next number.
    fn list(&self) -> io::Result<(Shared<AtomicU32>, SegmentName)> {
        let number = loop {
            match self.next.fetch_add(1, Relaxed) {
                0 => {}
                number => break number,
            }
        };
        let len = self.table.len();
        // Each number begins at a place of its own, which is usually free.
        for step in 0..len {
            let entry = (number as usize).wrapping_add(step) % len;
            // Relaxed: others read it only after this process's death, which orders everything.
            if self.table[entry].compare_exchange(0, number, Relaxed, Relaxed).is_ok() {
                let record = self.table.clone().map(|table| &table[entry]);
                return Ok((record, self.directory.sibling(number)));
            }
        }
        let full = format!("there are {len} segments already");
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, full))
    }
}

/// Removes every segment that a dead main process has listed, and takes it off the list.
///
/// The process must be dead: a living one goes on using memory that nobody can open any more.
pub(crate) fn sweep(directory: SegmentName, table: &[AtomicU32]) -> Leftovers {
    let mut swept = Leftovers::default();
    for entry in table {
        // Relaxed: its writer is dead.
        let number = entry.load(Relaxed);
        if number == 0 {
            continue;
        }
        // One that cannot be removed, or belongs to another user, stays listed.
        if let Ok(removed) = named::remove(directory.sibling(number)) {
            entry.store(0, Relaxed);
            swept.segments += usize::from(removed.is_some());
            swept.bytes = swept.bytes.saturating_add(removed.unwrap_or(0));
        }
    }
    swept
}

/// A segment by its name, which is valid while its maker keeps the segment.
#[derive(Debug)]
pub(crate) struct NamedMemory {
    pub(crate) name: SegmentName,
    /// In main, memory that nothing else keeps.
    _kept: Option<Arc<Segment>>,
}

impl From<SegmentName> for MemoryHandle {
    fn from(name: SegmentName) -> Self {
        Self::new(NamedMemory { name, _kept: None })
    }
}

impl MemorySource for Arc<Segments> {
    fn region(
        &self,
        _name: &str,
        len: usize,
        _access: Access,
    ) -> io::Result<(Mapping, MemoryHandle)> {
        let segment = self.create(len)?;
        segment.reserve()?;
        let handle = segment.name().into();
        Ok((segment.into_mapping(), handle))
    }

    fn blank(&self, size: usize) -> io::Result<MemoryHandle> {
        let segment = self.create(size)?;
        let name = segment.name();
        Ok(MemoryHandle::new(NamedMemory { name, _kept: Some(Arc::new(segment)) }))
    }

    fn written(&self, size: usize, payload: &[u8]) -> io::Result<(Mapping, MemoryHandle)> {
        let segment = self.create(size)?;
        segment.write_to_start(payload)?;
        let handle = segment.name().into();
        Ok((segment.into_mapping(), handle))
    }
}

impl Memory for NamedMemory {
    fn check(&self, size: usize) -> Result<(), RegionError> {
        named::check(self.name, size)
    }

    fn map(&self, len: usize, _access: Access) -> Result<Mapping, RegionError> {
        Ok(Segment::open(self.name, len)?.into_mapping())
    }

    fn fill(&self, size: usize, payload: &[u8]) -> io::Result<()> {
        Segment::open(self.name, size)?.write_to_start(payload)
    }

    fn finish(&self) -> io::Result<()> {
        Ok(())
    }

    fn map_finished(&self, size: usize) -> Result<Mapping, RegionError> {
        self.map(size, Access::Read)
    }
}

#[cfg(test)]
mod tests;
