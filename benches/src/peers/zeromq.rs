//! ZeroMQ: libzmq, built from its sources by the crate `zmq`, with a pair of sockets over `ipc://`.

use super::queue_len;
use crate::pair::prelude::*;

pub(super) fn pair(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let payload = stage.payload();
    let socket = zmq::Context::new().socket(zmq::PAIR)?;
    let messages = i32::try_from(queue_len(payload))?;
    socket.set_sndhwm(messages)?;
    socket.set_rcvhwm(messages)?;
    // Messages that were not received do not keep the process from ending.
    socket.set_linger(0)?;
    let address = format!("ipc://{}/zeromq", stage.job.scratch.display());
    if stage.is_main {
        socket.bind(&address)?;
        stage.launch()?;
        stage.control.meet()?;
    } else {
        stage.control.meet()?;
        socket.connect(&address)?;
    }
    Ok(Socket { socket, message: zmq::Message::new() }.side(payload))
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
