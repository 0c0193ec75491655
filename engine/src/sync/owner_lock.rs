//! A lock that its owner thread takes without an atomic exchange.
//!
//! ```text
//!   the owner                              another thread, once
//!   inside := true                         owner := none, for good
//!   light fence                            heavy fence
//!   still the owner? entered               inside? wait until it is not
//! ```
//!
//! The first thread that locks it becomes its owner. The exchange of an ordinary mutex waits until all earlier
//! stores have left the processor. In a stream of messages the last of them is the frame before, on its way to
//! another processor's cache, so each message would wait for the one before (docs/performance.md, "One send").
//! The owner only stores and loads. That is safe because another thread revokes the ownership first, with a fence on
//! every processor that runs a thread of this process. Then either the owner sees the revocation, or the other thread
//! sees the owner inside.
//!
//! The ownership is revoked for good; from then on this is an ordinary mutex. It is one from the beginning if
//! the kernel has no such fence. A thread that locks it twice gets an error, not a deadlock.

#![allow(unsafe_code, reason = "this is a lock, and guards what it holds")]

use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};

use crate::{
    model::guarded,
    primitives::{
        AtomicBool, AtomicU64, Mutex, MutexGuard,
        Ordering::Relaxed,
        thread::{self, Thread},
    },
    sync::fences::{heavy_fence, heavy_fence_available, light_fence},
};

/// The owner before the first lock. Thread numbers start at 1.
const UNOWNED: u64 = 0;
/// The owner after the revocation.
const REVOKED: u64 = u64::MAX;

pub(crate) struct OwnerLock<T> {
    /// The number of the thread that may enter without an exchange.
    owner: AtomicU64,
    /// Whether the owner holds the lock as the owner. Only the owner writes it.
    owner_inside: AtomicBool,
    /// The thread that waits for the owner to leave.
    revoker: Mutex<Option<Thread>>,
    others: Mutex<()>,
    /// The number of the thread that holds `others`. Only that thread compares it.
    holder: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, and guards exist one at a time (see `Guard::deref`). So sharing
// this moves `T` from thread to thread and never shares it.
unsafe impl<T: Send> Sync for OwnerLock<T> {}

/// This thread holds the lock already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldHere;

/// A thread holds the lock: this one, or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

pub(crate) struct Guard<'a, T> {
    lock: &'a OwnerLock<T>,
    /// `None` on the owner's fast path, which does not take `others`.
    others: Option<MutexGuard<'a, ()>>,
}

impl<T> OwnerLock<T> {
    pub(crate) fn new(value: T) -> Self {
        let owner = if heavy_fence_available() { UNOWNED } else { REVOKED };
        Self {
            owner: AtomicU64::new(owner),
            owner_inside: AtomicBool::new(false),
            revoker: Mutex::new(None),
            others: Mutex::new(()),
            holder: AtomicU64::new(UNOWNED),
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Result<Guard<'_, T>, HeldHere> {
        let me = thread_number();
        if self.owner.load(Relaxed) == me
            && let Some(guard) = self.enter(me)?
        {
            return Ok(guard);
        }
        self.lock_slowly(me)
    }

    /// Enters as the owner; `None` if the ownership was revoked.
    #[inline]
    fn enter(&self, me: u64) -> Result<Option<Guard<'_, T>>, HeldHere> {
        if self.owner_inside.load(Relaxed) {
            return Err(HeldHere);
        }
        self.owner_inside.store(true, Relaxed);
        // SeqCst: pairs with the heavy fence in `revoke`; this thread sees the revocation, or the other sees it inside.
        guarded!("OwnerLock::enter: fence", light_fence());
        if self.owner.load(Relaxed) == me {
            return Ok(Some(Guard { lock: self, others: None }));
        }
        self.leave();
        Ok(None)
    }

    #[cold]
    fn lock_slowly(&self, me: u64) -> Result<Guard<'_, T>, HeldHere> {
        match self.lock_as_owner(me)? {
            Some(guard) => Ok(guard),
            None => Ok(self.enter_as_other(me, self.others.lock())),
        }
    }

    pub(crate) fn try_lock(&self) -> Result<Guard<'_, T>, Busy> {
        let me = thread_number();
        if let Some(guard) = self.lock_as_owner(me).map_err(|HeldHere| Busy)? {
            return Ok(guard);
        }
        // A revocation may have to wait for the owner.
        if self.owner.load(Relaxed) != REVOKED {
            return Err(Busy);
        }
        let others = self.others.try_lock().ok_or(Busy)?;
        Ok(self.enter_as_other(me, others))
    }

    /// Enters if this thread is the owner, or becomes it. `None` if it needs `others`.
    fn lock_as_owner(&self, me: u64) -> Result<Option<Guard<'_, T>>, HeldHere> {
        if (self.owner.load(Relaxed) == me || self.become_owner(me))
            && let Some(guard) = self.enter(me)?
        {
            return Ok(Some(guard));
        }
        if self.holder.load(Relaxed) == me { Err(HeldHere) } else { Ok(None) }
    }

    fn become_owner(&self, me: u64) -> bool {
        // Relaxed: no other thread has held the lock before.
        self.owner.compare_exchange(UNOWNED, me, Relaxed, Relaxed).is_ok()
    }

    fn enter_as_other<'a>(&'a self, me: u64, others: MutexGuard<'a, ()>) -> Guard<'a, T> {
        // Relaxed: only a holder of `others` revokes, and a first owner loses to `revoke` or is seen by it.
        if self.owner.load(Relaxed) != REVOKED {
            guarded!("OwnerLock::enter_as_other: revokes", self.revoke());
        }
        self.holder.store(me, Relaxed);
        Guard { lock: self, others: Some(others) }
    }

    /// Revokes the ownership, and waits until the owner has left.
    fn revoke(&self) {
        *self.revoker.lock() = Some(thread::current());
        self.owner.store(REVOKED, Relaxed);
        // SeqCst: pairs with the light fences in `enter` and `leave`.
        guarded!("OwnerLock::revoke: fence", heavy_fence());
        // Acquire: pairs with the Release in `leave`; makes the owner's accesses to the value visible.
        while self.owner_inside.load(guarded!("OwnerLock::revoke: Acquire", Acquire)) {
            thread::park();
        }
    }

    #[inline]
    fn leave(&self) {
        // Release: pairs with the Acquire in `revoke`; makes the owner's accesses to the value visible.
        self.owner_inside.store(false, guarded!("OwnerLock::leave: Release", Release));
        // SeqCst: pairs with the heavy fence in `revoke`; it sees that the owner left, or the owner sees it waiting.
        guarded!("OwnerLock::leave: fence", light_fence());
        if self.owner.load(Relaxed) == REVOKED {
            self.wake_revoker();
        }
    }

    #[cold]
    fn wake_revoker(&self) {
        let revoker = self.revoker.lock().take();
        revoker.inspect(Thread::unpark);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: guards exist one at a time. A guard with `others` holds that mutex, and found the
        // ownership revoked and the owner outside; the owner needs the mutex from then on. A guard
        // without it is on the owner's thread, which saw that it still is the owner, so no revocation
        // has finished.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.others.is_none() {
            self.lock.leave();
        } else {
            // Before `others` is unlocked: its next holder stores its own number.
            self.lock.holder.store(UNOWNED, Relaxed);
        }
    }
}

/// The number of this thread, from 1.
#[cfg(not(loom))]
#[inline]
fn thread_number() -> u64 {
    use std::cell::Cell;
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            // Relaxed: the numbers need only differ.
            number.set(NEXT.fetch_add(1, Relaxed));
        }
        number.get()
    })
}

#[cfg(loom)]
fn thread_number() -> u64 {
    loom_tests::NUMBER.with(|number| number.get())
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::cell::Cell;

    use super::*;
    use crate::{
        model::{DEADLOCK, RACE, check},
        primitives::Arc,
    };

    loom::thread_local! {
        pub(super) static NUMBER: Cell<u64> = Cell::new(1);
    }

    /// Adds 1 by a load and a store. Loom reports a race of these plain accesses.
    fn add(lock: &OwnerLock<loom::cell::Cell<u32>>) {
        let guard = lock.lock().unwrap();
        let before = guard.get();
        thread::yield_now();
        guard.set(before + 1);
    }

    #[test]
    fn loom_one_thread_at_a_time_is_inside_while_the_ownership_is_revoked() {
        check(
            &[
                ("OwnerLock::enter: fence", RACE),
                ("OwnerLock::leave: fence", DEADLOCK),
                ("OwnerLock::revoke: fence", RACE),
                ("OwnerLock::leave: Release", RACE),
                ("OwnerLock::revoke: Acquire", RACE),
            ],
            || {
                let lock = Arc::new(OwnerLock::new(loom::cell::Cell::new(0)));
                add(&lock);
                let other = thread::spawn({
                    let lock = lock.clone();
                    move || {
                        NUMBER.with(|number| number.set(2));
                        add(&lock);
                    }
                });
                add(&lock);
                other.join().unwrap();
                assert_eq!(lock.lock().unwrap().get(), 3);
            },
        );
    }

    #[test]
    fn loom_two_threads_may_both_want_to_be_the_owner() {
        check(&[("OwnerLock::enter_as_other: revokes", RACE)], || {
            let lock = Arc::new(OwnerLock::new(loom::cell::Cell::new(0)));
            let other = thread::spawn({
                let lock = lock.clone();
                move || {
                    NUMBER.with(|number| number.set(2));
                    add(&lock);
                }
            });
            add(&lock);
            other.join().unwrap();
            assert_eq!(lock.lock().unwrap().get(), 2);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_thread_is_the_owner_until_another_locks() {
        let lock = OwnerLock::new(0);
        *lock.lock().unwrap() += 1;
        assert_eq!(lock.owner.load(Relaxed) == thread_number(), heavy_fence_available());
        thread::scope(|scope| {
            scope.spawn(|| *lock.lock().unwrap() += 1);
        });
        assert_eq!(lock.owner.load(Relaxed), REVOKED);
        assert_eq!(*lock.lock().unwrap(), 2);
    }

    #[test]
    fn a_thread_that_locks_twice_gets_an_error() {
        let lock = OwnerLock::new(());
        for _ in 0..2 {
            let guard = lock.lock().unwrap();
            assert_eq!(lock.lock().err(), Some(HeldHere));
            assert_eq!(lock.try_lock().err(), Some(Busy));
            drop(guard);
            // From now on it has no owner.
            thread::scope(|scope| {
                scope.spawn(|| drop(lock.lock().unwrap()));
            });
        }
    }

    #[test]
    fn a_revocation_waits_until_the_owner_has_left() {
        let lock = OwnerLock::new(0);
        let mut guard = lock.lock().unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert_eq!(lock.try_lock().err(), Some(Busy));
                *lock.lock().unwrap() += 10;
            });
            while lock.owner.load(Relaxed) != REVOKED && heavy_fence_available() {
                thread::yield_now();
            }
            assert_eq!(*guard, 0);
            *guard += 1;
            drop(guard);
            other.join().unwrap();
        });
        assert_eq!(*lock.lock().unwrap(), 11);
    }

    #[test]
    fn many_threads_lose_no_update() {
        for _ in 0..20 {
            let lock = OwnerLock::new(0_u32);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for _ in 0..2_000 {
                            *lock.lock().unwrap() += 1;
                        }
                    });
                }
            });
            assert_eq!(*lock.lock().unwrap(), 6_000);
        }
    }
}
