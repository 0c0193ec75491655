//! A value that is read for every message and changed rarely: readers keep a copy of their own and
//! ask with one load whether it is still the newest.
//!
//! A reader in the middle of a pass goes on with what it began with, as an `EventEmitter` does when
//! a listener adds or removes listeners.

// Counting shares is no part of the protocol.
use crate::model::guarded;
use std::sync::Arc;

use crate::primitives::{AtomicU64, Mutex, Ordering::Relaxed};

pub(crate) struct Snapshot<T> {
    current: Mutex<Arc<T>>,
    /// Counts the changes, under the lock. Relaxed: who has seen a change counted locks after whoever
    /// counted it, for had it been before, then the count that it saw would have come later. A stale
    /// look only delays what the next one sees.
    version: AtomicU64,
}

impl<T: Clone> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { current: Mutex::new(Arc::new(value)), version: AtomicU64::new(0) }
    }

    /// Changes the value: readers see it from their next [`Cached::refresh`] on.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut current = self.current.lock();
        let result = change(Arc::make_mut(&mut current));
        guarded!("Snapshot::update: count", self.version.fetch_add(1, Relaxed));
        result
    }

    /// The value as it is now.
    pub(crate) fn load(&self) -> Arc<T> {
        self.current.lock().clone()
    }

    /// A reader's own copy.
    pub(crate) fn cached(&self) -> Cached<T> {
        // Before the value: one that is newer than its version is looked at once more, one that is older never.
        let version = self.version.load(Relaxed);
        guarded!("Snapshot::cached: count first", Cached { version, value: self.load() }, else {
            let _ = version;
            let value = self.load();
            Cached { version: self.version.load(Relaxed), value }
        })
    }
}

/// One reader's copy of a [`Snapshot`].
pub(crate) struct Cached<T> {
    version: u64,
    value: Arc<T>,
}

impl<T: Clone> Cached<T> {
    /// The newest value.
    #[inline]
    pub(crate) fn refresh(&mut self, snapshot: &Snapshot<T>) -> &Arc<T> {
        if snapshot.version.load(Relaxed) != self.version {
            *self = snapshot.cached();
        }
        &self.value
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{WRONG, check};
    use crate::primitives::thread;

    #[test]
    fn loom_no_reader_keeps_what_was_changed_before_it_looked() {
        check(
            &[("Snapshot::cached: count first", WRONG), ("Snapshot::update: count", WRONG)],
            || {
                let snapshot = Arc::new(Snapshot::new(0));
                let changing = thread::spawn({
                    let snapshot = snapshot.clone();
                    move || {
                        snapshot.update(|value| *value += 1);
                        snapshot.update(|value| *value += 1);
                    }
                });
                let mut cached = snapshot.cached();
                let first = **cached.refresh(&snapshot);
                let second = **cached.refresh(&snapshot);
                assert!(first <= second, "what was seen once stays seen");
                changing.join().unwrap();
                assert_eq!(**cached.refresh(&snapshot), 2);
            },
        );
    }
}
