//! The topics of a renderer: those that it may read, and those that its loop reads.

use std::{collections::BTreeMap, sync::Arc};

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

/// The topics that the policy allows, and changes on their way to the loop.
pub(crate) struct TopicList {
    /// By channel number.
    allowed: Vec<(u16, TopicMemory)>,
    /// `None`: the topic is not read any more.
    changes: Mutex<Vec<(u16, Option<ReadTopic>)>>,
    changed: AtomicBool,
}

/// A topic that the loop reads.
pub(crate) struct ReadTopic {
    pub(crate) reader: TopicReader,
    /// Only the newest message is of interest.
    pub(crate) conflate: bool,
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
    pub(crate) fn change(&self, number: u16, topic: Option<ReadTopic>) {
        self.changes.lock().push((number, topic));
        // Relaxed: the lock hands over the change; a driver that sees the flag late is woken.
        self.changed.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn have_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }
}

/// The topics that the loop reads, by channel number.
#[derive(Default)]
pub(super) struct ReadTopics {
    pub(super) topics: BTreeMap<u16, ReadTopic>,
    copy: AlignedBuf,
}

impl ReadTopics {
    #[cold]
    pub(super) fn apply(&mut self, list: &TopicList) {
        let mut changes = list.changes.lock();
        list.changed.store(false, Ordering::Relaxed);
        for (number, topic) in changes.drain(..) {
            match (topic, self.topics.get_mut(&number)) {
                (Some(topic), Some(known)) => known.conflate = topic.conflate,
                (Some(topic), None) => _ = self.topics.insert(number, topic),
                (None, _) => _ = self.topics.remove(&number),
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
        for (number, topic) in &mut self.topics {
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
                let route = routes.route(*number);
                dispatcher.emit(&delivery, route, self.copy.as_slice(), key);
            }
        }
        taken
    }

    pub(super) fn has_news(&self) -> bool {
        self.topics.values().any(|topic| topic.reader.has_news())
    }
}
