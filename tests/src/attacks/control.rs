//! Lies in the renderer's own control page, and about its bells.

use std::{
    sync::atomic::Ordering::{Relaxed, Release},
    thread,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    thread::futex::{self, Flags},
};

use super::{Attack, LAUNCHED, Verdict};
use crate::attacker::{
    for_a_while,
    session::Session,
    until,
    wire::{self, ALARM, BELL, CONSUMED, CONTROL, PARKED, SPACE_WANTED},
};

const A_WHILE: Duration = Duration::from_millis(200);

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "consumed-backwards",
        does: "takes main's frames, and then says that it has taken fewer",
        verdict: Verdict::Violation(&["cursor-out-of-range"]),
        run: |attacker| {
            let mut session = attacker.session();
            take_laps(&mut session, 2);
            session.outbox.u64(CONSUMED).store(0, Release);
            session.socket.until_hung_up();
        },
        ..LAUNCHED
    },
    Attack {
        name: "consumed-past-the-end",
        does: "says that it has read what main has not yet written",
        verdict: Verdict::Violation(&["cursor-out-of-range"]),
        run: |attacker| consumed_is(attacker.session(), 1 << 40),
        ..LAUNCHED
    },
    Attack {
        name: "consumed-of-all-ones",
        does: "says that it has read up to the last position there is",
        verdict: Verdict::Violation(&["cursor-out-of-range"]),
        run: |attacker| consumed_is(attacker.session(), u64::MAX),
        ..LAUNCHED
    },
    Attack {
        name: "consumed-between-cells",
        does: "takes main's frames, and says positions at which no frame begins",
        verdict: Verdict::Harmless,
        run: |attacker| {
            let mut session = attacker.session();
            session.lag = 13;
            take_laps(&mut session, 3);
        },
        ..LAUNCHED
    },
    Attack {
        name: "consumed-frozen",
        does: "never says that it has read anything, however much main has to tell",
        verdict: Verdict::Counted("full"),
        run: |attacker| {
            let mut session = attacker.session();
            until("main's ring is full", || is_full(&session));
            for _ in 0..100 {
                session.send("number", &[0; 8]);
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "consumed-that-flips",
        does: "a second thread moves `consumed` forth and back, each within what was written",
        verdict: Verdict::Violation(&["cursor-out-of-range"]),
        run: |attacker| {
            let mut session = attacker.session();
            take_laps(&mut session, 2);
            let (read, word) = (session.read_position(), session.outbox.u64(CONSUMED));
            thread::scope(|scope| {
                let flips = scope.spawn(|| {
                    session.socket.until_hung_up();
                });
                while !flips.is_finished() {
                    word.store(read, Release);
                    word.store(read - 4096, Release);
                }
            });
        },
        ..LAUNCHED
    },
    Attack {
        name: "parked-that-flips",
        does: "falls asleep and wakes up millions of times while main answers it",
        verdict: Verdict::Counted("wakes"),
        run: |attacker| {
            let mut session = attacker.session();
            let words = [PARKED, SPACE_WANTED].map(|at| session.outbox.u32(at));
            thread::spawn(move || {
                loop {
                    words.iter().for_each(|word| _ = word.fetch_add(1, Release));
                }
            });
            let mut generation = 1;
            for_a_while(A_WHILE, || {
                session.invoke("add", wire::request(generation, 0), &[0; 16]);
                session.receive_of(wire::REPLY);
                generation += 1;
            });
        },
        ..LAUNCHED
    },
    Attack {
        name: "asleep-for-ever",
        does: "says that it sleeps and waits for room, and never says otherwise",
        verdict: Verdict::Counted("wakes"),
        run: |attacker| {
            let mut session = attacker.session();
            session.outbox.u32(PARKED).store(u32::MAX, Release);
            session.outbox.u32(SPACE_WANTED).store(u32::MAX, Release);
            for generation in 1..1000 {
                session.invoke("add", wire::request(generation, 0), &[0; 16]);
                session.receive_of(wire::REPLY);
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "alarm-that-lies",
        does: "sleeps, and says that it will wake up by itself now, long ago, in an hour, and at the end of time",
        verdict: Verdict::Counted("wakes"),
        run: |attacker| {
            let mut session = attacker.session();
            let (parked, alarm) = (session.outbox.u32(PARKED), session.outbox.u64(ALARM));
            let (mut epoch, mut generation) = (1, 1);
            for_a_while(A_WHILE, || {
                let (now, hour) = (wire::now_ns(), 3_600_000_000_000);
                for lie in [now, 1, now + hour, u64::MAX, u64::MAX - 1, 0] {
                    alarm.store(lie, Relaxed);
                    parked.store(epoch, Release);
                    session.invoke("add", wire::request(generation, 0), &[0; 16]);
                    session.receive_of(wire::REPLY);
                    (epoch, generation) = (epoch + 2, generation + 1);
                }
            });
        },
        ..LAUNCHED
    },
    Attack {
        name: "bell-that-flips",
        does: "changes the word on which main's waiting threads would sleep, millions of times, and wakes whoever sleeps there",
        run: |attacker| {
            let session = attacker.session();
            let bell = session.outbox.u32(BELL);
            for_a_while(A_WHILE, || {
                for _ in 0..1000 {
                    bell.fetch_add(1, Release);
                }
                let _ = futex::wake(bell, Flags::empty(), i32::MAX as u32);
            });
        },
        ..LAUNCHED
    },
    Attack {
        name: "crowd-on-its-bell",
        does: "has 200 threads sleep on the one bell that main rings for it, and has main ring it again and again",
        verdict: Verdict::Counted("wakes"),
        run: |attacker| {
            let mut session = attacker.session();
            let bell = session.inbox.u32(BELL);
            for _ in 0..200 {
                thread::spawn(move || {
                    loop {
                        let seen = bell.load(Relaxed);
                        let _ = futex::wait(bell, Flags::empty(), seen, None);
                    }
                });
            }
            for generation in 1..200 {
                session.outbox.u32(PARKED).store(generation * 2 + 1, Release);
                session.invoke("add", wire::request(generation.into(), 0), &[0; 16]);
                session.receive_of(wire::REPLY);
            }
        },
        ..LAUNCHED
    },
    Attack {
        name: "identity-of-something-else",
        does: "writes another magic, version and capacity into its control page",
        run: |attacker| {
            let mut session = attacker.session();
            for at in (0..CONSUMED).step_by(8) {
                session.outbox.u64(at).store(u64::MAX, Relaxed);
            }
            session.send("report", b"is somebody else");
        },
        ..LAUNCHED
    },
    Attack {
        name: "rings-without-frames",
        does: "rings main's bell without a pause for 400 ms, and sends one message meanwhile",
        verdict: Verdict::Counted("frames_received"),
        run: |attacker| {
            let mut session = attacker.session();
            for_a_while(A_WHILE, || session.ring());
            session.send("number", &77_u64.to_le_bytes());
            for_a_while(A_WHILE, || session.ring());
        },
        ..LAUNCHED
    },
    Attack {
        name: "bell-made-blocking-and-full",
        does: "clears `O_NONBLOCK` on the shared eventfd and fills its counter, so that who writes it stands still",
        run: |attacker| {
            let mut session = attacker.session();
            fcntl_setfl(&session.event, OFlags::RDWR | OFlags::NONBLOCK).expect("it is shared");
            let _ = rustix::io::write(&session.event, &(u64::MAX - 1).to_ne_bytes());
            fcntl_setfl(&session.event, OFlags::RDWR).expect("it is shared");
            // Its own rings would stand still now; main finds the frames when it looks.
            let at = session.at();
            session
                .outbox
                .u64(at)
                .store(wire::word(16, wire::SEND, 0, wire::channel("nothing")), Release);
            thread::sleep(A_WHILE);
            fcntl_setfl(&session.event, OFlags::RDWR | OFlags::NONBLOCK).expect("it is shared");
            session.position += wire::CELL;
            session.send("report", b"was silent");
        },
        ..LAUNCHED
    },
    Attack {
        name: "bell-drained",
        does: "a second thread reads the shared eventfd empty as often as it is rung, so that main might miss a ring",
        run: |attacker| {
            let mut session = attacker.session();
            let event = rustix::io::dup(&session.event).expect("descriptors are left");
            thread::spawn(move || {
                loop {
                    let _ = rustix::io::read(&event, &mut [0; 8]);
                }
            });
            for request in 1..300 {
                assert!(session.invoke("add", wire::request(request, 0), &[0; 16]));
                session.receive_of(wire::REPLY);
            }
        },
        ..LAUNCHED
    },
];

/// Takes main's frames until it has written so many laps.
fn take_laps(session: &mut Session, laps: u64) {
    let until_read = laps * (session.inbox.size() - CONTROL);
    until("main has written so much", || {
        session.receive();
        session.read_position() >= until_read
    });
}

fn consumed_is(session: Session, lie: u64) {
    session.outbox.u64(CONSUMED).store(lie, Release);
    session.socket.until_hung_up();
}

/// Whether main has written to the end of its ring, which nobody reads.
fn is_full(session: &Session) -> bool {
    let capacity = session.inbox.size() - CONTROL;
    // Ticks are one cell each: the last but a few hold one.
    session.inbox.u64(CONTROL + capacity - 4 * wire::CELL).load(Relaxed) != 0
}
