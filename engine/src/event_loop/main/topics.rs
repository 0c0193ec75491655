//! Main's end of a topic: one writer, and the windows whose renderers read it.

use std::{io, sync::Arc};

use crate::{
    contract::{ChannelKind, Declaration},
    metrics::counters::Counter,
    peer::Port,
    primitives::Mutex,
    ring::broadcast::{TooLarge, TopicWriter},
    shm::{
        backing::Backing,
        handle::MemoryHandle,
        region::{Access, Region},
    },
    sync::snapshot::{Cached, Snapshot},
    wire::words::fence_before_look,
};

/// The topics of an endpoint, by channel number.
pub(crate) struct Topics {
    by_number: Vec<Option<TopicChannel>>,
    pub(crate) published: Counter,
}

impl Topics {
    pub(super) fn create(
        backing: &Backing,
        declared: &[Declaration],
        capacity: usize,
        prefault: bool,
    ) -> io::Result<Self> {
        let topic = |channel: &Declaration| match channel.kind {
            ChannelKind::Topic => {
                TopicChannel::create(backing, channel.name, capacity, prefault).map(Some)
            }
            _ => Ok(None),
        };
        let by_number = declared.iter().map(topic).collect::<Result<_, _>>()?;
        Ok(Self { by_number, published: Counter::default() })
    }

    fn get(&self, number: u16) -> Option<&TopicChannel> {
        self.by_number.get(usize::from(number))?.as_ref()
    }

    /// Publishes a message. `None`: there is no such topic.
    pub(crate) fn publish(&self, number: u16, bytes: &[u8]) -> Option<Result<u64, TooLarge>> {
        let published = self.get(number)?.publish(bytes);
        if published.is_ok() {
            self.published.add();
        }
        Some(published)
    }

    pub(super) fn subscribe(&self, number: u16, port: &Arc<Port>) {
        if let Some(topic) = self.get(number) {
            topic.subscribe(port);
        }
    }

    pub(super) fn unsubscribe(&self, number: u16, port: &Arc<Port>) {
        if let Some(topic) = self.get(number) {
            topic.unsubscribe(port);
        }
    }

    pub(super) fn unsubscribe_from_all(&self, port: &Arc<Port>) {
        self.by_number.iter().flatten().for_each(|topic| topic.unsubscribe(port));
    }

    /// The handles by which a renderer maps the topics that `allowed` lets it read.
    pub(super) fn handles(
        &self,
        allowed: impl Fn(u16) -> bool,
    ) -> impl Iterator<Item = (u16, &MemoryHandle)> {
        let numbered = (0..).zip(&self.by_number);
        numbered.filter_map(move |(number, topic)| {
            let topic = topic.as_ref().filter(|_| allowed(number))?;
            Some((number, topic.region.handle()))
        })
    }
}

/// One topic: its memory, and its subscribers.
struct TopicChannel {
    region: Region,
    subscribers: Snapshot<Vec<Arc<Port>>>,
    publishing: Mutex<Publishing>,
}

struct Publishing {
    writer: TopicWriter,
    subscribers: Cached<Vec<Arc<Port>>>,
}

impl TopicChannel {
    fn create(backing: &Backing, name: &str, capacity: usize, prefault: bool) -> io::Result<Self> {
        let region = Region::create(
            backing,
            &format!("ringbridge-topic-{name}"),
            Region::ring_len(capacity),
            Access::Write,
        )?;
        if prefault {
            region.prefault()?;
        }
        let memory = region.topic().expect("made with a ring's length");
        memory.control.identity.initialise(capacity);
        let subscribers = Snapshot::new(Vec::new());
        let publishing =
            Publishing { writer: TopicWriter::new(memory, 0), subscribers: subscribers.cached() };
        Ok(Self { region, subscribers, publishing: Mutex::new(publishing) })
    }

    /// Writes a message once and wakes the subscribers that sleep. Returns its sequence.
    fn publish(&self, bytes: &[u8]) -> Result<u64, TooLarge> {
        let mut publishing = self.publishing.lock();
        let sequence = publishing.writer.publish(bytes)?;
        // One fence for all of them: see `PeerBell::frames_committed`.
        fence_before_look();
        for port in publishing.subscribers.refresh().iter() {
            port.bell.ring_if_asleep(&port.counters.wakes);
        }
        Ok(sequence)
    }

    fn subscribe(&self, port: &Arc<Port>) {
        self.subscribers.update(|ports| {
            if !ports.iter().any(|known| Arc::ptr_eq(known, port)) {
                ports.push(port.clone());
            }
        });
        // What was published since the renderer's reader began has rung nobody.
        port.bell.frames_committed(&port.counters.wakes);
    }

    fn unsubscribe(&self, port: &Arc<Port>) {
        self.subscribers.update(|ports| ports.retain(|known| !Arc::ptr_eq(known, port)));
        // The publisher's copy too, which would keep the memory of the dead until the next message.
        let mut publishing = self.publishing.lock();
        publishing.subscribers.refresh();
    }
}
