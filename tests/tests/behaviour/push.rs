//! One way from main to one renderer: `WebContents::send` and `on`, reliable and in order.

use tests::prelude::*;

#[test]
fn pushes_arrive_in_order_and_more_than_the_ring_holds_because_the_sender_waits() {
    let stage = Stage::new();
    let window = stage.play_with(counts_ticks, &["20000"]);
    // Not from the loop's thread, since there a send does not wait.
    let pushing = thread::spawn(move || {
        for number in 0..20_000 {
            window.send(TICK, &number).unwrap();
        }
    });
    assert_eq!(stage.run_to_the_end(), ["20000 ticks"]);
    pushing.join().unwrap();
}

#[test]
fn what_is_pushed_before_the_renderer_has_connected_waits_for_it() {
    let stage = Stage::new();
    let window = stage.play_with(counts_ticks, &["100"]);
    for number in 0..100 {
        window.send(TICK, &number).unwrap();
    }
    assert_eq!(stage.run_to_the_end(), ["100 ticks"]);
}

#[test]
fn several_threads_of_main_push_each_in_its_own_order() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let (threads, count) = (3, 3000);
        let ticks = ipc.notes(NUMBERED_TICK);
        ipc.run_until("all ticks", || ticks.len() as u64 >= threads * count);
        let ticks = ticks.take();
        for sender in 0..threads {
            let of_sender = ticks.iter().filter(|tick| tick.sender == sender);
            assert!(of_sender.map(|tick| tick.number).eq(0..count));
        }
        ipc.report(format!("{} ticks", ticks.len()));
    });
    let pushing: Vec<_> = (0..3)
        .map(|sender| {
            let window = window.clone();
            thread::spawn(move || {
                for number in 0..3000 {
                    window.send(NUMBERED_TICK, &Numbered { sender, number }).unwrap();
                }
            })
        })
        .collect();
    assert_eq!(stage.run_to_the_end(), ["9000 ticks"]);
    pushing.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn each_window_gets_its_own_pushes() {
    let stage = Stage::new();
    let counts = [10, 20, 30];
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
            let heard = heard.clone();
            move |_: &IpcRendererEvent<'_>, number: &u64| heard.add(format!("{name}{number}"))
        };
        let twice = noting("a");
        let first = ipc.on(TICK, twice.clone()).unwrap();
        ipc.once(TICK, noting("once")).unwrap();
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
        ipc.report(format!("{} unheard", ipc.counters().unheard));
    });
    for (number, report) in ["listening", "one removed", "all removed"].into_iter().enumerate() {
        stage.run_until_reported(report);
        window.send(TICK, &(number as u64)).unwrap();
        window.send(CUE, "").unwrap();
    }
    assert_eq!(stage.run_to_the_end()[3..], ["a0 once0 a0 a1", "1 unheard"]);
}

#[test]
fn every_kind_of_payload_arrives_as_it_was_pushed() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        let lengths = ipc.note(BLOB, move |_, bytes| {
            assert_eq!(bytes, pattern(bytes.len()));
            bytes.len()
        });
        let (single, runs, maps) = (Notes::new(), Notes::new(), Notes::new());
        let (single_in, runs_in, maps_in) = (single.clone(), runs.clone(), maps.clone());
        ipc.hear(PUSHED_READING, move |_, reading| single_in.add(*reading));
        ipc.hear(PUSHED_READINGS, move |_, readings| runs_in.add(readings.to_vec()));
        ipc.hear(PUSHED_SETTINGS, move |_, settings| maps_in.add(settings.clone()));
        cues.wait();
        ipc.report(format!("{:?}", lengths.take()));
        assert_eq!(single.take(), [readings()[0], readings()[1]]);
        assert_eq!(runs.take(), [readings().to_vec(), vec![]]);
        assert_eq!(maps.take(), [settings()]);
        let counters = ipc.counters();
        assert_eq!((counters.panics, counters.bad_payloads), (0, 0));
    });
    let lengths = [0, 1, 48, 49, 4096, 100_000];
    thread::scope(|scope| {
        // A thread of its own may wait for room: the last of the blobs takes half of the ring.
        scope.spawn(|| {
            lengths.iter().for_each(|len| window.send(BLOB, &pattern(*len)).unwrap());
            readings().iter().for_each(|reading| window.send(PUSHED_READING, reading).unwrap());
            window.send(PUSHED_READINGS, &readings()).unwrap();
            window.send(PUSHED_READINGS, &[]).unwrap();
            window.send(PUSHED_SETTINGS, &settings()).unwrap();
            window.send(CUE, "").unwrap();
        });
        assert_eq!(stage.run_to_the_end(), [format!("{lengths:?}")]);
    });
}

#[test]
fn a_message_that_no_listener_of_the_renderer_hears_is_counted_there() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        cues.wait();
        ipc.report(format!("{} unheard", ipc.counters().unheard));
    });
    (0..7).for_each(|number| window.send(TICK, &number).unwrap());
    assert_eq!(stage.cue_to_the_end(&window), ["7 unheard"]);
}

#[test]
fn a_listener_that_panics_in_a_renderer_is_counted_and_the_renderer_goes_on() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        // The panic is part of the test, and its text would only confuse.
        std::panic::set_hook(Box::new(|_| ()));
        let heard = Notes::new();
        let notes = heard.clone();
        ipc.hear(TICK, |_, number| assert_ne!(*number, 1));
        ipc.hear(TICK, move |_, number| notes.add(*number));
        cues.wait();
        let _ = std::panic::take_hook();
        ipc.report(format!("{:?}, {} panics", heard.take(), ipc.counters().panics));
    });
    (0..3).for_each(|number| window.send(TICK, &number).unwrap());
    assert_eq!(stage.cue_to_the_end(&window), ["[0, 1, 2], 1 panics"]);
}

#[test]
fn a_loan_of_main_arrives_as_it_was_written_and_one_dropped_never_happened() {
    let stage = Stage::new();
    let window = stage.play_with(counts_ticks, &["3"]);
    let lend = |number: u64| {
        let mut loan = window.loan(TICK).unwrap();
        assert_eq!(*loan, 0, "a loan starts as zeroes");
        *loan = number;
        loan
    };
    lend(0).send();
    drop(lend(77));
    let held = lend(1);
    assert_eq!(window.send(TICK, &78), Err(SendError::LoanHeld { channel: "tick" }));
    assert_eq!(window.try_send(TICK, &78), Err(SendError::LoanHeld { channel: "tick" }));
    assert!(matches!(window.loan(TICK).map(drop), Err(SendError::LoanHeld { .. })));
    held.send();
    window.send(TICK, &2).unwrap();
    assert_eq!(stage.run_to_the_end(), ["3 ticks"]);
}

#[test]
fn a_loan_of_one_window_does_not_stand_in_the_way_of_another() {
    let stage = Stage::new();
    let windows = [0, 1].map(|_| stage.play_with(counts_ticks, &["1"]));
    let held = windows[0].loan(TICK).unwrap();
    windows[1].send(TICK, &0).unwrap();
    held.send();
    stage.run_to_the_end();
}
