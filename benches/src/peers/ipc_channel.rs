//! ipc-channel, in the two ways that it has for bytes: its channel of bytes, which needs no serialisation,
//! and its shared memory, of which each message has some of its own.

use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory,
    bytes_channel, channel,
};

use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
        work::Task,
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

/// Each message in shared memory of its own.
pub(super) struct Shared;

/// What is shorter is better sent as bytes, by far.
const SHARED_MIN: usize = 64 * 1024;

impl Subject for Shared {
    fn name(&self) -> &'static str {
        "ipc-channel-shared"
    }

    fn about(&self) -> &'static str {
        "an IpcSharedMemory for each message; sleeps in recv"
    }

    fn package(&self) -> Option<&'static str> {
        Some("ipc-channel")
    }

    fn unable(&self, task: Task) -> Option<&'static str> {
        (task.payload < SHARED_MIN).then_some("for large payloads; small ones are ipc-channel's")
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let (server, name) = IpcOneShotServer::<(SharedSender, SharedReceiver)>::new()?;
        stage.launch()?;
        stage.control.say(&name)?;
        let (_, (to, from)) = server.accept()?;
        Ok(Box::new(Linked::new(SharedChannels { to, from }, stage.job.task.payload)))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let main = IpcSender::connect(stage.control.hear()?)?;
        let (to, from_renderer) = channel()?;
        let (to_renderer, from) = channel()?;
        main.send((to_renderer, from_renderer))?;
        Ok(Box::new(Linked::new(SharedChannels { to, from }, stage.job.task.payload)))
    }
}

type SharedSender = IpcSender<IpcSharedMemory>;
type SharedReceiver = IpcReceiver<IpcSharedMemory>;

struct SharedChannels {
    to: SharedSender,
    from: SharedReceiver,
}

impl Link for SharedChannels {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        Ok(self.to.send(IpcSharedMemory::from_bytes(message))?)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        Ok(read(&self.from.recv()?))
    }
}
