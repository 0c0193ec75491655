//! The lock of a loop. One thread at a time drives it; the others sleep until their replies come or it is free.
//!
//! ```text
//!            try_take                    take_or_queue
//!   Free ───────────────▶ Taken ───────────────────────▶ Wanted
//!     ▲                     │                               │
//!     └──── drop ───────────┴──── drop, wakes the queue ────┘
//! ```
//!
//! A thread that finds the lock taken enters the queue and *then* marks the lock as wanted. That fails if the
//! lock has become free. The driver frees the lock and learns in the same step whether it was wanted. So no
//! thread sleeps beside a free lock. A mutex has no such step.

#![allow(unsafe_code, reason = "this is a lock, and guards the driver's state")]

use std::cell::UnsafeCell;

use crate::{
    model::guarded,
    primitives::{
        AtomicU32, Mutex,
        Ordering::Relaxed,
        thread::{self, Thread},
    },
};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and a thread in the queue sleeps.
const WANTED: u32 = 2;

pub(crate) struct DriverLock<T> {
    state: AtomicU32,
    driver: UnsafeCell<T>,
    queue: Mutex<Vec<Thread>>,
}

// SAFETY: the driver's state is reached only through a `DriverGuard`, and these exist one at a time. So
// sharing the lock moves `T` from thread to thread and never shares it.
unsafe impl<T: Send> Sync for DriverLock<T> {}

/// The right to drive the loop. Dropping it wakes the threads in the queue.
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

    #[inline]
    pub(crate) fn try_take(&self) -> Option<DriverGuard<'_, T>> {
        // Acquire: pairs with the Release in `DriverGuard::drop`; makes the last driver's writes visible.
        let acquire = guarded!("DriverLock::try_take: Acquire", Acquire);
        self.state.compare_exchange(FREE, TAKEN, acquire, Relaxed).ok()?;
        Some(DriverGuard { driver_lock: self })
    }

    /// Takes the lock, or enters `me` in the queue of threads that are unparked when it becomes free.
    pub(crate) fn take_or_queue(&self, me: &Thread) -> Option<DriverGuard<'_, T>> {
        if let Some(driving) = self.try_take() {
            return Some(driving);
        }
        let mut queue = self.queue.lock();
        if !queue.iter().any(|waiting| waiting.id() == me.id()) {
            queue.push(me.clone());
        }
        drop(queue);
        loop {
            // Relaxed: the driver that finds the lock wanted locks the queue after this thread did. If it had locked
            // it before, it would have freed the driver lock before this look.
            let exchanged = self.state.compare_exchange(TAKEN, WANTED, Relaxed, Relaxed);
            let marked = guarded!("DriverLock::take_or_queue: only if taken", exchanged, else {
                self.state.store(WANTED, Relaxed);
                Ok(TAKEN)
            });
            if matches!(marked, Ok(_) | Err(WANTED)) {
                return None;
            }
            if let Some(driving) = self.try_take() {
                return Some(driving);
            }
        }
    }

    /// Waits until the lock is free.
    pub(crate) fn take(&self) -> DriverGuard<'_, T> {
        let me = thread::current();
        loop {
            match self.take_or_queue(&me) {
                Some(driving) => return driving,
                None => thread::park(),
            }
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
        // SAFETY: as in `deref`; the guard is borrowed mutably.
        unsafe { &mut *self.driver_lock.driver.get() }
    }
}

impl<T> Drop for DriverGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `try_take`; makes this driver's writes visible.
        let release = guarded!("DriverGuard::drop: Release", Release);
        if self.driver_lock.state.swap(FREE, release) == WANTED {
            self.driver_lock.wake_queue();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::model::{DEADLOCK, RACE, check};
    use crate::primitives::{Arc, thread};

    /// Loom reports unordered accesses to the cell: two drivers at once, or one that misses the last one's writes.
    #[test]
    fn loom_no_thread_sleeps_beside_a_free_lock() {
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
