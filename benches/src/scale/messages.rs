//! The messages between a crowd and its main process.

use std::time::Duration;

use ringbridge::{Contract, Event, Method, Push, Topic};

use crate::{pair::side::set_stamp, stats::Distribution};

ringbridge::payload! {
    /// The next task of a renderer.
    pub(super) enum Task: u32 {
        /// Send as fast as main takes it.
        Stream = 0,
        /// Send at intervals.
        Pace = 1,
        /// Invoke in a loop.
        Invoke = 2,
        /// Connect by name `count` times, each session beside this one.
        Attach = 3,
        /// Subscribe to the topic, and never read it. Main sees an awake renderer.
        Subscribe = 4,
    }
}

ringbridge::payload! {
    /// From main: an order with a time or a count.
    pub(super) struct Order {
        pub(super) task: Task,
        pub(super) count: u32,
        pub(super) time_ns: u64,
        pub(super) interval_ns: u64,
    }
}

ringbridge::payload! {
    /// From a renderer: an order is done. The first report says that the renderer listens.
    pub(super) struct Report {
        pub(super) count: u64,
        pub(super) p50_ns: u64,
        pub(super) p99_ns: u64,
    }
}

/// A message that shares a cache line with its header. The stamp is the time of a paced message, or 0.
pub(super) type Message = [u8; 48];

pub(super) const ORDER: Push<Order> = Push::new("order");
pub(super) const REPORT: Event<Report> = Event::new("report");
/// The reason why a renderer cannot continue.
pub(super) const FAILED: Event<str> = Event::new("failed");
pub(super) const MESSAGE: Event<Message> = Event::new("message");
pub(super) const ECHO: Method<Message, Message> = Method::new("echo");
pub(super) const PUSH: Push<Message> = Push::new("push");
pub(super) const NEWS: Topic<Message> = Topic::new("news");

pub(super) const CONTRACT: Contract = &[&ORDER, &REPORT, &FAILED, &MESSAGE, &ECHO, &PUSH, &NEWS];

/// Returns a message with a stamp.
pub(super) fn stamped(stamp: u64) -> Message {
    let mut message = [0; size_of::<Message>()];
    set_stamp(&mut message, stamp);
    message
}

impl Order {
    /// Orders a task for some time.
    pub(super) fn timed(task: Task, time: Duration) -> Self {
        Self { task, count: 0, time_ns: time.as_nanos() as u64, interval_ns: 0 }
    }
}

impl Report {
    /// Reports a number of messages.
    pub(super) fn count(count: u64) -> Self {
        Self { count, p50_ns: 0, p99_ns: 0 }
    }

    /// Reports the percentiles of some samples.
    pub(super) fn of(all: &Distribution) -> Self {
        Self { count: all.count(), p50_ns: all.at(0.5), p99_ns: all.at(0.99) }
    }
}
