//! Main's buffers for the payloads that it sends to one renderer.
//!
//! ```text
//!            take                   named                     `consumed` passes
//!   free ───────────▶ being filled ───────▶ named by a frame ──────────────────▶ free
//!     ▲ └──── made, if none fits                                                  │
//!     └──────────────────── kept, up to a limit; the longest unused goes first ───┘
//! ```
//!
//! Sizes are powers of two, so the next payload of about the same length fits again. Memory that is
//! never written is never allocated. Both processes keep a buffer mapped, so a payload that finds one
//! costs a copy, no page fault and no system call. A renderer that lies about how far it has read sees
//! its own payloads change.

use std::collections::VecDeque;

use crate::shm::{attachment::Writable, handle::MemoryHandle};

/// The smallest buffer.
const SIZE_MIN: usize = 64 * 1024;
/// How many buffers may be with one renderer at once.
const BUSY_MAX: usize = 512;

/// Memory that main writes and one renderer maps.
pub(in crate::peer) struct Buffer {
    pub(super) id: u64,
    pub(super) memory: Writable,
    /// `None` once it was handed over.
    pub(super) handle: Option<MemoryHandle>,
}

/// A place for a payload.
pub(super) enum Taken {
    /// A buffer with unspecified content.
    Again(Buffer),
    /// A buffer that the caller makes, or else reports with [`Pool::no_longer_busy`].
    New { id: u64, size: usize },
}

#[derive(Default)]
pub(super) struct Pool {
    busy_bytes_max: u64,
    kept_max: u64,
    next_id: u64,
    /// The longest unused is first.
    free: VecDeque<Buffer>,
    free_bytes: u64,
    /// Named by frames that end at these positions, in their order.
    in_flight: VecDeque<(u64, Buffer)>,
    /// Those in flight or being filled.
    busy: usize,
    busy_bytes: u64,
    /// Buffers that the renderer is to unmap and was not told of.
    pub(super) forgotten: Vec<u64>,
    ended: bool,
}

impl Pool {
    pub(crate) fn new(busy_bytes_max: u64, kept_max: u64) -> Self {
        Self { busy_bytes_max, kept_max, next_id: 1, ..Self::default() }
    }

    /// Takes a buffer for `len` bytes. The renderer has read up to `consumed`. `None`: it must read more
    /// first.
    pub(crate) fn take(&mut self, len: usize, consumed: u64) -> Option<Taken> {
        self.reap(consumed);
        let size = len.next_power_of_two().max(SIZE_MIN);
        let bytes = self.busy_bytes + size as u64;
        if self.busy > 0 && (self.busy >= BUSY_MAX || bytes > self.busy_bytes_max) {
            return None;
        }
        self.busy += 1;
        self.busy_bytes = bytes;
        // The last one used is the likeliest to be in a cache.
        if let Some(place) = self.free.iter().rposition(|buffer| buffer.memory.len() == size) {
            self.free_bytes -= size as u64;
            return self.free.remove(place).map(Taken::Again);
        }
        let id = self.next_id;
        self.next_id += 1;
        Some(Taken::New { id, size })
    }

    /// Notes that a frame that ends at `until` names the buffer. Returns whether it is freed, and not
    /// kept, after that.
    pub(crate) fn named(&mut self, buffer: Buffer, until: u64) -> bool {
        let is_freed = buffer.memory.len() as u64 > self.kept_max;
        if !self.ended {
            self.in_flight.push_back((until, buffer));
        }
        is_freed
    }

    /// Takes back a buffer that no frame names.
    pub(crate) fn discard(&mut self, buffer: Buffer) {
        self.no_longer_busy(buffer.memory.len());
        self.keep(buffer);
    }

    /// Frees what was read. Returns whether anything is left to read.
    pub(super) fn tidy(&mut self, consumed: u64) -> bool {
        self.reap(consumed);
        !self.in_flight.is_empty()
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.in_flight.clear();
        self.free.clear();
        self.forgotten.clear();
    }

    fn reap(&mut self, consumed: u64) {
        while let Some((_, buffer)) =
            self.in_flight.pop_front_if(|(until, _)| has_passed(consumed, *until))
        {
            self.no_longer_busy(buffer.memory.len());
            self.keep(buffer);
        }
    }

    fn keep(&mut self, buffer: Buffer) {
        let size = buffer.memory.len() as u64;
        if self.ended {
            return;
        }
        if size > self.kept_max {
            self.forget(&buffer);
            return;
        }
        while self.free_bytes + size > self.kept_max {
            let Some(oldest) = self.free.pop_front() else { break };
            self.free_bytes -= oldest.memory.len() as u64;
            self.forget(&oldest);
        }
        self.free_bytes += size;
        self.free.push_back(buffer);
    }

    fn forget(&mut self, buffer: &Buffer) {
        // The renderer knows no buffer that was not handed over.
        if buffer.handle.is_none() {
            self.forgotten.push(buffer.id);
        }
    }

    /// Takes a buffer off the account: it was read, or was not made.
    pub(super) fn no_longer_busy(&mut self, size: usize) {
        self.busy -= 1;
        self.busy_bytes -= size as u64;
    }
}

/// Returns whether a cursor has passed a position; both wrap.
pub(super) fn has_passed(cursor: u64, position: u64) -> bool {
    cursor.wrapping_sub(position) <= u64::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::backing::Backing;

    const SIZE: u64 = SIZE_MIN as u64;

    fn pool() -> Pool {
        Pool::new(4 * SIZE, 2 * SIZE)
    }

    /// Takes a buffer as its owner does. Returns whether it is new.
    fn taken(pool: &mut Pool, len: usize, consumed: u64) -> Option<(Buffer, bool)> {
        Some(match pool.take(len, consumed)? {
            Taken::Again(buffer) => (buffer, false),
            Taken::New { id, size } => {
                let (memory, handle) = Writable::create(&Backing::sealed(), size, &[]).unwrap();
                drop(handle);
                (Buffer { id, memory, handle: None }, true)
            }
        })
    }

    fn send(pool: &mut Pool, len: usize, consumed: u64, until: u64) -> Option<bool> {
        let (buffer, is_new) = taken(pool, len, consumed)?;
        pool.named(buffer, until);
        Some(is_new)
    }

    #[test]
    fn a_buffer_is_used_again_once_its_frame_was_read_and_not_before() {
        let mut pool = pool();
        assert_eq!(send(&mut pool, 70_000, 0, 100), Some(true));
        assert_eq!(send(&mut pool, 70_000, 99, 200), Some(true), "the first is being read");
        assert_eq!(send(&mut pool, 80_000, 100, 300), Some(false));
        assert_eq!(send(&mut pool, 60_000, 100, 300), None, "so much is on its way");
        assert_eq!(send(&mut pool, 60_000, 300, 400), Some(true), "of another size");
    }

    #[test]
    fn one_payload_longer_than_the_limit_may_go_alone() {
        let mut pool = pool();
        let long = 5 * SIZE_MIN;
        assert_eq!(send(&mut pool, long, 0, 100), Some(true));
        assert_eq!(send(&mut pool, 1, 0, 200), None);
        assert_eq!(send(&mut pool, 1, 100, 200), Some(true));
    }

    #[test]
    fn positions_may_wrap() {
        let mut pool = pool();
        let until = 64_u64.wrapping_sub(128);
        assert_eq!(send(&mut pool, 1, until.wrapping_sub(64), until), Some(true));
        assert_eq!(send(&mut pool, 1, until.wrapping_sub(64), until.wrapping_add(64)), Some(true));
        assert_eq!(send(&mut pool, 1, 0, 64), Some(false));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_longest_unused_goes_first() {
        let mut pool = pool();
        for until in [1, 2, 3, 4] {
            assert_eq!(send(&mut pool, 1, 0, until), Some(true));
        }
        assert!(!pool.tidy(4));
        assert_eq!(pool.free_bytes, pool.kept_max);
        assert_eq!(std::mem::take(&mut pool.forgotten), [1, 2]);
        // Too large to be kept at all.
        let (buffer, _) = taken(&mut pool, 3 * SIZE_MIN, 4).unwrap();
        assert!(pool.named(buffer, 5));
        pool.tidy(5);
        assert_eq!(pool.forgotten, [5]);
        assert_eq!((pool.busy, pool.busy_bytes), (0, 0));
    }

    #[test]
    fn what_was_not_sent_is_free_again_and_what_was_not_made_counts_no_more() {
        let mut pool = pool();
        let (buffer, _) = taken(&mut pool, 1, 0).unwrap();
        pool.discard(buffer);
        assert!(!taken(&mut pool, 1, 0).unwrap().1);
        let Some(Taken::New { size, .. }) = pool.take(1, 0) else { panic!("there is no other") };
        pool.no_longer_busy(size);
        assert_eq!(pool.busy, 1);
    }

    #[test]
    fn nothing_is_kept_after_the_end() {
        let mut pool = pool();
        let (first, _) = taken(&mut pool, 1, 0).unwrap();
        let (second, _) = taken(&mut pool, 1, 0).unwrap();
        send(&mut pool, 1, 0, 10);
        pool.end();
        pool.named(first, 20);
        pool.discard(second);
        assert!(pool.free.is_empty() && pool.in_flight.is_empty() && pool.forgotten.is_empty());
    }
}
