//! The segments of one main process, listed so that others find what the dead left.
//!
//! ```text
//!   the directory (segment 0)              /dev/shm
//!     table   [ 7 | 0 | 12 | 0 | ... ]      ringbridge-0123456789.7
//!               └─────────────────────────▶ ringbridge-0123456789.c
//! ```
//!
//! A segment outlives a killed owner. So main writes a segment's number down **before** it makes the segment, and
//! strikes it out **after** the name is gone: at any moment everything that exists is listed, and whoever knows that
//! main is dead can [`sweep`] it without looking through a folder. What is listed may not exist, or not any more.
//!
//! The table lies in memory of the directory, and is written by main alone while main lives. A number is not used
//! twice before four thousand million others were.

use std::hash::{BuildHasher, RandomState};
use std::{io, process};

use super::name::{SegmentName, SegmentPrefix};
use super::named::{self, Segment};
use super::shared::Shared;
use crate::sync::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// How many names in a row may belong to someone else.
const TRIES: usize = 64;

/// Makes segments, and lists them.
#[derive(Debug)]
pub(crate) struct Segments {
    prefix: SegmentPrefix,
    table: Shared<[AtomicU32]>,
    /// The number of the next one; 0 is the directory's.
    next: AtomicU32,
    /// No name is made any more.
    closed: AtomicBool,
}

/// There is no room in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {max} segments already")]
pub(crate) struct TooManySegments {
    pub(crate) max: usize,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) segments: usize,
    pub(crate) bytes: u64,
    /// What could not be removed, or belongs to someone else. It stays listed.
    pub(crate) left: usize,
}

impl Segments {
    /// `table` is empty: all zeroes.
    pub(crate) fn new(prefix: SegmentPrefix, table: Shared<[AtomicU32]>) -> Self {
        // Not the numbers of an earlier main process, which may be about to remove what it has made.
        let start = RandomState::new().hash_one(process::id()) as u32;
        Self { prefix, table, next: AtomicU32::new(start), closed: AtomicBool::new(false) }
    }

    /// Removes all names. What is mapped stays; nothing can be made any more.
    pub(crate) fn close(&self) {
        // Relaxed: who makes one at this moment removes it when it is done with it.
        self.closed.store(true, Relaxed);
        for entry in self.table.iter() {
            match entry.load(Relaxed) {
                0 => {}
                // What cannot be removed stays listed.
                number => _ = named::remove(&self.prefix.segment(number)),
            }
        }
    }

    /// Makes a segment of zeroes, which goes when it is dropped.
    pub(crate) fn create(&self, len: usize) -> io::Result<Segment> {
        for _ in 0..TRIES {
            if self.closed.load(Relaxed) {
                return Err(io::Error::other("the endpoint is closed"));
            }
            let (record, name) = self.list()?;
            match Segment::create(&name, len) {
                Ok(segment) => return Ok(segment.listed_in(record)),
                Err(error) => {
                    record.clear();
                    match io::Error::from(error) {
                        // Of someone who was not swept.
                        error if error.kind() == io::ErrorKind::AlreadyExists => {}
                        error => return Err(error),
                    }
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Writes the next number down.
    fn list(&self) -> io::Result<(Record, SegmentName)> {
        let number = self.next_number();
        let len = self.table.len();
        // Each number begins at a place of its own, which is usually free.
        for step in 0..len {
            let entry = (number as usize).wrapping_add(step) % len;
            // Relaxed: it is read by others only after this process's death, which orders everything.
            if self.table[entry].compare_exchange(0, number, Relaxed, Relaxed).is_ok() {
                let record = Record { table: self.table.clone(), entry };
                return Ok((record, self.prefix.segment(number)));
            }
        }
        let full = TooManySegments { max: len };
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, full))
    }

    fn next_number(&self) -> u32 {
        loop {
            match self.next.fetch_add(1, Relaxed) {
                0 => {}
                number => return number,
            }
        }
    }
}

/// Where a segment is listed.
#[derive(Debug)]
pub(super) struct Record {
    table: Shared<[AtomicU32]>,
    entry: usize,
}

impl Record {
    /// Its name is gone.
    pub(super) fn clear(self) {
        self.table[self.entry].store(0, Relaxed);
    }
}

/// Removes every segment that a dead main process has listed, and takes it off the list.
///
/// It must be dead: a living one goes on using memory that nobody can open any more.
pub(crate) fn sweep(prefix: &SegmentPrefix, table: &[AtomicU32]) -> Swept {
    let mut swept = Swept::default();
    for entry in table {
        // Relaxed: its writer is dead.
        let number = entry.load(Relaxed);
        if number == 0 {
            continue;
        }
        match named::remove(&prefix.segment(number)) {
            Ok(removed) => {
                entry.store(0, Relaxed);
                swept.segments += usize::from(removed.is_some());
                swept.bytes = swept.bytes.saturating_add(removed.unwrap_or(0));
            }
            Err(_) => swept.left += 1,
        }
    }
    swept
}
