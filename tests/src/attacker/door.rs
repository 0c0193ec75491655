//! Sockets, and packets of any kind with descriptors of any kind.

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

use super::until;

/// As many descriptors as the kernel lets one packet carry.
pub const DESCRIPTORS_MAX: usize = 253;

#[derive(Debug)]
pub struct Socket(pub OwnedFd);

impl Socket {
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Connects, unless that would have to wait.
    pub fn try_connect(path: &Path) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Says something. Whether anyone still listens is of no interest.
    pub fn say(&self, packet: &[u8]) {
        self.say_with(packet, &[]);
    }

    pub fn say_with(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
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
        let mut space =
            vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut packet)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.0, &mut buffers, &mut ancillary, flags).ok()?;
        let mut descriptors = Vec::new();
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                descriptors.extend(rights);
            }
        }
        Some(descriptors)
    }

    /// Takes what comes, up to the end; whether that is the end.
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
            let mut polled = [PollFd::new(&self.0, PollFlags::IN | PollFlags::RDHUP)];
            let moment = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            // Whatever it says, the next line looks.
            let _ = poll(&mut polled, Some(&moment));
            self.is_hung_up()
        });
    }

    /// Waits for a packet with descriptors, for so long.
    pub fn wait(&self, span: Duration) {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN | PollFlags::RDHUP)];
        let span = Timespec::try_from(span).expect("it is short");
        let _ = poll(&mut polled, Some(&span));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
