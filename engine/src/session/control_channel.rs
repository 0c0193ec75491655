//! What ties the two processes of a session together beside its rings: packets, memory that is handed over, and the
//! knowledge that the other process is still there.
//!
//! A socket where there is one. Between processes that share nothing but names, packets lie in shared memory.

use std::{any::Any, io, ops::Deref, time::Duration, vec};

use crate::{
    config::Backend,
    os::report::{Credentials, Readiness},
    shm::handle::MemoryHandle,
    wake::bell::{Interrupt, Signal},
};

/// One end of a connection that carries packets and hands over memory.
pub(crate) trait PacketLink: Any + Send + Sync {
    /// Sends one packet. A socket waits while the peer's queue is full. Elsewhere there is space for a whole handshake.
    fn send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()> {
        self.try_send(bytes, handles)
    }

    /// Sends one packet, or fails with [`io::ErrorKind::WouldBlock`].
    fn try_send(&self, bytes: &[u8], handles: &[&MemoryHandle]) -> io::Result<()>;

    /// Receives one packet that hands over at most `handles_max` pieces of memory, or fails with
    /// [`io::ErrorKind::WouldBlock`]. A packet that is longer than `buffer`, or hands over more, is gone: that is an
    /// error, and what it brought is let go.
    fn try_receive(&self, buffer: &mut [u8], handles_max: usize) -> io::Result<ControlPacket>;

    /// Sleeps until there is something to read or the peer is gone, at most for `timeout`. May come back early, with
    /// neither: callers loop. A renderer's only; main's loop listens to all of them at once.
    fn poll_readable(&self, timeout: Option<Duration>) -> io::Result<Readiness>;

    /// Ends the connection for both sides. What was sent before can still be received.
    fn shutdown(&self) -> io::Result<()>;

    /// The process at the other end.
    fn peer_credentials(&self) -> io::Result<Credentials>;

    /// How main wakes this session's renderer, and how its threads sleep that wait for room.
    fn mains_signals(&self) -> io::Result<(Box<dyn Signal>, Interrupt)>;

    /// What main hands over in its welcome for the renderer to ring, if that is a thing of its own.
    fn bell_to_hand_over(&self) -> io::Result<Option<MemoryHandle>> {
        Ok(None)
    }

    /// How a renderer wakes main, and how its threads sleep. Takes what was handed over for that; `None` if it is
    /// missing.
    fn renderers_signals(
        &self,
        handed_over: &mut vec::IntoIter<MemoryHandle>,
    ) -> Option<(Box<dyn Signal>, Interrupt)>;

    fn backend(&self) -> Backend;
}

/// A packet that came: the first `len` bytes of the caller's buffer, and what it hands over.
#[derive(Debug)]
#[must_use = "a packet of length 0 is the end of the connection"]
pub(crate) struct ControlPacket {
    /// 0 is the end.
    pub(crate) len: usize,
    pub(crate) handles: Vec<MemoryHandle>,
}

pub(crate) struct ControlChannel(Box<dyn PacketLink>);

impl ControlChannel {
    /// The link itself, for the poller that listens to this kind and no other.
    pub(crate) fn link<L: PacketLink>(&self) -> io::Result<&L> {
        let link: &dyn Any = &*self.0;
        link.downcast_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl<L: PacketLink> From<L> for ControlChannel {
    fn from(link: L) -> Self {
        Self(Box::new(link))
    }
}

impl Deref for ControlChannel {
    type Target = dyn PacketLink;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
