//! A pointer into memory, and a share in the owner that keeps the memory valid.
//!
//! ```text
//!   Shared<OutboxControl> ──┐
//!                           ├──> owner: a mapping, or a block of the heap
//!   Shared<[AtomicU64]>   ──┘
//! ```
//!
//! The rings own `Shared`s, so they need no lifetimes and cannot tell a mapping from the heap. The same code runs
//! between two processes, under loom and under the sanitizers.

use std::{any::Any, fmt, ops::Deref, ptr::NonNull, sync::Arc};

use crate::{
    primitives::AtomicU64,
    wire::{outbox::OutboxControl, topic::TopicControl},
};

/// One outbox: the control page, and the ring of cells behind it.
#[derive(Clone, Debug)]
pub(crate) struct OutboxMemory {
    pub(crate) control: Shared<OutboxControl>,
    pub(crate) data: Shared<[AtomicU64]>,
}

/// One topic: the control page, and the ring of cells behind it.
#[derive(Clone, Debug)]
pub(crate) struct TopicMemory {
    pub(crate) control: Shared<TopicControl>,
    pub(crate) data: Shared<[AtomicU64]>,
}

/// A type of atomics alone. Any bytes are a value of it, and another process may write it while it is borrowed.
///
/// # Safety
///
/// Implement it only for `repr(C)` types whose fields are atomics or made of atomics.
pub(crate) unsafe trait Atomics {}

// SAFETY: every field is an atomic, or a `repr` transparent or C struct of atomics.
unsafe impl Atomics for OutboxControl {}
// SAFETY: as above.
unsafe impl Atomics for TopicControl {}

/// A `&T` that keeps its memory alive.
pub(crate) struct Shared<T: ?Sized> {
    target: NonNull<T>,
    owner: Arc<dyn Any + Send + Sync>,
}

impl<T: ?Sized> Shared<T> {
    /// Points at `target` in memory that `owner` keeps.
    ///
    /// # Safety
    ///
    /// As long as `owner` lives, `target` must be valid for `&T`: aligned, initialised, neither moved nor
    /// unmapped, and written only through atomics, here and in other processes.
    pub(crate) unsafe fn new(target: NonNull<T>, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { target, owner }
    }

    /// Points at a part of the target.
    pub(crate) fn map<U: ?Sized>(self, part: impl FnOnce(&T) -> &U) -> Shared<U> {
        let target = NonNull::from(part(&self));
        Shared { target, owner: self.owner }
    }
}

impl<T: ?Sized + Send + Sync + 'static> Shared<T> {
    /// Shares a value on the heap, a slice for instance.
    #[cfg(any(test, loom))]
    pub(crate) fn from_box(value: Box<T>) -> Self {
        let owner = Arc::new(value);
        Self { target: NonNull::from(&**owner), owner }
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `target` is valid for `&T` while the owner lives: the caller of `new` promises it, the
        // heap of `from_box` is, and `map` inherits it. `self` has a share in the owner.
        unsafe { self.target.as_ref() }
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { target: self.target, owner: Arc::clone(&self.owner) }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}

// SAFETY: a `Shared<T>` gives out only `&T`, which `T: Sync` lets any thread have, and drops only its share
// in the owner, which is `Send + Sync`.
unsafe impl<T: ?Sized + Sync> Send for Shared<T> {}

// SAFETY: as for `Send`: every method of `&Shared<T>` gives a `&T` or another share.
unsafe impl<T: ?Sized + Sync> Sync for Shared<T> {}
