//! ipc-channel, with its channel of bytes: no serialisation.

use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel,
};

use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
    },
};

pub(super) struct Bytes;

impl Subject for Bytes {
    fn name(&self) -> &'static str {
        "ipc-channel"
    }

    fn about(&self) -> &'static str {
        "bytes_channel each way; sleeps in recv"
    }

    fn package(&self) -> Option<&'static str> {
        Some("ipc-channel")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let (server, name) = IpcOneShotServer::<(IpcBytesSender, IpcBytesReceiver)>::new()?;
        stage.launch()?;
        stage.control.say(&name)?;
        let (_, (to, from)) = server.accept()?;
        Ok(Box::new(Linked::new(Channels { to, from }, stage.job.task.payload)))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let main = IpcSender::connect(stage.control.hear()?)?;
        let (to, from_renderer) = bytes_channel()?;
        let (to_renderer, from) = bytes_channel()?;
        main.send((to_renderer, from_renderer))?;
        Ok(Box::new(Linked::new(Channels { to, from }, stage.job.task.payload)))
    }
}

struct Channels {
    to: IpcBytesSender,
    from: IpcBytesReceiver,
}

impl Link for Channels {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        Ok(self.to.send(message)?)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        Ok(read(&self.from.recv()?))
    }
}
