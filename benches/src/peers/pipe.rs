//! A pipe each way.

use std::{
    fs::File,
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    os::fd::{AsFd, OwnedFd},
};

use rustix::pipe::fcntl_setpipe_size;

use crate::pair::prelude::*;

/// The room in each pipe: the default maximum of an unprivileged process.
const ROOM: usize = 1 << 20;

pub(super) struct Pipe;

impl Peer for Pipe {
    fn in_main(&self, stage: &mut Stage) -> Result<Box<dyn Side>, Error> {
        let (from_renderer, to_main) = roomy_pipe()?;
        let (from_main, to_renderer) = roomy_pipe()?;
        stage.launch()?;
        stage.control.give(&[from_main.as_fd(), to_main.as_fd()])?;
        Ok(side(stage, from_renderer.into(), to_renderer.into()))
    }

    fn in_renderer(&self, stage: &Stage) -> Result<Box<dyn Side>, Error> {
        let [from_main, to_main] = stage.control.take()?;
        Ok(side(stage, from_main, to_main))
    }
}

fn roomy_pipe() -> Result<(PipeReader, PipeWriter), Error> {
    let (from, to) = pipe()?;
    fcntl_setpipe_size(&to, ROOM)?;
    Ok((from, to))
}

fn side(stage: &Stage, from: OwnedFd, to: OwnedFd) -> Box<dyn Side> {
    Pipes { from: from.into(), to: to.into(), message: vec![0; stage.payload()] }.side(stage)
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
