//! Packets and descriptors between two processes.
//!
//! A `SOCK_SEQPACKET` Unix socket: packets arrive whole and in order, or not at all, and may carry descriptors.
//! The end of one process is a hang-up at the other.
//!
//! The peer may be hostile. So unexpected descriptors are closed, and a packet that does not fit is an error, not
//! half a packet. The `try_` forms pass the flag with each call, so they never block, whatever flags the peer
//! sets on a shared open file description.
//!
//! An empty packet looks like the end. So none is sent, and an empty packet from the peer counts as the end.

#![allow(unsafe_code, reason = "one descriptor number is taken over from the environment")]

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, fchmod},
    io::{Errno, FdFlags, fcntl_setfd, retry_on_intr},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix,
        SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg, shutdown,
        socket_with, socketpair, sockopt,
    },
    process::Pid,
};

pub(crate) use crate::os::report::{Credentials, Readiness};
use crate::{
    os::clock,
    primitives::{AtomicBool, Ordering},
};

/// The most descriptors of one packet: the kernel's `SCM_MAX_FD`.
pub(crate) const DESCRIPTORS_MAX: usize = 253;

const CONTROL_SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) OwnedFd);

/// A received packet: the first `len` bytes of the caller's buffer, and its descriptors.
#[derive(Debug)]
#[must_use = "a packet of length 0 is the end of the connection"]
pub(crate) struct ReceivedPacket {
    /// 0 is the end: the peer is gone, or has shut down its side.
    pub(crate) len: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Socket {
    /// Makes two connected ends, which close on exec.
    pub(crate) fn pair() -> io::Result<(Socket, Socket)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Socket(one), Socket(other)))
    }

    /// Connects to a [`Listener`]. Blocks while its queue is full.
    pub(crate) fn connect(path: &Path) -> io::Result<Socket> {
        let socket = new_socket(SocketFlags::empty())?;
        let address = SocketAddrUnix::new(path)?;
        retry_on_intr(|| connect(&socket, &address))?;
        Ok(Socket(socket))
    }

    /// Takes over the socket that the launching process left at `number`, once in a process.
    ///
    /// A number that is no packet socket is refused and stays open: other code owns it.
    pub(crate) fn inherited(number: RawFd) -> io::Result<Socket> {
        static TAKEN: AtomicBool = AtomicBool::new(false);

        if number <= 2 {
            return Err(invalid_input("standard streams are not a session's socket"));
        }
        // SAFETY: the borrow ends before the number is owned. No code closes it meanwhile: the launching
        // process left it for this function alone. If it is not open, the calls below return EBADF.
        let candidate = unsafe { BorrowedFd::borrow_raw(number) };
        let packets = sockopt::socket_domain(candidate)? == AddressFamily::UNIX
            && sockopt::socket_type(candidate)? == SocketType::SEQPACKET;
        if !packets {
            return Err(invalid_input("the inherited descriptor is not a packet socket"));
        }
        // Relaxed: the exchange alone decides which caller takes the inherited socket.
        if TAKEN.swap(true, Ordering::Relaxed) {
            let error = "the inherited socket has been taken before";
            return Err(io::Error::new(ErrorKind::AlreadyExists, error));
        }
        fcntl_setfd(candidate, FdFlags::CLOEXEC)?;
        // SAFETY: it is an open packet socket that no code of this process made, and the swap above gives
        // it to one caller only.
        Ok(Socket(unsafe { OwnedFd::from_raw_fd(number) }))
    }

    /// Sends one packet. Blocks while the peer's queue is full.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, descriptors, SendFlags::empty())
    }

    /// Sends one packet, or fails with [`ErrorKind::WouldBlock`].
    pub(crate) fn try_send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, descriptors, SendFlags::DONTWAIT)
    }

    fn send_with(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        if bytes.is_empty() {
            return Err(invalid_input("an empty packet would read as the end"));
        }
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(invalid_input("too many descriptors for one packet"));
        }
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
            debug_assert!(fits, "the space is for the most there can be");
        }
        let flags = flags | SendFlags::NOSIGNAL;
        retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags))?;
        Ok(())
    }

    /// Waits for one packet with at most `descriptors_max` descriptors.
    ///
    /// A packet that is longer than `buffer` or has more descriptors is lost: it is an
    /// [`ErrorKind::InvalidData`], and its descriptors are closed.
    #[cfg(test)]
    pub(crate) fn receive(
        &self,
        buffer: &mut [u8],
        descriptors_max: usize,
    ) -> io::Result<ReceivedPacket> {
        self.receive_with(buffer, descriptors_max, RecvFlags::empty())
    }

    /// Like [`Socket::receive`], but fails with [`ErrorKind::WouldBlock`] if there is none.
    pub(crate) fn try_receive(
        &self,
        buffer: &mut [u8],
        descriptors_max: usize,
    ) -> io::Result<ReceivedPacket> {
        self.receive_with(buffer, descriptors_max, RecvFlags::DONTWAIT)
    }

    fn receive_with(
        &self,
        buffer: &mut [u8],
        descriptors_max: usize,
        flags: RecvFlags,
    ) -> io::Result<ReceivedPacket> {
        // The kernel closes descriptors that do not fit, and sets CTRUNC. The space is rounded up, so one or
        // two more may fit than were asked for: this function closes those.
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let room = match descriptors_max {
            0 => 0,
            some => rustix::cmsg_space!(ScmRights(some.min(DESCRIPTORS_MAX))),
        };
        let mut control = RecvAncillaryBuffer::new(&mut space[..room]);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let message = retry_on_intr(|| {
            recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags)
        })?;

        let rights = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let descriptors: Vec<OwnedFd> = rights.flatten().collect();
        if message.flags.contains(ReturnFlags::TRUNC) {
            return Err(invalid_data("a packet was longer than any that is expected"));
        }
        if message.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > descriptors_max {
            return Err(invalid_data("a packet brought descriptors that nobody asked for"));
        }
        Ok(ReceivedPacket { len: message.bytes, descriptors })
    }

    pub(crate) fn peer_credentials(&self) -> io::Result<Credentials> {
        let peer = sockopt::socket_peercred(&self.0)?;
        Ok(Credentials {
            pid: Pid::as_raw(Some(peer.pid)).cast_unsigned(),
            uid: peer.uid.as_raw(),
            gid: peer.gid.as_raw(),
        })
    }

    /// Ends the connection for both sides, even if others hold this end too.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        match shutdown(&self.0, Shutdown::Both) {
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sleeps until there is a packet or the peer is gone, for at most `timeout`. May return early with neither.
    pub(crate) fn poll_readable(&self, timeout: Option<Duration>) -> io::Result<Readiness> {
        let timeout = timeout.map(clock::timespec_of);
        let mut polled = [PollFd::new(&self.0, PollFlags::IN | PollFlags::RDHUP)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let found = polled[0].revents();
        Ok(Readiness {
            readable: found.contains(PollFlags::IN),
            hangup: found.intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR),
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The socket to which processes connect that main did not launch.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Listens at `path`, which must not exist. Only its owner may read and write the file. The caller removes it.
    pub(crate) fn bind(path: &Path) -> io::Result<Listener> {
        let socket = new_socket(SocketFlags::NONBLOCK)?;
        // The file gets the socket's mode, so there is no moment with a wider one.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        listen(&socket, BACKLOG)?;
        Ok(Listener(socket))
    }

    /// Accepts the next connection, if one waits. Never blocks.
    pub(crate) fn accept(&self) -> io::Result<Option<Socket>> {
        match retry_on_intr(|| accept_with(&self.0, SocketFlags::CLOEXEC)) {
            Ok(socket) => Ok(Some(Socket(socket))),
            Err(Errno::AGAIN | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn new_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn invalid_input(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what)
}

fn invalid_data(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        let (reader, writer) = io::pipe().unwrap();
        (reader.into(), writer.into())
    }

    /// Whether every write end of the pipe is closed.
    fn has_no_writer(reader: &OwnedFd) -> bool {
        rustix::io::read(reader, &mut [0; 1]) == Ok(0)
    }

    #[test]
    fn packets_arrive_whole_and_in_order() {
        let (ours, theirs) = Socket::pair().unwrap();
        ours.send(b"first", &[]).unwrap();
        ours.send(b"second packet", &[]).unwrap();

        let mut buffer = [0; 64];
        for expected in [&b"first"[..], b"second packet"] {
            let received = theirs.receive(&mut buffer, 0).unwrap();
            assert_eq!(&buffer[..received.len], expected);
            assert!(received.descriptors.is_empty());
        }
    }

    #[test]
    fn descriptors_travel_with_their_packet_and_close_on_exec() {
        let (ours, theirs) = Socket::pair().unwrap();
        let (reader, writer) = pipe();
        ours.send(b"a pipe", &[reader.as_fd(), writer.as_fd()]).unwrap();

        let received = theirs.receive(&mut [0; 64], 2).unwrap();
        let [reader, writer] = <[OwnedFd; 2]>::try_from(received.descriptors).unwrap();
        for descriptor in [&reader, &writer] {
            assert!(rustix::io::fcntl_getfd(descriptor).unwrap().contains(FdFlags::CLOEXEC));
        }
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]).unwrap(), 1);
    }

    #[test]
    fn uninvited_descriptors_are_refused_and_closed() {
        let (ours, theirs) = Socket::pair().unwrap();
        for invited in 0..4 {
            let (reader, writer) = pipe();
            let uninvited = vec![writer.as_fd(); invited + 1];
            ours.send(b"surprise", &uninvited).unwrap();
            drop(writer);

            let refused = theirs.receive(&mut [0; 64], invited).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidData, "{invited} were invited");
            assert!(has_no_writer(&reader), "{invited} were invited");
        }
    }

    #[test]
    fn as_many_descriptors_as_a_packet_can_carry_are_received() {
        let (ours, theirs) = Socket::pair().unwrap();
        let (_, writer) = pipe();
        ours.send(b"many", &[writer.as_fd(); DESCRIPTORS_MAX]).unwrap();
        let received = theirs.receive(&mut [0; 64], DESCRIPTORS_MAX).unwrap();
        assert_eq!(received.descriptors.len(), DESCRIPTORS_MAX);

        let too_many = [writer.as_fd(); DESCRIPTORS_MAX + 1];
        let refused = ours.send(b"more", &too_many).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_packet_that_does_not_fit_is_refused_and_its_descriptors_closed() {
        let (ours, theirs) = Socket::pair().unwrap();
        let (reader, writer) = pipe();
        ours.send(&[0; 65], &[writer.as_fd()]).unwrap();
        drop(writer);

        let refused = theirs.receive(&mut [0; 64], 1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        assert!(has_no_writer(&reader));
    }

    #[test]
    fn what_would_block_says_so_even_if_the_peer_changed_the_flags() {
        let (ours, theirs) = Socket::pair().unwrap();
        // The same open file description, as a renderer would hold that of an eventfd.
        rustix::fs::fcntl_setfl(&ours, rustix::fs::OFlags::empty()).unwrap();

        let nothing = ours.try_receive(&mut [0; 64], 0).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        let full = loop {
            if let Err(error) = ours.try_send(&[0; 4096], &[]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        drop(theirs);
    }

    #[test]
    fn the_end_of_the_peer_is_a_hangup_and_a_packet_of_length_0() {
        let (ours, theirs) = Socket::pair().unwrap();
        let nothing = ours.poll_readable(Some(Duration::ZERO)).unwrap();
        assert_eq!(nothing, Readiness { readable: false, hangup: false });

        drop(theirs);
        assert!(ours.poll_readable(None).unwrap().hangup);
        assert_eq!(ours.receive(&mut [0; 64], 0).unwrap().len, 0);
        let broken = ours.send(b"hello?", &[]).unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn an_empty_packet_is_never_sent() {
        let (ours, _theirs) = Socket::pair().unwrap();
        assert_eq!(ours.send(b"", &[]).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_shutdown_ends_it_for_both_sides_while_both_are_held() {
        let (ours, theirs) = Socket::pair().unwrap();
        ours.shutdown().unwrap();
        assert!(theirs.poll_readable(None).unwrap().hangup);
        ours.shutdown().unwrap();
    }

    #[test]
    fn a_listener_accepts_who_connects_and_knows_who_it_is() {
        let directory =
            std::env::temp_dir().join(format!("ringbridge-socket-test-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("listener");

        let listener = Listener::bind(&path).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);

        let theirs = Socket::connect(&path).unwrap();
        let ours = listener.accept().unwrap().unwrap();
        let peer = ours.peer_credentials().unwrap();
        assert_eq!(peer, theirs.peer_credentials().unwrap());
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());

        theirs.send(b"hello", &[]).unwrap();
        assert_eq!(ours.receive(&mut [0; 64], 0).unwrap().len, 5);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn an_inherited_number_must_be_a_packet_socket_and_is_given_once() {
        let (reader, _writer) = pipe();
        let refused = Socket::inherited(reader.as_raw_fd()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::NOTSOCK.raw_os_error()));
        assert_eq!(Socket::inherited(0).unwrap_err().kind(), ErrorKind::InvalidInput);

        let (ours, theirs) = Socket::pair().unwrap();
        let number = theirs.0.into_raw_fd();
        let theirs = Socket::inherited(number).unwrap();
        let again = Socket::inherited(ours.0.as_raw_fd()).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        ours.send(b"hello", &[]).unwrap();
        assert_eq!(theirs.receive(&mut [0; 64], 0).unwrap().len, 5);
    }
}
