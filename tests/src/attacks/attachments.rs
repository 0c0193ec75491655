//! Lies about large payloads.

use std::os::fd::AsFd;

use ringbridge::Policy;
use rustix::{
    fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create},
    io::{Errno, pwrite},
    mm::ProtFlags,
};

use super::{Attack, BY_THE_KERNEL, LAUNCHED, Verdict};
use crate::attacker::{
    memory::Mapped,
    session::{Session, seal},
    until, wire,
};

/// How much the attacks ask for.
const SIZE: u64 = 1 << 20;

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "attachment-that-is-not-sealed",
        does: "names memory that it can still change",
        verdict: Verdict::Violation(&["unsealed-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            let memory = session.borrow(SIZE);
            fill(&memory);
            named(session, 1, 100);
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-that-is-mapped-for-writing",
        does: "keeps memory mapped while it seals and names it",
        verdict: Verdict::Violation(&["unsealed-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            let memory = session.borrow(SIZE);
            fill(&memory);
            let both = ProtFlags::READ | ProtFlags::WRITE;
            Mapped::new(&memory, both).expect("it may still be written");
            assert_eq!(seal(&memory), Err(Errno::BUSY));
            named(session, 1, 100);
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-that-is-sealed-elsewhere",
        does: "seals memory of its own in the place of what it was lent",
        verdict: Verdict::Violation(&["unsealed-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            fill(session.borrow(SIZE));
            let own = memfd_create("own", MemfdFlags::ALLOW_SEALING).expect("memory is left");
            ftruncate(&own, SIZE).expect("it is its own");
            seal(&own).expect("it is its own");
            named(session, 1, 100);
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-with-holes",
        does: "names memory of which it has written one page, so that main would have to make the rest",
        verdict: Verdict::Violation(&["hollow-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            let memory = session.borrow(SIZE);
            pwrite(&memory, &[1; 100], 0).expect("it may be written");
            seal(&memory).expect("nothing is mapped");
            named(session, 1, SIZE);
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-shorter-than-its-payload",
        does: "names a payload one byte longer than the memory that it is said to be in",
        verdict: Verdict::Violation(&["attachment-length"]),
        run: |attacker| with_sealed(attacker.session(), SIZE + 1),
        ..LAUNCHED
    },
    Attack {
        name: "attachment-of-all-ones",
        does: "names a payload of 2^64 - 1 bytes",
        verdict: Verdict::Violation(&["attachment-length"]),
        run: |attacker| with_sealed(attacker.session(), u64::MAX),
        ..LAUNCHED
    },
    Attack {
        name: "attachment-named-twice",
        does: "names one memory in two frames",
        verdict: Verdict::Violation(&["unknown-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            let memory = session.borrow(SIZE);
            fill(&memory);
            seal(&memory).expect("nothing is mapped");
            session.attached("bytes", 1, SIZE);
            named(session, 1, SIZE);
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-of-others",
        does: "names memory that it was never lent, under ids that others have",
        verdict: Verdict::Violation(&["unknown-attachment"]),
        run: |attacker| named(attacker.session(), 1, 100),
        ..LAUNCHED
    },
    Attack {
        name: "attachment-given-back-and-named",
        does: "names memory that it has given back",
        verdict: Verdict::Violation(&["unknown-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            session.borrow(SIZE);
            session.number(wire::GIVE_BACK, 1);
            named(session, 1, 100);
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-given-back-twice",
        does: "gives memory back that it does not have",
        verdict: Verdict::Violation(&["unknown-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            session.number(wire::GIVE_BACK, 3);
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-on-a-forbidden-channel",
        does: "sends in an attachment what it may not send in a frame",
        verdict: Verdict::Violation(&["forbidden-channel"]),
        policy: |_| Policy::deny_all(),
        run: |attacker| with_sealed(attacker.session(), SIZE),
        ..LAUNCHED
    },
    Attack {
        name: "attachment-on-a-push-channel",
        does: "sends in an attachment on a channel on which only main sends",
        verdict: Verdict::Violation(&["wrong-direction"]),
        run: |attacker| {
            let mut session = attacker.session();
            session.attached("blob", 1, SIZE);
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-of-a-cancel",
        does: "hides a control frame in an attachment",
        verdict: Verdict::Violation(&["bad-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            let payload = wire::attached(1, 100, wire::request(1, 0), wire::CANCEL);
            session.frame(wire::ATTACHED, 0, 0, 0, &payload);
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-frame-of-nonsense",
        does: "names an attachment in 5 bytes",
        verdict: Verdict::Violation(&["bad-attachment"]),
        run: |attacker| {
            let mut session = attacker.session();
            session.frame(wire::ATTACHED, 0, 0, 0, &[1; 5]);
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "memory-beyond-its-quota",
        does: "asks for more memory than it can ever have",
        verdict: Verdict::Violation(&["attachment-too-large"]),
        run: |attacker| asks(attacker.session(), 1 << 40),
        ..LAUNCHED
    },
    Attack {
        name: "memory-of-half-a-page",
        does: "asks for memory of a size that there is none of",
        verdict: Verdict::Violation(&["attachment-too-large"]),
        run: |attacker| asks(attacker.session(), 2048),
        ..LAUNCHED
    },
    Attack {
        name: "memory-again-and-again",
        does: "asks for memory without end and never gives any back, but reads each refusal",
        verdict: Verdict::Counted("attachments_refused"),
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..3000 {
                assert!(session.number(wire::ASK, SIZE));
                until("an answer", || session.socket.descriptors().is_some());
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "memory-taken-and-given-back",
        does: "asks for memory and gives it back 3,000 times",
        verdict: Verdict::Counted("attachment_buffers"),
        run: |attacker| {
            let mut session = attacker.session();
            for id in 1..3000 {
                session.borrow(SIZE);
                session.number(wire::GIVE_BACK, id);
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "answers-that-it-does-not-read",
        does: "asks for memory without end and never reads an answer from its socket",
        verdict: Verdict::Violation(&["unread-attachments"]),
        run: |attacker| {
            let mut session = attacker.session();
            let ask = |_| session.number(wire::ASK, SIZE);
            assert!((0..1_000_000).map(ask).any(|committed| !committed));
        },
        ..LAUNCHED
    },
    Attack {
        name: "attachment-changed-after-the-seal",
        does: "tries to write, map, truncate and punch what it has sealed, before and while main reads it",
        run: |attacker| {
            let mut session = attacker.session();
            let memory = session.borrow(SIZE);
            fill(&memory);
            seal(&memory).expect("nothing is mapped");
            session.attached("bytes", 1, SIZE);
            for _ in 0..100 {
                assert_eq!(pwrite(&memory, &[1; 8], 0), Err(Errno::PERM));
                assert_eq!(ftruncate(&memory, 0), Err(Errno::PERM));
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                assert_eq!(fallocate(&memory, punch, 0, SIZE), Err(Errno::PERM));
                let both = ProtFlags::READ | ProtFlags::WRITE;
                assert_eq!(Mapped::new(&memory, both).err(), Some(Errno::PERM));
            }
        },
        ..BY_THE_KERNEL
    },
];

fn fill(memory: impl AsFd) {
    let payload = vec![7; SIZE as usize];
    assert_eq!(pwrite(memory, &payload, 0), Ok(payload.len()));
}

/// Names an attachment, and stays until main has hung up.
fn named(mut session: Session, id: u64, len: u64) {
    session.attached("bytes", id, len);
    session.socket.until_hung_up();
}

/// Names a payload of so many bytes, in memory that is filled and sealed.
fn with_sealed(mut session: Session, len: u64) {
    let memory = session.borrow(SIZE);
    fill(&memory);
    seal(&memory).expect("nothing is mapped");
    named(session, 1, len);
}

fn asks(mut session: Session, size: u64) {
    session.number(wire::ASK, size);
    session.socket.until_hung_up();
}
