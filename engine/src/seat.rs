//! The driver's seat: of all threads that wait for messages, one at a time drives the inbox, the
//! others sleep until what they wait for has come or the seat is free.
//!
//! ```text
//!   who leaves                              who finds it taken
//!   free := yes                             enters the queue
//!   light fence                             wanted := yes
//!   wanted? wake the queue                  heavy fence
//!                                           free now? take it. else sleep
//! ```
//!
//! Either the one sees that the seat is wanted or the other sees that it is free. So nobody sleeps beside
//! a free seat. It is a lock of its own because a mutex would not say that, and because of what an invoke
//! can afford: its reply is in hand when the seat is left, so that costs a store and a load. Who
//! takes it while its request is on the way has time for an exchange.

#![allow(unsafe_code, reason = "the seat is a lock, and guards what its driver may touch")]

use std::{cell::UnsafeCell, sync::PoisonError};

use crate::{
    fences::FencePair,
    sync::{
        AtomicBool, Mutex,
        Ordering::{Acquire, Relaxed, Release},
        thread::{self, Thread},
    },
};

pub(crate) struct Seat<T> {
    taken: AtomicBool,
    /// Someone has entered the queue since it was last woken.
    wanted: AtomicBool,
    driver: UnsafeCell<T>,
    queue: Mutex<Vec<Thread>>,
    fences: FencePair,
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
            taken: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            driver: UnsafeCell::new(driver),
            queue: Mutex::new(Vec::new()),
            fences: FencePair::new(),
        }
    }

    /// Takes the seat if it is free.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Driving<'_, T>> {
        // Acquire: pairs with the Release in `drop`, and so sees what the last driver did.
        self.taken.compare_exchange(false, true, Acquire, Relaxed).ok()?;
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
        // Relaxed: the queue's lock hands over what is in it.
        self.wanted.store(true, Relaxed);
        // Twin of the light fence in `drop`: either the driver sees the seat wanted, or we see it free.
        self.fences.heavy();
        self.try_take()
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
        // Before the queue is emptied: who enters it afterwards says so afterwards.
        self.wanted.store(false, Relaxed);
        let waiting =
            std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.iter().for_each(Thread::unpark);
    }
}

impl<T> std::ops::Deref for Driving<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: there is one `Driving` at a time, by the exchange in `try_take`, and it is borrowed.
        unsafe { &*self.seat.driver.get() }
    }
}

impl<T> std::ops::DerefMut for Driving<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: there is one `Driving` at a time, by the exchange in `try_take`, and it is borrowed
        // for writing.
        unsafe { &mut *self.seat.driver.get() }
    }
}

impl<T> Drop for Driving<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `try_take`.
        self.seat.taken.store(false, Release);
        // Twin of the heavy fence in `take_or_queue`.
        self.seat.fences.light();
        if self.seat.wanted.load(Relaxed) {
            self.seat.wake_queue();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::{Arc, thread};

    #[test]
    fn loom_nobody_sleeps_beside_a_free_seat() {
        loom::model(|| {
            let seat = Arc::new(Seat::new(0));
            let drive = |seat: &Seat<u32>| {
                let me = thread::current();
                loop {
                    if let Some(mut driving) = seat.take_or_queue(&me) {
                        *driving += 1;
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
            assert_eq!(*seat.try_take().unwrap(), 2);
        });
    }
}
