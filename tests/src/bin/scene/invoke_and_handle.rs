//! Renderers that invoke, and that main invokes.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use ringbridge::{
    DecodeError, EncodeError, Event, Failure, InvokeError, IpcRenderer, Method, Payload,
};
use tests::{
    contract::{
        ADD, ASK, CUE, DIVIDE, DivideError, ECHO, FLAG, MERGE, NEGATE, READ, pattern, settings,
    },
    processes::LIMIT,
    stage::Notes,
};

use crate::{Cues, Scene, connect, number, report, run_until};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("invokes-every-kind-of-payload", invokes_every_kind_of_payload),
    ("asks", asks),
    ("asks-all-at-once", asks_all_at_once),
    ("asks-and-stays", asks_and_stays),
    ("asks-with-deadlines", asks_with_deadlines),
    ("asks-and-gives-up", asks_and_gives_up),
    ("asks-and-looks-now-and-then", asks_and_looks_now_and_then),
    ("asks-from-inside-a-listener", asks_from_inside_a_listener),
    ("asks-in-the-background", asks_in_the_background),
    ("asks-from-several-threads", asks_from_several_threads),
    ("divides", divides),
    ("lies-about-a-bool", lies_about_a_bool),
    ("answers", answers),
    ("answers-never", answers_never),
    ("answers-later", answers_later),
];

fn invokes_every_kind_of_payload(_: &[String]) {
    let ipc = connect();
    assert_eq!(ipc.invoke(ADD, &[2, 3]).unwrap().wait(), Ok(5));
    for len in [0, 48, 49, 1024, 65_536] {
        assert_eq!(ipc.invoke(ECHO, &pattern(len)).unwrap().wait(), Ok(pattern(len)));
    }
    assert_eq!(ipc.invoke(READ, "a/path").unwrap().wait().as_deref(), Ok("the text of a/path"));
    assert_eq!(ipc.invoke(MERGE, &settings()).unwrap().wait(), Ok(settings()));
}

/// `asks TIMES`: one after the other, and reports each result.
fn asks(arguments: &[String]) {
    let ipc = connect();
    for number in 0..number(arguments, 0) {
        report(&ipc, outcome(ipc.invoke(ASK, &number).unwrap().wait()));
    }
}

/// `asks-all-at-once TIMES`: reports each result when it comes.
fn asks_all_at_once(arguments: &[String]) {
    let ipc = connect();
    ask_all_at_once(&ipc, number(arguments, 0));
}

fn ask_all_at_once(ipc: &IpcRenderer, times: u64) {
    let results = Notes::new();
    for number in 0..times {
        let notes = results.clone();
        ipc.invoke(ASK, &number).unwrap().then(move |result| notes.add((number, result)));
    }
    run_until(ipc, "all answers", || results.len() as u64 == times);
    for (number, result) in results.take() {
        report(ipc, format!("{number}: {}", outcome(result)));
    }
}

/// Asks once, reports the result, and again after main's sign.
fn asks_and_stays(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let first = ipc.invoke(ASK, &1).unwrap();
    cues.wait();
    let second = ipc.invoke(ASK, &2).unwrap();
    report(&ipc, outcome(second.wait()));
    report(&ipc, outcome(first.wait()));
}

fn asks_with_deadlines(_: &[String]) {
    let ipc = connect();
    for timeout in [Some(Duration::from_millis(500)), Some(Duration::from_secs(3600)), None] {
        assert_eq!(ipc.invoke_with(ASK, &0, timeout).unwrap().wait(), Ok(0));
    }
    let in_vain = ipc.invoke_with(ASK, &1, Some(Duration::from_millis(50))).unwrap().wait();
    report(&ipc, outcome(in_vain));
    assert_eq!(ipc.invoke(ASK, &0).unwrap().wait(), Ok(0), "the next one is not disturbed");
    assert_eq!(ipc.counters().timed_out, 1);
}

/// Drops an invocation when main has it, and stays until main has seen that.
fn asks_and_gives_up(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let given_up = ipc.invoke(ASK, &1).unwrap();
    cues.wait();
    drop(given_up);
    cues.wait();
}

fn asks_and_looks_now_and_then(_: &[String]) {
    let ipc = connect();
    let mut asked = ipc.invoke(ASK, &1).unwrap();
    let mut looks = 0;
    let result = loop {
        match asked.wait_timeout(Duration::from_millis(20)) {
            Ok(result) => break result,
            Err(still_under_way) => asked = still_under_way,
        }
        looks += 1;
        if looks == 2 {
            report(&ipc, "looked twice");
        }
    };
    assert!(looks >= 2);
    report(&ipc, outcome(result));
}

fn asks_from_inside_a_listener(_: &[String]) {
    let ipc = connect();
    let results = Notes::new();
    let (inside, notes) = (ipc.clone(), results.clone());
    ipc.on(CUE, move |_, _| {
        notes.add(outcome(inside.invoke(ASK, &1).unwrap().wait()));
        let polled = inside.poll().expect_err("the loop runs this listener");
        notes.add(polled.to_string());
        let notes = notes.clone();
        inside.invoke(ASK, &2).unwrap().then(move |result| notes.add(outcome(result)));
    })
    .unwrap();
    run_until(&ipc, "three results", || results.len() == 3);
    for result in results.take() {
        report(&ipc, result);
    }
}

/// Awaits invocations while another thread drives.
fn asks_in_the_background(_: &[String]) {
    let ipc = connect();
    ipc.drive_in_background().unwrap();
    let sum = block_on(async {
        let mut sum = 0;
        for number in 0..100 {
            sum += ipc.invoke(ASK, &number).unwrap().await.unwrap();
        }
        sum
    });
    assert_eq!(sum, 4950);
    // Beside the driver one can also wait in the plain way.
    assert_eq!(ipc.invoke(ASK, &7).unwrap().wait(), Ok(7));
}

/// `asks-from-several-threads THREADS TIMES`
fn asks_from_several_threads(arguments: &[String]) {
    let ipc = connect();
    let times = number(arguments, 1);
    thread::scope(|scope| {
        for thread in 0..number(arguments, 0) {
            let ipc = &ipc;
            scope.spawn(move || {
                for number in 0..times {
                    let asked = thread * times + number;
                    assert_eq!(ipc.invoke(ASK, &asked).unwrap().wait(), Ok(asked));
                }
            });
        }
    });
    let counters = ipc.counters();
    assert_eq!((counters.stale_replies, counters.timed_out), (0, 0));
}

fn divides(_: &[String]) {
    let ipc = connect();
    assert_eq!(ipc.invoke(DIVIDE, &[7, 2]).unwrap().wait(), Ok(3));
    for (arguments, expected) in
        [([1, 0], DivideError::ByZero), ([i64::MIN, -1], DivideError::Overflow)]
    {
        let error = ipc.invoke(DIVIDE, &arguments).unwrap().wait().unwrap_err();
        report(&ipc, &error);
        assert_eq!(error, InvokeError::Handler { channel: "divide", error: expected });
    }
}

/// Bytes that pretend to be a `bool`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lie<const LEN: usize>;

impl<const LEN: usize> Payload for Lie<LEN> {
    type Owned = Self;

    fn schema() -> String {
        "bool".to_owned()
    }

    fn encode<R>(&self, put: impl FnOnce(&[u8]) -> R) -> Result<R, EncodeError> {
        Ok(put(&[2; LEN]))
    }

    fn decode<R>(_: &[u8], take: impl FnOnce(&Self) -> R) -> Result<R, DecodeError> {
        Ok(take(&Self))
    }

    fn decode_owned(_: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

fn lies_about_a_bool(_: &[String]) {
    // By name and schema these are the test's channels `flag` and `negate`.
    const INVALID: Event<Lie<1>> = Event::new("flag");
    const TOO_LONG: Event<Lie<9>> = Event::new("flag");
    let ipc = connect();
    ipc.send(INVALID, &Lie).unwrap();
    ipc.send(TOO_LONG, &Lie).unwrap();
    ipc.send(FLAG, &true).unwrap();

    const NEGATE_INVALID: Method<Lie<1>, bool> = Method::new("negate");
    const NEGATE_NOTHING: Method<Lie<0>, bool> = Method::new("negate");
    report(&ipc, ipc.invoke(NEGATE_INVALID, &Lie).unwrap().wait().unwrap_err());
    report(&ipc, ipc.invoke(NEGATE_NOTHING, &Lie).unwrap().wait().unwrap_err());
    assert_eq!(ipc.invoke(NEGATE, &true).unwrap().wait(), Ok(false));
}

/// Handles main's invokes in each of the ways that there are, until main's sign.
fn answers(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    ipc.handle(ADD, |_, [left, right]| Ok(left + right)).unwrap();
    assert!(ipc.handle(ADD, |_, _| Ok(0)).is_err());
    ipc.handle(READ, |_, path| Err(Failure::new(format!("no file {path}")))).unwrap();
    ipc.handle_deferred(ASK, |event, number, responder| {
        assert!(event.timeout().is_some(), "main always gives a deadline");
        let number = *number;
        thread::spawn(move || responder.reply(&(number * 2)));
    })
    .unwrap();
    ipc.handle_async(ECHO, |_, bytes| async move { Ok(bytes) }).unwrap();
    ipc.handle(DIVIDE, |_, [left, right]| left.checked_div(*right).ok_or(DivideError::ByZero))
        .unwrap();
    report(&ipc, "ready");
    cues.wait();
}

/// Keeps main waiting until it gives up.
fn answers_never(_: &[String]) {
    let ipc = connect();
    let given_up = Notes::new();
    let (notes, kept) = (given_up.clone(), Notes::new());
    ipc.handle_deferred(ASK, move |_, _, responder| {
        let notes = notes.clone();
        responder.on_cancel(move || notes.add(()));
        kept.add(responder);
    })
    .unwrap();
    report(&ipc, "ready");
    run_until(&ipc, "main gives up", || !given_up.is_empty());
    report(&ipc, "main gave up");
}

/// Answers while its own loop is driven by a waiting invocation.
fn answers_later(_: &[String]) {
    let ipc = connect();
    let (sender, receiver) = mpsc::channel();
    ipc.handle(ADD, move |_, [left, right]| {
        sender.send(()).unwrap();
        Ok(left + right)
    })
    .unwrap();
    // Main answers this only after it has got an answer of ours.
    assert_eq!(ipc.invoke(ASK, &20).unwrap().wait(), Ok(42));
    receiver.recv_timeout(LIMIT).expect("it was handled before");
}

fn outcome<E: std::error::Error>(result: Result<u64, E>) -> String {
    match result {
        Ok(number) => number.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
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
