//! The view of an inspector on a main process, and its cost for that process.

use std::process::Stdio;

use tests::prelude::*;

/// Looks, with main's loop running, until a record is as it should be.
fn look_until(
    stage: &Stage,
    inspector: &mut Inspector,
    what: &str,
    condition: impl Fn(&Inspection) -> bool,
) -> Inspection {
    let mut seen = None;
    stage.run_until(what, || {
        seen = inspector.next(Duration::ZERO).expect("main is there");
        seen.as_ref().is_some_and(&condition)
    });
    seen.expect("it was found")
}

fn look(stage: &Stage, inspector: &mut Inspector) -> Inspection {
    look_until(stage, inspector, "main shows itself", |_| true)
}

/// Attaches from another thread, as main's loop must run meanwhile.
fn attach(stage: &Stage) -> Inspector {
    let name = stage.name().to_owned();
    let attaching = thread::spawn(move || Inspector::attach(&name));
    stage.run_until("the inspector is answered", || attaching.is_finished());
    attaching.join().unwrap().expect("main is there")
}

#[test]
fn an_inspector_sees_what_main_counts() {
    let stage = Stage::new();
    stage.hear(NUMBER, |_, _| ());
    let policy = allow_everything().message_max(4096);
    let windows = [
        stage.launch(renderer(stays, &[]), policy),
        stage.launch(renderer(stays, &[]), Policy::deny_all().allow(REPORT)),
    ];
    stage.run_until("both are connected", || stage.reports().len() == 2);
    stage.ipc.publish(NEWS, &1).unwrap();
    let mut inspector = attach(&stage);
    let seen = look(&stage, &mut inspector);

    assert_eq!((seen.endpoint.as_str(), seen.pid), (stage.name(), std::process::id()));
    assert_eq!((seen.metrics.windows, seen.metrics.inspectors), (2, 1));
    assert_eq!((seen.metrics.published, seen.metrics.refused), (1, 0));
    assert!(seen.metrics.sleeps > 0 && seen.sleeps.count() == seen.metrics.sleeps);
    assert!(seen.metrics.slept_ns < seen.open_for.as_nanos() as u64);
    assert_eq!(seen.windows_unshown, 0);
    for (seen, window) in seen.windows.iter().zip(&windows) {
        assert_eq!((seen.id, seen.pid), (window.id(), window.os_process_id()));
        assert_eq!((seen.state, seen.unread), (WindowState::Live, false));
        assert_eq!(seen.metrics, window.metrics());
        // Main falls asleep and wakes up again between any two looks.
        let counted = seen.counters.iter().zip(window.counters().iter());
        counted
            .filter(|((name, _), _)| *name != "parks")
            .for_each(|(seen, main)| assert_eq!(seen, main));
        assert!(seen.counters.frames_received > 0);
    }
    assert!(seen.windows[0].policy.starts_with("messages up to 4096 bytes; report, "));
    assert!(seen.windows[0].policy.ends_with('…'), "this one is long");
    assert_eq!(seen.windows[1].policy, "report");
}

#[test]
fn an_inspector_sees_messages_in_a_ring_and_pending_invokes() {
    let stage = Stage::new();
    let kept = Notes::new();
    let keep = kept.adding();
    stage.answer_later(ASK, move |_, number, responder| match number {
        1 => keep(responder),
        _ => _ = responder.reply(number),
    });
    let asks = stage.play(asks_and_stays);
    stage.run_until("it has asked", || kept.len() == 1);
    // It waits for its input and takes nothing.
    let (stuck, mut sign) =
        stage.play_ready_with_input(does_not_notice_the_end, &[], allow_everything());
    (0..10).for_each(|tick| stuck.send(TICK, &tick).unwrap());
    let asked: Vec<_> = (0..3).map(|number| stuck.invoke(ASK, &number, LIMIT).unwrap()).collect();

    let mut inspector = attach(&stage);
    let seen = look(&stage, &mut inspector);
    let [asks_seen, stuck_seen] = &seen.windows[..] else { panic!("{seen:?}") };
    assert_eq!((asks_seen.id, asks_seen.metrics.unanswered_invokes), (asks.id(), 1));
    assert_eq!((stuck_seen.id, stuck_seen.metrics.pending_invokes), (stuck.id(), 3));
    assert_eq!(stuck_seen.metrics.outbox_used_bytes, 13 * 64);
    let config = config();
    assert_eq!(stuck_seen.metrics.outbox_capacity_bytes, config.main_capacity as u64);
    assert_eq!(stuck_seen.metrics.inbox_capacity_bytes, config.renderer_capacity as u64);
    assert_eq!(asks_seen.metrics.outbox_used_bytes, 0);
    drop(asked);
    sign.write_all(b".").unwrap();
    asks.send(CUE, "go on").unwrap();
    kept.take().into_iter().for_each(|responder| _ = responder.reply(&1));
    stage.run_to_the_end();
}

#[test]
fn an_inspector_sees_the_states_of_a_window() {
    let stage = Stage::new();
    stage.hear(NUMBER, |_, _| ());
    let mut inspector = attach(&stage);
    assert!(look(&stage, &mut inspector).windows.is_empty());

    let (silent, sign) = with_input(process(never_connects, &[]));
    let silent = stage.launch(silent, allow_everything());
    look_until(&stage, &mut inspector, "it is launching", |seen| {
        seen.windows.iter().any(|window| window.state == WindowState::Launching)
    });
    stage.close(&silent);
    drop(sign);

    let policy = allow_everything().frames_quota(Quota::per_second(20).burst(4));
    let (held, mut sign) = stage.play_ready_with_input(sends_numbers_at_a_sign, &["60"], policy);
    sign.write_all(b".").unwrap();
    let seen = look_until(&stage, &mut inspector, "it is held", |seen| {
        seen.windows.iter().any(|window| window.state == WindowState::Held && window.unread)
    });
    assert!(seen.windows[0].counters.throttled > 0);
    assert!(seen.windows[0].policy.starts_with("20 frames/s; "));
    stage.close(&held);
    look_until(&stage, &mut inspector, "it is gone", |seen| seen.windows.is_empty());
}

#[test]
fn main_wakes_up_for_an_inspector_and_only_then() {
    let stage = Stage::with(Config { wait: WaitStrategy::Park, ..config() });
    stage.play_ready(stays, &[]);
    let ipc = stage.ipc.clone();
    let running = thread::spawn(move || ipc.run().unwrap());
    let sleeps = || stage.ipc.metrics().sleeps;
    let memory = format!("ringbridge-board-{}", stage.name());
    let board = || !mappings(std::process::id(), |path| path.contains(&memory)).is_empty();
    let sleeps_in = |span| {
        let before = sleeps();
        thread::sleep(span);
        sleeps() - before
    };

    assert!(within(LIMIT, || sleeps_in(Duration::from_millis(500)) == 0), "it is idle");
    assert!(!board());
    let mut inspector = Inspector::attach(stage.name()).unwrap();
    inspector.next(LIMIT).unwrap().expect("it is shown");
    let watched = sleeps_in(Duration::from_secs(1));
    assert!((3..=30).contains(&watched), "{watched} wake-ups in a second");
    assert!(board());

    drop(inspector);
    eventually("the board goes with the last inspector", || !board());
    assert_eq!(stage.ipc.metrics().inspectors, 0);
    assert!(within(LIMIT, || sleeps_in(Duration::from_millis(500)) == 0), "it is idle again");
    stage.ipc.stop();
    running.join().unwrap();
}

#[test]
fn more_windows_than_a_record_holds_are_counted() {
    let stage = Stage::with(Config { prefault: false, main_capacity: 4096, ..config() });
    let mut inspector = attach(&stage);
    // They wait for an input that never ends.
    let (input, _writer) = std::io::pipe().unwrap();
    let launch = |_| {
        let mut command = Command::new("cat");
        command.stdin(input.try_clone().unwrap()).stdout(Stdio::null());
        stage.launch(command, Policy::deny_all())
    };
    let crowd: Vec<_> = (0..260).map(launch).collect();
    let seen = look_until(&stage, &mut inspector, "all are there", |seen| {
        seen.windows.len() + seen.windows_unshown as usize == crowd.len()
    });
    assert_eq!((seen.windows.len(), seen.windows_unshown), (256, 4));
}

#[test]
fn a_name_that_is_not_bound_and_a_main_that_is_gone_are_different_errors() {
    let nobody = Inspector::attach("nobody-has-this-name").unwrap_err();
    assert!(matches!(nobody, InspectError::Connect(ConnectError::NoSuchEndpoint { .. })));
    let stage = Stage::new();
    let mut inspector = attach(&stage);
    look(&stage, &mut inspector);
    drop(stage);
    assert!(matches!(inspector.next(LIMIT), Err(InspectError::Gone)));
}

#[test]
fn a_main_that_is_busy_shows_nothing_and_is_waited_for() {
    let stage = Stage::new();
    let mut inspector = attach(&stage);
    while inspector.next(Duration::ZERO).unwrap().is_some() {}
    let began = Instant::now();
    assert!(inspector.next(Duration::from_millis(50)).unwrap().is_none());
    assert!(began.elapsed() >= Duration::from_millis(50));
    look(&stage, &mut inspector);
}
