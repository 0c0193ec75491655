//! One write for all renderers: `publish` and `subscribe`, lossy and exact about it.

use std::{io::Write, time::Instant};

use ringbridge::{Config, WebContents};
use rustix::process::Signal;
use tests::{
    contract::{BULLETIN, CUE, NEWS, NUMBERED, pattern},
    processes::{eventually, is_stopped, signal, voluntary_switches},
    stage::{Notes, Stage, allow_everything, config, scene_command_with_input},
};

/// A stage whose topics hold few messages: a record of one number takes 64 bytes.
fn stage_with_small_topics() -> Stage {
    Stage::with(Config { topic_capacity: 4096, ..config() })
}

/// The two numbers of "so many received, so many lost".
fn received_and_lost(report: &str) -> (u64, u64) {
    let numbers: Vec<u64> = report.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

fn run_until_subscribed(stage: &Stage, windows: &[WebContents]) {
    stage.run_until("all have subscribed", || {
        windows.iter().all(|window| stage.reports_of(window).contains(&"subscribed".to_owned()))
    });
}

#[test]
fn every_subscriber_hears_what_is_published_from_then_on_and_none_hears_what_was_before() {
    let stage = Stage::new();
    assert_eq!(stage.ipc.publish(NEWS, &1_000_000).unwrap(), 1);
    let windows: Vec<_> = (0..3).map(|_| stage.play("reads-news")).collect();
    run_until_subscribed(&stage, &windows);
    for number in 1..=200 {
        assert_eq!(stage.ipc.publish(NEWS, &number).unwrap(), 1 + number);
    }
    windows.iter().for_each(|window| window.send(CUE, "200").unwrap());
    stage.run_to_the_end();
    for window in &windows {
        assert_eq!(stage.reports_of(window)[1..], ["200 received, 0 lost"]);
    }
    assert_eq!(stage.ipc.counters().published, 201);
}

#[test]
fn received_and_lost_are_together_what_was_published_for_slow_readers_and_quick_ones() {
    const COUNT: u64 = 20_000;
    let stage = stage_with_small_topics();
    let windows = [stage.play("reads-news-slowly"), stage.play("reads-news")];
    run_until_subscribed(&stage, &windows);
    for number in 1..=COUNT {
        stage.ipc.publish(NEWS, &number).unwrap();
    }
    windows.iter().for_each(|window| window.send(CUE, &COUNT.to_string()).unwrap());
    stage.run_to_the_end();
    for (window, must_lose) in windows.iter().zip([true, false]) {
        let (received, lost) = received_and_lost(&stage.reports_of(window)[1]);
        assert_eq!(received + lost, COUNT);
        assert!(received > 0 && (lost > 0 || !must_lose), "{received} received, {lost} lost");
    }
}

/// Publishes so many messages, in step with the readers that acknowledge them. Returns how often this thread
/// has slept in the kernel in a publish.
fn publish_in_step(stage: &Stage, readers: &[&WebContents], count: u64) -> u64 {
    let acknowledged = Notes::new();
    let notes = acknowledged.clone();
    let listener = stage.ipc.on(NUMBERED, move |event, acknowledgement| {
        notes.add((event.sender_id(), acknowledgement.number));
    });
    let mut slept = 0;
    let mut awaited = Vec::new();
    for number in 1..=count {
        let before = voluntary_switches();
        stage.ipc.publish(NEWS, &number).unwrap();
        slept += voluntary_switches() - before;
        awaited.extend(readers.iter().map(|reader| (reader.id(), number)));
        // A quarter of the topic's records: nobody who keeps up is lapped.
        if number.is_multiple_of(16) || number == count {
            stage.run_until("the readers have what was published", || {
                let came = acknowledged.take();
                awaited.retain(|one| !came.contains(one));
                awaited.is_empty()
            });
        }
    }
    stage.ipc.off(listener.unwrap());
    slept
}

/// A subscriber whose process is stopped, among two that go on, and what it makes of the news afterwards.
fn with_a_stopped_subscriber(scene: &str, received_at_most: u64) {
    const COUNT: u64 = 1000;
    let stage = stage_with_small_topics();
    let stopped = stage.play(scene);
    let others = [stage.play("acknowledges-news"), stage.play("acknowledges-news")];
    let all = [stopped.clone(), others[0].clone(), others[1].clone()];
    run_until_subscribed(&stage, &all);

    let process = stopped.os_process_id();
    signal(process, Signal::STOP);
    eventually("the process is stopped", || is_stopped(process));
    let wakes = stopped.counters().wakes;
    let began = Instant::now();
    let slept = publish_in_step(&stage, &[&others[0], &others[1]], COUNT);
    // Not for a subscriber: other tests in this process may hold a lock of the kernel for a moment.
    assert!(slept <= COUNT / 50, "{slept} sleeps in {COUNT} publishes");
    assert!(began.elapsed() < config().send_timeout, "nobody has waited for the stopped one");
    assert!(is_stopped(process));
    let counters = stopped.counters();
    // Rung for its one sleep at the most, and for no room.
    assert!(counters.wakes - wakes <= 1, "{} wake-ups", counters.wakes - wakes);
    assert_eq!((counters.stalls, counters.full), (0, 0));
    signal(process, Signal::CONT);

    all.iter().for_each(|window| window.send(CUE, &COUNT.to_string()).unwrap());
    stage.run_to_the_end();
    for other in &others {
        assert_eq!(stage.reports_of(other)[1], format!("{COUNT} received, 0 lost"));
    }
    let (received, lost) = received_and_lost(&stage.reports_of(&stopped)[1]);
    assert_eq!(received + lost, COUNT);
    assert!((1..=received_at_most).contains(&received), "{received} received, {lost} lost");
}

#[test]
fn a_stopped_subscriber_slows_nobody_and_counts_what_it_missed() {
    // A record of its lap may be there still, when it was stopped in the middle of one.
    with_a_stopped_subscriber("reads-news", 64);
}

#[test]
fn a_stopped_subscriber_to_the_latest_gets_the_newest_and_counts_the_others_as_lost() {
    with_a_stopped_subscriber("follows-the-latest-news", 1);
}

#[test]
fn received_and_lost_are_together_what_was_published_for_who_wants_only_the_latest() {
    const COUNT: u64 = 20_000;
    let stage = stage_with_small_topics();
    let windows: Vec<_> = (0..3).map(|_| stage.play("follows-the-latest-news")).collect();
    run_until_subscribed(&stage, &windows);
    for number in 1..=COUNT {
        stage.ipc.publish(NEWS, &number).unwrap();
    }
    windows.iter().for_each(|window| window.send(CUE, &COUNT.to_string()).unwrap());
    stage.run_to_the_end();
    for window in &windows {
        let (received, lost) = received_and_lost(&stage.reports_of(window)[1]);
        assert_eq!(received + lost, COUNT);
        assert!(received > 0);
    }
}

#[test]
fn a_subscriber_to_the_latest_gets_the_newest_and_is_told_what_it_skipped() {
    let stage = Stage::new();
    let (command, mut sign) = scene_command_with_input("reads-the-latest-news", &[]);
    stage.launch(command, allow_everything());
    stage.run_until_reported("subscribed");
    stage.ipc.publish(NEWS, &1).unwrap();
    stage.run_until_reported("busy with the first");
    (2..=100).for_each(|number| _ = stage.ipc.publish(NEWS, &number).unwrap());
    sign.write_all(b".").unwrap();
    assert_eq!(stage.run_to_the_end()[2..], ["[(0, 1), (98, 100)]"]);
}

#[test]
fn longer_messages_arrive_whole() {
    let stage = Stage::new();
    let window = stage.play("reads-bulletins");
    stage.run_until_reported("subscribed");
    for len in [1000, 15_000] {
        stage.ipc.publish(BULLETIN, &pattern(len)).unwrap();
    }
    window.send(CUE, "").unwrap();
    assert_eq!(stage.run_to_the_end()[1..], ["[1000, 15000]"]);
}

#[test]
fn who_has_unsubscribed_neither_hears_nor_loses_and_begins_anew_when_it_subscribes_again() {
    let stage = stage_with_small_topics();
    let window = stage.play("reads-news-for-a-while");
    stage.run_until_reported("subscribed");
    stage.ipc.publish(NEWS, &1).unwrap();
    stage.run_until_reported("unsubscribed");
    // Several laps.
    (2..=500).for_each(|number| _ = stage.ipc.publish(NEWS, &number).unwrap());
    window.send(CUE, "").unwrap();
    stage.run_until_reported("subscribed again");
    stage.ipc.publish(NEWS, &501).unwrap();
    assert_eq!(stage.run_to_the_end()[3..], ["[(0, 1), (0, 501)]"]);
}

#[test]
fn publishing_for_nobody_is_no_error() {
    let stage = stage_with_small_topics();
    for number in 1..=1000 {
        assert_eq!(stage.ipc.publish(NEWS, &number).unwrap(), number);
    }
}
