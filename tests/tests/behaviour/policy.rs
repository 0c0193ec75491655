//! The channels that a policy allows, and the channels that a contract lacks.

use tests::prelude::*;

#[test]
fn a_channel_that_the_policy_does_not_name_is_forbidden_in_every_call_by_its_name() {
    let stage = Stage::new();
    let numbers = stage.notes(NUMBER);
    let policy = Policy::deny_all().allow(REPORT).allow(CUE);
    let window = stage.launch(renderer(tries_forbidden_channels, &[]), policy);
    stage.run_until_reported("tried");
    assert!(numbers.is_empty());

    // Main is held to it as well, except for its invokes.
    assert_eq!(window.send(TICK, &1), Err(SendError::Forbidden { channel: "tick" }));
    assert_eq!(window.counters().forbidden, 1);
    assert_eq!(stage.ipc.publish(NEWS, &1), Ok(1));
    assert_eq!(window.invoke(ASK, &1, LIMIT).unwrap().wait(), Ok(2));
    stage.cue_to_the_end(&window);
    assert_eq!(window.counters().violations, 0, "an honest renderer stops its mistakes itself");

    let window = stage.launch(renderer(may_do_nothing, &[]), Policy::deny_all());
    stage.run_to_the_end();
    assert_eq!(window.counters().frames_received, 0);
}

#[test]
fn each_window_has_a_policy_of_its_own() {
    let stage = Stage::new();
    let base = || Policy::deny_all().allow(REPORT);
    let scene: RendererScene = |ipc| {
        ipc.report(format!("text {}", ipc.send(TEXT, "text").is_ok()));
        ipc.report(format!("number {}", ipc.send(NUMBER, &1).is_ok()));
    };
    let launch = |policy| stage.launch(renderer(scene, &[]), policy);
    let (texts, numbers) = (launch(base().allow(TEXT)), launch(base().allow(NUMBER)));
    let both = launch(base().allow_all(&[&TEXT, &NUMBER]));
    stage.run_to_the_end();
    assert_eq!(stage.reports_of(&texts), ["text true", "number false"]);
    assert_eq!(stage.reports_of(&numbers), ["text false", "number true"]);
    assert_eq!(stage.reports_of(&both), ["text true", "number true"]);
}

#[test]
fn a_channel_that_mains_contract_lacks_is_unknown_to_its_renderer_in_every_call() {
    let stage = Stage::new();
    stage.play_process(tries_channels_that_main_lacks, &[]);
    assert_eq!(stage.run_to_the_end(), ["tried"]);
}

#[test]
fn a_channel_that_mains_contract_lacks_is_unknown_to_main_in_every_call() {
    const EVENT: Event<u64> = Event::new("unknown-event");
    const METHOD: Method<u64, u64> = Method::new("unknown-method");
    const PUSH: Push<u64> = Push::new("unknown-push");
    const TOPIC: Topic<u64> = Topic::new("unknown-topic");
    let stage = Stage::new();
    let refused = |channel| RegisterError::UnknownChannel { channel };
    assert_eq!(stage.ipc.on(EVENT, |_, _| ()), Err(refused("unknown-event")));
    assert_eq!(stage.ipc.validate(EVENT, |_, _| Ok(())), Err(refused("unknown-event")));
    assert_eq!(stage.ipc.handle(METHOD, |_, _| Ok(1)), Err(refused("unknown-method")));
    stage.ipc.remove_handler(METHOD);
    stage.ipc.remove_all_listeners_of(EVENT);
    let unknown = |channel| SendError::UnknownChannel { channel };
    assert_eq!(stage.ipc.publish(TOPIC, &1), Err(unknown("unknown-topic")));
    let window = stage.play(stays);
    assert_eq!(window.send(PUSH, &1), Err(unknown("unknown-push")));
    let asked = window.invoke(METHOD, &1, Duration::from_secs(1)).map(drop);
    assert_eq!(asked, Err(unknown("unknown-method").into()));
    assert_eq!(window.counters().unknown_channels, 2);

    let policy = allow_everything().allow(PUSH);
    let launched = stage.ipc.launch(renderer(stays, &[]), policy);
    assert!(matches!(launched, Err(LaunchError::UnknownChannel { channel: "unknown-push" })));
    assert_eq!(stage.ipc.windows().len(), 1);
    stage.run_until_reported("connected");
}

#[test]
fn the_quota_of_pending_invokes_is_the_policys_and_a_settled_one_makes_room() {
    for max in [0, 1, 5] {
        let stage = Stage::new();
        let kept = Notes::new();
        let keep = kept.adding();
        stage.answer_later(ASK, move |_, &number, responder| keep((number, responder)));
        let policy =
            allow_everything().pending_invokes_max(max).on_violation(OnViolation::Disconnect);
        let (window, mut sign) =
            stage.play_ready_with_input(asks_more_than_it_may, &[&max.to_string()], policy);
        stage.run_until("its invokes are pending", || kept.len() == usize::from(max));
        stage.ipc.remove_handler(ASK);
        stage.answer(ASK, |_, number| Ok(*number));
        kept.take().into_iter().for_each(|(number, responder)| _ = responder.reply(&number));
        sign.write_all(b".").unwrap();
        stage.run_to_the_end();
        assert_eq!(window.counters().violations, 0);
    }
}

/// Its policy allows it [`REPORT`] and [`CUE`] only.
fn tries_forbidden_channels(ipc: &Renderer) {
    let forbidden = |channel| SendError::Forbidden { channel };
    assert_eq!(ipc.send(NUMBER, &1), Err(forbidden("number")));
    assert_eq!(ipc.try_send(BYTES, &[1, 2]), Err(forbidden("bytes")));
    assert_eq!(ipc.loan(NUMBER).map(drop), Err(forbidden("number")));
    assert_eq!(ipc.invoke(ADD, &[1, 2]).map(drop), Err(InvokeError::Send(forbidden("add"))));
    assert_eq!(ipc.counters().forbidden, 4);

    let asked: [&dyn Channel; 6] = [&NUMBER, &ADD, &TICK, &NEWS, &REPORT, &CUE];
    assert_eq!(asked.map(|channel| ipc.allows(channel)), [false, false, false, false, true, true]);
    assert_eq!(ipc.counters().forbidden, 4, "a query is no attempt");

    let refused = |channel| RegisterError::Forbidden { channel };
    assert_eq!(ipc.on(TICK, |_, _| ()), Err(refused("tick")));
    assert_eq!(ipc.once(TICK, |_, _| ()), Err(refused("tick")));
    assert_eq!(ipc.subscribe(NEWS, |_, _| ()), Err(refused("news")));
    assert_eq!(ipc.subscribe_latest(NEWS, |_, _| ()), Err(refused("news")));

    // The renderer itself decides which invokes of main it answers.
    ipc.answer(ASK, |_, number| Ok(number + 1));
    ipc.wait_for_cue("tried");
}

/// Each kind of channel, under a policy that names none.
fn may_do_nothing(ipc: &Renderer) {
    for event in [TEXT, REPORT] {
        assert!(matches!(ipc.send(event, ""), Err(SendError::Forbidden { .. })));
    }
    assert!(matches!(ipc.invoke(ADD, &[1, 2]), Err(InvokeError::Send(_))));
    assert!(matches!(ipc.on(CUE, |_, _| ()), Err(RegisterError::Forbidden { .. })));
    assert!(matches!(ipc.subscribe(NEWS, |_, _| ()), Err(RegisterError::Forbidden { .. })));
}

fn tries_channels_that_main_lacks(arguments: &Arguments) {
    const EVENT: Event<u64> = Event::new("own-event");
    const METHOD: Method<u64, u64> = Method::new("own-method");
    const PUSH: Push<u64> = Push::new("own-push");
    const TOPIC: Topic<u64> = Topic::new("own-topic");
    const CONTRACT: Contract = &[&EVENT, &METHOD, &REPORT, &PUSH, &TOPIC, &CUE];
    let ipc = arguments.connect_as(CONTRACT, Config::default());
    assert!(!ipc.allows(&EVENT) && ipc.allows(&REPORT));
    let unknown = |channel| SendError::UnknownChannel { channel };
    assert_eq!(ipc.send(EVENT, &1), Err(unknown("own-event")));
    assert_eq!(ipc.invoke(METHOD, &1).map(drop), Err(InvokeError::Send(unknown("own-method"))));
    // Main knows this one, but this renderer's contract does not have it.
    assert_eq!(ipc.send(TEXT, ""), Err(unknown("text")));
    assert_eq!(ipc.counters().unknown_channels, 3);

    let refused = |channel| RegisterError::UnknownChannel { channel };
    assert_eq!(ipc.on(PUSH, |_, _| ()), Err(refused("own-push")));
    assert_eq!(ipc.subscribe(TOPIC, |_, _| ()), Err(refused("own-topic")));
    assert_eq!(ipc.handle(METHOD, |_, _| Ok(1)), Err(refused("own-method")));
    ipc.report("tried");
}

/// Arguments: MAX.
fn asks_more_than_it_may(ipc: &Renderer) {
    let max = ipc.number(0);
    let mut pending: Vec<_> =
        (0..max).map(|number| ipc.invoke(ASK, &number).expect("it is below the quota")).collect();
    let refused = ipc.invoke(ASK, &max).map(drop).unwrap_err();
    assert_eq!(refused, InvokeError::TooManyPending { channel: "ask", max: max as usize });
    assert!(refused.was_not_sent());
    ipc.report("refused");
    wait_for_input();
    if let Some(last) = pending.pop() {
        assert_eq!(last.wait(), Ok(max - 1));
        assert_eq!(ipc.ask(ASK, &max), Ok(max), "its place is free");
    }
    for (number, invocation) in (0..).zip(pending) {
        assert_eq!(invocation.wait(), Ok(number));
    }
}
