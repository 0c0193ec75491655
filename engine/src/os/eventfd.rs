//! A bell that an epoll can hear.
//!
//! The sleeper makes it, keeps one descriptor in its epoll and gives the other to the ringer. The two
//! share one open file description, so a hostile ringer can fill its counter, and can make it
//! blocking. Hence the sleeper never reads it and never writes it: it adds it edge-triggered, which
//! gives an event for every ring with nothing to read in between.

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

    /// A second descriptor of the same eventfd, to pass on.
    pub(crate) fn try_clone(&self) -> io::Result<EventFd> {
        Ok(EventFd(self.0.try_clone()?))
    }

    /// Rings it. A counter that is full has been rung often enough.
    pub(crate) fn ring(&self) -> io::Result<()> {
        match rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes over one that came over a socket, or another end of our own.
impl From<OwnedFd> for EventFd {
    fn from(descriptor: OwnedFd) -> EventFd {
        EventFd(descriptor)
    }
}

/// To pass on.
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
