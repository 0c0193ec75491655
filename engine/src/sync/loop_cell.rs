//! Values that only the holder of a key can reach, without a lock for each use.
//!
//! An application's listeners and handlers are called by whoever drives the loop, one thread at a time:
//! the [driver lock](crate::wake::driver_lock) sees to that. So the loop keeps a [`LoopKey`], and what it calls is [`LoopCell`] to
//! it: the borrow checker sees that the one key is borrowed for as long as a value is. A mutex for each
//! would cost every message two atomic exchanges, which also wait for all earlier stores.

#![allow(unsafe_code, reason = "a key is a lock, and guards what is keyed to it")]

use std::cell::UnsafeCell;

use crate::primitives::{AtomicU64, Ordering::Relaxed};

/// The only way to what is keyed to it. Not `Clone`: there is one of each name.
pub(crate) struct LoopKey {
    name: LoopKeyId,
}

/// Says to which key a value belongs. Opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoopKeyId(u64);

impl LoopKey {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only that no two are the same matters.
        Self { name: LoopKeyId(NEXT.fetch_add(1, Relaxed)) }
    }

    pub(crate) fn name(&self) -> LoopKeyId {
        self.name
    }
}

pub(crate) struct LoopCell<T: ?Sized> {
    key: LoopKeyId,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through `open`, of which there is one at a time; so sharing this
// moves `T` from thread to thread and never shares it.
unsafe impl<T: ?Sized + Send> Sync for LoopCell<T> {}

impl<T> LoopCell<T> {
    pub(crate) fn new(key: LoopKeyId, value: T) -> Self {
        Self { key, value: UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> LoopCell<T> {
    /// # Panics
    ///
    /// If it is keyed to another key.
    #[inline]
    pub(crate) fn open<'a>(&'a self, key: &'a mut LoopKey) -> &'a mut T {
        assert!(self.key == key.name, "opened with another loop's key");
        // SAFETY: there is one key of this name, as names are given out once and a key cannot be
        // copied, and it is borrowed for as long as the result lives.
        unsafe { &mut *self.value.get() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_with_its_own_key_again_and_again() {
        let mut key = LoopKey::new();
        let value = LoopCell::new(key.name(), 1);
        *value.open(&mut key) += 1;
        *value.open(&mut key) += 1;
        assert_eq!(*value.open(&mut key), 3);
    }

    #[test]
    #[should_panic(expected = "another loop's key")]
    fn a_value_does_not_open_with_another_key() {
        let value = LoopCell::new(LoopKey::new().name(), 1);
        value.open(&mut LoopKey::new());
    }
}
