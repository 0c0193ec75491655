//! ipc-channel, in its two ways to send bytes: its channel of bytes, which needs no serialisation, and its
//! shared memory, of which each message allocates its own.

use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory,
    bytes_channel, channel,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::pair::prelude::*;

/// Below this payload, bytes are faster by far.
const SHARED_MIN: usize = 64 * 1024;

pub(super) fn bytes(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let (to, from) = connect(stage, || Ok(bytes_channel()?))?;
    Ok(Bytes { to, from }.side(stage.payload()))
}

pub(super) fn shared(stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
    let (to, from) = connect(stage, || Ok(channel()?))?;
    Ok(Shared { to, from }.side(stage.payload()))
}

pub(super) fn not_for_shared(task: Task) -> Option<&'static str> {
    (task.payload < SHARED_MIN).then_some("for large payloads; small ones are ipc-channel's")
}

/// Returns this process's ends of a channel each way. The renderer makes them.
fn connect<T, F>(
    stage: &mut Stage,
    make: impl Fn() -> Result<(T, F), Error>,
) -> Result<(T, F), Error>
where
    T: Serialize + DeserializeOwned,
    F: Serialize + DeserializeOwned,
{
    if stage.is_main {
        let (server, name) = IpcOneShotServer::new()?;
        stage.launch()?;
        stage.control.say(&name)?;
        return Ok(server.accept()?.1);
    }
    let main = IpcSender::connect(stage.control.hear()?)?;
    let [(to, from_renderer), (to_renderer, from)] = [make()?, make()?];
    main.send((to_renderer, from_renderer))?;
    Ok((to, from))
}

struct Bytes {
    to: IpcBytesSender,
    from: IpcBytesReceiver,
}

impl Link for Bytes {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        Ok(self.to.send(message)?)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        Ok(read(&self.from.recv()?))
    }
}

struct Shared {
    to: IpcSender<IpcSharedMemory>,
    from: IpcReceiver<IpcSharedMemory>,
}

impl Link for Shared {
    fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        Ok(self.to.send(IpcSharedMemory::from_bytes(message))?)
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
        Ok(read(&self.from.recv()?))
    }
}
