//! The driver's seat: of all threads that wait for messages, one at a time drives the inbox, the
//! others sleep until what they wait for has come or the seat is free.
//!
//! ```text
//!            try_take                    take_or_queue
//!   Free ───────────────▶ Taken ───────────────────────▶ Wanted
//!     ▲                     │                               │
//!     └──── drop ───────────┴──── drop, wakes the queue ────┘
//! ```
//!
//! Whoever finds the seat taken enters the queue and *then* says that it is wanted, which
//! fails if the seat has become free; whoever leaves frees it and sees in the same step whether it was
//! wanted. So nobody sleeps beside a free seat. It is a lock of its own because a mutex would not
//! say that, and one step is what an invoke can afford: its reply is in hand when the seat is left.

#![allow(unsafe_code, reason = "the seat is a lock, and guards what its driver may touch")]

use std::{cell::UnsafeCell, sync::PoisonError};

use crate::sync::{
    AtomicU32, Mutex,
    Ordering::{Acquire, Relaxed, Release},
    thread::{self, Thread},
};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// Taken, and someone in the queue sleeps.
const WANTED: u32 = 2;

pub(crate) struct Seat<T> {
    state: AtomicU32,
    driver: UnsafeCell<T>,
    queue: Mutex<Vec<Thread>>,
}

// SAFETY: the driver's part is reached only through a `Driving`, of which there is one at a time; so
// sharing the seat moves `T` from thread to thread and never shares it.
unsafe impl<T: Send> Sync for Seat<T> {}

/// Holding it is driving. Dropping it wakes who waits for the seat.
pub(crate) struct Driving<'a, T> {
    seat: &'a Seat<T>,
}

impl<T> Seat<T> {
    pub(crate) fn new(driver: T) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            driver: UnsafeCell::new(driver),
            queue: Mutex::new(Vec::new()),
        }
    }

    /// Takes the seat if it is free.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Driving<'_, T>> {
        // Acquire: pairs with the Release in `drop`, and so sees what the last driver did.
        self.state.compare_exchange(FREE, TAKEN, Acquire, Relaxed).ok()?;
        Some(Driving { seat: self })
    }

    /// Takes the seat, or enters `me` in the queue of those who are unparked when it becomes free.
    pub(crate) fn take_or_queue(&self, me: &Thread) -> Option<Driving<'_, T>> {
        if let Some(driving) = self.try_take() {
            return Some(driving);
        }
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if !queue.iter().any(|waiting| waiting.id() == me.id()) {
                queue.push(me.clone());
            }
        }
        loop {
            // Relaxed: who sees the seat wanted finds the queue filled by its lock's order. Had it locked the
            // queue before we did, then it would have freed the seat before we looked.
            match self.state.compare_exchange(TAKEN, WANTED, Relaxed, Relaxed) {
                Ok(_) | Err(WANTED) => return None,
                Err(_) => {
                    if let Some(driving) = self.try_take() {
                        return Some(driving);
                    }
                }
            }
        }
    }

    /// Takes the seat as soon as it is free.
    pub(crate) fn take(&self) -> Driving<'_, T> {
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
        let waiting =
            std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.iter().for_each(Thread::unpark);
    }
}

impl<T> std::ops::Deref for Driving<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: there is one `Driving` at a time, by the state's exchange, and it is borrowed.
        unsafe { &*self.seat.driver.get() }
    }
}

impl<T> std::ops::DerefMut for Driving<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: there is one `Driving` at a time, by the state's exchange, and it is borrowed
        // for writing.
        unsafe { &mut *self.seat.driver.get() }
    }
}

impl<T> Drop for Driving<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `try_take`.
        if self.seat.state.swap(FREE, Release) == WANTED {
            self.seat.wake_queue();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::{Arc, thread};

    /// Nor do two drive at once, or a driver without having seen what the last one did: loom reports
    /// unordered accesses to its cell.
    #[test]
    fn loom_nobody_sleeps_beside_a_free_seat() {
        loom::model(|| {
            let seat = Arc::new(Seat::new(loom::cell::Cell::new(0)));
            let drive = |seat: &Seat<loom::cell::Cell<u32>>| {
                let me = thread::current();
                loop {
                    if let Some(driving) = seat.take_or_queue(&me) {
                        driving.set(driving.get() + 1);
                        break;
                    }
                    // The model deadlocks here if a wake-up can be lost.
                    thread::park();
                }
            };
            let other = thread::spawn({
                let seat = seat.clone();
                move || drive(&seat)
            });
            drive(&seat);
            other.join().unwrap();
            assert_eq!(seat.try_take().unwrap().get(), 2);
        });
    }
}
