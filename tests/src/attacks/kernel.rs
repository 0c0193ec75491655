//! What the kernel forbids whoever holds a descriptor, and what it permits and does no harm.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use ringbridge::SendError;
use rustix::{
    fs::{FallocateFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, open},
    io::{Errno, pwrite},
    mm::ProtFlags,
    thread::futex::{self, Flags},
};

use super::{Attack, BY_THE_KERNEL, LAUNCHED};
use crate::{
    attacker::{
        for_a_while,
        memory::Mapped,
        session::Session,
        wire::{BELL, CONTROL},
    },
    contract::TICK,
};

const BOTH: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "mains-memory-mapped-for-writing",
        does: "maps main's outbox and each topic for writing",
        run: |attacker| {
            let session = attacker.session();
            for memory in of_main(&session) {
                assert_eq!(Mapped::new(memory, BOTH).err(), Some(Errno::PERM));
            }
        },
        ..BY_THE_KERNEL
    },
    Attack {
        name: "mains-memory-made-writable",
        does: "maps main's memory for reading and then asks for more",
        run: |attacker| {
            let session = attacker.session();
            for memory in of_main(&session) {
                let mapped = Mapped::new(memory, ProtFlags::READ).expect("it may be read");
                assert_eq!(mapped.make_writable(), Err(Errno::ACCESS));
            }
        },
        ..BY_THE_KERNEL
    },
    Attack {
        name: "mains-memory-written-through-its-descriptor",
        does: "writes main's memory as a file",
        run: |attacker| {
            let session = attacker.session();
            for memory in of_main(&session) {
                assert_eq!(pwrite(memory, &[1; 8], BELL), Err(Errno::PERM));
            }
        },
        ..BY_THE_KERNEL
    },
    Attack {
        name: "memory-cut-off-or-grown",
        does: "truncates and grows every region that it has, so that main would die of SIGBUS",
        run: |attacker| {
            let session = attacker.session();
            for memory in of_main(&session).into_iter().chain([session.outbox_memory.as_fd()]) {
                assert_eq!(ftruncate(memory, 0), Err(Errno::PERM));
                assert_eq!(ftruncate(memory, 1 << 30), Err(Errno::PERM));
            }
        },
        ..BY_THE_KERNEL
    },
    Attack {
        name: "holes-in-mains-memory",
        does: "punches holes into main's outbox and the topics",
        run: |attacker| {
            let session = attacker.session();
            for memory in of_main(&session) {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                assert_eq!(fallocate(memory, punch, 0, CONTROL), Err(Errno::PERM));
            }
        },
        ..BY_THE_KERNEL
    },
    Attack {
        name: "memory-opened-again",
        does: "opens main's memory a second time through `/proc/self/fd`, for writing, and maps and writes that",
        run: |attacker| {
            let session = attacker.session();
            for memory in of_main(&session) {
                let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
                // That alone may succeed: the seals are the file's, not the descriptor's.
                let Ok(again) = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else {
                    continue;
                };
                assert_eq!(Mapped::new(&again, BOTH).err(), Some(Errno::PERM));
                assert_eq!(pwrite(&again, &[1; 8], BELL), Err(Errno::PERM));
                assert_eq!(ftruncate(&again, 0), Err(Errno::PERM));
            }
        },
        ..BY_THE_KERNEL
    },
    Attack {
        name: "seals-of-its-own",
        does: "seals the ring that it writes, as if main should not map it; and all of main's memory",
        run: |attacker| {
            let session = attacker.session();
            for memory in of_main(&session).into_iter().chain([session.outbox_memory.as_fd()]) {
                for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE, SealFlags::SEAL] {
                    assert_eq!(fcntl_add_seals(memory, seal), Err(Errno::PERM));
                }
            }
        },
        ..BY_THE_KERNEL
    },
    Attack {
        name: "wakes-on-every-word",
        does: "wakes whoever sleeps on any word of any memory that it can map: nobody does but itself",
        run: |attacker| {
            let session = attacker.session();
            for_a_while(Duration::from_millis(100), || {
                for word in every_word(&session) {
                    let woken = futex::wake(word, Flags::empty(), i32::MAX as u32);
                    assert_eq!(woken, Ok(0), "somebody else slept there");
                }
            });
        },
        ..LAUNCHED
    },
    Attack {
        name: "sleepers-moved-elsewhere",
        does: "moves whoever sleeps on any word that it can map to a word of its own (`FUTEX_CMP_REQUEUE`): nobody does but itself",
        run: |attacker| {
            let session = attacker.session();
            let nowhere = AtomicU32::new(0);
            for_a_while(Duration::from_millis(100), || {
                for word in every_word(&session) {
                    // The word may change between the look and the call: then the kernel says so.
                    let moved = move_sleepers(word, &nowhere);
                    assert!(matches!(moved, Ok(0) | Err(Errno::AGAIN)), "{moved:?}");
                }
            });
        },
        ..LAUNCHED
    },
    Attack {
        name: "mains-waiting-thread-moved-elsewhere",
        does: "moves a thread of main that waits for room in this very window to another word: its `send` ends by its time-out",
        meanwhile: Some(|window| {
            thread::spawn(move || {
                let failed = loop {
                    if let Err(error) = window.send(TICK, &0) {
                        break error;
                    }
                };
                assert!(matches!(failed, SendError::TimedOut { .. } | SendError::Gone { .. }));
            })
        }),
        run: |attacker| {
            let session = attacker.session();
            let nowhere = AtomicU32::new(0);
            let mut moved = 0;
            let bell = session.outbox.u32(BELL);
            // As long as main's thread may wait, and longer.
            for_a_while(Duration::from_millis(800), || {
                moved += move_sleepers(bell, &nowhere).unwrap_or(0);
            });
            assert!(moved > 0, "main's thread never slept");
        },
        ..LAUNCHED
    },
];

/// The memory that main writes.
fn of_main(session: &Session) -> Vec<std::os::fd::BorrowedFd<'_>> {
    assert!(!session.topics.is_empty(), "its policy allows some");
    let topics = session.topics.iter().map(AsFd::as_fd);
    [session.inbox_memory.as_fd()].into_iter().chain(topics).collect()
}

/// Every word of the control pages that it can map.
fn every_word(session: &Session) -> Vec<&'static AtomicU32> {
    let topics = session
        .topics
        .iter()
        .map(|topic| Mapped::new(topic, ProtFlags::READ).expect("a topic may be read"));
    let regions = [session.inbox, session.outbox].into_iter().chain(topics);
    let words = regions.flat_map(|region| (0..CONTROL).step_by(4).map(move |at| region.u32(at)));
    words.collect()
}

/// Moves all sleepers of a word; says how many there were.
fn move_sleepers(word: &AtomicU32, nowhere: &AtomicU32) -> Result<usize, Errno> {
    let seen = word.load(Relaxed);
    futex::cmp_requeue(word, Flags::empty(), 0, i32::MAX as u32, nowhere, seen)
}
