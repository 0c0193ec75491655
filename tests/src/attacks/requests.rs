//! Requests, replies and cancels under names that are forged, repeated or someone else's.

use super::{Attack, LAUNCHED, Verdict, frames::caught};
use crate::attacker::wire::{self, request};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "invoke-without-an-id",
        does: "invokes under no request id",
        verdict: Verdict::Violation(&["bad-request-id"]),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(32, wire::INVOKE, 0, wire::channel("add")), 0, &[0; 16]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "invoke-under-an-id-that-cannot-be",
        does: "invokes under a slot without a generation",
        verdict: Verdict::Violation(&["bad-request-id"]),
        run: |attacker| {
            let session = attacker.session();
            caught(&session, wire::word(32, wire::INVOKE, 0, wire::channel("add")), 7, &[0; 16]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "message-under-a-request-id",
        does: "sends a message as if it were part of a request",
        verdict: Verdict::Violation(&["bad-request-id"]),
        run: |attacker| {
            let session = attacker.session();
            let word = wire::word(24, wire::SEND, 0, wire::channel("number"));
            caught(&session, word, request(1, 1), &[0; 8]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "id-that-is-pending",
        does: "invokes twice under one id, the first unanswered",
        verdict: Verdict::Violation(&["duplicate-request"]),
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..2 {
                session.invoke("read", request(5, 5), b"never answered");
            }
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "id-of-a-request-that-was-answered",
        does: "invokes 1,000 times under one id, each after the answer to the last",
        verdict: Verdict::Counted("invokes_received"),
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..1000 {
                assert!(session.invoke("add", request(5, 5), &[0; 16]));
                assert_eq!(session.receive_of(wire::REPLY).request, request(5, 5));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "more-pending-than-its-quota",
        does: "invokes without end, and never waits for an answer",
        verdict: Verdict::Violation(&["too-many-pending"]),
        run: |attacker| {
            let mut session = attacker.session();
            let invoke = |generation| session.invoke("read", request(generation, 0), b"hello?");
            assert!((1..2_000_000).map(invoke).any(|committed| !committed));
        },
        ..LAUNCHED
    },
    Attack {
        name: "replies-that-it-does-not-take",
        does: "invokes what is answered at once, without end, and never takes an answer",
        verdict: Verdict::Violation(&["too-many-pending"]),
        run: |attacker| {
            let mut session = attacker.session();
            let invoke = |generation| session.invoke("echo", request(generation, 0), &[7; 900]);
            assert!((1..2_000_000).map(invoke).any(|committed| !committed));
        },
        ..LAUNCHED
    },
    Attack {
        name: "invokes-and-cancels-by-the-thousand",
        does: "invokes, cancels, and invokes again under the same id, 30,000 times",
        verdict: Verdict::Counted("cancelled"),
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..30_000 {
                assert!(session.invoke("read", request(3, 3), b""));
                assert!(session.frame(wire::CANCEL, 0, 0, request(3, 3), &[]));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "replies-to-what-others-were-asked",
        does: "replies, rejects and fails under every id that main may have given the bystander",
        verdict: Verdict::Counted("stale_replies"),
        run: |attacker| {
            let mut session = attacker.session();
            for generation in 1..300 {
                for slot in 0..16 {
                    let id = request(generation, slot);
                    let channel = wire::channel("ask");
                    for kind in [wire::REPLY, wire::REJECT, wire::FAIL] {
                        assert!(session.frame(kind, 0, channel, id, &u64::MAX.to_le_bytes()));
                    }
                }
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "cancels-of-what-others-asked",
        does: "cancels under every id that the bystander may use",
        verdict: Verdict::Harmless,
        run: |attacker| {
            let mut session = attacker.session();
            for generation in 1..600 {
                for slot in 0..16 {
                    assert!(session.frame(wire::CANCEL, 0, 0, request(generation, slot), &[]));
                }
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "arguments-that-are-none",
        does: "invokes with 5 bytes where there are 16, and with a `bool` of 2; and looks what it is told",
        verdict: Verdict::Counted("bad_payloads"),
        run: |attacker| {
            let mut session = attacker.session();
            session.invoke("add", request(1, 0), &[0; 5]);
            assert_eq!(session.receive_of(wire::FAIL).request, request(1, 0));
            session.invoke("negate", request(2, 0), &[2]);
            assert_eq!(session.receive_of(wire::FAIL).request, request(2, 0));
        },
        ..LAUNCHED
    },
    Attack {
        name: "deadlines-of-nothing-and-for-ever",
        does: "invokes with every time-out that a frame can carry",
        verdict: Verdict::Counted("invokes_received"),
        run: |attacker| {
            let mut session = attacker.session();
            for code in 0..=u8::MAX {
                let id = request(1 + u64::from(code), 0);
                assert!(session.frame(wire::INVOKE, code, wire::channel("add"), id, &[0; 16]));
                assert_eq!(session.receive_of(wire::REPLY).request, id);
            }
        },
        ..LAUNCHED
    },
];
