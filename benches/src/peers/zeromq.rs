//! ZeroMQ: libzmq, built from its sources by the crate `zmq`, with a pair of sockets over `ipc://`.

use super::queue_len;
use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
    },
};

pub(super) struct Pair;

impl Subject for Pair {
    fn name(&self) -> &'static str {
        "zeromq"
    }

    fn about(&self) -> &'static str {
        "libzmq PAIR over ipc://, one I/O thread each; sleeps in recv"
    }

    fn package(&self) -> Option<&'static str> {
        Some("zeromq-src")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let socket = socket(stage)?;
        socket.bind(&address(stage))?;
        stage.launch()?;
        stage.control.meet()?;
        Ok(link(stage, socket))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        stage.control.meet()?;
        let socket = socket(stage)?;
        socket.connect(&address(stage))?;
        Ok(link(stage, socket))
    }
}

fn address(stage: &Stage) -> String {
    format!("ipc://{}/zeromq", stage.job.scratch.display())
}

fn socket(stage: &Stage) -> Result<zmq::Socket, Error> {
    let socket = zmq::Context::new().socket(zmq::PAIR)?;
    let messages = i32::try_from(queue_len(stage.job.task.payload))?;
    socket.set_sndhwm(messages)?;
    socket.set_rcvhwm(messages)?;
    // What nobody receives any more does not keep the process.
    socket.set_linger(0)?;
    Ok(socket)
}

fn link(stage: &Stage, socket: zmq::Socket) -> Box<Linked<Socket>> {
    let message = zmq::Message::new();
    Box::new(Linked::new(Socket { socket, message }, stage.job.task.payload))
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
