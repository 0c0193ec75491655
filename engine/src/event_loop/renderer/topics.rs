//! The topics of a renderer: those that it may read, and those that its loop reads.

use crate::{
    peer::{
        Port,
        dispatch::{Delivery, Dispatcher, Routes},
    },
    primitives::{AtomicBool, Mutex, Ordering},
    ring::broadcast::TopicReader,
    shm::{aligned::AlignedBuf, shared::TopicMemory},
    sync::{loop_cell::LoopKey, snapshot::Cached},
};
use std::sync::Arc;

/// The topics that the policy allows, and changes on their way to the loop.
pub(crate) struct TopicList {
    /// By channel number.
    allowed: Vec<(u16, TopicMemory)>,
    changes: Mutex<Vec<TopicChange>>,
    changed: AtomicBool,
}

/// A topic reader on its way into or out of the loop.
pub(crate) enum TopicChange {
    Add {
        number: u16,
        reader: TopicReader,
        /// Only the newest message is of interest.
        conflate: bool,
    },
    Remove {
        number: u16,
    },
}

impl TopicList {
    pub(super) fn new(allowed: Vec<(u16, TopicMemory)>) -> Self {
        Self { allowed, changes: Mutex::new(Vec::new()), changed: AtomicBool::new(false) }
    }

    /// Returns a topic's memory, if the policy allows it.
    pub(crate) fn memory(&self, number: u16) -> Option<TopicMemory> {
        self.allowed.iter().find(|(topic, _)| *topic == number).map(|(_, memory)| memory.clone())
    }

    /// Leaves a change for the loop, which the caller wakes.
    pub(crate) fn change(&self, change: TopicChange) {
        self.changes.lock().push(change);
        // Relaxed: the lock hands over the change; a driver that sees the flag late is woken.
        self.changed.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn have_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }
}

/// A topic that the loop reads.
pub(super) struct ReadTopic {
    pub(super) number: u16,
    reader: TopicReader,
    pub(super) conflate: bool,
}

/// The topics that the loop reads.
#[derive(Default)]
pub(super) struct ReadTopics {
    pub(super) topics: Vec<ReadTopic>,
    copy: AlignedBuf,
}

impl ReadTopics {
    #[cold]
    pub(super) fn apply(&mut self, list: &TopicList) {
        let mut changes = list.changes.lock();
        list.changed.store(false, Ordering::Relaxed);
        for change in changes.drain(..) {
            match change {
                TopicChange::Add { number, reader, conflate } => {
                    match self.topics.iter_mut().find(|topic| topic.number == number) {
                        Some(topic) => topic.conflate = conflate,
                        None => self.topics.push(ReadTopic { number, reader, conflate }),
                    }
                }
                TopicChange::Remove { number } => {
                    self.topics.retain(|topic| topic.number != number);
                }
            }
        }
    }

    /// Delivers messages, up to `batch` of each topic. Returns how many.
    pub(super) fn take(
        &mut self,
        port: &Arc<Port>,
        dispatcher: &Dispatcher,
        routes: &mut Cached<Routes>,
        key: &mut LoopKey,
        batch: usize,
    ) -> usize {
        let mut taken = 0;
        for topic in &mut self.topics {
            for _ in 0..batch {
                let received = if topic.conflate {
                    topic.reader.latest(&mut self.copy)
                } else {
                    topic.reader.next(&mut self.copy)
                };
                let Some(received) = received else { break };
                taken += 1;
                port.counters.topic_received.add_alone(1);
                port.counters.topic_lost.add_alone(received.lost);
                let routes = routes.refresh();
                let delivery = Delivery { port, lost: received.lost };
                let route = routes.route(topic.number);
                dispatcher.emit(&delivery, route, self.copy.as_slice(), key);
            }
        }
        taken
    }

    pub(super) fn has_news(&self) -> bool {
        self.topics.iter().any(|topic| topic.reader.has_news())
    }
}
