//! The driver's seat: of all threads that wait for messages, one at a time drives the inbox, the
//! others sleep until what they wait for has come or the seat is free.
//!
//! Whoever finds the seat taken says so, enters the queue, and *then* tries once more; whoever
//! leaves frees the seat and *then* asks whether anyone said so. Both are read-modify-writes of one
//! flag, so one of them comes first: if the leaver's does, the other sees the seat free; if
//! the other's does, the leaver sees the flag and wakes the queue. So nobody sleeps beside a free seat.

use std::sync::PoisonError;

use crate::sync::{
    AtomicBool, Mutex, MutexGuard, Ordering,
    thread::{self, Thread},
};

pub(crate) struct Seat<T> {
    driver: Mutex<T>,
    wanted: AtomicBool,
    queue: Mutex<Vec<Thread>>,
}

/// Holding it is driving. Dropping it wakes who waits for the seat.
pub(crate) struct Driving<'a, T> {
    seat: &'a Seat<T>,
    driver: Option<MutexGuard<'a, T>>,
}

impl<T> Seat<T> {
    pub(crate) fn new(driver: T) -> Self {
        Self {
            driver: Mutex::new(driver),
            wanted: AtomicBool::new(false),
            queue: Mutex::new(Vec::new()),
        }
    }

    /// Takes the seat if it is free.
    pub(crate) fn try_take(&self) -> Option<Driving<'_, T>> {
        let driver = match self.driver.try_lock() {
            Ok(driver) => driver,
            // A driver that panicked (a bug of ours: listeners are caught) left no half-read frame.
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        Some(Driving { seat: self, driver: Some(driver) })
    }

    /// Takes the seat, or enters `me` in the queue of those who are unparked when it becomes free.
    pub(crate) fn take_or_queue(&self, me: &Thread) -> Option<Driving<'_, T>> {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if !queue.iter().any(|waiting| waiting.id() == me.id()) {
                queue.push(me.clone());
            }
        }
        // AcqRel: pairs with the swap in `drop`. If that one came first, its release of the seat is
        // seen by the try below; if this one did, that one reads `true`.
        self.wanted.swap(true, Ordering::AcqRel);
        self.try_take()
    }

    /// Takes the seat as soon as it is free.
    pub(crate) fn take(&self) -> Driving<'_, T> {
        if let Some(driving) = self.try_take() {
            return driving;
        }
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

    fn deref(&self) -> &T {
        self.driver.as_ref().expect("held until dropped")
    }
}

impl<T> std::ops::DerefMut for Driving<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.driver.as_mut().expect("held until dropped")
    }
}

impl<T> Drop for Driving<'_, T> {
    fn drop(&mut self) {
        self.driver = None;
        // AcqRel: pairs with the swap in `take_or_queue`.
        if self.seat.wanted.swap(false, Ordering::AcqRel) {
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
