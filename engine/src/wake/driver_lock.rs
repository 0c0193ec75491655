//! The driver's driver_lock: of all threads that wait for messages, one at a time drives the inbox, the
//! others sleep until what they wait for has come or the driver lock is free.
//!
//! ```text
//!            try_take                    take_or_queue
//!   Free ───────────────▶ Taken ───────────────────────▶ Wanted
//!     ▲                     │                               │
//!     └──── drop ───────────┴──── drop, wakes the queue ────┘
//! ```
//!
//! Whoever finds the driver lock taken enters the queue and *then* says that it is wanted, which
//! fails if the driver lock has become free; whoever leaves frees it and sees in the same step whether it was
//! wanted. So nobody sleeps beside a free driver_lock. It is a lock of its own because a mutex would not
//! say that, and one step is what an invoke can afford: its reply is in hand when the driver lock is left.

#![allow(unsafe_code, reason = "the driver_lock is a lock, and guards what its driver may touch")]

use crate::model::guarded;
use std::cell::UnsafeCell;

use crate::primitives::{
    AtomicU32, Mutex,
    Ordering::Relaxed,
    thread::{self, Thread},
};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and someone in the queue sleeps.
const WANTED: u32 = 2;

pub(crate) struct DriverLock<T> {
    state: AtomicU32,
    driver: UnsafeCell<T>,
    queue: Mutex<Vec<Thread>>,
}

// SAFETY: the driver's part is reached only through a `DriverGuard`, of which there is one at a time; so
// sharing the driver lock moves `T` from thread to thread and never shares it.
unsafe impl<T: Send> Sync for DriverLock<T> {}

/// Holding it is driving. Dropping it wakes who waits for the driver_lock.
pub(crate) struct DriverGuard<'a, T> {
    driver_lock: &'a DriverLock<T>,
}

impl<T> DriverLock<T> {
    pub(crate) fn new(driver: T) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            driver: UnsafeCell::new(driver),
            queue: Mutex::new(Vec::new()),
        }
    }

    /// Takes the driver lock if it is free.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<DriverGuard<'_, T>> {
        // Acquire: pairs with the Release in `drop`, and so sees what the last driver did.
        self.state
            .compare_exchange(
                FREE,
                TAKEN,
                guarded!("DriverLock::try_take: Acquire", Acquire),
                Relaxed,
            )
            .ok()?;
        Some(DriverGuard { driver_lock: self })
    }

    /// Takes the driver lock, or enters `me` in the queue of those who are unparked when it becomes free.
    pub(crate) fn take_or_queue(&self, me: &Thread) -> Option<DriverGuard<'_, T>> {
        if let Some(driving) = self.try_take() {
            return Some(driving);
        }
        {
            let mut queue = self.queue.lock();
            if !queue.iter().any(|waiting| waiting.id() == me.id()) {
                queue.push(me.clone());
            }
        }
        loop {
            // Relaxed: who sees the driver lock wanted finds the queue filled by its lock's order. Had it locked the
            // queue before we did, then it would have freed the driver lock before we looked.
            match guarded!("DriverLock::take_or_queue: only if taken", self.state.compare_exchange(TAKEN, WANTED, Relaxed, Relaxed), else { self.state.store(WANTED, Relaxed); Ok::<u32, u32>(TAKEN) })
            {
                Ok(_) | Err(WANTED) => return None,
                Err(_) => {
                    if let Some(driving) = self.try_take() {
                        return Some(driving);
                    }
                }
            }
        }
    }

    /// Takes the driver lock as soon as it is free.
    pub(crate) fn take(&self) -> DriverGuard<'_, T> {
        let me = thread::current();
        loop {
            if let Some(driving) = self.take_or_queue(&me) {
                return driving;
            }
            thread::park();
        }
    }

    #[cold]
    fn wake_queue(&self) {
        let waiting = std::mem::take(&mut *self.queue.lock());
        waiting.iter().for_each(Thread::unpark);
    }
}

impl<T> std::ops::Deref for DriverGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: there is one `DriverGuard` at a time, by the state's exchange, and it is borrowed.
        unsafe { &*self.driver_lock.driver.get() }
    }
}

impl<T> std::ops::DerefMut for DriverGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: there is one `DriverGuard` at a time, by the state's exchange, and it is borrowed
        // for writing.
        unsafe { &mut *self.driver_lock.driver.get() }
    }
}

impl<T> Drop for DriverGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `try_take`.
        if self.driver_lock.state.swap(FREE, guarded!("DriverGuard::drop: Release", Release))
            == WANTED
        {
            self.driver_lock.wake_queue();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, RACE, check};
    use crate::primitives::{Arc, thread};

    /// Nor do two drive at once, or a driver without having seen what the last one did: loom reports
    /// unordered accesses to its cell.
    #[test]
    fn loom_nobody_sleeps_beside_a_free_seat() {
        check(
            &[
                ("DriverGuard::drop: Release", RACE),
                ("DriverLock::try_take: Acquire", RACE),
                ("DriverLock::take_or_queue: only if taken", DEADLOCK),
            ],
            || {
                let driver_lock = Arc::new(DriverLock::new(loom::cell::Cell::new(0)));
                let drive = |driver_lock: &DriverLock<loom::cell::Cell<u32>>| {
                    let me = thread::current();
                    loop {
                        if let Some(driving) = driver_lock.take_or_queue(&me) {
                            driving.set(driving.get() + 1);
                            break;
                        }
                        // The model deadlocks here if a wake-up can be lost.
                        thread::park();
                    }
                };
                let other = thread::spawn({
                    let driver_lock = driver_lock.clone();
                    move || drive(&driver_lock)
                });
                drive(&driver_lock);
                other.join().unwrap();
                assert_eq!(driver_lock.try_take().unwrap().get(), 2);
            },
        );
    }
}
