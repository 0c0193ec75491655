//! Main's end of a topic: one writer, and the windows whose renderers read it.

use std::{io, sync::Arc};

use crate::{
    peer::Port,
    primitives::Mutex,
    ring::broadcast::{TooLarge, TopicWriter},
    shm::{
        backing::Backing,
        handle::MemoryHandle,
        region::{Region, WriterSide},
    },
    sync::snapshot::{Cached, Snapshot},
    wire::words::fence_before_look,
};

pub(crate) struct TopicChannel {
    region: Region,
    subscribers: Snapshot<Vec<Arc<Port>>>,
    publishing: Mutex<Publishing>,
}

struct Publishing {
    writer: TopicWriter,
    subscribers: Cached<Vec<Arc<Port>>>,
}

impl TopicChannel {
    pub(super) fn create(
        backing: &Backing,
        name: &str,
        capacity: usize,
        prefault: bool,
    ) -> io::Result<Self> {
        let region = Region::create(
            backing,
            &format!("ringbridge-topic-{name}"),
            Region::ring_len(capacity),
            WriterSide::Creator,
        )?;
        if prefault {
            region.prefault()?;
        }
        let memory = region.topic().expect("made with a ring's length");
        memory.control.initialise(capacity);
        let subscribers = Snapshot::new(Vec::new());
        let publishing =
            Publishing { writer: TopicWriter::new(memory, 0), subscribers: subscribers.cached() };
        Ok(Self { region, subscribers, publishing: Mutex::new(publishing) })
    }

    /// What a renderer needs to map it.
    pub(super) fn handle(&self) -> &MemoryHandle {
        self.region.handle()
    }

    /// Writes a message once and wakes the subscribers that sleep. Returns its sequence.
    pub(super) fn publish(&self, bytes: &[u8]) -> Result<u64, TooLarge> {
        let mut publishing = self.publishing.lock();
        let sequence = publishing.writer.publish(bytes)?;
        // One fence for all of them: see `PeerBell::frames_committed`.
        fence_before_look();
        for port in publishing.subscribers.refresh().iter() {
            port.bell.ring_if_asleep(&port.counters.wakes);
        }
        Ok(sequence)
    }

    pub(super) fn subscribe(&self, port: &Arc<Port>) {
        self.subscribers.update(|ports| {
            if !ports.iter().any(|known| Arc::ptr_eq(known, port)) {
                ports.push(port.clone());
            }
        });
        // What was published since the renderer's reader began has rung nobody.
        port.bell.frames_committed(&port.counters.wakes);
    }

    pub(super) fn unsubscribe(&self, port: &Arc<Port>) {
        self.subscribers.update(|ports| ports.retain(|known| !Arc::ptr_eq(known, port)));
        // The publisher's copy too, which would keep the memory of the dead until the next message.
        let mut publishing = self.publishing.lock();
        publishing.subscribers.refresh();
    }
}
