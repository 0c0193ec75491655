//! Requests, replies and cancels under ids that are forged, repeated or another renderer's.

use super::*;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    session("invoke-without-an-id", Violation(&["bad-request-id"]),
        |s| s.caught(word(32, INVOKE, 0, channel("add")), 0, &[0; 16]),
        "invokes under no request id"),
    session("invoke-under-an-id-that-cannot-be", Violation(&["bad-request-id"]),
        |s| s.caught(word(32, INVOKE, 0, channel("add")), 7, &[0; 16]),
        "invokes under a slot without a generation"),
    session("message-under-a-request-id", Violation(&["bad-request-id"]),
        |s| s.caught(word(24, SEND, 0, channel("number")), request(1, 1), &[0; 8]),
        "sends a message as if it were part of a request"),
    session("id-that-is-pending", Violation(&["duplicate-request"]), |s| {
            (0..2).for_each(|_| _ = s.invoke("read", request(5, 5), b"never answered"));
            s.socket.until_hung_up();
        },
        "invokes twice under one id, the first unanswered"),
    session("id-of-a-request-that-was-answered", Counted("invokes_received"),
        |s| (0..1000).for_each(|_| asks(s, "add", request(5, 5), &[0; 16], REPLY)),
        "invokes 1,000 times under one id, each after the answer to the last"),
    session("more-pending-than-its-quota", Violation(&["too-many-pending"]),
        |s| until_stopped(|generation| s.invoke("read", request(generation, 0), b"hello?")),
        "invokes without end, and never waits for an answer"),
    session("replies-that-it-does-not-take", Violation(&["too-many-pending"]),
        |s| until_stopped(|generation| s.invoke("echo", request(generation, 0), &[7; 900])),
        "invokes what is answered at once, without end, and never takes an answer"),
    session("invokes-and-cancels-by-the-thousand", Counted("cancelled"), |s| for _ in 0..30_000 {
            assert!(s.invoke("read", request(3, 3), b""));
            assert!(s.frame(CANCEL, 0, 0, request(3, 3), &[]));
        },
        "invokes, cancels, and invokes again under the same id, 30,000 times"),
    session("replies-to-what-others-were-asked", Counted("stale_replies"), |s| for id in ids(300) {
            for kind in [REPLY, REJECT, FAIL] {
                assert!(s.frame(kind, 0, channel("ask"), id, &u64::MAX.to_le_bytes()));
            }
        },
        "replies, rejects and fails under every id that main may have given the bystander"),
    session("cancels-of-what-others-asked", Harmless,
        |s| ids(600).for_each(|id| assert!(s.frame(CANCEL, 0, 0, id, &[]))),
        "cancels under every id that the bystander may use"),
    session("arguments-that-are-none", Counted("bad_payloads"), |s| {
            asks(s, "add", request(1, 0), &[0; 5], FAIL);
            asks(s, "negate", request(2, 0), &[2], FAIL);
        },
        "invokes with 5 bytes where there are 16, and with a `bool` of 2; and looks what it is told"),
    session("deadlines-of-nothing-and-for-ever", Counted("invokes_received"), |s| for code in 0..=u8::MAX {
            let id = request(1 + u64::from(code), 0);
            assert!(s.frame(INVOKE, code, channel("add"), id, &[0; 16]));
            assert_eq!(s.receive_of(REPLY).request, id);
        },
        "invokes with every time-out that a frame can carry"),
];

/// Invokes, and takes the answer, which is of this kind.
fn asks(session: &mut Session, method: &str, id: u64, arguments: &[u8], kind: u8) {
    assert!(session.invoke(method, id, arguments));
    assert_eq!(session.receive_of(kind).request, id);
}

/// Invokes under one generation after the other until main has hung up.
fn until_stopped(invoke: impl FnMut(u64) -> bool) {
    assert!((1..2_000_000).map(invoke).any(|committed| !committed));
}

/// The ids of 16 slots in all generations below this one.
fn ids(generations: u64) -> impl Iterator<Item = u64> {
    (1..generations).flat_map(|generation| (0..16).map(move |slot| request(generation, slot)))
}
