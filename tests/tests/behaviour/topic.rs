//! One write for all renderers: `publish` and `subscribe`, lossy and exact about it.

use tests::prelude::*;

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
    let windows: Vec<_> = (0..3).map(|_| stage.play(reads_news)).collect();
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
    let windows = [
        stage.play(|ipc| {
            let (read, published) = (Notes::new(), published(ipc));
            let mut note = noting(&read);
            let mut slow = 100;
            ipc.follow(NEWS, move |event, number| {
                note(event, number);
                if slow > 0 {
                    slow -= 1;
                    thread::sleep(Duration::from_millis(1));
                }
            });
            ipc.report("subscribed");
            read_all(ipc, &read, &published);
        }),
        stage.play(reads_news),
    ];
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
fn with_a_stopped_subscriber(scene: RendererScene, received_at_most: u64) {
    const COUNT: u64 = 1000;
    let stage = stage_with_small_topics();
    let stopped = stage.play(scene);
    let others = [stage.play(acknowledges_news), stage.play(acknowledges_news)];
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
    with_a_stopped_subscriber(reads_news, 64);
}

#[test]
fn a_stopped_subscriber_to_the_latest_gets_the_newest_and_counts_the_others_as_lost() {
    with_a_stopped_subscriber(follows_the_latest_news, 1);
}

#[test]
fn received_and_lost_are_together_what_was_published_for_who_wants_only_the_latest() {
    const COUNT: u64 = 20_000;
    let stage = stage_with_small_topics();
    let windows: Vec<_> = (0..3).map(|_| stage.play(follows_the_latest_news)).collect();
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
    let (command, mut sign) = with_input(renderer(reads_the_latest_news, &[]));
    stage.launch(command, allow_everything());
    stage.run_until_reported("subscribed");
    stage.ipc.publish(NEWS, &1).unwrap();
    stage.run_until_reported("busy with the first");
    (2..=100).for_each(|number| _ = stage.ipc.publish(NEWS, &number).unwrap());
    sign.write_all(b".").unwrap();
    assert_eq!(stage.run_to_the_end()[2..], ["[(0, 1), (98, 100)]"]);
}

#[test]
fn a_subscriber_that_dies_does_not_disturb_publishing() {
    let stage = Stage::new();
    let windows = [stage.play(reads_news), stage.play(reads_news)];
    stage.run_until("both have subscribed", || stage.reports().len() == 2);
    signal(windows[0].os_process_id(), Signal::KILL);
    for number in 1..=500 {
        stage.ipc.publish(NEWS, &number).unwrap();
    }
    windows[1].send(CUE, "500").unwrap();
    stage.run_until_gone(&windows[0]);
    stage.run_until_gone(&windows[1]);
    assert_eq!(stage.reports_of(&windows[1])[1..], ["500 received, 0 lost"]);
}

#[test]
fn longer_messages_arrive_whole() {
    let stage = Stage::new();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        let lengths = Notes::new();
        let notes = lengths.clone();
        ipc.follow(BULLETIN, move |_, bytes| {
            assert_eq!(bytes, pattern(bytes.len()));
            notes.add(bytes.len());
        });
        ipc.report("subscribed");
        cues.wait();
        ipc.run_until("both bulletins", || lengths.len() == 2);
        ipc.report(format!("{:?}", lengths.take()));
    });
    stage.run_until_reported("subscribed");
    for len in [1000, 15_000] {
        stage.ipc.publish(BULLETIN, &pattern(len)).unwrap();
    }
    assert_eq!(stage.cue_to_the_end(&window)[1..], ["[1000, 15000]"]);
}

#[test]
fn who_has_unsubscribed_neither_hears_nor_loses_and_begins_anew_when_it_subscribes_again() {
    let stage = stage_with_small_topics();
    let window = stage.play(|ipc| {
        let cues = ipc.cues();
        let read = Notes::new();
        ipc.follow(NEWS, noting(&read));
        ipc.report("subscribed");
        ipc.run_until("the first message", || read.len() == 1);
        ipc.unsubscribe(NEWS).unwrap();
        ipc.report("unsubscribed");
        cues.wait();
        ipc.follow(NEWS, noting(&read));
        ipc.report("subscribed again");
        ipc.run_until("the last message", || read.len() >= 2);
        ipc.report(format!("{:?}", read.take()));
    });
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

// --- renderers and main processes ---------------------------------------------------------------

/// What a reader noted: each message with how many were lost just before it.
type Read = Notes<(u64, u64)>;

fn noting(read: &Read) -> impl FnMut(&IpcRendererEvent<'_>, &u64) + Send + use<> {
    let read = read.clone();
    move |event, number| read.add((event.lost(), *number))
}

/// The cue says how many messages were published in all. There is no order between it and a topic.
fn published(ipc: &Renderer) -> Notes<u64> {
    ipc.note(CUE, move |_, text| text.parse().unwrap())
}

/// Checks that what came and what was lost are together everything, message for message.
fn check(read: Vec<(u64, u64)>) -> (u64, u64) {
    let (mut received, mut lost) = (0, 0);
    for (lost_before, number) in read {
        lost += lost_before;
        received += 1;
        assert_eq!(number, received + lost, "messages are numbered from 1");
    }
    (received, lost)
}

/// Runs the loop until the reader has accounted for all that was published.
fn read_all(ipc: &Renderer, read: &Read, published: &Notes<u64>) {
    let mut all = None;
    let (mut received, mut lost) = (0, 0);
    let mut kept = Vec::new();
    ipc.run_until("everything that was published", || {
        all = all.or_else(|| published.take().pop());
        kept.extend(read.take());
        (received, lost) = check(kept.clone());
        all == Some(received + lost)
    });
    let counters = ipc.counters();
    assert_eq!((counters.topic_received, counters.topic_lost), (received, lost));
    ipc.report(format!("{received} received, {lost} lost"));
}

/// Tells main of each message that it has read.
fn acknowledges_news(ipc: &Renderer) {
    let (read, published) = (Notes::new(), published(ipc));
    let (mut note, acknowledging) = (noting(&read), ipc.clone());
    ipc.follow(NEWS, move |event, number| {
        note(event, number);
        let sender = u64::from(acknowledging.id());
        acknowledging.send(NUMBERED, &Numbered { sender, number: *number }).unwrap();
    });
    ipc.report("subscribed");
    read_all(ipc, &read, &published);
}

/// Reads the newest message whenever it gets to look, until all are accounted for.
fn follows_the_latest_news(ipc: &Renderer) {
    let (read, published) = (Notes::new(), published(ipc));
    ipc.subscribe_latest(NEWS, noting(&read)).unwrap();
    ipc.report("subscribed");
    read_all(ipc, &read, &published);
}

fn reads_the_latest_news(ipc: &Renderer) {
    let read = Notes::new();
    let mut note = noting(&read);
    let reporting = ipc.clone();
    let mut first = true;
    ipc.subscribe_latest(NEWS, move |event, number| {
        note(event, number);
        if std::mem::take(&mut first) {
            // Main publishes more while this listener is in the way.
            reporting.report("busy with the first");
            wait_for_input();
        }
    })
    .unwrap();
    ipc.report("subscribed");
    ipc.run_until("the last message", || read.len() >= 2);
    ipc.report(format!("{:?}", read.take()));
}

fn reads_news(ipc: &Renderer) {
    let (read, published) = (Notes::new(), published(ipc));
    ipc.follow(NEWS, noting(&read));
    ipc.report("subscribed");
    read_all(ipc, &read, &published);
}
