//! Values that only the thread that drives a loop can reach, without a lock for each use.
//!
//! The [driver lock](crate::wake::driver_lock) lets one thread at a time call an application's listeners and
//! handlers. The driver keeps a [`LoopKey`], and each listener is in a [`LoopCell`] of that key, which is borrowed as
//! long as the listener is. A mutex for each would cost every message two atomic exchanges.

#![allow(unsafe_code, reason = "a key is a lock, and guards what is keyed to it")]

use std::cell::UnsafeCell;

use crate::primitives::{AtomicU64, Ordering::Relaxed};

/// The key to the cells of one loop. Not `Clone`: each id has one key.
pub(crate) struct LoopKey {
    id: LoopKeyId,
}

/// The key that a cell belongs to. It opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoopKeyId(u64);

impl LoopKey {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: the ids need only differ.
        Self { id: LoopKeyId(NEXT.fetch_add(1, Relaxed)) }
    }

    pub(crate) fn id(&self) -> LoopKeyId {
        self.id
    }
}

pub(crate) struct LoopCell<T: ?Sized> {
    key: LoopKeyId,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through `open`, one caller at a time. So sharing this moves `T` from
// thread to thread and never shares it.
unsafe impl<T: ?Sized + Send> Sync for LoopCell<T> {}

impl<T> LoopCell<T> {
    pub(crate) fn new(key: LoopKeyId, value: T) -> Self {
        Self { key, value: UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> LoopCell<T> {
    /// # Panics
    ///
    /// If it belongs to another key.
    #[inline]
    pub(crate) fn open<'a>(&'a self, key: &'a mut LoopKey) -> &'a mut T {
        assert!(self.key == key.id, "opened with another loop's key");
        // SAFETY: there is one key of this id, since ids are used once and a key cannot be copied. It is
        // borrowed mutably as long as the result lives.
        unsafe { &mut *self.value.get() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_with_its_own_key_again_and_again() {
        let mut key = LoopKey::new();
        let value = LoopCell::new(key.id(), 1);
        *value.open(&mut key) += 1;
        *value.open(&mut key) += 1;
        assert_eq!(*value.open(&mut key), 3);
    }

    #[test]
    #[should_panic(expected = "another loop's key")]
    fn a_value_does_not_open_with_another_key() {
        let value = LoopCell::new(LoopKey::new().id(), 1);
        value.open(&mut LoopKey::new());
    }
}
