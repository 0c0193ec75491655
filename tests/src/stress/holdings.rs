//! What this process holds, and how it is kept from getting more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// What a process may still map while memory is short: less than a session's rings take, or a large message.
const SPARE: u64 = 32 * 1024;
/// What its allocator has in hand then. A program whose allocator fails is aborted, and that is not what is
/// tested here.
const RESERVE: usize = 1 << 20;
const RESERVE_PIECE: usize = 32 * 1024;

/// The environment in which the allocator gives nothing back, so that a reserve stays one, and has one heap
/// for all threads.
pub(super) const ALLOCATOR: [(&str, &str); 4] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_TRIM_THRESHOLD_", "1000000000"),
    ("MALLOC_MMAP_THRESHOLD_", "30000000"),
    ("MALLOC_TOP_PAD_", "1000000"),
];

/// What this process holds at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holdings {
    pub(super) descriptors: u64,
    pub(super) threads: u64,
    /// Threads that a dead process has left behind in an event of the portable backend, and their sessions.
    pub(super) left_behind: u64,
    pub(super) sessions_left_behind: u64,
    /// Mappings of the library's memory.
    pub(super) mappings: u64,
    pub(super) resident_kib: u64,
}

impl Holdings {
    pub(super) fn now() -> Self {
        let left = ringbridge::left_behind();
        Self {
            descriptors: proc::open_descriptors() as u64,
            threads: proc::threads() as u64,
            left_behind: left.threads as u64,
            sessions_left_behind: left.sessions as u64,
            mappings: proc::mappings_of_the_library() as u64,
            resident_kib: proc::resident_memory() / 1024,
        }
    }

    pub(super) fn write(self, census: &Census) {
        census.descriptors.set(self.descriptors);
        census.threads.set(self.threads);
        census.left_behind.set(self.left_behind);
        census.sessions_left_behind.set(self.sessions_left_behind);
        census.mappings.set(self.mappings);
        census.resident_kib.set(self.resident_kib);
    }

    pub(super) fn read(census: &Census) -> Self {
        Self {
            descriptors: census.descriptors.get(),
            threads: census.threads.get(),
            left_behind: census.left_behind.get(),
            sessions_left_behind: census.sessions_left_behind.get(),
            mappings: census.mappings.get(),
            resident_kib: census.resident_kib.get(),
        }
    }

    /// Counts the descriptors, threads and mappings beyond `before`. A thread that was left behind in an event is none
    /// of them, nor is the page of its session.
    pub(super) fn beyond(&self, before: &Self) -> u64 {
        self.descriptors.saturating_sub(before.descriptors + self.sessions_left_behind)
            + self.threads.saturating_sub(before.threads + self.left_behind)
            + self.mappings.saturating_sub(before.mappings + self.sessions_left_behind)
    }
}

/// This process may have no more descriptors, or hardly any more memory, until this is dropped.
pub(super) struct Starved {
    resource: Resource,
    before: Rlimit,
}

impl Starved {
    pub(super) fn of(what: Shortage) -> Option<Self> {
        let reserve: Vec<_> =
            (0..RESERVE / RESERVE_PIECE).map(|_| vec![0_u8; RESERVE_PIECE]).collect();
        let (resource, enough) = match what {
            Shortage::Descriptors => (Resource::Nofile, proc::open_descriptors() as u64),
            Shortage::Memory => (Resource::As, proc::memory().0 + SPARE),
        };
        let before = getrlimit(resource);
        // Only the soft limit, so that it can be raised again.
        let limit = Rlimit { current: Some(enough), maximum: before.maximum };
        setrlimit(resource, limit).ok()?;
        drop(reserve);
        Some(Self { resource, before })
    }
}

/// Takes back what a starved parent has handed down.
pub(super) fn feed() {
    for resource in [Resource::Nofile, Resource::As] {
        let maximum = getrlimit(resource).maximum;
        // Up to the hard limit everyone may.
        let _ = setrlimit(resource, Rlimit { current: maximum, maximum });
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        let before = Rlimit { current: self.before.current, maximum: self.before.maximum };
        // The soft limit was this high before, so it may be again.
        let _ = setrlimit(self.resource, before);
    }
}
