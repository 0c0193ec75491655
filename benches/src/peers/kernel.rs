//! The kernel's own ways to carry bytes: a pipe each way, and a Unix socket that keeps message boundaries.

use std::{
    fs::File,
    io::{Read, Write, pipe},
    os::fd::OwnedFd,
};

use rustix::{
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
    pipe::fcntl_setpipe_size,
};

use crate::pair::prelude::*;

/// The room in each pipe: the default maximum of an unprivileged process.
const ROOM: usize = 1 << 20;
/// The longest packet. It has to fit into the socket's buffer, 208 KiB on an ordinary machine.
const PACKET_MAX: usize = 64 * 1024;

pub(super) fn pipes(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let [from, to] = stage.share(|| {
        let [(from_renderer, to_main), (from_main, to_renderer)] = [pipe()?, pipe()?];
        fcntl_setpipe_size(&to_main, ROOM)?;
        fcntl_setpipe_size(&to_renderer, ROOM)?;
        let ours = [from_renderer.into(), to_renderer.into()];
        Ok([ours, [from_main.into(), to_main.into()]])
    })?;
    let payload = stage.payload();
    Ok(Pipes { from: from.into(), to: to.into(), message: vec![0; payload] }.side(payload))
}

struct Pipes {
    from: File,
    to: File,
    message: Vec<u8>,
}

impl Link for Pipes {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        Ok(self.to.write_all(message)?)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        self.from.read_exact(&mut self.message)?;
        Ok(read(&self.message))
    }
}

pub(super) fn socket(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let [socket] = stage.share(|| {
        let (ours, theirs) = socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
        Ok([[ours], [theirs]])
    })?;
    let payload = stage.payload();
    Ok(Socket { socket, message: vec![0; payload] }.side(payload))
}

struct Socket {
    socket: OwnedFd,
    message: Vec<u8>,
}

impl Link for Socket {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        for packet in message.chunks(PACKET_MAX) {
            send(&self.socket, packet, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        for packet in self.message.chunks_mut(PACKET_MAX) {
            let expected = packet.len();
            let (received, _) = recv(&self.socket, packet, RecvFlags::empty())?;
            if received != expected {
                return Err(format!("a packet of {received} bytes, not {expected}").into());
            }
        }
        Ok(read(&self.message))
    }
}
