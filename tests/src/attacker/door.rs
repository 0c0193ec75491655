//! Sockets, and packets with descriptors.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
        recvmsg, sendmsg, socket_with,
    },
};

use super::{until, until_some};

/// As many descriptors as the kernel lets one packet carry.
pub const DESCRIPTORS_MAX: usize = 253;

const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

#[derive(Debug)]
pub struct Socket(pub OwnedFd);

impl Socket {
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        Self::connect_with(path, SocketFlags::CLOEXEC)
    }

    /// Connects, unless that would block.
    pub fn try_connect(path: &Path) -> Result<Self, Errno> {
        Self::connect_with(path, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }

    fn connect_with(path: &Path, flags: SocketFlags) -> Result<Self, Errno> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Sends a packet, or nothing if main has hung up.
    pub fn say(&self, packet: &[u8]) {
        self.say_with(packet, &[]);
    }

    pub fn say_with(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(packet)], &mut ancillary, SendFlags::NOSIGNAL);
        assert!(matches!(sent, Ok(_) | Err(Errno::PIPE | Errno::CONNRESET)), "{sent:?}");
    }

    /// The next packet's descriptors; `None` if there is no packet.
    pub fn descriptors(&self) -> Option<Vec<OwnedFd>> {
        let mut packet = vec![0; super::wire::PACKET_MAX];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut packet)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.0, &mut buffers, &mut ancillary, flags).ok()?;
        let rights = ancillary.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        Some(rights.flatten().collect())
    }

    pub fn next_descriptors(&self) -> Vec<OwnedFd> {
        until_some("descriptors", || {
            self.wait(Duration::from_millis(5));
            self.descriptors().filter(|descriptors| !descriptors.is_empty())
        })
    }

    /// Takes all packets, and returns whether main has hung up.
    pub fn is_hung_up(&self) -> bool {
        let mut packet = vec![0; super::wire::PACKET_MAX];
        loop {
            match recv(&self.0, &mut packet, RecvFlags::DONTWAIT) {
                Ok((0, _)) | Err(Errno::CONNRESET | Errno::PIPE) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    pub fn until_hung_up(&self) {
        until("main hangs up", || {
            self.wait(Duration::from_millis(5));
            self.is_hung_up()
        });
    }

    /// Waits for a packet or the end, for so long.
    pub fn wait(&self, span: Duration) {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN | PollFlags::RDHUP)];
        let span = Timespec::try_from(span).expect("it is short");
        // The caller looks after a timeout too.
        let _ = poll(&mut polled, Some(&span));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
