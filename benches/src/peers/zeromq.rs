//! ZeroMQ: libzmq, built from its sources by the crate `zmq`, with a pair of sockets over `ipc://`.

use super::queue_len;
use crate::pair::prelude::*;

pub(super) struct Pair;

impl Peer for Pair {
    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        let socket = socket(stage)?;
        socket.bind(&address(stage))?;
        stage.launch()?;
        stage.control.meet()?;
        Ok(Socket { socket, message: zmq::Message::new() }.side(stage))
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        stage.control.meet()?;
        let socket = socket(stage)?;
        socket.connect(&address(stage))?;
        Ok(Socket { socket, message: zmq::Message::new() }.side(stage))
    }
}

fn address(stage: &Stage) -> String {
    format!("ipc://{}/zeromq", stage.job.scratch.display())
}

fn socket(stage: &Stage) -> Result<zmq::Socket, Error> {
    let socket = zmq::Context::new().socket(zmq::PAIR)?;
    let messages = i32::try_from(queue_len(stage.payload()))?;
    socket.set_sndhwm(messages)?;
    socket.set_rcvhwm(messages)?;
    // Messages that were not received do not keep the process from ending.
    socket.set_linger(0)?;
    Ok(socket)
}

struct Socket {
    socket: zmq::Socket,
    message: zmq::Message,
}

impl Link for Socket {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        Ok(self.socket.send(message, 0)?)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        self.socket.recv(&mut self.message, 0)?;
        Ok(read(&self.message))
    }
}
