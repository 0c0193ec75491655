//! Too much of what is allowed.

use std::sync::atomic::Ordering::Relaxed;

use ringbridge::Quota;

use super::{Attack, LAUNCHED, Verdict};
use crate::attacker::{
    session::Session,
    system, until,
    wire::{self, request},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "flood-of-messages",
        does: "sends a million messages as fast as main takes them",
        verdict: Verdict::Counted("frames_received"),
        run: |attacker| {
            let mut session = attacker.session();
            let channel = wire::channel("number");
            for _ in 0..1_000_000 {
                assert!(session.frame(wire::SEND, 0, channel, 0, &[0; 8]));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "flood-of-the-longest",
        does: "sends 300 messages of the longest kind, as fast as main takes them",
        verdict: Verdict::Counted("frames_received"),
        run: |attacker| {
            let mut session = attacker.session();
            let payload = vec![7; (wire::frame_max(session.capacity()) - wire::HEADER) as usize];
            for _ in 0..300 {
                assert!(session.send("bytes", &payload));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "flood-beyond-its-quota-of-frames",
        does: "sends 6,000 messages as fast as it can, where its quota is 4,000 in a second",
        verdict: Verdict::Counted("throttled"),
        policy: |policy| policy.frames_quota(Quota::per_second(4000).burst(100)),
        run: |attacker| {
            let mut session = attacker.session();
            for _ in 0..6000 {
                assert!(session.send("number", &[0; 8]));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "flood-beyond-its-quota-of-bytes",
        does: "sends 8 of the longest messages as fast as it can, where its quota is 1 MiB in a second",
        verdict: Verdict::Counted("throttled"),
        policy: |policy| policy.bytes_quota(Quota::per_second(1 << 20).burst(64 << 10)),
        run: |attacker| {
            let mut session = attacker.session();
            let payload = vec![7; (wire::frame_max(session.capacity()) - wire::HEADER) as usize];
            for _ in 0..8 {
                assert!(session.send("bytes", &payload));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "flood-that-nobody-hears",
        does: "sends 100,000 messages on a channel without a listener",
        verdict: Verdict::Counted("unheard"),
        run: |attacker| {
            let mut session = attacker.session();
            let channel = wire::channel("reading");
            for _ in 0..100_000 {
                assert!(session.frame(wire::SEND, 0, channel, 0, &[0; 16]));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "flood-of-nonsense",
        does: "invokes 20,000 times with arguments that are none, and has main explain each",
        verdict: Verdict::Counted("bad_payloads"),
        run: |attacker| {
            let mut session = attacker.session();
            invoke(&mut session, 20_000, &[0; 3]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "flood-of-subscriptions",
        does: "subscribes to a topic and leaves it 50,000 times",
        verdict: Verdict::Counted("frames_received"),
        run: |attacker| {
            let mut session = attacker.session();
            let channel = wire::channel("news");
            for _ in 0..50_000 {
                assert!(session.frame(wire::SUBSCRIBE, 0, channel, 0, &[]));
                assert!(session.frame(wire::UNSUBSCRIBE, 0, channel, 0, &[]));
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "flood-of-invokes",
        does: "invokes 50,000 times, always eight at once, and takes each answer",
        verdict: Verdict::Counted("invokes_received"),
        run: |attacker| {
            let mut session = attacker.session();
            invoke(&mut session, 50_000, &[0; 16]);
        },
        ..LAUNCHED
    },
    Attack {
        name: "child-that-writes-on",
        does: "forks, dies, and has the child go on writing into the memory and ringing the bell",
        verdict: Verdict::Counted("frames_received"),
        run: |attacker| {
            let mut session = attacker.session();
            session.send("number", &[0; 8]);
            system::fork(|| {
                // As if nothing had happened, until main has hung up; and then whatever comes.
                while session.send("number", &[0; 8]) {}
                for at in (0..session.outbox.size()).step_by(8) {
                    session.outbox.u64(at).store(u64::MAX, Relaxed);
                    session.ring();
                }
            });
        },
        ..LAUNCHED
    },
];

/// Invokes so often, eight at once, and takes each answer.
fn invoke(session: &mut Session, times: u64, arguments: &[u8]) {
    let mut answered = 0;
    for generation in 1..=times {
        assert!(session.invoke("add", request(generation, 0), arguments));
        until("main answers", || {
            let answer = session.receive();
            let is_answer = |kind| kind == wire::REPLY || kind == wire::FAIL;
            answered += u64::from(answer.is_some_and(|frame| is_answer(frame.kind)));
            generation - answered < 8
        });
    }
}
