//! Outboxes and topics on the heap: for tests, loom and the sanitizers.
//!
//! The cells lie as they do in a mapping, at the start of a cache line, so that what is measured
//! here holds there. Nothing that two processes share comes from this file.

use std::sync::Arc;

use crate::primitives::AtomicU64;
use crate::shm::shared::{OutboxMemory, Shared, TopicMemory};
use crate::wire::outbox::OutboxControl;
use crate::wire::topic::TopicControl;

impl OutboxMemory {
    /// A fresh outbox with `capacity` bytes of data.
    pub(crate) fn heap(capacity: usize) -> Self {
        Self {
            control: Shared::from_arc(Arc::new(OutboxControl::new(capacity))),
            data: zeroed_words(capacity),
        }
    }
}

impl TopicMemory {
    /// A fresh topic with `capacity` bytes of data.
    pub(crate) fn heap(capacity: usize) -> Self {
        Self {
            control: Shared::from_arc(Arc::new(TopicControl::new(capacity))),
            data: zeroed_words(capacity),
        }
    }
}

#[cfg(not(loom))]
fn zeroed_words(capacity: usize) -> Shared<[AtomicU64]> {
    // Two cache lines: neighbouring ones are fetched in pairs.
    const ALIGNMENT: usize = 128;
    let (wanted, spare) = (capacity / size_of::<u64>(), ALIGNMENT / size_of::<u64>());
    let words: Box<[AtomicU64]> = (0..wanted + spare).map(|_| AtomicU64::new(0)).collect();
    let skip = words.as_ptr().align_offset(ALIGNMENT);
    Shared::from_box(words).map(|words| &words[skip..skip + wanted])
}

#[cfg(loom)]
fn zeroed_words(capacity: usize) -> Shared<[AtomicU64]> {
    let words: Box<[AtomicU64]> =
        (0..capacity / size_of::<u64>()).map(|_| AtomicU64::new(0)).collect();
    Shared::from_box(words)
}
