//! Calls that the kernel refuses to the holder of a descriptor, and calls that it permits and that do no harm.

use super::*;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    session("mains-memory-mapped-for-writing", Denied, |s| for memory in of_main(s) {
            assert_eq!(Mapped::new(memory, BOTH).err(), Some(Errno::PERM));
        },
        "maps main's outbox and each topic for writing").by_the_kernel(),
    session("mains-memory-made-writable", Denied, |s| for memory in of_main(s) {
            let mapped = Mapped::new(memory, ProtFlags::READ).expect("it may be read");
            assert_eq!(mapped.make_writable(), Err(Errno::ACCESS));
        },
        "maps main's memory for reading and then asks for more").by_the_kernel(),
    session("mains-memory-written-through-its-descriptor", Denied, |s| for memory in of_main(s) {
            assert_eq!(pwrite(memory, &[1; 8], BELL), Err(Errno::PERM));
        },
        "writes main's memory as a file").by_the_kernel(),
    session("memory-cut-off-or-grown", Denied, |s| for memory in all(s) {
            assert_eq!(ftruncate(memory, 0), Err(Errno::PERM));
            assert_eq!(ftruncate(memory, 1 << 30), Err(Errno::PERM));
        },
        "truncates and grows every region that it has, so that main would die of SIGBUS").by_the_kernel(),
    session("holes-in-mains-memory", Denied, |s| for memory in of_main(s) {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            assert_eq!(fallocate(memory, punch, 0, CONTROL), Err(Errno::PERM));
        },
        "punches holes into main's outbox and the topics").by_the_kernel(),
    session("memory-opened-again", Denied, |s| for memory in of_main(s) {
            let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
            // This may succeed, since the seals belong to the file, not to the descriptor.
            let Ok(again) = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else { continue };
            assert_eq!(Mapped::new(&again, BOTH).err(), Some(Errno::PERM));
            assert_eq!(pwrite(&again, &[1; 8], BELL), Err(Errno::PERM));
            assert_eq!(ftruncate(&again, 0), Err(Errno::PERM));
        },
        "opens main's memory a second time through `/proc/self/fd`, for writing, and maps and writes that")
        .by_the_kernel(),
    session("seals-of-its-own", Denied, |s| for memory in all(s) {
            for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE, SealFlags::SEAL] {
                assert_eq!(fcntl_add_seals(memory, seal), Err(Errno::PERM));
            }
        },
        "seals the ring that it writes, as if main should not map it; and all of main's memory").by_the_kernel(),
    session("wakes-on-every-word", Harmless, |s| for_a_while(Duration::from_millis(100), || {
            for word in every_word(s) {
                let woken = futex::wake(word, Flags::empty(), i32::MAX as u32);
                assert_eq!(woken, Ok(0), "somebody else slept there");
            }
        }),
        "wakes whoever sleeps on any word of any memory that it can map: nobody does but itself"),
    session("sleepers-moved-elsewhere", Harmless, |s| for_a_while(Duration::from_millis(100), || {
            for word in every_word(s) {
                // AGAIN: the word has changed between the look and the call.
                let moved = move_sleepers(word);
                assert!(matches!(moved, Ok(0) | Err(Errno::AGAIN)), "{moved:?}");
            }
        }),
        "moves whoever sleeps on any word that it can map to a word of its own (`FUTEX_CMP_REQUEUE`): nobody does but itself"),
    session("mains-waiting-thread-moved-elsewhere", Harmless, |s| {
            let mut moved = 0;
            let bell = s.outbox.u32(BELL);
            // As long as main's thread may wait, and longer.
            for_a_while(Duration::from_millis(800), || moved += move_sleepers(bell).unwrap_or(0));
            assert!(moved > 0, "main's thread never slept");
        },
        "moves a thread of main that waits for room in this very window to another word: its `send` ends by its time-out")
        .meanwhile(send_until_it_fails),
];

/// The memory that main writes.
fn of_main(session: &Session) -> Vec<BorrowedFd<'_>> {
    assert!(!session.topics.is_empty(), "its policy allows some");
    let topics = session.topics.iter().map(AsFd::as_fd);
    [session.inbox_memory.as_fd()].into_iter().chain(topics).collect()
}

/// The memory that main writes, and the renderer's own.
fn all(session: &Session) -> Vec<BorrowedFd<'_>> {
    [of_main(session), vec![session.outbox_memory.as_fd()]].concat()
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

/// Moves all sleepers of a word, and returns their number.
fn move_sleepers(word: &AtomicU32) -> Result<usize, Errno> {
    static NOWHERE: AtomicU32 = AtomicU32::new(0);
    let seen = word.load(Relaxed);
    futex::cmp_requeue(word, Flags::empty(), 0, i32::MAX as u32, &NOWHERE, seen)
}

fn send_until_it_fails(window: WebContents) -> JoinHandle<()> {
    thread::spawn(move || {
        let failed = (0..).find_map(|_: u64| window.send(TICK, &0).err());
        let timed_out = matches!(failed, Some(SendError::TimedOut { .. } | SendError::Gone { .. }));
        assert!(timed_out, "{failed:?}");
    })
}
