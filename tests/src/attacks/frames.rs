//! Frames that no honest renderer writes, and frames that change while main reads them.

use super::*;

/// How long a second thread changes bytes that main reads.
const FLIPPING: Duration = Duration::from_millis(150);

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    session("length-of-zero", Violation(&["bad-length"]), |s| of_length(s, 0),
        "commits a frame that claims no byte, not even its header"),
    session("length-of-less-than-a-header", Violation(&["bad-length"]), |s| of_length(s, 15),
        "commits a frame of 15 bytes"),
    session("length-of-more-than-a-frame", Violation(&["bad-length"]), |s| of_length(s, frame_max(s.capacity()) + 1),
        "commits a frame one byte longer than the longest"),
    session("length-past-the-end", Violation(&["bad-length"]), |s| {
            advance_to_the_end(s);
            s.caught(word(s.to_end() as u32 + 1, SEND, 0, number()), 0, &[]);
        },
        "commits a frame of lawful length that would end behind the ring"),
    session("length-of-the-ring", Violation(&["bad-length"]), |s| of_length(s, s.capacity()),
        "commits a frame as long as the ring"),
    session("length-of-all-ones", Violation(&["bad-length"]), |s| of_length(s, u32::MAX.into()),
        "commits a frame of 2^32 - 1 bytes"),
    session("kind-that-is-none", Violation(&["unknown-kind"]), |s| s.caught(word(24, 127, 0, number()), 0, &[0; 8]),
        "commits a frame of a kind behind the last"),
    session("kind-of-zero", Violation(&["unknown-kind"]), |s| s.caught(word(24, 0, 0, number()), 0, &[0; 8]),
        "commits a frame of kind 0, which means that nothing is there"),
    session("word-of-the-other-lap", Harmless, |s| {
            s.put(word(24, SEND, 0, number()) ^ ODD_LAP, 0, &[0; 8]);
            s.send("report", b"carries on");
        },
        "commits a word as the next lap would have it, and then sends as if nothing were"),
    session("flags-where-none-belong", Violation(&["bad-flags"]), |s| s.caught(word(24, SEND, 1, number()), 0, &[0; 8]),
        "sends a message with flags"),
    session("payload-where-none-belongs", Violation(&["unexpected-payload"]),
        |s| s.caught(word(24, CANCEL, 0, 0), request(1, 0), &[0; 8]),
        "cancels with a payload"),
    session("channel-that-is-none", Violation(&["unknown-channel"]), |s| s.caught(word(24, SEND, 0, u16::MAX), 0, &[0; 8]),
        "sends on a channel behind the last"),
    session("channel-that-is-forbidden", Violation(&["forbidden-channel"]),
        |s| s.caught(word(24, SEND, 0, number()), 0, &[0; 8]),
        "sends on a channel that its policy does not name").policy(|_| Policy::deny_all()),
    session("message-longer-than-its-policy-says", Violation(&["message-too-long"]), |s| {
            assert!(s.send("bytes", &[7; 1000]), "it may be so long");
            s.caught(word(16 + 1001, SEND, 0, channel("bytes")), 0, &[7; 1001]);
        },
        "sends a message one byte longer than `message_max`, in a frame that is as it should be")
        .policy(|policy| policy.message_max(1000)),
    session("values-that-a-validator-refuses", Counted("rejected"), |s| {
            s.send_often(10_000, "number", &REFUSED.to_le_bytes());
            assert!(s.send("number", &[0; 8]));
        },
        "sends 10,000 messages that the application's validator refuses, and one that it does not"),
    session("value-that-a-validator-refuses-once", Violation(&["rejected"]),
        |s| s.caught(word(24, SEND, 0, number()), 0, &REFUSED.to_le_bytes()),
        "sends such a message where the policy says that this is a violation")
        .policy(|policy| policy.rejection_is_violation(true)),
    session("topic-that-is-forbidden", Violation(&["forbidden-channel"]),
        |s| s.caught(word(16, SUBSCRIBE, 0, channel("news")), 0, &[]),
        "subscribes to a topic that its policy does not name").policy(|_| Policy::deny_all()),
    session("message-on-a-push-channel", Violation(&["wrong-direction"]),
        |s| s.caught(word(24, SEND, 0, channel("tick")), 0, &[0; 8]),
        "sends on a channel on which only main sends"),
    session("message-on-a-topic", Violation(&["wrong-direction"]),
        |s| s.caught(word(24, SEND, 0, channel("news")), 0, &[0; 8]),
        "publishes on a topic by itself"),
    session("invoke-of-what-is-no-method", Violation(&["wrong-direction"]),
        |s| s.caught(word(24, INVOKE, 0, number()), request(1, 0), &[0; 8]),
        "invokes an event"),
    session("subscription-to-what-is-no-topic", Violation(&["wrong-direction"]),
        |s| s.caught(word(16, SUBSCRIBE, 0, number()), 0, &[]),
        "subscribes to an event"),
    session("pad-in-the-middle", Violation(&["bad-pad"]), |s| s.caught(word(s.to_end() as u32, PAD, 0, 0), 0, &[]),
        "pads where every frame would fit"),
    session("pad-that-is-too-short", Violation(&["bad-pad"]), |s| {
            advance_to_the_end(s);
            s.caught(word((s.to_end() - CELL) as u32, PAD, 0, 0), 0, &[]);
        },
        "pads a lap, but not up to its end"),
    session("pad-behind-a-pad", Violation(&["second-pad"]), pad_behind_a_pad,
        "pads two laps in a row, as if main should never come to an end"),
    session("garbage-everywhere", Violation(&[
            "unknown-kind", "bad-length", "bad-pad", "bad-request-id", "bad-flags", "unexpected-payload",
        ]), garbage_everywhere,
        "fills the whole ring with random bytes, again and again"),
    session("length-that-flips", Violation(&["bad-length"]), |s| flip_header(s, u64::from(u32::MAX), [0, 0]),
        "a second thread changes each frame's length between right and endless while main reads it"),
    session("channel-that-flips", Violation(&["unknown-channel"]), |s| flip_header(s, 0xffff << 48, [0, 0]),
        "a second thread changes each frame's channel between allowed and none while main reads it"),
    session("request-id-that-flips", Violation(&["bad-request-id"]), |s| flip_header(s, 0, [0, request(1, 0)]),
        "a second thread changes each message's request id between none and some while main reads it"),
    session("bool-that-flips", Counted("bad_payloads"), |s| flip_payload(s, "flag", &[1], [1, 2]),
        "a second thread changes a `bool` between 1 and 2 while main validates it"),
    // The first byte of an é, and a byte that no text has.
    session("text-that-flips", Counted("bad_payloads"),
        |s| flip_payload(s, "text", "énormément".as_bytes(), [0xc3, 0xff]),
        "a second thread breaks the UTF-8 of a text while main validates it, and mends it"),
    session("bytes-that-flip-under-a-listener", Harmless, |s| flip_payload(s, "bytes", &[0; 1024], [0, 0xff]),
        "a second thread changes a payload while main's listener reads it"),
    session("frames-rewritten-behind-main", Harmless, |s| for _ in 0..500 {
            let at = s.at();
            assert!(s.send("number", &[0; 8]));
            until_read(s);
            s.outbox.write(at, &[0xff; CELL as usize]);
        },
        "writes garbage over all that main has read already"),
    session("holes-in-its-own-ring", Harmless, |s| for _ in 0..200 {
            assert!(s.send("bytes", &[7; 1000]));
            until_read(s);
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&s.outbox_memory, punch, 0, s.outbox.size()).expect("it is its own");
        },
        "punches holes into the memory that main reads, while it sends"),
    session("bool-of-two", Counted("bad_payloads"), |s| _ = s.send("flag", &[2]),
        "sends a `bool` that is neither"),
    session("value-nested-without-end", Counted("bad_payloads"), |s| _ = s.send("settings", &[0x91; 4000]),
        "sends a `Dynamic` value of 4,000 arrays in each other"),
    session("value-that-promises-billions", Counted("bad_payloads"), |s| {
            s.send("settings", &[0xdf, 0xff, 0xff, 0xff, 0xff]);
            s.send("settings", &[0x81, 0xa1, b'x', 0xdd, 0xff, 0xff, 0xff, 0xff]);
        },
        "sends a `Dynamic` map that claims 2^32 - 1 entries, and then an array that does"),
    session("violations-that-are-tolerated", Tolerated(3),
        |s| (0..3).for_each(|_| _ = s.frame(SEND, 0, u16::MAX, 0, &[])),
        "breaks three rules under a policy that lets it break so many")
        .policy(|policy| policy.on_violation(OnViolation::Tolerate(3))),
];

fn number() -> u16 {
    channel("number")
}

fn of_length(session: &Session, len: u64) {
    session.caught(word(len as u32, SEND, 0, number()), 0, &[0; 8]);
}

fn until_read(session: &Session) {
    until("main has read it", || session.inbox.u64(CONSUMED).load(Relaxed) >= session.position);
}

/// Sends until four cells are left in the lap.
fn advance_to_the_end(session: &mut Session) {
    while session.to_end() > 4 * CELL {
        assert!(session.send("number", &[0; 8]), "it was honest so far");
    }
}

fn pad_behind_a_pad(session: &mut Session) {
    advance_to_the_end(session);
    let capacity = session.capacity();
    // Main must have read the beginning of the lap, or it would find no frame there.
    assert!(session.has_room(5 * CELL), "it was honest so far");
    // The pad that main reaches second is written first.
    session.position += 4 * CELL;
    session.put(word(capacity as u32, PAD, 0, 0), 0, &[]);
    session.position -= 4 * CELL;
    session.caught(word(4 * CELL as u32, PAD, 0, 0), 0, &[]);
}

fn garbage_everywhere(session: &mut Session) {
    let mut random = fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    while !session.socket.is_hung_up() {
        for at in (CONTROL..CONTROL + session.capacity()).step_by(8) {
            session.outbox.u64(at).store(random.u64(..), Relaxed);
        }
        session.ring();
    }
}

/// Runs `honest` while a second thread does `change` again and again.
fn beside(change: impl Fn() + Sync, honest: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                change();
            }
        });
        honest();
        done.store(true, Relaxed);
    });
}

/// Commits frames, and has a second thread change the header of each, until main has hung up.
fn flip_header(session: &mut Session, lie: u64, seconds: [u64; 2]) {
    let honest = word(24, SEND, 0, number());
    while !session.socket.is_hung_up() {
        let at = session.at();
        let words = [honest, honest | lie].map(|word| session.lapped(word));
        let (first, second) = (session.outbox.u64(at), session.outbox.u64(at + 8));
        let flip = || {
            for (word, id) in words.into_iter().zip(seconds) {
                second.store(id, Relaxed);
                first.store(word, Release);
            }
        };
        beside(flip, || {
            // The frame is there, in one of both forms.
            session.ring();
            let read = || session.inbox.u64(CONSUMED).load(Relaxed) > session.position;
            until("main reads", || read() || session.socket.is_hung_up());
        });
        session.position += CELL;
    }
}

/// Sends messages for a while, and has a second thread change the first byte of each payload.
fn flip_payload(session: &mut Session, channel: &str, payload: &[u8], values: [u8; 2]) {
    let size = padded(HEADER + payload.len() as u64);
    // Main may miss the changes, so the last payload is broken.
    for_a_while(FLIPPING, || {
        let place = if size > session.to_end() { CONTROL } else { session.at() };
        let byte = session.outbox.u8(place + HEADER);
        beside(
            || values.iter().for_each(|value| byte.store(*value, Relaxed)),
            || {
                assert!(session.send(channel, payload), "the session goes on");
                until_read(session);
            },
        );
    });
    let mut broken = payload.to_vec();
    broken[0] = values[1];
    assert!(session.send(channel, &broken));
}
