//! A value that is read for every message and changed rarely: readers keep a copy of their own and
//! ask with one load whether it is still the newest.
//!
//! A reader in the middle of a pass goes on with what it began with, as an `EventEmitter` does when
//! a listener adds or removes listeners.

use std::sync::PoisonError;

use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

pub(crate) struct Snapshot<T> {
    current: Mutex<Arc<T>>,
    /// Counts the changes. A stale read only delays what the next look sees; the mutex orders the rest.
    version: AtomicU64,
}

impl<T: Clone> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { current: Mutex::new(Arc::new(value)), version: AtomicU64::new(0) }
    }

    /// Changes the value: readers see it from their next [`Cached::refresh`] on.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(Arc::make_mut(&mut current));
        // Release: pairs with the Acquire in `refresh`.
        self.version.fetch_add(1, Ordering::Release);
        result
    }

    /// The value as it is now.
    pub(crate) fn load(&self) -> Arc<T> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reader's own copy.
    pub(crate) fn cached(&self) -> Cached<T> {
        let version = self.version.load(Ordering::Acquire);
        Cached { version, value: self.load() }
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
        // Acquire: pairs with the Release in `update`; what it counted is in `current` by then.
        if snapshot.version.load(Ordering::Acquire) != self.version {
            *self = snapshot.cached();
        }
        &self.value
    }
}
