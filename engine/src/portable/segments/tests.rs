//! The list of segments, and what a sweep leaves of it.

mod memory;

use std::{fs, process, thread, time::Duration};

use super::*;
use crate::portable::other_process::{self, OtherProcess, until};
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
#[allow(unsafe_code, reason = "a page of the tests")]
unsafe impl Atomics for Directory {}

fn directory(test: &str, process: u32) -> SegmentName {
    let endpoint = format!("{test}-{process}");
    SegmentName::directory(crate::os::process::user_id(), &endpoint)
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
fn existing(directory: SegmentName) -> Vec<u32> {
    let start = directory.to_string();
    let start = start.trim_start_matches('/').trim_end_matches('0');
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
    let directory = directory("listed", process::id());
    let table = table(4);
    let segments = Segments::numbered_from(1, directory, table.clone());
    let first = segments.create(LEN).unwrap();
    let second = segments.create(LEN).unwrap();
    assert_eq!((listed(&table), existing(directory)), (vec![1, 2], vec![1, 2]));
    drop(first);
    assert_eq!((listed(&table), existing(directory)), (vec![2], vec![2]));
    let third = segments.create(LEN).unwrap();
    assert_eq!((listed(&table), existing(directory)), (vec![2, 3], vec![2, 3]));
    drop((second, third));
    assert_eq!((listed(&table), existing(directory)), (vec![], vec![]));
}

#[test]
fn a_full_table_is_an_error_until_there_is_room() {
    let segments = Segments::new(directory("full", process::id()), table(2));
    let held = [segments.create(LEN).unwrap(), segments.create(LEN).unwrap()];
    let refused = segments.create(LEN).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
    assert_eq!(refused.to_string(), "there are 2 segments already");
    drop(held);
    segments.create(LEN).unwrap();
}

#[test]
fn a_name_that_is_taken_is_passed_over_and_not_listed() {
    let directory = directory("taken", process::id());
    let table = table(4);
    let segments = Segments::numbered_from(1, directory, table.clone());
    let other = Segment::create(directory.sibling(1), LEN).unwrap();
    let segment = segments.create(LEN).unwrap();
    assert_eq!((segment.name(), listed(&table)), (directory.sibling(2), vec![2]));
    drop(segment);
    assert_eq!(existing(directory), [1], "the other one is left alone");
    drop(other);
}

#[test]
fn what_cannot_be_made_is_not_listed() {
    let table = table(4);
    let segments = Segments::new(directory("unmade", process::id()), table.clone());
    assert_eq!(segments.create(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(listed(&table), []);
}

#[test]
fn a_sweep_removes_what_is_listed_whatever_it_is_like_and_nothing_else() {
    let directory = directory("swept", process::id());
    let table = table(4);
    let leave = |number| std::mem::forget(Segment::create(directory.sibling(number), LEN).unwrap());
    for number in [1, 2, 3] {
        leave(number);
    }
    // Listed; a size that it lost; not made any more; and one that is not listed at all.
    for (entry, number) in [(0, 1), (1, 2), (3, 9)] {
        table[entry].store(number, Relaxed);
    }
    fs::File::options()
        .write(true)
        .open(format!("/dev/shm{}", directory.sibling(2)))
        .unwrap()
        .set_len(0)
        .unwrap();
    let swept = sweep(directory, &table);
    assert_eq!((swept.segments, swept.bytes), (2, LEN as u64));
    assert_eq!((listed(&table), existing(directory)), (vec![], vec![3]));
    table[2].store(3, Relaxed);
    assert_eq!(sweep(directory, &table).segments, 1);
    assert_eq!(existing(directory), []);
}

/// In the other process: makes segments and lets them go, for ever.
fn make_and_drop(directory: SegmentName) {
    let page = Arc::new(Segment::open(directory, LEN).unwrap()).shared::<Directory>();
    let table = page.clone().map(|page| &page.table[..]);
    let segments = Segments::new(directory, table);
    let mut held = Vec::new();
    loop {
        for step in 0..ENTRIES {
            held.push(segments.create(LEN).unwrap());
            if step % 3 == 0 {
                held.swap_remove(step / 7);
            }
            page.steps.fetch_add(1, Relaxed);
        }
        held.clear();
    }
}

#[test]
fn nothing_is_left_of_a_process_that_was_killed_at_any_step() {
    const NAME: &str = "nothing_is_left_of_a_process_that_was_killed_at_any_step";
    if let Some(parent) = other_process::role() {
        make_and_drop(directory("killed", parent.parse().unwrap()));
    }
    let directory = directory("killed", process::id());
    let mut left = 0;
    for round in 0..12 {
        let segment = Arc::new(Segment::create(directory, LEN).unwrap());
        let page = segment.shared::<Directory>();
        let other = OtherProcess::start(module_path!(), NAME, &process::id().to_string());
        until(|| page.steps.load(Relaxed) > 10 * round);
        thread::sleep(Duration::from_micros(u64::from(137 * round)));
        other.kill();
        let found = existing(directory);
        let swept = sweep(directory, &page.table);
        assert_eq!(swept.segments, found.len() - 1, "all but the directory");
        assert_eq!((listed(&page.table), existing(directory)), (vec![], vec![0]));
        left += swept.segments;
        drop((segment, page));
        assert_eq!(existing(directory), []);
    }
    assert!(left > 0, "there was something to sweep");
}
