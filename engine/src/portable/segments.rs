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

#![allow(unsafe_code, reason = "memory that another process writes has no other way in")]

use std::hash::{BuildHasher, RandomState};
use std::{io, process};

use crate::portable::name::{SegmentName, SegmentPrefix};
use crate::portable::named::{self, Segment, SegmentRecord};
use crate::primitives::{AtomicBool, AtomicU32, Ordering::Relaxed};
use crate::session::transport::Leftovers;
use crate::shm::shared::Shared;

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

impl Segments {
    /// `table` is empty: all zeroes.
    pub(crate) fn new(prefix: SegmentPrefix, table: Shared<[AtomicU32]>) -> Self {
        // Not the numbers of an earlier main process, which may be about to remove what it has made.
        let first = RandomState::new().hash_one(process::id()) as u32;
        Self::numbered_from(first, prefix, table)
    }

    fn numbered_from(first: u32, prefix: SegmentPrefix, table: Shared<[AtomicU32]>) -> Self {
        Self { prefix, table, next: AtomicU32::new(first), closed: AtomicBool::new(false) }
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
    fn list(&self) -> io::Result<(SegmentRecord, SegmentName)> {
        let number = self.next_number();
        let len = self.table.len();
        // Each number begins at a place of its own, which is usually free.
        for step in 0..len {
            let entry = (number as usize).wrapping_add(step) % len;
            // Relaxed: it is read by others only after this process's death, which orders everything.
            if self.table[entry].compare_exchange(0, number, Relaxed, Relaxed).is_ok() {
                let record = SegmentRecord::new(self.table.clone(), entry);
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

/// Removes every segment that a dead main process has listed, and takes it off the list.
///
/// It must be dead: a living one goes on using memory that nobody can open any more.
pub(crate) fn sweep(prefix: &SegmentPrefix, table: &[AtomicU32]) -> Leftovers {
    let mut swept = Leftovers::default();
    for entry in table {
        // Relaxed: its writer is dead.
        let number = entry.load(Relaxed);
        if number == 0 {
            continue;
        }
        // What cannot be removed, or belongs to another user, stays listed.
        if let Ok(removed) = named::remove(&prefix.segment(number)) {
            entry.store(0, Relaxed);
            swept.segments += usize::from(removed.is_some());
            swept.bytes = swept.bytes.saturating_add(removed.unwrap_or(0));
        }
    }
    swept
}

#[cfg(test)]
mod tests {
    use std::{fs, process, thread, time::Duration};

    use super::*;
    use crate::portable::other_process::{self, OtherProcess, until};
    use crate::primitives::{Arc, AtomicU32};
    use crate::shm::shared::Atomics;

    const LEN: usize = 4096;
    const ENTRIES: usize = 32;

    /// As a directory holds it.
    #[repr(C)]
    struct Directory {
        steps: AtomicU32,
        table: [AtomicU32; ENTRIES],
    }

    // SAFETY: atomics and nothing else.
    unsafe impl Atomics for Directory {}

    fn prefix(test: &str, process: u32) -> SegmentPrefix {
        SegmentPrefix::new(crate::os::process::user_id(), &format!("{test}-{process}"))
    }

    fn table(entries: usize) -> Shared<[AtomicU32]> {
        Shared::from_box((0..entries).map(|_| AtomicU32::new(0)).collect())
    }

    fn listed(table: &[AtomicU32]) -> Vec<u32> {
        let mut numbers: Vec<_> = table.iter().map(|entry| entry.load(Relaxed)).collect();
        numbers.retain(|number| *number != 0);
        numbers.sort_unstable();
        numbers
    }

    /// The numbers of the segments that the system has.
    fn existing(prefix: &SegmentPrefix) -> Vec<u32> {
        let start = prefix.directory();
        let start = start.as_str().trim_start_matches('/').trim_end_matches('0');
        let mut numbers: Vec<_> = fs::read_dir("/dev/shm")
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().ok()?;
                u32::from_str_radix(name.strip_prefix(start)?, 16).ok()
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn what_exists_is_listed_and_no_number_comes_twice() {
        let prefix = prefix("listed", process::id());
        let table = table(4);
        let segments = Segments::numbered_from(1, prefix.clone(), table.clone());
        let first = segments.create(LEN).unwrap();
        let second = segments.create(LEN).unwrap();
        assert_eq!((listed(&table), existing(&prefix)), (vec![1, 2], vec![1, 2]));
        drop(first);
        assert_eq!((listed(&table), existing(&prefix)), (vec![2], vec![2]));
        let third = segments.create(LEN).unwrap();
        assert_eq!((listed(&table), existing(&prefix)), (vec![2, 3], vec![2, 3]));
        drop((second, third));
        assert_eq!((listed(&table), existing(&prefix)), (vec![], vec![]));
    }

    #[test]
    fn a_full_table_is_an_error_until_there_is_room() {
        let segments = Segments::new(prefix("full", process::id()), table(2));
        let held = [segments.create(LEN).unwrap(), segments.create(LEN).unwrap()];
        let refused = segments.create(LEN).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        let full = refused.get_ref().unwrap().downcast_ref::<TooManySegments>();
        assert_eq!(full, Some(&TooManySegments { max: 2 }));
        drop(held);
        segments.create(LEN).unwrap();
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over_and_not_listed() {
        let prefix = prefix("taken", process::id());
        let table = table(4);
        let segments = Segments::numbered_from(1, prefix.clone(), table.clone());
        let other = Segment::create(&prefix.segment(1), LEN).unwrap();
        let segment = segments.create(LEN).unwrap();
        assert_eq!((segment.name(), listed(&table)), (&prefix.segment(2), vec![2]));
        drop(segment);
        assert_eq!(existing(&prefix), [1], "the other one is left alone");
        drop(other);
    }

    #[test]
    fn what_cannot_be_made_is_not_listed() {
        let table = table(4);
        let segments = Segments::new(prefix("unmade", process::id()), table.clone());
        assert_eq!(segments.create(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(listed(&table), []);
    }

    #[test]
    fn a_sweep_removes_what_is_listed_whatever_it_is_like_and_nothing_else() {
        let prefix = prefix("swept", process::id());
        let table = table(4);
        let leave =
            |number| std::mem::forget(Segment::create(&prefix.segment(number), LEN).unwrap());
        for number in [1, 2, 3] {
            leave(number);
        }
        // Listed; a size that it lost; not made any more; and one that is not listed at all.
        for (entry, number) in [(0, 1), (1, 2), (3, 9)] {
            table[entry].store(number, Relaxed);
        }
        fs::File::options()
            .write(true)
            .open(format!("/dev/shm{}", prefix.segment(2)))
            .unwrap()
            .set_len(0)
            .unwrap();
        let swept = sweep(&prefix, &table);
        assert_eq!((swept.segments, swept.bytes), (2, LEN as u64));
        assert_eq!((listed(&table), existing(&prefix)), (vec![], vec![3]));
        table[2].store(3, Relaxed);
        assert_eq!(sweep(&prefix, &table).segments, 1);
        assert_eq!(existing(&prefix), []);
    }

    /// In the other process: makes segments and lets them go, for ever.
    fn make_and_drop(prefix: &SegmentPrefix) {
        let directory = Arc::new(Segment::open(&prefix.directory(), LEN).unwrap());
        let directory = directory.shared::<Directory>();
        let table = directory.clone().map(|directory| &directory.table[..]);
        let segments = Segments::new(prefix.clone(), table);
        let mut held = Vec::new();
        loop {
            for step in 0..ENTRIES {
                held.push(segments.create(LEN).unwrap());
                if step % 3 == 0 {
                    held.swap_remove(step / 7);
                }
                directory.steps.fetch_add(1, Relaxed);
            }
            held.clear();
        }
    }

    #[test]
    fn nothing_is_left_of_a_process_that_was_killed_at_any_step() {
        const NAME: &str = "nothing_is_left_of_a_process_that_was_killed_at_any_step";
        if let Some(parent) = other_process::role() {
            make_and_drop(&prefix("killed", parent.parse().unwrap()));
        }
        let prefix = prefix("killed", process::id());
        let mut left = 0;
        for round in 0..12 {
            let segment = Arc::new(Segment::create(&prefix.directory(), LEN).unwrap());
            let directory = segment.shared::<Directory>();
            let other = OtherProcess::start(module_path!(), NAME, &process::id().to_string());
            until(|| directory.steps.load(Relaxed) > 10 * round);
            thread::sleep(Duration::from_micros(u64::from(137 * round)));
            other.kill();
            let found = existing(&prefix);
            let swept = sweep(&prefix, &directory.table);
            assert_eq!(swept.segments, found.len() - 1, "all but the directory");
            assert_eq!((listed(&directory.table), existing(&prefix)), (vec![], vec![0]));
            left += swept.segments;
            drop((segment, directory));
            assert_eq!(existing(&prefix), []);
        }
        assert!(left > 0, "there was something to sweep");
    }
}
