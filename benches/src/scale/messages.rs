//! What a crowd and its main process say to each other.

use ringbridge::{Contract, Event, Method, Push, Topic};

ringbridge::payload! {
    /// What a renderer is to do next.
    pub(super) enum Task: u32 {
        /// Send as fast as main takes it.
        Stream = 0,
        /// Send at intervals.
        Pace = 1,
        /// Invoke again and again.
        Invoke = 2,
        /// Connect by name, so many times over, each session beside this one.
        Attach = 3,
        /// Subscribe to the topic, and never look at it: awake, as far as main can tell.
        Subscribe = 4,
    }
}

ringbridge::payload! {
    /// From main: do this until the time is over, or so many times.
    pub(super) struct Order {
        pub(super) task: Task,
        pub(super) count: u32,
        pub(super) time_ns: u64,
        pub(super) interval_ns: u64,
    }
}

ringbridge::payload! {
    /// From a renderer: it is done. The first one says that it is there.
    pub(super) struct Report {
        pub(super) count: u64,
        pub(super) p50_ns: u64,
        pub(super) p99_ns: u64,
    }
}

/// As much as shares a cache line with its header. It begins with the time of a paced message, or 0.
pub(super) type Message = [u8; 48];

pub(super) const ORDER: Push<Order> = Push::new("order");
pub(super) const REPORT: Event<Report> = Event::new("report");
/// The renderer cannot go on, and says why.
pub(super) const FAILED: Event<str> = Event::new("failed");
pub(super) const MESSAGE: Event<Message> = Event::new("message");
pub(super) const ECHO: Method<Message, Message> = Method::new("echo");
pub(super) const PUSH: Push<Message> = Push::new("push");
pub(super) const NEWS: Topic<Message> = Topic::new("news");

pub(super) const CONTRACT: Contract = &[&ORDER, &REPORT, &FAILED, &MESSAGE, &ECHO, &PUSH, &NEWS];

pub(super) fn stamped(stamp: u64) -> Message {
    let mut message = [0; size_of::<Message>()];
    message[..8].copy_from_slice(&stamp.to_ne_bytes());
    message
}

pub(super) fn stamp_of(message: &Message) -> u64 {
    message.first_chunk().copied().map_or(0, u64::from_ne_bytes)
}
