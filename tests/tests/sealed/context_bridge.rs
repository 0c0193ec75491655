//! The channels that a page gets from its renderer, and its pushes.

use tests::prelude::*;

#[test]
fn a_page_gets_exposed_channels_that_the_policy_allows_and_no_push_is_counted_twice() {
    let stage = Stage::new();
    stage.answer_all();
    let policy = Policy::deny_all().allow(REPORT).allow(ADD).allow(ASK).allow(CUE).allow(TICK);
    let window = stage.launch(process(exposes_channels_to_a_page, &[]), policy);
    stage.run_until_reported("ready for ticks");
    (1..=100).for_each(|tick| window.send(TICK, &tick).unwrap());
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

    // A channel that the renderer may not use is not exposed.
    let event = |event| Exposed::send(event, |text: String| number(&text));
    let refused = bridge.expose_in_main_world(event(NUMBER));
    assert_eq!(refused, Err(ExposeError::Forbidden { channel: "number" }));
    let refused = bridge.expose_in_main_world(event(UNKNOWN));
    assert_eq!(refused, Err(ExposeError::UnknownChannel { channel: "an-event-of-its-own" }));
    assert_eq!(bridge.channels().count(), 0);

    bridge.expose_in_main_world(Exposed::send(REPORT, Ok)).unwrap();
    let refused = bridge.expose_in_main_world(Exposed::send(REPORT, Ok));
    assert_eq!(refused, Err(ExposeError::Twice { channel: "report" }));
    let sum = |text: String| {
        let (left, right) = text.split_once('+').ok_or("expected a sum")?;
        Ok([number(left)?, number(right)?])
    };
    bridge.expose_in_main_world(Exposed::invoke(ADD, sum, |sum| Ok(sum.to_string()))).unwrap();
    let no_text = |_: u64| Err("no text for it".to_owned());
    let ask = Exposed::invoke(ASK, |text: String| number(&text), no_text);
    bridge.expose_in_main_world(ask).unwrap();
    bridge.expose_in_main_world(Exposed::on(TICK, u64::to_string)).unwrap();

    // Neither may the page use another channel, nor one of these in another way.
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
    assert_eq!(ipc.counters().frames_sent, 0, "nothing of it was sent to main");

    let why = "expected a sum".to_owned();
    let bad = BridgeError::BadValue { kind: ChannelKind::Method, channel: "add", why };
    assert_eq!(bridge.invoke("add", "2".to_owned()).map(drop), Err(bad));
    let Ok(mut ticks) = bridge.on("tick") else { panic!("it is exposed") };
    let Ok(added) = bridge.invoke("add", "2+3".to_owned()) else { panic!("it is exposed") };
    let Ok(asked) = bridge.invoke("ask", "1".to_owned()) else { panic!("it is exposed") };
    ipc.drive_in_background().unwrap();
    assert_eq!(block_on(added), Ok("5".to_owned()));
    let message = "no text for it".to_owned();
    assert_eq!(block_on(asked), Err(BridgeError::Invoke { channel: "ask", message }));
    bridge.send("report", "ready for ticks".to_owned()).unwrap();
    let (mut heard, mut newest) = (0, text());
    while newest != "100" {
        block_on(ticks.changed());
        let ticks = ticks.take().expect("something has changed");
        heard += ticks.count;
        newest = ticks.value;
    }
    assert_eq!(heard, 100, "each is counted once, whether it was seen or not");

    drop(bridge);
    ipc.report("the bridge is gone");
    eventually("a tick comes for which there is no listener", || ipc.counters().unheard > 0);
}
