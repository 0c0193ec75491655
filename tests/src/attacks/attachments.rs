//! Lies about large payloads.

use super::*;

/// The size that the attacks ask for.
const SIZE: u64 = 1 << 20;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    session("attachment-that-is-not-sealed", Violation(&["unsealed-attachment"]), |s| {
            let memory = s.borrow(SIZE);
            fill(&memory);
            named(s, 1, 100);
        },
        "names memory that it can still change"),
    session("attachment-that-is-mapped-for-writing", Violation(&["unsealed-attachment"]), |s| {
            let memory = s.borrow(SIZE);
            fill(&memory);
            Mapped::new(&memory, BOTH).expect("it may still be written");
            assert_eq!(seal(&memory), Err(Errno::BUSY));
            named(s, 1, 100);
        },
        "keeps memory mapped while it seals and names it"),
    session("attachment-that-is-sealed-elsewhere", Violation(&["unsealed-attachment"]), |s| {
            fill(s.borrow(SIZE));
            let own = memfd_create("own", MemfdFlags::ALLOW_SEALING).expect("memory is left");
            ftruncate(&own, SIZE).expect("it is its own");
            seal(&own).expect("it is its own");
            named(s, 1, 100);
        },
        "seals memory of its own in the place of what it was lent"),
    session("attachment-with-holes", Violation(&["hollow-attachment"]), |s| {
            let memory = s.borrow(SIZE);
            pwrite(&memory, &[1; 100], 0).expect("it may be written");
            seal(&memory).expect("nothing is mapped");
            named(s, 1, SIZE);
        },
        "names memory of which it has written one page, so that main would have to make the rest"),
    session("attachment-shorter-than-its-payload", Violation(&["attachment-length"]), |s| with_sealed(s, SIZE + 1),
        "names a payload one byte longer than the memory that it is said to be in"),
    session("attachment-of-all-ones", Violation(&["attachment-length"]), |s| with_sealed(s, u64::MAX),
        "names a payload of 2^64 - 1 bytes"),
    session("attachment-named-twice", Violation(&["unknown-attachment"]), |s| {
            let _memory = fill_and_seal(s);
            s.attached("bytes", 1, SIZE);
            named(s, 1, SIZE);
        },
        "names one memory in two frames"),
    session("attachment-of-others", Violation(&["unknown-attachment"]), |s| named(s, 1, 100),
        "names memory that it was never lent, under ids that others have"),
    session("attachment-given-back-and-named", Violation(&["unknown-attachment"]), |s| {
            s.borrow(SIZE);
            s.number(GIVE_BACK, 1);
            named(s, 1, 100);
        },
        "names memory that it has given back"),
    session("attachment-given-back-twice", Violation(&["unknown-attachment"]), |s| says(s, GIVE_BACK, 3),
        "gives memory back that it does not have"),
    session("attachment-on-a-forbidden-channel", Violation(&["forbidden-channel"]), |s| with_sealed(s, SIZE),
        "sends in an attachment what it may not send in a frame").policy(|_| Policy::deny_all()),
    session("attachment-on-a-push-channel", Violation(&["wrong-direction"]), |s| {
            s.attached("blob", 1, SIZE);
            s.socket.until_hung_up();
        },
        "sends in an attachment on a channel on which only main sends"),
    session("attachment-of-a-cancel", Violation(&["bad-attachment"]), |s| {
            s.frame(ATTACHED, 0, 0, 0, &attached(1, 100, request(1, 0), CANCEL));
            s.socket.until_hung_up();
        },
        "hides a control frame in an attachment"),
    session("attachment-frame-of-nonsense", Violation(&["bad-attachment"]), |s| {
            s.frame(ATTACHED, 0, 0, 0, &[1; 5]);
            s.socket.until_hung_up();
        },
        "names an attachment in 5 bytes"),
    session("memory-beyond-its-quota", Violation(&["attachment-too-large"]), |s| says(s, ASK, 1 << 40),
        "asks for more memory than it can ever have"),
    session("memory-of-half-a-page", Violation(&["attachment-too-large"]), |s| says(s, ASK, 2048),
        "asks for memory of a size that there is none of"),
    session("memory-again-and-again", Counted("attachments_refused"), |s| for _ in 0..3000 {
            assert!(s.number(ASK, SIZE));
            until("an answer", || s.socket.descriptors().is_some());
        },
        "asks for memory without end and never gives any back, but reads each refusal"),
    session("memory-taken-and-given-back", Counted("attachment_buffers"), |s| for id in 1..3000 {
            s.borrow(SIZE);
            s.number(GIVE_BACK, id);
        },
        "asks for memory and gives it back 3,000 times"),
    session("answers-that-it-does-not-read", Violation(&["unread-attachments"]),
        |s| assert!((0..1_000_000).any(|_| !s.number(ASK, SIZE))),
        "asks for memory without end and never reads an answer from its socket"),
    session("attachment-changed-after-the-seal", Denied, |s| {
            let memory = fill_and_seal(s);
            s.attached("bytes", 1, SIZE);
            for _ in 0..100 {
                assert_eq!(pwrite(&memory, &[1; 8], 0), Err(Errno::PERM));
                assert_eq!(ftruncate(&memory, 0), Err(Errno::PERM));
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                assert_eq!(fallocate(&memory, punch, 0, SIZE), Err(Errno::PERM));
                assert_eq!(Mapped::new(&memory, BOTH).err(), Some(Errno::PERM));
            }
        },
        "tries to write, map, truncate and punch what it has sealed, before and while main reads it")
        .by_the_kernel(),
];

fn fill(memory: impl AsFd) {
    let payload = vec![7; SIZE as usize];
    assert_eq!(pwrite(memory, &payload, 0), Ok(payload.len()));
}

/// Borrows memory, and seals it when it is full.
fn fill_and_seal(session: &mut Session) -> OwnedFd {
    let memory = session.borrow(SIZE);
    fill(&memory);
    seal(&memory).expect("nothing is mapped");
    memory
}

/// Names an attachment, and waits until main has hung up.
fn named(session: &mut Session, id: u64, len: u64) {
    session.attached("bytes", id, len);
    session.socket.until_hung_up();
}

/// Names a payload of `len` bytes in memory that is filled and sealed.
fn with_sealed(session: &mut Session, len: u64) {
    let _memory = fill_and_seal(session);
    named(session, 1, len);
}

/// Sends a frame that is a number, and waits until main has hung up.
fn says(session: &mut Session, kind: u8, number: u64) {
    session.number(kind, number);
    session.socket.until_hung_up();
}
