//! A Unix socket that keeps message boundaries.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
    },
};

/// The longest packet. One must fit into the socket's buffer, 208 KiB on an ordinary machine.
const PACKET_MAX: usize = 64 * 1024;

pub(super) struct SeqPacket;

impl Subject for SeqPacket {
    fn name(&self) -> &'static str {
        "seqpacket"
    }

    fn about(&self) -> &'static str {
        "a Unix SOCK_SEQPACKET socket, packets of up to 64 KiB; sleeps in recv"
    }

    fn shares_a_core(&self) -> bool {
        true
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        stage.launch()?;
        stage.control.give(&[theirs.as_fd()])?;
        Ok(link(stage, ours))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let [theirs] = stage.control.take()?;
        Ok(link(stage, theirs))
    }
}

fn link(stage: &Stage, socket: OwnedFd) -> Box<Linked<Socket>> {
    let payload = stage.job.task.payload;
    Box::new(Linked::new(Socket { socket, message: vec![0; payload] }, payload))
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
