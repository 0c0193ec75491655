//! Frames that no honest renderer writes, and frames that change while main looks at them.

use std::{
    sync::atomic::{
        AtomicBool,
        Ordering::{Relaxed, Release},
    },
    thread,
    time::Duration,
};

use rustix::fs::{FallocateFlags, fallocate};

use super::{Attack, LAUNCHED, REFUSED, Verdict};
use crate::attacker::{
    Attacker, for_a_while,
    session::Session,
    wire::{self, CELL, CONTROL, HEADER},
};

/// How long something is changed under main's eyes.
const FLIPPING: Duration = Duration::from_millis(150);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "length-of-zero",
        does: "commits a frame that claims no byte, not even its header",
        verdict: Verdict::Violation(&["bad-length"]),
        run: |attacker| of_length(attacker, |_| 0),
        ..LAUNCHED
    },
    Attack {
        name: "length-of-less-than-a-header",
        does: "commits a frame of 15 bytes",
        verdict: Verdict::Violation(&["bad-length"]),
        run: |attacker| of_length(attacker, |_| 15),
        ..LAUNCHED
    },
    Attack {
        name: "length-of-more-than-a-frame",
        does: "commits a frame one byte longer than the longest",
        verdict: Verdict::Violation(&["bad-length"]),
        run: |attacker| of_length(attacker, |session| wire::frame_max(session.capacity()) + 1),
        ..LAUNCHED
    },
    Attack {
        name: "length-past-the-end",
        does: "commits a frame of lawful length that would end behind the ring",
        verdict: Verdict::Violation(&["bad-length"]),
        run: |attacker| {
            let mut session = attacker.session();
            advance_to_the_end(&mut session);
            let len = session.to_end() + 1;
            caught(&session, wire::word(len as u32, wire::SEND, 0, number()), 0, &[]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "length-of-the-ring",
        does: "commits a frame as long as the ring",
        verdict: Verdict::Violation(&["bad-length"]),
        run: |attacker| of_length(attacker, Session::capacity),
        ..LAUNCHED
    },
    Attack {
        name: "length-of-all-ones",
        does: "commits a frame of 2^32 - 1 bytes",
        verdict: Verdict::Violation(&["bad-length"]),
        run: |attacker| of_length(attacker, |_| u64::from(u32::MAX)),
        ..LAUNCHED
    },
    Attack {
        name: "kind-that-is-none",
        does: "commits a frame of a kind behind the last",
        verdict: Verdict::Violation(&["unknown-kind"]),
        run: |attacker| of_kind(attacker, 127),
        ..LAUNCHED
    },
    Attack {
        name: "kind-of-zero",
        does: "commits a frame of kind 0, which means that nothing is there",
        verdict: Verdict::Violation(&["unknown-kind"]),
        run: |attacker| of_kind(attacker, 0),
        ..LAUNCHED
    },
    Attack {
        name: "word-of-the-other-lap",
        does: "commits a word as the next lap would have it, and then sends as if nothing were",
        run: |attacker| {
            let mut session = attacker.session();
            let word = wire::word(24, wire::SEND, 0, number()) ^ wire::ODD_LAP;
            session.put(word, 0, &[0; 8]);
            session.send("report", b"carries on");
        },
        ..LAUNCHED
    },
    Attack {
        name: "flags-where-none-belong",
        does: "sends a message with flags",
        verdict: Verdict::Violation(&["bad-flags"]),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(24, wire::SEND, 1, number()), 0, &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "payload-where-none-belongs",
        does: "cancels with a payload",
        verdict: Verdict::Violation(&["unexpected-payload"]),
        run: |attacker| {
            let session = attacker.session();
            let word = wire::word(24, wire::CANCEL, 0, 0);
            caught(&session, word, wire::request(1, 0), &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "channel-that-is-none",
        does: "sends on a channel behind the last",
        verdict: Verdict::Violation(&["unknown-channel"]),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(24, wire::SEND, 0, u16::MAX), 0, &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "channel-that-is-forbidden",
        does: "sends on a channel that its policy does not name",
        verdict: Verdict::Violation(&["forbidden-channel"]),
        policy: |_| ringbridge::Policy::deny_all(),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(24, wire::SEND, 0, number()), 0, &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "message-longer-than-its-policy-says",
        does: "sends a message one byte longer than `message_max`, in a frame that is as it should be",
        verdict: Verdict::Violation(&["message-too-long"]),
        policy: |policy| policy.message_max(1000),
        run: |attacker| {
            let mut session = attacker.session();
            assert!(session.send("bytes", &[7; 1000]), "it may be so long");
            let word = wire::word(16 + 1001, wire::SEND, 0, wire::channel("bytes"));
            caught(&session, word, 0, &[7; 1001]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "values-that-a-validator-refuses",
        does: "sends 10,000 messages that the application's validator refuses, and one that it does not",
        verdict: Verdict::Counted("rejected"),
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..10_000 {
                assert!(session.send("number", &REFUSED.to_le_bytes()));
            }
            assert!(session.send("number", &[0; 8]));
        },
        ..LAUNCHED
    },
    Attack {
        name: "value-that-a-validator-refuses-once",
        does: "sends such a message where the policy says that this is a violation",
        verdict: Verdict::Violation(&["rejected"]),
        policy: |policy| policy.rejection_is_violation(true),
        run: |attacker| {
            let session = attacker.session();
            let word = wire::word(24, wire::SEND, 0, number());
            caught(&session, word, 0, &REFUSED.to_le_bytes());
        },
        ..LAUNCHED
    },
    Attack {
        name: "topic-that-is-forbidden",
        does: "subscribes to a topic that its policy does not name",
        verdict: Verdict::Violation(&["forbidden-channel"]),
        policy: |_| ringbridge::Policy::deny_all(),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(16, wire::SUBSCRIBE, 0, wire::channel("news")), 0, &[]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "message-on-a-push-channel",
        does: "sends on a channel on which only main sends",
        verdict: Verdict::Violation(&["wrong-direction"]),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(24, wire::SEND, 0, wire::channel("tick")), 0, &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "message-on-a-topic",
        does: "publishes on a topic by itself",
        verdict: Verdict::Violation(&["wrong-direction"]),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(24, wire::SEND, 0, wire::channel("news")), 0, &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "invoke-of-what-is-no-method",
        does: "invokes an event",
        verdict: Verdict::Violation(&["wrong-direction"]),
        run: |attacker| {
            let session = attacker.session();
            let word = wire::word(24, wire::INVOKE, 0, number());
            caught(&session, word, wire::request(1, 0), &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "subscription-to-what-is-no-topic",
        does: "subscribes to an event",
        verdict: Verdict::Violation(&["wrong-direction"]),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(16, wire::SUBSCRIBE, 0, number()), 0, &[]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "pad-in-the-middle",
        does: "pads where every frame would fit",
        verdict: Verdict::Violation(&["bad-pad"]),
        run: |attacker| {
            let session = attacker.session();
            let len = session.to_end() as u32;
            caught(&session, wire::word(len, wire::PAD, 0, 0), 0, &[]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "pad-that-is-too-short",
        does: "pads a lap, but not up to its end",
        verdict: Verdict::Violation(&["bad-pad"]),
        run: |attacker| {
            let mut session = attacker.session();
            advance_to_the_end(&mut session);
            let len = (session.to_end() - CELL) as u32;
            caught(&session, wire::word(len, wire::PAD, 0, 0), 0, &[]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "pad-behind-a-pad",
        does: "pads two laps in a row, as if main should never come to an end",
        verdict: Verdict::Violation(&["second-pad"]),
        run: |attacker| {
            let mut session = attacker.session();
            advance_to_the_end(&mut session);
            let capacity = session.capacity();
            // Where the next lap begins main has read the last one: else it would find no frame there at all.
            assert!(session.has_room(5 * CELL), "it was honest so far");
            // The one that main comes to second is there first.
            session.position += 4 * CELL;
            session.put(wire::word(capacity as u32, wire::PAD, 0, 0), 0, &[]);
            session.position -= 4 * CELL;
            caught(&session, wire::word(4 * CELL as u32, wire::PAD, 0, 0), 0, &[]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "garbage-everywhere",
        does: "fills the whole ring with random bytes, again and again",
        verdict: Verdict::Violation(&[
            "unknown-kind",
            "bad-length",
            "bad-pad",
            "bad-request-id",
            "bad-flags",
            "unexpected-payload",
        ]),
        run: |attacker| {
            let session = attacker.session();
            let mut random = 0x9e37_79b9_7f4a_7c15_u64;
            while !session.socket.is_hung_up() {
                for at in (CONTROL..CONTROL + session.capacity()).step_by(8) {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    session.outbox.u64(at).store(random, Relaxed);
                }
                session.ring();
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "length-that-flips",
        does: "a second thread changes each frame's length between right and endless while main reads it",
        verdict: Verdict::Violation(&["bad-length"]),
        run: |attacker| {
            let mut session = attacker.session();
            let honest = wire::word(24, wire::SEND, 0, number());
            flip_header(&mut session, honest, honest | u64::from(u32::MAX), [0, 0]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "channel-that-flips",
        does: "a second thread changes each frame's channel between allowed and none while main reads it",
        verdict: Verdict::Violation(&["unknown-channel"]),
        run: |attacker| {
            let mut session = attacker.session();
            let honest = wire::word(24, wire::SEND, 0, number());
            flip_header(&mut session, honest, honest | 0xffff << 48, [0, 0]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "request-id-that-flips",
        does: "a second thread changes each message's request id between none and some while main reads it",
        verdict: Verdict::Violation(&["bad-request-id"]),
        run: |attacker| {
            let mut session = attacker.session();
            let honest = wire::word(24, wire::SEND, 0, number());
            flip_header(&mut session, honest, honest, [0, wire::request(1, 0)]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "bool-that-flips",
        does: "a second thread changes a `bool` between 1 and 2 while main validates it",
        verdict: Verdict::Counted("bad_payloads"),
        run: |attacker| flip_payload(attacker.session(), "flag", &[1], [1, 2]),
        ..LAUNCHED
    },
    Attack {
        name: "text-that-flips",
        does: "a second thread breaks the UTF-8 of a text while main validates it, and mends it",
        verdict: Verdict::Counted("bad_payloads"),
        run: |attacker| {
            // The first byte of an é, and a byte that no text has.
            flip_payload(attacker.session(), "text", "énormément".as_bytes(), [0xc3, 0xff]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "bytes-that-flip-under-a-listener",
        does: "a second thread changes a payload while main's listener reads it",
        run: |attacker| flip_payload(attacker.session(), "bytes", &[0; 1024], [0, 0xff]),
        ..LAUNCHED
    },
    Attack {
        name: "frames-rewritten-behind-main",
        does: "writes garbage over all that main has read already",
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..500 {
                let at = session.at();
                assert!(session.send("number", &[0; 8]));
                crate::attacker::until("main has read it", || {
                    session.inbox.u64(wire::CONSUMED).load(Relaxed) == session.position
                });
                session.outbox.write(at, &[0xff; CELL as usize]);
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "holes-in-its-own-ring",
        does: "punches holes into the memory that main reads, while it sends",
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..200 {
                assert!(session.send("bytes", &[7; 1000]));
                crate::attacker::until("main has read it", || {
                    session.inbox.u64(wire::CONSUMED).load(Relaxed) == session.position
                });
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&session.outbox_memory, punch, 0, session.outbox.size())
                    .expect("it is its own");
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "bool-of-two",
        does: "sends a `bool` that is neither",
        verdict: Verdict::Counted("bad_payloads"),
        run: |attacker| {
            attacker.session().send("flag", &[2]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "value-nested-without-end",
        does: "sends a `Dynamic` value of 4,000 arrays in each other",
        verdict: Verdict::Counted("bad_payloads"),
        run: |attacker| {
            attacker.session().send("settings", &[0x91; 4000]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "value-that-promises-billions",
        does: "sends a `Dynamic` map that claims 2^32 - 1 entries, and then an array that does",
        verdict: Verdict::Counted("bad_payloads"),
        run: |attacker| {
            let mut session = attacker.session();
            session.send("settings", &[0xdf, 0xff, 0xff, 0xff, 0xff]);
            session.send("settings", &[0x81, 0xa1, b'x', 0xdd, 0xff, 0xff, 0xff, 0xff]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "violations-that-are-tolerated",
        does: "breaks three rules under a policy that lets it break so many",
        verdict: Verdict::Tolerated(3),
        policy: |policy| policy.on_violation(ringbridge::OnViolation::Tolerate(3)),
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..3 {
                session.frame(wire::SEND, 0, u16::MAX, 0, &[]);
            }
        },
        ..LAUNCHED
    },
];

fn number() -> u16 {
    wire::channel("number")
}

/// Commits one frame, and stays until main has hung up.
pub(super) fn caught(session: &Session, word: u64, second: u64, payload: &[u8]) {
    session.put(word, second, payload);
    session.socket.until_hung_up();
}

fn of_length(attacker: &mut Attacker, len: fn(&Session) -> u64) {
    let session = attacker.session();
    let word = wire::word(len(&session) as u32, wire::SEND, 0, number());
    caught(&session, word, 0, &[0; 8]);
}

fn of_kind(attacker: &mut Attacker, kind: u8) {
    let session = attacker.session();
    caught(&session, wire::word(24, kind, 0, number()), 0, &[0; 8]);
}

/// Sends until four cells are left in the lap.
fn advance_to_the_end(session: &mut Session) {
    while session.to_end() > 4 * CELL {
        assert!(session.send("number", &[0; 8]), "it was honest so far");
    }
}

/// Commits frames, and has a second thread change the header of each, until main has hung up.
fn flip_header(session: &mut Session, honest: u64, lie: u64, seconds: [u64; 2]) {
    while !session.socket.is_hung_up() {
        let at = session.at();
        let words = [honest, lie].map(|word| session.lapped(word));
        let (first, second) = (session.outbox.u64(at), session.outbox.u64(at + 8));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    for (word, id) in words.into_iter().zip(seconds) {
                        second.store(id, Relaxed);
                        first.store(word, Release);
                    }
                }
            });
            // The frame is there, in whichever form.
            session.ring();
            let read = || session.inbox.u64(wire::CONSUMED).load(Relaxed) > session.position;
            crate::attacker::until("main reads", || read() || session.socket.is_hung_up());
            done.store(true, Relaxed);
        });
        session.position += CELL;
    }
}

/// Sends messages for a while, and has a second thread change the first byte of each payload.
fn flip_payload(mut session: Session, channel: &str, payload: &[u8], values: [u8; 2]) {
    let size = wire::padded(HEADER + payload.len() as u64);
    // Whether it was seen broken once is a matter of chance; so it ends with one that is.
    for_a_while(FLIPPING, || {
        let place = if size > session.to_end() { CONTROL } else { session.at() };
        let byte = session.outbox.u8(place + HEADER);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    for value in values {
                        byte.store(value, Relaxed);
                    }
                }
            });
            assert!(session.send(channel, payload), "the session goes on");
            crate::attacker::until("main reads", || {
                session.inbox.u64(wire::CONSUMED).load(Relaxed) >= session.position
            });
            done.store(true, Relaxed);
        });
    });
    let mut broken = payload.to_vec();
    broken[0] = values[1];
    assert!(session.send(channel, &broken));
}
