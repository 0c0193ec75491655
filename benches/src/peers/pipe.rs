//! A pipe each way.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::{
    Error,
    compare::{
        link::{Link, Linked},
        side::{MainSide, RendererSide, Subject},
        stage::Stage,
    },
};

/// Room in each pipe: what an unprivileged process may ask for unless the machine says otherwise.
const ROOM: usize = 1 << 20;

pub(super) struct Pipe;

impl Subject for Pipe {
    fn name(&self) -> &'static str {
        "pipe"
    }

    fn about(&self) -> &'static str {
        "a pipe each way with room for 1 MiB; sleeps in read"
    }

    fn shares_a_core(&self) -> bool {
        true
    }

    fn main_side(&self, stage: &mut Stage) -> Result<Box<dyn MainSide>, Error> {
        let (from_renderer, to_main) = pipe()?;
        let (from_main, to_renderer) = pipe()?;
        stage.launch()?;
        stage.control.give(&[from_main.as_fd(), to_main.as_fd()])?;
        Ok(link(stage, from_renderer, to_renderer))
    }

    fn renderer_side(&self, stage: &Stage) -> Result<Box<dyn RendererSide>, Error> {
        let [from_main, to_main] = stage.control.take()?;
        Ok(link(stage, from_main, to_main))
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&to, ROOM)?;
    Ok((from, to))
}

fn link(stage: &Stage, from: OwnedFd, to: OwnedFd) -> Box<Linked<Pipes>> {
    let payload = stage.job.task.payload;
    let pipes = Pipes { from: from.into(), to: to.into(), message: vec![0; payload] };
    Box::new(Linked::new(pipes, payload))
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
