//! Renderers that send.

use std::{
    borrow::Borrow,
    panic::{self, AssertUnwindSafe},
    process, thread,
};

use ringbridge::{Dynamic, SendAllError, SendError};
use tests::contract::{
    ADD, BYTES, NOTHING, NUMBER, NUMBERED, Numbered, READING, READINGS, SETTINGS, TEXT, TICK,
    pattern, readings, settings,
};

use crate::{Cues, Scene, connect, number, report, run_until};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("sends-numbers", sends_numbers),
    ("sends-numbers-on-cue", sends_numbers_on_cue),
    ("sends-numbers-all-at-once", sends_numbers_all_at_once),
    ("panics-amid-batches", panics_amid_batches),
    ("sends-every-kind-of-payload", sends_every_kind_of_payload),
    ("mixes-sends-and-invokes", mixes_sends_and_invokes),
    ("sends-from-several-threads", sends_from_several_threads),
    ("greets", greets),
    ("lends-itself-room", lends_itself_room),
];

/// `sends-numbers COUNT`: 0, 1, 2 and so on.
fn sends_numbers(arguments: &[String]) {
    let ipc = connect();
    for number in 0..number(arguments, 0) {
        ipc.send(NUMBER, &number).unwrap();
    }
}

/// `sends-numbers-on-cue COUNT`: one for each cue, with a text in between.
fn sends_numbers_on_cue(arguments: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    for number in 0..number(arguments, 0) {
        cues.wait();
        ipc.send(NUMBER, &number).unwrap();
        report(&ipc, number);
    }
}

/// `sends-numbers-all-at-once COUNT`: 0, 1, 2 and so on, in one call.
fn sends_numbers_all_at_once(arguments: &[String]) {
    let ipc = connect();
    let numbers: Vec<u64> = (0..number(arguments, 0)).collect();
    ipc.send_all(NUMBER, &numbers).unwrap();
    ipc.send_all::<u64>(NUMBER, &[] as &[u64]).unwrap();
    ipc.send_all(TEXT, &["and", "texts"]).unwrap();
}

/// `panics-amid-batches COUNT`: 0 and 1 for each cue, and then a panic in the same call.
fn panics_amid_batches(arguments: &[String]) {
    struct Fuse(u64);
    impl Borrow<u64> for Fuse {
        fn borrow(&self) -> &u64 {
            assert!(self.0 < 2, "the application's own code");
            &self.0
        }
    }
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    for _ in 0..number(arguments, 0) {
        cues.wait();
        let batch = || ipc.send_all(NUMBER, &[Fuse(0), Fuse(1), Fuse(2), Fuse(3)]);
        assert!(panic::catch_unwind(AssertUnwindSafe(batch)).is_err());
    }
    // Its end would wake main as well.
    cues.wait();
}

fn sends_every_kind_of_payload(_: &[String]) {
    let ipc = connect();
    ipc.send(NOTHING, &()).unwrap();
    for text in ["", "plain", "grüße, 世界"] {
        ipc.send(TEXT, text).unwrap();
    }
    ipc.send(NUMBER, &u64::MAX).unwrap();
    ipc.send(READING, &readings()[1]).unwrap();
    ipc.send(READINGS, &readings()).unwrap();
    ipc.send(READINGS, &[]).unwrap();
    // Around what fits a cache line, around several of them, and long.
    for len in [0, 1, 47, 48, 49, 112, 113, 1000, 65_536] {
        ipc.send(BYTES, &pattern(len)).unwrap();
    }
    ipc.send(SETTINGS, &settings()).unwrap();
    ipc.send(SETTINGS, &Dynamic::default()).unwrap();
}

/// `mixes-sends-and-invokes COUNT SEED`
fn mixes_sends_and_invokes(arguments: &[String]) {
    let ipc = connect();
    let mut random = number(arguments, 1);
    let mut invocations = Vec::new();
    for number in 0..number(arguments, 0) {
        // Marsaglia's xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random.is_multiple_of(2) {
            ipc.send(NUMBER, &number).unwrap();
        } else {
            invocations.push((number, ipc.invoke(ADD, &[number, 1]).unwrap()));
        }
        if invocations.len() == 100 {
            for (number, invocation) in invocations.drain(..) {
                assert_eq!(invocation.wait(), Ok(number + 1));
            }
        }
    }
    for (number, invocation) in invocations {
        assert_eq!(invocation.wait(), Ok(number + 1));
    }
}

/// `sends-from-several-threads THREADS COUNT`
fn sends_from_several_threads(arguments: &[String]) {
    let ipc = connect();
    let count = number(arguments, 1);
    thread::scope(|scope| {
        for sender in 0..number(arguments, 0) {
            let ipc = &ipc;
            scope.spawn(move || {
                for number in 0..count {
                    ipc.send(NUMBERED, &Numbered { sender, number }).unwrap();
                }
            });
        }
    });
}

/// Says its process id, and waits for the answer that is meant for it.
fn greets(_: &[String]) {
    let ipc = connect();
    let answers = tests::stage::Notes::new();
    let notes = answers.clone();
    ipc.on(TICK, move |_, number| notes.add(*number)).unwrap();
    ipc.send(NUMBER, &u64::from(process::id())).unwrap();
    run_until(&ipc, "the answer", || !answers.is_empty());
    report(&ipc, format!("window {}: {:?}", ipc.id(), answers.take()));
}

fn lends_itself_room(_: &[String]) {
    let ipc = connect();

    let mut loan = ipc.loan(NUMBERED).unwrap();
    assert_eq!(*loan, Numbered { sender: 0, number: 0 }, "a loan starts as zeroes");
    loan.sender = 1;
    loan.number = 1;
    loan.send();

    let mut dropped = ipc.loan(NUMBERED).unwrap();
    dropped.number = 2;
    drop(dropped);

    let mut held = ipc.loan(NUMBERED).unwrap();
    let refused = ipc.send(NUMBERED, &Numbered { sender: 1, number: 0 });
    assert_eq!(refused, Err(SendError::LoanHeld { channel: "numbered" }));
    assert!(matches!(ipc.loan(NUMBERED).map(drop), Err(SendError::LoanHeld { .. })));
    let refused = ipc.send_all(NUMBERED, &[Numbered { sender: 1, number: 0 }]);
    let source = SendError::LoanHeld { channel: "numbered" };
    assert_eq!(refused, Err(SendAllError { sent: 0, source }));
    assert!(ipc.invoke(ADD, &[1, 2]).is_err());
    held.sender = 1;
    held.number = 3;
    thread::scope(|scope| {
        // Another thread has to wait for the loan's end, and then gets through.
        let other = scope.spawn(|| ipc.send(NUMBERED, &Numbered { sender: 2, number: 4 }));
        held.send();
        assert_eq!(other.join().unwrap(), Ok(()));
    });
    ipc.send(NUMBERED, &Numbered { sender: 1, number: 5 }).unwrap();
}
