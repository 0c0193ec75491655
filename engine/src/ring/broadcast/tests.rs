//! What a topic promises: whole messages, and an exact count of those missed.

use super::*;

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod promises;

fn topic(capacity: usize, start: u64) -> (TopicWriter, TopicMemory) {
    let memory = TopicMemory::heap(capacity);
    (TopicWriter::new(memory.clone(), start), memory)
}
