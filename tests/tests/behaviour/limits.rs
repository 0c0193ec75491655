//! Full rings, messages that are too large, full tables, and many renderers at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::prelude::*;

/// The longest payload in a ring of 4096 bytes: half of it, less a cell and the header.
const LARGEST: usize = 4096 / 2 - 64 - 16;

fn small_rings() -> Config {
    Config {
        main_capacity: 4096,
        renderer_capacity: 4096,
        topic_capacity: 4096,
        attachment_max: 0,
        ..config()
    }
}

/// A renderer that has connected, and runs its loop only after a byte of input.
fn deaf_renderer(stage: &Stage) -> (WebContents, impl Write + use<>) {
    stage.play_ready_with_input(listens_late, &[], allow_everything())
}

#[test]
fn a_full_ring_of_main_fails_at_once_or_times_out_or_makes_wait_and_no_message_is_lost_or_doubled()
{
    let stage = Stage::with(small_rings());
    let (window, mut sign) = deaf_renderer(&stage);

    let (sent, full) = until_error(|number| window.try_send(TICK, &number));
    assert_eq!(full, SendError::Full { channel: "tick" });
    assert!(sent > 4096 / 64 / 2, "only {sent} fitted");

    let (began, waited) = (Instant::now(), Duration::from_millis(50));
    let timed_out = window.send_timeout(TICK, &sent, waited);
    assert_eq!(timed_out, Err(SendError::TimedOut { channel: "tick", waited }));
    assert!(began.elapsed() >= waited);
    assert!(window.counters().full >= 2);

    // Several messages wait, of which each needs room of its own.
    let stalls = window.counters().stalls;
    let waiting = thread::spawn({
        let window = window.clone();
        move || (sent..sent + 200).try_for_each(|number| window.send(TICK, &number))
    });
    eventually("it waits", || window.counters().stalls > stalls);
    sign.write_all(b".").unwrap();
    stage.run_until("all are sent", || waiting.is_finished());
    assert_eq!(waiting.join().unwrap(), Ok(()));
    assert_eq!(stage.cue_to_the_end(&window)[1..], [format!("{} ticks", sent + 200)]);
}

#[test]
fn inside_mains_loop_a_full_ring_fails_at_once_and_a_batch_says_how_many_went_through() {
    let stage = Stage::with(small_rings());
    let (deaf, mut sign) = deaf_renderer(&stage);
    let (batches, errors) = (Notes::new(), Notes::new());
    let (batch, note, window) = (batches.adding(), errors.adding(), deaf.clone());
    // A call that waited would fail with another error.
    stage.hear(NUMBER, move |_, number| {
        let numbers: Vec<u64> = (0..100_000).collect();
        batch(window.send_all(TICK, &numbers).unwrap_err());
        note(window.send(TICK, number).unwrap_err());
        note(window.send_timeout(TICK, number, Duration::from_secs(2)).unwrap_err());
        note(window.loan(TICK).map(drop).unwrap_err());
    });
    stage.play_with(sends_numbers, &["1"]);
    stage.run_until("three errors", || errors.len() == 3);
    let SendAllError { sent, source } = batches.take().remove(0);
    let full = SendError::Full { channel: "tick" };
    assert!(errors.take().into_iter().chain([source]).all(|error| error == full));
    sign.write_all(b".").unwrap();
    stage.run_until("room for the cue", || deaf.try_send(CUE, "").is_ok());
    let reports = stage.run_to_the_end();
    assert!(reports.contains(&format!("{sent} ticks")), "{sent} sent, {reports:?}");
}

#[test]
fn a_full_ring_of_a_renderer_fails_at_once_or_times_out_or_makes_wait_until_main_looks() {
    let stage = Stage::with(small_rings());
    let numbers = stage.notes(NUMBER);
    let (mut command, mut sign) = with_input(renderer(fills_its_ring, &[]));
    let (output, input) = std::io::pipe().unwrap();
    command.stdout(input);
    stage.launch(command, allow_everything());
    let lines = Lines::of(output);
    stage.run_until_reported("connected");
    // No thread drives main until the renderer has said that its ring is full.
    sign.write_all(b".").unwrap();
    let full = lines.next_of("full");
    assert!(full["invoked"].as_str().unwrap().contains("TimedOut"), "{full}");
    stage.run_to_the_end();
    assert!(numbers.take().into_iter().eq(0..=full["sent"].as_u64().unwrap()));
}

#[test]
fn the_largest_message_of_a_renderer_fits_and_one_byte_more_is_refused_with_the_limit() {
    let stage = Stage::with(small_rings());
    let lengths = stage.note(BYTES, move |_, bytes| {
        assert_eq!(bytes, pattern(bytes.len()));
        bytes.len()
    });
    stage.answer_all();
    stage.play_with(sends_the_largest, &[&LARGEST.to_string()]);
    stage.run_to_the_end();
    assert_eq!(lengths.take(), [LARGEST; 5]);
}

#[test]
fn the_largest_message_of_main_fits_and_one_byte_more_is_refused_with_the_limit() {
    let stage = Stage::with(small_rings());
    let (window, mut sign) = stage.play_with_input(listens_late, &[], allow_everything());
    assert_eq!(window.payload_max(), LARGEST);
    let too_large = |channel, max| SendError::TooLarge { channel, len: max + 1, max };
    assert_eq!(window.send(BLOB, &pattern(LARGEST)), Ok(()));
    assert_eq!(window.send(BLOB, &pattern(LARGEST + 1)), Err(too_large("blob", LARGEST)));
    let asked = window.invoke(ECHO, &pattern(LARGEST + 1), LIMIT).map(drop);
    assert_eq!(asked, Err(InvokeError::Send(too_large("echo", LARGEST))));
    assert_eq!(window.counters().too_large, 2);
    let Err(SendError::TooLarge { channel: "bulletin", max, .. }) =
        stage.ipc.publish(BULLETIN, &pattern(4096))
    else {
        panic!("it cannot have been published")
    };
    assert!(stage.ipc.publish(BULLETIN, &pattern(max)).is_ok());
    assert_eq!(stage.ipc.publish(BULLETIN, &pattern(max + 1)), Err(too_large("bulletin", max)));
    sign.write_all(b".").unwrap();
    stage.cue_to_the_end(&window);
}

#[test]
fn a_reply_that_is_too_large_is_the_callers_error() {
    let stage = Stage::with(Config { main_capacity: 4096, attachment_max: 0, ..config() });
    stage.answer_all();
    stage.play(|ipc| {
        ipc.report(ipc.ask(ECHO, &pattern(5000)).unwrap_err());
        assert_eq!(ipc.ask(ECHO, &[1, 2, 3]), Ok(vec![1, 2, 3]));
    });
    assert_eq!(
        stage.run_to_the_end(),
        [
            "Error invoking remote method 'echo': the reply could not be sent: 5000 bytes are too many: at most 1968 fit"
        ]
    );
}

#[test]
fn replies_to_a_caller_that_does_not_look_wait_in_order_up_to_a_limit_and_then_fail_with_a_reason()
{
    // The ring and four times as much again is the limit.
    for (times, len, answered_in_the_end) in [(60, "200", 60..=60), (100, "1000", 10..=25)] {
        let stage = Stage::with(Config { main_capacity: 4096, ..config() });
        stage.answer_all();
        let arguments = [&times.to_string(), len];
        let (window, mut sign) =
            stage.play_with_input(reads_its_replies_late, &arguments, allow_everything());
        stage.run_until("all are handled", || window.counters().invokes_received == times);
        assert!(window.counters().backlogged > 5);
        sign.write_all(b".").unwrap();
        let reports = stage.run_to_the_end();
        let mut numbers = reports[0].split(' ').filter_map(|word| word.parse::<u64>().ok());
        let (answered, failed) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert!(answered_in_the_end.contains(&answered), "{reports:?}");
        assert_eq!(answered + failed, times);
    }
}

#[test]
fn a_renderer_that_gives_up_its_invokes_while_its_inbox_is_full_breaks_no_rule() {
    let stage = Stage::with(Config { main_capacity: 4096, ..config() });
    stage.answer_all();
    let (window, mut sign) = stage.play_ready_with_input(
        |ipc| {
            // One after the other, without ever looking at its inbox.
            let cues = ipc.cues();
            ipc.hear(TICK, |_, _| ());
            ipc.report("connected");
            wait_for_input();
            for number in 0..200 {
                drop(ipc.invoke(ASK, &number).expect("each place is free again"));
            }
            ipc.report("given up");
            wait_for_input();
            cues.wait();
            assert_eq!(ipc.ask(ASK, &7), Ok(7), "all is well again");
        },
        &[],
        allow_everything().pending_invokes_max(8),
    );
    while window.try_send(TICK, &0).is_ok() {}
    sign.write_all(b".").unwrap();
    stage.run_until_reported("given up");
    assert_eq!(window.gone(), None, "{:?}", window.counters());
    assert_eq!(window.counters().violations, 0);
    sign.write_all(b".").unwrap();
    stage.run_until("room for the cue", || window.try_send(CUE, "").is_ok());
    stage.run_to_the_end();
}

#[test]
fn main_has_no_more_invokes_pending_in_one_renderer_than_its_config_allows() {
    let stage = Stage::with(Config { main_pending_max: 3, ..config() });
    let window = stage.play_ready(answers_never, &[]);
    let pending = [0, 1, 2].map(|number| window.invoke(ASK, &number, LIMIT).unwrap());
    let refused = window.invoke(ASK, &3, LIMIT).map(drop).unwrap_err();
    assert_eq!(refused, InvokeError::TooManyPending { channel: "ask", max: 3 });
    assert!(refused.was_not_sent());
    drop(pending);
    let again = window.invoke(ASK, &4, Duration::from_millis(20)).expect("places are free again");
    again.wait().expect_err("the renderer never answers");
    stage.run_to_the_end();
}

#[test]
fn main_has_no_more_windows_than_its_config_allows_whether_launched_or_attached() {
    let stage = Stage::with(Config { windows_max: 2, ..config() });
    stage.ipc.on_attach(|_| Ok(allow_everything()));
    let launched = stage.play_ready(stays, &[]);
    let attached = stage.attach(CONTRACT).unwrap();
    let refused = stage.ipc.launch(renderer(stays, &[]), allow_everything());
    assert!(matches!(refused, Err(LaunchError::TooManyWindows { max: 2 })));
    let refused = stage.attach(CONTRACT).map(drop);
    let Err(ConnectError::Refused { why }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("2 windows"), "{why}");
    stage.close(&launched);
    let _again = stage.attach(CONTRACT).unwrap();
    drop(attached);
    stage.run_until("its place is free", || stage.ipc.windows().len() == 1);
    stage.play_ready(stays, &[]);
}

#[test]
fn an_impossible_capacity_and_a_repeated_channel_are_refused_by_name() {
    let config = Config { main_capacity: 5000, ..config() };
    for (contract, config, why) in [
        (CONTRACT, config, "main_capacity is 5000"),
        (&[&TEXT, &NUMBER, &TEXT], tests::stage::config(), "'text'"),
    ] {
        let refused = IpcMain::bind_with(&unique_name("odd"), contract, config).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[test]
fn sixty_four_renderers_at_once_are_all_served_each_in_its_order() {
    let capacity = 65_536;
    let config = Config { main_capacity: capacity, renderer_capacity: capacity, ..config() };
    let stage = Stage::with(config);
    let numbers = stage.note(NUMBERED, move |event, message| {
        assert_eq!(message.sender, u64::from(event.sender_id()));
        *message
    });
    stage.answer_all();
    let connected = stage.connected();
    let scene: RendererScene = |ipc| {
        let ticks = ipc.notes(TICK);
        let sender = u64::from(ipc.id());
        for number in 0..50 {
            ipc.send(NUMBERED, &Numbered { sender, number }).unwrap();
            if number.is_multiple_of(5) {
                assert_eq!(ipc.ask(ADD, &[sender, number]), Ok(sender + number));
            }
        }
        ipc.run_until("twenty ticks", || ticks.len() == 20);
        assert!(ticks.take().into_iter().eq((0..20).map(|number| sender * 100 + number)));
    };
    let windows: Vec<_> = (0..64).map(|_| stage.play(scene)).collect();
    // None can end before its ticks, which are sent when all are there.
    stage.run_until("all have connected", || connected.len() == 64);
    assert_eq!(stage.ipc.windows().len(), 64);
    for window in &windows {
        let first = u64::from(window.id()) * 100;
        (first..first + 20).for_each(|number| window.send(TICK, &number).unwrap());
    }
    stage.run_to_the_end();
    let numbers = numbers.take();
    for window in &windows {
        let of_window = numbers.iter().filter(|message| message.sender == u64::from(window.id()));
        assert!(of_window.map(|message| message.number).eq(0..50));
        let counters = window.counters();
        assert_eq!((counters.violations, counters.panics), (0, 0));
    }
    assert!(stage.ipc.windows().is_empty());
}

#[test]
fn a_renderer_that_could_not_see_mains_end_does_not_connect() {
    let stage = Stage::new();
    let scene: ProcessScene = |_| {
        // Enough for the session's memory, and not for the stack of the thread that would see main's end.
        let enough = memory().0 + 1536 * 1024;
        let maximum = getrlimit(Resource::As).maximum;
        setrlimit(Resource::As, Rlimit { current: Some(enough), maximum }).unwrap();
        let connected = IpcRenderer::connect(CONTRACT);
        assert!(matches!(connected, Err(ConnectError::Io(_))), "{connected:?}");
    };
    let ending = stage.run_until_gone(&stage.play_process(scene, &[]));
    // Before main knows of it, or just after.
    let reasons = [GoneReason::LaunchFailed, GoneReason::CleanExit];
    assert!(reasons.contains(&ending.details.reason), "{ending:?}");
    assert_eq!(ending.details.exit_code, Some(0), "its own asserts hold");
}

/// Connects, and runs its loop only after a sign. Then it reports which ticks had come until the cue.
fn listens_late(ipc: &Renderer) {
    let cues = ipc.cues();
    let ticks = ipc.notes(TICK);
    ipc.hear(BLOB, |_, bytes| assert_eq!(bytes, pattern(bytes.len())));
    ipc.report("connected");
    wait_for_input();
    cues.wait();
    let ticks = ticks.take();
    assert!(ticks.iter().copied().eq(0..ticks.len() as u64), "{ticks:?}");
    ipc.report(format!("{} ticks", ticks.len()));
}

/// Sends until nothing fits any more; main does not look meanwhile.
fn fills_its_ring(ipc: &Renderer) {
    ipc.report("connected");
    wait_for_input();
    let (sent, full) = until_error(|number| ipc.try_send(NUMBER, &number));
    assert_eq!(full, SendError::Full { channel: "number" });

    let (began, waited) = (Instant::now(), Duration::from_millis(50));
    let timed_out = ipc.send_timeout(NUMBER, &sent, waited);
    assert_eq!(timed_out, Err(SendError::TimedOut { channel: "number", waited }));
    assert!(began.elapsed() >= waited);
    // An invoke's own deadline counts, which is shorter than the time-out of a send.
    let began = Instant::now();
    let invoked = ipc.invoke_with(ADD, &[1, 2], Some(waited)).map(drop);
    assert!(began.elapsed() < Config::default().send_timeout / 2);
    println!("{}", json!({ "event": "full", "sent": sent, "invoked": format!("{invoked:?}") }));
    // Only now main begins to look.
    ipc.send(NUMBER, &sent).unwrap();
    let counters = ipc.counters();
    assert!(counters.full >= 2 && counters.stalls >= 3, "{counters:?}");
}

/// Asks for more than its inbox holds, and looks after a sign. Arguments: TIMES LEN.
fn reads_its_replies_late(ipc: &Renderer) {
    let (times, len) = (ipc.number(0), ipc.number(1));
    let order = Notes::new();
    for number in 0..times {
        let mut bytes = pattern(len as usize);
        bytes[0] = number as u8;
        let note = order.adding();
        let asked = ipc.invoke(ECHO, &bytes).unwrap();
        asked.then(move |reply| note((number, reply.map(|reply| reply == bytes))));
    }
    wait_for_input();
    ipc.run_until("all replies", || order.len() as u64 == times);
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
    ipc.report(format!("{answered} answered, {failed} failed"));
}
