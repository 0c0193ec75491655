//! Renderers at the limits of rings and tables.

use std::{
    fs,
    time::{Duration, Instant},
};

use ringbridge::{Config, ConnectError, InvokeError, IpcRenderer, SendError};
use rustix::{
    param::page_size,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use serde_json::json;
use tests::{
    contract::{ADD, ASK, BLOB, BYTES, CONTRACT, ECHO, NUMBER, NUMBERED, Numbered, TICK, pattern},
    stage::Notes,
};

use crate::{Cues, Scene, connect, number, report, run_until, wait_for_input};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("listens-late", listens_late),
    ("fills-its-ring", fills_its_ring),
    ("sends-the-largest", sends_the_largest),
    ("asks-for-too-much", asks_for_too_much),
    ("reads-its-replies-late", reads_its_replies_late),
    ("gives-up-what-it-asks", gives_up_what_it_asks),
    ("does-a-bit-of-everything", does_a_bit_of_everything),
    ("has-no-memory-for-a-thread", has_no_memory_for_a_thread),
];

/// Connects, and runs its loop only after a sign. Then it reports which ticks had come until the cue.
fn listens_late(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let ticks = Notes::new();
    let notes = ticks.clone();
    ipc.on(TICK, move |_, number| notes.add(*number)).unwrap();
    ipc.on(BLOB, |_, bytes| assert_eq!(bytes, pattern(bytes.len()))).unwrap();
    report(&ipc, "connected");
    wait_for_input();
    cues.wait();
    let ticks = ticks.take();
    assert!(ticks.iter().copied().eq(0..ticks.len() as u64), "{ticks:?}");
    report(&ipc, format!("{} ticks", ticks.len()));
}

/// Sends until nothing fits any more; main does not look meanwhile.
fn fills_its_ring(_: &[String]) {
    let ipc = connect();
    report(&ipc, "connected");
    wait_for_input();
    let mut sent = 0;
    let full = loop {
        match ipc.try_send(NUMBER, &sent) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, SendError::Full { channel: "number" });

    let (began, waited) = (Instant::now(), Duration::from_millis(50));
    let timed_out = ipc.send_timeout(NUMBER, &sent, waited);
    assert_eq!(timed_out, Err(SendError::TimedOut { channel: "number", waited }));
    assert!(began.elapsed() >= waited);
    // An invoke's own deadline counts, which is shorter than what a send would wait.
    let began = Instant::now();
    let invoked = ipc.invoke_with(ADD, &[1, 2], Some(waited)).map(drop);
    assert!(began.elapsed() < Config::default().send_timeout / 2);
    println!("{}", json!({ "event": "full", "sent": sent, "invoked": format!("{invoked:?}") }));
    // Only now main begins to look.
    ipc.send(NUMBER, &sent).unwrap();
    let counters = ipc.counters();
    assert!(counters.full >= 2 && counters.stalls >= 3, "{counters:?}");
}

/// `sends-the-largest MAX`: exactly so much, and one byte more.
fn sends_the_largest(arguments: &[String]) {
    let ipc = connect();
    let max = number(arguments, 0) as usize;
    let too_large = |channel| SendError::TooLarge { channel, len: max + 1, max };
    let (fits, does_not) = (pattern(max), pattern(max + 1));
    for _ in 0..5 {
        assert_eq!(ipc.send(BYTES, &fits), Ok(()));
        assert_eq!(ipc.send(BYTES, &does_not), Err(too_large("bytes")));
    }
    assert_eq!(ipc.invoke(ECHO, &fits).unwrap().wait(), Ok(fits));
    let invoked = ipc.invoke(ECHO, &does_not).map(drop);
    assert_eq!(invoked, Err(InvokeError::Send(too_large("echo"))));
    assert_eq!(ipc.counters().too_large, 6);
    assert_eq!(ipc.invoke(ADD, &[1, 2]).unwrap().wait(), Ok(3));
}

/// `asks-for-too-much LEN`: its own message fits, main's reply does not.
fn asks_for_too_much(arguments: &[String]) {
    let ipc = connect();
    let asked = ipc.invoke(ECHO, &pattern(number(arguments, 0) as usize)).unwrap();
    report(&ipc, asked.wait().unwrap_err());
    assert_eq!(ipc.invoke(ECHO, &[1, 2, 3]).unwrap().wait(), Ok(vec![1, 2, 3]));
}

/// `reads-its-replies-late TIMES LEN`: asks for more than its inbox holds, and looks after a sign.
fn reads_its_replies_late(arguments: &[String]) {
    let ipc = connect();
    let (times, len) = (number(arguments, 0), number(arguments, 1));
    let order = Notes::new();
    for number in 0..times {
        let mut bytes = pattern(len as usize);
        bytes[0] = number as u8;
        let notes = order.clone();
        ipc.invoke(ECHO, &bytes).unwrap().then(move |reply| {
            notes.add((number, reply.map(|reply| reply == bytes)));
        });
    }
    wait_for_input();
    run_until(&ipc, "all replies", || order.len() as u64 == times);
    let (mut answered, mut failed) = (0, 0);
    for (number, reply) in order.take() {
        match reply {
            Ok(is_the_same) => {
                assert!(is_the_same);
                assert_eq!(number, answered, "replies come in the order in which they were sent");
                answered += 1;
            }
            Err(InvokeError::ReplyFailed { why, .. }) => {
                assert!(why.contains("too slowly"), "{why}");
                failed += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    report(&ipc, format!("{answered} answered, {failed} failed"));
}

/// `gives-up-what-it-asks TIMES`: one after the other, without ever looking at its inbox.
fn gives_up_what_it_asks(arguments: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    ipc.on(TICK, |_, _| ()).unwrap();
    report(&ipc, "connected");
    wait_for_input();
    for number in 0..number(arguments, 0) {
        drop(ipc.invoke(ASK, &number).expect("each place is free again"));
    }
    report(&ipc, "given up");
    wait_for_input();
    cues.wait();
    assert_eq!(ipc.invoke(ASK, &7).unwrap().wait(), Ok(7), "all is well again");
}

/// One of a crowd.
fn does_a_bit_of_everything(_: &[String]) {
    let ipc = connect();
    let ticks = Notes::new();
    let notes = ticks.clone();
    ipc.on(TICK, move |_, number| notes.add(*number)).unwrap();
    let sender = u64::from(ipc.id());
    for number in 0..50 {
        ipc.send(NUMBERED, &Numbered { sender, number }).unwrap();
        if number.is_multiple_of(5) {
            assert_eq!(ipc.invoke(ADD, &[sender, number]).unwrap().wait(), Ok(sender + number));
        }
    }
    run_until(&ipc, "twenty ticks", || ticks.len() == 20);
    assert!(ticks.take().into_iter().eq((0..20).map(|number| sender * 100 + number)));
}

/// May map what a session takes, and not the stack of the thread that would see main's end.
fn has_no_memory_for_a_thread(_: &[String]) {
    let sizes = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = sizes.split_whitespace().next().unwrap().parse().unwrap();
    let enough = pages * page_size() as u64 + 1536 * 1024;
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current: Some(enough), maximum }).unwrap();
    let connected = IpcRenderer::connect(CONTRACT);
    assert!(matches!(connected, Err(ConnectError::Io(_))), "{connected:?}");
}
