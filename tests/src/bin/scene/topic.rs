//! Renderers that subscribe.

use std::{thread, time::Duration};

use ringbridge::{IpcRenderer, IpcRendererEvent};
use tests::{
    contract::{BULLETIN, CUE, NEWS, NUMBERED, Numbered, pattern},
    stage::Notes,
};

use crate::{Cues, Scene, connect, report, run_until, wait_for_input};

pub(crate) const SCENES: &[(&str, Scene)] = &[
    ("reads-news", reads_news),
    ("reads-news-slowly", reads_news_slowly),
    ("acknowledges-news", acknowledges_news),
    ("follows-the-latest-news", follows_the_latest_news),
    ("reads-the-latest-news", reads_the_latest_news),
    ("reads-bulletins", reads_bulletins),
    ("reads-news-for-a-while", reads_news_for_a_while),
];

/// What a reader noted: each message with how many were lost just before it.
type Read = Notes<(u64, u64)>;

fn noting(read: &Read) -> impl FnMut(&IpcRendererEvent<'_>, &u64) + Send + use<> {
    let read = read.clone();
    move |event, number| read.add((event.lost(), *number))
}

/// The cue says how many messages were published in all. There is no order between it and a topic.
fn published(ipc: &IpcRenderer) -> Notes<u64> {
    let published = Notes::new();
    let notes = published.clone();
    ipc.on(CUE, move |_, text| notes.add(text.parse().unwrap())).unwrap();
    published
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
fn read_all(ipc: &IpcRenderer, read: &Read, published: &Notes<u64>) {
    let mut all = None;
    let (mut received, mut lost) = (0, 0);
    let mut kept = Vec::new();
    run_until(ipc, "everything that was published", || {
        all = all.or_else(|| published.take().pop());
        kept.extend(read.take());
        (received, lost) = check(kept.clone());
        all == Some(received + lost)
    });
    let counters = ipc.counters();
    assert_eq!((counters.topic_received, counters.topic_lost), (received, lost));
    report(ipc, format!("{received} received, {lost} lost"));
}

fn reads_news(_: &[String]) {
    let ipc = connect();
    let (read, published) = (Notes::new(), published(&ipc));
    ipc.subscribe(NEWS, noting(&read)).unwrap();
    report(&ipc, "subscribed");
    read_all(&ipc, &read, &published);
}

/// Takes its time over the first hundred messages, so that the writer laps it.
fn reads_news_slowly(_: &[String]) {
    let ipc = connect();
    let (read, published) = (Notes::new(), published(&ipc));
    let mut note = noting(&read);
    let mut slow = 100;
    ipc.subscribe(NEWS, move |event, number| {
        note(event, number);
        if slow > 0 {
            slow -= 1;
            thread::sleep(Duration::from_millis(1));
        }
    })
    .unwrap();
    report(&ipc, "subscribed");
    read_all(&ipc, &read, &published);
}

/// Tells main of each message that it has read.
fn acknowledges_news(_: &[String]) {
    let ipc = connect();
    let (read, published) = (Notes::new(), published(&ipc));
    let (mut note, acknowledging) = (noting(&read), ipc.clone());
    ipc.subscribe(NEWS, move |event, number| {
        note(event, number);
        let sender = u64::from(acknowledging.id());
        acknowledging.send(NUMBERED, &Numbered { sender, number: *number }).unwrap();
    })
    .unwrap();
    report(&ipc, "subscribed");
    read_all(&ipc, &read, &published);
}

/// Reads the newest message whenever it gets to look, until all are accounted for.
fn follows_the_latest_news(_: &[String]) {
    let ipc = connect();
    let (read, published) = (Notes::new(), published(&ipc));
    ipc.subscribe_latest(NEWS, noting(&read)).unwrap();
    report(&ipc, "subscribed");
    read_all(&ipc, &read, &published);
}

fn reads_the_latest_news(_: &[String]) {
    let ipc = connect();
    let read = Notes::new();
    let mut note = noting(&read);
    let reporting = ipc.clone();
    let mut first = true;
    ipc.subscribe_latest(NEWS, move |event, number| {
        note(event, number);
        if std::mem::take(&mut first) {
            // Main publishes more while this listener is in the way.
            report(&reporting, "busy with the first");
            wait_for_input();
        }
    })
    .unwrap();
    report(&ipc, "subscribed");
    run_until(&ipc, "the last message", || read.len() >= 2);
    report(&ipc, format!("{:?}", read.take()));
}

fn reads_bulletins(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let lengths = Notes::new();
    let notes = lengths.clone();
    ipc.subscribe(BULLETIN, move |_, bytes| {
        assert_eq!(bytes, pattern(bytes.len()));
        notes.add(bytes.len());
    })
    .unwrap();
    report(&ipc, "subscribed");
    cues.wait();
    run_until(&ipc, "both bulletins", || lengths.len() == 2);
    report(&ipc, format!("{:?}", lengths.take()));
}

/// Subscribes, unsubscribes and subscribes again, at main's signs.
fn reads_news_for_a_while(_: &[String]) {
    let ipc = connect();
    let cues = Cues::listen(&ipc);
    let read = Notes::new();
    ipc.subscribe(NEWS, noting(&read)).unwrap();
    report(&ipc, "subscribed");
    run_until(&ipc, "the first message", || read.len() == 1);
    ipc.unsubscribe(NEWS).unwrap();
    report(&ipc, "unsubscribed");
    cues.wait();
    ipc.subscribe(NEWS, noting(&read)).unwrap();
    report(&ipc, "subscribed again");
    run_until(&ipc, "the last message", || read.len() >= 2);
    report(&ipc, format!("{:?}", read.take()));
}
