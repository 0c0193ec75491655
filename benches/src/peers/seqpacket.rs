//! A Unix socket that keeps message boundaries.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use crate::pair::prelude::*;

/// The longest packet. It has to fit into the socket's buffer, 208 KiB on an ordinary machine.
const PACKET_MAX: usize = 64 * 1024;

pub(super) struct SeqPacket;

impl Peer for SeqPacket {
    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        stage.launch()?;
        stage.control.give(&[theirs.as_fd()])?;
        Ok(side(stage, ours))
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        let [theirs] = stage.control.take()?;
        Ok(side(stage, theirs))
    }
}

fn side(stage: &Stage, socket: OwnedFd) -> Box<dyn Side> {
    Socket { socket, message: vec![0; stage.payload()] }.side(stage)
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
