//! A value that is read for every message and changed rarely.
//!
//! A reader keeps a share of the value, and asks with one relaxed load whether it is still the newest. A
//! reader in the middle of a pass keeps the value that it began with, as an `EventEmitter` does when a
//! listener adds or removes listeners.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::primitives::Mutex;

pub(crate) struct Snapshot<T> {
    current: Arc<ArcSwap<T>>,
    changing: Mutex<()>,
}

/// One reader's share of a [`Snapshot`].
pub(crate) struct Cached<T>(Cache<Arc<ArcSwap<T>>, Arc<T>>);

impl<T: Clone> Snapshot<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(value)), changing: Mutex::new(()) }
    }

    /// Changes a copy of the value. Readers see it from their next [`Cached::refresh`] on.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let changing = self.changing.lock();
        let mut value = T::clone(&self.current.load());
        let result = change(&mut value);
        let old = self.current.swap(Arc::new(value));
        // The old value may hold the last share of an application's closure, whose destructor may call
        // `update`.
        drop(changing);
        drop(old);
        result
    }

    pub(crate) fn load(&self) -> Arc<T> {
        self.current.load_full()
    }

    pub(crate) fn cached(&self) -> Cached<T> {
        Cached(Cache::new(self.current.clone()))
    }
}

impl<T> Cached<T> {
    #[inline]
    pub(crate) fn refresh(&mut self) -> &Arc<T> {
        self.0.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_a_change_with_its_next_refresh() {
        let snapshot = Snapshot::new(vec![1]);
        let mut cached = snapshot.cached();
        let begun_with = cached.refresh().clone();
        assert_eq!(snapshot.update(|value| value.pop()), Some(1));
        assert_eq!(*begun_with, [1]);
        assert!(cached.refresh().is_empty() && snapshot.load().is_empty());
    }

    #[test]
    fn a_destructor_of_the_old_value_may_change_the_snapshot() {
        #[derive(Clone)]
        struct Changes(std::sync::Weak<Snapshot<Option<Arc<Self>>>>);
        impl Drop for Changes {
            fn drop(&mut self) {
                if let Some(snapshot) = self.0.upgrade() {
                    snapshot.update(|value| *value = None);
                }
            }
        }
        let snapshot = Arc::new(Snapshot::new(None));
        let changes = Arc::new(Changes(Arc::downgrade(&snapshot)));
        snapshot.update(|value| *value = Some(changes));
        snapshot.update(|value| *value = None);
        assert!(snapshot.load().is_none());
    }
}
