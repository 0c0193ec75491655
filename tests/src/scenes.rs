//! Renderers that several test files launch.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

use crate::prelude::*;

/// Asks one time after another, and reports each result. Arguments: TIMES.
pub fn asks(ipc: &Renderer) {
    for number in 0..ipc.number(0) {
        ipc.report(outcome(ipc.invoke(ASK, &number).unwrap().wait()));
    }
}

/// Asks without waiting, and reports all results. Arguments: TIMES.
pub fn asks_all_at_once(ipc: &Renderer) {
    let times = ipc.number(0);
    let results = Notes::new();
    for number in 0..times {
        let notes = results.clone();
        ipc.invoke(ASK, &number).unwrap().then(move |result| notes.add((number, result)));
    }
    ipc.run_until("all answers", || results.len() as u64 == times);
    for (number, result) in results.take() {
        ipc.report(format!("{number}: {}", outcome(result)));
    }
}

/// Asks once, reports the result, and again after main's sign.
pub fn asks_and_stays(ipc: &Renderer) {
    let cues = ipc.cues();
    let first = ipc.invoke(ASK, &1).unwrap();
    cues.wait();
    let second = ipc.invoke(ASK, &2).unwrap();
    ipc.report(outcome(second.wait()));
    ipc.report(outcome(first.wait()));
}

/// Keeps main waiting until it gives up.
pub fn answers_never(ipc: &Renderer) {
    let given_up = Notes::new();
    let (notes, kept) = (given_up.clone(), Notes::new());
    ipc.answer_later(ASK, move |_, _, responder| {
        let notes = notes.clone();
        responder.on_cancel(move || notes.add(()));
        kept.add(responder);
    });
    ipc.report("ready");
    ipc.run_until("main gives up", || !given_up.is_empty());
    ipc.report("main gave up");
}

pub fn stays(ipc: &Renderer) {
    ipc.report("connected");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

pub fn never_connects(_: &Arguments) {
    wait_for_input();
}

/// Connects, and never runs its loop.
pub fn does_not_notice_the_end(ipc: &Renderer) {
    ipc.report("connected");
    wait_for_input();
}

/// Sends without end, and takes nothing that main sends.
pub fn floods(ipc: &Renderer) {
    for number in 0.. {
        ipc.send(NUMBER, &number).unwrap();
    }
}

/// Sends payloads of the largest length, and of one byte more. Arguments: MAX.
pub fn sends_the_largest(ipc: &Renderer) {
    let max = ipc.number(0) as usize;
    let too_large = |channel| SendError::TooLarge { channel, len: max + 1, max };
    let (fits, does_not) = (pattern(max), pattern(max + 1));
    for _ in 0..5 {
        assert_eq!(ipc.send(BYTES, &fits), Ok(()));
        assert_eq!(ipc.send(BYTES, &does_not), Err(too_large("bytes")));
    }
    assert_eq!(ipc.invoke(ECHO, &fits).unwrap().wait(), Ok(fits));
    let invoked = ipc.invoke(ECHO, &does_not).map(drop);
    assert_eq!(invoked, Err(InvokeError::Send(too_large("echo"))));
    assert_eq!(ipc.try_send(BYTES, &does_not), Err(too_large("bytes")));
    let text = "x".repeat(max + 1);
    assert_eq!(ipc.send_all(TEXT, &[text.as_str()]).unwrap_err().source, too_large("text"));
    assert_eq!(ipc.counters().too_large, 8);
    assert_eq!(ipc.invoke(ADD, &[1, 2]).unwrap().wait(), Ok(3));
}

/// Checks that exactly the ticks 0, 1, 2 and so on come. Arguments: COUNT.
pub fn counts_ticks(ipc: &Renderer) {
    let count = ipc.number(0);
    let ticks = ipc.note(TICK, move |event, number| {
        assert_eq!(event.lost(), 0);
        *number
    });
    ipc.run_until("all ticks", || ticks.len() as u64 >= count);
    let ticks = ticks.take();
    assert!(ticks.iter().copied().eq(0..count), "out of order, doubled or lost: {ticks:?}");
    ipc.report(format!("{} ticks", ticks.len()));
}

/// Sends 0, 1, 2 and so on after a sign. Arguments: COUNT.
pub fn sends_numbers_at_a_sign(ipc: &Renderer) {
    ipc.report("ready");
    wait_for_input();
    for number in 0..ipc.number(0) {
        ipc.send(NUMBER, &number).unwrap();
    }
    ipc.report("sent");
    // The rest of a dead session would be delivered at once.
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// Sends 0, 1, 2 and so on. Arguments: COUNT.
pub fn sends_numbers(ipc: &Renderer) {
    for number in 0..ipc.number(0) {
        ipc.send(NUMBER, &number).unwrap();
    }
}

/// Asks main something, and listens until main goes.
pub fn takes_ticks(ipc: &Renderer) {
    ipc.hear(TICK, |_, _| ());
    ipc.invoke(ASK, &1).unwrap().wait().unwrap();
    ipc.report("listens");
    assert!(matches!(ipc.run(), Err(RunError::MainGone)));
}

/// The number that was answered, or the error's text.
pub fn outcome<E: std::error::Error>(result: Result<u64, E>) -> String {
    result.map_or_else(|error| error.to_string(), |number| number.to_string())
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(LIMIT),
        }
    }
}
