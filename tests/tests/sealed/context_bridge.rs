//! The channels that a page gets from its renderer, and its pushes.

use tests::prelude::*;

#[test]
fn a_page_gets_what_is_exposed_and_the_policy_allows_and_no_push_is_counted_twice() {
    let stage = Stage::new();
    stage.answer(ADD, |_, [left, right]| Ok(left + right));
    stage.answer(ASK, |_, number| Ok(*number));
    let policy = Policy::deny_all().allow(REPORT).allow(ADD).allow(ASK).allow(CUE).allow(TICK);
    let window = stage.launch(process(exposes_channels_to_a_page, &[]), policy);
    stage.run_until_reported("ready for ticks");
    for tick in 1..=100 {
        window.send(TICK, &tick).unwrap();
    }
    stage.run_until_reported("the bridge is gone");
    window.send(TICK, &101).unwrap();
    stage.run_to_the_end();
    assert_eq!(window.counters().violations, 0);
}

const UNKNOWN: Event<u64> = Event::new("an-event-of-its-own");

const WITH_UNKNOWN: Contract = &[&UNKNOWN, &REPORT, &NUMBER, &ADD, &ASK, &CUE, &TICK];

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a number".to_owned())
}

/// Its policy allows it [`REPORT`], [`ADD`], [`ASK`], [`CUE`] and [`TICK`].
fn exposes_channels_to_a_page(arguments: &Arguments) {
    let ipc = arguments.connect_as(WITH_UNKNOWN, Config::default());
    let mut bridge = ContextBridge::<String>::new(&ipc);

    // What the renderer may not, its page may not.
    let event = |event| Exposed::send(event, |text: String| number(&text));
    assert_eq!(
        bridge.expose_in_main_world(event(NUMBER)),
        Err(ExposeError::Forbidden { channel: "number" })
    );
    assert_eq!(
        bridge.expose_in_main_world(event(UNKNOWN)),
        Err(ExposeError::UnknownChannel { channel: "an-event-of-its-own" })
    );
    assert_eq!(bridge.channels().count(), 0);

    bridge.expose_in_main_world(Exposed::send(REPORT, Ok)).unwrap();
    assert_eq!(
        bridge.expose_in_main_world(Exposed::send(REPORT, Ok)),
        Err(ExposeError::Twice { channel: "report" })
    );
    let sum = |text: String| {
        let (left, right) = text.split_once('+').ok_or("expected a sum")?;
        Ok([number(left)?, number(right)?])
    };
    bridge.expose_in_main_world(Exposed::invoke(ADD, sum, |sum| Ok(sum.to_string()))).unwrap();
    bridge
        .expose_in_main_world(Exposed::invoke(
            ASK,
            |text: String| number(&text),
            |_answer| Err("no text for it".to_owned()),
        ))
        .unwrap();
    bridge.expose_in_main_world(Exposed::on(TICK, u64::to_string)).unwrap();

    // Nor may it do what was not exposed, or in another way.
    let refused =
        |kind, channel: &str| BridgeError::NotExposed { kind, channel: channel.to_owned() };
    let text = String::new;
    for channel in ["number", "add", "tick", "cue", ""] {
        assert_eq!(bridge.send(channel, text()), Err(refused(ChannelKind::Event, channel)));
    }
    for channel in ["report", "tick", "divide"] {
        let invoked = bridge.invoke(channel, text()).map(drop);
        assert_eq!(invoked, Err(refused(ChannelKind::Method, channel)));
    }
    for channel in ["report", "add", "cue"] {
        assert_eq!(bridge.on(channel).map(drop), Err(refused(ChannelKind::Push, channel)));
    }
    assert_eq!(ipc.counters().frames_sent, 0, "main has heard of none of it");

    // What it may, it may.
    let bad = BridgeError::BadValue {
        kind: ChannelKind::Method,
        channel: "add",
        why: "expected a sum".to_owned(),
    };
    assert_eq!(bridge.invoke("add", "2".to_owned()).map(drop), Err(bad));
    let mut ticks = bridge.on("tick").map_err(|error| error.to_string()).unwrap();
    let added = bridge.invoke("add", "2+3".to_owned()).map_err(|error| error.to_string()).unwrap();
    let asked = bridge.invoke("ask", "1".to_owned()).map_err(|error| error.to_string()).unwrap();
    ipc.drive_in_background().unwrap();
    assert_eq!(block_on(added), Ok("5".to_owned()));
    assert_eq!(
        block_on(asked),
        Err(BridgeError::Invoke { channel: "ask", message: "no text for it".to_owned() })
    );
    bridge.send("report", "ready for ticks".to_owned()).unwrap();
    let mut heard = 0;
    let mut newest = text();
    while newest != "100" {
        block_on(ticks.changed());
        let ticks = ticks.take().expect("something has changed");
        heard += ticks.count;
        newest = ticks.value;
    }
    assert_eq!(heard, 100, "each is counted once, whether it was seen or not");

    drop(bridge);
    ipc.report("the bridge is gone");
    eventually("a tick comes that nobody listens to", || ipc.counters().unheard > 0);
}
