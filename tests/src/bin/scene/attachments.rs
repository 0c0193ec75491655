//! Renderers with large payloads.

use std::{
    thread,
    time::{Duration, Instant},
};

use ringbridge::{InvokeError, SendError, zerocopy::IntoBytes};
use tests::{
    contract::{
        BLOB, BYTES, ECHO, NUMBER, PICTURE, PUSHED_PICTURE, PUSHED_WIDE, TICK, WIDE, is_large,
        large, large_wide, seed_of,
    },
    processes::{LIMIT, attachments_of_this_process},
    stage::Notes,
};

use crate::{Cues, Scene, connect, number, report, run_until, wait_for_input};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("sends-large", sends_large),
    ("sends-wide", sends_wide),
    ("hears-wide", hears_wide),
    ("sends-large-until-main-ends", sends_large_until_main_ends),
    ("sends-large-from-threads", sends_large_from_threads),
    ("hears-large", hears_large),
    ("hears-large-late", hears_large_late),
    ("hears-large-of-threads", hears_large_of_threads),
    ("invokes-large", invokes_large),
    ("answers-large", answers_large),
    ("sends-large-inside-a-listener", sends_large_inside_a_listener),
    ("loans-large", loans_large),
    ("hears-a-picture", hears_a_picture),
    ("meets-its-quota", meets_its_quota),
    ("tries-large", tries_large),
    ("is-refused-for-what-main-keeps", is_refused_for_what_main_keeps),
];

/// `sends-large LEN TIMES`: with a number after each.
fn sends_large(arguments: &[String]) {
    let ipc = connect();
    let (len, times) = (number(arguments, 0) as usize, number(arguments, 1));
    for seed in 0..times {
        ipc.send(BYTES, &large(len, seed)).unwrap();
        ipc.send(NUMBER, &seed).unwrap();
    }
    let counters = ipc.counters();
    assert_eq!(counters.attachments_sent, times);
    assert_only_one_is_ahead();
}

/// What was sent is main's affair alone. Memory for one more may be here, and is not filled yet.
fn assert_only_one_is_ahead() {
    let (open, mapped) = attachments_of_this_process();
    assert!(open <= 1 && mapped == 0, "{open} open, {mapped} mapped");
}

/// `sends-wide LEN`
fn sends_wide(arguments: &[String]) {
    let ipc = connect();
    ipc.send(WIDE, &large_wide(number(arguments, 0) as usize, 1)).unwrap();
    assert_eq!(attachments_of_this_process(), (0, 0));
}

/// `hears-wide LEN`
fn hears_wide(arguments: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let (heard, len) = (Notes::new(), number(arguments, 0) as usize);
    let notes = heard.clone();
    ipc.on(PUSHED_WIDE, move |_, wide| notes.add(is_large(wide.as_bytes(), len, 1))).unwrap();
    run_until(&ipc, "it", || !heard.is_empty());
    assert_eq!(heard.take(), [true]);
    report(&ipc, "heard");
    cues.wait();
    assert_eq!(attachments_of_this_process(), (0, 0), "main has let it go, and so has this");
}

/// `sends-large-until-main-ends LEN`
fn sends_large_until_main_ends(arguments: &[String]) {
    let ipc = connect();
    let payload = large(number(arguments, 0) as usize, 0);
    let error = (0..).find_map(|_: u64| ipc.send(BYTES, &payload).err());
    assert!(matches!(error, Some(SendError::Gone { .. })), "{error:?}");
    assert_eq!(attachments_of_this_process(), (0, 0));
}

/// `sends-large-from-threads THREADS LEN TIMES`
fn sends_large_from_threads(arguments: &[String]) {
    let ipc = connect();
    let [threads, len, times] = [0, 1, 2].map(|place| number(arguments, place));
    thread::scope(|scope| {
        for thread in 0..threads {
            let ipc = &ipc;
            scope.spawn(move || {
                for turn in 0..times {
                    let seed = thread << 16 | turn;
                    ipc.send(BYTES, &large((len + seed) as usize, seed)).unwrap();
                }
            });
        }
    });
}

/// `hears-large LEN TIMES`: with a tick after each.
fn hears_large(arguments: &[String]) {
    let ipc = connect();
    hears(&ipc, number(arguments, 0) as usize, number(arguments, 1));
}

/// As `hears-large`, but it looks only after a sign.
fn hears_large_late(arguments: &[String]) {
    let ipc = connect();
    report(&ipc, "connected");
    wait_for_input();
    hears(&ipc, number(arguments, 0) as usize, number(arguments, 1));
}

fn hears(ipc: &ringbridge::IpcRenderer, len: usize, times: u64) {
    let order = Notes::new();
    let cues = Cues::listen(ipc);
    let notes = order.clone();
    ipc.on(BLOB, move |_, bytes| {
        let seed = notes.len() as u64 / 2;
        assert!(is_large(bytes, len, seed), "message {seed} of {} bytes", bytes.len());
        notes.add("blob");
    })
    .unwrap();
    let (notes, answering) = (order.clone(), ipc.clone());
    ipc.on(TICK, move |_, number| {
        notes.add("tick");
        // By now what came before is read and let go.
        answering.send(NUMBER, number).unwrap();
    })
    .unwrap();
    run_until(ipc, "all messages", || order.len() as u64 == 2 * times);
    assert_eq!(order.take(), ["blob", "tick"].repeat(times as usize));
    assert_eq!(ipc.counters().attachments_received, times);
    report(ipc, "heard");
    cues.wait();
    let (open, mapped) = attachments_of_this_process();
    assert_eq!(open, 0, "descriptors are closed once they are mapped");
    report(ipc, format!("{mapped} mapped"));
}

/// `hears-large-of-threads THREADS LEN TIMES`: as they are sent by `sends-large-from-threads`.
fn hears_large_of_threads(arguments: &[String]) {
    let ipc = connect();
    let [threads, len, times] = [0, 1, 2].map(|place| number(arguments, place));
    let seeds = Notes::new();
    let notes = seeds.clone();
    ipc.on(BLOB, move |_, bytes| {
        let seed = seed_of(bytes);
        assert!(is_large(bytes, (len + seed) as usize, seed));
        notes.add(seed);
    })
    .unwrap();
    run_until(&ipc, "all messages", || seeds.len() as u64 == threads * times);
    let seeds = seeds.take();
    for thread in 0..threads {
        let of_thread = seeds.iter().copied().filter(|seed| seed >> 16 == thread);
        assert!(of_thread.eq((0..times).map(|turn| thread << 16 | turn)));
    }
}

/// `invokes-large LEN`: the arguments and the reply; waited for, stored, and beside a driver.
fn invokes_large(arguments: &[String]) {
    let ipc = connect();
    let len = number(arguments, 0) as usize;
    let reply = ipc.invoke(ECHO, &large(len, 1)).unwrap().wait().unwrap();
    assert!(is_large(&reply, len, 1));
    let len = len / 8;
    // Two at once: the first reply that comes is stored until its turn.
    let [first, second] = [2, 3].map(|seed| ipc.invoke(ECHO, &large(len, seed)).unwrap());
    assert!(is_large(&second.wait().unwrap(), len, 3));
    assert!(is_large(&first.wait().unwrap(), len, 2));
    ipc.drive_in_background().unwrap();
    let reply = ipc.invoke(ECHO, &large(len, 4)).unwrap().wait().unwrap();
    assert!(is_large(&reply, len, 4));
    // A reply that nobody takes is let go.
    drop(ipc.invoke(ECHO, &large(len, 5)).unwrap());
    let reply = ipc.invoke(ECHO, &[1, 2, 3]).unwrap().wait();
    assert_eq!(reply, Ok(vec![1, 2, 3]));
}

/// Answers main's invokes with what they bring.
fn answers_large(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    ipc.handle(ECHO, |_, bytes| Ok(bytes.to_vec())).unwrap();
    report(&ipc, "ready");
    cues.wait();
}

/// `sends-large-inside-a-listener LEN`: there nobody else of this process reads for it.
fn sends_large_inside_a_listener(arguments: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let len = number(arguments, 0) as usize;
    let sender = ipc.clone();
    ipc.on(BLOB, move |_, bytes| {
        assert!(is_large(bytes, len, 1));
        sender.send(BYTES, bytes).unwrap();
        // Its own is not touched before this returns.
        assert!(is_large(bytes, len, 1));
    })
    .unwrap();
    report(&ipc, "ready");
    cues.wait();
}

/// Writes a picture in place, in memory that main lends.
fn loans_large(_: &[String]) {
    let ipc = connect();
    drop(ipc.loan(PICTURE).unwrap());
    for turn in 1..=3 {
        let mut picture = ipc.loan(PICTURE).unwrap();
        assert!(picture.as_flattened().iter().all(|pixel| *pixel == 0));
        picture[0][1] = turn;
        picture[1023] = [turn; 1024];
        let held = ipc.send(NUMBER, &1);
        assert_eq!(held, Err(SendError::LoanHeld { channel: "number" }));
        let held = ipc.send(BYTES, &large(1 << 20, 1));
        assert!(matches!(held, Err(SendError::LoanHeld { .. })), "{held:?}");
        picture.send();
    }
    assert_only_one_is_ahead();
    assert_eq!(ipc.counters().attachments_lost, 0);
}

fn hears_a_picture(_: &[String]) {
    let ipc = connect();
    let pictures = Notes::new();
    let notes = pictures.clone();
    ipc.on(PUSHED_PICTURE, move |_, picture| {
        assert!(picture[1..1023].as_flattened().iter().all(|pixel| *pixel == 0));
        notes.add((picture[0][1], picture[1023] == [picture[0][1]; 1024]));
    })
    .unwrap();
    let answering = ipc.clone();
    ipc.on(TICK, move |_, number| answering.send(NUMBER, number).unwrap()).unwrap();
    run_until(&ipc, "three pictures", || pictures.len() == 3);
    assert_eq!(pictures.take(), [(1, true), (2, true), (3, true)]);
}

/// `meets-its-quota LEN`: two of this length are more than it may have on their way, and main does not look until
/// after the sign that this gives.
fn meets_its_quota(arguments: &[String]) {
    let ipc = connect();
    let len = number(arguments, 0) as usize;
    let max = len + len / 2;
    let too_large = ipc.send(BYTES, &large(max + 4096, 0));
    assert_eq!(
        too_large,
        Err(SendError::TooLarge { channel: "bytes", len: max + 4096, max }),
        "what can never be sent is refused with the limit"
    );
    assert_eq!(ipc.send(BYTES, &large(len, 0)), Ok(()));
    // Main works on the first for as long as it takes until this one has timed out.
    let (began, waited) = (Instant::now(), Duration::from_millis(50));
    let timed_out = ipc.send_timeout(BYTES, &large(len, 1), waited);
    assert_eq!(timed_out, Err(SendError::TimedOut { channel: "bytes", waited }));
    assert!(began.elapsed() >= waited);
    println!("{}", serde_json::json!({ "event": "timed-out" }));
    assert_eq!(ipc.send(BYTES, &large(len, 1)), Ok(()));
    assert_eq!(ipc.counters().attachments_sent, 2);
}

/// `tries-large LEN`: a call that does not wait fails until the memory has come.
fn tries_large(arguments: &[String]) {
    let ipc = connect();
    let payload = large(number(arguments, 0) as usize, 0);
    let began = Instant::now();
    while let Err(error) = ipc.try_send(BYTES, &payload) {
        assert_eq!(error, SendError::Full { channel: "bytes" });
        assert!(began.elapsed() < LIMIT);
        thread::yield_now();
    }
}

/// `is-refused-for-what-main-keeps LEN`: replies that main's application has not taken yet.
fn is_refused_for_what_main_keeps(arguments: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let len = number(arguments, 0) as usize;
    ipc.handle(ECHO, move |_, _| Ok(large(len, 1))).unwrap();
    report(&ipc, "ready");
    cues.wait();
    let refused = ipc.send(BYTES, &large(len, 2)).unwrap_err();
    report(&ipc, &refused);
    assert!(matches!(refused, SendError::AttachmentQuota { .. }));
    let refused = ipc.invoke(ECHO, &large(len, 2)).map(drop).unwrap_err();
    assert!(matches!(refused, InvokeError::Send(SendError::AttachmentQuota { .. })));
    cues.wait();
    ipc.send(BYTES, &large(len, 2)).expect("main has taken what it kept");
}
