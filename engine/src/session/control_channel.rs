//! What ties the two processes of a session together beside its rings: packets, memory that is handed over, and the
//! knowledge that the other one is still there.
//!
//! A socket where there is one; between processes that share nothing but names, a mailbox in shared memory.

use std::{io, time::Duration};

use crate::{
    config::Backend,
    os::{
        BorrowedFd, EventFd, Socket,
        socket::{Credentials, Readiness},
    },
    shm::handle::MemoryHandle,
    wake::bell::{Interrupt, Signal},
};
#[cfg(feature = "portable")]
use crate::{os::process, portable::Mailbox};

pub(crate) enum ControlChannel {
    Socket(Socket),
    #[cfg(feature = "portable")]
    Mailbox(Box<Mailbox>),
}

/// A packet that came: the first `len` bytes of the caller's buffer, and what it hands over.
#[derive(Debug)]
#[must_use = "a packet of length 0 is the end of the connection"]
pub(crate) struct ControlPacket {
    /// 0 is the end.
    pub(crate) len: usize,
    pub(crate) handles: Vec<MemoryHandle>,
}

impl ControlChannel {
    /// Sends one packet; waits while the peer's queue is full. (A mailbox has room for all of a handshake.)
    pub(crate) fn send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.send(bytes, &descriptors(handles)?),
            #[cfg(feature = "portable")]
            Self::Mailbox(mailbox) => mailbox.try_send(bytes, handles),
        }
    }

    /// Sends one packet, or fails with [`io::ErrorKind::WouldBlock`].
    pub(crate) fn try_send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.try_send(bytes, &descriptors(handles)?),
            #[cfg(feature = "portable")]
            Self::Mailbox(mailbox) => mailbox.try_send(bytes, handles),
        }
    }

    /// Receives one packet that hands over at most `handles_max` pieces of memory, or fails with
    /// [`io::ErrorKind::WouldBlock`]. One that is longer than `buffer`, or hands over more, is gone: that is an
    /// error, and what it brought is let go.
    pub(crate) fn try_receive(
        &self,
        buffer: &mut [u8],
        handles_max: usize,
    ) -> io::Result<ControlPacket> {
        match self {
            Self::Socket(socket) => {
                let received = socket.try_receive(buffer, handles_max)?;
                let handles = received.descriptors.into_iter().map(MemoryHandle::from).collect();
                Ok(ControlPacket { len: received.len, handles })
            }
            #[cfg(feature = "portable")]
            Self::Mailbox(mailbox) => mailbox.try_receive(buffer, handles_max),
        }
    }

    /// Sleeps until there is something to read or the peer is gone, at most for `timeout`. May come back early, with
    /// neither: callers loop. A renderer's only; main's loop listens to all of them at once.
    pub(crate) fn poll_readable(&self, timeout: Option<Duration>) -> io::Result<Readiness> {
        match self {
            Self::Socket(socket) => socket.poll_readable(timeout),
            #[cfg(feature = "portable")]
            Self::Mailbox(mailbox) => Ok(mailbox.poll_readable(timeout)),
        }
    }

    /// Ends the connection for both sides.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.shutdown(),
            #[cfg(feature = "portable")]
            Self::Mailbox(mailbox) => {
                mailbox.shutdown();
                Ok(())
            }
        }
    }

    /// Who is at the other end. Between processes that trust each other it is who it says it is; and of this user,
    /// since nobody else can open the memory.
    pub(crate) fn peer_credentials(&self) -> io::Result<Credentials> {
        match self {
            Self::Socket(socket) => socket.peer_credentials(),
            #[cfg(feature = "portable")]
            Self::Mailbox(mailbox) => Ok(Credentials {
                pid: mailbox.peer_pid(),
                uid: process::user_id(),
                gid: process::group_id(),
            }),
        }
    }

    /// How main wakes this session's renderer, and how its threads sleep that wait for room.
    pub(crate) fn mains_signals(&self) -> (Signal, Interrupt) {
        match self {
            Self::Socket(_) => (Signal::Futex, Interrupt::default()),
            #[cfg(feature = "portable")]
            Self::Mailbox(mailbox) => mailbox.signals(),
        }
    }

    /// How a renderer wakes main, and how its threads sleep. `event` was handed over if the control is a socket.
    pub(crate) fn renderers_signals(&self, event: Option<EventFd>) -> Option<(Signal, Interrupt)> {
        match (self, event) {
            (Self::Socket(_), event) => Some((Signal::Event(event?), Interrupt::default())),
            #[cfg(feature = "portable")]
            (Self::Mailbox(mailbox), _) => Some(mailbox.signals()),
        }
    }

    /// What an epoll can listen to.
    pub(crate) fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            #[cfg(feature = "portable")]
            Self::Mailbox(_) => None,
        }
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::Socket(_) => Backend::Sealed,
            #[cfg(feature = "portable")]
            Self::Mailbox(_) => Backend::Portable,
        }
    }

    /// Whether a renderer at the other end wakes main by an eventfd, which main has to hand over.
    pub(crate) fn needs_an_event(&self) -> bool {
        matches!(self, Self::Socket(_))
    }
}

#[cfg(feature = "portable")]
impl From<Mailbox> for ControlChannel {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(Box::new(mailbox))
    }
}

impl From<Socket> for ControlChannel {
    fn from(socket: Socket) -> Self {
        Self::Socket(socket)
    }
}

fn descriptors<'a>(handles: &[&'a MemoryHandle]) -> io::Result<Vec<BorrowedFd<'a>>> {
    handles.iter().map(|handle| handle.descriptor()).collect()
}
