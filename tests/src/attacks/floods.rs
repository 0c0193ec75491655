//! Too much of what is allowed.

use super::*;

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    session("flood-of-messages", Counted("frames_received"), |s| s.send_often(1_000_000, "number", &[0; 8]),
        "sends a million messages as fast as main takes them"),
    session("flood-of-the-longest", Counted("frames_received"), |s| send_longest(s, 300),
        "sends 300 messages of the longest kind, as fast as main takes them"),
    session("flood-beyond-its-quota-of-frames", Counted("throttled"), |s| s.send_often(6000, "number", &[0; 8]),
        "sends 6,000 messages as fast as it can, where its quota is 4,000 in a second")
        .policy(|policy| policy.frames_quota(Quota::per_second(4000).burst(100))),
    session("flood-beyond-its-quota-of-bytes", Counted("throttled"), |s| send_longest(s, 8),
        "sends 8 of the longest messages as fast as it can, where its quota is 1 MiB in a second")
        .policy(|policy| policy.bytes_quota(Quota::per_second(1 << 20).burst(64 << 10))),
    session("flood-that-nobody-hears", Counted("unheard"), |s| s.send_often(100_000, "reading", &[0; 16]),
        "sends 100,000 messages on a channel without a listener"),
    session("flood-of-nonsense", Counted("bad_payloads"), |s| invoke(s, 20_000, &[0; 3]),
        "invokes 20,000 times with arguments that are none, and has main explain each"),
    session("flood-of-subscriptions", Counted("frames_received"), |s| {
            let channel = channel("news");
            for kind in [SUBSCRIBE, UNSUBSCRIBE].repeat(50_000) {
                assert!(s.frame(kind, 0, channel, 0, &[]));
            }
        },
        "subscribes to a topic and leaves it 50,000 times"),
    session("flood-of-invokes", Counted("invokes_received"), |s| invoke(s, 50_000, &[0; 16]),
        "invokes 50,000 times, always eight at once, and takes each answer"),
    session("child-that-writes-on", Counted("frames_received"), |s| {
            s.send("number", &[0; 8]);
            system::fork(|| {
                // Correct frames until main has hung up, and then garbage.
                while s.send("number", &[0; 8]) {}
                for at in (0..s.outbox.size()).step_by(8) {
                    s.outbox.u64(at).store(u64::MAX, Relaxed);
                    s.ring();
                }
            });
        },
        "forks, dies, and has the child go on writing into the memory and ringing the bell"),
];

fn send_longest(session: &mut Session, times: usize) {
    let payload = vec![7; (frame_max(session.capacity()) - HEADER) as usize];
    session.send_often(times, "bytes", &payload);
}

/// Invokes so often, eight at once, and takes each answer.
fn invoke(session: &mut Session, times: u64, arguments: &[u8]) {
    let mut answered = 0;
    for generation in 1..=times {
        assert!(session.invoke("add", request(generation, 0), arguments));
        until("main answers", || {
            let answer = session.receive();
            answered += u64::from(answer.is_some_and(|frame| [REPLY, FAIL].contains(&frame.kind)));
            generation - answered < 8
        });
    }
}
