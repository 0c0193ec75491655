//! A bell for an epoll.
//!
//! The sleeper makes it, keeps one descriptor in its epoll and gives the other to the peer. Both share one open
//! file description, so a hostile peer can fill its counter and make it blocking. So the sleeper neither reads
//! nor writes it, but adds it edge-triggered: each ring is an event, with nothing to read in between.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        Ok(EventFd(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Duplicates the descriptor, for another process.
    pub(crate) fn try_clone(&self) -> io::Result<EventFd> {
        Ok(EventFd(self.0.try_clone()?))
    }

    /// Rings it. A full counter is no error.
    pub(crate) fn ring(&self) -> io::Result<()> {
        match rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<OwnedFd> for EventFd {
    fn from(descriptor: OwnedFd) -> EventFd {
        EventFd(descriptor)
    }
}

impl From<EventFd> for OwnedFd {
    fn from(event: EventFd) -> OwnedFd {
        event.0
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
