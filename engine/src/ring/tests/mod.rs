//! The ring on the heap: its behaviour, its refusals, and its models.

use crate::{
    ring::{
        consumer::{Consumer, Writer},
        producer::{Producer, ReserveError},
    },
    shm::shared::{OutboxMemory, Shared},
    wire::{
        frame::{Kind, Label, Violation},
        outbox::OutboxControl,
    },
};

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod protocol;

/// The two ends of a ring, which begin at `start`, and the consumer's control page.
fn ring(capacity: usize, start: u64) -> (Producer, Consumer, Shared<OutboxControl>) {
    let data = OutboxMemory::heap(capacity).data;
    let control = OutboxMemory::heap(capacity).control;
    let consumer = Consumer::new(Writer::Main, data.clone(), control.clone(), start);
    let producer = Producer::new(data, control.clone(), start);
    (producer, consumer, control)
}

/// The label of an event on a channel, which these tests use to number frames.
fn event(channel: u16) -> Label {
    Label { kind: Kind::Send, flags: 0, channel, id: None }
}

impl Producer {
    /// Returns whether a payload of this length could be reserved now.
    fn has_room_for(&mut self, payload_len: usize) -> Result<bool, Violation> {
        match self.reserve(payload_len) {
            Ok(_reservation) => Ok(true),
            Err(ReserveError::Full | ReserveError::TooLarge { .. }) => Ok(false),
            Err(ReserveError::Peer(violation)) => Err(violation),
        }
    }
}
