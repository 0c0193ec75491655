//! A mutex that costs one thread next to nothing: the first that locks it, as long as no other wants it.
//!
//! ```text
//!   the favourite                          anybody else, once
//!   inside := yes                          favourite := nobody
//!   light fence                            heavy fence
//!   still the favourite? in.               inside? wait until it is not
//! ```
//!
//! An exchange, as any other mutex needs, waits until all earlier stores have left the processor. In
//! a stream of messages the last of them is the frame before, on its way to another processor's cache;
//! so one message could not begin before the last had arrived (docs/performance.md, "One send").
//! Here the favourite only stores and loads. That is safe because whoever withdraws the favour has the
//! kernel put a fence into every running thread of this process (`membarrier`): either the favourite
//! sees that it is none any more, or the other sees it inside.
//!
//! The favour is withdrawn once and for good. From then on this is an ordinary mutex. It is one from the
//! beginning where the kernel has no such fence.
//!
//! A thread that locks it twice gets an error and no deadlock.

#![allow(unsafe_code, reason = "this is a lock, and guards what it holds")]

use crate::model::guarded;
use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
};

use crate::{
    primitives::{
        AtomicBool, AtomicU64, Mutex, MutexGuard,
        Ordering::Relaxed,
        thread::{self, Thread},
    },
    sync::fences::{heavy_fence, heavy_fence_available, light_fence},
};

/// No thread has locked it yet. Threads' numbers begin behind it.
const NOBODY_YET: u64 = 0;
/// The favour was withdrawn, or never given.
const NONE_ANY_MORE: u64 = u64::MAX;

pub(crate) struct OwnerLock<T> {
    /// The number of the thread that may enter without an exchange.
    favourite: AtomicU64,
    /// Whether the favourite is inside as such. Written by it alone.
    favourite_inside: AtomicBool,
    /// Who waits for the favourite to leave.
    withdrawer: Mutex<Option<Thread>>,
    others: Mutex<()>,
    /// The number of the thread that is inside, for that thread's own eyes.
    holder: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, of which there is one at a time (see `enter` and
// `withdraw`); so sharing this moves `T` from thread to thread and never shares it.
unsafe impl<T: Send> Sync for OwnerLock<T> {}

/// This very thread is inside already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldHere;

/// As [`std::sync::TryLockError`], without poison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    Here,
    Elsewhere,
}

pub(crate) struct Guard<'a, T> {
    lock: &'a OwnerLock<T>,
    /// `None`: in as the favourite.
    others: Option<MutexGuard<'a, ()>>,
}

impl<T> OwnerLock<T> {
    pub(crate) fn new(value: T) -> Self {
        let favourite = if heavy_fence_available() { NOBODY_YET } else { NONE_ANY_MORE };
        Self {
            favourite: AtomicU64::new(favourite),
            favourite_inside: AtomicBool::new(false),
            withdrawer: Mutex::new(None),
            others: Mutex::new(()),
            holder: AtomicU64::new(NOBODY_YET),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits until it is free.
    #[inline]
    pub(crate) fn lock(&self) -> Result<Guard<'_, T>, HeldHere> {
        let me = thread_number();
        if self.favourite.load(Relaxed) == me
            && let Some(guard) = self.enter(me)?
        {
            return Ok(guard);
        }
        self.lock_slowly(me)
    }

    /// In as the favourite; `None` if it is none any more.
    #[inline]
    fn enter(&self, me: u64) -> Result<Option<Guard<'_, T>>, HeldHere> {
        if self.favourite_inside.load(Relaxed) {
            return Err(HeldHere);
        }
        self.favourite_inside.store(true, Relaxed);
        // Twin of the heavy fence in `withdraw`: either we see the withdrawal, or it sees us inside.
        guarded!("OwnerLock::enter: fence", light_fence());
        if self.favourite.load(Relaxed) == me {
            return Ok(Some(Guard { lock: self, others: None }));
        }
        self.leave();
        Ok(None)
    }

    #[cold]
    fn lock_slowly(&self, me: u64) -> Result<Guard<'_, T>, HeldHere> {
        if self.become_favourite(me)
            && let Some(guard) = self.enter(me)?
        {
            return Ok(guard);
        }
        if self.holder.load(Relaxed) == me {
            return Err(HeldHere);
        }
        let others = self.others.lock();
        Ok(self.enter_as_other(me, others))
    }

    /// Does not wait.
    pub(crate) fn try_lock(&self) -> Result<Guard<'_, T>, Busy> {
        let me = thread_number();
        if (self.favourite.load(Relaxed) == me || self.become_favourite(me))
            && let Some(guard) = self.enter(me).map_err(|HeldHere| Busy::Here)?
        {
            return Ok(guard);
        }
        if self.holder.load(Relaxed) == me {
            return Err(Busy::Here);
        }
        // To withdraw the favour may mean to wait for who has it.
        if self.favourite.load(Relaxed) != NONE_ANY_MORE {
            return Err(Busy::Elsewhere);
        }
        let others = self.others.try_lock().ok_or(Busy::Elsewhere)?;
        Ok(self.enter_as_other(me, others))
    }

    fn become_favourite(&self, me: u64) -> bool {
        // Relaxed: whoever was inside before is this very thread, or nobody.
        self.favourite.compare_exchange(NOBODY_YET, me, Relaxed, Relaxed).is_ok()
    }

    fn enter_as_other<'a>(&'a self, me: u64, others: MutexGuard<'a, ()>) -> Guard<'a, T> {
        // Relaxed: written only by who holds `others`, except that the favourite is named once.
        if self.favourite.load(Relaxed) != NONE_ANY_MORE {
            guarded!("OwnerLock::enter_as_other: withdraws", self.withdraw());
        }
        self.holder.store(me, Relaxed);
        Guard { lock: self, others: Some(others) }
    }

    /// Ends the favour, and waits until the favourite is not inside by it.
    fn withdraw(&self) {
        *self.withdrawer.lock() = Some(thread::current());
        self.favourite.store(NONE_ANY_MORE, Relaxed);
        // Twin of the light fences in `enter` and `leave`.
        guarded!("OwnerLock::withdraw: fence", heavy_fence());
        // Acquire: pairs with the Release in `leave`; what the favourite did inside is seen.
        while self.favourite_inside.load(guarded!("OwnerLock::withdraw: Acquire", Acquire)) {
            thread::park();
        }
    }

    /// The favourite's way out.
    #[inline]
    fn leave(&self) {
        // Release: pairs with the Acquire in `withdraw`.
        self.favourite_inside.store(false, guarded!("OwnerLock::leave: Release", Release));
        // Twin of the heavy fence in `withdraw`: either it sees that we have left, or we see it waiting.
        guarded!("OwnerLock::leave: fence", light_fence());
        if self.favourite.load(Relaxed) == NONE_ANY_MORE {
            self.wake_withdrawer();
        }
    }

    #[cold]
    fn wake_withdrawer(&self) {
        let waiting = self.withdrawer.lock().take();
        if let Some(thread) = waiting {
            thread.unpark();
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: guards exist one at a time. One with `others` holds that mutex, and found the favour
        // withdrawn and the favourite outside, who cannot come in again without it. One without is the
        // favourite's, on its own thread, after it has seen that it still is: so no withdrawal is over.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed for writing.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.others.is_none() {
            self.lock.leave();
        } else {
            // Before `others` is unlocked: the next one inside writes its own number.
            self.lock.holder.store(NOBODY_YET, Relaxed);
        }
    }
}

/// A number for this thread that no other has, never 0.
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
            // Relaxed: only that no two are the same matters.
            number.set(NEXT.fetch_add(1, Relaxed));
        }
        number.get()
    })
}

/// In a model the threads are named by their test.
#[cfg(loom)]
fn thread_number() -> u64 {
    loom_tests::NUMBER.with(|number| number.get())
}

#[cfg(all(test, loom))]
mod loom_tests {
    use crate::model::{DEADLOCK, RACE, check};
    use std::cell::Cell;

    use super::*;
    use crate::primitives::Arc;

    loom::thread_local! {
        pub(super) static NUMBER: Cell<u64> = Cell::new(1);
    }

    /// Each thread adds to the value by reading and writing it; a lost update or a data race (which
    /// loom reports of the plain accesses) would be two threads inside.
    fn add(lock: &OwnerLock<loom::cell::Cell<u32>>) {
        let guard = lock.lock().unwrap();
        let before = guard.get();
        thread::yield_now();
        guard.set(before + 1);
    }

    #[test]
    fn loom_one_thread_at_a_time_is_inside_while_the_favour_is_withdrawn() {
        check(
            &[
                ("OwnerLock::enter: fence", RACE),
                ("OwnerLock::leave: fence", DEADLOCK),
                ("OwnerLock::withdraw: fence", RACE),
                ("OwnerLock::leave: Release", RACE),
                ("OwnerLock::withdraw: Acquire", RACE),
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
    fn loom_two_strangers_may_both_want_to_be_the_favourite() {
        check(&[("OwnerLock::enter_as_other: withdraws", RACE)], || {
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
    fn the_first_thread_is_the_favourite_until_another_comes() {
        let lock = OwnerLock::new(0);
        *lock.lock().unwrap() += 1;
        assert_eq!(lock.favourite.load(Relaxed) == thread_number(), heavy_fence_available());
        thread::scope(|scope| {
            scope.spawn(|| *lock.lock().unwrap() += 1);
        });
        assert_eq!(lock.favourite.load(Relaxed), NONE_ANY_MORE);
        assert_eq!(*lock.lock().unwrap(), 2);
    }

    #[test]
    fn a_thread_that_is_inside_is_told_so_as_the_favourite_and_otherwise() {
        let lock = OwnerLock::new(());
        for _ in 0..2 {
            let guard = lock.lock().unwrap();
            assert_eq!(lock.lock().err(), Some(HeldHere));
            assert_eq!(lock.try_lock().err(), Some(Busy::Here));
            drop(guard);
            // From now on it has no favourite.
            thread::scope(|scope| {
                scope.spawn(|| drop(lock.lock().unwrap()));
            });
        }
    }

    #[test]
    fn who_withdraws_the_favour_waits_until_the_favourite_has_left() {
        let lock = OwnerLock::new(0);
        let mut guard = lock.lock().unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert_eq!(lock.try_lock().err(), Some(Busy::Elsewhere));
                *lock.lock().unwrap() += 10;
            });
            while lock.favourite.load(Relaxed) != NONE_ANY_MORE && heavy_fence_available() {
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
