//! The connection of a session's two processes beside its rings: packets, memory that is handed over, and the
//! hang-up of a process that ends.
//!
//! With the sealed backend it is a socket. With the portable backend packets lie in shared memory.

use std::{
    any::Any,
    io,
    ops::Deref,
    time::{Duration, Instant},
    vec,
};

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
    /// [`io::ErrorKind::WouldBlock`]. A packet that is longer than `buffer`, or hands over more, is an error and is
    /// dropped.
    fn try_receive(&self, buffer: &mut [u8], handles_max: usize) -> io::Result<ControlPacket>;

    /// Sleeps until there is something to read or the peer is gone, at most for `timeout`. May come back early, with
    /// neither: callers loop. Only renderers call it; main's loop listens to all its channels at once.
    fn poll_readable(&self, timeout: Option<Duration>) -> io::Result<Readiness>;

    /// Ends the connection for both sides. What was sent before can still be received.
    fn shutdown(&self) -> io::Result<()>;

    /// The process at the other end.
    fn peer_credentials(&self) -> io::Result<Credentials>;

    /// Main's means to wake this session's renderer, and the sleep of its threads that wait for room.
    fn mains_signals(&self) -> io::Result<(Box<dyn Signal>, Interrupt)>;

    /// The bell that main hands over in its welcome for the renderer to ring, if it is a memory of its own.
    fn bell_to_hand_over(&self) -> io::Result<Option<MemoryHandle>> {
        Ok(None)
    }

    /// A renderer's means to wake main, and the sleep of its threads. Takes the bell from `handed_over`; `None` if
    /// it is missing.
    fn renderers_signals(
        &self,
        handed_over: &mut vec::IntoIter<MemoryHandle>,
    ) -> Option<(Box<dyn Signal>, Interrupt)>;

    fn backend(&self) -> Backend;
}

/// A received packet: the first `len` bytes of the caller's buffer, and the memory that it hands over.
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
    pub(crate) fn link<L: PacketLink>(&self) -> Option<&L> {
        let link: &dyn Any = &*self.0;
        link.downcast_ref()
    }

    /// Waits for one packet, as [`PacketLink::try_receive`]. `None`: the deadline has passed.
    pub(crate) fn receive_before(
        &self,
        deadline: Instant,
        buffer: &mut [u8],
        handles_max: usize,
    ) -> io::Result<Option<ControlPacket>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let found = self.poll_readable(Some(left))?;
            if found.readable || found.hangup {
                return self.try_receive(buffer, handles_max).map(Some);
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
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
