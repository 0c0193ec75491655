//! ipc-channel, in its two ways to send bytes: its channel of bytes, which needs no serialisation, and its
//! shared memory, of which each message allocates its own.

use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory,
    bytes_channel, channel,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::pair::prelude::*;

pub(super) struct Bytes;
/// Each message in shared memory of its own.
pub(super) struct Shared;

/// Below this payload, bytes are faster by far.
const SHARED_MIN: usize = 64 * 1024;

/// Launches the renderer, and receives main's ends of the channels from it.
fn accept<T: Serialize + DeserializeOwned>(stage: &mut Stage) -> Result<T, Error> {
    let (server, name) = IpcOneShotServer::<T>::new()?;
    stage.launch()?;
    stage.control.say(&name)?;
    Ok(server.accept()?.1)
}

impl Peer for Bytes {
    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        let (to, from) = accept(stage)?;
        Ok(Channels { to, from }.side(stage))
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        let main = IpcSender::connect(stage.control.hear()?)?;
        let (to, from_renderer) = bytes_channel()?;
        let (to_renderer, from) = bytes_channel()?;
        main.send((to_renderer, from_renderer))?;
        Ok(Channels { to, from }.side(stage))
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

impl Peer for Shared {
    fn unable(&self, task: Task) -> Option<&'static str> {
        (task.payload < SHARED_MIN).then_some("for large payloads; small ones are ipc-channel's")
    }

    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        let (to, from) = accept(stage)?;
        Ok(SharedChannels { to, from }.side(stage))
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        let main = IpcSender::connect(stage.control.hear()?)?;
        let (to, from_renderer) = channel()?;
        let (to_renderer, from) = channel()?;
        main.send((to_renderer, from_renderer))?;
        Ok(SharedChannels { to, from }.side(stage))
    }
}

struct SharedChannels {
    to: IpcSender<IpcSharedMemory>,
    from: IpcReceiver<IpcSharedMemory>,
}

impl Link for SharedChannels {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        Ok(self.to.send(IpcSharedMemory::from_bytes(message))?)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        Ok(read(&self.from.recv()?))
    }
}
