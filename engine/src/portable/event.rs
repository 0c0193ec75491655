//! An event in shared memory, on which one process sleeps and which another process sets: `raw_sync`'s.
//!
//! On Unix it is a mutex, a condition and a flag in memory that both processes write, so they trust each other. It
//! is *auto-reset*: the end of a wait takes the flag down. One `set` ends one wait, also a later one.
//!
//! A process that is killed inside an event leaves it locked, and **a thread that enters it after that may never come
//! out**. POSIX has no way to unlock such a mutex or to initialise it again under its users. So no thread enters an
//! event but those of [`event_threads`](super::event_threads), which nothing waits for.
//!
//! Only the process that makes an event initialises it, once, before any other process learns of it.

#![allow(unsafe_code, reason = "raw_sync takes the address of the memory that it uses")]

use std::{io, thread, time::Duration};

use raw_sync::{
    Timeout,
    events::{Event, EventImpl, EventInit, EventState},
};

use crate::{portable::rendezvous::EventPlace, shm::shared::Shared};

/// Between two waits of which the first has failed.
const PAUSE: Duration = Duration::from_millis(1);
/// A thread inside an event calls the C library and little else. There are two of them for each session.
const STACK: usize = 64 * 1024;

/// One process's end of an event.
pub(crate) struct NamedEvent {
    event: Box<dyn EventImpl>,
    /// Keeps the memory mapped.
    _place: Shared<EventPlace>,
}

// SAFETY: on Unix `event` is two pointers into the place, on Windows a handle of the process. Neither is tied to a
// thread or has state of its own, and the memory behind it is written under the mutex in it.
unsafe impl Send for NamedEvent {}
// SAFETY: as above: its methods are made for several threads, even of several processes.
unsafe impl Sync for NamedEvent {}

impl NamedEvent {
    /// Initialises an event, which is not set. No other process knows the place yet.
    pub(crate) fn create(place: Shared<EventPlace>) -> io::Result<Self> {
        let start = start(&place)?;
        // SAFETY: the place is large enough, aligned, mapped for writing as long as `place` lives, and no thread uses
        // it yet.
        let (event, _) = unsafe { Event::new(start, true) }.map_err(refused)?;
        Ok(Self { event, _place: place })
    }

    /// Uses the event that its maker has initialised there.
    pub(crate) fn open(place: Shared<EventPlace>) -> io::Result<Self> {
        let start = start(&place)?;
        // SAFETY: as above. Others use it, who are trusted: there is what `create` has made.
        let (event, _) = unsafe { Event::from_existing(start) }.map_err(refused)?;
        Ok(Self { event, _place: place })
    }

    /// Ends one wait, or the next one. It may never return: see the [module](self).
    pub(super) fn set(&self) {
        // It fails only for a mutex or a condition that is none.
        let _ = self.event.set(EventState::Signaled);
    }

    /// Waits until it is set, or for no reason. It may never return: see the [module](self).
    pub(super) fn wait(&self) {
        // With no time-out, so neither the wall clock nor `raw_sync`'s arithmetic on it plays a part.
        if self.event.wait(Timeout::Infinite).is_err() {
            thread::sleep(PAUSE);
        }
    }
}

/// Starts a thread that may enter an event, and is left behind if it does not come out.
pub(super) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)
}

/// Where the event lies, if it fits.
fn start(place: &EventPlace) -> io::Result<*mut u8> {
    // The place is atomics, and so may be written through a shared reference.
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
