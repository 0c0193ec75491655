//! Outboxes and topics on the heap, for tests, loom and the sanitizers.
//!
//! The cells start at a cache line, as in a mapping, so that a measurement here holds there.

use crate::{
    primitives::AtomicU64,
    shm::shared::{OutboxMemory, Shared, TopicMemory},
    wire::{outbox::OutboxControl, topic::TopicControl},
};

impl OutboxMemory {
    pub(crate) fn heap(capacity: usize) -> Self {
        let control = OutboxControl::default();
        control.identity.initialise(capacity);
        Self { control: Shared::from_box(Box::new(control)), data: zeroed_words(capacity) }
    }
}

impl TopicMemory {
    pub(crate) fn heap(capacity: usize) -> Self {
        let control = TopicControl::default();
        control.identity.initialise(capacity);
        Self { control: Shared::from_box(Box::new(control)), data: zeroed_words(capacity) }
    }
}

fn zeroed_words(capacity: usize) -> Shared<[AtomicU64]> {
    // Two cache lines: neighbouring ones are fetched in pairs. Loom's atomics are no words in memory.
    let alignment = if cfg!(loom) { 1 } else { 128 };
    let (wanted, spare) = (capacity / size_of::<u64>(), alignment / size_of::<u64>());
    let words: Box<[AtomicU64]> = (0..wanted + spare).map(|_| AtomicU64::new(0)).collect();
    let skip = if cfg!(loom) { 0 } else { words.as_ptr().align_offset(alignment) };
    Shared::from_box(words).map(|words| &words[skip..skip + wanted])
}
