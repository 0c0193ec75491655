//! One write for all renderers: `publish` and `subscribe`. A slow reader loses messages and knows how many.

use tests::prelude::*;

/// A stage whose topics hold few messages: a record of one number takes 64 bytes.
fn stage_with_small_topics() -> Stage {
    Stage::with(Config { topic_capacity: 4096, ..config() })
}

fn publish(stage: &Stage, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| _ = stage.ipc.publish(NEWS, &number).unwrap());
}

/// Tells renderers how many messages were published, and runs to their ends. Returns how many each of them has
/// received and lost, which must be all of them.
fn account(stage: &Stage, windows: &[WebContents], published: u64) -> Vec<(u64, u64)> {
    windows.iter().for_each(|window| window.send(CUE, &published.to_string()).unwrap());
    stage.run_to_the_end();
    let account = |window| {
        let report = &stage.reports_of(window)[1];
        let mut numbers = report.split(' ').filter_map(|word| word.parse().ok());
        let (received, lost) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert_eq!(received + lost, published);
        assert!(received > 0, "{report}");
        (received, lost)
    };
    windows.iter().map(account).collect()
}

#[test]
fn every_subscriber_hears_the_messages_after_its_subscription_and_none_before() {
    let stage = Stage::new();
    assert_eq!(stage.ipc.publish(NEWS, &1_000_000).unwrap(), 1);
    let windows = [(); 3].map(|()| stage.play_ready(reads_news, &[]));
    for number in 1..=200 {
        assert_eq!(stage.ipc.publish(NEWS, &number).unwrap(), 1 + number);
    }
    assert_eq!(account(&stage, &windows, 200), [(200, 0); 3]);
    assert_eq!(stage.ipc.counters().published, 201);
}

#[test]
fn received_and_lost_messages_are_together_all_that_were_published_for_readers_of_any_speed() {
    const COUNT: u64 = 20_000;
    let stage = stage_with_small_topics();
    let slow: RendererScene = |ipc| {
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
    };
    let readers = [slow, reads_news, follows_the_latest_news, follows_the_latest_news];
    let windows = readers.map(|scene| stage.play_ready(scene, &[]));
    publish(&stage, 1..=COUNT);
    assert!(account(&stage, &windows, COUNT)[0].1 > 0, "the slow one has lost some");
}

/// Publishes so many messages, in step with the readers that acknowledge them. Returns how often this thread
/// has slept in the kernel in a publish.
fn publish_in_step(stage: &Stage, readers: &[WebContents], count: u64) -> u64 {
    let acknowledged = stage.note(NUMBERED, |event, read| (event.sender_id(), read.number));
    let mut slept = 0;
    let mut awaited = Vec::new();
    for number in 1..=count {
        let before = voluntary_switches();
        stage.ipc.publish(NEWS, &number).unwrap();
        slept += voluntary_switches() - before;
        awaited.extend(readers.iter().map(|reader| (reader.id(), number)));
        // A quarter of the topic's records: no reader that keeps up is lapped.
        if number.is_multiple_of(16) || number == count {
            stage.run_until("the readers have read so far", || {
                let came = acknowledged.take();
                awaited.retain(|one| !came.contains(one));
                awaited.is_empty()
            });
        }
    }
    slept
}

#[test]
fn a_stopped_subscriber_slows_no_other_process_and_counts_what_it_missed() {
    const COUNT: u64 = 1000;
    // When it is stopped in the middle of a record, another one of its lap may be there still.
    for (scene, received_at_most) in
        [(reads_news as RendererScene, 64), (follows_the_latest_news, 1)]
    {
        let stage = stage_with_small_topics();
        let scenes = [acknowledges_news, acknowledges_news, scene];
        let windows = scenes.map(|scene| stage.play_ready(scene, &[]));
        let [others @ .., stopped] = &windows;
        let process = stopped.os_process_id();
        stop_process(process);
        let wakes = stopped.counters().wakes;
        let began = Instant::now();
        let slept = publish_in_step(&stage, others, COUNT);
        // Other tests in this process may hold a lock of the kernel for a moment.
        assert!(slept <= COUNT / 50, "{slept} sleeps in {COUNT} publishes");
        assert!(began.elapsed() < config().send_timeout, "no publish has waited for it");
        assert!(is_stopped(process));
        let counters = stopped.counters();
        // At most for its one sleep, and never for room.
        assert!(counters.wakes - wakes <= 1, "{} wake-ups", counters.wakes - wakes);
        assert_eq!((counters.stalls, counters.full), (0, 0));
        signal(process, Signal::CONT);

        let accounts = account(&stage, &windows, COUNT);
        assert_eq!(accounts[..2], [(COUNT, 0); 2]);
        assert!(accounts[2].0 <= received_at_most, "{accounts:?}");
    }
}

#[test]
fn a_subscriber_to_the_latest_gets_the_newest_and_is_told_how_many_it_skipped() {
    let stage = Stage::new();
    let scene: RendererScene = |ipc| {
        let read = Notes::new();
        let mut note = noting(&read);
        let reporting = ipc.clone();
        let mut first = true;
        let subscribed = ipc.subscribe_latest(NEWS, move |event, number| {
            note(event, number);
            if std::mem::take(&mut first) {
                // Main publishes more while this listener runs.
                reporting.report("busy with the first");
                wait_for_input();
            }
        });
        subscribed.unwrap();
        ipc.report("subscribed");
        ipc.run_until("the last message", || read.len() >= 2);
        ipc.report(format!("{:?}", read.take()));
    };
    let (_, mut sign) = stage.play_ready_with_input(scene, &[], allow_everything());
    publish(&stage, [1]);
    stage.run_until_reported("busy with the first");
    publish(&stage, 2..=100);
    sign.write_all(b".").unwrap();
    assert_eq!(stage.run_to_the_end()[2..], ["[(0, 1), (98, 100)]"]);
}

#[test]
fn a_subscriber_that_dies_does_not_disturb_publishing() {
    let stage = Stage::new();
    let windows = [(); 2].map(|()| stage.play_ready(reads_news, &[]));
    signal(windows[0].os_process_id(), Signal::KILL);
    publish(&stage, 1..=500);
    windows[1].send(CUE, "500").unwrap();
    windows.iter().for_each(|window| _ = stage.run_until_gone(window));
    assert_eq!(stage.reports_of(&windows[1])[1..], ["500 received, 0 lost"]);
}

#[test]
fn longer_messages_arrive_whole() {
    let stage = Stage::new();
    let scene: RendererScene = |ipc| {
        let lengths = Notes::new();
        let note = lengths.adding();
        ipc.follow(BULLETIN, move |_, bytes| {
            assert_eq!(bytes, pattern(bytes.len()));
            note(bytes.len());
        });
        ipc.report("subscribed");
        ipc.run_until("both bulletins", || lengths.len() == 2);
        assert_eq!(lengths.take(), [1000, 15_000]);
    };
    stage.play_ready(scene, &[]);
    for len in [1000, 15_000] {
        stage.ipc.publish(BULLETIN, &pattern(len)).unwrap();
    }
    stage.run_to_the_end();
}

#[test]
fn a_renderer_that_has_unsubscribed_neither_hears_nor_loses_messages_until_it_subscribes_again() {
    let stage = stage_with_small_topics();
    let scene: RendererScene = |ipc| {
        let read = Notes::new();
        ipc.follow(NEWS, noting(&read));
        ipc.report("subscribed");
        ipc.run_until("the first message", || read.len() == 1);
        ipc.unsubscribe(NEWS).unwrap();
        ipc.wait_for_cue("unsubscribed");
        ipc.follow(NEWS, noting(&read));
        ipc.report("subscribed again");
        ipc.run_until("the last message", || read.len() >= 2);
        ipc.report(format!("{:?}", read.take()));
    };
    let window = stage.play_ready(scene, &[]);
    publish(&stage, [1]);
    stage.run_until_reported("unsubscribed");
    // Several laps.
    publish(&stage, 2..=500);
    window.send(CUE, "").unwrap();
    stage.run_until_reported("subscribed again");
    publish(&stage, [501]);
    assert_eq!(stage.run_to_the_end()[3..], ["[(0, 1), (0, 501)]"]);
}

/// The messages of a reader, each with the number of lost ones just before it.
type Read = Notes<(u64, u64)>;

fn noting(read: &Read) -> impl FnMut(&IpcRendererEvent<'_>, &u64) + Send + use<> {
    let note = read.adding();
    move |event, number| note((event.lost(), *number))
}

/// The cue says how many messages were published in all. There is no order between it and a topic.
fn published(ipc: &Renderer) -> Notes<u64> {
    ipc.note(CUE, move |_, text| text.parse().unwrap())
}

/// Checks that received and lost messages are an unbroken sequence from 1. Returns how many they are.
fn check(read: &[(u64, u64)]) -> (u64, u64) {
    let (mut received, mut lost) = (0, 0);
    for (lost_before, number) in read {
        lost += lost_before;
        received += 1;
        assert_eq!(*number, received + lost);
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
        (received, lost) = check(&kept);
        all == Some(received + lost)
    });
    let counters = ipc.counters();
    assert_eq!((counters.topic_received, counters.topic_lost), (received, lost));
    ipc.report(format!("{received} received, {lost} lost"));
}

/// Sends each number back that it has read.
fn acknowledges_news(ipc: &Renderer) {
    let (read, published) = (Notes::new(), published(ipc));
    let (mut note, acknowledging) = (noting(&read), ipc.clone());
    ipc.follow(NEWS, move |event, &number| {
        note(event, &number);
        acknowledging.send(NUMBERED, &Numbered { sender: 0, number }).unwrap();
    });
    ipc.report("subscribed");
    read_all(ipc, &read, &published);
}

/// Reads the newest message whenever its loop runs.
fn follows_the_latest_news(ipc: &Renderer) {
    let (read, published) = (Notes::new(), published(ipc));
    ipc.subscribe_latest(NEWS, noting(&read)).unwrap();
    ipc.report("subscribed");
    read_all(ipc, &read, &published);
}

fn reads_news(ipc: &Renderer) {
    let (read, published) = (Notes::new(), published(ipc));
    ipc.follow(NEWS, noting(&read));
    ipc.report("subscribed");
    read_all(ipc, &read, &published);
}
