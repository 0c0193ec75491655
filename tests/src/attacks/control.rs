//! Lies in the renderer's own control page, and about its bells.

use super::*;

const A_WHILE: Duration = Duration::from_millis(200);

#[rustfmt::skip]
pub(super) const ATTACKS: &[Attack] = &[
    session("consumed-backwards", Violation(&["cursor-out-of-range"]), |s| {
            take_laps(s, 2);
            consumed_is(s, 0);
        },
        "takes main's frames, and then says that it has taken fewer"),
    session("consumed-past-the-end", Violation(&["cursor-out-of-range"]), |s| consumed_is(s, 1 << 40),
        "says that it has read what main has not yet written"),
    session("consumed-of-all-ones", Violation(&["cursor-out-of-range"]), |s| consumed_is(s, u64::MAX),
        "says that it has read up to the last position there is"),
    session("consumed-between-cells", Harmless, |s| {
            s.lag = 13;
            take_laps(s, 3);
        },
        "takes main's frames, and says positions at which no frame begins"),
    session("consumed-frozen", Counted("full"), |s| {
            until("main's ring is full", || is_full(s));
            (0..100).for_each(|_| _ = s.send("number", &[0; 8]));
        },
        "never says that it has read anything, however much main has to tell"),
    session("consumed-that-flips", Violation(&["cursor-out-of-range"]), |s| {
            take_laps(s, 2);
            let (read, word) = (s.read_position(), s.outbox.u64(CONSUMED));
            thread::scope(|scope| {
                let flips = scope.spawn(|| s.socket.until_hung_up());
                while !flips.is_finished() {
                    word.store(read, Release);
                    word.store(read - 4096, Release);
                }
            });
        },
        "a second thread moves `consumed` forth and back, each within what was written"),
    session("parked-that-flips", Counted("wakes"), |s| {
            let words = [PARKED, SPACE_WANTED].map(|at| s.outbox.u32(at));
            thread::spawn(move || loop {
                words.iter().for_each(|word| _ = word.fetch_add(1, Release));
            });
            for_a_while(A_WHILE, || asks(s));
        },
        "falls asleep and wakes up millions of times while main answers it"),
    session("asleep-for-ever", Counted("wakes"), |s| {
            s.outbox.u32(PARKED).store(u32::MAX, Release);
            s.outbox.u32(SPACE_WANTED).store(u32::MAX, Release);
            (1..1000).for_each(|_| asks(s));
        },
        "says that it sleeps and waits for room, and never says otherwise"),
    session("alarm-that-lies", Counted("wakes"), |s| {
            let (parked, alarm) = (s.outbox.u32(PARKED), s.outbox.u64(ALARM));
            let mut epoch = 1;
            for_a_while(A_WHILE, || {
                for lie in [now_ns(), 1, now_ns() + 3_600_000_000_000, u64::MAX, u64::MAX - 1, 0] {
                    alarm.store(lie, Relaxed);
                    parked.store(epoch, Release);
                    asks(s);
                    epoch += 2;
                }
            });
        },
        "sleeps, and says that it will wake up by itself now, long ago, in an hour, and at the end of time"),
    session("bell-that-flips", Harmless, |s| {
            let bell = s.outbox.u32(BELL);
            for_a_while(A_WHILE, || {
                (0..1000).for_each(|_| _ = bell.fetch_add(1, Release));
                let _ = futex::wake(bell, Flags::empty(), i32::MAX as u32);
            });
        },
        "changes the word on which main's waiting threads would sleep, millions of times, and wakes whoever sleeps there"),
    session("crowd-on-its-bell", Counted("wakes"), |s| {
            let bell = s.inbox.u32(BELL);
            for _ in 0..200 {
                thread::spawn(move || loop {
                    let _ = futex::wait(bell, Flags::empty(), bell.load(Relaxed), None);
                });
            }
            for turn in 1..200 {
                s.outbox.u32(PARKED).store(turn * 2 + 1, Release);
                asks(s);
            }
        },
        "has 200 threads sleep on the one bell that main rings for it, and has main ring it again and again"),
    session("identity-of-something-else", Harmless, |s| {
            for at in (0..CONSUMED).step_by(8) {
                s.outbox.u64(at).store(u64::MAX, Relaxed);
            }
            s.send("report", b"is somebody else");
        },
        "writes another magic, version and capacity into its control page"),
    session("rings-without-frames", Counted("frames_received"), |s| {
            for_a_while(A_WHILE, || s.ring());
            s.send("number", &77_u64.to_le_bytes());
            for_a_while(A_WHILE, || s.ring());
        },
        "rings main's bell without a pause for 400 ms, and sends one message meanwhile"),
    session("bell-made-blocking-and-full", Harmless, bell_made_blocking_and_full,
        "clears `O_NONBLOCK` on the shared eventfd and fills its counter, so that who writes it stands still"),
    session("bell-drained", Harmless, |s| {
            let event = rustix::io::dup(&s.event).expect("descriptors are left");
            thread::spawn(move || loop {
                let _ = rustix::io::read(&event, &mut [0; 8]);
            });
            (1..300).for_each(|_| asks(s));
        },
        "a second thread reads the shared eventfd empty as often as it is rung, so that main might miss a ring"),
];

/// Invokes, and takes the reply.
fn asks(session: &mut Session) {
    assert!(session.invoke("add", request(1, 0), &[0; 16]));
    session.receive_of(REPLY);
}

/// Takes main's frames for a number of laps.
fn take_laps(session: &mut Session, laps: u64) {
    let until_read = laps * (session.inbox.size() - CONTROL);
    until("main has written so much", || {
        session.receive();
        session.read_position() >= until_read
    });
}

fn consumed_is(session: &Session, lie: u64) {
    session.outbox.u64(CONSUMED).store(lie, Release);
    session.socket.until_hung_up();
}

/// Returns whether main has filled its ring.
fn is_full(session: &Session) -> bool {
    let capacity = session.inbox.size() - CONTROL;
    // Ticks take one cell each, so one of the last cells is in use.
    session.inbox.u64(CONTROL + capacity - 4 * CELL).load(Relaxed) != 0
}

fn bell_made_blocking_and_full(session: &mut Session) {
    let set = |flags| fcntl_setfl(&session.event, flags).expect("it is shared");
    set(OFlags::RDWR | OFlags::NONBLOCK);
    let _ = rustix::io::write(&session.event, &(u64::MAX - 1).to_ne_bytes());
    set(OFlags::RDWR);
    // Its own rings would block now. Main finds the frame at its next look.
    let frame = word(16, SEND, 0, channel("nothing"));
    session.outbox.u64(session.at()).store(frame, Release);
    thread::sleep(A_WHILE);
    set(OFlags::RDWR | OFlags::NONBLOCK);
    session.position += CELL;
    session.send("report", b"was silent");
}
