//! Messages from main to one renderer: `WebContents::send` and `on`, reliable and in order.

use tests::prelude::*;

#[test]
fn pushes_arrive_in_order_and_more_than_the_ring_holds_because_the_sender_waits() {
    let stage = Stage::new();
    let window = stage.play_with(counts_ticks, &["20000"]);
    // Not from the loop's thread, since there a send does not wait.
    let pushing = thread::spawn(move || {
        (0..20_000).for_each(|number| window.send(TICK, &number).unwrap());
    });
    assert_eq!(stage.run_to_the_end(), ["20000 ticks"]);
    pushing.join().unwrap();
}

#[test]
fn each_window_gets_its_own_pushes_even_those_from_before_it_has_connected() {
    let stage = Stage::new();
    let counts = [10, 20, 100];
    let windows = counts.map(|count: u64| stage.play_with(counts_ticks, &[&count.to_string()]));
    for (window, count) in windows.iter().zip(counts) {
        (0..count).for_each(|number| window.send(TICK, &number).unwrap());
    }
    stage.run_to_the_end();
    for (window, count) in windows.iter().zip(counts) {
        assert_eq!(stage.reports_of(window), [format!("{count} ticks")]);
    }
}

#[test]
fn a_renderers_listeners_follow_the_same_rules_as_mains() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        let heard = Notes::new();
        let noting = |name: &'static str| {
            let note = heard.adding();
            move |_: &IpcRendererEvent<'_>, number: &u64| note(format!("{name}{number}"))
        };
        let twice = noting("a");
        let first = ipc.on(TICK, twice.clone()).unwrap();
        ipc.once(TICK, noting("once")).unwrap();
        ipc.hear(TICK, |_, number| assert_ne!(*number, 1, "this panic is part of the test"));
        ipc.hear(TICK, twice);
        ipc.report("listening");
        cues.wait();
        assert!(ipc.off(first));
        assert!(!ipc.off(first));
        ipc.report("one removed");
        cues.wait();
        ipc.remove_all_listeners_of(TICK);
        ipc.report("all removed");
        cues.wait();
        ipc.report(heard.take().join(" "));
        let counters = ipc.counters();
        ipc.report(format!("{} unheard, {} panics", counters.unheard, counters.panics));
    });
    for (number, report) in (0..).zip(["listening", "one removed", "all removed"]) {
        stage.run_until_reported(report);
        window.send(TICK, &number).unwrap();
        window.send(CUE, "").unwrap();
    }
    assert_eq!(stage.run_to_the_end()[3..], ["a0 once0 a0 a1", "1 unheard, 1 panics"]);
}

#[test]
fn every_kind_of_payload_arrives_as_it_was_pushed() {
    let stage = Stage::new();
    const LENGTHS: [usize; 6] = [0, 1, 48, 49, 4096, 100_000];
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        let (blobs, single) = (ipc.notes(BLOB), ipc.notes(PUSHED_READING));
        let (runs, maps) = (ipc.notes(PUSHED_READINGS), ipc.notes(PUSHED_SETTINGS));
        cues.wait();
        assert_eq!(blobs.take(), LENGTHS.map(pattern));
        assert_eq!(single.take(), readings());
        assert_eq!(runs.take(), [readings().to_vec(), vec![]]);
        assert_eq!(maps.take(), [settings()]);
        let counters = ipc.counters();
        assert_eq!((counters.panics, counters.bad_payloads), (0, 0));
    });
    // A thread of its own may wait for room: the last of the blobs takes half of the ring.
    let pushing = thread::spawn(move || {
        LENGTHS.iter().for_each(|len| window.send(BLOB, &pattern(*len)).unwrap());
        readings().iter().for_each(|reading| window.send(PUSHED_READING, reading).unwrap());
        window.send(PUSHED_READINGS, &readings()).unwrap();
        window.send(PUSHED_READINGS, &[]).unwrap();
        window.send(PUSHED_SETTINGS, &settings()).unwrap();
        window.send(CUE, "").unwrap();
    });
    stage.run_to_the_end();
    pushing.join().unwrap();
}

#[test]
fn a_loan_of_main_arrives_as_written_a_dropped_one_is_not_sent_and_no_other_window_waits_for_it() {
    let stage = Stage::new();
    let [window, other] = ["3", "1"].map(|count| stage.play_with(counts_ticks, &[count]));
    let lend = |number: u64| {
        let mut loan = window.loan(TICK).unwrap();
        assert_eq!(*loan, 0, "a loan starts as zeroes");
        *loan = number;
        loan
    };
    lend(0).send();
    drop(lend(77));
    let held = lend(1);
    other.send(TICK, &0).unwrap();
    assert_eq!(window.send(TICK, &78), Err(SendError::LoanHeld { channel: "tick" }));
    assert_eq!(window.try_send(TICK, &78), Err(SendError::LoanHeld { channel: "tick" }));
    assert!(matches!(window.loan(TICK).map(drop), Err(SendError::LoanHeld { .. })));
    held.send();
    window.send(TICK, &2).unwrap();
    stage.run_to_the_end();
    assert_eq!(stage.reports_of(&window), ["3 ticks"]);
}
