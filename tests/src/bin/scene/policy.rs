//! Renderers that try what they may not.

use ringbridge::{
    Channel, Config, Contract, Event, InvokeError, IpcRenderer, Method, Push, RegisterError,
    SendError, Topic,
};
use tests::contract::{ADD, ASK, BYTES, CUE, NEWS, NUMBER, REPORT, TEXT, TICK};

use crate::{Cues, Scene, connect, number, report, wait_for_input};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("tries-what-is-forbidden", tries_what_is_forbidden),
    ("may-do-nothing", may_do_nothing),
    ("tries-what-main-does-not-know", tries_what_main_does_not_know),
    ("sends-text-or-a-number", sends_text_or_a_number),
    ("asks-more-than-it-may", asks_more_than_it_may),
];

/// Its policy allows it [`REPORT`] and [`CUE`] only.
fn tries_what_is_forbidden(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let forbidden = |channel| SendError::Forbidden { channel };
    assert_eq!(ipc.send(NUMBER, &1), Err(forbidden("number")));
    assert_eq!(ipc.try_send(BYTES, &[1, 2]), Err(forbidden("bytes")));
    assert_eq!(ipc.loan(NUMBER).map(drop), Err(forbidden("number")));
    assert_eq!(ipc.invoke(ADD, &[1, 2]).map(drop), Err(InvokeError::Send(forbidden("add"))));
    assert_eq!(ipc.counters().forbidden, 4);

    let asked: [&dyn Channel; 6] = [&NUMBER, &ADD, &TICK, &NEWS, &REPORT, &CUE];
    assert_eq!(asked.map(|channel| ipc.allows(channel)), [false, false, false, false, true, true]);
    assert_eq!(ipc.counters().forbidden, 4, "asking is no attempt");

    let refused = |channel| RegisterError::Forbidden { channel };
    assert_eq!(ipc.on(TICK, |_, _| ()), Err(refused("tick")));
    assert_eq!(ipc.once(TICK, |_, _| ()), Err(refused("tick")));
    assert_eq!(ipc.subscribe(NEWS, |_, _| ()), Err(refused("news")));
    assert_eq!(ipc.subscribe_latest(NEWS, |_, _| ()), Err(refused("news")));

    // What it lets main ask of it is its own affair.
    ipc.handle(ASK, |_, number| Ok(number + 1)).unwrap();
    report(&ipc, "tried");
    cues.wait();
}

/// Each kind of channel, under a policy that names none.
fn may_do_nothing(_: &[String]) {
    let ipc = connect();
    for event in [TEXT, REPORT] {
        assert!(matches!(ipc.send(event, ""), Err(SendError::Forbidden { .. })));
    }
    assert!(matches!(ipc.invoke(ADD, &[1, 2]), Err(InvokeError::Send(_))));
    assert!(matches!(ipc.on(CUE, |_, _| ()), Err(RegisterError::Forbidden { .. })));
    assert!(matches!(ipc.subscribe(NEWS, |_, _| ()), Err(RegisterError::Forbidden { .. })));
}

fn tries_what_main_does_not_know(_: &[String]) {
    const EVENT: Event<u64> = Event::new("an-event-of-its-own");
    const METHOD: Method<u64, u64> = Method::new("a-method-of-its-own");
    const PUSH: Push<u64> = Push::new("a-push-of-its-own");
    const TOPIC: Topic<u64> = Topic::new("a-topic-of-its-own");
    const CONTRACT: Contract = &[&EVENT, &METHOD, &REPORT, &PUSH, &TOPIC, &CUE];
    let ipc = IpcRenderer::connect_with(CONTRACT, Config::default()).unwrap();
    assert!(!ipc.allows(&EVENT) && ipc.allows(&REPORT));
    let unknown = |channel| SendError::UnknownChannel { channel };
    assert_eq!(ipc.send(EVENT, &1), Err(unknown("an-event-of-its-own")));
    assert_eq!(
        ipc.invoke(METHOD, &1).map(drop),
        Err(InvokeError::Send(unknown("a-method-of-its-own")))
    );
    // This one main knows, but this renderer did not say that it does.
    assert_eq!(ipc.send(TEXT, ""), Err(unknown("text")));
    assert_eq!(ipc.counters().unknown_channels, 3);

    let refused = |channel| RegisterError::UnknownChannel { channel };
    assert_eq!(ipc.on(PUSH, |_, _| ()), Err(refused("a-push-of-its-own")));
    assert_eq!(ipc.subscribe(TOPIC, |_, _| ()), Err(refused("a-topic-of-its-own")));
    assert_eq!(ipc.handle(METHOD, |_, _| Ok(1)), Err(refused("a-method-of-its-own")));
    report(&ipc, "tried");
}

/// Reports which of the two it may.
fn sends_text_or_a_number(_: &[String]) {
    let ipc = connect();
    report(&ipc, format!("text {}", ipc.send(TEXT, "text").is_ok()));
    report(&ipc, format!("number {}", ipc.send(NUMBER, &1).is_ok()));
}

/// `asks-more-than-it-may MAX`
fn asks_more_than_it_may(arguments: &[String]) {
    let ipc = connect();
    let max = number(arguments, 0);
    let mut pending: Vec<_> =
        (0..max).map(|number| ipc.invoke(ASK, &number).expect("it is below the quota")).collect();
    let refused = ipc.invoke(ASK, &max).map(drop);
    assert_eq!(refused, Err(InvokeError::TooManyPending { channel: "ask", max: max as usize }));
    assert!(refused.unwrap_err().was_not_sent());
    report(&ipc, "refused");
    wait_for_input();
    if let Some(first) = pending.pop() {
        assert_eq!(first.wait(), Ok(max - 1));
        assert_eq!(ipc.invoke(ASK, &max).unwrap().wait(), Ok(max), "its place is free");
    }
    for (number, invocation) in (0..max).zip(pending) {
        assert_eq!(invocation.wait(), Ok(number));
    }
}
