//! The ring, on the heap: what it does, what it refuses, and (under loom) why it is safe to do so.

use crate::ring::consumer::Consumer;
use crate::ring::producer::Producer;
use crate::shm::shared::{OutboxMemory, Shared};
use crate::wire::frame::{Kind, Label};
use crate::wire::outbox::OutboxControl;

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod protocol;

/// The two ends of a ring, both of which begin at `start`, and the consumer's control page.
fn ring(capacity: usize, start: u64) -> (Producer, Consumer, Shared<OutboxControl>) {
    let data = OutboxMemory::heap(capacity).data;
    let control = OutboxMemory::heap(capacity).control;
    let consumer = Consumer::trusting(data.clone(), control.clone(), start);
    let producer = Producer::new(data, control.clone(), start);
    (producer, consumer, control)
}

/// The label of an event on a channel, which these tests use to number frames.
fn event(channel: u16) -> Label {
    Label { kind: Kind::Send, flags: 0, channel, id: None }
}
