//! An event in shared memory: `raw_sync`'s. One process sleeps on it, and another sets it.
//!
//! On Unix it is a mutex, a condition and a flag that both processes write, so they trust each other. It is *auto-reset*:
//! the end of a wait takes the flag down. One `set` ends one wait, also a later one.
//!
//! A process that is killed inside an event leaves it locked, and **a thread that enters it after that may never come
//! out**. POSIX cannot unlock such a mutex, nor initialise it again under its users. So only the threads of
//! [`event_threads`](super::event_threads) enter an event. The process that makes it initialises it, once, before any
//! other process learns of it.

#![allow(unsafe_code, reason = "raw_sync takes the address of the memory that it uses")]

use std::{io, thread, time::Duration};

use raw_sync::{
    Timeout,
    events::{Event, EventImpl, EventInit, EventState},
};

use crate::{portable::rendezvous::EventPlace, shm::shared::Shared};

/// The time between two waits of which the first has failed.
const PAUSE: Duration = Duration::from_millis(1);

/// One process's end of an event.
pub(crate) struct NamedEvent {
    event: Box<dyn EventImpl>,
    /// Keeps the memory mapped.
    _place: Shared<EventPlace>,
}

// SAFETY: on Unix `event` is two pointers into the place, on Windows a handle of the process. Neither belongs to a
// thread or has state of its own, and the memory behind it is written under its mutex.
unsafe impl Send for NamedEvent {}
// SAFETY: as above: its methods are made for several threads, even of several processes.
unsafe impl Sync for NamedEvent {}

impl NamedEvent {
    /// Initialises an event that is not set. No other process knows the place yet.
    pub(crate) fn create(place: Shared<EventPlace>) -> io::Result<Self> {
        let start = start(&place)?;
        // SAFETY: the place is large enough, aligned, mapped for writing as long as `place` lives, and no thread uses
        // it yet.
        let (event, _) = unsafe { Event::new(start, true) }.map_err(refused)?;
        Ok(Self { event, _place: place })
    }

    /// Opens the event that its maker has initialised.
    pub(crate) fn open(place: Shared<EventPlace>) -> io::Result<Self> {
        let start = start(&place)?;
        // SAFETY: as above. Its other users are trusted: `create` has made it.
        let (event, _) = unsafe { Event::from_existing(start) }.map_err(refused)?;
        Ok(Self { event, _place: place })
    }

    /// Ends one wait, or the next one. It may never return: see the [module](self).
    pub(super) fn set(&self) {
        // It fails only for an invalid mutex or condition.
        let _ = self.event.set(EventState::Signaled);
    }

    /// Waits until it is set, or for no reason. It may never return: see the [module](self).
    pub(super) fn wait(&self) {
        // A timeout would use the wall clock, and `raw_sync`'s arithmetic on it.
        if self.event.wait(Timeout::Infinite).is_err() {
            thread::sleep(PAUSE);
        }
    }
}

/// Returns the address of the event, if it fits.
fn start(place: &EventPlace) -> io::Result<*mut u8> {
    // The place consists of atomics, so it may be written through a shared reference.
    let start = std::ptr::from_ref(place).cast_mut().cast::<u8>();
    let needed = Event::size_of(Some(start));
    if needed <= size_of::<EventPlace>() {
        Ok(start)
    } else {
        Err(io::Error::other(format!("an event takes {needed} bytes on this system")))
    }
}

fn refused(error: Box<dyn std::error::Error>) -> io::Error {
    io::Error::other(error.to_string())
}
